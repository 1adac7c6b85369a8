//! `ingle plan`: what a model will take and how fast it will be, before it runs.

mod expected;
mod report;

use crate::Usage;
use crate::commands::bench::limits::Limits;
use crate::load::{Company, LoadArgs, plan_for};
use crate::out;
use expected::Expected;
use ingle::Error;
use ingle::engine::PlanError;
use report::Report;

/// What a model would take, what of it stays on disk, and how fast it would be
///
/// Where not all weights fit in --memory (or in what is free), a mixture of experts keeps its experts on disk and
/// reads them while it runs; the memory that is left is a cache of them. A model that cannot run so is refused, with
/// the smallest budget that would do.
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file or the name of a model [default: the built-in model]
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.load.has_draft() {
        return Err(Usage("a draft model is not planned for; leave --draft out".into()).into());
    }
    let planned = match plan_for(args.model.as_deref(), &args.load, Company::Alone) {
        Ok(planned) => planned,
        Err(error) => {
            if let (true, Some(refused)) = (args.json, refused(&error)) {
                let name = args.model.as_deref().unwrap_or_default();
                out::json(&report::refusal(name, refused))?;
            }
            return Err(error);
        }
    };
    out::note("measuring the machine ...");
    let machine = args.load.machine();
    let limits = Limits::measure(machine.isa().0, &machine.team())?;
    let plan = planned.loader.plan().clone();
    let rate = planned.disk.map(|disk| disk.bytes_per_second as f64);
    let disk = rate.filter(|rate| *rate > 0.0);
    let expected = Expected::new(&planned.work, plan.streamed.as_ref(), &limits, disk, None);
    let report = Report {
        name: planned.name,
        plan,
        expected,
        trial: None,
        disk,
    };
    if args.json {
        out::json(&report.json())
    } else {
        out::answer(&report.text())
    }
}

/// Why the model does not fit, if that is what is wrong.
fn refused(error: &anyhow::Error) -> Option<&PlanError> {
    match error.downcast_ref::<Error>()? {
        Error::Plan(plan) => Some(plan),
        _ => None,
    }
}

//! `ingle plan`: what a model will take and how fast it will be, before it runs.

mod expected;
mod report;

use crate::Usage;
use crate::commands::bench::limits::Limits;
use crate::commands::bench::runs;
use crate::load::{Company, LoadArgs, load, plan_for, rate};
use crate::out;
use expected::{Expected, Trial};
use ingle::Error;
use ingle::engine::PlanError;
use report::Report;

/// What a model would take, what of it stays on disk, and how fast it would be
///
/// Where not all weights fit in --memory (or in what is free), some stay on disk and are read while it runs: a
/// mixture's experts, or all matrices. The memory that is left is a cache of them. A model that cannot run so is
/// refused, with the smallest budget that would do. How many of the experts a token needs are found in the cache
/// differs from model to model: a trial of a few tokens says it.
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file or the name of a model [default: the built-in model]
    model: Option<String>,
    /// Load nothing: guess from how much is cached, instead of writing a few tokens and counting
    #[arg(long)]
    no_trial: bool,
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
    let limits = Limits::measure(
        machine.isa().0,
        &machine.team(),
        args.load.room_to_measure(),
    )?;
    let plan = planned.loader.plan().clone();
    let disk = planned.disk.and_then(rate);
    drop(planned.loader);
    let trial = match plan.generates() && !args.no_trial {
        true => Some(trial(args, plan.context)?),
        false => None,
    };
    let streamed = plan.streamed.as_ref();
    let expected = Expected::new(&planned.work, streamed, &limits, disk, trial.as_ref());
    let report = Report {
        name: planned.name,
        plan,
        expected,
        trial,
        disk,
    };
    if args.json {
        out::json(&report.json())
    } else {
        out::answer(&report.text())
    }
}

/// Tokens of a trial: of the prompt, which fills the cache, and after it.
const TRIAL: [u32; 2] = [128, 48];

/// Which weights a model uses, only the model knows: it writes a little.
fn trial(args: &Args, context: u32) -> anyhow::Result<Trial> {
    out::note("trying it for a moment ...");
    let [prompt, tokens] = TRIAL.map(|n| n.min(context / 4).max(1));
    let load_args = args.load.clone().without_guesses();
    let mut loaded = load(args.model.as_deref(), &load_args)?;
    let [_, run] = runs::alone(&mut loaded, [prompt, tokens, 0, 1])?;
    Ok(Trial {
        tokens,
        tps: run.tps,
        reads: run.reads.map(|(reads, _)| reads),
    })
}

/// Why the model does not fit, if that is what is wrong.
fn refused(error: &anyhow::Error) -> Option<&PlanError> {
    match error.downcast_ref::<Error>()? {
        Error::Plan(plan) => Some(plan),
        _ => None,
    }
}

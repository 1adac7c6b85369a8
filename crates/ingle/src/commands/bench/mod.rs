//! `ingle bench`: prompt and generation speed beside the machine's limits.

mod force_text;
pub mod limits;
mod report;
pub mod runs;

use crate::load::{Company, LoadArgs, load, load_for};
use crate::machine::peak;
use crate::out;
use force_text::ForcedText;
use limits::Limits;
use report::Report;
use std::path::PathBuf;

/// Prompt and generation speed, beside what this machine can do at most
///
/// All figures are medians of --repeat runs. The machine's limits are measured in the same run: bytes that all
/// threads read from memory in a second, and operations with data in the first cache. From these, and from what
/// the model has to read and to multiply, follows how fast a run could be at most; the bar shows how much of that
/// was reached, and which limit comes first.
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file or the name of a model [default: the built-in model]
    model: Option<String>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    prompt: u32,
    /// Tokens to generate
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    generate: u32,
    /// Tokens that are in the context already, before either begins: one number, or several as 0,4096
    #[arg(long, value_name = "N", default_value = "0", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    depth: Vec<u32>,
    /// Also so many sequences at the same time, each with one token of prompt and --generate more
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    sequences: u32,
    /// Runs of each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Instead: what guesses are worth on a text that is known. FILE holds a prompt, a line
    /// `=== answer ===` and the answer; whatever the model would choose, each token of the answer is
    /// what it chooses, after all the work of choosing, without guesses and with them in turns
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "generate", "depth", "sequences"])]
    force_text: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// Positions beside those that are asked for: what is kept of an earlier run may lie in a page of its own.
const SPARE: u32 = 128;

pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(path) = &args.force_text {
        let text = ForcedText::read(path)?;
        let load_args = args.load.clone().or_context(text.positions());
        let mut loaded = load(args.model.as_deref(), &load_args)?;
        return text.measure(&mut loaded, args.repeat, args.load.has_draft(), args.json);
    }
    // A model that is asked for nonsense repeats itself: guesses would be right too often.
    let load_args = args.load.clone().without_guesses();
    let before = args.limits()?;
    peak::forget();
    let deepest = args.depth.iter().max().copied().unwrap_or(0);
    let needed = deepest + args.prompt.max(args.generate + 1) + SPARE;
    let mut loaded = load(args.model.as_deref(), &load_args.clone().or_context(needed))?;
    let mut runs = Vec::new();
    for &depth in &args.depth {
        let shape = [args.prompt, args.generate, depth, args.repeat];
        runs.extend(runs::alone(&mut loaded, shape)?);
    }
    let mut report = Report::new(&loaded, before, runs, peak::bytes());
    drop(loaded);
    if args.sequences > 1 {
        let load = load_args.or_context(args.generate + SPARE);
        let company = Company::Several(Some(args.sequences));
        let mut loaded = load_for(args.model.as_deref(), &load, company)?;
        let shape = [args.sequences, args.generate, args.repeat];
        report.runs.push(runs::together(&mut loaded, shape)?);
    }
    // Once more: other work on the machine may have taken a part of one of them.
    report.limits = before.best(args.limits()?);
    if args.json {
        out::json(&report.json())
    } else {
        out::answer(&report.text())
    }
}

impl Args {
    fn limits(&self) -> anyhow::Result<Limits> {
        out::note("measuring the machine ...");
        let machine = self.load.machine();
        Limits::measure(
            machine.isa().0,
            &machine.team(),
            self.load.room_to_measure(),
        )
    }
}

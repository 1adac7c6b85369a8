//! `ingle bench`: prompt and generation speed beside the machine's limit.

use crate::load::{LoadArgs, Loaded, load};
use crate::machine::Memory;
use crate::{Usage, out};
use ingle::tensor::bandwidth::ReadProbe;
use ingle::tensor::kernel::Isa;
use ingle::tensor::team::Team;
use ingle::{Event, FinishReason, Request, Sampling, TokenId};
use serde_json::json;
use std::time::{Duration, Instant};

/// Prompt and generation speed, beside how fast this machine reads memory
///
/// All figures are medians of --repeat runs. Generation reads every weight that it uses once a token:
/// read_share says how near it comes to what the memory can give.
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
    /// Tokens that are in the context already, before either begins
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    depth: u32,
    /// Runs of each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let needed = args.depth + args.prompt.max(args.generate) + 2;
    let load_args = args.load.clone().or_context(needed);
    let (isa, _) = load_args.machine().isa();
    let team = load_args.machine().team();
    out::note("measuring memory ...");
    let read_gbps = read_speed(isa, &team)? / 1e9;
    drop(team);
    let mut loaded = load(args.model.as_deref(), &load_args)?;
    let figures = Figures::measure(args, &mut loaded, read_gbps)?;
    if args.json {
        out::json(&figures.json(args, &loaded))
    } else {
        out::answer(&figures.text(args, &loaded))
    }
}

/// What was measured.
struct Figures {
    prompt_tps: f64,
    generate_tps: f64,
    /// Bytes of weights that one generated token reads.
    weight_bytes_per_token: u64,
    read_gbps: f64,
}

impl Figures {
    fn measure(args: &Args, loaded: &mut Loaded, read_gbps: f64) -> anyhow::Result<Self> {
        let rounds = args.repeat as usize;
        out::note("measuring the model ...");
        // Once to warm up: pages, caches and clocks.
        run_once(loaded, args.depth + args.prompt, 1)?;
        let (mut before, mut all, mut generate) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            before.push(match args.depth {
                0 => Duration::ZERO,
                depth => run_once(loaded, depth, 1)?.first,
            });
            all.push(run_once(loaded, args.depth + args.prompt, 1)?.first);
            // One more: the first token belongs to the prompt.
            generate.push(run_once(loaded, args.depth.max(1), args.generate + 1)?.rest);
        }
        let prompt = median(all).saturating_sub(median(before));
        if prompt.is_zero() {
            anyhow::bail!(
                "{} tokens of prompt take less time than {} tokens of depth vary: measure with a longer --prompt, \
                 a higher --repeat, or less work beside it",
                args.prompt,
                args.depth
            );
        }
        Ok(Self {
            prompt_tps: f64::from(args.prompt) / seconds(prompt),
            generate_tps: f64::from(args.generate) / seconds(median(generate)),
            weight_bytes_per_token: loaded.token_bytes,
            read_gbps,
        })
    }

    /// The share of what the memory can give that generation took.
    fn read_share(&self) -> f64 {
        self.generate_tps * self.weight_bytes_per_token as f64 / (self.read_gbps * 1e9)
    }

    fn json(&self, args: &Args, loaded: &Loaded) -> serde_json::Value {
        json!({
            "model": loaded.name, "threads": loaded.threads, "isa": loaded.isa,
            "prompt": args.prompt, "generate": args.generate, "depth": args.depth,
            "repeat": args.repeat,
            "prompt_tps": self.prompt_tps, "generate_tps": self.generate_tps,
            "weight_bytes_per_token": self.weight_bytes_per_token,
            "read_gbps": self.read_gbps, "read_share": self.read_share(),
        })
    }

    fn text(&self, args: &Args, loaded: &Loaded) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        out::table(&[
            row(
                "prompt",
                format!(
                    "{:.1} tokens a second ({} tokens at depth {})",
                    self.prompt_tps, args.prompt, args.depth
                ),
            ),
            row(
                "generation",
                format!(
                    "{:.1} tokens a second ({} tokens at depth {})",
                    self.generate_tps, args.generate, args.depth
                ),
            ),
            row(
                "weights",
                format!(
                    "{} read for a token",
                    out::bytes(self.weight_bytes_per_token)
                ),
            ),
            row(
                "memory",
                format!(
                    "{:.1} GB/s read by {} threads ({})",
                    self.read_gbps, loaded.threads, loaded.isa
                ),
            ),
            row(
                "reached",
                format!(
                    "{} {:.0}% of it",
                    bar(self.read_share()),
                    100.0 * self.read_share()
                ),
            ),
        ])
    }
}

/// How long one request took.
struct Times {
    /// To its first token.
    first: Duration,
    /// From its first token to its last.
    rest: Duration,
}

fn run_once(loaded: &mut Loaded, prompt: u32, generate: u32) -> anyhow::Result<Times> {
    let request = Request {
        max_tokens: Some(generate),
        sampling: Sampling::greedy(),
        ignore_end: true,
        fresh: true,
        ..Request::new(tokens(prompt, loaded.model.vocabulary().len()))
    };
    let start = Instant::now();
    let (mut first, mut last) = (None, start);
    for event in loaded.model.generate(request)? {
        match event {
            Event::Token { .. } => {
                last = Instant::now();
                first.get_or_insert(last);
            }
            Event::Finished {
                reason: FinishReason::Length,
                ..
            }
            | Event::Embedded { .. } => {}
            Event::Finished { reason, .. } => anyhow::bail!("the run ended early: {reason:?}"),
        }
    }
    let first = first.unwrap_or(last);
    Ok(Times {
        first: first - start,
        rest: last - first,
    })
}

/// Tokens that mean nothing, spread over the vocabulary so that a mixture of experts uses many.
fn tokens(n: u32, n_vocab: usize) -> Vec<TokenId> {
    let n_vocab = u32::try_from(n_vocab).unwrap_or(u32::MAX).max(1);
    // A step without a factor in common with most sizes.
    (0..n)
        .map(|i| TokenId(i.wrapping_mul(7919) % n_vocab))
        .collect()
}

/// Bytes a second that all threads together read.
fn read_speed(isa: Isa, team: &Team) -> anyhow::Result<f64> {
    /// Much more than caches hold.
    const BYTES: u64 = 1 << 30;
    const ROUNDS: usize = 5;
    let free = Memory::measure().map_or(BYTES, |m| m.available / 4);
    let bytes = usize::try_from(BYTES.min(free))?;
    let probe = ReadProbe::new(isa, bytes)
        .ok_or_else(|| Usage(format!("this machine cannot run the {isa} kernels")))?;
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        std::hint::black_box(probe.run(team));
        start.elapsed()
    });
    Ok(probe.bytes() as f64 / seconds(median(times.collect())))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-9)
}

/// The middle one; of an even number the later of the two.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Twenty places, filled as far as `share` goes.
fn bar(share: f64) -> String {
    const PLACES: usize = 20;
    let filled = (share.clamp(0.0, 1.0) * PLACES as f64).round() as usize;
    format!("{}{}", "#".repeat(filled), ".".repeat(PLACES - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        let times = |ms: &[u64]| ms.iter().map(|&ms| Duration::from_millis(ms)).collect();
        assert_eq!(median(times(&[5, 1, 3])), Duration::from_millis(3));
        assert_eq!(median(times(&[2])), Duration::from_millis(2));
        assert_eq!(median(Vec::new()), Duration::ZERO);
    }

    #[test]
    fn bars() {
        assert_eq!(bar(0.0), "....................");
        assert_eq!(bar(0.5), "##########..........");
        assert_eq!(bar(7.0), "####################");
    }

    #[test]
    fn tokens_lie_in_the_vocabulary_and_differ() {
        let tokens = tokens(64, 100);
        assert!(tokens.iter().all(|t| t.0 < 100));
        let mut seen = tokens.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 64);
    }
}

//! The runs: prompts and generation through the engine, alone and together.

use super::limits::Work;
use crate::load::Loaded;
use crate::out;
use crate::reads::{self, Counted, Reads};
use ingle::{Event, FinishReason, Request, Sampling, TokenId};
use std::time::{Duration, Instant};

/// What was run, and how fast it was.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub kind: Kind,
    /// Tokens of each sequence that were timed.
    pub tokens: u32,
    /// Tokens that were in the context before.
    pub depth: u32,
    /// Sequences at the same time.
    pub sequences: u32,
    /// Tokens a second, of all sequences together: the median of the repeats.
    pub tps: f64,
    /// What it takes at least.
    pub work: Work,
    /// What the repeats read from disk, together, and how many they were; where weights are streamed.
    pub reads: Option<(Reads, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Prompt,
    Generation,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Generation => "generation",
        }
    }
}

impl Run {
    fn new(kind: Kind, [tokens, depth, sequences]: [u32; 3], loaded: &Loaded, tps: f64) -> Self {
        Self {
            kind,
            tokens,
            depth,
            sequences,
            tps,
            work: work(kind, [tokens, depth, sequences], loaded),
            reads: None,
        }
    }

    fn reading(self, repeats: &[Option<Reads>]) -> Self {
        let all = repeats.iter().copied().collect::<Option<Vec<Reads>>>();
        let sum = all.and_then(|all| all.into_iter().reduce(Reads::and));
        let n = u32::try_from(repeats.len()).unwrap_or(u32::MAX);
        Self {
            reads: sum.map(|sum| (sum, n)),
            ..self
        }
    }

    /// Tokens of all sequences.
    pub fn total(&self) -> f64 {
        f64::from(self.tokens) * f64::from(self.sequences)
    }
}

/// What a run takes at least: every matrix is read once a batch, and each token looks at all before it (as if
/// there were no sliding windows).
fn work(kind: Kind, [tokens, depth, sequences]: [u32; 3], loaded: &Loaded) -> Work {
    let plan = loaded.model.plan();
    let [n, depth, sequences] = [tokens, depth, sequences].map(u64::from);
    let (batches, rows, predicted) = match kind {
        Kind::Prompt => {
            let rows = n.min(u64::from(plan.options.max_batch_rows)).max(1);
            (n.div_ceil(rows), rows, 1)
        }
        Kind::Generation => (n, sequences, n * sequences),
    };
    let t = &loaded.work;
    // Positions that are looked at: depth + 1, depth + 2, ...
    let looks = (n * depth + n * (n + 1) / 2) * sequences;
    let kept = match kind {
        Kind::Prompt => (batches * depth + n * (batches + 1) / 2) * sequences,
        Kind::Generation => looks,
    };
    let position = plan.needs.position_bytes(plan.options.kv);
    let head_reads = if kind == Kind::Prompt { 1 } else { n };
    Work {
        bytes: batches * t.body_bytes(rows) + head_reads * t.head.bytes + kept * position,
        int8: n * sequences * t.body.int8 + predicted * t.head.int8,
        f32: n * sequences * t.body.f32 + predicted * t.head.f32 + 4 * looks * t.queries,
    }
}

/// A prompt of `prompt` tokens and `generate` tokens after it, both behind `depth` tokens.
pub fn alone(
    loaded: &mut Loaded,
    [prompt, generate, depth, repeat]: [u32; 4],
) -> anyhow::Result<[Run; 2]> {
    let n_vocab = loaded.model.vocabulary().len();
    let before = tokens(depth, n_vocab, 0);
    if depth > 0 {
        out::note(format!("reading {depth} tokens first ..."));
        once(loaded, before.clone(), 1, false)?;
    }
    out::note(format!(
        "prompt of {prompt} tokens and {generate} tokens after it, at depth {depth} ..."
    ));
    let (mut prompts, mut generated) = (Vec::new(), Vec::new());
    let (mut prompt_reads, mut generated_reads) = (Vec::new(), Vec::new());
    // The first turn warms up: pages, caches and clocks.
    for turn in 0..=repeat {
        // Another text each time, so that only what comes before is known already.
        let text = |n| [&before[..], &tokens(n, n_vocab, turn + 1)].concat();
        let read = once(loaded, text(prompt), 1, depth == 0)?;
        if turn == 0 {
            once(loaded, text(1), 2, depth == 0)?;
            continue;
        }
        prompts.push(f64::from(read.computed) / seconds(read.first));
        prompt_reads.push(read.reads[0]);
        // One more: the first token belongs to the prompt.
        let written = once(loaded, text(1), generate + 1, depth == 0)?;
        generated.push(f64::from(generate) / seconds(written.rest));
        generated_reads.push(written.reads[1]);
    }
    let run = |kind, n, rates| Run::new(kind, [n, depth, 1], loaded, median(rates));
    Ok([
        run(Kind::Prompt, prompt, prompts).reading(&prompt_reads),
        run(Kind::Generation, generate, generated).reading(&generated_reads),
    ])
}

/// `generate` tokens of each of `sequences` requests that came together, with one token of prompt.
pub fn together(
    loaded: &mut Loaded,
    [sequences, generate, repeat]: [u32; 3],
) -> anyhow::Result<Run> {
    out::note(format!(
        "{sequences} sequences together, {generate} tokens each ..."
    ));
    let mut rates = Vec::new();
    for turn in 0..=repeat {
        let n = if turn == 0 { generate.min(4) } else { generate };
        let time = batch(loaded, sequences, n)?;
        if turn > 0 {
            rates.push(f64::from(sequences) * f64::from(n) / seconds(time));
        }
    }
    let shape = [generate, 1, sequences];
    let mut run = Run::new(Kind::Generation, shape, loaded, median(rates));
    run.depth = 0;
    Ok(run)
}

/// From handing in all requests to the last token of the last one.
fn batch(loaded: &mut Loaded, sequences: u32, generate: u32) -> anyhow::Result<Duration> {
    let n_vocab = loaded.model.vocabulary().len();
    let sampling = sampling(loaded);
    let engine = loaded.model.engine();
    let start = Instant::now();
    for i in 0..sequences {
        let request = Request {
            sampling: sampling.clone(),
            ..request(tokens(1, n_vocab, i + 1), generate, true)
        };
        engine.submit(request, Duration::ZERO)?;
    }
    let mut ended = 0;
    while !engine.is_idle() {
        for event in engine.step(start.elapsed()) {
            if let Event::Finished { reason, .. } = event {
                anyhow::ensure!(
                    matches!(reason, FinishReason::Length),
                    "a run ended early: {reason:?}"
                );
                ended += 1;
            }
        }
    }
    anyhow::ensure!(ended == sequences, "{ended} of {sequences} runs ended");
    Ok(start.elapsed())
}

/// The likeliest token; but where weights are read from disk any token, by its probability: the likeliest ones
/// soon repeat themselves, and would find their experts in memory more often than any real text does.
fn sampling(loaded: &Loaded) -> Sampling {
    match loaded.model.plan().streamed {
        None => Sampling::greedy(),
        Some(_) => Sampling {
            temperature: 1.0,
            seed: 1,
            ..Sampling::default()
        },
    }
}

fn request(prompt: Vec<TokenId>, generate: u32, fresh: bool) -> Request {
    Request {
        max_tokens: Some(generate),
        sampling: Sampling::greedy(),
        ignore_end: true,
        fresh,
        ..Request::new(prompt)
    }
}

/// How one request went.
struct Times {
    /// To its first token.
    first: Duration,
    /// From its first token to its last.
    rest: Duration,
    /// Tokens of the prompt that no earlier request had computed.
    computed: u32,
    /// What was read in these times.
    reads: [Option<Reads>; 2],
}

fn once(
    loaded: &mut Loaded,
    prompt: Vec<TokenId>,
    generate: u32,
    fresh: bool,
) -> anyhow::Result<Times> {
    let request = Request {
        sampling: sampling(loaded),
        ..request(prompt, generate, fresh)
    };
    let plan = loaded.model.plan().streamed;
    let begun = reads::now(loaded.model.engine());
    let start = Instant::now();
    let (mut first, mut last, mut computed) = (None, start, 0);
    let mut then = None;
    let mut events = loaded.model.generate(request)?;
    while let Some(event) = events.next() {
        match event {
            Event::Token { .. } => {
                last = Instant::now();
                if first.is_none() {
                    first = Some(last);
                    then = reads::now(events.engine());
                }
            }
            Event::Finished {
                reason: FinishReason::Length,
                usage,
                ..
            } => computed = usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            Event::Finished { reason, .. } => anyhow::bail!("the run ended early: {reason:?}"),
            _ => {}
        }
    }
    let first = first.unwrap_or(last);
    let (first, rest) = (first - start, last - first);
    let between = |from: Option<Counted>, to: Option<Counted>, time| {
        Some(to?.since(&from?, plan.as_ref()?, time))
    };
    let end = reads::now(events.engine());
    let reads = [between(begun, then, first), between(then, end, rest)];
    Ok(Times {
        first,
        rest,
        computed,
        reads,
    })
}

/// Tokens that mean nothing, spread over the vocabulary so that a mixture of experts uses many. Those of another
/// `salt` differ from the first on.
fn tokens(n: u32, n_vocab: usize, salt: u32) -> Vec<TokenId> {
    let n_vocab = u32::try_from(n_vocab).unwrap_or(u32::MAX).max(1);
    // Steps without a factor in common with most sizes.
    (0..n)
        .map(|i| {
            TokenId(
                i.wrapping_mul(7919)
                    .wrapping_add(salt.wrapping_mul(104_729))
                    % n_vocab,
            )
        })
        .collect()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-9)
}

/// The middle one; of an even number the later of the two.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        assert_eq!(median(vec![5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![2.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn tokens_lie_in_the_vocabulary_and_differ() {
        let some = tokens(64, 100, 0);
        assert!(some.iter().all(|t| t.0 < 100));
        let mut seen = some.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 64);
        assert_ne!(tokens(1, 100, 1), tokens(1, 100, 2));
    }
}

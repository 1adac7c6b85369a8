//! What a model makes of a text that is given: logits at every position, perplexity, and how far two
//! models are apart.
//!
//! A text is cut into windows of one length. Each begins anew (with the beginning token in the place of
//! its first, where the model wants one), and only its second half counts, so that every prediction
//! that counts has at least half a window before it: as llama.cpp's perplexity does, so that figures
//! can be compared.

use crate::budget::{Budget, Lease};
use crate::engine::EngineError;
use crate::plan::{LoadOptions, Plan, PlanError};
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_model::Network;
use ingle_tensor::ops::{Batch, Item, Ops, PageId, Row};
use ingle_tensor::{SourceError, WeightSource};
use std::ops::{ControlFlow, Range};

/// What is told of a prediction: the window, the position, and the logits of the token behind it.
pub type See<'a> = dyn FnMut(&[TokenId], usize, &[f32]) + 'a;

/// Tokens of a window, unless the model was trained for fewer.
pub const WINDOW: usize = 512;

/// Bytes of logits that are in memory at once, at most, unless one position has more.
const LOGIT_BYTES: usize = 32 << 20;

/// A text shorter than this says nothing.
pub const MIN_TOKENS: usize = 16;

/// A model that reads texts, and does not write any.
pub struct Scorer<O: Ops> {
    ops: O,
    network: Box<dyn Network<O>>,
    memory: O::Memory,
    pages: Vec<PageId>,
    n_vocab: usize,
    max_rows: usize,
    rows: Vec<Row>,
    outputs: Vec<u32>,
    logits: Vec<f32>,
    _lease: Lease,
}

/// What a [`Scorer`] takes.
///
/// # Errors
/// As [`Plan::new`].
pub fn plan<O: Ops + 'static>(
    metadata: &Metadata,
    source: &dyn WeightSource,
    ops: &O,
    free: u64,
) -> Result<Plan, PlanError> {
    let options = |rows: usize| LoadOptions {
        context: Some(WINDOW as u32),
        max_batch_rows: rows as u32,
        ..LoadOptions::default()
    };
    // The number of rows depends on the vocabulary, which the first plan finds.
    let n_vocab = Plan::new(metadata, source, ops, &options(1), free)?
        .needs
        .shape
        .n_vocab;
    let rows = LOGIT_BYTES.checked_div(n_vocab * 4).unwrap_or(1);
    let rows = rows.clamp(1, WINDOW / 2);
    let logits = (rows * n_vocab * 4) as u64;
    let free = free.saturating_sub(logits);
    let mut plan = Plan::new(metadata, source, ops, &options(rows), free)?;
    plan.buffer_bytes = plan.buffer_bytes.saturating_add(logits);
    Ok(plan)
}

impl<O: Ops + 'static> Scorer<O> {
    /// Loads a model as `plan` (of [`plan`]) says. `progress` is told the bytes loaded so far and their total.
    ///
    /// # Errors
    /// [`EngineError`]: the weights cannot be read, or the budget has less left than the plan needs.
    pub fn load(
        metadata: &Metadata,
        source: &dyn WeightSource,
        ops: O,
        plan: &Plan,
        budget: &Budget,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, EngineError> {
        let lease = budget.take(plan.total())?;
        let total = plan.needs.file_bytes;
        let max_rows = plan.options.max_batch_rows as usize;
        let mut progress = |done| progress(done, total);
        let network = ingle_model::load(
            metadata,
            source,
            &ops,
            max_rows,
            plan.context,
            &mut progress,
        )?;
        let memory = ops.memory(&network.layers(), plan.options.kv, plan.n_pages as usize);
        Ok(Self {
            ops,
            network,
            memory,
            pages: (0..plan.n_pages).map(PageId).collect(),
            n_vocab: plan.needs.shape.n_vocab,
            max_rows,
            rows: Vec::new(),
            outputs: Vec::new(),
            logits: Vec::new(),
            _lease: lease,
        })
    }

    /// Tokens of the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Reads `window[part]`, at most as many tokens as the plan has rows, after all before it were read;
    /// answers the logits of those at `counted` and later, `[rows, n_vocab]`.
    fn read(
        &mut self,
        window: &[TokenId],
        part: Range<usize>,
        counted: usize,
    ) -> Result<&[f32], SourceError> {
        self.rows.clear();
        self.outputs.clear();
        for position in part.clone() {
            if position >= counted {
                self.outputs.push((position - part.start) as u32);
            }
            self.rows.push(Row {
                item: Item::Token(window[position]),
                position: position as u32,
                sequence: 0,
            });
        }
        let batch = Batch {
            rows: &self.rows,
            sequences: &[&self.pages],
            outputs: &self.outputs,
            hidden: true, // an importance matrix is made of all rows
        };
        self.network
            .forward(&mut self.ops, &mut self.memory, &batch, &mut self.logits)?;
        Ok(&self.logits[..self.outputs.len() * self.n_vocab])
    }

    /// Reads a text and hands on what is predicted: `see(window, position, logits)` for every position that
    /// counts and has a token behind it, in order; `logits` are those of the token at `position + 1`.
    ///
    /// # Errors
    /// Weights that are read while they are used could not be read.
    pub fn predictions(&mut self, windows: &Windows, see: &mut See<'_>) -> Result<(), SourceError> {
        for window in windows.iter() {
            let counted = window.len() / 2;
            for part in parts(window.len(), self.max_rows) {
                let n_vocab = self.n_vocab;
                let first = part.start.max(counted);
                let logits = self.read(&window, part, counted)?;
                let positions = first..window.len() - 1;
                for (position, logits) in positions.zip(logits.chunks_exact(n_vocab)) {
                    see(&window, position, logits);
                }
            }
        }
        Ok(())
    }

    /// Reads a text for what the operations make of it on the way, as an importance matrix; nothing is
    /// predicted. `go_on` is told the tokens read so far and may stop the work.
    ///
    /// # Errors
    /// As [`Self::predictions`].
    pub fn read_all(
        &mut self,
        windows: &Windows,
        go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let mut done = 0;
        for window in windows.iter() {
            for part in parts(window.len(), self.max_rows) {
                let n = part.len();
                self.read(&window, part, usize::MAX)?;
                done += n;
                if go_on(done).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// `0..len` in parts of at most `n`.
fn parts(len: usize, n: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len)
        .step_by(n)
        .map(move |start| start..(start + n).min(len))
}

/// A text in windows.
#[derive(Clone, Debug)]
pub struct Windows {
    tokens: Vec<TokenId>,
    /// Stands in the place of the first token of each window.
    beginning: Option<TokenId>,
    len: usize,
}

impl Windows {
    /// The windows of a text for a model that was trained for `context_len` positions: a last one that is
    /// not whole is left out, unless it is the only one. `None` for a text of fewer than
    /// [`MIN_TOKENS`] tokens.
    pub fn new(tokens: &[TokenId], beginning: Option<TokenId>, context_len: u32) -> Option<Self> {
        let len = WINDOW.min(context_len as usize).min(tokens.len());
        if len < MIN_TOKENS {
            return None;
        }
        let whole = tokens.len() / len * len;
        Some(Self {
            tokens: tokens[..whole].to_vec(),
            beginning,
            len,
        })
    }

    /// Tokens of all windows.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// How many windows there are, and tokens in each.
    pub fn shape(&self) -> (u32, u32) {
        let count = self.tokens.len() / self.len;
        (count as u32, self.len as u32)
    }

    fn iter(&self) -> impl Iterator<Item = Vec<TokenId>> {
        self.tokens.chunks_exact(self.len).map(|window| {
            let mut window = window.to_vec();
            if let Some(beginning) = self.beginning {
                window[0] = beginning;
            }
            window
        })
    }
}

/// How far a model is from another one, over a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Predictions that counted.
    pub predictions: usize,
    /// Perplexity of the first model: `exp` of the mean of `-ln p(token)`.
    pub perplexity: f64,
    /// Perplexity of the second.
    pub other_perplexity: f64,
    /// Mean Kullback-Leibler divergence of the second's predictions from the first's, nats.
    pub mean_kl: f64,
    /// The divergence that 99.9% of predictions do not exceed.
    pub kl_999: f64,
    /// The largest.
    pub max_kl: f64,
    /// Share of predictions with the same most likely token.
    pub same_top: f64,
}

/// Compares the predictions of two models with one vocabulary over a text; `None` where it was stopped.
/// `go_on` is told the tokens read so far.
///
/// # Errors
/// As [`Scorer::predictions`].
///
/// # Panics
/// Where the vocabularies differ in size.
pub fn compare<O: Ops + 'static>(
    first: &mut Scorer<O>,
    second: &mut Scorer<O>,
    windows: &Windows,
    go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Comparison>, SourceError> {
    let n_vocab = first.n_vocab;
    assert_eq!(n_vocab, second.n_vocab, "two vocabularies");
    let max_rows = first.max_rows.min(second.max_rows);
    let (mut sums, mut same, mut done) = ([0.0; 2], 0_usize, 0);
    let mut kls: Vec<f64> = Vec::new();
    for window in windows.iter() {
        let counted = window.len() / 2;
        for part in parts(window.len(), max_rows) {
            let a = first.read(&window, part.clone(), counted)?;
            let b = second.read(&window, part.clone(), counted)?;
            // The last token of a window predicts one that is not there.
            let targets = &window[(part.start.max(counted) + 1).min(window.len())..];
            let rows = a.chunks_exact(n_vocab).zip(b.chunks_exact(n_vocab));
            for ((a, b), target) in rows.zip(targets) {
                let (a, b) = (Prediction::of(a), Prediction::of(b));
                sums[0] -= a.ln(target.0 as usize);
                sums[1] -= b.ln(target.0 as usize);
                same += usize::from(a.top == b.top);
                kls.push(a.divergence(&b));
            }
            done += part.len();
            if go_on(done).is_break() {
                return Ok(None);
            }
        }
    }
    Ok(Some(Comparison::of(sums, same, kls)))
}

impl Comparison {
    fn of([first, second]: [f64; 2], same: usize, mut kls: Vec<f64>) -> Self {
        let n = kls.len().max(1) as f64;
        let mean_kl = kls.iter().sum::<f64>() / n;
        kls.sort_unstable_by(f64::total_cmp);
        let at = (kls.len() as f64 * 0.999).ceil() as usize;
        Self {
            predictions: kls.len(),
            perplexity: libm::exp(first / n),
            other_perplexity: libm::exp(second / n),
            mean_kl,
            kl_999: kls.get(at.saturating_sub(1)).copied().unwrap_or(0.0),
            max_kl: kls.last().copied().unwrap_or(0.0),
            same_top: same as f64 / n,
        }
    }
}

/// One position's logits, ready to be asked for probabilities.
struct Prediction<'a> {
    logits: &'a [f32],
    /// The logarithm of the sum of the exponentials.
    log_sum: f64,
    top: usize,
}

impl<'a> Prediction<'a> {
    fn of(logits: &'a [f32]) -> Self {
        let mut top = 0;
        for (i, logit) in logits.iter().enumerate() {
            if *logit > logits[top] {
                top = i;
            }
        }
        let largest = f64::from(logits[top]);
        let sum: f64 = logits
            .iter()
            .map(|&x| libm::exp(f64::from(x) - largest))
            .sum();
        Self {
            logits,
            log_sum: largest + libm::log(sum),
            top,
        }
    }

    /// The logarithm of the probability of a token.
    fn ln(&self, token: usize) -> f64 {
        f64::from(self.logits[token]) - self.log_sum
    }

    /// The Kullback-Leibler divergence of `other` from this.
    fn divergence(&self, other: &Self) -> f64 {
        let tokens = 0..self.logits.len();
        let terms = tokens.map(|i| {
            let ln = self.ln(i);
            libm::exp(ln) * (ln - other.ln(i))
        });
        terms.sum::<f64>().max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions() {
        let a = [0.0, 0.0_f32];
        let b = [libm::logf(3.0), 0.0];
        let (a, b) = (Prediction::of(&a), Prediction::of(&b));
        assert!((libm::exp(b.ln(0)) - 0.75).abs() < 1e-7);
        let expected = 0.5 * libm::log(0.5 / 0.75) + 0.5 * libm::log(0.5 / 0.25);
        assert!((a.divergence(&b) - expected).abs() < 1e-7);
        assert_eq!(a.divergence(&a), 0.0);
        assert_eq!((a.top, b.top), (0, 0));
    }

    #[test]
    fn windows_begin_with_the_beginning_token_and_are_whole() {
        let tokens: Vec<TokenId> = (0..1100).map(TokenId).collect();
        let windows = Windows::new(&tokens, Some(TokenId(7)), 4096).unwrap();
        let all: Vec<_> = windows.iter().collect();
        assert_eq!((all.len(), windows.tokens()), (2, 1024));
        assert_eq!((all[1][0], all[1][1]), (TokenId(7), TokenId(513)));
        let one = Windows::new(&tokens[..20], None, 4096).unwrap();
        assert_eq!(one.iter().next().unwrap(), tokens[..20]);
        assert!(Windows::new(&tokens[..15], None, 4096).is_none());
        assert_eq!(Windows::new(&tokens, None, 64).unwrap().tokens(), 1088);
    }

    #[test]
    fn the_percentile_is_one_that_was_seen() {
        let kls: Vec<f64> = (1..=2000).map(f64::from).collect();
        let c = Comparison::of([2000.0, 4000.0], 500, kls);
        assert_eq!((c.kl_999, c.max_kl, c.same_top), (1998.0, 2000.0, 0.25));
        assert!((c.perplexity - libm::exp(1.0)).abs() < 1e-12);
        assert!((c.mean_kl - 1000.5).abs() < 1e-9);
    }
}

//! Fewer candidates: top-k, typical, top-p, min-p, by partial selection.
//!
//! Order among candidates is always: larger logit first, lower id among equals. A vocabulary of
//! 150,000 is never sorted whole.

use super::weights;
use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// Scratch of a stage: what it keeps first has the smaller key.
    key: f32,
    /// Scratch: how probable it is beside the most probable one.
    weight: f32,
}

/// The fewest candidates that are gathered before all but the largest are dropped.
const CHUNK: usize = 128;

fn by_logit(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

fn by_key(a: &Candidate, b: &Candidate) -> Ordering {
    a.key.total_cmp(&b.key).then(a.id.cmp(&b.id))
}

/// Most probable first.
pub(super) fn sort_by_logit(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(by_logit);
}

/// Fills `out` with the `k` largest of `logits` above negative infinity, in no order.
pub(super) fn top_k(logits: &[f32], k: usize, out: &mut Vec<Candidate>) {
    out.clear();
    let full = k.saturating_mul(2).max(CHUNK).min(logits.len());
    out.reserve(full);
    // Once there are k, only what is larger than the smallest of them can come in. Ids ascend, so an
    // equal logit that comes later loses to those that are in.
    let mut floor = f32::NEG_INFINITY;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > floor {
            if out.len() == full && k < full {
                out.select_nth_unstable_by(k - 1, by_logit);
                out.truncate(k);
                floor = out[k - 1].logit;
                if logit <= floor {
                    continue;
                }
            }
            out.push(Candidate {
                id: id as u32,
                logit,
                key: 0.0,
                weight: 0.0,
            });
        }
    }
    if k < out.len() {
        out.select_nth_unstable_by(k - 1, by_logit);
        out.truncate(k);
    }
}

/// Keeps the fewest most probable candidates whose mass is at least `p`.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32) {
    for c in candidates.iter_mut() {
        c.key = -c.logit;
    }
    keep_mass(candidates, p);
}

/// Keeps the candidates whose information `-ln p` is nearest to the entropy, up to mass `p`.
pub(super) fn typical(candidates: &mut Vec<Candidate>, p: f32) {
    let max = max_logit(candidates);
    let (mut sum, mut weighted) = (0.0_f64, 0.0_f64);
    for c in candidates.iter() {
        let weight = f64::from(weights::exp(c.logit - max));
        sum += weight;
        weighted += weight * (f64::from(c.logit) - f64::from(max));
    }
    // entropy = ln(sum) - weighted / sum; information = ln(sum) - z: ln(sum) cancels.
    let mean = weighted / sum;
    for c in candidates.iter_mut() {
        let z = f64::from(c.logit) - f64::from(max);
        c.key = (z - mean).abs() as f32;
    }
    keep_mass(candidates, p);
}

/// Keeps candidates at least `min_p` times as probable as the most probable one.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, min_p: f32) {
    let max = max_logit(candidates);
    let floor = f64::from(max) + libm::log(f64::from(min_p));
    candidates.retain(|c| c.logit == max || f64::from(c.logit) >= floor);
}

/// Keeps the candidates of smallest key until their mass is at least `p`; at least one stays.
///
/// The one at which the mass is reached is found by dividing the keys into bins of equal width, and
/// the bin in which it lies again, until there are few enough to sort.
fn keep_mass(candidates: &mut Vec<Candidate>, p: f32) {
    let max = max_logit(candidates);
    for c in candidates.iter_mut() {
        c.weight = weights::exp(c.logit - max);
    }
    let mass = |all: &[Candidate]| all.iter().map(|c| f64::from(c.weight)).sum::<f64>();
    // How many are kept for certain, and what is to be reached by those behind them.
    let (mut kept, mut wanted) = (0, f64::from(p) * mass(candidates));
    for _ in 0..ROUNDS {
        let rest = &mut candidates[kept..];
        let Some(bins) = Bins::new(rest).filter(|_| rest.len() > FEW) else {
            break;
        };
        let bin = bins.reaching(rest, wanted);
        let before = partition(rest, |c| bins.of(c) < bin);
        wanted -= mass(&rest[..before]);
        let within = partition(&mut rest[before..], |c| bins.of(c) == bin);
        kept += before;
        candidates.truncate(kept + within);
    }
    candidates[kept..].sort_unstable_by(by_key);
    let mut gathered = 0.0;
    for (i, c) in candidates[kept..].iter().enumerate() {
        gathered += f64::from(c.weight);
        if gathered >= wanted {
            candidates.truncate(kept + i + 1);
            return;
        }
    }
}

/// Candidates that are sorted at once.
const FEW: usize = 256;
/// How often bins are divided again at most: what is left then is sorted, however much it is.
const ROUNDS: usize = 8;
/// Bins of keys.
const BINS: usize = 512;

/// Keys in [`BINS`] parts of equal width.
struct Bins {
    lowest: f32,
    per_key: f32,
}

impl Bins {
    /// `None` where keys cannot be told apart so.
    fn new(candidates: &[Candidate]) -> Option<Self> {
        let keys = || candidates.iter().map(|c| c.key);
        let lowest = keys().fold(f32::INFINITY, f32::min);
        let width = keys().fold(f32::NEG_INFINITY, f32::max) - lowest;
        let per_key = (BINS - 1) as f32 / width;
        (per_key.is_normal() && lowest.is_finite()).then_some(Self { lowest, per_key })
    }

    /// The bin of a candidate: it never falls as the key grows.
    fn of(&self, c: &Candidate) -> usize {
        (((c.key - self.lowest) * self.per_key) as usize).min(BINS - 1)
    }

    /// The bin in which a mass is reached, the last that is not empty if in none.
    fn reaching(&self, candidates: &[Candidate], mass: f64) -> usize {
        let (mut masses, mut last) = ([0.0_f64; BINS], 0);
        for c in candidates {
            let bin = self.of(c);
            masses[bin] += f64::from(c.weight);
            last = last.max(bin);
        }
        let mut gathered = 0.0;
        let reached = masses.iter().position(|m| {
            gathered += m;
            gathered >= mass && *m > 0.0
        });
        reached.unwrap_or(last)
    }
}

/// Puts those that are `first` before the others; how many they are.
fn partition(candidates: &mut [Candidate], first: impl Fn(&Candidate) -> bool) -> usize {
    let mut n = 0;
    for i in 0..candidates.len() {
        if first(&candidates[i]) {
            candidates.swap(n, i);
            n += 1;
        }
    }
    n
}

fn max_logit(candidates: &[Candidate]) -> f32 {
    candidates
        .iter()
        .map(|c| c.logit)
        .fold(f32::NEG_INFINITY, f32::max)
}

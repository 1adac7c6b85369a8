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
    pub(super) weight: f32,
}

impl Candidate {
    pub(super) fn new(id: u32, logit: f32) -> Self {
        Self {
            id,
            logit,
            key: 0.0,
            weight: 0.0,
        }
    }
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
            out.push(Candidate::new(id as u32, logit));
        }
    }
    if k < out.len() {
        out.select_nth_unstable_by(k - 1, by_logit);
        out.truncate(k);
    }
}

/// Top-p and min-p over a whole vocabulary: fills `out` with what both keep. What is too improbable for
/// either is not gathered.
pub(super) fn likely(logits: &[f32], p: f32, min_p: f32, out: &mut Vec<Candidate>) {
    out.clear();
    let max = super::largest(logits);
    let mut floor = f32::MIN;
    let mut wanted = None;
    if p < 1.0 {
        let total = weights::sum_exp(logits, max);
        wanted = Some(f64::from(p) * total);
        // All below it together have less than half of what may be left out, however many they are.
        let spare = (1.0 - f64::from(p)) * total / 2.0;
        floor = floor.max((f64::from(max) + libm::log(spare / logits.len() as f64)) as f32);
    }
    if min_p > 0.0 {
        floor = floor.max((least_logit(max, min_p) as f32).next_down());
    }
    let gathered = (0_u32..).zip(logits).filter(|(_, logit)| **logit >= floor);
    out.extend(gathered.map(|(id, &logit)| Candidate {
        id,
        logit,
        key: -logit,
        weight: 0.0,
    }));
    if let Some(wanted) = wanted {
        weigh(out);
        keep_mass(out, wanted);
    }
    if min_p > 0.0 {
        self::min_p(out, min_p);
    }
}

/// Keeps the fewest most probable candidates whose mass is at least `p`.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32) {
    for c in candidates.iter_mut() {
        c.key = -c.logit;
    }
    let mass = weigh(candidates);
    keep_mass(candidates, f64::from(p) * mass);
}

/// Keeps the candidates whose information `-ln p` is nearest to the entropy, up to mass `p`.
pub(super) fn typical(candidates: &mut Vec<Candidate>, p: f32) {
    let max = max_logit(candidates);
    let sum = weigh(candidates);
    let below = |c: &Candidate| f64::from(c.logit) - f64::from(max);
    let weighted: f64 = candidates
        .iter()
        .map(|c| f64::from(c.weight) * below(c))
        .sum();
    // entropy = ln(sum) - weighted / sum; information = ln(sum) - z: ln(sum) cancels.
    let mean = weighted / sum;
    for c in candidates.iter_mut() {
        let z = f64::from(c.logit) - f64::from(max);
        c.key = (z - mean).abs() as f32;
    }
    keep_mass(candidates, f64::from(p) * sum);
}

/// Keeps candidates at least `min_p` times as probable as the most probable one.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, min_p: f32) {
    let max = max_logit(candidates);
    let floor = least_logit(max, min_p);
    candidates.retain(|c| c.logit == max || f64::from(c.logit) >= floor);
}

/// The logit of what is `min_p` times as probable as the most probable one.
fn least_logit(max: f32, min_p: f32) -> f64 {
    f64::from(max) + libm::log(f64::from(min_p))
}

/// Sets the weights of candidates; answers their sum.
fn weigh(candidates: &mut [Candidate]) -> f64 {
    let max = max_logit(candidates);
    for c in candidates.iter_mut() {
        c.weight = weights::exp(c.logit - max);
    }
    mass(candidates)
}

fn mass(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|c| f64::from(c.weight)).sum()
}

/// Keeps the candidates of smallest key until their mass is at least `wanted`; at least one stays.
///
/// The one at which the mass is reached is found by dividing the keys into bins of equal width, and
/// the bin in which it lies again, until there are few enough to sort.
fn keep_mass(candidates: &mut Vec<Candidate>, mut wanted: f64) {
    let mut kept = 0; // for certain; `wanted` is to be reached by those behind them
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

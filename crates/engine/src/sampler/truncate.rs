//! Fewer candidates: top-k, typical, top-p, min-p, by partial selection.
//!
//! Order among candidates is always: larger logit first, lower id among equals. A vocabulary of
//! 150,000 is never sorted whole.

use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// Scratch of a stage: what it keeps first has the smaller key.
    key: f32,
}

/// Candidates sorted at once while a mass is gathered; the first chunk nearly always suffices.
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
        let z = f64::from(c.logit) - f64::from(max);
        let weight = libm::exp(z);
        sum += weight;
        weighted += weight * z;
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
fn keep_mass(candidates: &mut Vec<Candidate>, p: f32) {
    let max = max_logit(candidates);
    let weight = |c: &Candidate| libm::exp(f64::from(c.logit) - f64::from(max));
    let wanted = f64::from(p) * candidates.iter().map(weight).sum::<f64>();
    let (mut kept, mut mass, mut chunk) = (0, 0.0, CHUNK);
    while kept < candidates.len() {
        let rest = &mut candidates[kept..];
        let sorted = chunk.min(rest.len());
        if sorted < rest.len() {
            rest.select_nth_unstable_by(sorted - 1, by_key);
        }
        rest[..sorted].sort_unstable_by(by_key);
        for c in &rest[..sorted] {
            mass += weight(c);
            kept += 1;
            if mass >= wanted {
                candidates.truncate(kept);
                return;
            }
        }
        chunk *= 4;
    }
}

fn max_logit(candidates: &[Candidate]) -> f32 {
    candidates
        .iter()
        .map(|c| c.logit)
        .fold(f32::NEG_INFINITY, f32::max)
}

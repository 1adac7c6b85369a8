//! The model's own distribution.

use super::weights::sum_exp;

/// The largest of `logits` but that of `id`.
pub(super) fn largest_but(logits: &[f32], id: usize) -> f32 {
    super::largest(&logits[..id]).max(super::largest(&logits[id + 1..]))
}

/// `ln(sum(exp(logits)))`; negative infinity where all logits are.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = super::largest(logits);
    if max == f32::NEG_INFINITY {
        return max.into();
    }
    f64::from(max) + libm::log(sum_exp(logits, max))
}

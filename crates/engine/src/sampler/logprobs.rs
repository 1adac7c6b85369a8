//! The model's own distribution.

use super::weights::sum_exp;

/// `ln(sum(exp(logits)))`; negative infinity where all logits are.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = super::largest(logits);
    if max == f32::NEG_INFINITY {
        return max.into();
    }
    f64::from(max) + libm::log(sum_exp(logits, max))
}

//! The model's own distribution.

/// `ln(sum(exp(logits)))`; negative infinity where all logits are.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(super::largest(logits));
    if max == f64::NEG_INFINITY {
        return max;
    }
    let sum: f64 = logits.iter().map(|&l| libm::exp(f64::from(l) - max)).sum();
    max + libm::log(sum)
}

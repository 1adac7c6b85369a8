//! Exponentials of many logits at once.
//!
//! A vocabulary of 150,000 takes the mathematical library more than a millisecond. These loops are
//! made of single additions and multiplications without branches, so that the compiler computes
//! several at a time, with the same bits everywhere.

/// Below it an exponential counts as this small: 4e-38.
const LOWEST: f32 = -86.0;
/// Adding it rounds to an integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `exp(z)` for `z` from 0 down, within a few units of the last place: `z = n ln 2 + r` (Cody and
/// Waite), a polynomial of degree 6 in `r`, and `n` added to the exponent.
#[inline(always)]
pub(super) fn exp(z: f32) -> f32 {
    let z = if z > LOWEST { z } else { LOWEST };
    let t = z * std::f32::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    let r = z - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let exponent = t.to_bits().wrapping_sub(ROUND.to_bits()) << 23;
    f32::from_bits(p.to_bits().wrapping_add(exponent))
}

/// The sum of `exp(logit - max)`: sixteen sums over each 256 logits, those added in f64.
pub(super) fn sum_exp(logits: &[f32], max: f32) -> f64 {
    let mut sum = 0.0;
    for block in logits.chunks(256) {
        let mut lanes = [0.0_f32; 16];
        let (whole, rest) = block.as_chunks::<16>();
        for chunk in whole {
            for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                *lane += exp(logit - max);
            }
        }
        for (lane, &logit) in lanes.iter_mut().zip(rest) {
            *lane += exp(logit - max);
        }
        sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    }
    sum
}

/// [`sum_exp`], and the sum of `exp(logit - max) * (logit - max)`, summed alike.
pub(super) fn sum_exp_weighted(logits: &[f32], max: f32) -> (f64, f64) {
    let (mut sum, mut weighted) = (0.0, 0.0);
    for block in logits.chunks(256) {
        let (mut lanes, mut products) = ([0.0_f32; 16], [0.0_f32; 16]);
        let (whole, rest) = block.as_chunks::<16>();
        let all = lanes.iter_mut().zip(&mut products);
        for ((lane, product), &logit) in all.zip(rest) {
            let z = (logit - max).max(LOWEST);
            let e = exp(z);
            *lane += e;
            *product += e * z;
        }
        for chunk in whole {
            let all = lanes.iter_mut().zip(&mut products);
            for ((lane, product), &logit) in all.zip(chunk) {
                let z = (logit - max).max(LOWEST);
                let e = exp(z);
                *lane += e;
                *product += e * z;
            }
        }
        sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        weighted += products.iter().map(|&p| f64::from(p)).sum::<f64>();
    }
    (sum, weighted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exp_is_exact_to_a_few_units(z in -85.9_f32..=0.0) {
            let want = libm::exp(f64::from(z));
            let error = (f64::from(exp(z)) - want).abs() / want;
            prop_assert!(error < 3e-7, "exp({z}) is off by {error}");
        }

        #[test]
        fn exp_never_falls(a in -200.0_f32..=0.0, b in -200.0_f32..=0.0) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(exp(low) <= exp(high) * (1.0 + 3e-7));
        }

        #[test]
        fn a_sum_is_that_of_its_parts(logits in prop::collection::vec(-40.0_f32..40.0, 1..700)) {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let want: f64 = logits.iter().map(|&l| libm::exp(f64::from(l - max))).sum();
            prop_assert!((sum_exp(&logits, max) - want).abs() < 2e-6 * want);
        }
    }

    #[test]
    fn the_entropy_of_even_chances_is_the_logarithm_of_their_number() {
        let mut logits = vec![3.0_f32; 1000];
        logits.extend([f32::NEG_INFINITY; 77]);
        let (sum, weighted) = sum_exp_weighted(&logits, 3.0);
        let entropy = libm::log(sum) - weighted / sum;
        assert!((entropy - libm::log(1000.0)).abs() < 1e-6, "{entropy}");
    }

    #[test]
    fn nothing_is_almost_nothing_and_zero_is_one() {
        assert_eq!(exp(0.0), 1.0);
        for z in [-87.0, -1e30, f32::NEG_INFINITY, f32::NAN] {
            assert!(exp(z) > 0.0 && exp(z) < 1e-37, "{z}");
        }
    }
}

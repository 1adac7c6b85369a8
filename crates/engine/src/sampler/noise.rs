//! Noise from a counter: a pure function of (seed, position, token id).
//!
//! Two levels of SplitMix64 (Steele, Lea, Flood 2014, <https://doi.org/10.1145/2714064.2660195>),
//! each read at an index instead of in sequence: the seed's stream at `position` gives a key, the
//! key's stream at the token id gives 64 bits, the upper 53 of which make `u`, strictly between 0
//! and 1. `ln` and `exp` come from the `libm` crate, so that machines agree to the last bit.

use super::truncate::Candidate;
use super::weights;

/// SplitMix64's step: the odd integer nearest to 2^64 over the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The value at `index` of the stream that starts from `state`.
fn at(state: u64, index: u32) -> u64 {
    mix(state.wrapping_add((u64::from(index) + 1).wrapping_mul(GOLDEN)))
}

/// What all tokens of one position share.
pub(super) fn position_key(seed: u64, position: u32) -> u64 {
    // Mixed first: neighbouring seeds must not be neighbouring stretches of one stream.
    at(mix(seed ^ GOLDEN), position)
}

/// Uniform, strictly between 0 and 1.
fn uniform(key: u64, token: u32) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    ((at(key, token) >> 11) as f64 + 0.5) * STEP
}

/// The winner of the race among `candidates`: the smallest `-ln(u) / exp(logit / temperature)`,
/// the lowest id among equals; `None` where there is no candidate.
pub(super) fn draw(key: u64, temperature: f32, candidates: &[Candidate]) -> Option<u32> {
    let max = candidates
        .iter()
        .map(|c| c.logit)
        .fold(f32::NEG_INFINITY, f32::max);
    // What a cheap exponential of a rounded argument may be too small by.
    const ROUNDING: f32 = 1.0001;
    let cooled = 1.0 / temperature;
    let temperature = f64::from(temperature);
    let mut best: Option<(f64, u32)> = None;
    for c in candidates {
        let u = uniform(key, c.id);
        // -ln(u) >= 1 - u: most candidates are out before a logarithm or an exact weight is taken.
        let at_most = f64::from(weights::exp((c.logit - max) * cooled) * ROUNDING);
        if best.is_some_and(|(time, _)| 1.0 - u > time * at_most) {
            continue;
        }
        let weight = libm::exp((f64::from(c.logit) - f64::from(max)) / temperature);
        // A weight that underflowed to 0 gives an infinite time: it loses to the most probable.
        let time = -libm::log(u) / weight;
        if best.is_none_or(|(t, id)| time < t || (time == t && c.id < id)) {
            best = Some((time, c.id));
        }
    }
    best.map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_what_it_was() {
        // Changing these values changes every sampled answer: it is a new numerics class.
        let key = position_key(42, 7);
        let drawn: Vec<u64> = (0..3).map(|t| at(key, t)).collect();
        insta::assert_debug_snapshot!(drawn);
    }

    /// The first outputs of SplitMix64 from state 1234567, as its published implementations give them.
    #[test]
    fn a_stream_is_splitmix64() {
        let drawn: Vec<u64> = (0..3).map(|i| at(1_234_567, i)).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(drawn, published);
    }

    #[test]
    fn uniform_is_strictly_inside() {
        for token in 0..10_000 {
            let u = uniform(position_key(1, token), token);
            assert!(u > 0.0 && u < 1.0);
        }
    }
}

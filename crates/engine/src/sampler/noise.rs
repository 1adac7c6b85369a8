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

/// The upper 53 bits of a token's noise.
fn steps(key: u64, token: u32) -> u64 {
    at(key, token) >> 11
}

/// Uniform, strictly between 0 and 1.
fn uniform(steps: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    (steps as f64 + 0.5) * STEP
}

/// The smallest `u` that a token needs to have a chance, in steps of 2^-53 and rounded down, where no
/// time above `time` wins and no weight is above `at_most`: `-ln(u) >= 1 - u`.
fn needed(time: f64, at_most: f64) -> u64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    const ROUNDING: f64 = 4.0; // more than the three roundings below can make of one step
    // A float that is negative or not a number becomes 0: all have a chance.
    ((1.0 - time * at_most) * STEPS - ROUNDING) as u64
}

/// A race: the smallest `-ln(u) / exp(logit / temperature)` wins, the lowest id among equals.
struct Race {
    key: u64,
    /// The largest logit, whose weight is 1.
    max: f32,
    temperature: f64,
    cooled: f32,
    /// The time of who leads, and who that is.
    best: (f64, u32),
}

impl Race {
    /// `id` has the largest logit, and leads.
    fn new(key: u64, temperature: f32, id: u32, max: f32) -> Self {
        let mut race = Self {
            key,
            max,
            temperature: temperature.into(),
            cooled: (1.0 / temperature).min(f32::MAX),
            best: (f64::INFINITY, id),
        };
        race.run(id, max, steps(key, id));
        race
    }

    /// What the weight of a logit is at most.
    fn at_most(&self, logit: f32) -> f64 {
        // What a cheap exponential of a rounded argument may be too small by.
        const ROUNDING: f32 = 1.0001;
        f64::from(weights::exp((logit - self.max) * self.cooled) * ROUNDING)
    }

    /// The steps that tokens of no larger logit need: most are out before a logarithm or an exact
    /// weight is taken.
    fn needed(&self, logit: f32) -> u64 {
        needed(self.best.0, self.at_most(logit))
    }

    fn run(&mut self, id: u32, logit: f32, steps: u64) {
        let weight = libm::exp((f64::from(logit) - f64::from(self.max)) / self.temperature);
        // A weight that underflowed to 0 gives an infinite time: it loses to the most probable.
        let time = -libm::log(uniform(steps)) / weight;
        let (best, first) = self.best;
        if time < best || (time == best && id < first) {
            self.best = (time, id);
        }
    }
}

/// The winner among `candidates`; `None` where there is none.
pub(super) fn draw(key: u64, temperature: f32, candidates: &[Candidate]) -> Option<u32> {
    let by_logit = |a: &&Candidate, b: &&Candidate| a.logit.total_cmp(&b.logit);
    let largest = candidates.iter().max_by(by_logit)?;
    let mut race = Race::new(key, temperature, largest.id, largest.logit);
    for c in candidates {
        let steps = steps(key, c.id);
        if steps >= race.needed(c.logit) {
            race.run(c.id, c.logit, steps);
        }
    }
    Some(race.best.1)
}

/// Tokens that are ruled out by the largest of their logits.
const BLOCK: usize = 64;

/// The winner among all tokens of a vocabulary but those of negative infinity.
pub(super) fn draw_any(key: u64, temperature: f32, logits: &[f32]) -> Option<u32> {
    let first = super::argmax(logits)?;
    let mut race = Race::new(key, temperature, first, logits[first as usize]);
    let firsts = (0_u32..).step_by(BLOCK);
    for (first, block) in firsts.zip(logits.chunks(BLOCK)) {
        let largest = super::largest(block);
        let mut needed = race.needed(largest);
        for (id, &logit) in (first..).zip(block) {
            let steps = steps(race.key, id);
            if steps >= needed && logit > f32::NEG_INFINITY {
                race.run(id, logit, steps);
                needed = race.needed(largest);
            }
        }
    }
    Some(race.best.1)
}

/// [`draw_any`] by its definition.
#[cfg(test)]
pub(super) fn plain_draw(key: u64, temperature: f32, logits: &[f32]) -> Option<u32> {
    let first = super::argmax(logits)?;
    let mut race = Race::new(key, temperature, first, logits[first as usize]);
    for (id, &logit) in (0..).zip(logits) {
        if logit > f32::NEG_INFINITY {
            race.run(id, logit, steps(key, id));
        }
    }
    Some(race.best.1)
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
            let u = uniform(steps(position_key(1, token), token));
            assert!(u > 0.0 && u < 1.0);
        }
    }
}

//! Isotonic regression: the steps, never falling, that come nearest to what happened.
//!
//! Pool adjacent violators (Ayer, Brunk, Ewing, Reid and Silverman, 1955; as calibration: Zadrozny and
//! Elkan, KDD 2002). Between the middles of two steps the value goes in a straight line, so that answers
//! with different scores stay apart.

use serde::{Deserialize, Serialize};

/// Outcomes of the base rate that are added to each step: what was seen five times out of five is not
/// certain.
const PRIOR: f64 = 1.0;

/// From a score to a probability, never falling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// (score, probability), both ascending.
    knots: Vec<(f64, f64)>,
}

/// A step while it is made.
#[derive(Debug, Clone, Copy)]
struct Step {
    scores: f64,
    right: f64,
    count: f64,
}

impl Step {
    fn mean(&self) -> f64 {
        self.right / self.count
    }

    fn join(&mut self, other: Self) {
        self.scores += other.scores;
        self.right += other.right;
        self.count += other.count;
    }
}

impl Isotonic {
    /// Learns from (score, right). Scores that are not finite are left out; without any that are, every
    /// score has the probability 0.5.
    pub fn fit(outcomes: &[(f64, bool)]) -> Self {
        let mut sorted: Vec<(f64, bool)> = outcomes
            .iter()
            .copied()
            .filter(|o| o.0.is_finite())
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let right = sorted.iter().filter(|o| o.1).count() as f64;
        let base = (right + 1.0) / (sorted.len() as f64 + 2.0);
        let mut steps: Vec<Step> = Vec::new();
        let mut last = f64::NEG_INFINITY;
        for (score, right) in sorted {
            let step = Step {
                scores: score,
                right: f64::from(u8::from(right)),
                count: 1.0,
            };
            // Equal scores are one step from the beginning.
            match steps.last_mut() {
                Some(top) if score == last => top.join(step),
                _ => steps.push(step),
            }
            last = score;
        }
        let knots = pool(steps).into_iter().map(|step| {
            let probability = (step.right + PRIOR * base) / (step.count + PRIOR);
            (step.scores / step.count, probability)
        });
        // The added outcomes pull small steps further than large ones: they may cross by a little.
        let mut least = 0.0_f64;
        let knots = knots.map(|(score, probability)| {
            least = least.max(probability);
            (score, least)
        });
        let mut knots: Vec<(f64, f64)> = knots.collect();
        if knots.is_empty() {
            knots.push((0.0, 0.5));
        }
        Self { knots }
    }

    /// The probability of a score: that of the first or last step beyond them.
    pub fn probability(&self, score: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 <= score);
        let before = above.checked_sub(1).and_then(|i| self.knots.get(i));
        match (before, self.knots.get(above)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (score - a.0) / (b.0 - a.0),
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => 0.5,
        }
    }

    /// Whether it is what [`Self::fit`] makes: ascending, probabilities from 0 to 1. For one that was read
    /// from a file.
    pub fn is_valid(&self) -> bool {
        let fine = |k: &(f64, f64)| k.0.is_finite() && (0.0..=1.0).contains(&k.1);
        let rises = self.knots.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        !self.knots.is_empty() && self.knots.iter().all(fine) && rises
    }
}

/// Joins steps until none is lower than the one before it.
fn pool(steps: Vec<Step>) -> Vec<Step> {
    let mut pooled: Vec<Step> = Vec::with_capacity(steps.len());
    for mut step in steps {
        while let Some(before) = pooled.last() {
            if before.mean() < step.mean() {
                break;
            }
            step.join(*before);
            pooled.pop();
        }
        pooled.push(step);
    }
    pooled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn violators_are_pooled() {
        let outcomes = [
            (1.0, false),
            (2.0, true),
            (3.0, false),
            (4.0, true),
            (5.0, true),
        ];
        let fitted = Isotonic::fit(&outcomes);
        let scores: Vec<f64> = fitted.knots.iter().map(|k| k.0).collect();
        assert_eq!(scores, [1.0, 2.5, 4.5]);
        let base = 4.0 / 7.0;
        assert!((fitted.probability(2.5) - (1.0 + base) / 3.0).abs() < 1e-12);
        assert_eq!(fitted.probability(-7.0), fitted.probability(1.0));
        assert_eq!(fitted.probability(99.0), (2.0 + base) / 3.0);
    }

    #[test]
    fn nothing_known_is_a_half() {
        let fitted = Isotonic::fit(&[(f64::NAN, true)]);
        assert_eq!(fitted.probability(3.0), 0.5);
        assert!(fitted.is_valid());
        assert!(
            !Isotonic {
                knots: vec![(1.0, 0.6), (2.0, 0.5)]
            }
            .is_valid()
        );
        assert!(
            !Isotonic {
                knots: vec![(1.0, f64::NAN)]
            }
            .is_valid()
        );
    }

    proptest! {
        #[test]
        fn it_never_falls_and_stays_a_probability(
            outcomes in prop::collection::vec((-3_i8..3, any::<bool>()), 0..60),
            a in -5.0_f64..5.0, b in -5.0_f64..5.0,
        ) {
            let outcomes: Vec<(f64, bool)> = outcomes.iter().map(|o| (f64::from(o.0), o.1)).collect();
            let fitted = Isotonic::fit(&outcomes);
            prop_assert!(fitted.is_valid());
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(fitted.probability(low) <= fitted.probability(high) + 1e-12);
            prop_assert!((0.0..=1.0).contains(&fitted.probability(a)));
        }
    }

    #[test]
    fn the_mean_is_the_share_that_was_right() {
        // Right as often as the score says, by a sequence that fills the interval evenly.
        let drawn = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / 16_777_216.0;
        let outcome = |i: u64| {
            let score = (i % 200) as f64 / 200.0;
            (score, drawn(i) < score)
        };
        let outcomes: Vec<(f64, bool)> = (0..2000).map(outcome).collect();
        let fitted = Isotonic::fit(&outcomes);
        let n = outcomes.len() as f64;
        let mean = outcomes
            .iter()
            .map(|o| fitted.probability(o.0))
            .sum::<f64>()
            / n;
        let right = outcomes.iter().filter(|o| o.1).count() as f64 / n;
        assert!((mean - right).abs() < 0.02, "{mean} {right}");
    }
}

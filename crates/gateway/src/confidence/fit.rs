//! Learning a calibration from outcomes, and saying honestly what it is worth.
//!
//! Outcomes are cut into [`PARTS`] by the hash of their text. A combination that has seen an outcome is
//! sure of it, so steps fitted to such scores would promise too much: the steps are fitted to scores that
//! each come from a combination without that part. What is said of the error comes from a second round
//! around this one: each part gets probabilities from combination and steps that never saw it.

use super::calibration::{Stage, Staged};
use super::features::{self, BUCKETS};
use super::isotonic::Isotonic;
use super::logistic::{Logistic, Ridge, Row};
use super::measure::{self, Judged};

/// Parts that outcomes are cut into.
pub const PARTS: u32 = 5;
/// The fewest outcomes, and the fewest of each kind, that anything is learned from.
pub const FEWEST: usize = 40;
/// The fewest right ones and the fewest wrong ones.
pub const FEWEST_EACH: usize = 4;
/// The most outcomes: the last ones count.
pub const MOST: usize = 50_000;
/// The most that are kept for thresholds.
const KEPT: usize = 5_000;
const BOOTSTRAPS: usize = 200;

/// One outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What was known.
    pub row: Row,
    /// Whether the answer was right.
    pub right: bool,
    /// [`super::Asked::key`]: near copies have the same.
    pub key: u32,
}

/// Why nothing can be learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Too few outcomes.
    #[error(
        "{found} outcomes are too few to learn from; give {FEWEST} or more, better some hundreds"
    )]
    TooFew {
        /// How many there are.
        found: usize,
    },
    /// Of one kind only, or nearly.
    #[error(
        "{right} answers are right and {wrong} wrong; at least {FEWEST_EACH} of each are needed: give more examples, among them harder or easier ones"
    )]
    OneKind {
        /// Right ones.
        right: usize,
        /// Wrong ones.
        wrong: usize,
    },
}

/// Learns a stage.
///
/// # Errors
/// [`FitError`]: there is too little to learn from.
pub fn fit(stage: Stage, examples: &[Example]) -> Result<Staged, FitError> {
    let start = examples.len().saturating_sub(MOST);
    let examples = examples.get(start..).unwrap_or_default();
    let right = examples.iter().filter(|e| e.right).count();
    let wrong = examples.len() - right;
    if examples.len() < FEWEST {
        return Err(FitError::TooFew {
            found: examples.len(),
        });
    }
    if right < FEWEST_EACH || wrong < FEWEST_EACH {
        return Err(FitError::OneKind { right, wrong });
    }
    let scale = scale(examples);
    let data = Data::new(examples, &scale);
    let held_out = data.held_out();
    let error = measure::bootstrap(&held_out, BOOTSTRAPS, measure::ece);
    let kept = held_out.iter().rev().take(KEPT).rev();
    Ok(Staged {
        stage,
        names: features::names(stage).map(str::to_owned).collect(),
        logistic: data.logistic(&[]),
        isotonic: Isotonic::fit(&data.scores(None)),
        scale,
        sample_size: examples.len() as u32,
        error: (error.value, error.low, error.high),
        held_out: kept.map(|j| (j.probability as f32, j.right)).collect(),
    })
}

/// Probabilities for all examples, each from what never saw its part: for reports.
pub fn held_out(examples: &[Example]) -> Vec<Judged> {
    Data::new(examples, &scale(examples)).held_out()
}

/// Fewer outcomes of the rarer kind, smaller weights: from some thirty errors nobody learns fifty weights.
fn ridge(targets: &[f64]) -> Ridge {
    let right: f64 = targets.iter().sum();
    let rarer = right.min(targets.len() as f64 - right).max(1.0);
    Ridge {
        dense: 3.0 + 800.0 / rarer,
        sparse: 2.0 + 60.0 / rarer,
    }
}

/// Mean and spread of each number.
fn scale(examples: &[Example]) -> Vec<(f64, f64)> {
    let n = examples.len().max(1) as f64;
    let width = examples.first().map_or(0, |e| e.row.dense.len());
    let mut sums = vec![(0.0, 0.0); width];
    for example in examples {
        for (sum, x) in sums.iter_mut().zip(&example.row.dense) {
            sum.0 += x;
            sum.1 += x * x;
        }
    }
    let scale = sums.into_iter().map(|(sum, squares)| {
        let mean = sum / n;
        let spread = (squares / n - mean * mean).max(0.0).sqrt();
        // What is always the same says nothing; anything else behind it neither.
        (mean, if spread > 1e-6 { spread } else { 1e6 })
    });
    scale.collect()
}

struct Data {
    rows: Vec<Row>,
    targets: Vec<f64>,
    right: Vec<bool>,
    parts: Vec<u32>,
    width: usize,
}

impl Data {
    fn new(examples: &[Example], scale: &[(f64, f64)]) -> Self {
        let row = |e: &Example| Staged::scaled(scale, e.row.clone());
        let sparse = examples.iter().any(|e| !e.row.sparse.is_empty());
        Self {
            rows: examples.iter().map(row).collect(),
            targets: examples
                .iter()
                .map(|e| f64::from(u8::from(e.right)))
                .collect(),
            right: examples.iter().map(|e| e.right).collect(),
            parts: examples.iter().map(|e| e.key % PARTS).collect(),
            width: if sparse { BUCKETS as usize } else { 0 },
        }
    }

    /// The combination of all but some parts.
    fn logistic(&self, without: &[u32]) -> Logistic {
        let all = self.rows.iter().zip(&self.targets).zip(&self.parts);
        let inside = all.filter(|(_, part)| !without.contains(part));
        let (rows, targets): (Vec<Row>, Vec<f64>) = inside
            .map(|((row, target), _)| (row.clone(), *target))
            .unzip();
        Logistic::fit(&rows, &targets, self.width, ridge(&targets))
    }

    /// (score, right) of all but the part `without`, each scored by what saw neither its part nor that.
    fn scores(&self, without: Option<u32>) -> Vec<(f64, bool)> {
        let mut out = Vec::with_capacity(self.rows.len());
        for part in (0..PARTS).filter(|part| Some(*part) != without) {
            let both: Vec<u32> = without.into_iter().chain([part]).collect();
            out.extend(self.scored(part, &self.logistic(&both)));
        }
        out
    }

    fn scored(&self, part: u32, by: &Logistic) -> Vec<(f64, bool)> {
        let all = self.rows.iter().zip(&self.right).zip(&self.parts);
        let inside = all.filter(|(_, p)| **p == part);
        inside
            .map(|((row, right), _)| (by.log_odds(row), *right))
            .collect()
    }

    fn held_out(&self) -> Vec<Judged> {
        let mut out = Vec::with_capacity(self.rows.len());
        for part in 0..PARTS {
            let steps = Isotonic::fit(&self.scores(Some(part)));
            let scored = self.scored(part, &self.logistic(&[part]));
            out.extend(scored.into_iter().map(|(score, right)| Judged {
                probability: steps.probability(score),
                right,
            }));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::measure::Noise;

    /// Outcomes whose first number says how likely they are right, and whose others are noise.
    fn examples(n: u32, noisy: usize) -> Vec<Example> {
        let mut noise = Noise(11);
        let names = features::names(Stage::Before).count();
        (0..n)
            .map(|i| {
                let x = 4.0 * noise.unit() - 2.0;
                let mut dense = vec![x];
                dense.extend((1..names).map(|k| if k <= noisy { noise.unit() } else { 0.0 }));
                let right = noise.unit() < super::super::logistic::sigmoid(2.0 * x);
                Example {
                    row: Row {
                        dense,
                        sparse: Vec::new(),
                    },
                    right,
                    key: i,
                }
            })
            .collect()
    }

    #[test]
    fn what_was_never_seen_comes_out_as_said() {
        let examples = examples(1500, 5);
        let staged = fit(Stage::Before, &examples).unwrap();
        let judged = staged.judged();
        let chance = measure::ece_of_chance(&judged, 20);
        assert!(
            staged.error.0 < chance + 0.02,
            "{:?} {chance}",
            staged.error
        );
        assert!(measure::auroc(&judged) > 0.85);
        assert!(staged.error.1 <= staged.error.0 + 0.02 && staged.error.0 <= staged.error.2 + 0.02);
        assert_eq!((staged.sample_size, judged.len()), (1500, 1500));
    }

    #[test]
    fn what_cannot_be_learned_is_not_promised() {
        // Small, and all noise: fitted and measured on the same outcomes this would look good.
        let mut noise = Noise(5);
        let mut all = examples(80, 26);
        all.iter_mut().for_each(|e| e.right = noise.unit() < 0.5);
        let staged = fit(Stage::Before, &all).unwrap();
        let judged = staged.judged();
        let auroc = measure::auroc(&judged);
        assert!((0.3..0.7).contains(&auroc), "{auroc}");
    }

    #[test]
    fn too_little_is_refused() {
        assert_eq!(
            fit(Stage::Before, &examples(39, 0)),
            Err(FitError::TooFew { found: 39 })
        );
        let mut all = examples(60, 0);
        all.iter_mut().for_each(|e| e.right = true);
        assert_eq!(
            fit(Stage::Before, &all),
            Err(FitError::OneKind {
                right: 60,
                wrong: 0
            })
        );
    }
}

//! Learning a calibration from outcomes, and saying honestly what it is worth.
//!
//! Outcomes are cut into [`PARTS`] by the hash of their text. A combination that has seen an outcome is
//! sure of it, so steps fitted to such scores would promise too much: the steps are fitted to scores that
//! each come from a combination without that part. What is said of the error comes from a second round
//! around this one: each part gets probabilities from combination and steps that never saw it.
//!
//! What is recalled of other requests is learned with the combination, from the same parts; and of a text
//! that is among them it is asked without that text, as it will be of texts that nobody has seen.

use super::calibration::{Stage, Staged};
use super::features::{self, BUCKETS};
use super::isotonic::Isotonic;
use super::logistic::{Logistic, Ridge, Row};
use super::measure::{self, Judged};
use super::recall::{self, Lesson, Recall};
use std::collections::BTreeMap;

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
    /// What others can learn of it, where its text is known.
    pub lesson: Option<Lesson>,
}

impl Example {
    /// How likely its answer is right by what `recall` has learned of other texts.
    fn opinion(&self, stage: Stage, recall: &Recall) -> Option<[f64; recall::NAMES.len()]> {
        let lesson = self.lesson.as_ref()?;
        let answer = (stage != Stage::Before).then_some(lesson.answer);
        Some(recall.opinion(&lesson.words, &lesson.choices, answer))
    }
}

/// Learns which answers were right for which words.
pub fn recall(examples: &[Example]) -> Recall {
    let start = examples.len().saturating_sub(MOST);
    let examples = examples.get(start..).unwrap_or_default();
    Recall::learn(examples.iter().filter_map(|e| e.lesson.as_ref()))
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
    let data = Data::new(stage, examples);
    let all = data.combined(&[]);
    let held_out = data.held_out();
    let error = measure::bootstrap(&held_out, BOOTSTRAPS, measure::ece);
    let kept = held_out.iter().rev().take(KEPT).rev();
    Ok(Staged {
        stage,
        names: features::names(stage).map(str::to_owned).collect(),
        logistic: all.logistic,
        isotonic: Isotonic::fit(&data.scores(None)),
        scale: all.scale,
        sample_size: examples.len() as u32,
        error: (error.value, error.low, error.high),
        held_out: kept.map(|j| (j.probability as f32, j.right)).collect(),
    })
}

/// Probabilities for all examples, in their order, each from what never saw its part: for reports.
pub fn held_out(stage: Stage, examples: &[Example]) -> Vec<Judged> {
    Data::new(stage, examples).held_out()
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
fn scale(rows: &[Row]) -> Vec<(f64, f64)> {
    let n = rows.len().max(1) as f64;
    let width = rows.first().map_or(0, |row| row.dense.len());
    let mut sums = vec![(0.0, 0.0); width];
    for row in rows {
        for (sum, x) in sums.iter_mut().zip(&row.dense) {
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

struct Data<'a> {
    stage: Stage,
    examples: &'a [Example],
    width: usize,
}

/// What was learned from some parts.
struct Combined {
    recall: Recall,
    scale: Vec<(f64, f64)>,
    logistic: Logistic,
}

impl Combined {
    /// The score of an example of another part.
    fn score(&self, stage: Stage, example: &Example) -> f64 {
        let mut row = example.row.clone();
        if let Some(opinion) = example.opinion(stage, &self.recall) {
            features::recall_into(&mut row, &opinion);
        }
        self.logistic.log_odds(&Staged::scaled(&self.scale, row))
    }
}

fn part(example: &Example) -> u32 {
    example.key % PARTS
}

impl<'a> Data<'a> {
    fn new(stage: Stage, examples: &'a [Example]) -> Self {
        let sparse = examples.iter().any(|e| !e.row.sparse.is_empty());
        Self {
            stage,
            examples,
            width: if sparse { BUCKETS as usize } else { 0 },
        }
    }

    /// What is learned from all but some parts.
    fn combined(&self, without: &[u32]) -> Combined {
        let inside = self.examples.iter().filter(|e| !without.contains(&part(e)));
        let inside: Vec<&Example> = inside.collect();
        let mut recall = Recall::learn(inside.iter().filter_map(|e| e.lesson.as_ref()));
        let mut rows = self.rows(&inside, &mut recall);
        let scale = scale(&rows);
        for row in &mut rows {
            *row = Staged::scaled(&scale, std::mem::take(row));
        }
        let targets: Vec<f64> = inside
            .iter()
            .map(|e| f64::from(u8::from(e.right)))
            .collect();
        Combined {
            logistic: Logistic::fit(&rows, &targets, self.width, ridge(&targets)),
            recall,
            scale,
        }
    }

    /// The rows of what `recall` was learned from: it is asked of each text as if it had not seen it.
    fn rows(&self, inside: &[&Example], recall: &mut Recall) -> Vec<Row> {
        let mut copies: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, example) in inside.iter().enumerate() {
            copies.entry(example.key).or_default().push(i);
        }
        let mut rows: Vec<Row> = inside.iter().map(|e| e.row.clone()).collect();
        for same in copies.values() {
            let all = || same.iter().filter_map(|&i| inside.get(i));
            let lessons = || all().filter_map(|e| e.lesson.as_ref());
            lessons().for_each(|lesson| recall.count(lesson, -1.0));
            for (&i, example) in same.iter().zip(all()) {
                if let (Some(row), Some(opinion)) =
                    (rows.get_mut(i), example.opinion(self.stage, recall))
                {
                    features::recall_into(row, &opinion);
                }
            }
            lessons().for_each(|lesson| recall.count(lesson, 1.0));
        }
        rows
    }

    /// (score, right) of all but the part `without`, each scored by what saw neither its part nor that.
    fn scores(&self, without: Option<u32>) -> Vec<(f64, bool)> {
        let mut out = Vec::with_capacity(self.examples.len());
        for part in (0..PARTS).filter(|part| Some(*part) != without) {
            let both: Vec<u32> = without.into_iter().chain([part]).collect();
            let scored = self.scored(part, &self.combined(&both));
            out.extend(scored.into_iter().map(|(_, score, right)| (score, right)));
        }
        out
    }

    /// (place, score, right) of a part.
    fn scored(&self, wanted: u32, by: &Combined) -> Vec<(usize, f64, bool)> {
        let all = self.examples.iter().enumerate();
        let inside = all.filter(|(_, e)| part(e) == wanted);
        let scored = inside.map(|(i, e)| (i, by.score(self.stage, e), e.right));
        scored.collect()
    }

    fn held_out(&self) -> Vec<Judged> {
        let mut out = Vec::with_capacity(self.examples.len());
        for part in 0..PARTS {
            let steps = Isotonic::fit(&self.scores(Some(part)));
            let scored = self.scored(part, &self.combined(&[part]));
            out.extend(scored.into_iter().map(|(place, score, right)| {
                let probability = steps.probability(score);
                (place, Judged { probability, right })
            }));
        }
        out.sort_unstable_by_key(|(place, _)| *place);
        out.into_iter().map(|(_, judged)| judged).collect()
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
                    lesson: None,
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

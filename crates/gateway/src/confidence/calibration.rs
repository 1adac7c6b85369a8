//! A calibration of one model at one task.

use super::Confidence;
use super::features::{self, BUCKETS, Features};
use super::isotonic::Isotonic;
use super::logistic::{Logistic, Row};
use super::measure::Judged;
use super::recall::Recall;
use serde::{Deserialize, Serialize};

/// What the model and what is recalled of other requests say of the odds are few numbers, and each is an
/// opinion by itself: their weights are held back less than those of the many signals, by the square of these.
const ODDS_WEIGHT: f64 = 6.0;
const RECALL_WEIGHT: f64 = 3.0;

/// What is known when a probability is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The request.
    Before,
    /// And the first [`super::PREFIX_TOKENS`] tokens of the answer.
    Prefix,
    /// And all of it.
    After,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Before, Self::Prefix, Self::After];

    /// As a person reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Prefix => "prefix",
            Self::After => "after",
        }
    }
}

/// What a stage has learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    /// Which.
    pub stage: Stage,
    /// Names of the numbers in a row: a program that makes other rows cannot use it.
    pub names: Vec<String>,
    /// What is taken from each number of a row, and what it is then divided by.
    pub scale: Vec<(f64, f64)>,
    /// The numbers together.
    pub logistic: Logistic,
    /// Their sum as a probability.
    pub isotonic: Isotonic,
    /// Outcomes that it was learned from.
    pub sample_size: u32,
    /// Expected calibration error on outcomes it was not fitted to, and its 95% interval.
    pub error: (f64, f64, f64),
    /// Probabilities of outcomes that they were not fitted to, and what was right.
    pub held_out: Vec<(f32, bool)>,
}

impl Staged {
    /// The row as the weights want it.
    pub fn scaled(scale: &[(f64, f64)], mut row: Row) -> Row {
        for (x, (mean, spread)) in row.dense.iter_mut().zip(scale) {
            *x = ((*x - mean) / spread).clamp(-8.0, 8.0);
        }
        let from = row.dense.len().saturating_sub(features::OPINIONS);
        let weights = (0..features::ODDS)
            .map(|_| ODDS_WEIGHT)
            .chain(std::iter::repeat(RECALL_WEIGHT));
        let opinions = row.dense.iter_mut().skip(from).zip(weights);
        opinions.for_each(|(x, weight)| *x *= weight);
        row
    }

    /// The probability of a row.
    pub fn probability(&self, row: Row) -> f64 {
        let odds = self.logistic.log_odds(&Self::scaled(&self.scale, row));
        self.isotonic.probability(odds)
    }

    /// Outcomes that it was not fitted to.
    pub fn judged(&self) -> Vec<Judged> {
        let judged = |&(probability, right): &(f32, bool)| Judged {
            probability: f64::from(probability),
            right,
        };
        self.held_out.iter().map(judged).collect()
    }

    /// What is wrong in it, if it was read from a file.
    fn fault(&self) -> Option<&'static str> {
        let n = self.names.len();
        let scales = |s: &(f64, f64)| s.0.is_finite() && s.1.is_finite() && s.1 > 0.0;
        let (low, high) = (self.error.1, self.error.2);
        if !self
            .names
            .iter()
            .map(String::as_str)
            .eq(features::names(self.stage))
        {
            Some("it was made by a version of Ingle with other signals")
        } else if self.scale.len() != n || !self.scale.iter().all(scales) {
            Some("its scales are no numbers")
        } else if self.logistic.dense.len() != n
            || self.logistic.sparse.len() > BUCKETS as usize
            || !self.logistic.is_finite()
        {
            Some("its weights are no numbers, or too many")
        } else if !self.isotonic.is_valid() {
            Some("its steps do not rise")
        } else if !(low.is_finite() && high.is_finite() && (0.0..=1.0).contains(&self.error.0)) {
            Some("its error is none")
        } else if !self.held_out.iter().all(|h| (0.0..=1.0).contains(&h.0)) {
            Some("its outcomes are no probabilities")
        } else {
            None
        }
    }
}

/// What is known of one model at one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The model: what its answers depend on, as the binary names it.
    pub model: String,
    /// The task.
    pub task: String,
    /// Seconds since 1970 when it was made.
    pub made: u64,
    /// Samples that were drawn of each answer for agreement; 0: none, and none are needed.
    pub samples: u32,
    /// Which answers were right for which words.
    pub recall: Recall,
    /// What each stage has learned.
    pub stages: Vec<Staged>,
}

impl Calibration {
    /// The row for a stage, with what is recalled of other requests.
    pub fn row(&self, stage: Stage, features: &Features<'_>) -> Option<Row> {
        let mut row = features.row(stage)?;
        let lesson = features.lesson(None);
        let answer = (stage != Stage::Before).then_some(lesson.answer);
        let opinion = self.recall.opinion(&lesson.words, &lesson.choices, answer);
        features::recall_into(&mut row, &opinion);
        Some(row)
    }

    /// What a stage has learned, if anything.
    pub fn stage(&self, stage: Stage) -> Option<&Staged> {
        self.stages.iter().find(|s| s.stage == stage)
    }

    /// The probability that an answer is right. Uncalibrated where signals are missing that it was made
    /// with.
    pub fn confidence(&self, stage: Stage, features: &Features<'_>) -> Confidence {
        let needs = self.samples > 0 && stage == Stage::After;
        let row = self.row(stage, features);
        let row = row.filter(|_| !needs || features.agreement.is_some());
        match (self.stage(stage), row) {
            (Some(staged), Some(row)) => Confidence {
                probability: staged.probability(row),
                calibrated: true,
                sample_size: staged.sample_size,
                error: staged.error.0,
            },
            _ => Confidence::uncalibrated(features.raw()),
        }
    }

    /// What is wrong in it, if it was read from a file.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let recall = (!self.recall.is_valid()).then_some("what it recalls are no counts");
        recall.or_else(|| self.stages.iter().find_map(Staged::fault))
    }
}

//! How sure a local answer is: signals of the engine, calibrated on labelled outcomes to a probability.
//!
//! ```text
//! let judge = Judge::open(folder)?;                           calibrations on disk, none to begin with
//! let asked = Asked::new(text);                               what is known of a request before it runs
//! judge.before(model, task, &asked)           -> Confidence   from the request alone
//! judge.prefix(model, task, &asked, &signals) -> Confidence   from the first tokens of the answer
//! judge.after(model, task, &asked, &signals)  -> Confidence   from the whole answer
//! judge.threshold(model, task, stage, &aim)   -> Threshold    below which it pays to escalate
//! ```
//!
//! A calibration belongs to one model and one task. It is two steps learned from outcomes: a regularised
//! logistic combination of the signals ([`logistic`]), one of them what was right for other requests with
//! such words ([`recall`]), then isotonic regression ([`isotonic`]). What is
//! said of its error comes from outcomes that it was not fitted to ([`fit`]).
//!
//! **Invariant:** without a calibration for this very model and task a confidence says that it is not
//! calibrated, and nothing escalates by it.

pub mod aim;
pub mod asked;
pub mod calibration;
pub mod chart;
pub mod features;
pub mod fit;
pub mod isotonic;
pub mod judge;
pub mod logistic;
pub mod measure;
pub mod outcomes;
pub mod pair;
pub mod recall;
pub mod report;
pub mod score;
pub mod split;
mod store;

pub use aim::{Aim, Threshold};
pub use asked::Asked;
pub use calibration::{Calibration, Stage};
pub use features::Features;
pub use judge::Judge;
pub use outcomes::{Drift, Outcomes};
pub use store::{StoreError, check_task};

/// How many tokens of an answer a decision on its beginning waits for.
pub const PREFIX_TOKENS: u32 = 16;

/// How far further samples of an answer stray, which are to agree with it.
pub const AGREEMENT_TEMPERATURE: f32 = 0.8;

/// The share of `samples` that say the same as an answer; `None` of none.
pub fn agreement(answer: &str, samples: &[String]) -> Option<f64> {
    let answer = recall::answer(answer);
    let same = samples.iter().filter(|s| recall::answer(s) == answer);
    (!samples.is_empty()).then(|| same.count() as f64 / samples.len() as f64)
}

/// The probability that a local answer is right, and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Confidence {
    /// 0 to 1. Where it is not calibrated: the mean probability of a token, which says little.
    pub probability: f64,
    /// Whether it was learned from outcomes of this model at this task, and these still come out so.
    pub calibrated: bool,
    /// Outcomes that it was learned from.
    pub sample_size: u32,
    /// How far such probabilities were from the share that was right, on outcomes they were not learned
    /// from: the expected calibration error. 1 where it is not calibrated.
    pub error: f64,
}

impl Confidence {
    /// What nobody has calibrated.
    pub fn uncalibrated(probability: f64) -> Self {
        let probability = if probability.is_nan() {
            0.0
        } else {
            probability
        };
        Self {
            probability: probability.clamp(0.0, 1.0),
            calibrated: false,
            sample_size: 0,
            error: 1.0,
        }
    }

    /// Whether an answer should be had from elsewhere, if it may: never by what is not calibrated.
    pub fn is_below(&self, threshold: &Threshold) -> bool {
        self.calibrated && self.probability < threshold.probability
    }
}

impl std::fmt::Display for Confidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.calibrated {
            true => write!(
                f,
                "{:.2}, calibrated on {} outcomes (error {:.3})",
                self.probability, self.sample_size, self.error
            ),
            false => write!(f, "{:.2}, uncalibrated", self.probability),
        }
    }
}

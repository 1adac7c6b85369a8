//! What a confidence is made of: signals of the engine and of the request, as a row of numbers.

use super::asked::{self, Asked, hash};
use super::calibration::Stage;
use super::logistic::Row;
use ingle_engine::{Signals, Spread};

/// Buckets of short answers: a label is right more often than another.
pub const ANSWERS: u32 = 256;
/// Bytes of an answer that is short.
const SHORT: usize = 80;

/// Names of the numbers that come from the engine.
const SIGNALS: [&str; 24] = [
    "logprob_mean",
    "logprob_worst",
    "logprob_tenth",
    "logprob_quarter",
    "margin_mean",
    "margin_worst",
    "margin_tenth",
    "margin_quarter",
    "entropy_mean",
    "entropy_worst",
    "entropy_tenth",
    "entropy_quarter",
    "allowed_mean",
    "allowed_worst",
    "allowed_tenth",
    "allowed_quarter",
    "logprob_sum",
    "allowed_sum",
    "probability",
    "allowed_probability",
    "avoided",
    "tokens",
    "content",
    "agreement",
];

/// What is known of a request and of the answer to it.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// The request.
    pub asked: &'a Asked,
    /// How much a better model is needed for it: [`super::score::RequestScore::score`].
    pub score: f64,
    /// How sure the model was: of the answer, or of its first [`super::PREFIX_TOKENS`].
    pub signals: Option<&'a Signals>,
    /// The answer so far.
    pub answer: &'a str,
    /// How many of the other samples of the same answer say the same, 0 to 1, where samples were drawn.
    pub agreement: Option<f64>,
}

impl<'a> Features<'a> {
    /// Of a request that has not run.
    pub fn of(asked: &'a Asked, score: f64) -> Self {
        Self {
            asked,
            score,
            signals: None,
            answer: "",
            agreement: None,
        }
    }

    /// The row for a stage. `None` where the stage needs signals and there are none.
    pub fn row(&self, stage: Stage) -> Option<Row> {
        let mut dense = self.asked.dense.clone();
        dense.push(self.score);
        if stage == Stage::Before {
            return Some(Row {
                dense,
                sparse: Vec::new(),
            });
        }
        let s = self.signals?;
        for spread in [s.logprob, s.margin, s.entropy, s.allowed_margin] {
            let Spread {
                mean,
                worst,
                tenth,
                quarter,
            } = spread;
            dense.extend([mean, worst, tenth, quarter].map(|x| squash(f64::from(x))));
        }
        let sums = [s.logprob_sum, s.allowed_logprob_sum].map(f64::from);
        dense.extend(sums.map(squash));
        dense.extend(sums.map(libm::exp));
        dense.extend([s.avoided, s.tokens, s.content].map(|n| libm::log1p(f64::from(n))));
        dense.push(self.agreement.unwrap_or(0.0));
        Some(Row {
            dense,
            sparse: self.label().into_iter().collect(),
        })
    }

    /// The bucket of a short answer.
    fn label(&self) -> Option<(u32, f32)> {
        let answer = self.answer.trim();
        let short = !answer.is_empty() && answer.len() <= SHORT;
        let hash = hash(0x9ae1_6a3b_2f90_404f, answer.to_lowercase().as_bytes());
        short.then_some(((hash % u64::from(ANSWERS)) as u32, 1.0))
    }

    /// The raw measure that others use: the mean probability of a token.
    pub fn raw(&self) -> f64 {
        let mean = |s: &Signals| match s.content {
            0 => 0.0,
            _ => libm::exp(f64::from(s.logprob.mean)),
        };
        self.signals.map_or(0.5, mean)
    }
}

/// Names of the dense numbers of a row, in order.
pub fn names(stage: Stage) -> impl Iterator<Item = &'static str> {
    let signals = match stage {
        Stage::Before => &[][..],
        Stage::Prefix | Stage::After => &SIGNALS[..],
    };
    let text = asked::NAMES.iter().chain(&["request_score"]);
    text.chain(signals).copied()
}

/// Keeps the order and most of what is near 0, so that one far value does not outweigh all others.
fn squash(x: f64) -> f64 {
    libm::asinh(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_name_for_each_number() {
        let asked = Asked::new("what?");
        let signals = Signals::default();
        let features = Features {
            signals: Some(&signals),
            answer: "spam",
            ..Features::of(&asked, 0.3)
        };
        for stage in Stage::ALL {
            let row = features.row(stage).unwrap();
            assert_eq!(row.dense.len(), names(stage).count());
        }
        assert_eq!(features.row(Stage::After).unwrap().sparse.len(), 1);
        assert_eq!(Features::of(&asked, 0.3).row(Stage::After), None);
        assert!(Features::of(&asked, 0.3).row(Stage::Before).is_some());
    }

    #[test]
    fn labels_are_told_apart_and_prose_has_none() {
        let asked = Asked::new("");
        let label = |answer| {
            Features {
                answer,
                ..Features::of(&asked, 0.0)
            }
            .label()
        };
        assert_eq!(label(" Spam\n"), label("spam"));
        assert_ne!(label("spam"), label("ham"));
        let long = "long ".repeat(40);
        assert_eq!(label(&long), None);
        assert_eq!(label(""), None);
    }
}

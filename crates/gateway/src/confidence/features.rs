//! What a confidence is made of: signals of the engine and of the request, as a row of numbers.

use super::asked::{self, Asked, hash};
use super::calibration::Stage;
use super::logistic::Row;
use super::recall::{self, Lesson};
use ingle_engine::{Signals, Spread};

/// Buckets of short answers, of words, and of the two together: a label is right more often than another,
/// and more often behind some words than behind others.
pub const BUCKETS: u32 = 1 << 14;
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

/// Names of the logarithms of odds that the model itself gives its answer: of the mean token, and of all
/// that was allowed. A probability of 0.99 and one of 0.9999 differ by little, their odds by much.
const ODDS_NAMES: [&str; 2] = ["odds", "allowed_odds"];

/// How many those are.
pub const ODDS: usize = ODDS_NAMES.len();

/// The last numbers of a row, each an opinion by itself: of the odds, and what is recalled.
pub const OPINIONS: usize = ODDS + recall::NAMES.len();

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
    /// Hashes of the answers that are allowed, where they are few: [`recall::choices`].
    pub choices: &'a [u32],
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
            choices: &[],
            agreement: None,
        }
    }

    /// The words of the request and the answers to it, for [`recall::Recall`].
    pub fn lesson(&self, right: Option<u32>) -> Lesson {
        Lesson {
            words: self.asked.words.clone(),
            choices: self.choices.to_vec(),
            answer: recall::answer(self.answer),
            right,
        }
    }

    /// The row for a stage. `None` where the stage needs signals and there are none. What a calibration
    /// recalls of other requests, its last numbers, is 0: [`recall_into`].
    pub fn row(&self, stage: Stage) -> Option<Row> {
        let mut dense = self.asked.dense.clone();
        dense.push(self.score);
        if stage == Stage::Before {
            dense.extend([0.0; OPINIONS]);
            return Some(Row {
                dense,
                sparse: self.words().collect(),
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
        dense.extend([s.logprob.mean, s.allowed_logprob_sum].map(|x| odds(f64::from(x))));
        dense.extend([0.0; recall::NAMES.len()]);
        Some(Row {
            dense,
            sparse: self.labels(),
        })
    }

    /// A short answer, the words it answers to, and it beside each of them. Prose has none.
    fn labels(&self) -> Vec<(u32, f32)> {
        let answer = self.answer.trim();
        if answer.is_empty() || answer.len() > SHORT {
            return Vec::new();
        }
        let label = hash(0x9ae1_6a3b_2f90_404f, answer.to_lowercase().as_bytes());
        let both = self.asked.words.iter().map(|&word| {
            let both = hash(label, &word.to_le_bytes());
            (bucket(both), 1.0)
        });
        [(bucket(label), 1.0)]
            .into_iter()
            .chain(self.words())
            .chain(both)
            .collect()
    }

    /// The words of the request.
    fn words(&self) -> impl Iterator<Item = (u32, f32)> {
        let even = 1.0 / (self.asked.words.len().max(1) as f32).sqrt();
        let words = self.asked.words.iter();
        words.map(move |&word| (bucket(u64::from(word)), even))
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

fn bucket(hash: u64) -> u32 {
    ((hash ^ (hash >> 31)) % u64::from(BUCKETS)) as u32
}

/// Writes what is recalled of other requests into a row, whose last numbers it is.
pub fn recall_into(row: &mut Row, opinion: &[f64; recall::NAMES.len()]) {
    let from = row.dense.len().saturating_sub(opinion.len());
    let places = row.dense.iter_mut().skip(from);
    places.zip(opinion).for_each(|(place, x)| *place = *x);
}

/// Names of the dense numbers of a row, in order.
pub fn names(stage: Stage) -> impl Iterator<Item = &'static str> {
    let signals = match stage {
        Stage::Before => &[][..],
        Stage::Prefix | Stage::After => &SIGNALS[..],
    };
    let text = asked::NAMES.iter().chain(&["request_score"]);
    text.chain(signals)
        .chain(&ODDS_NAMES)
        .chain(&recall::NAMES)
        .copied()
}

/// Keeps the order and most of what is near 0, so that one far value does not outweigh all others.
fn squash(x: f64) -> f64 {
    libm::asinh(x)
}

/// The logarithm of the odds of something whose probability has this logarithm.
fn odds(logprob: f64) -> f64 {
    let logprob = logprob.clamp(-12.0, -6e-6);
    logprob - libm::log(-libm::expm1(logprob))
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
        assert_eq!(
            features.row(Stage::After).unwrap().sparse.len(),
            3,
            "a label, a word, both"
        );
        assert_eq!(Features::of(&asked, 0.3).row(Stage::After), None);
        assert!(Features::of(&asked, 0.3).row(Stage::Before).is_some());
    }

    #[test]
    fn odds_are_finite_and_tell_sure_from_surer() {
        assert!(odds(libm::log(0.5)).abs() < 1e-9);
        assert!((odds(libm::log(0.99)) - libm::log(99.0)).abs() < 1e-9);
        assert!(odds(-0.0001) - odds(-0.01) > 4.0);
        for logprob in [0.0, -0.0, f64::NEG_INFINITY, -1e9] {
            assert!(odds(logprob).abs() < 13.0, "{logprob}");
        }
    }

    #[test]
    fn labels_are_told_apart_and_prose_has_none() {
        let asked = Asked::new("");
        let label = |answer| {
            Features {
                answer,
                ..Features::of(&asked, 0.0)
            }
            .labels()
        };
        assert_eq!(label(" Spam\n"), label("spam"));
        assert_ne!(label("spam"), label("ham"));
        let long = "long ".repeat(40);
        assert!(label(&long).is_empty());
        assert!(label("").is_empty());
    }
}

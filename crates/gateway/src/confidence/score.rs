//! The score of a request before it runs: how much a better model is likely to gain on it.
//!
//! A logistic regression on the text alone ([`Asked`]), trained on questions of which it is known whether a
//! weak and a strong model were right: the target is 1 where only the strong one was, 0 where only the weak
//! one was, a half where it made no difference. The weights that are shipped were made by the example
//! `routing` of the crate `ingle`; `docs/confidence.md` says on what and what they are worth.
//!
//! By itself it says which requests are harder, not how likely an answer is right: that takes a
//! calibration, in which it is one of the numbers.

use super::asked::{Asked, BUCKETS, MORE, NAMES};
use super::logistic::{Logistic, Ridge, Row, sigmoid};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "ingle request score";
const VERSION: u32 = 2;

/// Weights for the text of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestScore {
    logistic: Logistic,
}

/// A question with a known outcome for two models.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its text.
    pub asked: Asked,
    /// Whether the weak model was right.
    pub weak: bool,
    /// Whether the strong model was.
    pub strong: bool,
}

/// How strongly the shipped weights are held to 0; chosen on subjects left out, over many splits of them, see the
/// example.
pub const RIDGE: Ridge = Ridge {
    dense: 300.0,
    sparse: 100.0,
};

/// Names of all numbers of a request.
fn all_names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain(MORE)
}

/// All numbers of a request, and its words.
fn row(asked: &Asked) -> Row {
    Row {
        dense: asked.dense.iter().chain(&asked.more).copied().collect(),
        sparse: asked.grams.clone(),
    }
}

/// How far the numbers of each column lie apart.
fn spreads(rows: &[Row], width: usize) -> Vec<f64> {
    let n = rows.len().max(1) as f64;
    let column = |i: usize| rows.iter().filter_map(move |row| row.dense.get(i));
    let spread = |i: usize| {
        let mean = column(i).sum::<f64>() / n;
        let square = column(i).map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        square.sqrt().max(1e-3)
    };
    (0..width).map(spread).collect()
}

/// A file of weights: those of words are small integers, to be multiplied by `step`.
#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    version: u32,
    trained_on: String,
    names: Vec<String>,
    bias: f64,
    dense: Vec<f64>,
    step: f32,
    sparse: Vec<(u32, i8)>,
}

impl Default for RequestScore {
    fn default() -> Self {
        let logistic = Logistic {
            bias: 0.0,
            dense: vec![0.0; all_names().count()],
            sparse: Vec::new(),
        };
        Self { logistic }
    }
}

impl RequestScore {
    /// The weights that are shipped.
    pub fn built_in() -> Self {
        Self::parse(include_str!("request_score.json")).unwrap_or_default()
    }

    /// Learns weights.
    pub fn train(outcomes: &[Outcome], ridge: Ridge) -> Self {
        let mut rows: Vec<Row> = outcomes.iter().map(|o| row(&o.asked)).collect();
        // A ridge means the same for numbers that lie as far apart.
        let spreads = spreads(&rows, all_names().count());
        for row in &mut rows {
            row.dense
                .iter_mut()
                .zip(&spreads)
                .for_each(|(x, s)| *x /= s);
        }
        let gain = |o: &Outcome| {
            let right = |right: bool| f64::from(u8::from(right));
            (1.0 + right(o.strong) - right(o.weak)) / 2.0
        };
        let targets: Vec<f64> = outcomes.iter().map(gain).collect();
        let mut logistic = Logistic::fit(&rows, &targets, BUCKETS as usize, ridge);
        let weights = logistic.dense.iter_mut().zip(&spreads);
        weights.for_each(|(weight, spread)| *weight /= spread);
        Self { logistic }
    }

    /// 0 to 1: above a half, a better model is likely to gain.
    pub fn score(&self, asked: &Asked) -> f64 {
        sigmoid(self.logistic.log_odds(&row(asked)))
    }

    /// Reads a file of weights; `None`: it is none, or of other numbers than this program makes.
    pub fn parse(text: &str) -> Option<Self> {
        let file: File = serde_json::from_str(text).ok()?;
        let known = file.format == FORMAT && file.version == VERSION;
        let names = file.names.iter().map(String::as_str);
        if !known || file.dense.len() != all_names().count() || !names.eq(all_names()) {
            return None;
        }
        let mut sparse = vec![0.0; BUCKETS as usize];
        for (i, weight) in file.sparse {
            *sparse.get_mut(i as usize)? = f32::from(weight) * file.step;
        }
        let logistic = Logistic {
            bias: file.bias,
            dense: file.dense,
            sparse,
        };
        logistic.is_finite().then_some(Self { logistic })
    }

    /// As a file. Weights of words lose all but 8 bits.
    ///
    /// # Errors
    /// It cannot be written as JSON: a weight is no number.
    pub fn to_text(&self, trained_on: &str) -> Result<String, serde_json::Error> {
        let sparse = &self.logistic.sparse;
        let most = sparse.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let step = most.max(1e-9) / 127.0;
        let small = |(i, w): (usize, &f32)| (i as u32, (w / step).round() as i8);
        serde_json::to_string(&File {
            format: FORMAT.into(),
            version: VERSION,
            trained_on: trained_on.into(),
            names: all_names().map(str::to_owned).collect(),
            bias: self.logistic.bias,
            dense: self
                .logistic
                .dense
                .iter()
                .map(|w| (w * 1e4).round() / 1e4)
                .collect(),
            step,
            sparse: sparse
                .iter()
                .enumerate()
                .map(small)
                .filter(|w| w.1 != 0)
                .collect(),
        })
    }

    /// The weights of the numbers that have names.
    pub fn weights(&self) -> impl Iterator<Item = (&'static str, f64)> {
        all_names().zip(self.logistic.dense.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_weights_are_there() {
        let score = RequestScore::parse(include_str!("request_score.json")).unwrap();
        assert_ne!(score, RequestScore::default());
    }

    #[test]
    fn what_a_better_model_gains_on_is_learned_and_survives_a_file() {
        let one = |i: usize| {
            let hard = i.is_multiple_of(3);
            let text = if hard {
                format!("compute {i} * {i}")
            } else {
                format!("name a colour, number {i}")
            };
            Outcome {
                asked: Asked::new(&text),
                weak: !hard,
                strong: true,
            }
        };
        let outcomes: Vec<Outcome> = (0..300).map(one).collect();
        let score = RequestScore::train(&outcomes, RIDGE);
        let (hard, easy) = (Asked::new("compute 12 * 9"), Asked::new("name a colour"));
        assert!(score.score(&hard) > score.score(&easy) + 0.1);
        let again = RequestScore::parse(&score.to_text("a test").unwrap()).unwrap();
        assert!((again.score(&hard) - score.score(&hard)).abs() < 0.02);
        assert_eq!(RequestScore::parse("{}"), None);
        let other = score
            .to_text("")
            .unwrap()
            .replace("\"words\"", "\"letters\"");
        assert_eq!(RequestScore::parse(&other), None);
    }
}

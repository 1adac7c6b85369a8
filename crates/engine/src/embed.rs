//! From hidden rows to one vector, and from a head's logits to scores.

use ingle_formats::TokenId;
use ingle_model::Pooling;

/// A text, or a pair of texts, to make numbers of.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// The tokens, those included that the model wants around a text: see
    /// [`crate::Engine::embed_request`] and [`crate::Engine::score_request`].
    pub tokens: Vec<TokenId>,
    /// Where the second text of a pair begins.
    pub second: Option<usize>,
    /// Which numbers.
    pub want: Want,
}

/// Which numbers a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The text's vector: rows pooled as the model was loaded for.
    Embedding {
        /// Divide it by its length, so that a product of two is their cosine.
        normalise: bool,
    },
    /// What the classification head says, a number for each label: for most rerankers one, how
    /// well the second text answers the first, greater for better, of any size.
    ///
    /// A decoder that answers yes or no (Qwen3-Reranker) gives probabilities instead: that of yes
    /// first.
    Score,
}

/// The work of a request for numbers.
pub(crate) struct Embedder {
    want: Want,
    pooling: Pooling,
    second: Option<usize>,
    causal: bool,
    /// Which logits are the labels', where they are not all.
    labels: Option<Vec<TokenId>>,
    width: usize,
    /// The sum of all rows, or the row that counts.
    sum: Vec<f64>,
    rows: usize,
}

impl Embedder {
    /// `labels` are tokens whose logits are the scores, where the model has no other head.
    pub fn new(
        request: &EmbedRequest,
        pooling: Pooling,
        causal: bool,
        labels: Option<Vec<TokenId>>,
        width: usize,
    ) -> Self {
        Self {
            want: request.want,
            pooling,
            second: request.second,
            causal,
            labels,
            width,
            sum: Vec::new(),
            rows: 0,
        }
    }

    /// Whether the position is of the second text.
    pub fn is_second(&self, position: usize) -> bool {
        self.second.is_some_and(|second| position >= second)
    }

    /// Whether it reads hidden rows.
    pub fn reads_rows(&self) -> bool {
        !self.scores()
    }

    /// Whether it reads logits.
    pub fn scores(&self) -> bool {
        self.want == Want::Score
    }

    /// Which of its rows gives logits: the first where it sees the whole text, else the last.
    pub fn output(&self, first: u32, last: u32) -> Option<u32> {
        self.scores()
            .then_some(if self.causal { last } else { first })
    }

    /// Takes further hidden rows.
    pub fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.width) {
            let first = self.rows == 0;
            self.rows += 1;
            match self.pooling {
                Pooling::Mean if !first => {
                    let sums = self.sum.iter_mut().zip(row);
                    sums.for_each(|(sum, &x)| *sum += f64::from(x));
                }
                Pooling::First | Pooling::Rank if !first => {}
                _ => {
                    self.sum.clear();
                    self.sum.extend(row.iter().copied().map(f64::from));
                }
            }
        }
    }

    /// Forgets all rows: they will be computed again.
    pub fn restart(&mut self) {
        self.sum.clear();
        self.rows = 0;
    }

    /// The numbers, when all rows are computed.
    pub fn finish(&mut self, logits: &[f32], len: usize) -> Vec<f32> {
        match self.want {
            Want::Score => self.scores_of(logits),
            Want::Embedding { normalise } => {
                let mut vector = std::mem::take(&mut self.sum);
                let mut divisor = match self.pooling {
                    Pooling::Mean => len as f64,
                    _ => 1.0,
                };
                if normalise {
                    let squares = vector.iter().map(|x| x * x);
                    divisor = squares.sum::<f64>().sqrt();
                }
                // A vector of nothing but zeros has no direction, and stays as it is.
                if divisor > 0.0 {
                    vector.iter_mut().for_each(|x| *x /= divisor);
                }
                vector.into_iter().map(|x| x as f32).collect()
            }
        }
    }

    fn scores_of(&self, logits: &[f32]) -> Vec<f32> {
        let of = |token: &TokenId| logits.get(token.0 as usize).copied();
        let labels: Vec<f32> = match &self.labels {
            Some(labels) => labels.iter().filter_map(of).collect(),
            None => logits.to_vec(),
        };
        match self.causal {
            true => probabilities(&labels),
            false => labels,
        }
    }
}

/// The softmax of a few logits; one alone is that of yes against nothing.
fn probabilities(logits: &[f32]) -> Vec<f32> {
    let wide = || logits.iter().copied().map(f64::from);
    if logits.len() == 1 {
        return wide()
            .map(|x| (1.0 / (1.0 + libm::exp(-x))) as f32)
            .collect();
    }
    let largest = wide().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = wide().map(|x| libm::exp(x - largest)).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| (e / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(pooling: Pooling, normalise: bool, parts: &[&[f32]]) -> Vec<f32> {
        let request = EmbedRequest {
            tokens: Vec::new(),
            second: None,
            want: Want::Embedding { normalise },
        };
        let mut embedder = Embedder::new(&request, pooling, true, None, 2);
        parts.iter().for_each(|rows| embedder.add(rows));
        let len = parts.iter().map(|rows| rows.len() / 2).sum();
        embedder.finish(&[], len)
    }

    #[test]
    fn rows_are_pooled_over_several_batches() {
        let parts: [&[f32]; 2] = [&[1.0, 2.0, 3.0, 4.0], &[5.0, 9.0]];
        assert_eq!(pooled(Pooling::Mean, false, &parts), [3.0, 5.0]);
        assert_eq!(pooled(Pooling::First, false, &parts), [1.0, 2.0]);
        assert_eq!(pooled(Pooling::Last, false, &parts), [5.0, 9.0]);
        assert_eq!(pooled(Pooling::Last, true, &[&[3.0, 4.0]]), [0.6, 0.8]);
        assert_eq!(pooled(Pooling::Mean, true, &[&[0.0, 0.0]]), [0.0, 0.0]);
    }

    #[test]
    fn scores_of_a_decoder_are_probabilities() {
        assert_eq!(probabilities(&[2.0, 2.0]), [0.5, 0.5]);
        assert_eq!(probabilities(&[0.0]), [0.5]);
        assert_eq!(probabilities(&[1000.0, -1000.0]), [1.0, 0.0]);
        assert!(probabilities(&[]).is_empty());
    }
}

//! What computing a token takes at least, counted from a model's tensors.

use ingle::ModelFiles;
use ingle::tensor::WeightSource;
use ingle::tensor::kernel::matmul::Activations;

/// The matrices of a model, as far as one token uses them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenWork {
    /// The layers, experts left out of the bytes.
    pub body: Products,
    /// Bytes of all experts.
    pub experts: u64,
    /// The share of the experts that a token uses.
    pub used: f64,
    /// The output matrix, once for every token that is predicted.
    pub head: Products,
    /// Elements of all query heads, over all layers: each is multiplied with every cached position, and so is
    /// each of the sums of values.
    pub queries: u64,
}

/// Matrices and what multiplying one row with them takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// As the file stores them.
    pub bytes: u64,
    /// Operations, two a product, with activations of 8-bit integers.
    pub int8: u64,
    /// Operations in f32.
    pub f32: u64,
}

impl TokenWork {
    /// All tensors but the embedding, of which a token takes one row (unless it is the head too), and of
    /// the experts as many as a token uses.
    pub fn of(files: &ModelFiles) -> Self {
        let count = |key: &str| {
            let key = format!("{}.{key}", files.summary().architecture);
            files.metadata().u64(&key).ok().flatten()
        };
        let (experts, used) = (
            count("expert_count").unwrap_or(1).max(1),
            count("expert_used_count").unwrap_or(1),
        );
        let used = used.min(experts);
        let head = match files.tensor("output.weight") {
            Some(_) => "output.weight",
            None => "token_embd.weight",
        };
        let mut work = Self {
            used: used as f64 / experts as f64,
            ..Self::default()
        };
        for tensor in files.tensors() {
            let part = match tensor.name.as_str() {
                name if name == head => &mut work.head,
                "token_embd.weight" => continue,
                _ => &mut work.body,
            };
            let expert = tensor.name.contains("_exps.");
            let bytes = if expert {
                &mut work.experts
            } else {
                &mut part.bytes
            };
            *bytes = bytes.saturating_add(tensor.byte_len);
            if tensor.shape.len() < 2 {
                continue;
            }
            let elements = tensor.shape.iter().copied().fold(1, u64::saturating_mul);
            let elements = if expert {
                elements / experts * used
            } else {
                elements
            };
            let operations = elements.saturating_mul(2);
            let sum = match Activations::of(tensor.ty) {
                Activations::Float => &mut part.f32,
                _ => &mut part.int8,
            };
            *sum = sum.saturating_add(operations);
        }
        let heads = count("attention.head_count").unwrap_or(0);
        let head_dim = count("attention.key_length")
            .or_else(|| count("embedding_length")?.checked_div(heads))
            .unwrap_or(0);
        let layers = count("block_count").unwrap_or(0);
        work.queries = layers.saturating_mul(heads).saturating_mul(head_dim);
        work
    }

    /// Bytes of the layers' weights that a batch of `rows` tokens reads, if each takes its experts by chance.
    pub fn body_bytes(&self, rows: u64) -> u64 {
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        let share = 1.0 - (1.0 - self.used).powi(rows);
        let experts = (self.experts as f64 * share) as u64;
        self.body.bytes.saturating_add(experts)
    }

    /// Bytes of weights, as the file stores them, that computing one token reads.
    pub fn bytes(&self) -> u64 {
        self.body_bytes(1).saturating_add(self.head.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tokens_read_more_experts_and_never_more_than_there_are() {
        let work = TokenWork {
            body: Products {
                bytes: 1000,
                ..Products::default()
            },
            experts: 800,
            used: 0.25,
            ..TokenWork::default()
        };
        assert_eq!(work.bytes(), 1200);
        assert_eq!(work.body_bytes(2), 1350);
        assert_eq!(work.body_bytes(1 << 40), 1800);
    }

    #[test]
    fn a_token_does_not_need_all_experts_of_a_mixture() {
        let golden = "../model/tests/goldens/qwen3moe.gguf";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
        let files = ModelFiles::open(path).unwrap();
        let work = TokenWork::of(&files);
        assert!(work.experts > 0 && work.used < 1.0);
        assert!(work.bytes() < files.weight_bytes());
        let all = work.body_bytes(1 << 30) + work.head.bytes;
        assert!(all <= files.weight_bytes(), "{work:?}");
    }
}

//! What encoders have in common: their numbers, and the norms behind their blocks.

use crate::keys::Keys;
use crate::loader::Loader;
use crate::{ModelError, Shape};
use ingle_tensor::ops::{Attention, Batch, Item, MAX_HEAD_DIM, Ops, PagedLayer, Workload};

const MOST: usize = 1 << 20;

/// The shape of an encoder: every row sees every row of its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncoderConfig {
    /// Width of the residual stream (`embedding_length`).
    pub width: usize,
    /// Layers (`block_count`).
    pub n_layers: usize,
    /// Heads, of queries, keys and values.
    pub n_heads: usize,
    /// Hidden width of the feed-forward network.
    pub ffn: usize,
    /// Tokens of the vocabulary.
    pub n_vocab: usize,
    /// Types of tokens (first text, second text); 0 where they have no rows of their own.
    pub n_types: usize,
    /// Added to the variance in layer norm.
    pub eps: f32,
    /// Positions that there are.
    pub context_len: u32,
}

impl EncoderConfig {
    /// Reads and checks the metadata.
    pub fn read(keys: &Keys<'_>) -> Result<Self, ModelError> {
        if keys.bool("attention.causal")? == Some(true) {
            let what = "encoders of this architecture see the whole text";
            return Err(keys.unsupported("attention.causal", true, what));
        }
        let width = keys.count("embedding_length", MOST)?;
        let n_layers = keys.count("block_count", 4096)?;
        let n_heads = keys.same_in_every_layer("attention.head_count", n_layers, None)?;
        let n_kv = keys.same_in_every_layer("attention.head_count_kv", n_layers, Some(n_heads))?;
        if n_kv != n_heads {
            let what = "heads that share keys are not supported in encoders";
            return Err(keys.unsupported("attention.head_count_kv", n_kv, what));
        }
        if !width.is_multiple_of(n_heads) || width / n_heads > MAX_HEAD_DIM {
            let rule = "it must divide `embedding_length` into heads of at most 512 elements";
            return Err(keys.bad_value("attention.head_count", n_heads, rule));
        }
        let eps = keys.require_f32("attention.layer_norm_epsilon")?;
        if !(0.0..1.0).contains(&eps) {
            let rule = "it must be from 0 to 1";
            return Err(keys.bad_value("attention.layer_norm_epsilon", eps, rule));
        }
        let context_len = keys.require_u32("context_length")?;
        if context_len == 0 || context_len > 1 << 20 {
            let rule = "it must be from 1 to 2^20";
            return Err(keys.bad_value("context_length", context_len, rule));
        }
        let types = "token_types.weight";
        let n_types = match keys.source.tensor(types) {
            Some(_) => rows(keys, types, width)?,
            None => 0,
        };
        Ok(Self {
            width,
            n_layers,
            n_heads,
            ffn: keys.same_in_every_layer("feed_forward_length", n_layers, None)?,
            n_vocab: rows(keys, "token_embd.weight", width)?,
            n_types,
            eps,
            context_len,
        })
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.width / self.n_heads
    }

    /// The outer shape.
    pub fn shape(&self) -> Shape {
        Shape {
            n_layers: self.n_layers,
            width: self.width,
            n_vocab: self.n_vocab,
            context_len: self.context_len,
        }
    }

    /// What attention needs to know.
    pub fn attention(&self) -> Attention {
        Attention {
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            head_dim: self.head_dim(),
            scale: (1.0 / libm::sqrt(self.head_dim() as f64)) as f32,
            soft_cap: None,
            window: None,
            causal: false,
        }
    }

    /// One layer's keys and values: nothing is kept, so that all layers use the same pages.
    pub fn paged_layers(&self) -> Vec<PagedLayer> {
        vec![PagedLayer {
            n_kv_heads: self.n_heads,
            head_dim: self.head_dim(),
        }]
    }

    /// What the operations need beside the buffers.
    pub fn workload(&self, max_rows: usize, rotary_dim: usize) -> Workload {
        Workload {
            max_rows,
            widest: self.width.max(self.ffn),
            rotary_dim,
            experts: None,
        }
    }

    /// The type of each row's token: whether it is of the second text of a pair.
    pub fn types(&self, batch: &Batch<'_>, indices: &mut Vec<u32>) {
        let is_second = |item: Item| matches!(item, Item::Second(_)) && self.n_types > 1;
        indices.clear();
        indices.extend(batch.rows.iter().map(|row| u32::from(is_second(row.item))));
    }
}

/// Rows of a table of embeddings of this width.
pub(crate) fn rows(keys: &Keys<'_>, name: &str, width: usize) -> Result<usize, ModelError> {
    match *keys.shape(name)? {
        [columns, rows] if columns == width as u64 && (1..=1 << 28).contains(&rows) => {
            Ok(rows as usize)
        }
        _ => Err(keys.bad_value(
            "embedding_length",
            width,
            "it must be the number of columns of every table of embeddings",
        )),
    }
}

/// The weights of a layer norm.
pub(crate) struct Norm<O: Ops> {
    weight: O::Vector, // [width]
    bias: O::Vector,   // [width]
}

impl<O: Ops> Norm<O> {
    pub fn load(
        loader: &mut Loader<'_, O>,
        c: &EncoderConfig,
        name: &str,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            weight: loader.vector(&format!("{name}.weight"), c.width)?,
            bias: loader.vector(&format!("{name}.bias"), c.width)?,
        })
    }

    /// Norms `x` in place.
    pub fn apply(&self, ops: &mut O, x: &mut O::Buf, c: &EncoderConfig) {
        ops.layer_norm(x, &self.weight, &self.bias, c.eps);
    }
}

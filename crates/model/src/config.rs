//! The numbers that shape a network, read from metadata and checked.

use crate::keys::Keys;
use crate::{ModelError, Shape, rope};
use ingle_tensor::ops::{Attention, MAX_HEAD_DIM, PagedLayer, Rope, RopePairs, Workload};

/// Upper bound of every count and width: beyond any model, and small enough that the product of
/// three fits in 64 bits.
const MOST: usize = 1 << 20;

/// The shape of a transformer of the Llama family: grouped-query attention with rotary positions,
/// and a gated feed-forward network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// Width of the residual stream (`embedding_length`).
    pub width: usize,
    /// Layers (`block_count`).
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Hidden width of the feed-forward network; 0 where every layer has experts instead.
    pub ffn: usize,
    /// Tokens of the vocabulary: rows of the embedding.
    pub n_vocab: usize,
    /// Added to the mean square in RMS norm.
    pub rms_eps: f32,
    /// Positions that the model was trained for.
    pub context_len: u32,
    /// Factor on attention scores.
    pub attention_scale: f32,
    /// For each layer how far back a position sees; `None`: to the beginning.
    pub windows: Vec<Option<u32>>,
    /// How positions turn heads.
    pub rope: Rope,
}

/// What the files of an architecture mean, where the keys do not say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// Which elements of a head make a pair.
    pub pairs: RopePairs,
    /// Keys that change the arithmetic and that the network reads itself; others are refused.
    pub reads: &'static [&'static str],
    /// One layer in so many, the last of them, has no window; 0: all have it.
    pub window_period: usize,
    /// The window where the file does not give it.
    pub window: Option<u32>,
}

impl Family {
    /// The Llamas, and most others.
    pub fn plain(pairs: RopePairs) -> Self {
        Self {
            pairs,
            reads: &[],
            window_period: 0,
            window: None,
        }
    }
}

impl Config {
    /// Reads and checks the metadata.
    pub fn read(keys: &Keys<'_>, family: &Family) -> Result<Self, ModelError> {
        refuse_unsupported(keys, family.reads)?;
        let width = keys.count("embedding_length", MOST)?;
        let n_layers = keys.count("block_count", 4096)?;
        let n_heads = keys.same_in_every_layer("attention.head_count", n_layers, None)?;
        let n_kv_heads =
            keys.same_in_every_layer("attention.head_count_kv", n_layers, Some(n_heads))?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(keys.bad_value(
                "attention.head_count_kv",
                n_kv_heads,
                "it must divide the number of heads",
            ));
        }
        let head_dim = head_dim(keys, width, n_heads)?;
        let rms_eps = keys.require_f32("attention.layer_norm_rms_epsilon")?;
        if !(0.0..1.0).contains(&rms_eps) {
            return Err(keys.bad_value(
                "attention.layer_norm_rms_epsilon",
                rms_eps,
                "it must be from 0 to 1",
            ));
        }
        let context_len = keys.require_u32("context_length")?;
        if context_len == 0 || context_len > 1 << 30 {
            return Err(keys.bad_value("context_length", context_len, "it must be from 1 to 2^30"));
        }
        Ok(Self {
            width,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn: 0,
            n_vocab: n_vocab(keys, width)?,
            rms_eps,
            context_len,
            attention_scale: attention_scale(keys, head_dim)?,
            windows: windows(keys, n_layers, family)?,
            rope: rope::read(keys, family.pairs, head_dim, context_len)?,
        })
    }

    /// Reads the width of a dense feed-forward network too.
    pub fn read_dense(keys: &Keys<'_>, family: &Family) -> Result<Self, ModelError> {
        let mut config = Self::read(keys, family)?;
        config.ffn = keys.same_in_every_layer("feed_forward_length", config.n_layers, None)?;
        Ok(config)
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

    /// Width of all query heads together.
    pub fn q_width(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key heads, or value heads, together.
    pub fn kv_width(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// What attention in this layer needs to know.
    pub fn attention(&self, layer: usize) -> Attention {
        Attention {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            scale: self.attention_scale,
            soft_cap: None,
            causal: true,
            window: self.windows[layer],
        }
    }

    /// What the operations need beside the buffers.
    pub fn workload(&self, max_rows: usize) -> Workload {
        Workload {
            max_rows,
            widest: self.width.max(self.q_width()).max(self.ffn),
            rotary_dim: 2 * self.rope.frequencies.len(),
            experts: None,
        }
    }

    /// What every layer keeps for a position.
    pub fn paged_layers(&self) -> Vec<PagedLayer> {
        let layer = PagedLayer {
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
        };
        vec![layer; self.n_layers]
    }
}

/// Refuses what would change the arithmetic in a way that the network does not know.
fn refuse_unsupported(keys: &Keys<'_>, reads: &[&str]) -> Result<(), ModelError> {
    if keys.bool("attention.causal")? == Some(false) {
        return Err(keys.unsupported(
            "attention.causal",
            false,
            "it is an embedding model, whose positions see those after them",
        ));
    }
    for key in [
        "attention.clamp_kqv",
        "attention.max_alibi_bias",
        "attention.output_scale",
        "attention.temperature_scale",
        "attn_logit_softcapping",
        "embedding_scale",
        "final_logit_softcapping",
        "logit_scale",
        "residual_scale",
        "rope.scaling.yarn_log_multiplier",
    ] {
        if !reads.contains(&key)
            && let Some(value) = keys.f32(key)?
            && value != 0.0
            && !(value == 1.0 && key.ends_with("_scale"))
        {
            return Err(keys.unsupported(key, value, "the network here does not use it"));
        }
    }
    Ok(())
}

/// Elements of a head: the same for keys and values, `embedding_length / head_count` if not given.
fn head_dim(keys: &Keys<'_>, width: usize, n_heads: usize) -> Result<usize, ModelError> {
    let head_dim = match keys.optional_count("attention.key_length", MOST)? {
        Some(len) => len,
        None if width.is_multiple_of(n_heads) => width / n_heads,
        None => {
            return Err(keys.bad_value(
                "attention.head_count",
                n_heads,
                "it must divide `embedding_length` where `attention.key_length` is absent",
            ));
        }
    };
    if head_dim > MAX_HEAD_DIM {
        return Err(keys.unsupported(
            "attention.key_length",
            head_dim,
            "heads of more than 512 elements are not supported",
        ));
    }
    let value_len = keys.optional_count("attention.value_length", MOST)?;
    if let Some(value_len) = value_len
        && value_len != head_dim
    {
        return Err(keys.unsupported(
            "attention.value_length",
            value_len,
            "values that are not as long as keys are not supported",
        ));
    }
    if n_heads * head_dim > MOST {
        return Err(keys.bad_value(
            "attention.key_length",
            head_dim,
            "all heads together may have 2^20 elements",
        ));
    }
    Ok(head_dim)
}

/// The embedding's rows are the vocabulary; the tokenizer is checked against it by the engine.
fn n_vocab(keys: &Keys<'_>, width: usize) -> Result<usize, ModelError> {
    let shape = keys.shape("token_embd.weight")?;
    match *shape {
        [columns, rows] if columns == width as u64 && rows <= 1 << 28 => Ok(rows as usize),
        _ => Err(keys.bad_value(
            "embedding_length",
            width,
            "it must be the number of columns of the tensor `token_embd.weight`",
        )),
    }
}

fn attention_scale(keys: &Keys<'_>, head_dim: usize) -> Result<f32, ModelError> {
    match keys.f32("attention.scale")? {
        None | Some(0.0) => Ok((1.0 / libm::sqrt(head_dim as f64)) as f32),
        Some(scale) if scale.is_finite() && scale > 0.0 => Ok(scale),
        Some(scale) => Err(keys.bad_value("attention.scale", scale, "it must be above 0")),
    }
}

/// For each layer its window. `sliding_window_pattern` marks the layers that have it, or says how
/// often one has none; where it is absent the family knows.
fn windows(
    keys: &Keys<'_>,
    n_layers: usize,
    family: &Family,
) -> Result<Vec<Option<u32>>, ModelError> {
    let key = "attention.sliding_window_pattern";
    let window = match keys.u32("attention.sliding_window")? {
        Some(window) => Some(window).filter(|&w| w > 0),
        None => family.window,
    };
    let periodic = |period: usize| {
        let slides = |i: usize| period == 0 || !(i + 1).is_multiple_of(period);
        (0..n_layers).map(slides).collect()
    };
    let slides: Vec<bool> = match (keys.is_number(key), family.window_period) {
        (true, period) => periodic(keys.u32(key)?.map_or(period, |p| p as usize)),
        (false, period) => match keys.bools(key)? {
            Some(slides) => slides.to_vec(),
            None => periodic(period),
        },
    };
    if slides.len() != n_layers {
        return Err(keys.bad_value(key, slides.len(), "it must have one value a layer"));
    }
    Ok(slides.iter().map(|&s| window.filter(|_| s)).collect())
}

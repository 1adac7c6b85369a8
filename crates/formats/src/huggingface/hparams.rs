//! The numbers of config.json under GGUF's keys.

use super::HuggingFaceError;
use super::architecture::{Architecture, Family};
use super::json::{Json, nearest};
use crate::gguf::Value;

/// More layers than any model has: what is made for each layer is bounded by it.
const MAX_LAYERS: u32 = 4096;

/// Longer heads than any model has: what is made for each pair is bounded by it.
const MAX_HEAD_DIM: u32 = 1 << 16;

/// What the rest of the conversion needs to know.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) width: u32,
    pub(super) n_layers: u32,
    pub(super) n_heads: u32,
    pub(super) n_kv_heads: u32,
    pub(super) head_dim: u32,
    /// Whether config.json gives `head_dim` by itself.
    pub(super) has_head_dim: bool,
    pub(super) ffn: u32,
    pub(super) context: u32,
    pub(super) n_experts: Option<u32>,
    /// Rows of the position table before that of the first position.
    pub(super) first_position: u32,
}

impl Shape {
    pub(super) fn read(
        architecture: &Architecture,
        config: &Json,
    ) -> Result<Self, HuggingFaceError> {
        let either = |new: &str, old: &str, absent: Option<u32>| {
            let found = match config.u32(new)? {
                None => config.u32(old)?,
                found => found,
            };
            match found.or(absent) {
                Some(0) => Err(config.value(new, "and it must be at least 1")),
                Some(number) => Ok(number),
                None => Err(config.missing(new)),
            }
        };
        let gemma3 = architecture.family == Family::Gemma3;
        let or = |number: u32| Some(number).filter(|_| gemma3);
        let width = either("hidden_size", "n_embd", or(2304))?;
        let n_layers = either("num_hidden_layers", "n_layer", or(26))?;
        if n_layers > MAX_LAYERS {
            return Err(config.value("num_hidden_layers", "and at most 4096 are believed"));
        }
        let n_heads = either("num_attention_heads", "n_head", or(8))?;
        let kv = or(4).or(Some(n_heads));
        let n_kv_heads = either("num_key_value_heads", "num_key_value_heads", kv)?;
        let given = config.u32("head_dim")?.or(or(256));
        let head_dim = match given {
            Some(head_dim) => head_dim,
            None if width.is_multiple_of(n_heads) => width / n_heads,
            None => return Err(config.value("num_attention_heads", "and must divide the width")),
        };
        let four =
            Some(width.saturating_mul(4)).filter(|_| architecture.family == Family::NomicBert);
        let first_position = match architecture.family {
            Family::Roberta => config
                .u32("pad_token_id")?
                .map_or(2, |pad| pad.saturating_add(1)),
            _ => 0,
        };
        let context = either("max_position_embeddings", "n_positions", or(131_072))?;
        let context = context.saturating_sub(first_position);
        if head_dim > MAX_HEAD_DIM {
            return Err(config.value("head_dim", "and at most 65536 are believed"));
        }
        if head_dim == 0 || context == 0 {
            let key = if context == 0 {
                "max_position_embeddings"
            } else {
                "head_dim"
            };
            return Err(config.value(key, "and that is too small"));
        }
        Ok(Self {
            width,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            has_head_dim: given.is_some(),
            ffn: either("intermediate_size", "n_inner", or(9216).or(four))?,
            context,
            n_experts: experts(architecture, config)?,
            first_position,
        })
    }
}

/// Experts of a layer, under the names that releases of transformers gave them.
fn experts(architecture: &Architecture, config: &Json) -> Result<Option<u32>, HuggingFaceError> {
    if !matches!(architecture.family, Family::Mixtral | Family::Qwen3Moe) {
        return Ok(None);
    }
    for key in ["num_local_experts", "num_experts"] {
        if let Some(number) = config.u32(key)? {
            return Ok(Some(number));
        }
    }
    Err(config.missing("num_local_experts"))
}

/// Writes all keys but those of rotary positions.
pub(super) fn write(
    architecture: &Architecture,
    config: &Json,
    shape: &Shape,
    pairs: &mut Vec<(String, Value)>,
) -> Result<(), HuggingFaceError> {
    refuse_unsupported(architecture, config)?;
    let mut put = |key: &str, value: Value| {
        pairs.push((format!("{}.{key}", architecture.gguf()), value));
    };
    put("block_count", shape.n_layers.into());
    put("context_length", shape.context.into());
    put("embedding_length", shape.width.into());
    put("feed_forward_length", shape.ffn.into());
    put("attention.head_count", shape.n_heads.into());
    put("attention.head_count_kv", shape.n_kv_heads.into());
    if architecture.is_encoder() {
        put("attention.causal", false.into());
        let epsilon = match config.f32("layer_norm_eps")? {
            None => config.f32("layer_norm_epsilon")?,
            found => found,
        };
        put(
            "attention.layer_norm_epsilon",
            epsilon.unwrap_or(1e-12).into(),
        );
        return Ok(());
    }
    let epsilon = config.f32("rms_norm_eps")?;
    put(
        "attention.layer_norm_rms_epsilon",
        epsilon.unwrap_or(1e-6).into(),
    );
    if shape.has_head_dim {
        put("attention.key_length", shape.head_dim.into());
        put("attention.value_length", shape.head_dim.into());
    }
    if let Some(n_experts) = shape.n_experts {
        put("expert_count", n_experts.into());
        put(
            "expert_used_count",
            config.require_u32("num_experts_per_tok")?.into(),
        );
    }
    match architecture.family {
        Family::Qwen3Moe => {
            let ffn = config.require_u32("moe_intermediate_size")?;
            put("expert_feed_forward_length", ffn.into());
            let normalised = config.bool("norm_topk_prob")?.unwrap_or(false);
            put("expert_weights_norm", normalised.into());
        }
        Family::Gemma2 | Family::Gemma3 => gemma(architecture, config, shape, &mut put)?,
        _ => {}
    }
    windows(architecture, config, shape, &mut put)
}

/// Soft caps, and the scale of attention where it is not that of the head.
fn gemma(
    architecture: &Architecture,
    config: &Json,
    shape: &Shape,
    put: &mut impl FnMut(&str, Value),
) -> Result<(), HuggingFaceError> {
    let caps = match architecture.family {
        Family::Gemma2 => [Some(50.0), Some(30.0)],
        _ => [None, None],
    };
    let keys = ["attn_logit_softcapping", "final_logit_softcapping"];
    for (key, absent) in keys.into_iter().zip(caps) {
        // Written as null where there is none; a file without the key has the family's own.
        let absent = absent.map(|cap| if config.is_null(key) { 0.0 } else { cap });
        if let Some(cap) = config.f32(key)?.or(absent) {
            put(key, cap.into());
        }
    }
    let scalar = config.f64("query_pre_attn_scalar")?.unwrap_or(256.0);
    if scalar <= 0.0 {
        return Err(config.value("query_pre_attn_scalar", "and must be above 0"));
    }
    if scalar != f64::from(shape.head_dim) {
        put("attention.scale", nearest(1.0 / libm::sqrt(scalar)).into());
    }
    Ok(())
}

/// How far back positions see, and in which layers.
fn windows(
    architecture: &Architecture,
    config: &Json,
    shape: &Shape,
    put: &mut impl FnMut(&str, Value),
) -> Result<(), HuggingFaceError> {
    let family = architecture.family;
    let uses = match family {
        Family::Llama | Family::Gemma => false,
        // Only where it is said in so many words.
        Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe => {
            config.bool("use_sliding_window")?.unwrap_or(false)
        }
        _ => true,
    };
    let absent = match family {
        Family::Gemma2 | Family::Gemma3 => Some(4096).filter(|_| !config.is_null("sliding_window")),
        _ => None,
    };
    let Some(window) = config
        .u32("sliding_window")?
        .or(absent)
        .filter(|&w| uses && w > 0)
    else {
        // Phi-3 and Phi-4 share a name, and other programs tell them apart by this; a Gemma 2 file
        // without the key has the window of its family.
        if matches!(family, Family::Phi3 | Family::Gemma2) {
            put("attention.sliding_window", 0_u32.into());
        }
        return Ok(());
    };
    put("attention.sliding_window", window.into());
    let Some(slides) = sliding_layers(architecture, config, shape)? else {
        return Ok(());
    };
    // What the architecture itself implies is left unsaid, as in files of other programs.
    let period = match family {
        Family::Gemma2 => 2,
        Family::Gemma3 => 6,
        _ => 0,
    };
    let implied = match period {
        0 => slides.iter().all(|&slides| slides),
        period => (1_usize..)
            .zip(&slides)
            .all(|(i, &slides)| slides != i.is_multiple_of(period)),
    };
    if !implied {
        put("attention.sliding_window_pattern", slides.into());
    }
    Ok(())
}

/// For each layer whether it has the window; `None` where all have it.
fn sliding_layers(
    architecture: &Architecture,
    config: &Json,
    shape: &Shape,
) -> Result<Option<Vec<bool>>, HuggingFaceError> {
    let n_layers = usize::try_from(shape.n_layers).unwrap_or(0);
    if let Some(types) = config.strings("layer_types")? {
        if types.len() != n_layers {
            return Err(config.value("layer_types", "and must name each layer once"));
        }
        let known = ["sliding_attention", "full_attention"];
        if let Some(other) = types.iter().find(|name| !known.contains(name)) {
            return Err(config.unsupported("layer_types", other));
        }
        let slides = types.iter().map(|&name| name == "sliding_attention");
        return Ok(Some(slides.collect()));
    }
    let every = |period: usize| -> Option<Vec<bool>> {
        Some(
            (1..=n_layers)
                .map(|i| !i.is_multiple_of(period.max(1)))
                .collect(),
        )
    };
    let full = |config: &Json| -> Result<usize, HuggingFaceError> {
        let layers = config.u32("max_window_layers")?.unwrap_or(28);
        Ok(usize::try_from(layers).unwrap_or(0))
    };
    Ok(match architecture.family {
        Family::Gemma2 => every(2),
        Family::Gemma3 => {
            let said = config.u32("sliding_window_pattern")?;
            let said = said.or(config.u32("_sliding_window_pattern")?).unwrap_or(6);
            every(usize::try_from(said).unwrap_or(6))
        }
        Family::Qwen2 | Family::Qwen3 => {
            let full = full(config)?;
            Some((0..n_layers).map(|i| i >= full).collect())
        }
        _ => None,
    })
}

/// Refuses what would change the arithmetic in a way that GGUF has no key for.
fn refuse_unsupported(architecture: &Architecture, config: &Json) -> Result<(), HuggingFaceError> {
    let (key, known): (_, &[&str]) = match architecture.family {
        // The first Gemma's files say `gelu` under the old name, and the tanh form is meant.
        Family::Gemma => ("hidden_activation", &["gelu_pytorch_tanh", "gelu"]),
        Family::Gemma2 | Family::Gemma3 => ("hidden_activation", &["gelu_pytorch_tanh"]),
        Family::Bert | Family::Roberta => ("hidden_act", &["gelu"]),
        Family::NomicBert => ("hidden_act", &["silu", "swiglu"]),
        _ => ("hidden_act", &["silu"]),
    };
    for key in [key, "activation_function"] {
        if let Some(found) = config.str(key)?
            && !known.contains(&found)
        {
            return Err(config.unsupported(key, found));
        }
    }
    if let Some(kind) = config.str("position_embedding_type")?
        && !matches!(kind, "absolute" | "rotary" | "rope")
    {
        return Err(config.unsupported("position_embedding_type", kind));
    }
    // (entry, the value that is meant by leaving it out)
    let switches = [
        ("is_decoder", false),
        ("use_bidirectional_attention", false),
        ("prenorm", false),
        ("parallel_block", false),
        ("use_rms_norm", false),
        ("rotary_emb_interleaved", false),
    ];
    for (key, usual) in switches {
        if config.bool(key)?.is_some_and(|found| found != usual) {
            return Err(config.unsupported(key, if usual { "false" } else { "true" }));
        }
    }
    if architecture.family == Family::Qwen3Moe {
        let dense = config.get("mlp_only_layers").and_then(|v| v.as_array());
        if dense.is_some_and(|layers| !layers.is_empty()) {
            return Err(config.unsupported("mlp_only_layers", "not empty"));
        }
        if let Some(step) = config.u32("decoder_sparse_step")?.filter(|&step| step != 1) {
            return Err(config.unsupported("decoder_sparse_step", &step.to_string()));
        }
    }
    Ok(())
}

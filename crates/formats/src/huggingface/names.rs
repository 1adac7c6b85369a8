//! From transformers' names of tensors to those of GGUF files.

use super::architecture::{Architecture, Family, Head};

/// What a stored tensor becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The tensor of this name.
    Whole(String),
    /// One matrix of a stack: the stack's name and the number of the expert.
    Expert(String, u32),
    /// A stack of experts, in each of which the rows of the gate stand before those of `up`: the
    /// names of both.
    GateUp(String, String),
    /// Nothing: it is no weight, or belongs to a part that is left out.
    Left,
}

/// Names inside a layer of a decoder.
const DECODER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate_up_proj", "ffn_up"), // both in one, as in files of Phi-3
    ("mlp.gate", "ffn_gate_inp"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
];

/// Norms that the Gemmas have on both sides, against the two of all others.
const GEMMA_NORMS: &[(&str, &str)] = &[
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];
const NORMS: &[(&str, &str)] = &[("post_attention_layernorm", "ffn_norm")];

/// The matrices of an expert.
const EXPERT: &[(&str, &str)] = &[
    ("gate_proj", "ffn_gate_exps"),
    ("up_proj", "ffn_up_exps"),
    ("down_proj", "ffn_down_exps"),
    ("w1", "ffn_gate_exps"),
    ("w3", "ffn_up_exps"),
    ("w2", "ffn_down_exps"),
];

/// Names inside a layer of BERT, and of nomic-bert.
const ENCODER: &[(&str, &str)] = &[
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
    ("attn.Wqkv", "attn_qkv"),
    ("attn.out_proj", "attn_output"),
    ("norm1", "attn_output_norm"),
    ("norm2", "layer_output_norm"),
    ("mlp.fc11", "ffn_up"),
    ("mlp.fc12", "ffn_gate"),
    ("mlp.fc2", "ffn_down"),
];

/// Names outside the layers.
const OUTER: &[(&str, &str)] = &[
    ("embed_tokens", "token_embd"),
    ("norm", "output_norm"),
    ("lm_head", "output"),
    ("score", "cls.output"),
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
    ("emb_ln", "token_embd_norm"),
];

/// The target of a tensor; `None` where the architecture has none of this name.
pub(super) fn target(architecture: &Architecture, name: &str) -> Option<Target> {
    if is_left_out(architecture, name) {
        return Some(Target::Left);
    }
    let name = without_prefix(architecture, name);
    // Weights of old files.
    let renamed = [(".gamma", ".weight"), (".beta", ".bias")]
        .into_iter()
        .find_map(|(old, new)| Some(format!("{}{new}", name.strip_suffix(old)?)));
    let name = renamed.as_deref().unwrap_or(name);
    let layer = name
        .strip_prefix("layers.")
        .or_else(|| name.strip_prefix("encoder.layer."))
        .or_else(|| name.strip_prefix("encoder.layers."));
    match layer {
        Some(rest) => {
            let (number, rest) = rest.split_once('.')?;
            layer_target(architecture, number.parse().ok()?, rest)
        }
        None => {
            let (name, kind) = name.rsplit_once('.')?;
            let new = head_name(architecture, name).or_else(|| find(OUTER, name))?;
            Some(Target::Whole(format!("{new}.{}", weight_or_bias(kind)?)))
        }
    }
}

fn layer_target(architecture: &Architecture, layer: u32, rest: &str) -> Option<Target> {
    let moe = rest
        .strip_prefix("mlp.experts.")
        .or_else(|| rest.strip_prefix("block_sparse_moe.experts."));
    if let Some(rest) = moe {
        return expert_target(layer, rest);
    }
    let (name, kind) = rest.rsplit_once('.')?;
    let norms = match architecture.family {
        Family::Gemma2 | Family::Gemma3 => GEMMA_NORMS,
        _ => NORMS,
    };
    let new = match architecture.is_encoder() {
        true => find(ENCODER, name),
        false => find(norms, name).or_else(|| find(DECODER, name)),
    }?;
    let kind = weight_or_bias(kind)?;
    Some(Target::Whole(format!("blk.{layer}.{new}.{kind}")))
}

/// `3.w1.weight`, or the stacks of newer files: `gate_up_proj` and `down_proj`.
fn expert_target(layer: u32, rest: &str) -> Option<Target> {
    let stack = |name: &str| format!("blk.{layer}.{name}.weight");
    match rest {
        "gate_up_proj" => {
            let (gate, up) = (stack("ffn_gate_exps"), stack("ffn_up_exps"));
            return Some(Target::GateUp(gate, up));
        }
        "down_proj" => return Some(Target::Whole(stack("ffn_down_exps"))),
        _ => {}
    }
    let (number, rest) = rest.split_once('.')?;
    let name = find(EXPERT, rest.strip_suffix(".weight")?)?;
    Some(Target::Expert(stack(name), number.parse().ok()?))
}

/// The names of classification heads: a layer with a tanh where there is one, and the output.
fn head_name(architecture: &Architecture, name: &str) -> Option<&'static str> {
    if architecture.head != Head::Classifier {
        return None;
    }
    match (architecture.family, name) {
        (Family::Bert, "pooler.dense") | (Family::Roberta, "classifier.dense") => Some("cls"),
        (Family::Bert, "classifier") | (Family::Roberta, "classifier.out_proj") => {
            Some("cls.output")
        }
        _ => None,
    }
}

/// Parts of a model that stand before the names of its network.
fn without_prefix<'a>(architecture: &Architecture, name: &'a str) -> &'a str {
    let prefixes: &[&str] = match architecture.is_encoder() {
        true => &["bert.", "roberta.", "new.", "nomic_bert.", "model."],
        false => &[
            "language_model.model.",
            "model.language_model.",
            "language_model.",
            "model.",
        ],
    };
    let found = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    found.unwrap_or(name)
}

/// Buffers that are computed anew, the eyes of a model that is used for text, and the heads of
/// encoders that are used for embeddings.
fn is_left_out(architecture: &Architecture, name: &str) -> bool {
    let buffer = name.ends_with(".position_ids")
        || name.ends_with("embeddings.token_type_ids")
        || name.ends_with("rotary_emb.inv_freq")
        || name.ends_with("rotary_emb.cos_cached")
        || name.ends_with("rotary_emb.sin_cached");
    let eyes = architecture.family == Family::Gemma3
        && ["vision_tower.", "multi_modal_projector."]
            .iter()
            .any(|part| {
                name.strip_prefix("model.")
                    .unwrap_or(name)
                    .starts_with(part)
            });
    let head = architecture.is_encoder()
        && ["cls.", "lm_head."]
            .iter()
            .any(|part| name.starts_with(part))
        || architecture.is_encoder()
            && architecture.head != Head::Classifier
            && name.contains("pooler.dense.");
    buffer || eyes || head
}

fn weight_or_bias(kind: &str) -> Option<&str> {
    matches!(kind, "weight" | "bias").then_some(kind)
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let found = table.iter().find(|(old, _)| *old == name);
    found.map(|&(_, new)| new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(family: Family, head: Head, name: &str) -> Option<String> {
        match target(&Architecture { family, head }, name)? {
            Target::Whole(name) => Some(name),
            Target::Expert(name, number) => Some(format!("{name}[{number}]")),
            Target::GateUp(gate, up) => Some(format!("{gate} {up}")),
            Target::Left => Some(String::new()),
        }
    }

    #[test]
    fn names() {
        use Family as F;
        let some = |text: &str| Some(text.to_owned());
        let causal = |family, name: &str| of(family, Head::Causal, name);
        let q = "model.layers.11.self_attn.q_proj.weight";
        assert_eq!(causal(F::Llama, q), some("blk.11.attn_q.weight"));
        let norm = "model.layers.0.post_attention_layernorm.weight";
        assert_eq!(causal(F::Qwen2, norm), some("blk.0.ffn_norm.weight"));
        assert_eq!(
            causal(F::Gemma2, norm),
            some("blk.0.post_attention_norm.weight")
        );
        let w3 = "model.layers.2.block_sparse_moe.experts.7.w3.weight";
        assert_eq!(causal(F::Mixtral, w3), some("blk.2.ffn_up_exps.weight[7]"));
        let both = "model.layers.2.mlp.experts.gate_up_proj";
        assert_eq!(
            causal(F::Qwen3Moe, both),
            some("blk.2.ffn_gate_exps.weight blk.2.ffn_up_exps.weight")
        );
        let eyes = "vision_tower.vision_model.post_layernorm.weight";
        assert_eq!(causal(F::Gemma3, eyes), some(""));
        assert_eq!(causal(F::Llama, eyes), None);
        assert_eq!(causal(F::Llama, "model.layers.x.mlp.gate.weight"), None);
        assert_eq!(causal(F::Llama, "lm_head.weight"), some("output.weight"));
        let pooler = "bert.pooler.dense.weight";
        assert_eq!(of(F::Bert, Head::Nothing, pooler), some(""));
        assert_eq!(of(F::Bert, Head::Classifier, pooler), some("cls.weight"));
        let gamma = "bert.embeddings.LayerNorm.gamma";
        assert_eq!(
            of(F::Bert, Head::Nothing, gamma),
            some("token_embd_norm.weight")
        );
    }
}

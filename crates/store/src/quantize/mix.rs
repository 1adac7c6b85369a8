//! Which tensor takes which type: the mixes behind the names.
//!
//! A file called Q4_K_M has the size that people expect of that name because all programs choose
//! alike. The rule is llama.cpp's (`llama-quant.cpp`), which grew by measurement: the output and
//! values of attention matter most, then the way down in the feed-forward network, and of the
//! layers the first and the last eighth.

use super::Recipe;
use ingle_formats::TensorType as T;
use ingle_formats::gguf::{Metadata, TensorInfo};
use std::collections::BTreeMap;

/// The part of a network that a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Output,
    Embedding,
    /// Queries, keys and values in one matrix.
    AttentionQkv,
    /// The latent from which keys and values come.
    AttentionKvB,
    AttentionV,
    AttentionK,
    AttentionOutput,
    FfnDown,
    Other,
}

impl Role {
    fn of(name: &str) -> Self {
        match name {
            "output.weight" => return Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => return Self::Embedding,
            _ => {}
        }
        let marks = [
            ("attn_qkv.weight", Self::AttentionQkv),
            ("attn_kv_b.weight", Self::AttentionKvB),
            ("attn_v.weight", Self::AttentionV),
            ("attn_k.weight", Self::AttentionK),
            ("attn_q.weight", Self::Other),
            ("attn_output.weight", Self::AttentionOutput),
            ("ffn_up", Self::Other),
            ("ffn_gate", Self::Other),
            ("ffn_down", Self::FfnDown),
        ];
        let found = marks.into_iter().find(|(mark, _)| name.contains(mark));
        found.map_or(Self::Other, |(_, role)| role)
    }

    fn holds_values(self) -> bool {
        matches!(
            self,
            Self::AttentionV | Self::AttentionQkv | Self::AttentionKvB
        )
    }
}

/// What the rule asks of a model.
struct Facts {
    n_layers: usize,
    n_experts: u64,
    /// Query heads for one key and value head.
    heads_per_kv: u64,
    /// No output matrix of its own: the embedding is that too.
    tied: bool,
    /// Llama 2 and 3 of 70 billion parameters, and Qwen2 of 72: 80 layers that share values among
    /// eight heads.
    eighty_layers: bool,
    /// Tensors that hold values of attention.
    n_values: usize,
    importance: bool,
}

impl Facts {
    fn of(metadata: &Metadata, tensors: &[TensorInfo], importance: bool) -> Self {
        let arch = metadata.str("general.architecture").ok().flatten();
        let arch = arch.unwrap_or_default();
        let number = |key: &str| {
            let key = format!("{arch}.{key}");
            // Counts that differ from layer to layer are lists: the first layer's counts.
            let first = || metadata.u32s(&key).ok().flatten()?.first().copied();
            let one = metadata.u64(&key).ok().flatten();
            one.or_else(|| first().map(u64::from))
        };
        let heads = number("attention.head_count").unwrap_or(0);
        let kv_heads = number("attention.head_count_kv").unwrap_or(heads);
        let n_layers = number("block_count").unwrap_or(0);
        let n_experts = number("expert_count").unwrap_or(0);
        let is = |role: Role| tensors.iter().filter(move |t| Role::of(&t.name) == role);
        let values = tensors.iter().filter(|t| Role::of(&t.name).holds_values());
        Self {
            n_layers: usize::try_from(n_layers).unwrap_or(usize::MAX),
            n_experts,
            heads_per_kv: heads.checked_div(kv_heads).unwrap_or(0),
            tied: is(Role::Output).next().is_none(),
            eighty_layers: n_layers == 80 && n_experts != 8 && matches!(arch, "llama" | "qwen2"),
            n_values: values.count(),
            importance,
        }
    }

    fn shares_values(&self) -> bool {
        self.heads_per_kv >= 4
    }
}

/// The type of every tensor, in the order given, and how many of them could not take the type that the
/// recipe has for them because their rows are not whole blocks of it.
pub(super) fn assign(
    recipe: Recipe,
    metadata: &Metadata,
    tensors: &[TensorInfo],
    importance: bool,
) -> (Vec<T>, usize) {
    let facts = Facts::of(metadata, tensors, importance);
    let mut order: Vec<(i64, &str, usize)> = tensors
        .iter()
        .enumerate()
        .map(|(i, t)| (layer_of(&t.name), t.name.as_str(), i))
        .collect();
    // The rule counts tensors of one role from the first layer to the last.
    order.sort_unstable();
    let mut seen: BTreeMap<bool, usize> = BTreeMap::new();
    let mut types: Vec<T> = tensors.iter().map(|t| t.ty).collect();
    let mut fallbacks = 0_usize;
    for (layer, _, i) in order {
        let (Some(tensor), Some(ty)) = (tensors.get(i), types.get_mut(i)) else {
            continue;
        };
        if !may_change(tensor) {
            continue;
        }
        let role = Role::of(&tensor.name);
        let mut chosen = recipe.main_type();
        if chosen.block_len() > 1 {
            let mut count = || {
                let seen = seen.entry(role == Role::FfnDown).or_default();
                let before = *seen;
                *seen = seen.saturating_add(1);
                before
            };
            let place = match role {
                _ if role.holds_values() => count(),
                // Experts of a layer may be tensors of their own: then the name says which layer.
                Role::FfnDown => match (count(), facts.n_experts > 1) {
                    (counted, false) => counted,
                    (_, true) => usize::try_from(layer).unwrap_or(0),
                },
                _ => 0,
            };
            chosen = choose(recipe, role, place, tensor, &facts);
            let fitting = fitting(tensor, chosen);
            fallbacks = fallbacks.saturating_add(usize::from(fitting != chosen));
            chosen = fitting;
        }
        *ty = chosen;
    }
    (types, fallbacks)
}

/// The number after `blk.`, or -1.
fn layer_of(name: &str) -> i64 {
    let rest = name.strip_prefix("blk.").and_then(|n| n.split_once('.'));
    rest.and_then(|(n, _)| n.parse().ok()).unwrap_or(-1)
}

/// Whether a tensor is a large matrix, and not one of the small ones that stay as they are: norms,
/// biases, routers, positions, convolutions.
fn may_change(tensor: &TensorInfo) -> bool {
    const SMALL: &[&str] = &[
        "_norm.weight",
        "ffn_gate_inp.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        ".position_embd",
        ".patch_embd",
    ];
    let name = tensor.name.as_str();
    let axes = tensor.shape.iter().rposition(|&n| n > 1).unwrap_or(0);
    axes >= 1
        && name.ends_with("weight")
        && !matches!(name, "position_embd.weight" | "token_types.weight")
        && !SMALL.iter().any(|small| name.contains(small))
}

/// The first and last eighth of the layers, and every third between.
fn use_more_bits(layer: usize, n_layers: usize) -> bool {
    let eighth = n_layers / 8;
    layer < eighth
        || layer >= n_layers.saturating_mul(7) / 8
        || layer.saturating_sub(eighth) % 3 == 2
}

fn choose(recipe: Recipe, role: Role, place: usize, tensor: &TensorInfo, facts: &Facts) -> T {
    let main = recipe.main_type();
    if role == Role::Output || facts.tied && role == Role::Embedding {
        let whole = tensor
            .shape
            .first()
            .is_some_and(|n| n.is_multiple_of(u64::from(main.block_len())));
        return match recipe {
            Recipe::Mxfp4Moe => T::Q8_0,
            _ if !whole || main == T::Q8_0 => T::Q8_0,
            _ => T::Q6K,
        };
    }
    if recipe == Recipe::Mxfp4Moe {
        let stack = tensor.shape.get(2).is_some_and(|&n| n > 1);
        return if stack { T::Mxfp4 } else { T::Q8_0 };
    }
    match role {
        _ if role.holds_values() => of_values(recipe, place, facts),
        Role::AttentionK if facts.n_experts == 8 => T::Q8_0,
        Role::FfnDown => of_ffn_down(recipe, place, facts),
        Role::AttentionOutput => of_attention_output(recipe, facts),
        _ => main,
    }
}

fn of_values(recipe: Recipe, place: usize, facts: &Facts) -> T {
    let chosen = match recipe {
        Recipe::Q2K if facts.shares_values() => T::Q4K,
        Recipe::Q2K => T::Q3K,
        Recipe::Q2KS if facts.shares_values() => T::Q4K,
        Recipe::Q3KM if place < 2 => T::Q5K,
        Recipe::Q3KM => T::Q4K,
        Recipe::Q3KL => T::Q5K,
        Recipe::Iq4Nl | Recipe::Iq4Xs if facts.shares_values() => T::Q5K,
        Recipe::Q4KM | Recipe::Q5KM if use_more_bits(place, facts.n_values) => T::Q6K,
        Recipe::Q4KS if place < 4 => T::Q5K,
        _ => recipe.main_type(),
    };
    // A matrix that eight heads share is small beside the rest, and an error in it is in all eight.
    match chosen {
        _ if facts.n_experts == 8 => T::Q8_0,
        T::Q3K | T::Q4K if facts.eighty_layers => T::Q5K,
        _ => chosen,
    }
}

fn of_ffn_down(recipe: Recipe, layer: usize, facts: &Facts) -> T {
    let n = facts.n_layers;
    let in_first = |part: usize| layer < n / part;
    match recipe {
        Recipe::Q2K => T::Q3K,
        Recipe::Q2KS if in_first(8) => T::Q4K,
        Recipe::Q3KM if in_first(16) => T::Q5K,
        Recipe::Q3KM => T::Q4K,
        Recipe::Q3KL => T::Q5K,
        Recipe::Q4KM | Recipe::Q5KM if use_more_bits(layer, n) => T::Q6K,
        Recipe::Iq4Nl | Recipe::Iq4Xs if in_first(8) && !facts.importance => T::Q5K,
        Recipe::Q4KS if in_first(8) => T::Q5K,
        Recipe::Q4_0 if in_first(8) && facts.importance => T::Q4_1,
        Recipe::Q5_0 if in_first(8) && facts.importance => T::Q5_1,
        _ => recipe.main_type(),
    }
}

fn of_attention_output(recipe: Recipe, facts: &Facts) -> T {
    if facts.n_experts == 8 {
        return match recipe {
            Recipe::Q2K
            | Recipe::Q3KS
            | Recipe::Q3KM
            | Recipe::Q4KS
            | Recipe::Q4KM
            | Recipe::Iq4Nl
            | Recipe::Iq4Xs => T::Q5K,
            _ => recipe.main_type(),
        };
    }
    match recipe {
        Recipe::Q2K => T::Q3K,
        Recipe::Q3KM => T::Q4K,
        Recipe::Q3KL => T::Q5K,
        _ => recipe.main_type(),
    }
}

/// `ty`, or the type of about as many bits whose blocks the rows of the tensor are whole numbers of.
fn fitting(tensor: &TensorInfo, ty: T) -> T {
    let columns = tensor.shape.first().copied().unwrap_or(1);
    let fits = |ty: T| ty.byte_len(columns).is_some();
    let smaller = match ty {
        _ if fits(ty) => ty,
        T::Iq4Xs => T::Iq4Nl,
        T::Q2K | T::Q3K => T::Q4_0,
        T::Q4K => T::Q5_0,
        T::Q5K => T::Q5_1,
        T::Q6K => T::Q8_0,
        _ => T::F16,
    };
    if fits(smaller) { smaller } else { T::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arch, layers, width, heads, key and value heads, experts, tied, fused: `MODELS` of
    /// `tests/goldens/peer_mix.py`.
    type Model = (&'static str, u32, u64, u32, u32, u64, bool, bool);
    const MODELS: &[(&str, Model)] = &[
        ("llama", ("llama", 16, 256, 8, 2, 0, false, false)),
        ("many-heads", ("llama", 32, 256, 8, 8, 0, true, false)),
        ("eighty", ("llama", 80, 256, 8, 1, 0, false, false)),
        ("eighty-qwen", ("qwen2", 80, 256, 8, 1, 0, false, false)),
        ("eight-experts", ("llama", 12, 256, 8, 2, 8, false, false)),
        (
            "many-experts",
            ("qwen3moe", 18, 256, 8, 4, 16, false, false),
        ),
        ("narrow", ("qwen3", 9, 288, 8, 4, 0, false, false)),
        ("odd", ("llama", 8, 64, 8, 4, 0, true, false)),
        ("fused", ("phi3", 10, 256, 8, 8, 0, false, true)),
    ];

    fn model(
        (arch, layers, width, heads, kv_heads, experts, tied, fused): Model,
    ) -> (Metadata, Vec<TensorInfo>) {
        let key = |key: &str| format!("{arch}.{key}");
        let mut pairs = vec![
            (key("block_count"), layers),
            (key("attention.head_count"), heads),
            (key("attention.head_count_kv"), kv_heads),
        ];
        if experts > 0 {
            pairs.push((key("expert_count"), experts as u32));
        }
        let mut values: Vec<(String, ingle_formats::gguf::Value)> =
            vec![("general.architecture".into(), arch.into())];
        values.extend(pairs.into_iter().map(|(key, n)| (key, n.into())));
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: &[u64]| {
            tensors.push(TensorInfo {
                name: name + ".weight",
                shape: shape.to_vec(),
                ty: T::F32,
                offset: 0,
                byte_len: 4 * shape.iter().product::<u64>(),
            });
        };
        add("token_embd".into(), &[width, 2]);
        add("output_norm".into(), &[width]);
        if !tied {
            add("output".into(), &[width, 2]);
        }
        for i in 0..layers {
            add(format!("blk.{i}.attn_norm"), &[width]);
            let attention: &[&str] = match fused {
                true => &["qkv", "output"],
                false => &["q", "k", "v", "output"],
            };
            for part in attention {
                add(format!("blk.{i}.attn_{part}"), &[width, 2]);
            }
            if experts > 0 {
                add(format!("blk.{i}.ffn_gate_inp"), &[width, experts]);
            }
            for part in ["gate", "up", "down"] {
                match experts {
                    0 => add(format!("blk.{i}.ffn_{part}"), &[width, 2]),
                    n => add(format!("blk.{i}.ffn_{part}_exps"), &[width, 2, n]),
                }
            }
        }
        (Metadata::from_pairs(values).unwrap(), tensors)
    }

    /// `3xQ4_K,1xQ6_K`, in the order of `by_part`.
    fn runs(tensors: &[TensorInfo], types: &[T]) -> String {
        let part = |name: &str| match name.strip_prefix("blk.") {
            Some(rest) => rest.split_once('.').unwrap().1.to_owned(),
            None => name.to_owned(),
        };
        let mut order: Vec<_> = tensors
            .iter()
            .zip(types)
            .map(|(t, ty)| (part(&t.name), layer_of(&t.name), *ty))
            .collect();
        order.sort();
        let runs: Vec<String> = order
            .chunk_by(|a, b| a.2 == b.2)
            .map(|run| format!("{}x{}", run.len(), run[0].2))
            .collect();
        runs.join(",")
    }

    #[test]
    fn every_tensor_takes_the_type_that_llama_cpp_gives_it() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/peer_mix.txt");
        let golden = std::fs::read_to_string(golden).unwrap();
        let mut seen = 0;
        for line in golden.lines() {
            let [case, importance, name, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let (_, facts) = MODELS.iter().find(|(c, _)| *c == case).unwrap();
            let (metadata, tensors) = model(*facts);
            let recipe = Recipe::from_name(name).unwrap();
            let (types, _) = assign(recipe, &metadata, &tensors, importance == "with");
            assert_eq!(
                runs(&tensors, &types),
                expected,
                "{case} {importance} {name}"
            );
            seen += 1;
        }
        assert!(seen > 360, "{seen}");
    }
}

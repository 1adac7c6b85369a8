//! Files that cannot be run end in an error that says why; none panics.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use ingle_formats::gguf::Value;
use ingle_model::{ARCHITECTURES, ModelError, Needs, inspect, load};
use ingle_tensor::reference::Reference;
use proptest::prelude::*;
use support::Model;

fn try_inspect(model: &Model) -> Result<Needs, ModelError> {
    let (metadata, source) = model.build();
    inspect(&metadata, &source, &Reference, 8)
}

/// The message that a changed Llama ends in.
fn llama(change: impl FnOnce(&mut Model)) -> String {
    changed(Model::random("llama"), change)
}

fn changed(mut model: Model, change: impl FnOnce(&mut Model)) -> String {
    change(&mut model);
    match try_inspect(&model) {
        Ok(needs) => format!("runs: {needs:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_cannot_be_run_is_said() {
    let messages = [
        llama(|m| m.set("general.architecture", "rwkv\n7")),
        llama(|m| m.remove("general.architecture")),
        llama(|m| m.tensors.clear()),
        llama(|m| m.set("llama.expert_count", 8_u32)),
        llama(|m| m.set("llama.attention.causal", false)),
        llama(|m| m.set("llama.attn_logit_softcapping", 50_f32)),
        llama(|m| m.set("llama.attention.value_length", 8_u32)),
        llama(|m| m.set("llama.attention.key_length", 513_u32)),
        llama(|m| m.set("llama.attention.head_count_kv", vec![2_u32, 2, 1])),
        llama(|m| m.set("llama.rope.scaling.type", "longrope")),
        llama(|m| m.set("llama.rope.scaling.type", "llama3")),
        llama(|m| m.add_tensor("blk.0.attn_q_norm.weight", vec![1.0; 16])),
        llama(|m| {
            for i in 0..3 {
                m.add_tensor(&format!("blk.{i}.attn_norm.bias"), vec![1.0; 32]);
                m.add_tensor(&format!("blk.{i}.ffn_norm.bias"), vec![1.0; 32]);
            }
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn what_makes_no_sense_is_said() {
    let messages = [
        llama(|m| m.remove("llama.block_count")),
        llama(|m| m.set("llama.block_count", 0_u32)),
        llama(|m| m.set("llama.block_count", u32::MAX)),
        llama(|m| m.set("llama.block_count", "three")),
        llama(|m| m.set("llama.block_count", -3_i32)),
        llama(|m| m.set("llama.block_count", 4_u32)),
        llama(|m| m.set("llama.context_length", 0_u32)),
        llama(|m| m.set("llama.embedding_length", 33_u32)),
        llama(|m| m.set("llama.feed_forward_length", 49_u32)),
        llama(|m| m.set("llama.attention.head_count", 0_u32)),
        llama(|m| m.set("llama.attention.head_count", 1_u32 << 20)),
        llama(|m| m.set("llama.attention.head_count_kv", 3_u32)),
        llama(|m| m.set("llama.attention.head_count_kv", vec![2_u32, 2])),
        llama(|m| m.set("llama.attention.layer_norm_rms_epsilon", f32::NAN)),
        llama(|m| m.set("llama.attention.sliding_window_pattern", vec![true])),
        llama(|m| m.set("llama.rope.dimension_count", 15_u32)),
        llama(|m| m.set("llama.rope.dimension_count", 18_u32)),
        llama(|m| m.set("llama.rope.freq_base", 0_f32)),
        llama(|m| m.set("llama.rope.scaling.factor", f32::INFINITY)),
        llama(|m| m.add_tensor("rope_freqs.weight", vec![0.0; 8])),
        llama(|m| m.add_tensor("rope_freqs.weight", vec![1.0; 9])),
        llama(|m| m.remove_tensor("token_embd.weight")),
        llama(|m| m.remove_tensor("blk.2.ffn_up.weight")),
        llama(|m| m.tensor("blk.1.attn_q.weight").1.swap(0, 1)),
        llama(|m| m.tensor("blk.1.ffn_up.weight").1.swap(0, 1)),
        llama(|m| m.add_tensor("blk.0.attn_q.bias", vec![0.0; 32])),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn what_is_wrong_in_newer_families_is_said() {
    let gemma2 = |change: fn(&mut Model)| changed(Model::random("gemma2"), change);
    let gemma3 = |change: fn(&mut Model)| changed(Model::random("gemma3"), change);
    let phi3 = |change: fn(&mut Model)| changed(Model::random("phi3"), change);
    let granite = |change: fn(&mut Model)| changed(Model::random("granite"), change);
    let mixtral = |change: fn(&mut Model)| changed(Model::mixtral(false), change);
    let split = |change: fn(&mut Model)| changed(Model::mixtral(true), change);
    let messages = [
        gemma2(|m| m.set("gemma2.attn_logit_softcapping", -50_f32)),
        gemma2(|m| m.set("gemma2.final_logit_softcapping", f32::INFINITY)),
        gemma2(|m| m.set("gemma2.attention.sliding_window_pattern", vec![true, false])),
        gemma2(|m| m.set("gemma2.attention.sliding_window_pattern", "2")),
        gemma2(|m| m.remove_tensor("blk.1.post_ffw_norm.weight")),
        gemma2(|m| m.add_tensor("blk.1.attn_q_norm.weight", vec![1.0; 16])),
        gemma3(|m| m.remove_tensor("blk.0.attn_k_norm.weight")),
        gemma3(|m| {
            m.set("gemma3.attention.sliding_window", 8_u32);
            m.set("gemma3.rope.freq_base_swa", 0.5_f32);
        }),
        gemma3(|m| m.add_tensor("v.patch_embd.weight", vec![1.0; 16])),
        phi3(|m| m.remove_tensor("rope_factors_long.weight")),
        phi3(|m| m.remove_tensor("rope_factors_short.weight")),
        phi3(|m| m.set("phi3.rope.scaling.type", "yarn")),
        phi3(|m| m.set("phi3.rope.scaling.original_context_length", 0_u32)),
        phi3(|m| m.set("phi3.rope.scaling.attn_factor", 0_f32)),
        phi3(|m| m.tensor("rope_factors_short.weight").2[3] = f32::NAN),
        phi3(|m| m.tensor("rope_factors_long.weight").1 = vec![4, 2]),
        phi3(|m| m.set("phi3.rope.dimension_count", 12_u32)),
        phi3(|m| m.tensor("blk.0.attn_qkv.weight").1.swap(0, 1)),
        phi3(|m| m.remove_tensor("blk.0.attn_qkv.weight")),
        phi3(|m| m.add_tensor("blk.2.attn_qkv.bias", vec![0.0; 128])),
        phi3(|m| m.set("phi3.feed_forward_length", 96_u32)),
        granite(|m| m.set("granite.residual_scale", -1_f32)),
        granite(|m| m.set("granite.logit_scale", f32::NAN)),
        mixtral(|m| m.remove("llama.expert_used_count")),
        mixtral(|m| m.set("llama.expert_used_count", 6_u32)),
        mixtral(|m| m.set("llama.expert_gating_func", 2_u32)),
        mixtral(|m| m.set("llama.expert_count", 4_u32)),
        mixtral(|m| m.remove_tensor("blk.1.ffn_up_exps.weight")),
        split(|m| m.remove_tensor("blk.1.ffn_up.0.weight")),
        split(|m| m.remove_tensor("blk.1.ffn_up.4.weight")),
        split(|m| m.set("llama.expert_count", 3_u32)),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn an_unknown_key_is_a_warning() {
    let mut model = Model::random("qwen3");
    assert_eq!(try_inspect(&model).unwrap().warnings, [""; 0]);
    model.set("qwen3.new_trick", 2_u32);
    model.set("other.new_trick", 2_u32);
    let warnings = try_inspect(&model).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("`qwen3.new_trick`"));
}

#[test]
fn tied_embeddings_are_one_matrix() {
    let mut model = Model::random("llama");
    let own = try_inspect(&model).unwrap();
    model.remove_tensor("output.weight");
    let tied = try_inspect(&model).unwrap();
    assert_eq!(own.weight_bytes - tied.weight_bytes, 300 * 32 * 4);
}

#[test]
fn a_bias_is_used_wherever_the_file_has_one() {
    let weight_bytes = |name: &str, len: usize| {
        let mut model = Model::random("llama");
        model.add_tensor(name, vec![1.0; len]);
        try_inspect(&model).unwrap().weight_bytes
    };
    let without = try_inspect(&Model::random("llama")).unwrap().weight_bytes;
    assert_eq!(weight_bytes("blk.0.attn_q.bias", 64), without + 64 * 4);
    assert_eq!(weight_bytes("blk.0.attn_output.bias", 32), without + 32 * 4);
    assert_eq!(weight_bytes("blk.2.ffn_down.bias", 32), without + 32 * 4);
    assert_eq!(weight_bytes("output.bias", 300), without + 300 * 4);
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::from),
        (0..70_u32).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
        prop::collection::vec(0..40_u32, 0..5).prop_map(Value::from),
        prop::collection::vec(any::<bool>(), 0..5).prop_map(Value::from),
    ]
}

proptest! {
    /// Any value under any key, and any tensor shape: an error or a network, never a panic.
    #[test]
    fn nothing_in_a_file_panics(
        arch in prop::sample::select(ARCHITECTURES),
        changes in prop::collection::vec((any::<prop::sample::Index>(), values()), 0..4),
        scaling in prop::option::of(prop::sample::select(vec![
            "linear", "yarn", "none", "su", "longrope",
        ])),
        axes in prop::option::of((any::<prop::sample::Index>(), 0..3_usize)),
    ) {
        let mut model = Model::random(arch);
        for key in ["factor", "attn_factor", "yarn_beta_fast", "yarn_beta_slow"] {
            model.set(&format!("{arch}.rope.scaling.{key}"), 2_f32);
        }
        model.set(&format!("{arch}.rope.scaling.original_context_length"), 100_u32);
        if let Some(scaling) = scaling {
            model.set(&format!("{arch}.rope.scaling.type"), scaling);
        }
        for (key, value) in changes {
            let key = model.pairs[1..][key.index(model.pairs.len() - 1)].0.clone();
            model.set(&key, value);
        }
        if let Some((tensor, change)) = axes {
            let tensor = tensor.get(&model.tensors).0.clone();
            match (model.tensor(&tensor), change) {
                (t, 0) => t.1.reverse(),
                (t, 1) => t.1.push(1),
                (t, _) => t.1 = vec![t.2.len() as u64],
            }
        }
        let (metadata, source) = model.build();
        match load(&metadata, &source, &Reference, 8, 512, &mut |_| {}) {
            Ok(network) => prop_assert!(network.shape().n_layers <= 3),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

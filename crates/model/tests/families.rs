//! What the files of a family mean where their keys do not say it, and one meaning of several ways
//! to write it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_model::{inspect, load};
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PageId, Row};
use ingle_tensor::reference::Reference;
use support::Model;

/// The bits of the logits after each of 40 tokens, loaded for so many positions.
fn logits(model: &Model, context: u32) -> Vec<u32> {
    let (metadata, source) = model.build();
    let mut ops = Reference;
    let mut network = load(&metadata, &source, &ops, 64, context, &mut |_| {}).unwrap();
    let mut memory = ops.memory(&network.layers(), KvType::F32, 1);
    let row = |i: u32| Row {
        item: Item::Token(TokenId(i * 31 % 300)),
        position: i,
        sequence: 0,
    };
    let rows: Vec<Row> = (0..40).map(row).collect();
    let batch = Batch {
        rows: &rows,
        sequences: &[&[PageId(0)]],
        outputs: &(0..40).collect::<Vec<_>>(),
        hidden: false,
    };
    let mut logits = Vec::new();
    network
        .forward(&mut ops, &mut memory, &batch, &mut logits)
        .unwrap();
    logits.iter().map(|x| x.to_bits()).collect()
}

fn changed(model: &Model, change: impl FnOnce(&mut Model)) -> Vec<u32> {
    let mut model = model.clone();
    change(&mut model);
    logits(&model, 512)
}

#[test]
fn experts_in_one_tensor_or_in_one_each_are_the_same() {
    assert!(logits(&Model::mixtral(true), 512) == logits(&Model::mixtral(false), 512));
}

#[test]
fn fused_tensors_are_their_parts_one_after_the_other() {
    let fused = Model::random("phi3");
    let mut apart = fused.clone();
    for i in 0..3 {
        for (name, parts) in [
            (
                "attn_qkv",
                &[("attn_q", 64), ("attn_k", 32), ("attn_v", 32)][..],
            ),
            ("ffn_up", &[("ffn_gate", 48), ("ffn_up", 48)]),
        ] {
            let name = format!("blk.{i}.{name}.weight");
            let mut data = apart.tensor(&name).2.clone();
            apart.remove_tensor(&name);
            for (part, rows) in parts {
                let rest = data.split_off(rows * 32);
                let name = format!("blk.{i}.{part}.weight");
                apart.tensors.push((name, vec![32, *rows as u64], data));
                data = rest;
            }
        }
    }
    assert!(logits(&fused, 512) == logits(&apart, 512));
}

#[test]
fn longrope_is_chosen_by_the_context_once() {
    let model = Model::random("phi3"); // first trained for 100 positions
    let (metadata, source) = model.build();
    let needs = inspect(&metadata, &source, &Reference, 8).unwrap();
    assert_eq!((needs.native_len, needs.shape.context_len), (100, 512));
    let (short, long) = (logits(&model, 100), logits(&model, 101));
    assert!(short == logits(&model, 1) && long == logits(&model, 512));
    assert!(short != long);
    let swapped = |m: &mut Model| {
        let data = m.tensor("rope_factors_short.weight").2.clone();
        m.tensor("rope_factors_long.weight").2 = data;
    };
    assert!(changed(&model, swapped) == short);
    // Where the key for the magnitude is absent, it follows from how much longer the context is.
    let told = (1.0 + (512_f64 / 100.0).ln() / 100_f64.ln()).sqrt() as f32;
    let key = "phi3.rope.scaling.attn_factor";
    assert!(changed(&model, |m| m.set(key, told)) == long);
    assert!(changed(&model, |m| m.set(key, 1_f32)) != long);
    assert!(changed(&model, |m| m.set("phi3.rope.scaling.type", "longrope")) == long);
}

#[test]
fn gemma_2_has_caps_and_windows_where_its_keys_are_absent() {
    let model = Model::random("gemma2");
    let plain = logits(&model, 512);
    let told = changed(&model, |m| {
        m.set("gemma2.attn_logit_softcapping", 50_f32);
        m.set("gemma2.final_logit_softcapping", 30_f32);
        m.set("gemma2.attention.sliding_window", 4096_u32);
    });
    assert!(told == plain);
    for (key, value) in [
        ("attn_logit_softcapping", 1_f32),
        ("final_logit_softcapping", 0.0),
    ] {
        assert!(changed(&model, |m| m.set(&format!("gemma2.{key}"), value)) != plain);
    }
    let window = |m: &mut Model| m.set("gemma2.attention.sliding_window", 8_u32);
    let pattern = "gemma2.attention.sliding_window_pattern";
    let slid = changed(&model, window);
    assert!(slid != plain);
    for same in [
        changed(&model, |m| {
            window(m);
            m.set(pattern, vec![true, false, true]);
        }),
        changed(&model, |m| {
            window(m);
            m.set(pattern, 2_u32);
        }),
    ] {
        assert!(same == slid);
    }
}

#[test]
fn gemma_3_turns_layers_with_a_window_by_their_own_base() {
    let mut model = Model::random("gemma3");
    model.set("gemma3.rope.freq_base", 1_000_000_f32);
    model.set("gemma3.attention.sliding_window", 512_u32);
    let base = logits(&model, 512); // three layers, all with a window that nothing reaches
    let key = "gemma3.rope.freq_base_swa";
    assert!(changed(&model, |m| m.set(key, 10_000_f32)) == base);
    assert!(changed(&model, |m| m.set(key, 500_f32)) != base);
    assert!(changed(&model, |m| m.set("gemma3.rope.freq_base", 5_f32)) == base);
    let none = changed(&model, |m| m.set("gemma3.attention.sliding_window", 0_u32));
    assert!(none != base, "without windows all turn by the one base");
}

#[test]
fn the_largest_gemmas_scale_scores_by_their_width() {
    for (arch, n_layers) in [("gemma2", 46), ("gemma3", 62)] {
        let mut model = Model::random(arch);
        model.set(&format!("{arch}.block_count"), n_layers as u32);
        let first = model.tensors.clone();
        for i in 3..n_layers {
            for (name, shape, data) in &first {
                if let Some(name) = name.strip_prefix("blk.0.") {
                    let name = format!("blk.{i}.{name}");
                    model.tensors.push((name, shape.clone(), data.clone()));
                }
            }
        }
        let key = format!("{arch}.attention.scale");
        let scale = 1.0 / (32_f32 / 4.0).sqrt(); // heads are 16 wide, the network 32 in 4 heads
        assert!(changed(&model, |m| m.set(&key, scale)) == logits(&model, 512));
        assert!(changed(&model, |m| m.set(&key, 0.25_f32)) != logits(&model, 512));
    }
}

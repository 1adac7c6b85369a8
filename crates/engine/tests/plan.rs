//! What a model will take is said before it is loaded, and a refusal says what would fit.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::{Budget, Engine, EngineError, LoadOptions, Plan, PlanError};
use ingle_tensor::ops::KvType;
use ingle_tensor::reference::Reference;
use support::Model;

fn plan(options: &LoadOptions, free: u64) -> Result<Plan, PlanError> {
    let (metadata, source) = Model::random("llama").build();
    Plan::new(&metadata, &source, &Reference, options, free)
}

fn with_context(context: Option<u32>) -> LoadOptions {
    LoadOptions {
        context,
        max_guesses: 0,
        ..LoadOptions::default()
    }
}

/// Bytes of a plan without any context.
fn fixed() -> u64 {
    let plan = plan(&with_context(Some(64)), u64::MAX).unwrap();
    plan.total() - plan.sequence_bytes
}

/// Keys and values of 3 layers, 2 heads of 16, 64 positions, 2 bytes.
const PAGE: u64 = 3 * 2 * 2 * 16 * 64 * 2;

#[test]
fn the_table_is_aligned() {
    let plan = plan(&with_context(Some(200)), 1 << 30).unwrap();
    insta::assert_snapshot!(plan.to_string());
}

#[test]
fn every_byte_is_counted() {
    let options = LoadOptions {
        max_sequences: 3,
        kv: KvType::F32,
        ..with_context(Some(65))
    };
    let plan = plan(&options, 1 << 30).unwrap();
    assert_eq!(plan.n_pages, 6);
    assert_eq!(plan.sequence_bytes, 6 * PAGE * 2);
    // Embedding, head, three layers (q, k, v, o; gate, up, down; two norms), the last norm.
    let layer = 32 * 64 + 32 * 32 * 2 + 64 * 32 + 3 * 32 * 48 + 2 * 32;
    assert_eq!(plan.needs.weight_bytes, 4 * (2 * 32 * 300 + 3 * layer + 32));
    assert_eq!(plan.needs.file_bytes, plan.needs.weight_bytes);
    // x, h; q, a; k, v; gate, up: 512 rows. And three rows of logits and what they come from.
    let widths = 2 * 32 + 2 * 64 + 2 * 32 + 2 * 48;
    assert_eq!(plan.vocabulary_bytes, 300 * 128);
    assert_eq!(plan.buffer_bytes, 4 * (512 * widths + 3 * (300 + 32)));
}

#[test]
fn guesses_are_counted_too() {
    let bytes = |max_guesses, max_sequences| {
        let options = LoadOptions {
            max_guesses,
            max_sequences,
            ..with_context(Some(200))
        };
        let plan = plan(&options, 1 << 30).unwrap();
        let pages = u64::from(plan.n_pages) * PAGE;
        plan.total() - pages - u64::from(max_sequences) * 4 * (300 + 32)
    };
    // Logits and hidden rows of 10 guesses; and what follows a text, once for each sequence.
    let (none, one, four) = (bytes(0, 1), bytes(10, 1), bytes(10, 4));
    let texts = one - none - 10 * 4 * (300 + 32);
    assert!(texts > 16 << 10);
    assert_eq!(four - none, 10 * 4 * (300 + 32) + 4 * texts);
}

#[test]
fn a_default_context_is_what_was_trained_for_or_what_fits() {
    let all = plan(&with_context(None), 1 << 30).unwrap();
    assert_eq!((all.context, all.warnings.len()), (512, 0));
    let tight = plan(&with_context(None), fixed() + 3 * PAGE + 5).unwrap();
    assert_eq!(tight.context, 192);
    assert!(tight.total() <= tight.free);
    assert!(tight.warnings[0].contains("the context is 192, because no more fits"));
}

#[test]
fn a_context_that_changes_short_texts_is_not_chosen_unasked() {
    let (metadata, source) = Model::random("phi3").build(); // longrope, first trained for 100
    let context = |context, free| {
        let plan = Plan::new(&metadata, &source, &Reference, &with_context(context), free);
        plan.unwrap().context
    };
    assert_eq!(context(None, 1 << 30), 100);
    assert_eq!(context(Some(300), 1 << 30), 300);
}

#[test]
fn a_longer_context_than_trained_is_allowed_with_a_warning() {
    let plan = plan(&with_context(Some(1000)), 1 << 30).unwrap();
    assert_eq!(plan.context, 1000);
    assert!(plan.warnings[0].contains("trained for 512"));
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let options = with_context(Some(500));
    let refused = [
        plan(&options, fixed() + 3 * PAGE).unwrap_err(),
        plan(&options, fixed() + PAGE - 1).unwrap_err(),
        plan(&options, 1000).unwrap_err(),
        plan(&with_context(Some(0)), 1 << 30).unwrap_err(),
        plan(&with_context(Some(u32::MAX)), u64::MAX).unwrap_err(),
    ];
    assert!(matches!(
        refused[0],
        PlanError::Context { largest: 192, .. }
    ));
    let fits = plan(&with_context(Some(192)), fixed() + 3 * PAGE).unwrap();
    assert_eq!(fits.total(), fits.free);
    let messages: Vec<String> = refused.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn quantised_keys_need_heads_of_whole_blocks() {
    for kv in [KvType::Q8_0, KvType::Q4_0] {
        let options = LoadOptions {
            kv,
            ..with_context(Some(64))
        };
        let refused = plan(&options, 1 << 30).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "keys and values cannot be stored as {kv}: that takes heads of a multiple of 32 elements, and this \
                 model has heads of 16; use f16"
            )
        );
    }
}

#[test]
fn a_budget_is_held_while_the_engine_lives() {
    let (metadata, source) = Model::random("llama").with_vocabulary().build();
    let load = |budget: &Budget| {
        let options = with_context(Some(64));
        let plan = Plan::new(&metadata, &source, &Reference, &options, 1 << 30).unwrap();
        let total = plan.total();
        let load = Engine::load(&metadata, &source, Reference, plan, budget, &mut |_, _| {});
        load.map(|engine| (engine, total))
    };
    let budget = Budget::new(1 << 22);
    let (engine, total) = load(&budget).unwrap();
    assert_eq!(budget.free(), (1 << 22) - total);
    drop(engine);
    assert_eq!(budget.free(), 1 << 22);
    assert!(matches!(
        load(&Budget::new(total - 1)),
        Err(EngineError::Memory(_))
    ));
}

#[test]
fn progress_goes_up_to_the_total() {
    let (metadata, source) = Model::random("qwen3").with_vocabulary().build();
    let options = LoadOptions::default();
    let plan = Plan::new(&metadata, &source, &Reference, &options, 1 << 30).unwrap();
    let mut seen = Vec::new();
    let budget = Budget::new(1 << 30);
    let mut note = |done, total| seen.push((done, total));
    Engine::load(&metadata, &source, Reference, plan, &budget, &mut note).unwrap();
    assert!(seen.windows(2).all(|w| w[0].0 < w[1].0));
    let (done, total) = seen.last().unwrap();
    assert_eq!(done, total);
}

//! A real trained model through the whole engine.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::Sampling;
use ingle_engine::{Budget, Engine, Event, LoadOptions, Plan, Request};
use ingle_formats::vocabulary::Encode;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::sync::Arc;

#[test]
fn greedy_text_is_the_golden_one() {
    let folder = support::shared().join("data/models/stories260K");
    let Some((metadata, source)) = support::open(&folder.join("stories260K.gguf")) else {
        println!("skipped: stories260K.gguf is not in the folder of shared data");
        return;
    };
    let options = LoadOptions {
        context: Some(512),
        ..LoadOptions::default()
    };
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(2))).unwrap();
    let budget = Budget::new(1 << 30);
    let plan = Plan::new(&metadata, &source, &ops, &options, budget.free()).unwrap();
    assert!(plan.warnings[0].contains("trained for 128"));
    let mut engine = Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap();
    let encode = Encode {
        add_special: true,
        parse_special: false,
    };
    let golden = std::fs::read_to_string(folder.join("GOLDEN.md")).unwrap();
    let start = golden.find("\nOnce upon a time,").unwrap() + 1;
    let golden = &golden[start..golden.find("\n\nOver the first").unwrap()];
    // From nothing, and continued from its own beginning.
    for (prompt, expected) in [
        ("", golden),
        ("Once upon a time", &golden["Once upon a time".len()..]),
    ] {
        let prompt = engine.vocabulary().encode(prompt, encode);
        let request = Request {
            max_tokens: Some(201 - prompt.len() as u32),
            sampling: Sampling::greedy(),
            ..Request::new(prompt)
        };
        let texts = engine.generate(request).unwrap().filter_map(|e| match e {
            Event::Token { text, .. } => Some(text),
            Event::Embedded { .. } | Event::Finished { .. } => None,
        });
        assert_eq!(texts.collect::<String>(), expected);
    }
}

#[test]
fn an_engine_can_move_to_its_own_thread() {
    fn moves<T: Send>() {}
    moves::<Engine<Cpu>>();
}

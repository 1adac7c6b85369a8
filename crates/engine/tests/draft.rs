//! A small model that guesses for a large one changes no event, whatever it guesses.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::Sampling;
use ingle_engine::{
    Budget, Draft, Engine, EngineError, Event, LoadOptions, Plan, Request, RequestId, Times,
};
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_tensor::WeightSource;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::Model;

fn ops() -> Cpu {
    Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap()
}

fn options(max_sequences: u32, max_guesses: u32) -> LoadOptions {
    LoadOptions {
        context: Some(320),
        max_sequences,
        max_guesses,
        max_batch_rows: 64,
        ..LoadOptions::default()
    }
}

/// A model with three hundred tokens.
const LARGE: &str = "qwen3moe";

fn engine(max_sequences: u32) -> Engine<Cpu> {
    let (metadata, source) = Model::random(LARGE).with_vocabulary().build();
    let budget = Budget::new(1 << 30);
    let options = options(max_sequences, 32);
    let plan = Plan::new(&metadata, &source, &ops(), &options, budget.free()).unwrap();
    let engine = Engine::load(&metadata, &source, ops(), plan, &budget, &mut |_, _| {});
    let mut engine = engine.unwrap();
    engine.set_guesser(None);
    engine
}

fn draft(
    metadata: &Metadata,
    source: &dyn WeightSource,
    engine: &Engine<Cpu>,
    use_ngram: bool,
    times: u64,
) -> Result<Draft<Cpu>, EngineError> {
    let budget = Budget::new(1 << 30);
    let options = options(engine.plan().options.max_sequences, 0);
    let plan = Plan::new(metadata, source, &ops(), &options, budget.free()).unwrap();
    // As if the large one were so many times as large.
    let target = (&**engine.vocabulary(), times * plan.needs.weight_bytes);
    Draft::load(
        metadata,
        source,
        ops(),
        &plan,
        &budget,
        target,
        use_ngram,
        &mut |_, _| {},
    )
}

/// An engine for which the model of `architecture` guesses.
fn drafted(architecture: &str, max_sequences: u32, use_ngram: bool, times: u64) -> Engine<Cpu> {
    let mut engine = engine(max_sequences);
    let (metadata, source) = Model::random(architecture).with_vocabulary().build();
    let draft = draft(&metadata, &source, &engine, use_ngram, times).unwrap();
    engine.set_guesser(Some(Box::new(draft)));
    engine
}

fn requests() -> Vec<Request> {
    let text = "once upon a time there was a fox. ".repeat(6);
    let prompt = |len: usize| -> Vec<TokenId> {
        let bytes = text.bytes().map(|byte| TokenId(u32::from(byte) + 3));
        std::iter::once(TokenId(1)).chain(bytes).take(len).collect()
    };
    let plain = Sampling {
        temperature: 0.9,
        logprobs: Some(2),
        ..Sampling::default()
    };
    let samplings = [
        Sampling::greedy(),
        plain.clone(),
        Sampling {
            top_k: 9,
            top_p: 0.8,
            ..plain.clone()
        },
        Sampling {
            repetition_penalty: 1.2,
            frequency_penalty: 0.3,
            penalty_last_n: Some(12),
            ..plain.clone()
        },
        Sampling {
            presence_penalty: 0.7,
            penalty_last_n: None,
            logit_bias: vec![(TokenId(105), 2.0)],
            ..plain
        },
    ];
    let all = samplings.into_iter().enumerate();
    let request = |(i, sampling): (usize, Sampling)| Request {
        max_tokens: Some(100),
        sampling: Sampling {
            seed: i as u64,
            ..sampling
        },
        ignore_end: true,
        fresh: true,
        ..Request::new(prompt(3 + 41 * i))
    };
    all.map(request).collect()
}

/// The events of each request, all at once, without what depends on time.
fn events(engine: &mut Engine<Cpu>) -> Vec<Vec<Event>> {
    let mut answers: BTreeMap<RequestId, Vec<Event>> = BTreeMap::new();
    for request in requests() {
        engine.submit(request, Duration::ZERO).unwrap();
    }
    while !engine.is_idle() {
        for mut event in engine.step(Duration::ZERO) {
            let id = event.request();
            if let Event::Finished { times, .. } = &mut event {
                *times = Times::default();
            }
            answers.entry(id).or_default().push(event);
        }
        engine.check().unwrap();
    }
    answers.into_values().collect()
}

#[test]
fn the_tokens_are_the_same_whoever_guesses() {
    let expected = events(&mut engine(1));
    for max_sequences in [1, 5] {
        for (architecture, use_ngram) in [(LARGE, false), (LARGE, true), ("llama", false)] {
            let mut engine = drafted(architecture, max_sequences, use_ngram, 20);
            let found = events(&mut engine);
            assert_eq!(found, expected, "{architecture}, {max_sequences} at once");
            let all = engine.speculated();
            if architecture == LARGE && !use_ngram {
                // It thinks as the large one, and draws with the same noise.
                assert!(
                    all.accepted > 200 && all.accepted == all.proposed,
                    "{all:?}"
                );
            }
        }
    }
}

#[test]
fn what_does_not_pay_is_hardly_tried() {
    // It is right one time in three, and takes as long as the model itself.
    let mut engine = drafted("llama", 1, false, 1);
    let tokens: usize = events(&mut engine).iter().map(|e| e.len() - 1).sum();
    let all = engine.speculated();
    let proposed = all.proposed as usize;
    assert!(
        proposed > 0 && proposed * 10 < tokens,
        "{all:?} of {tokens}"
    );
}

#[test]
fn another_vocabulary_is_refused() {
    let engine = engine(1);
    let mut model = Model::random("llama").with_vocabulary();
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let words = (0..41).map(|i| format!("\u{2581}{}{i}", if i == 17 { 'v' } else { 'w' }));
    let control = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    model.set(
        "tokenizer.ggml.tokens",
        control.chain(bytes).chain(words).collect::<Vec<_>>(),
    );
    let (metadata, source) = model.build();
    let error = draft(&metadata, &source, &engine, true, 20).err().unwrap();
    let message = error.to_string();
    assert!(message.contains("token 276 is not the same"), "{message}");
}

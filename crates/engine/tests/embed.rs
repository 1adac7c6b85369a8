//! Embeddings and scores from an engine, on tiny random models.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::{
    Budget, EmbedRequest, Engine, Event, FinishReason, LoadOptions, Plan, Pooling, Refusal,
    Request, RequestId, Usage, Want,
};
use ingle_formats::TokenId;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::Model;

const NOW: Duration = Duration::ZERO;

fn load(model: &Model, options: &LoadOptions) -> Engine<Cpu> {
    let (metadata, source) = model.clone().with_vocabulary().build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let budget = Budget::new(1 << 30);
    let plan = Plan::new(&metadata, &source, &ops, options, budget.free()).unwrap();
    Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap()
}

fn decoder(max_sequences: u32, max_batch_rows: u32, pooling: Pooling) -> Engine<Cpu> {
    let options = LoadOptions {
        context: Some(256),
        max_sequences,
        max_batch_rows,
        pooling: Some(pooling),
        ..LoadOptions::default()
    };
    load(&Model::random("qwen3"), &options)
}

fn text(len: usize, salt: usize) -> EmbedRequest {
    let token = |i| TokenId((i * 7 + salt * 13) as u32 % 300);
    EmbedRequest {
        tokens: (0..len).map(token).collect(),
        second: None,
        want: Want::Embedding { normalise: true },
    }
}

/// Steps until nothing is left; the numbers of each request, and that each ended well.
fn run(engine: &mut Engine<Cpu>) -> (BTreeMap<RequestId, Vec<f32>>, usize) {
    let (mut values, mut steps) = (BTreeMap::new(), 0);
    while !engine.is_idle() {
        steps += 1;
        for event in engine.step(NOW) {
            match event {
                Event::Embedded {
                    request,
                    values: numbers,
                } => {
                    assert!(values.insert(request, numbers).is_none());
                }
                Event::Finished {
                    request,
                    reason,
                    usage,
                    ..
                } => {
                    assert_eq!(reason, FinishReason::Embedded);
                    assert!(values.contains_key(&request));
                    assert_eq!((usage.generated_tokens, usage.cached_tokens), (0, 0));
                }
                Event::Token { .. } => panic!("nobody asked for text"),
            }
        }
        engine.check().unwrap();
    }
    (values, steps)
}

#[test]
fn a_vector_does_not_depend_on_neighbours_or_batches() {
    for pooling in [Pooling::Mean, Pooling::First, Pooling::Last] {
        let texts: Vec<EmbedRequest> = [130, 1, 64, 200]
            .iter()
            .enumerate()
            .map(|(i, &len)| text(len, i))
            .collect();
        let mut alone = decoder(1, 512, pooling);
        let mut together = decoder(4, 512, pooling);
        let mut cut = decoder(3, 33, pooling);
        let mut found = Vec::new();
        for engine in [&mut alone, &mut together, &mut cut] {
            for text in &texts {
                engine.submit_embed(text.clone(), NOW).unwrap();
            }
            let (values, steps) = run(engine);
            found.push((values, steps));
        }
        assert_eq!(found[0].0, found[1].0, "{pooling:?}");
        assert_eq!(found[0].0, found[2].0, "{pooling:?}");
        assert_eq!((found[0].1, found[1].1), (4, 1));
        for vector in found[0].0.values() {
            assert_eq!(vector.len(), 32);
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn texts_are_written_and_embedded_side_by_side() {
    let mut engine = decoder(3, 64, Pooling::Last);
    let expected = {
        let mut alone = decoder(1, 512, Pooling::Last);
        alone.submit_embed(text(100, 5), NOW).unwrap();
        run(&mut alone).0.into_values().next().unwrap()
    };
    let request = Request {
        max_tokens: Some(20),
        ignore_end: true,
        ..Request::new(text(90, 2).tokens)
    };
    let written = engine.submit(request.clone(), NOW).unwrap();
    let embedded = engine.submit_embed(text(100, 5), NOW).unwrap();
    let (mut tokens, mut vector) = (0, Vec::new());
    while !engine.is_idle() {
        for event in engine.step(NOW) {
            match event {
                Event::Token { request, .. } => {
                    assert_eq!(request, written);
                    tokens += 1;
                }
                Event::Embedded { request, values } => {
                    assert_eq!(request, embedded);
                    vector = values;
                }
                Event::Finished { .. } => {}
            }
        }
        engine.check().unwrap();
    }
    assert_eq!(tokens, 20);
    assert_eq!(vector, expected);
    // What was embedded is not taken for a text that can be continued.
    let mut answer = engine.generate(Request {
        max_tokens: Some(1),
        ..Request::new(text(101, 5).tokens)
    });
    let last = answer.as_mut().unwrap().last();
    assert!(matches!(
        last,
        Some(Event::Finished {
            usage: Usage {
                cached_tokens: 0,
                ..
            },
            ..
        })
    ));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_numbers() {
    let mut engine = decoder(1, 512, Pooling::Last);
    let refused = engine.submit_embed(text(257, 0), NOW);
    assert_eq!(
        refused,
        Err(Refusal::TextTooLong {
            tokens: 257,
            context: 256
        })
    );
    assert!(engine.submit_embed(text(256, 0), NOW).is_ok());
    assert_eq!(
        engine.submit_embed(text(0, 0), NOW),
        Err(Refusal::EmptyPrompt)
    );
    let strange = EmbedRequest {
        tokens: vec![TokenId(300)],
        ..text(1, 0)
    };
    assert!(matches!(
        engine.submit_embed(strange, NOW),
        Err(Refusal::NoSuchToken { .. })
    ));
    let score = EmbedRequest {
        want: Want::Score,
        ..text(1, 0)
    };
    assert_eq!(engine.submit_embed(score, NOW), Err(Refusal::NoScore));
    assert_eq!(engine.score_request("a", "b"), Err(Refusal::NoScore));
    let mut ranks = decoder(1, 512, Pooling::Rank);
    assert_eq!(
        ranks.submit_embed(text(1, 0), NOW),
        Err(Refusal::NoEmbedding)
    );
}

#[test]
fn a_cancelled_text_gives_its_pages_back() {
    let mut engine = decoder(2, 16, Pooling::Mean);
    let id = engine.submit_embed(text(200, 1), NOW).unwrap();
    engine.step(NOW);
    assert!(engine.cancel(id, NOW));
    let events = engine.step(NOW);
    assert!(matches!(
        &events[..],
        [Event::Finished {
            reason: FinishReason::Cancelled,
            ..
        }]
    ));
    engine.check().unwrap();
    assert!(engine.is_idle());
}

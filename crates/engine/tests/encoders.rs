//! Pooled vectors and scores against Hugging Face transformers, on the tiny models of
//! `crates/model/tests/goldens/make_encoders.py`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::{
    Budget, EmbedRequest, Engine, Event, LoadOptions, Plan, PlanError, Refusal, Request, Want,
};
use ingle_formats::TokenId;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::KvType;
use ingle_tensor::team::Team;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

/// Both sides add F32 in different orders.
const TOLERANCE: f32 = 2e-5;

struct Case {
    name: String,
    rank: bool,
    texts: Vec<(EmbedRequest, Vec<f32>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/goldens")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("encoders.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let case = |case: &Value| {
        let rank = case["pooling"] == "rank";
        let text = |text: &Value| {
            let tokens = text["tokens"].as_array().unwrap().iter();
            let values = text["values"].as_array().unwrap().iter();
            let request = EmbedRequest {
                tokens: tokens
                    .map(|t| TokenId(t.as_u64().unwrap() as u32))
                    .collect(),
                second: text["second"].as_u64().map(|at| at as usize),
                want: match rank {
                    true => Want::Score,
                    false => Want::Embedding { normalise: false },
                },
            };
            let values = values.map(|v| v.as_f64().unwrap() as f32).collect();
            (request, values)
        };
        Case {
            name: case["name"].as_str().unwrap().to_owned(),
            rank,
            texts: case["texts"].as_array().unwrap().iter().map(text).collect(),
        }
    };
    cases.iter().map(case).collect()
}

fn plan(case: &Case, ops: &Cpu, options: &LoadOptions) -> Result<Plan, PlanError> {
    let (metadata, source) = support::open(&folder().join(format!("{}.gguf", case.name))).unwrap();
    Plan::new(&metadata, &source, ops, options, 1 << 30)
}

fn load(case: &Case, isa: Isa, threads: usize, rows: u32) -> Engine<Cpu> {
    let options = LoadOptions {
        max_batch_rows: rows,
        max_sequences: 4,
        kv: KvType::F32,
        ..LoadOptions::default()
    };
    let ops = Cpu::new(isa, Arc::new(Team::new(threads))).unwrap();
    let plan = plan(case, &ops, &options).unwrap();
    let budget = Budget::new(1 << 30);
    let (metadata, source) = support::open(&folder().join(format!("{}.gguf", case.name))).unwrap();
    Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap()
}

/// The numbers of all texts, in order, submitted at once.
fn numbers(engine: &mut Engine<Cpu>, case: &Case) -> Vec<Vec<f32>> {
    let submit = |(request, _): &(EmbedRequest, _)| engine.submit_embed(request.clone(), NOW);
    let ids: Vec<_> = case
        .texts
        .iter()
        .map(submit)
        .collect::<Result<_, _>>()
        .unwrap();
    let mut found = vec![Vec::new(); ids.len()];
    while !engine.is_idle() {
        for event in engine.step(NOW) {
            if let Event::Embedded { request, values } = event {
                found[ids.iter().position(|&id| id == request).unwrap()] = values;
            }
        }
        engine.check().unwrap();
    }
    found
}

#[test]
fn every_model_gives_the_numbers_of_transformers() {
    for case in cases() {
        let mut bits: Option<Vec<Vec<f32>>> = None;
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (threads, rows) in [(1, 512), (2, 8)] {
                let found = numbers(&mut load(&case, isa, threads, rows), &case);
                for ((_, expected), found) in case.texts.iter().zip(&found) {
                    assert_eq!(found.len(), expected.len(), "{}", case.name);
                    for (found, expected) in found.iter().zip(expected) {
                        let error = (found - expected).abs();
                        assert!(
                            error <= TOLERANCE * (1.0 + expected.abs()),
                            "{} on {isa}: {found} where transformers gives {expected}",
                            case.name
                        );
                    }
                }
                let first = bits.get_or_insert_with(|| found.clone());
                assert_eq!(first, &found, "{} on {isa}, {threads}, {rows}", case.name);
            }
        }
    }
}

#[test]
fn what_an_encoder_cannot_do_is_refused() {
    for case in cases() {
        let mut engine = load(&case, Isa::best(), 1, 512);
        let long = EmbedRequest {
            tokens: vec![TokenId(9); 161],
            ..case.texts[0].0.clone()
        };
        assert_eq!(
            engine.submit_embed(long, NOW),
            Err(Refusal::TextTooLong {
                tokens: 161,
                context: 160
            })
        );
        let other = EmbedRequest {
            want: match case.rank {
                true => Want::Embedding { normalise: true },
                false => Want::Score,
            },
            ..case.texts[0].0.clone()
        };
        let refused = engine.submit_embed(other, NOW).unwrap_err();
        assert!(matches!(refused, Refusal::NoScore | Refusal::NoEmbedding));
        let writes = engine.submit(Request::new(vec![TokenId(5)]), NOW);
        match case.name.as_str() {
            "qwen3-embedding" => assert!(writes.is_ok()),
            _ => assert!(matches!(writes, Err(Refusal::WritesNothing { .. }))),
        }
    }
}

#[test]
fn an_encoder_has_no_more_positions() {
    let case = &cases()[0];
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let with = |context| LoadOptions {
        context: Some(context),
        ..LoadOptions::default()
    };
    assert_eq!(plan(case, &ops, &with(100)).unwrap().context, 100);
    let error = plan(case, &ops, &with(161)).unwrap_err().to_string();
    assert!(error.contains("has 160 positions"), "{error}");
}

//! Guesses change no event: tokens, texts, probabilities, ends and usage are those without them.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::{Dry, Sampling};
use ingle_engine::{
    Budget, Engine, Event, FinishReason, LoadOptions, Plan, Request, RequestId, Times,
};
use ingle_formats::TokenId;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::Model;

const CONTEXT: u32 = 512;

fn engine(max_guesses: u32, max_sequences: u32, max_batch_rows: u32) -> Engine<Cpu> {
    let (metadata, source) = Model::random("qwen3moe").with_vocabulary().build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let budget = Budget::new(1 << 30);
    let options = LoadOptions {
        context: Some(CONTEXT),
        max_sequences,
        max_batch_rows,
        max_guesses,
        ..LoadOptions::default()
    };
    let plan = Plan::new(&metadata, &source, &ops, &options, budget.free()).unwrap();
    Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap()
}

/// Bytes as tokens, behind the beginning-of-text token.
fn prompt(text: &str) -> Vec<TokenId> {
    let bytes = text.bytes().map(|byte| TokenId(u32::from(byte) + 3));
    std::iter::once(TokenId(1)).chain(bytes).collect()
}

const CODE: &str = "fn area(w: f32, h: f32) -> f32 {\n    w * h\n}\n\nfn edge(w: f32, h: f32) -> f32 {\n    w + h\n}\n";

/// One for every feature of the sampler, and for every way to end.
fn requests() -> Vec<Request> {
    let plain = Sampling {
        temperature: 0.7,
        seed: 11,
        logprobs: Some(3),
        ..Sampling::default()
    };
    let samplings = [
        Sampling {
            temperature: 0.0,
            ..plain.clone()
        },
        Sampling {
            logprobs: None,
            ..Sampling::greedy()
        },
        plain.clone(),
        Sampling {
            top_k: 5,
            ..plain.clone()
        },
        Sampling {
            top_p: 0.6,
            min_p: 0.05,
            ..plain.clone()
        },
        Sampling {
            typical: 0.5,
            ..plain.clone()
        },
        Sampling {
            repetition_penalty: 1.3,
            penalty_last_n: Some(20),
            ..plain.clone()
        },
        Sampling {
            frequency_penalty: 0.4,
            presence_penalty: 0.3,
            penalty_last_n: None,
            ..plain.clone()
        },
        Sampling {
            dry: Dry {
                multiplier: 0.8,
                sequence_breakers: vec!["\n".into()],
                ..Dry::default()
            },
            ..plain.clone()
        },
        Sampling {
            logit_bias: vec![(TokenId(100), 3.0), (TokenId(101), f32::NEG_INFINITY)],
            ..plain.clone()
        },
    ];
    let mut requests = Vec::new();
    for (i, sampling) in samplings.into_iter().enumerate() {
        let text = CODE.repeat(1 + i % 2);
        let forced = prompt(&text).split_off(1 + i);
        let request = Request {
            max_tokens: Some(90),
            sampling,
            ignore_end: true,
            ..Request::new(prompt(&text))
        };
        // What the model writes by itself, and what it is made to write, which repeats the prompt.
        requests.push(request.clone());
        requests.push(Request {
            forced: forced.clone(),
            ..request.clone()
        });
        requests.push(Request {
            forced: forced.clone(),
            stop: vec!["h: f32) -".into(), "never".into()],
            ..request.clone()
        });
        requests.push(Request {
            forced: forced.clone(),
            stop_tokens: vec![TokenId(u32::from(b'{') + 3)],
            ..request.clone()
        });
        requests.push(Request {
            forced,
            max_tokens: Some(7 + i as u32),
            ..request
        });
    }
    requests
}

/// All events of a request but what depends on time and on its number.
fn plain(event: Event) -> Event {
    match event {
        Event::Token {
            token,
            text,
            logprob,
            top,
            signals,
            ..
        } => Event::Token {
            request: RequestId(0),
            token,
            text,
            logprob,
            top,
            signals,
        },
        Event::Finished {
            reason,
            usage,
            signals,
            ..
        } => Event::Finished {
            request: RequestId(0),
            reason,
            usage,
            times: Times::default(),
            signals,
        },
        event @ Event::Embedded { .. } => event,
    }
}

type Answers = BTreeMap<RequestId, Vec<Event>>;

fn step(engine: &mut Engine<Cpu>, now: Duration, answers: &mut Answers) {
    for event in engine.step(now) {
        answers
            .entry(event.request())
            .or_default()
            .push(plain(event));
    }
    engine.check().unwrap();
}

/// The events of each of `requests`, one after the other.
fn one_by_one(engine: &mut Engine<Cpu>, requests: &[Request]) -> Vec<Vec<Event>> {
    let mut answers = Answers::new();
    for request in requests {
        engine.submit(request.clone(), Duration::ZERO).unwrap();
        while !engine.is_idle() {
            step(engine, Duration::ZERO, &mut answers);
        }
    }
    answers.into_values().collect()
}

#[test]
fn every_event_is_the_same() {
    let requests = requests();
    let expected = one_by_one(&mut engine(0, 1, 512), &requests);
    let mut guessing = engine(32, 1, 512);
    let found = one_by_one(&mut guessing, &requests);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "request {i}");
    }
    let all = guessing.speculated();
    assert!(
        all.accepted > 1_000 && all.proposed >= all.accepted,
        "{all:?}"
    );
    let ends = expected.iter().filter_map(|events| events.last());
    let stopped = |e: &Event| {
        matches!(
            e,
            Event::Finished {
                reason: FinishReason::StopText(_),
                ..
            }
        )
    };
    assert_eq!(ends.filter(|e| stopped(e)).count(), 10);
}

#[test]
fn several_at_once_with_few_rows_and_a_strange_clock() {
    let requests = requests();
    let expected = one_by_one(&mut engine(0, 1, 512), &requests);
    for (max_sequences, rows, tick) in [(8, 64, 7), (3, 5, 0), (50, 512, 3)] {
        let mut many = engine(32, max_sequences, rows);
        let (mut answers, mut now) = (Answers::new(), 0_u64);
        for request in &requests {
            let fresh = Request {
                fresh: true,
                ..request.clone()
            };
            many.submit(fresh, Duration::ZERO).unwrap();
        }
        while !many.is_idle() {
            now += now * tick % 11;
            step(&mut many, Duration::from_millis(now), &mut answers);
            now += 1;
        }
        assert!(many.speculated().accepted > 0);
        // What was cached differs with the order of requests; nothing else may.
        let uncached = |events: &[Event]| {
            let mut events = events.to_vec();
            if let Some(Event::Finished { usage, .. }) = events.last_mut() {
                usage.cached_tokens = 0;
            }
            events
        };
        for (found, expected) in answers.values().zip(&expected) {
            assert_eq!(
                uncached(found),
                uncached(expected),
                "{max_sequences} at once"
            );
        }
    }
}

#[test]
fn the_last_position_is_used_and_none_behind_it() {
    for len in [
        CONTEXT as usize - 40,
        CONTEXT as usize - 2,
        CONTEXT as usize - 1,
    ] {
        let text = "ab".repeat(len);
        let request = Request {
            sampling: Sampling::greedy(),
            ignore_end: true,
            forced: prompt("ba".repeat(100).as_str()).split_off(1),
            ..Request::new(prompt(&text[..len - 1]))
        };
        let expected = one_by_one(&mut engine(0, 1, 512), std::slice::from_ref(&request));
        let found = one_by_one(&mut engine(32, 1, 512), &[request]);
        assert_eq!(found, expected);
        assert_eq!(found[0].len(), CONTEXT as usize - len + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Cancelled after any number of steps, alone or beside others: what came until then is the
    /// beginning of the whole answer, no page is lost, and those beside it notice nothing.
    #[test]
    fn cancelled_on_the_way(steps in 0..30_usize, which in 0..5_usize, next in 0..5_usize) {
        let all = requests();
        let requests = [all[which].clone(), all[5 + next].clone()];
        let expected = one_by_one(&mut engine(0, 1, 512), &requests);
        let mut many = engine(32, 2, 48);
        let mut answers = Answers::new();
        let ids = requests.clone().map(|r| many.submit(r, Duration::ZERO).unwrap());
        for _ in 0..steps {
            step(&mut many, Duration::ZERO, &mut answers);
        }
        let cancelled = many.cancel(ids[0], Duration::ZERO);
        while !many.is_idle() {
            step(&mut many, Duration::ZERO, &mut answers);
        }
        let tokens = |events: &[Event]| events[..events.len() - 1].to_vec();
        prop_assert_eq!(tokens(&answers[&ids[1]]), tokens(&expected[1]));
        let found = tokens(&answers[&ids[0]]);
        prop_assert!(expected[0].starts_with(&found));
        prop_assert!(cancelled || found == tokens(&expected[0]));
        // The cancelled text can be continued from what was kept of it.
        let mut answers = Answers::new();
        let again = many.submit(requests[0].clone(), Duration::ZERO).unwrap();
        while !many.is_idle() {
            step(&mut many, Duration::ZERO, &mut answers);
        }
        prop_assert_eq!(tokens(&answers[&again]), tokens(&expected[0]));
    }
}

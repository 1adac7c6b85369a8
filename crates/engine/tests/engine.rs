//! The engine on a tiny random model.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::Sampling;
use ingle_engine::{
    Budget, Engine, Event, FinishReason, Guesser, LoadOptions, Plan, Refusal, Request, RequestId,
    Usage,
};
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Decode;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Model, Rng};

fn engine(options: &LoadOptions) -> Engine<Cpu> {
    let (metadata, source) = Model::random("qwen3moe").with_vocabulary().build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let budget = Budget::new(1 << 30);
    let plan = Plan::new(&metadata, &source, &ops, options, budget.free()).unwrap();
    Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap()
}

fn options(context: u32, max_sequences: u32) -> LoadOptions {
    LoadOptions {
        context: Some(context),
        max_sequences,
        ..LoadOptions::default()
    }
}

/// Bytes as tokens, behind the beginning-of-text token.
fn prompt(text: &str) -> Vec<TokenId> {
    let bytes = text.bytes().map(|byte| TokenId(u32::from(byte) + 3));
    std::iter::once(TokenId(1)).chain(bytes).collect()
}

fn request(text: &str, max_tokens: u32) -> Request {
    Request {
        max_tokens: Some(max_tokens),
        sampling: Sampling::greedy(),
        ignore_end: true,
        ..Request::new(prompt(text))
    }
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq)]
struct Answer {
    values: Vec<f32>,
    tokens: Vec<TokenId>,
    text: String,
    logprobs: Vec<u32>,
    end: Option<(FinishReason, Usage)>,
}

fn collect(answers: &mut BTreeMap<RequestId, Answer>, events: Vec<Event>) {
    for event in events {
        let answer = answers.entry(event.request()).or_default();
        assert_eq!(answer.end, None, "an event after the last");
        match event {
            Event::Token {
                token,
                text,
                logprob,
                ..
            } => {
                answer.tokens.push(token);
                answer.text.push_str(&text);
                answer.logprobs.extend(logprob.map(f32::to_bits));
            }
            Event::Embedded { values, .. } => answer.values = values,
            Event::Finished { reason, usage, .. } => answer.end = Some((reason, usage)),
        }
    }
}

/// All of an answer but what it cost.
fn said(answer: &Answer) -> (&[TokenId], &str, &[u32], Option<&FinishReason>) {
    let reason = answer.end.as_ref().map(|(reason, _)| reason);
    (&answer.tokens, &answer.text, &answer.logprobs, reason)
}

/// Steps until nothing is left to do.
fn run(engine: &mut Engine<Cpu>) -> BTreeMap<RequestId, Answer> {
    let mut answers = BTreeMap::new();
    while !engine.is_idle() {
        collect(&mut answers, engine.step(Duration::ZERO));
        engine.check().unwrap();
    }
    answers
}

/// The answer of a request that has the engine for itself.
fn alone(engine: &mut Engine<Cpu>, request: Request) -> Answer {
    let id = engine.submit(request, Duration::ZERO).unwrap();
    run(engine).remove(&id).unwrap()
}

fn different_requests() -> Vec<Request> {
    let make = |i: u32| {
        let text: String = "a tale of many lengths. ".repeat(8)[..(i * 37 % 190) as usize].into();
        let sampling = match i % 3 {
            0 => Sampling::greedy(),
            1 => Sampling {
                temperature: 1.3,
                top_p: 0.9,
                seed: u64::from(i),
                repetition_penalty: 1.2,
                ..Sampling::default()
            },
            _ => Sampling {
                temperature: 0.8,
                top_k: 20,
                min_p: 0.01,
                seed: u64::from(i),
                ..Sampling::default()
            },
        };
        Request {
            sampling: Sampling {
                logprobs: Some(0),
                ..sampling
            },
            ..request(&text, 5 + i % 40)
        }
    };
    (0..32).map(make).collect()
}

#[test]
fn thirty_two_at_once_give_the_tokens_of_each_alone() {
    let requests = different_requests();
    let mut one = engine(&options(256, 1));
    let expected: Vec<Answer> = requests
        .iter()
        .map(|r| alone(&mut one, r.clone()))
        .collect();
    assert!(expected.iter().any(|a| a.tokens.len() == 36));
    for (max_sequences, max_batch_rows) in [(32, 512), (32, 33), (5, 7), (1, 1)] {
        let mut many = engine(&LoadOptions {
            max_batch_rows,
            ..options(256, max_sequences)
        });
        let mut answers = BTreeMap::new();
        let mut ids = Vec::new();
        for (i, request) in requests.iter().enumerate() {
            ids.push(many.submit(request.clone(), Duration::ZERO).unwrap());
            for _ in 0..i % 3 {
                collect(&mut answers, many.step(Duration::ZERO));
                many.check().unwrap();
            }
        }
        while !many.is_idle() {
            collect(&mut answers, many.step(Duration::ZERO));
            many.check().unwrap();
        }
        for (id, expected) in ids.iter().zip(&expected) {
            assert!(
                said(&answers[id]) == said(expected),
                "{max_sequences} sequences, {max_batch_rows} rows: request {id:?} differs"
            );
        }
    }
}

#[test]
fn text_is_that_of_the_tokens_and_never_half_a_character() {
    let mut engine = engine(&options(256, 1));
    for seed in 0..8 {
        let answer = alone(
            &mut engine,
            Request {
                sampling: Sampling {
                    temperature: 2.0,
                    seed,
                    ..Sampling::default()
                },
                ..request("once", 60)
            },
        );
        let decoded = engine
            .vocabulary()
            .decode(&answer.tokens, Decode::default());
        assert_eq!(answer.text, decoded);
        let usage = Usage {
            prompt_tokens: 5,
            cached_tokens: 0,
            disk_tokens: 0,
            generated_tokens: 60,
        };
        assert_eq!(answer.end, Some((FinishReason::Length, usage)));
    }
}

#[test]
fn a_stop_text_ends_the_answer_before_itself() {
    let mut engine = engine(&options(256, 1));
    let whole = alone(&mut engine, request("abc", 40)).text;
    let middle = whole
        .char_indices()
        .nth(whole.chars().count() / 2)
        .unwrap()
        .0;
    let stop: String = whole[middle..].chars().take(3).collect();
    let answer = alone(
        &mut engine,
        Request {
            stop: vec!["never comes".into(), stop.clone()],
            ..request("abc", 40)
        },
    );
    assert_eq!(answer.text, whole[..whole.find(&stop).unwrap()]);
    assert_eq!(answer.end.unwrap().0, FinishReason::StopText(stop));
}

#[test]
fn a_stop_token_or_an_end_token_ends_the_answer() {
    let mut engine = engine(&options(256, 1));
    let whole = alone(&mut engine, request("abc", 40)).tokens;
    let stop = whole[20];
    let answer = alone(
        &mut engine,
        Request {
            stop_tokens: vec![stop],
            ..request("abc", 40)
        },
    );
    let end = whole.iter().position(|&t| t == stop).unwrap();
    assert_eq!(answer.tokens, whole[..=end]);
    assert_eq!(answer.end.unwrap().0, FinishReason::StopToken(stop));

    let eos = TokenId(2);
    let forced = Sampling {
        logit_bias: vec![(eos, 1000.0)],
        ..Sampling::greedy()
    };
    let answer = alone(
        &mut engine,
        Request {
            ignore_end: false,
            sampling: forced,
            ..request("abc", 40)
        },
    );
    assert_eq!((answer.tokens, answer.text.as_str()), (vec![eos], ""));
    let (reason, usage) = answer.end.unwrap();
    assert_eq!(
        (reason, usage.generated_tokens),
        (FinishReason::End(eos), 1)
    );
}

#[test]
fn a_token_that_is_told_comes_with_its_own_log_probability() {
    let mut engine = engine(&options(256, 1));
    let token = TokenId(70);
    let sampling = Sampling {
        logprobs: Some(0),
        ..Sampling::greedy()
    };
    // A bias makes it the most probable one, and changes no log-probability.
    let biased = Sampling {
        logit_bias: vec![(token, 1000.0)],
        ..sampling.clone()
    };
    let chosen = Request {
        sampling: biased,
        ..request("abc", 1)
    };
    let told = Request {
        sampling,
        forced: vec![token],
        ..request("abc", 1)
    };
    let (chosen, told) = (alone(&mut engine, chosen), alone(&mut engine, told));
    assert_eq!((chosen.tokens[0], chosen.logprobs.len()), (token, 1));
    assert_eq!(said(&told), said(&chosen));
}

#[test]
fn without_a_limit_the_answer_ends_where_the_context_does() {
    let mut engine = engine(&options(100, 1));
    let answer = alone(
        &mut engine,
        Request {
            max_tokens: None,
            ..request("abc", 1)
        },
    );
    let usage = Usage {
        prompt_tokens: 4,
        cached_tokens: 0,
        disk_tokens: 0,
        generated_tokens: 96,
    };
    assert_eq!(answer.end, Some((FinishReason::Length, usage)));
}

#[test]
fn a_request_that_bans_every_token_fails_with_a_reason() {
    let mut engine = engine(&options(100, 1));
    let bans = (0..300).map(|t| (TokenId(t), f32::NEG_INFINITY)).collect();
    let banned = Request {
        sampling: Sampling {
            logit_bias: bans,
            ..Sampling::greedy()
        },
        ..request("abc", 9)
    };
    let answer = alone(&mut engine, banned);
    let reason = answer.end.unwrap().0;
    assert!(matches!(&reason, FinishReason::Failed(why) if why.contains("no token can be chosen")));
    assert_eq!(alone(&mut engine, request("abc", 9)).tokens.len(), 9);
}

#[test]
fn refusals_say_the_numbers() {
    let mut engine = engine(&LoadOptions {
        max_waiting: 2,
        ..options(100, 1)
    });
    let long = "x".repeat(99);
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = request("abc", 5);
        change(&mut request);
        request
    };
    let refused: Vec<Refusal> = [
        with(&|r| r.prompt.clear()),
        with(&|r| r.prompt.push(TokenId(300))),
        with(&|r| r.stop_tokens.push(TokenId(4000))),
        with(&|r| r.max_tokens = Some(0)),
        with(&|r| r.prompt = prompt(&long)),
        with(&|r| r.max_tokens = Some(97)),
        with(&|r| r.stop.push(String::new())),
        with(&|r| r.sampling.top_p = 7.0),
    ]
    .into_iter()
    .map(|request| engine.submit(request, Duration::ZERO).unwrap_err())
    .collect();
    engine.submit(request("a", 5), Duration::ZERO).unwrap();
    engine.submit(request("b", 5), Duration::ZERO).unwrap();
    let busy = engine.submit(request("c", 5), Duration::ZERO).unwrap_err();
    let messages = refused.iter().chain([&busy]).map(ToString::to_string);
    insta::assert_snapshot!(messages.collect::<Vec<_>>().join("\n"));
    assert_eq!(run(&mut engine).len(), 2);
}

#[test]
fn cancelling_gives_the_pages_back_and_one_last_event() {
    let mut engine = engine(&options(128, 2));
    let mut answers = BTreeMap::new();
    let now = Duration::ZERO;
    let ids: Vec<RequestId> = (0..4)
        .map(|_| engine.submit(request("some words", 50), now).unwrap())
        .collect();
    for _ in 0..10 {
        collect(&mut answers, engine.step(now));
    }
    // The second runs, the fourth still waits.
    for id in [ids[1], ids[3]] {
        assert!(engine.cancel(id, now));
        assert!(!engine.cancel(id, now));
        engine.check().unwrap();
    }
    while !engine.is_idle() {
        collect(&mut answers, engine.step(now));
        engine.check().unwrap();
    }
    let reasons: Vec<_> = ids
        .iter()
        .map(|id| answers[id].end.clone().unwrap())
        .collect();
    assert_eq!(reasons[1].0, FinishReason::Cancelled);
    // It waited for a step, in which the first computed the prompt of both.
    assert_eq!(reasons[1].1.generated_tokens, 9);
    assert_eq!(reasons[3].0, FinishReason::Cancelled);
    assert_eq!(reasons[3].1.generated_tokens, 0);
    assert_eq!(reasons[0].0, FinishReason::Length);
    assert_eq!(reasons[2].0, FinishReason::Length);
    assert_eq!(said(&answers[&ids[0]]), said(&answers[&ids[2]]));
}

#[test]
fn a_text_that_is_continued_is_not_computed_again_and_gives_the_same_tokens() {
    let (mut engine, other) = (engine(&options(256, 2)), &mut engine(&options(256, 1)));
    let first = alone(&mut engine, request(&"hello ".repeat(15), 30));
    let mut longer = prompt(&"hello ".repeat(15));
    longer.extend(&first.tokens);
    longer.extend(prompt(" and then?"));
    let mut forked = longer.clone();
    forked[80] = TokenId(77);
    // The first request computed all but its last token. The fork shares 80 tokens with the text
    // that continued it, and takes nothing away from it.
    for (text, cached) in [(longer.clone(), 91 + 29), (forked, 80), (longer, 128)] {
        let continued = Request {
            prompt: text,
            ..request("", 20)
        };
        let fresh = Request {
            fresh: true,
            ..continued.clone()
        };
        let answer = alone(&mut engine, continued);
        assert_eq!(answer.end.as_ref().unwrap().1.cached_tokens, cached);
        let expected = alone(other, fresh);
        assert_eq!(expected.end.as_ref().unwrap().1.cached_tokens, 0);
        assert_eq!(said(&answer), said(&expected));
    }
}

#[test]
fn waiting_is_told() {
    let mut engine = engine(&options(128, 1));
    engine
        .submit(request("a", 3), Duration::from_secs(1))
        .unwrap();
    engine
        .submit(request("b", 1), Duration::from_secs(2))
        .unwrap();
    let mut waits = Vec::new();
    for second in 10.. {
        if engine.is_idle() {
            break;
        }
        for event in engine.step(Duration::from_secs(second)) {
            if let Event::Finished { times, .. } = event {
                waits.push(times.queued.as_secs());
            }
        }
    }
    assert_eq!(waits, [9, 11]);
}

#[test]
fn an_answer_can_be_read_as_an_iterator() {
    let mut engine = engine(&options(128, 1));
    let expected = alone(&mut engine, request("abc", 20));
    let mut answers = BTreeMap::new();
    let events: Vec<Event> = engine.generate(request("abc", 20)).unwrap().collect();
    collect(&mut answers, events);
    assert_eq!(answers.into_values().next(), Some(expected));
    assert_eq!(
        engine.generate(request("abc", 20)).unwrap().take(3).count(),
        3
    );
    assert_eq!(run(&mut engine).len(), 1); // that it was cancelled
}

#[test]
fn the_youngest_gives_way_and_its_tokens_are_the_same() {
    let requests: Vec<Request> = different_requests()
        .into_iter()
        .map(|request| Request {
            max_tokens: Some(90),
            ..request
        })
        .collect();
    let mut one = engine(&options(320, 1));
    let mut expected = requests.iter().map(|r| alone(&mut one, r.clone()));
    // Five pages hold one of them at its full length.
    let mut many = engine(&LoadOptions {
        contexts: Some(1),
        ..options(320, 8)
    });
    assert_eq!(many.plan().n_pages, 5);
    let submit = |r: &Request| many.submit(r.clone(), Duration::ZERO).unwrap();
    let ids: Vec<RequestId> = requests.iter().map(submit).collect();
    let answers = run(&mut many);
    for id in ids {
        assert_eq!(said(&answers[&id]), said(&expected.next().unwrap()));
    }
    assert!(many.preemptions() > 10, "{}", many.preemptions());
}

#[test]
fn what_is_asked_twice_at_once_is_computed_once_but_not_for_others() {
    let mut engine = engine(&options(512, 8));
    let text = "the same for all of them. ".repeat(8);
    let ids: Vec<RequestId> = [0, 0, 0, 7]
        .map(|namespace| {
            let request = Request {
                namespace,
                ..request(&text, 20)
            };
            engine.submit(request, Duration::ZERO).unwrap()
        })
        .into();
    let answers = run(&mut engine);
    let cached = |id| answers[id].end.clone().unwrap().1.cached_tokens;
    assert_eq!(ids.iter().map(cached).collect::<Vec<_>>(), [0, 208, 208, 0]);
    assert!(
        ids.iter()
            .all(|id| said(&answers[id]) == said(&answers[&ids[0]]))
    );
}

/// Knows how a text goes on, and lies now and then.
struct Liar {
    text: Vec<TokenId>,
    rng: Rng,
    judged: Arc<AtomicUsize>,
}

impl Guesser for Liar {
    fn guess(&mut self, _: RequestId, known: &[TokenId], max: usize, guesses: &mut Vec<TokenId>) {
        let next = &self.text[known.len()..];
        for token in next.iter().take(self.rng.next_u32() as usize % (max + 1)) {
            let lie = self.rng.next_u32().is_multiple_of(5);
            guesses.push(TokenId((token.0 + u32::from(lie)) % 300));
        }
    }

    fn judged(&mut self, _: RequestId, guessed: usize, right: usize) {
        assert!(right <= guessed);
        self.judged.fetch_add(right, Ordering::Relaxed);
    }

    fn over(&mut self, _: RequestId) {}
}

#[test]
fn guesses_change_how_many_steps_there_are_and_not_the_tokens() {
    let (mut all_steps, mut all_right) = (0, 0);
    for request in different_requests().into_iter().step_by(3) {
        let expected = alone(&mut engine(&options(512, 1)), request.clone());
        let mut engine = engine(&LoadOptions {
            max_guesses: 9,
            ..options(512, 1)
        });
        let judged = Arc::new(AtomicUsize::new(0));
        let text = request.prompt.iter().chain(&expected.tokens);
        engine.set_guesser(Some(Box::new(Liar {
            text: text.copied().collect(),
            rng: Rng(9),
            judged: Arc::clone(&judged),
        })));
        assert_eq!(alone(&mut engine, request), expected);
        let (steps, right) = (engine.steps() as usize, judged.load(Ordering::Relaxed));
        assert_eq!(steps + right, expected.tokens.len());
        (all_steps, all_right) = (all_steps + steps, all_right + right);
    }
    assert!(
        all_right * 2 > all_steps,
        "{all_right} in {all_steps} steps"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is submitted and cancelled in whatever order: every page has one owner after every
    /// step, and every request ends with exactly one last event.
    #[test]
    fn every_request_ends(seed in any::<u64>(), max_sequences in 1..5_u32, rows in 1..40_u32) {
        let mut engine = engine(&LoadOptions {
            max_batch_rows: rows,
            max_waiting: 6,
            ..options(192, max_sequences)
        });
        let mut rng = Rng(seed | 1);
        let (mut answers, mut ids) = (BTreeMap::new(), Vec::new());
        for _ in 0..60 {
            match rng.next_u32() % 4 {
                0 => {
                    let text = "y".repeat(rng.next_u32() as usize % 200);
                    let request = request(&text, 1 + rng.next_u32() % 30);
                    ids.extend(engine.submit(request, Duration::ZERO));
                }
                1 if !ids.is_empty() => {
                    let id = ids[rng.next_u32() as usize % ids.len()];
                    engine.cancel(id, Duration::ZERO);
                }
                _ => collect(&mut answers, engine.step(Duration::ZERO)),
            }
            prop_assert_eq!(engine.check(), Ok(()));
        }
        while !engine.is_idle() {
            collect(&mut answers, engine.step(Duration::ZERO));
            prop_assert_eq!(engine.check(), Ok(()));
        }
        for id in ids {
            prop_assert!(answers.get(&id).is_some_and(|a| a.end.is_some()));
        }
    }
}

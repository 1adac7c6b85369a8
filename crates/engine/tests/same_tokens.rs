//! The same tokens and the same bits of their log-probabilities, however they come about: alone or
//! beside others, by few rows a step or many, by one thread or three, from nothing or from what
//! others have computed, thrown out or not, guessed or not.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::Sampling;
use ingle_engine::{Budget, Engine, Event, Guesser, LoadOptions, Plan, Request, RequestId};
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_formats::vocabulary::Encode;
use ingle_tensor::WeightSource;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::Model;

const NOW: Duration = Duration::ZERO;
const CONTEXT: u32 = 448;
/// Texts with the same beginning, which part in the middle of a page.
const TALE: &str = "Once upon a time there was a little girl who lived in a house at the edge of the \
    wood, and every day she went to the well to fetch water for her mother. One day the bucket was \
    heavy, and a fox who sat by the road said: ";

struct Case {
    metadata: Metadata,
    source: Box<dyn WeightSource>,
}

/// The built-in model, a mixture of experts, and one with sliding windows.
fn cases() -> [Case; 3] {
    let mini =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ingle-mini/ingle-mini.gguf");
    let (metadata, source) = support::open(&mini).unwrap();
    let mini = Case {
        metadata,
        source: Box::new(source),
    };
    let mut windows = Model::random("gemma2");
    windows.set("gemma2.attention.sliding_window", 70_u32);
    let [experts, windows] = [Model::mixtral(false), windows].map(|model| {
        let (metadata, source) = model.with_vocabulary().build();
        let source = Box::new(source);
        Case { metadata, source }
    });
    [mini, experts, windows]
}

impl Case {
    fn engine(&self, threads: usize, options: LoadOptions) -> Engine<Cpu> {
        let options = LoadOptions {
            context: Some(CONTEXT),
            ..options
        };
        let ops = Cpu::new(Isa::best(), Arc::new(Team::new(threads))).unwrap();
        let budget = Budget::new(1 << 30);
        let (metadata, source) = (&self.metadata, &*self.source);
        let plan = Plan::new(metadata, source, &ops, &options, budget.free()).unwrap();
        Engine::load(metadata, source, ops, plan, &budget, &mut |_, _| {}).unwrap()
    }

    fn alone(&self) -> Engine<Cpu> {
        self.engine(1, LoadOptions::default())
    }

    /// Greedy and sampled, from a few tokens to some pages.
    fn requests(&self, n: usize) -> Vec<Request> {
        let engine = self.alone();
        let request = |i: usize| {
            let text = &TALE[..TALE.floor_char_boundary(i * 53 % TALE.len())];
            let prompt = engine.vocabulary().encode(
                &format!("{text}{i}"),
                Encode {
                    add_special: true,
                    parse_special: false,
                },
            );
            let temperature = [0.0, 0.7, 1.2][i % 3];
            Request {
                max_tokens: Some(5 + (i * 11 % 30) as u32),
                sampling: Sampling {
                    temperature,
                    seed: i as u64,
                    logprobs: Some(2),
                    ..Sampling::default()
                },
                ignore_end: true,
                ..Request::new(prompt)
            }
        };
        (0..n).map(request).collect()
    }
}

/// Tokens with the bits of all log-probabilities.
type Said = Vec<(TokenId, Vec<u32>)>;

#[derive(Default, Clone, PartialEq, Debug)]
struct Answer {
    said: Said,
    cached: u32,
}

fn answer_all(engine: &mut Engine<Cpu>, requests: &[Request]) -> Vec<Answer> {
    let submit = |r: &Request| engine.submit(r.clone(), NOW).unwrap();
    let ids: Vec<RequestId> = requests.iter().map(submit).collect();
    let mut answers: BTreeMap<RequestId, Answer> = BTreeMap::new();
    while !engine.is_idle() {
        for event in engine.step(NOW) {
            let answer = answers.entry(event.request()).or_default();
            match event {
                Event::Token {
                    token,
                    logprob,
                    top,
                    ..
                } => {
                    let all = logprob.into_iter().chain(top.iter().map(|(_, p)| *p));
                    answer.said.push((token, all.map(f32::to_bits).collect()));
                }
                Event::Finished { usage, .. } => answer.cached = usage.cached_tokens,
                Event::Embedded { .. } => unreachable!("nobody asked for numbers"),
            }
        }
        engine.check().unwrap();
    }
    ids.iter().map(|id| answers[id].clone()).collect()
}

/// What each request says with an engine for itself, computed from nothing.
fn expected(case: &Case, requests: &[Request]) -> Vec<Said> {
    let mut engine = case.alone();
    let fresh = |r: &Request| Request {
        fresh: true,
        ..r.clone()
    };
    let one = |r| answer_all(&mut engine, &[fresh(r)]).remove(0);
    let answers = requests.iter().map(one);
    let said = answers.map(|answer| (answer.cached == 0).then_some(answer.said).unwrap());
    said.collect()
}

fn assert_same(answers: &[Answer], expected: &[Said], how: &str) {
    for (i, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        assert!(answer.said == *expected, "{how}: request {i} differs");
    }
}

#[test]
fn beside_others_by_any_number_of_rows_and_threads() {
    for case in cases() {
        let requests = case.requests(32);
        let expected = expected(&case, &requests);
        for (max_sequences, max_batch_rows, threads) in [
            (1, 1, 2),
            (1, 3, 3),
            (2, 3, 1),
            (2, 512, 2),
            (7, 64, 1),
            (7, 512, 3),
            (32, 64, 2),
            (32, 512, 1),
        ] {
            let options = LoadOptions {
                max_sequences,
                max_batch_rows,
                ..LoadOptions::default()
            };
            let answers = answer_all(&mut case.engine(threads, options), &requests);
            let how =
                format!("{max_sequences} sequences, {max_batch_rows} rows, {threads} threads");
            assert_same(&answers, &expected, &how);
        }
    }
}

#[test]
fn from_what_was_computed_before() {
    for case in cases() {
        let requests = case.requests(12);
        let expected = expected(&case, &requests);
        let options = LoadOptions {
            max_sequences: 3,
            ..LoadOptions::default()
        };
        let mut engine = case.engine(2, options);
        for time in ["cold", "warm", "again"] {
            let answers = answer_all(&mut engine, &requests);
            assert_same(&answers, &expected, time);
            let cached = answers.iter().map(|a| a.cached);
            // Some part with what was there in the middle of a page.
            let in_a_page = cached.filter(|n| !n.is_multiple_of(64)).count();
            assert!(in_a_page > 3, "{in_a_page} of {time}");
        }
    }
}

#[test]
fn thrown_out_and_begun_again() {
    for case in cases() {
        let requests: Vec<Request> = case.requests(12);
        let longer = |r: Request| Request {
            max_tokens: Some(75),
            ..r
        };
        let requests: Vec<Request> = requests.into_iter().map(longer).collect();
        let expected = expected(&case, &requests);
        let options = LoadOptions {
            max_sequences: 8,
            contexts: Some(1),
            ..LoadOptions::default()
        };
        let mut engine = case.engine(2, options);
        let answers = answer_all(&mut engine, &requests);
        assert_same(&answers, &expected, "thrown out");
        assert!(engine.preemptions() > 2, "{}", engine.preemptions());
    }
}

/// Guesses that are right two times of three.
struct HalfTruths(BTreeMap<RequestId, Vec<TokenId>>);

impl Guesser for HalfTruths {
    fn guess(&mut self, id: RequestId, known: &[TokenId], max: usize, out: &mut Vec<TokenId>) {
        let truth = self.0[&id].iter().enumerate().skip(known.len());
        let lie = |i: usize| u32::from(i.is_multiple_of(3));
        out.extend(
            truth
                .take(max)
                .map(|(i, t)| TokenId(t.0.saturating_sub(lie(i)))),
        );
    }

    fn judged(&mut self, _: RequestId, _: usize, _: usize) {}

    fn over(&mut self, _: RequestId) {}
}

#[test]
fn guessed() {
    for case in cases() {
        let requests = case.requests(12);
        let expected = expected(&case, &requests);
        let options = LoadOptions {
            max_sequences: 4,
            max_guesses: 11,
            ..LoadOptions::default()
        };
        let mut plain = case.engine(2, options.clone());
        plain.set_guesser(None);
        assert_same(&answer_all(&mut plain, &requests), &expected, "not guessed");
        let mut engine = case.engine(2, options);
        let text = |(r, said): (&Request, &Said)| {
            let said = said.iter().map(|(token, _)| *token);
            r.prompt.iter().copied().chain(said).collect()
        };
        let texts = requests.iter().zip(&expected).map(text);
        let truths = (0..).map(RequestId).zip(texts).collect();
        engine.set_guesser(Some(Box::new(HalfTruths(truths))));
        assert_same(&answer_all(&mut engine, &requests), &expected, "guessed");
        assert!(engine.steps() * 4 < plain.steps() * 3, "{}", engine.steps());
    }
}

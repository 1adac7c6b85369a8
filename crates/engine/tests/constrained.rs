//! Answers that obey, and are the same however they come about.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::constrain::{Constrainer, Constraint};
use ingle_engine::reasoning::Marks;
use ingle_engine::sampler::Sampling;
use ingle_engine::{Budget, Engine, Event, FinishReason, LoadOptions, Plan, Request, Thinking};
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_formats::vocabulary::Encode;
use ingle_tensor::WeightSource;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::Model;

const NOW: Duration = Duration::ZERO;

struct Case {
    metadata: Metadata,
    source: Box<dyn WeightSource>,
}

/// The built-in model, and a random one whose tokens are bytes.
fn cases() -> [Case; 2] {
    let mini =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ingle-mini/ingle-mini.gguf");
    let (metadata, source) = support::open(&mini).unwrap();
    let source = Box::new(source);
    let mini = Case { metadata, source };
    let (metadata, source) = Model::mixtral(false).with_vocabulary().build();
    let source = Box::new(source);
    [mini, Case { metadata, source }]
}

impl Case {
    fn engine(&self, options: LoadOptions) -> Engine<Cpu> {
        let options = LoadOptions {
            context: Some(448),
            ..options
        };
        let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
        let budget = Budget::new(1 << 30);
        let (metadata, source) = (&self.metadata, &*self.source);
        let plan = Plan::new(metadata, source, &ops, &options, budget.free()).unwrap();
        Engine::load(metadata, source, ops, plan, &budget, &mut |_, _| {}).unwrap()
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 8 },
            "count": { "type": "integer", "minimum": 0, "maximum": 99 },
            "kinds": { "type": "array", "items": { "enum": ["red", "green"] }, "maxItems": 3 },
        },
        "required": ["name", "count", "kinds"],
        "additionalProperties": false,
    })
}

fn constraints() -> Vec<Constraint> {
    vec![
        Constraint::JsonSchema(schema()),
        Constraint::Regex("[a-c]{3,9}-[0-9]{2}".into()),
        Constraint::Choice(vec!["yes".into(), "no".into(), "not at all".into()]),
        Constraint::Lark("start: \"<\" inner \">\"\ninner: /[a-z]{1,5}/ | \"<\" inner \">\"".into()),
        Constraint::Gbnf("root ::= greeting (\", \" name){1,2} \"!\"\ngreeting ::= \"Hi\" | \"Hello\"\nname ::= [A-Z] [a-z]{1,6} # one word\n".into()),
    ]
}

fn obeys(i: usize, text: &str) -> bool {
    match i {
        0 => {
            let value: Value = serde_json::from_str(text).unwrap();
            let count = value["count"]
                .as_i64()
                .is_some_and(|n| (0..100).contains(&n));
            let kinds = value["kinds"].as_array().unwrap();
            let known = kinds.iter().all(|k| k == "red" || k == "green");
            count
                && known
                && kinds.len() <= 3
                && value["name"].as_str().unwrap().chars().count() <= 8
        }
        1 => {
            let (a, b) = text.split_once('-').unwrap();
            (3..=9).contains(&a.len())
                && a.bytes().all(|c| (b'a'..=b'c').contains(&c))
                && b.parse::<u8>().is_ok()
        }
        2 => ["yes", "no", "not at all"].contains(&text),
        3 => text.matches('<').count() == text.matches('>').count() && text.starts_with('<'),
        _ => text.starts_with('H') && text.ends_with('!') && text.contains(", "),
    }
}

fn requests(engine: &Engine<Cpu>, logprobs: Option<u32>) -> Vec<Request> {
    let constrainer = Constrainer::new(Arc::clone(engine.vocabulary())).unwrap();
    let mut all = Vec::new();
    for (i, constraint) in constraints().iter().enumerate() {
        let grammar = constrainer.compile(constraint).unwrap();
        for seed in 0..4 {
            let options = Encode {
                add_special: true,
                parse_special: false,
            };
            let prompt = engine
                .vocabulary()
                .encode(&format!("Answer {i}: "), options);
            all.push(Request {
                max_tokens: Some(160),
                sampling: Sampling {
                    temperature: [0.0, 1.0, 0.8, 1.0][seed],
                    top_p: [1.0, 1.0, 0.9, 1.0][seed],
                    repetition_penalty: [1.0, 1.0, 1.0, 1.3][seed],
                    seed: seed as u64,
                    logprobs,
                    ..Sampling::default()
                },
                grammar: Some(grammar.clone()),
                ..Request::new(prompt)
            });
        }
    }
    all
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Answer {
    tokens: Vec<TokenId>,
    text: String,
    end: Option<FinishReason>,
}

/// `together`: all at once, or one after the other.
fn answers(engine: &mut Engine<Cpu>, requests: &[Request], together: bool) -> Vec<Answer> {
    let size = if together { requests.len() } else { 1 };
    let mut all = Vec::new();
    for some in requests.chunks(size) {
        let ids: Vec<_> = some
            .iter()
            .map(|r| engine.submit(r.clone(), NOW).unwrap())
            .collect();
        let mut answers = vec![Answer::default(); some.len()];
        while !engine.is_idle() {
            for event in engine.step(NOW) {
                let place = ids.iter().position(|id| *id == event.request()).unwrap();
                let answer = &mut answers[place];
                match event {
                    Event::Token { token, text, .. } => {
                        answer.tokens.push(token);
                        answer.text.push_str(&text);
                    }
                    Event::Finished { reason, .. } => answer.end = Some(reason),
                    Event::Embedded { .. } => unreachable!("nobody asked for numbers"),
                }
            }
            engine.check().unwrap();
        }
        all.extend(answers);
    }
    all
}

#[test]
fn whole_answers_obey_and_cut_ones_say_so() {
    for case in cases() {
        let mut engine = case.engine(LoadOptions::default());
        let requests = requests(&engine, None);
        let answers = answers(&mut engine, &requests, true);
        let mut whole = 0;
        for (n, answer) in answers.iter().enumerate() {
            match answer.end.as_ref().unwrap() {
                FinishReason::End(_) => {
                    assert!(obeys(n / 4, &answer.text), "{n}: {:?}", answer.text);
                    whole += 1;
                }
                FinishReason::Length => assert_eq!(answer.tokens.len(), 160),
                other => panic!("{n}: {other:?} after {:?}", answer.text),
            }
        }
        assert!(whole >= 16, "{whole} of {}", answers.len());
    }
}

#[test]
fn the_same_tokens_alone_together_guessed_thrown_out_or_told() {
    for case in cases() {
        let mut plain = case.engine(LoadOptions {
            max_guesses: 0,
            ..LoadOptions::default()
        });
        let asked = requests(&plain, None);
        let alone = answers(&mut plain, &asked, false);
        assert_eq!(answers(&mut plain, &asked, true), alone, "together");
        let mut guessing = case.engine(LoadOptions::default());
        assert_eq!(answers(&mut guessing, &asked, true), alone, "guessed");
        let told = requests(&plain, Some(1));
        assert_eq!(
            answers(&mut plain, &told, true),
            alone,
            "with log-probabilities"
        );
        let mut crowded = case.engine(LoadOptions {
            max_sequences: 8,
            contexts: Some(1),
            ..LoadOptions::default()
        });
        assert_eq!(answers(&mut crowded, &asked, true), alone, "thrown out");
        assert!(crowded.preemptions() > 0, "nobody gave way");
        let mut small = case.engine(LoadOptions {
            max_batch_rows: 8,
            ..LoadOptions::default()
        });
        assert_eq!(answers(&mut small, &asked, true), alone, "few rows a step");
    }
}

#[test]
fn what_must_come_is_not_computed_token_by_token() {
    let [mini, _] = cases();
    let mut engine = mini.engine(LoadOptions {
        max_guesses: 0,
        ..LoadOptions::default()
    });
    let constrainer = Constrainer::new(Arc::clone(engine.vocabulary())).unwrap();
    let text = "The quick brown fox jumps over the lazy dog.";
    let grammar = constrainer
        .compile(&Constraint::Choice(vec![text.into()]))
        .unwrap();
    let mut request = requests(&engine, None).remove(0);
    request.grammar = Some(grammar);
    let answer = answers(&mut engine, &[request], true).remove(0);
    assert_eq!(answer.text, text);
    assert!(answer.tokens.len() > 8);
    assert!(
        engine.steps() <= 4,
        "{} batches for {} tokens",
        engine.steps(),
        answer.tokens.len()
    );
}

#[test]
fn reasoning_ends_when_its_time_is_up() {
    let [mini, _] = cases();
    let mut engine = mini.engine(LoadOptions::default());
    let vocabulary = Arc::clone(engine.vocabulary());
    let encode = |text: &str| {
        vocabulary.encode(
            text,
            Encode {
                parse_special: true,
                ..Encode::default()
            },
        )
    };
    let close = encode("\n</think>\n\n");
    for (opened, budget) in [(true, 0), (true, 7)] {
        let request = Request {
            max_tokens: Some(40),
            sampling: Sampling::greedy(),
            ignore_end: true,
            thinking: Some(Thinking {
                marks: Marks::THINK,
                opened,
                budget,
                close: close.clone(),
            }),
            ..Request::new(encode("Once upon a time"))
        };
        let answer = answers(&mut engine, &[request], true).remove(0);
        let at = budget as usize;
        assert_eq!(
            answer.tokens[at..at + close.len()],
            close,
            "{:?}",
            answer.text
        );
    }
}

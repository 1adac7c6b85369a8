//! Answers that must be one of a few, as the clients of `ingle serve` get them from the model that is built in.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::Server;

const NAMES: [&str; 9] = [
    "credit_limit",
    "credit_score",
    "weather",
    "alarm",
    "play_music",
    "translate",
    "find_phone",
    "yes",
    "none",
];

const REQUESTS: [&str; 8] = [
    "what is the most that my visa lets me spend",
    "has my credit got better since june",
    "do i need an umbrella tomorrow",
    "wake me up at six",
    "play something by the beatles",
    "how do you say thank you in italian",
    "where did i put my phone",
    "why is the sky blue",
];

fn asked(text: &str) -> Value {
    let list = NAMES[..8].join(", ");
    let ask = format!(
        "Name the intent of the request. Intents: {list}. If none fits, say none. Answer with JSON.\n\nRequest: {text}"
    );
    json!({"messages": [{"role": "user", "content": ask}], "temperature": 0, "max_tokens": 30})
}

fn with(body: &Value, more: &Value) -> Value {
    let (mut body, more) = (body.clone(), more.as_object().unwrap().clone());
    body.as_object_mut().unwrap().extend(more);
    body
}

fn held() -> Value {
    let schema = json!({
        "type": "object", "properties": {"intent": {"enum": NAMES}}, "required": ["intent"],
        "additionalProperties": false,
    });
    json!({"response_format": {"type": "json_schema", "json_schema": {"name": "intent", "schema": schema}}})
}

fn said(answer: &Value) -> String {
    let content = &answer["choices"][0]["message"]["content"];
    content.as_str().unwrap().to_owned()
}

/// How likely a model is to give just this answer: it is held to it, and each of its tokens is told.
fn likelihood(server: &Server, body: &Value, text: &str) -> f64 {
    let only = json!({"guided_choice": [text], "logprobs": true});
    let answer = server.right("/v1/chat/completions", &with(body, &only));
    assert_eq!(said(&answer), text);
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array();
    let each = tokens.unwrap().iter().map(|t| t["logprob"].as_f64());
    each.map(Option::unwrap).sum()
}

#[test]
fn an_answer_held_to_a_few_is_the_likeliest_of_them_as_a_whole() {
    let server = Server::start(&[]);
    let texts = NAMES.map(|name| format!("{{\"intent\": \"{name}\"}}"));
    let mut found = Vec::new();
    for request in REQUESTS {
        let body = asked(request);
        let each = texts.iter().map(|text| likelihood(&server, &body, text));
        let best = each.zip(&texts).max_by(|a, b| a.0.total_cmp(&b.0));
        let best = best.unwrap().1.clone();
        let answer = server.right("/v1/chat/completions", &with(&body, &held()));
        assert_eq!(said(&answer), best, "{request}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let usage = &answer["usage"]["completion_tokens"];
        assert!(
            usage.as_u64().unwrap() < 20,
            "one answer is counted: {answer}"
        );

        let choice = json!({"guided_choice": texts, "n": 2, "logprobs": true});
        let answer = server.right("/v1/chat/completions", &with(&body, &choice));
        assert_eq!(said(&answer), best);
        let both = answer["choices"].as_array().unwrap();
        assert_eq!(both[0]["message"], both[1]["message"]);
        assert!(both[0]["logprobs"]["content"].as_array().unwrap().len() > 2);
        found.push(best);
    }
    found.dedup();
    assert!(found.len() > 4, "{found:?}");
}

#[test]
fn other_answers_beside_it_change_nothing() {
    let server = Server::start(&[]);
    let ask = |text: &str| {
        let (status, answer) = server.post("/v1/chat/completions", &with(&asked(text), &held()));
        (status == 200).then(|| said(&answer))
    };
    let alone: Vec<_> = REQUESTS.iter().map(|text| ask(text)).collect();
    assert!(alone.iter().all(Option::is_some));
    let together: Vec<_> = std::thread::scope(|scope| {
        let all = (0..24).map(|i| scope.spawn(move || ask(REQUESTS[i % REQUESTS.len()])));
        let all: Vec<_> = all.collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (i, answer) in together.iter().enumerate() {
        assert_eq!(*answer, alone[i % alone.len()]);
    }
}

#[test]
fn where_more_may_be_said_or_tokens_are_drawn_it_is_written_as_ever() {
    let server = Server::start(&[]);
    let body = asked(REQUESTS[3]);
    // None of these may fail, and each is what was asked for.
    for more in [
        json!({"temperature": 1.0, "seed": 3}),
        json!({"logit_bias": {"5": 1.0}}),
        json!({"stop": ["}"]}),
        json!({"max_tokens": 2}),
        json!({"frequency_penalty": 0.5}),
    ] {
        let body = with(&with(&body, &held()), &more);
        let answer = server.right("/v1/chat/completions", &body);
        let end = &answer["choices"][0]["finish_reason"];
        let (short, text) = (more.get("max_tokens").is_some(), said(&answer));
        assert_eq!(end, if short { "length" } else { "stop" }, "{answer}");
        if !short && more.get("stop").is_none() {
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(NAMES.contains(&value["intent"].as_str().unwrap()), "{text}");
        }
    }
    let one = json!({"guided_choice": ["only this"]});
    let answer = server.right("/v1/chat/completions", &with(&body, &one));
    assert_eq!(said(&answer), "only this");
    // A prompt that leaves room for a part of an answer gets that.
    let long =
        json!({"messages": [{"role": "user", "content": "word ".repeat(497)}], "max_tokens": null});
    let answer = server.right("/v1/chat/completions", &with(&with(&body, &held()), &long));
    assert_eq!(answer["choices"][0]["finish_reason"], "length", "{answer}");
}

//! What editors, agents and libraries really send (`goldens/clients`, recorded from them by
//! `record.py`), answered by the built-in model.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::Server;
use std::path::Path;
use support::repository;

/// All recorded requests, and where they stand.
fn recorded() -> Vec<(String, Value)> {
    let folder = repository("crates/ingle/tests/goldens/clients");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path());
    let is_json = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "json");
    let mut all: Vec<(String, Value)> = files
        .filter(is_json)
        .map(|path: std::path::PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = Path::file_name(&path).unwrap().to_string_lossy();
            (name.into_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The longest answer that this test waits for.
const TOKENS: u64 = 8;

/// The request for the built-in model, which has little room: only its model and its length are others.
fn short(golden: &Value) -> Value {
    let mut body = golden["body"].clone();
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    if fields.get("model").is_some_and(|m| m != "") {
        fields.insert("model".into(), "ingle-mini".into());
    }
    let limits = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let path = golden["path"].as_str().unwrap();
    let limit = limits.into_iter().find(|name| fields.contains_key(*name));
    let usual = match path.split('?').next().unwrap() {
        "/v1/chat/completions" | "/v1/messages" => Some("max_tokens"),
        "/v1/responses" => Some("max_output_tokens"),
        _ => None,
    };
    if path.starts_with("/api/") && path != "/api/show" {
        let options = fields.entry("options").or_insert_with(|| json!({}));
        options["num_predict"] = TOKENS.into();
        if options.get("num_ctx").is_some() {
            options["num_ctx"] = 4096.into();
        }
    }
    let alone = fields.get("n_predict") == Some(&0.into());
    if let Some(name) = limit.or(usual).filter(|_| !alone) {
        fields.insert(name.into(), TOKENS.into());
    }
    body
}

#[test]
fn what_clients_send_is_answered() {
    let server = Server::start(&["--ctx", "4096"]);
    for (name, golden) in recorded() {
        let text = |key: &str| golden[key].as_str().unwrap().to_owned();
        let headers = golden["headers"].as_object().unwrap();
        let headers = headers.iter();
        let headers: String = headers
            .map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap()))
            .collect();
        let body = match &golden["body"] {
            Value::Null => Vec::new(),
            _ => short(&golden).to_string().into_bytes(),
        };
        let (status, _, answer) = server.request(&text("method"), &text("path"), &headers, &body);
        // What this model or this server has not is refused by the name of what is missing.
        let want = golden.get("status").and_then(Value::as_u64).unwrap_or(200);
        assert_eq!(u64::from(status), want, "{name}: {answer}");
        if let Some(says) = golden.get("says").and_then(Value::as_str) {
            assert!(answer.contains(says), "{name}: {answer}");
        }
        assert!(
            !answer.contains("event: error") && !answer.contains("\"error\":{") || want != 200,
            "{name}: {answer}"
        );
    }
}

/// llama.vim warms up the prompt of an instruction while its user types.
#[test]
fn a_prompt_can_be_computed_ahead() {
    let server = Server::start(&["--ctx", "1024"]);
    let said = json!([{"role": "user", "content": "Tell me a story about a fox. ".repeat(12)}]);
    let ahead = json!({"id_slot": 7, "messages": said, "samplers": [], "n_predict": 0,
        "stream": false, "cache_prompt": true, "response_fields": [""], "model": ""});
    let answer = server.right("/v1/chat/completions", &ahead);
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!(""), &json!("length"))
    );
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    let told = json!({"messages": said, "min_p": 0.1, "temperature": 0.1, "max_tokens": 4,
        "samplers": ["min_p", "temperature"], "stream": false});
    let answer = server.right("/v1/chat/completions", &told);
    let cached = &answer["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert!(cached.as_u64().unwrap() > prompt / 2, "{answer}");

    let text = json!({"prompt": "Once upon a time", "n_predict": 0, "samplers": []});
    let answer = server.right("/completion", &text);
    let found = [
        &answer["content"],
        &answer["tokens_predicted"],
        &answer["stop_type"],
    ];
    assert_eq!(found, [&json!(""), &json!(0), &json!("limit")]);
    let mut streamed = text.clone();
    streamed["stream"] = true.into();
    let (_, events) = server.post_text("/completion", &streamed);
    assert_eq!(events.matches("data: ").count(), 1, "{events}");
}

/// What editors for filling in the middle ask of the sampler.
#[test]
fn an_unsure_answer_ends() {
    let server = Server::start(&["--ctx", "512"]);
    let asked = json!({"prompt": "The cat saw", "n_predict": 64, "top_k": 40, "top_p": 0.9,
        "samplers": ["top_k", "top_p", "infill"], "id_slot": 0, "seed": 1,
        "response_fields": ["content", "timings/predicted_n", "stop_type"]});
    let answer = server.right("/completion", &asked);
    assert_eq!(answer["stop_type"], "eos", "{answer}");
    let told = answer["timings/predicted_n"].as_u64().unwrap();
    assert!(told < 64, "{answer}");
    // It chooses among what it is sure of: the same for any seed where that is one token.
    assert_eq!(server.right("/completion", &asked), {
        let mut again = asked.clone();
        again["id_slot"] = 3.into();
        server.right("/completion", &again)
    });
}

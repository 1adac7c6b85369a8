//! `ingle serve`, over its own socket.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on panics"
)]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::Server;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;
use support::shared;

/// The events of a stream.
fn stream(server: &Server, path: &str, body: &Value) -> Vec<String> {
    let (status, head, body) = server.post_with(path, "", body);
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let events = body.split("\n\n").filter(|event| !event.is_empty());
    let data = events.map(|event| event.strip_prefix("data: ").unwrap().to_owned());
    data.collect()
}

fn chat(text: &str, max_tokens: u32) -> Value {
    json!({
        "model": "ingle-mini", "seed": 7, "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": text}],
    })
}

/// The text of a streamed answer.
fn streamed(events: &[String]) -> String {
    let chunks = events.iter().filter(|e| *e != "[DONE]");
    let chunks = chunks.map(|e| serde_json::from_str::<Value>(e).unwrap());
    let text = |chunk: Value| {
        chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    chunks.map(text).collect()
}

/// What differs from run to run, made the same.
fn settled(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    for (name, shown) in [("id", "ID"), ("created", "TIME")] {
        if value.get(name).is_some() {
            value[name] = shown.into();
        }
    }
    value.to_string()
}

#[test]
fn one_server_answers_as_openai_does() {
    let server = Server::start(&[]);
    let (status, models) = server.get("/v1/models");
    assert_eq!(
        (status, &models["data"][0]["id"]),
        (200, &json!("ingle-mini"))
    );
    assert_eq!(server.get("/v1/models/ingle-mini").1["object"], "model");

    // Streamed or not, alone or beside others: the same answer.
    let (status, whole) = server.post("/v1/chat/completions", &chat("Tell me a story", 40));
    assert_eq!(status, 200, "{whole}");
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(!text.is_empty());
    assert_eq!(
        whole["usage"]["total_tokens"],
        json!(
            whole["usage"]["prompt_tokens"].as_u64().unwrap()
                + whole["usage"]["completion_tokens"].as_u64().unwrap()
        )
    );
    let mut body = chat("Tell me a story", 40);
    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let events = stream(&server, "/v1/chat/completions", &body);
    assert_eq!(streamed(&events), text);
    let first = serde_json::from_str::<Value>(&events[0]).unwrap();
    assert_eq!(
        first["choices"][0]["delta"],
        json!({ "role": "assistant", "content": "" })
    );
    assert_eq!(events.last().unwrap(), "[DONE]");
    let usage = serde_json::from_str::<Value>(&events[events.len() - 2]).unwrap();
    assert_eq!(
        usage["usage"]["completion_tokens"],
        whole["usage"]["completion_tokens"]
    );
    assert_eq!(usage["choices"], json!([]));
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..7)
            .map(|i| {
                let server = &server;
                scope.spawn(move || {
                    server
                        .post("/v1/chat/completions", &chat(&format!("Story {i}"), 30))
                        .0
                })
            })
            .collect();
        let again = server
            .post("/v1/chat/completions", &chat("Tell me a story", 40))
            .1;
        assert_eq!(again["choices"][0]["message"]["content"], text);
        assert!(others.into_iter().all(|other| other.join().unwrap() == 200));
    });

    // Several answers: the first is the one that comes alone.
    let mut body = chat("Tell me a story", 40);
    body["n"] = 3.into();
    let several = server.post("/v1/chat/completions", &body).1;
    assert_eq!(several["choices"].as_array().unwrap().len(), 3);
    assert_eq!(several["choices"][0]["message"]["content"], text);
    assert_ne!(several["choices"][1]["message"]["content"], text);
    assert_eq!(
        several["usage"]["prompt_tokens"],
        whole["usage"]["prompt_tokens"]
    );

    // A text, with probabilities, and a stop text.
    let body = json!({"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "logprobs": 2, "stop": ["\n"]});
    let (status, completion) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{completion}");
    let choice = &completion["choices"][0];
    let tokens = choice["logprobs"]["tokens"].as_array().unwrap();
    let joined: String = tokens.iter().map(|t| t.as_str().unwrap()).collect();
    assert_eq!(choice["text"], joined);
    assert_eq!(choice["logprobs"]["text_offset"][0], 0);
    let body = json!({"prompt": "Once", "max_tokens": 3, "echo": true, "stream": true});
    let events = stream(&server, "/v1/completions", &body);
    assert!(events[0].contains("\"text\":\"Once\""), "{events:?}");
}

#[test]
fn the_wire_looks_like_this() {
    let server = Server::start(&["--parallel", "1"]);
    let mut shown = Vec::new();
    let body = json!({"prompt": "Once upon a", "max_tokens": 1, "temperature": 0, "stream": true, "stream_options": {"include_usage": true}});
    for event in stream(&server, "/v1/completions", &body) {
        shown.push(if event == "[DONE]" {
            event
        } else {
            settled(&event)
        });
    }
    let mut body = chat("Hi", 1);
    body["temperature"] = 0.into();
    shown.push(settled(
        &server.post("/v1/chat/completions", &body).1.to_string(),
    ));
    body["stream"] = true.into();
    for event in stream(&server, "/v1/chat/completions", &body) {
        shown.push(if event == "[DONE]" {
            event
        } else {
            settled(&event)
        });
    }
    // The words change with the model's weights; their places do not.
    let shape = |line: &String| match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            blank(&mut value);
            value.to_string()
        }
        Err(_) => line.clone(),
    };
    insta::assert_snapshot!(shown.iter().map(shape).collect::<Vec<_>>().join("\n"));
}

/// Words and counts that the model's weights decide.
fn blank(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match name.as_str() {
                    "content" | "text" if value.as_str().is_some_and(|t| !t.is_empty()) => {
                        *value = "WORDS".into()
                    }
                    "prompt_tokens" | "total_tokens" => *value = "N".into(),
                    _ => blank(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        _ => {}
    }
}

#[test]
fn what_cannot_be_answered_is_refused_by_name() {
    let server = Server::start(&["--ctx", "256"]);
    let with = |name: &str, value: Value| {
        let mut body = chat("Hi", 4);
        body[name] = value;
        body
    };
    let image =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    let long = "word ".repeat(600);
    let many: Vec<Value> = (0..10_000)
        .map(|_| json!({"role": "user", "content": "x"}))
        .collect();
    let cases = [
        (
            with("model", "gpt-4o".into()),
            404,
            "model",
            "model_not_found",
        ),
        (
            with("messages", json!([])),
            400,
            "messages",
            "invalid_value",
        ),
        (
            with("messages", many.into()),
            400,
            "messages",
            "request_too_large",
        ),
        (
            with("messages", json!([{"role": "wizard", "content": "x"}])),
            400,
            "messages[0].role",
            "invalid_value",
        ),
        (
            with("messages", image),
            400,
            "messages[0].content[0].type",
            "unsupported_value",
        ),
        (
            with("messages", json!([{"role": "user", "content": long}])),
            400,
            "messages",
            "context_length_exceeded",
        ),
        (
            with("max_tokens", 100_000.into()),
            400,
            "messages",
            "context_length_exceeded",
        ),
        (
            with("temperature", "hot".into()),
            400,
            "temperature",
            "invalid_value",
        ),
        (
            with("temperature", (-1).into()),
            400,
            "temperature",
            "invalid_value",
        ),
        (with("top_p", 1.5.into()), 400, "top_p", "invalid_value"),
        (with("n", 0.into()), 400, "n", "invalid_value"),
        (with("n", 1000.into()), 400, "n", "invalid_value"),
        (with("stop", json!([1])), 400, "stop[0]", "invalid_value"),
        (with("stop", json!([""])), 400, "stop", "invalid_value"),
        (
            with("logit_bias", json!({"9999999": 1})),
            400,
            "logit_bias",
            "invalid_value",
        ),
        (
            with(
                "response_format",
                json!({"type": "regex", "pattern": "(?=a)b"}),
            ),
            400,
            "response_format",
            "unsupported_value",
        ),
        (
            with("tool_choice", "required".into()),
            400,
            "tool_choice",
            "invalid_value",
        ),
        (with("audio", json!({})), 400, "audio", "unsupported_value"),
        (
            with("top_logprobs", 3.into()),
            400,
            "top_logprobs",
            "invalid_value",
        ),
        (
            with("chat_template_kwargs", json!({"messages": []})),
            400,
            "chat_template_kwargs.messages",
            "invalid_value",
        ),
    ];
    for (body, status, param, code) in cases {
        let (got, error) = server.post("/v1/chat/completions", &body);
        let error = &error["error"];
        assert_eq!(
            (got, &error["param"], &error["code"]),
            (status, &json!(param), &json!(code)),
            "{error}"
        );
        assert!(
            error["message"].as_str().is_some_and(|m| m.len() > 10),
            "{error}"
        );
    }
    // Nothing unknown hurts, and `null` is absence.
    let body = with("frobnicate", json!({"a": [1]}));
    assert_eq!(server.post("/v1/chat/completions", &body).0, 200);
    assert_eq!(
        server
            .post("/v1/chat/completions", &with("stop", Value::Null))
            .0,
        200
    );
}

#[test]
fn what_is_no_request_is_refused_in_openais_shape() {
    let server = Server::start(&["--max-body", "1"]);
    let json = "Content-Type: application/json\r\n";
    let path = "/v1/chat/completions";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: Vec<((u16, String, String), u16, &str)> = vec![
        (
            server.request("GET", "/v1/nothing", "", b""),
            404,
            "not_found",
        ),
        (
            server.request("GET", path, "", b""),
            405,
            "method_not_allowed",
        ),
        (
            server.request("DELETE", "/v1/models", "", b""),
            405,
            "method_not_allowed",
        ),
        (
            server.request("POST", path, "", b"{}"),
            415,
            "unsupported_media_type",
        ),
        (
            server.request("POST", path, "Content-Type: text/plain\r\n", b"{}"),
            415,
            "unsupported_media_type",
        ),
        (
            server.request(
                "POST",
                path,
                &format!("{json}Content-Encoding: gzip\r\n"),
                b"{}",
            ),
            415,
            "unsupported_encoding",
        ),
        (server.request("POST", path, json, b""), 400, "invalid_json"),
        (
            server.request("POST", path, json, b"{\"temperature\": NaN}"),
            400,
            "invalid_json",
        ),
        (
            server.request("POST", path, json, b"{\"messages\": \"\xff\xfe\"}"),
            400,
            "invalid_json",
        ),
        (
            server.request("POST", path, json, deep.as_bytes()),
            400,
            "request_too_large",
        ),
        (
            server.request("POST", path, json, b"[]"),
            400,
            "invalid_value",
        ),
        (
            server.request("POST", path, json, &vec![b' '; 3 << 20]),
            413,
            "body_too_large",
        ),
    ];
    for ((status, head, body), want, code) in cases {
        let error: Value =
            serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {head}\n{body}"));
        assert_eq!(
            (status, &error["error"]["code"]),
            (want, &json!(code)),
            "{body}"
        );
        assert!(head.contains("content-type: application/json"));
        assert!(want != 405 || head.contains("allow: "), "{head}");
    }
    // 1 GB that is only said: it is refused before it comes.
    let mut stream = server.connect();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {}\r\n{json}Content-Length: 1000000000\r\n\r\n{{",
        server.address
    )
    .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    // Headers beyond bounds, and what is no HTTP.
    let many = (0..200)
        .map(|i| format!("X-{i}: y\r\n"))
        .collect::<String>();
    assert_eq!(server.request("GET", "/health", &many, b"").0, 431);
    let long = format!("X: {}\r\n", "y".repeat(200 << 10));
    assert_eq!(server.request("GET", "/health", &long, b"").0, 431);
    assert_eq!(server.send(b"NONSENSE\r\n\r\n").0, 400);
    assert_eq!(server.get("/health").0, 200);
}

#[test]
fn cve_2024_28224_and_pages_from_elsewhere_are_kept_out() {
    let server = Server::start(&["--allow-origin", "https://app.example"]);
    let ask = |host: &str, headers: &str, method: &str| {
        let bytes = format!(
            "{method} /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        );
        server.send(bytes.as_bytes())
    };
    assert_eq!(ask("rebound.evil.example:11435", "", "GET").0, 403);
    assert_eq!(
        ask("127.0.0.1", "Origin: https://evil.example\r\n", "GET").0,
        403
    );
    assert_eq!(
        ask("127.0.0.1", "Sec-Fetch-Site: cross-site\r\n", "GET").0,
        403
    );
    let (status, head, _) = ask("localhost:1", "Origin: https://app.example\r\n", "GET");
    assert_eq!(status, 200);
    assert!(
        head.contains("access-control-allow-origin: https://app.example"),
        "{head}"
    );
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type, x-stainless-os\r\n";
    let (status, head, _) = ask(
        "localhost",
        &format!("Origin: https://app.example\r\n{asks}"),
        "OPTIONS",
    );
    assert_eq!(status, 204);
    assert!(
        head.contains("access-control-allow-headers: content-type, x-stainless-os"),
        "{head}"
    );
    assert_eq!(
        ask(
            "localhost",
            &format!("Origin: https://evil.example\r\n{asks}"),
            "OPTIONS"
        )
        .0,
        403
    );
}

#[test]
fn beyond_this_machine_needs_a_word() {
    let done = support::run(&["serve", "--host", "0.0.0.0", "--port", "0"]);
    assert_eq!(done.code, 2);
    assert!(
        done.err.contains("--without-keys") && done.err.contains("ssh -L"),
        "{}",
        done.err
    );
}

#[test]
fn a_client_that_goes_frees_its_place_and_sigterm_lets_answers_finish() {
    let Some(model) = shared("models/stories260K/stories260K.gguf") else {
        return;
    };
    // It writes until it is stopped: 4,000 tokens and more.
    let mut server = Server::start(&[model.to_str().unwrap(), "--ctx", "8192", "--parallel", "2"]);
    let never_ends = json!({"prompt": "Once", "max_tokens": 8000, "logit_bias": {"2": -100, "1": -100}, "stream": true});
    let open = |server: &Server, stream: bool| {
        let mut body = never_ends.clone();
        body["stream"] = stream.into();
        let body = body.to_string();
        let mut client = server.connect();
        write!(client, "POST /v1/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", server.address, body.len()).unwrap();
        client
    };
    let until = |running: u64| {
        while server.running() != running {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for stream in [true, false] {
        let clients = [open(&server, stream), open(&server, stream)];
        until(2);
        drop(clients);
        until(0);
    }
    // Asked to end while an answer is under way: it is finished first.
    let body = json!({"prompt": "Once", "max_tokens": 300, "logit_bias": {"2": -100}}).to_string();
    let mut client = server.connect();
    write!(client, "POST /v1/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", server.address, body.len()).unwrap();
    until(1);
    let ended = Command::new("kill")
        .arg(server.child.id().to_string())
        .status()
        .unwrap();
    assert!(ended.success());
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"completion_tokens\":300"), "{answer}");
    let (status, notes) = server.ended();
    assert_eq!(status.code(), Some(0));
    assert!(
        notes.contains("answers may finish") && !notes.contains("Once"),
        "{notes}"
    );
}

/// A reranker serves what `ingle embed --rerank` says, best first, as a share of 1.
#[test]
fn documents_are_scored_by_a_served_reranker() {
    let model = support::repository("crates/model/tests/goldens/bert-rank.gguf");
    let (query, documents) = ("w1 w5", ["w3", "w8 w9", "w1 w5"]);
    let mut args = vec!["embed", &model, "--rerank", query, "--json"];
    args.extend(documents);
    let said: Value = serde_json::from_str(&support::run(&args).out).unwrap();
    let server = Server::start(&[&model]);
    let body = json!({ "model": "bert-rank", "query": query, "documents": documents });
    let (status, answer) = server.post("/v1/rerank", &body);
    assert_eq!(status, 200, "{answer}");
    let (said, served) = (&said["results"], answer["results"].as_array().unwrap());
    assert_eq!(served.len(), documents.len());
    for (i, result) in served.iter().enumerate() {
        assert_eq!(result["index"], said[i]["index"]);
        let score = said[i]["score"].as_f64().unwrap();
        let share = 1.0 / (1.0 + (-score).exp());
        let found = result["relevance_score"].as_f64().unwrap();
        assert!((found - share).abs() < 1e-5, "{found} {share}");
    }
    let mut body = chat("w1", 4);
    body["model"] = "bert-rank".into();
    let (status, refused) = server.post("/v1/chat/completions", &body);
    assert!((400..500).contains(&status), "{refused}");
}

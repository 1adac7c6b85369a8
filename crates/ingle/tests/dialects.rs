//! `ingle serve` as Ollama's, Anthropic's and llama.cpp's clients see it.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::{Server, at_home, home};
use std::process::Command;
use support::{ingle, repository};

#[test]
fn a_preset_counts_under_ollamas_names_and_its_context_too() {
    let home = home();
    let folder = home.path().join("c/ingle");
    std::fs::create_dir_all(&folder).unwrap();
    let presets = "[models.brief]\nbase = \"ingle-mini\"\nsystem = \"Be brief.\"\nmax_tokens = 3\n[models.long]\ncontext = 512\n";
    std::fs::write(folder.join("ingle.toml"), presets).unwrap();
    let mut command = at_home(home.path());
    command.args(["serve", "--ollama"]);
    command
        .env("OLLAMA_HOST", "127.0.0.1:0")
        .env("OLLAMA_CONTEXT_LENGTH", "256");
    let server = Server::begin(command);
    let ask = |model: &str| {
        let body = json!({"model": model, "prompt": "Tell me a story", "stream": false});
        server.right("/api/generate", &body)
    };
    let mut prompts = Vec::new();
    for name in ["brief", "brief:latest", "Brief:LATEST"] {
        let answer = ask(name);
        assert_eq!(
            (&answer["model"], &answer["eval_count"]),
            (&json!(name), &json!(3))
        );
        prompts.push(answer["prompt_eval_count"].as_u64().unwrap());
    }
    let bare = json!({"model": "ingle-mini", "prompt": "Tell me a story", "stream": false, "options": {"num_predict": 1}});
    let bare = server.right("/api/generate", &bare);
    assert!(
        prompts
            .iter()
            .all(|n| *n > bare["prompt_eval_count"].as_u64().unwrap())
    );
    let long = json!({"model": "long", "prompt": ""});
    server.post_text("/api/generate", &long);
    let more = json!({"model": "long", "prompt": "", "options": {"num_ctx": 4096}});
    assert_eq!(server.post_text("/api/generate", &more).0, 400);
    let running = server.shown("/api/ps");
    let context = |name: &str| {
        let models = running["models"].as_array().unwrap().iter();
        let mut found = models.filter(|m| m["model"] == name);
        found.next().unwrap()["context_length"].clone()
    };
    assert_eq!(context("brief:latest"), 256);
    assert_eq!(context("long:latest"), 512);
}

#[test]
fn ollamas_variables_and_pages_count_in_its_place() {
    let mut command = ingle();
    command.args(["serve", "--ollama"]);
    command.env("OLLAMA_HOST", "http://127.0.0.1:0");
    command
        .env("OLLAMA_KEEP_ALIVE", "1h")
        .env("OLLAMA_CONTEXT_LENGTH", "256");
    command.env("OLLAMA_ORIGINS", "https://*.app.example");
    let server = Server::begin(command);
    let body = json!({"model": "ingle-mini", "prompt": "Hi", "stream": false, "options": {"num_predict": 1}});
    server.right("/api/generate", &body);
    let running = server.shown("/api/ps")["models"][0].clone();
    assert_eq!(running["context_length"], 256, "{running}");
    assert!(running["expires_at"].as_str().unwrap().ends_with('Z'));
    for (origin, want) in [
        ("http://localhost:3000", 200),
        ("app://obsidian.md", 200),
        ("https://a.app.example", 200),
        ("https://app.evil", 403),
    ] {
        let page = format!("Origin: {origin}\r\n");
        assert_eq!(
            server.request("GET", "/api/tags", &page, b"").0,
            want,
            "{origin}"
        );
    }

    let mut command = ingle();
    command
        .args(["serve", "--ollama"])
        .env("OLLAMA_NUM_PARALLEL", "many");
    let refused = command.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(2) && said.contains("OLLAMA_NUM_PARALLEL"),
        "{said}"
    );
}

/// What differs from run to run or with the model's weights, made the same.
fn settled(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let words = value.as_str().is_some_and(|text| !text.is_empty());
                match name.as_str() {
                    "content" | "text" | "response" | "prompt" if words => *value = "WORDS".into(),
                    "id" if words => *value = "ID".into(),
                    "created_at" => *value = "TIME".into(),
                    "context" | "tokens" => *value = "TOKENS".into(),
                    "timings" => *value = "TIMINGS".into(),
                    name if name.ends_with("_duration") => *value = "NS".into(),
                    "prompt_eval_count"
                    | "input_tokens"
                    | "tokens_evaluated"
                    | "tokens_cached"
                    | "cache_read_input_tokens"
                    | "n_ctx" => {
                        *value = "N".into();
                    }
                    _ => settled(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settled),
        _ => {}
    }
}

/// Lines of a stream, settled.
fn shape(body: &str) -> String {
    let line = |line: &str| {
        let (mark, json) = match line.split_once('{') {
            Some((mark, json)) => (mark, format!("{{{json}")),
            None => return line.to_owned(),
        };
        let mut value: Value = serde_json::from_str(&json).unwrap();
        settled(&mut value);
        format!("{mark}{value}")
    };
    body.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_wire_looks_like_this() {
    let server = Server::start(&["--parallel", "1"]);
    let said = json!([{"role": "user", "content": "Hi"}]);
    let one = json!({"num_predict": 1, "temperature": 0});
    let mut shown = Vec::new();
    for (path, mut body) in [
        (
            "/api/chat",
            json!({"model": "ingle-mini", "messages": said, "options": one}),
        ),
        (
            "/api/generate",
            json!({"model": "ingle-mini", "prompt": "Hi", "options": one}),
        ),
        (
            "/v1/messages",
            json!({"model": "ingle-mini", "messages": said, "max_tokens": 1, "temperature": 0}),
        ),
        (
            "/completion",
            json!({"prompt": "Once upon a", "n_predict": 1, "temperature": 0, "seed": 1}),
        ),
    ] {
        for stream in [true, false] {
            body["stream"] = stream.into();
            let (status, answer) = server.post_text(path, &body);
            shown.push(format!("{path} {stream} {status}\n{}", shape(&answer)));
        }
    }
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn llama_cpps_tools_find_their_paths() {
    let server = Server::start(&["--ctx", "512"]);
    let text = "Once upon a time there was a fox.";
    let tokens = server.right("/tokenize", &json!({ "content": text }))["tokens"].clone();
    let back = server.right("/detokenize", &json!({ "tokens": tokens }));
    assert_eq!(back["content"].as_str().unwrap().trim_start(), text);
    let pieces = server.right(
        "/tokenize",
        &json!({ "content": text, "with_pieces": true }),
    );
    let joined: String = pieces["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["piece"].as_str().unwrap())
        .collect();
    assert_eq!(joined.trim_start(), text);
    let special = json!({ "content": text, "add_special": true });
    let special = server.right("/tokenize", &special)["tokens"]
        .as_array()
        .unwrap()
        .len();
    assert!(special >= tokens.as_array().unwrap().len());

    let said = json!({"messages": [{"role": "user", "content": "Hello there"}]});
    let prompt = server.right("/apply-template", &said)["prompt"].clone();
    assert!(prompt.as_str().unwrap().contains("Hello there"));

    let props = server.shown("/props");
    assert_eq!(props["default_generation_settings"]["n_ctx"], 512);
    assert!(!props["chat_template"].as_str().unwrap().is_empty());
    let slots = server.shown("/slots?fail_on_no_slot=1");
    assert_eq!(
        slots.as_array().unwrap().len() as u64,
        props["total_slots"].as_u64().unwrap()
    );
    assert_eq!(server.shown("/health")["status"], "ok");

    let body = json!({"prompt": text, "n_predict": 8, "temperature": 0, "return_tokens": true});
    let whole = server.right("/completion", &body);
    assert_eq!(
        whole["tokens"].as_array().unwrap().len() as u64,
        whole["tokens_predicted"].as_u64().unwrap()
    );
    assert_eq!(whole["stop_type"], "limit");
    assert_eq!(whole["generation_settings"]["seed"], u32::MAX);
    let by_tokens = json!({"prompt": server.right("/tokenize", &json!({"content": text, "add_special": true}))["tokens"], "n_predict": 8, "temperature": 0});
    assert_eq!(
        server.right("/completion", &by_tokens)["content"],
        whole["content"]
    );
    let two = json!({"prompt": [text, "The sea"], "n_predict": 2, "response_fields": ["content", "generation_settings/n_predict"]});
    let two = server.right("/completion", &two);
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_eq!(two[0].as_object().unwrap().len(), 2);
    assert_eq!(two[1]["generation_settings/n_predict"], 2);
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let (status, events) = server.post_text("/completion", &streamed);
    assert_eq!(status, 200, "{events}");
    let events = events
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events.map(|e| serde_json::from_str(e).unwrap()).collect();
    let text: String = events
        .iter()
        .map(|e| e["content"].as_str().unwrap())
        .collect();
    assert_eq!(whole["content"], text);
    assert_eq!(events.last().unwrap()["stop"], true);

    for (path, body, status, kind) in [
        (
            "/infill",
            json!({"input_prefix": "a", "input_suffix": "b"}),
            400,
            "invalid_request_error",
        ),
        (
            "/completion",
            json!({"prompt": "word ".repeat(600)}),
            400,
            "exceed_context_size_error",
        ),
        (
            "/completion",
            json!({"prompt": "a", "model": "nobody"}),
            404,
            "not_found_error",
        ),
        (
            "/detokenize",
            json!({"tokens": [4_000_000]}),
            400,
            "invalid_request_error",
        ),
    ] {
        let (found, answer) = server.post_text(path, &body);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            (found, &answer["error"]["type"]),
            (status, &kind.into()),
            "{answer}"
        );
        assert_eq!(answer["error"]["code"], status);
    }
}

/// Blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

#[test]
fn the_page_on_clients_is_true() {
    let page = std::fs::read_to_string(repository("docs/clients.md")).unwrap();
    let server = Server::start(&[]);
    let here = |text: &str| text.replace("127.0.0.1:11435", &server.address.to_string());
    let python =
        std::env::var("INGLE_PYTHON").unwrap_or_else(|_| repository("target/ci-python/bin/python"));
    let programs = blocks(&page, "python");
    assert_eq!(programs.len(), 3);
    for program in programs {
        let package = program.split_whitespace().nth(1).unwrap();
        let import = format!("import {package}");
        let has_it = Command::new(&python).args(["-c", &import]).output();
        if !has_it.is_ok_and(|output| output.status.success()) {
            println!("skipped: no Python with the package {package}");
            continue;
        }
        let done = Command::new(&python).args(["-c", &here(&program)]).output();
        let done = done.unwrap();
        let wrong = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success() && done.stdout.len() > 10,
            "{program}: {wrong}"
        );
    }
    let more = std::fs::read_to_string(repository("docs/clients/curl.md")).unwrap();
    let curls: Vec<&str> = page
        .lines()
        .chain(more.lines())
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(curls.len(), 4);
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    for line in curls {
        let done = Command::new("sh")
            .args(["-c", &here(line)])
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert!(answer.get("error").is_none(), "{line}: {answer}");
    }
}

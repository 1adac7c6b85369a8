//! `ingle serve` as Ollama's, Anthropic's and llama.cpp's clients see it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::zombie_processes,
    reason = "a test that cannot go on panics; a server is waited for when it is dropped"
)]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{ingle, repository};

/// A server that ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Read to the end, lest the server waits for somebody to read.
    _notes: std::thread::JoinHandle<()>,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut command = ingle();
        command.args(["serve", "--port", "0"]).args(args);
        Self::begin(command)
    }

    fn begin(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut notes = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(notes.read_line(&mut line).unwrap() > 0, "it ended: {seen}");
            if let Some((_, rest)) = line.split_once(" at http://") {
                break rest.trim().trim_end_matches("/v1").parse().unwrap();
            }
            seen.push_str(&line);
        };
        let rest = std::thread::spawn(move || {
            let _ = std::io::copy(&mut notes, &mut std::io::sink());
        });
        Self {
            child,
            address,
            _notes: rest,
        }
    }

    /// Status, head in small letters, body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let wait = Some(Duration::from_secs(120));
        stream.set_read_timeout(wait).unwrap();
        let (address, length) = (self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_ascii_lowercase();
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        };
        (status, head, body)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let json = "Content-Type: application/json\r\n";
        let (status, _, body) = self.ask("POST", path, json, &body.to_string());
        (status, body)
    }

    fn json(&self, path: &str, body: &Value) -> Value {
        let (status, body) = self.post(path, body);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.ask("GET", path, "", "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A body without the lengths of its chunks.
fn unchunked(body: &str) -> String {
    let (mut out, mut rest) = (String::new(), body);
    while let Some((length, after)) = rest.split_once("\r\n") {
        let n = usize::from_str_radix(length, 16).unwrap();
        out.push_str(&after[..n]);
        rest = after.get(n + 2..).unwrap_or("");
    }
    out
}

/// Runs a script with the official package of a dialect, where there is one.
fn official(package: &str) {
    let python =
        std::env::var("INGLE_PYTHON").unwrap_or_else(|_| repository("target/ci-python/bin/python"));
    let import = format!("import {package}");
    let has_it = Command::new(&python).args(["-c", &import]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!(
            "skipped: no Python with the package {package} (INGLE_PYTHON, or target/ci-python, which .ci/run makes)"
        );
        return;
    }
    let server = Server::start(&[]);
    let script = repository(&format!("crates/ingle/tests/{package}_client.py"));
    let address = format!("http://{}", server.address);
    let done = Command::new(python).args([script, address]).output();
    let done = done.unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("all of it holds"), "{said}");
}

#[test]
fn the_official_ollama_client_is_content() {
    official("ollama");
}

#[test]
fn the_official_anthropic_client_is_content() {
    official("anthropic");
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
    server.json("/api/generate", &body);
    let running = server.get("/api/ps")["models"][0].clone();
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
            server.ask("GET", "/api/tags", &page, "").0,
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
            let (status, answer) = server.post(path, &body);
            shown.push(format!("{path} {stream} {status}\n{}", shape(&answer)));
        }
    }
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn llama_cpps_tools_find_their_paths() {
    let server = Server::start(&["--ctx", "512"]);
    let text = "Once upon a time there was a fox.";
    let tokens = server.json("/tokenize", &json!({ "content": text }))["tokens"].clone();
    let back = server.json("/detokenize", &json!({ "tokens": tokens }));
    assert_eq!(back["content"].as_str().unwrap().trim_start(), text);
    let pieces = server.json(
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
    let special = server.json("/tokenize", &special)["tokens"]
        .as_array()
        .unwrap()
        .len();
    assert!(special >= tokens.as_array().unwrap().len());

    let said = json!({"messages": [{"role": "user", "content": "Hello there"}]});
    let prompt = server.json("/apply-template", &said)["prompt"].clone();
    assert!(prompt.as_str().unwrap().contains("Hello there"));

    let props = server.get("/props");
    assert_eq!(props["default_generation_settings"]["n_ctx"], 512);
    assert!(!props["chat_template"].as_str().unwrap().is_empty());
    let slots = server.get("/slots?fail_on_no_slot=1");
    assert_eq!(
        slots.as_array().unwrap().len() as u64,
        props["total_slots"].as_u64().unwrap()
    );
    assert_eq!(server.get("/health")["status"], "ok");

    let body = json!({"prompt": text, "n_predict": 8, "temperature": 0, "return_tokens": true});
    let whole = server.json("/completion", &body);
    assert_eq!(
        whole["tokens"].as_array().unwrap().len() as u64,
        whole["tokens_predicted"].as_u64().unwrap()
    );
    assert_eq!(whole["stop_type"], "limit");
    let by_tokens = json!({"prompt": server.json("/tokenize", &json!({"content": text, "add_special": true}))["tokens"], "n_predict": 8, "temperature": 0});
    assert_eq!(
        server.json("/completion", &by_tokens)["content"],
        whole["content"]
    );
    let two = json!({"prompt": [text, "The sea"], "n_predict": 2, "response_fields": ["content", "generation_settings/n_predict"]});
    let two = server.json("/completion", &two);
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_eq!(two[0].as_object().unwrap().len(), 2);
    assert_eq!(two[1]["n_predict"], 2);
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let (status, events) = server.post("/completion", &streamed);
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
        let (found, answer) = server.post(path, &body);
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
    let curls: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert!(!curls.is_empty());
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

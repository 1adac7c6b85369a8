//! A marked prompt and a marked key appear in no log, error, metric or crash message, nor in any file
//! in the clear.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::{Server, at_home, home};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Nobody writes this by chance.
const CANARY: &str = "zanzibar-quokka-9143";

fn said(home: &Path, args: &[&str]) -> (i32, String, String) {
    let done = at_home(home).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = done.status.code().unwrap();
    (code, text(&done.stdout), text(&done.stderr))
}

/// Asks `ingle run` what comes through a pipe; its notes.
fn piped(home: &Path, prompt: &str) -> String {
    let mut command = at_home(home);
    command.args(["run", "-n", "8"]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(prompt.as_bytes()).unwrap();
    drop(input);
    let done = child.wait_with_output().unwrap();
    let notes = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{notes}");
    notes
}

/// A key whose pages are kept on disk; the second is the part of it that nobody can guess.
fn key(home: &Path) -> (String, String) {
    let (code, out, err) = said(home, &["key", "add", "ann", "--keep-prefixes", "--admin"]);
    assert_eq!(code, 0, "{err}");
    let key = out.trim().to_owned();
    let secret = key.trim_start_matches("ingle-").to_owned();
    assert!(secret.len() > 30);
    (key, secret)
}

/// Fails where one of the words is in a text.
fn not_in(text: &str, what: &str, words: &[&str]) {
    for word in words {
        let at = text.find(word);
        let from = |at: usize| text.floor_char_boundary(at.saturating_sub(300));
        let around = at.map(|at| &text[from(at)..at + word.len()]);
        assert_eq!(around, None, "{word} was told in {what}");
    }
}

/// Fails where one of the words is in a file of this folder, or in its name.
fn not_on_disk(folder: &Path, words: &[&str]) {
    let files = files(folder);
    assert!(!files.is_empty());
    for file in files {
        not_in(&file.display().to_string(), "the name of a file", words);
        let bytes = std::fs::read(&file).unwrap_or_default();
        for word in words {
            let found = bytes.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!found, "{word} is in {}", file.display());
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => all.extend(files(&entry.path())),
            kind if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}

/// Requests of every dialect that hold the mark wherever a request can hold one.
fn marked() -> Vec<(&'static str, Value)> {
    let text = format!("Tell me of {CANARY}, and of the sea. ").repeat(4);
    let said = json!([{"role": "user", "content": text}]);
    let tool = json!([{"type": "function", "function": {"name": CANARY, "description": text,
        "parameters": {"type": "object", "properties": {"a": {"enum": [CANARY]}}, "required": ["a"]}}}]);
    let chat = "/v1/chat/completions";
    vec![
        (chat, json!({"messages": said, "max_tokens": 8})),
        (
            chat,
            json!({"messages": said, "max_tokens": 8, "stream": true, "n": 2}),
        ),
        (
            chat,
            json!({"messages": said, "max_tokens": 60, "tools": tool, "tool_choice": "required"}),
        ),
        (
            chat,
            json!({"messages": said, "max_tokens": 8, "stop": [CANARY], "guided_choice": [CANARY]}),
        ),
        (
            chat,
            json!({"messages": said, "user": CANARY, "metadata": {"a": CANARY}, "max_tokens": 2}),
        ),
        (chat, json!({"model": CANARY, "messages": said})),
        (
            chat,
            json!({"messages": [{"role": CANARY, "content": text}]}),
        ),
        (chat, json!({"messages": text, "tools": CANARY})),
        (chat, json!({"messages": said, "max_tokens": 1 << 30})),
        (
            chat,
            json!({"messages": said, "temperature": CANARY, "seed": CANARY}),
        ),
        (
            chat,
            json!({"messages": said, "response_format": {"type": CANARY}}),
        ),
        (
            chat,
            json!({"messages": said, "tools": tool, "tool_choice": {"type": "function", "function": {"name": format!("{CANARY}x")}}}),
        ),
        (
            chat,
            json!({"messages": said, "response_format": {"type": "regex", "pattern": format!("({CANARY}")}}),
        ),
        (
            chat,
            json!({"messages": said, "guided_grammar": format!("root ::= {CANARY}")}),
        ),
        (chat, json!({"messages": said, "reasoning_effort": CANARY})),
        (
            chat,
            json!({"messages": said, "chat_template_kwargs": {"messages": CANARY}}),
        ),
        ("/v1/completions", json!({"prompt": text, "suffix": CANARY})),
        (
            "/v1/completions",
            json!({"prompt": text, "max_tokens": 4, "echo": true}),
        ),
        (
            "/v1/responses",
            json!({"input": text, "max_output_tokens": 4, "metadata": {"a": CANARY}}),
        ),
        (
            "/v1/responses",
            json!({"input": text, "previous_response_id": CANARY}),
        ),
        ("/v1/embeddings", json!({"input": text})),
        (
            "/v1/embeddings",
            json!({"input": text, "encoding_format": CANARY}),
        ),
        ("/v1/rerank", json!({"query": text, "documents": [text]})),
        (
            "/v1/messages",
            json!({"model": "ingle-mini", "max_tokens": 4, "messages": said, "system": text}),
        ),
        (
            "/v1/messages",
            json!({"model": CANARY, "max_tokens": 4, "messages": said}),
        ),
        (
            "/v1/messages",
            json!({"model": "ingle-mini", "max_tokens": 4, "messages": said, "tools": [{"type": CANARY, "name": CANARY}]}),
        ),
        (
            "/v1/messages/count_tokens",
            json!({"model": "ingle-mini", "messages": said}),
        ),
        (
            "/api/chat",
            json!({"model": "ingle-mini", "messages": said, "options": {"num_predict": 4}}),
        ),
        ("/api/chat", json!({"model": CANARY, "messages": said})),
        (
            "/api/generate",
            json!({"model": "ingle-mini", "prompt": text, "options": {"num_predict": 4}}),
        ),
        (
            "/api/generate",
            json!({"model": "ingle-mini", "prompt": text, "template": CANARY}),
        ),
        (
            "/api/generate",
            json!({"model": "ingle-mini", "prompt": text, "keep_alive": CANARY}),
        ),
        ("/api/embed", json!({"model": "ingle-mini", "input": text})),
        ("/api/show", json!({"model": CANARY})),
        ("/api/pull", json!({"model": CANARY})),
        ("/api/delete", json!({"model": CANARY})),
        ("/completion", json!({"prompt": text, "n_predict": 4})),
        (
            "/infill",
            json!({"input_prefix": text, "input_suffix": CANARY}),
        ),
        ("/tokenize", json!({"content": text})),
        ("/apply-template", json!({"messages": said})),
        ("/ingle/stop", json!({"model": CANARY})),
    ]
}

/// What is refused, and asked in ways that are no request. All that was told of it.
fn refusals(server: &Server, key: &str) -> String {
    let auth = format!("Authorization: Bearer {key}\r\n");
    let json = format!("{auth}Content-Type: application/json\r\n");
    let mut told = String::new();
    for (path, body) in marked() {
        let method = if path == "/api/delete" {
            "DELETE"
        } else {
            "POST"
        };
        let (status, head, answer) =
            server.request(method, path, &json, body.to_string().as_bytes());
        assert!((200..600).contains(&status), "{path}: {head}");
        told += &head;
        // Refusals say which field, never what was in it; but Ollama's clients look for the name of a model.
        let names_it = path.starts_with("/api/") && body["model"] == CANARY;
        if status != 200 && !names_it {
            told += &format!("{path}: {answer}\n");
        }
    }
    let wrong = format!("Authorization: Bearer {key}x\r\n");
    let basic = format!("Authorization: Basic {key}\r\n");
    let broken = format!("{{\"{CANARY}\": ");
    let cases: Vec<(&str, String, String, &[u8])> = vec![
        (
            "GET",
            format!("/{CANARY}?{CANARY}={key}"),
            auth.clone(),
            b"",
        ),
        ("GET", format!("/v1/models/{CANARY}"), auth.clone(), b""),
        ("GET", format!("/v1/responses/{CANARY}"), auth.clone(), b""),
        (
            "DELETE",
            format!("/v1/chat/completions?{CANARY}"),
            auth.clone(),
            b"",
        ),
        (
            "POST",
            "/v1/completions".into(),
            format!("{json}x-request-id: {CANARY} x\r\n"),
            broken.as_bytes(),
        ),
        (
            "POST",
            "/v1/completions".into(),
            format!("{auth}Content-Type: {CANARY}\r\n"),
            broken.as_bytes(),
        ),
        ("GET", "/v1/models".into(), wrong, b""),
        ("GET", "/v1/models".into(), basic, b""),
        (
            "GET",
            "/v1/models".into(),
            format!("{auth}Origin: https://{CANARY}.example\r\n"),
            b"",
        ),
        ("GET", "/metrics".into(), auth.clone(), b""),
        ("GET", "/ingle/ps".into(), auth.clone(), b""),
    ];
    for (method, path, headers, body) in cases {
        let (_, head, answer) = server.request(method, &path, &headers, body);
        told += &format!("{method}: {head} {answer}\n");
    }
    told
}

#[test]
fn no_word_of_a_request_and_no_key_is_told_or_written() {
    let home = home();
    let (key, secret) = key(home.path());
    let words = [CANARY, secret.as_str()];
    let mut server = Server::start_at(home.path(), &[]);
    not_in(&refusals(&server, &key), "an answer", &words);
    // The same server, asked through its own socket by its owner.
    let err = piped(home.path(), &format!("Tell me of {CANARY}"));
    assert!(err.contains("Answered by the server"), "{err}");
    not_in(&err, "a note of `ingle run`", &words);
    // What it keeps of prompts is on disk before it is looked for.
    let prefixes = home.path().join("k/ingle/prefix");
    let begun = Instant::now();
    while !prefixes.exists() || files(&prefixes).len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no page is kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    not_on_disk(home.path(), &words);
    assert_eq!(said(home.path(), &["stop"]).0, 0);
    let (status, notes) = server.ended();
    assert_eq!(status.code(), Some(0), "{notes}");
    assert!(notes.contains(" completed ") && notes.contains(" refused "));
    not_in(&notes, "the log", &words);
    not_on_disk(home.path(), &words);
    // Where somebody asks for the words they are there: the test can see.
    let server = Server::start_at(home.path(), &["--log-prompts"]);
    refusals(&server, &key);
    assert!(server.notes().contains(CANARY));
    not_in(&server.notes(), "the log of prompts", &[&secret]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_the_system_ends_leaves_no_word() {
    use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
    let home = home();
    let (key, secret) = key(home.path());
    let words = [CANARY, secret.as_str()];
    for signal in [Signal::ABORT, Signal::TRAP] {
        let mut command = at_home(home.path());
        command.current_dir(home.path());
        // Whoever starts it has images of ended processes written.
        let mut server = Server::serve(command, &["--log-prompts=false"]);
        let pid = Pid::from_child(&server.child);
        let body = json!({"prompt": CANARY, "max_tokens": 4000, "stream": true, "logit_bias": {"0": -100, "1": -100, "2": -100}}).to_string();
        let mut reader = server.connect();
        write!(reader, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        reader.read_exact(&mut [0; 64]).unwrap();
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        let was = prlimit(Some(pid), Resource::Core, unlimited).unwrap();
        assert_eq!(
            was.current,
            Some(0),
            "an image of its memory would be written"
        );
        prlimit(Some(pid), Resource::Core, was).unwrap();
        kill_process(pid, signal).unwrap();
        let (status, notes) = server.ended();
        assert!(!status.success());
        not_in(&notes, "what it said at its end", &words);
        not_on_disk(home.path(), &words);
    }
}

//! A server that can be trusted: who may ask, what happens when everybody asks, which models stay.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on panics"
)]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::{Server, at_home, connect, home, request};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn said(home: &Path, args: &[&str]) -> (i32, String, String) {
    let done = at_home(home).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = done.status.code().unwrap();
    (code, text(&done.stdout), text(&done.stderr))
}

fn key(home: &Path, args: &[&str]) -> String {
    let (code, out, err) = said(home, &[&["key", "add"], args].concat());
    assert_eq!(code, 0, "{err}");
    out.trim().to_owned()
}

fn chat(text: &str, max_tokens: u32) -> Value {
    json!({ "max_tokens": max_tokens, "seed": 7, "messages": [{"role": "user", "content": text}] })
}

/// Waits until something is so; `what` says what never was.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn keys_let_in_and_hold_their_limits_in_every_dialects_words() {
    let home = home();
    let ann = key(home.path(), &["ann", "--requests-per-minute", "2"]);
    let bob = key(home.path(), &["bob", "--model", "other*"]);
    let server = Server::start_at(home.path(), &[]);
    let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
    for (path, shape) in [
        ("/v1/chat/completions", "\"type\":\"authentication_error\""),
        (
            "/v1/messages",
            "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"",
        ),
        ("/api/chat", "{\"error\":\""),
    ] {
        let (status, head, body) = server.post_with(path, "", &chat("Hi", 2));
        assert_eq!(status, 401, "{path}: {body}");
        assert!(body.contains(shape), "{path}: {body}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
    }
    // Nothing but that the server is there is told.
    assert_eq!(server.shown("/health"), json!({ "status": "ok" }));
    for path in [
        "/metrics",
        "/v1/models",
        "/ingle/ps",
        "/no/such",
        "/props",
        "/openapi.json",
    ] {
        assert_eq!(server.request("GET", path, "", b"").0, 401, "{path}");
    }
    let path = "/v1/chat/completions";
    for header in [format!("x-api-key: {ann}\r\n"), bearer(&ann)] {
        let (status, _, body) = server.post_with(path, &header, &chat("Hi", 2));
        assert_eq!(status, 200, "{body}");
    }
    let (status, head, body) = server.post_with(path, &bearer(&ann), &chat("Hi", 2));
    assert_eq!(status, 429, "{body}");
    assert!(
        head.contains("retry-after: ") && body.contains("requests_per_minute"),
        "{head}"
    );
    // Looking is not asking.
    let look = |key: &str| server.request("GET", "/v1/models", &bearer(key), b"");
    assert_eq!(look(&ann).0, 200);
    let (status, _, body) = server.post_with(path, &bearer(&bob), &chat("Hi", 2));
    let said_so = body.contains("model_not_allowed");
    assert_eq!((status, said_so), (403, true), "{body}");
    assert!(!look(&bob).2.contains("ingle-mini"));
    let (status, _, body) = server.post_with("/ingle/stop", &bearer(&bob), &json!({}));
    assert_eq!((status, body.contains("not_admin")), (403, true), "{body}");
    // A key that is revoked is refused within a second or so.
    assert_eq!(said(home.path(), &["key", "revoke", "ann"]).0, 0);
    until("the key still counts", || look(&ann).0 == 401);
}

/// Places for requests, working and waiting.
const PLACES: usize = 8;
/// All of them ask at the same time.
const CLIENTS: usize = 20 * PLACES;
/// So often.
const ROUNDS: usize = 3;
/// What the server may take for weights, pages and buffers.
const BUDGET: u64 = 192 << 20;

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Completed,
    Refused,
    /// The client went before it had the answer.
    Left,
}

/// One request in one of many ways.
fn one(address: SocketAddr, number: usize) -> End {
    let id = format!("Content-Type: application/json\r\nx-request-id: load-{number}\r\n");
    let text = format!("Tell me story {number}");
    let generate = json!({ "model": "ingle-mini", "prompt": text, "options": {"num_predict": 20} });
    let (path, mut body) = match number % 10 {
        0 => (
            "/v1/completions",
            json!({ "prompt": text, "max_tokens": 12, "n": 2 }),
        ),
        1 => ("/api/generate", generate),
        2 => (
            "/v1/messages",
            json!({ "model": "ingle-mini", "max_tokens": 20,
            "messages": [{"role": "user", "content": text}], "stream": true }),
        ),
        3 => ("/v1/embeddings", json!({ "input": [text, "the sea"] })),
        4 => (
            "/v1/responses",
            json!({ "input": text, "max_output_tokens": 16, "stream": true }),
        ),
        _ => ("/v1/chat/completions", chat(&text, 24)),
    };
    let leaves = matches!(number % 10, 8 | 9);
    if number % 10 >= 7 {
        body["stream"] = true.into();
    }
    let mut body = body.to_string();
    if number % 40 == 5 {
        body.truncate(body.len() / 2); // no JSON any more
    }
    if leaves {
        let mut stream = connect(address);
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{id}");
        let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        if number % 10 == 9 {
            // As soon as there is anything of an answer.
            let _ = stream.read(&mut [0; 64]);
        }
        return End::Left;
    }
    let (status, head, answer) = request(address, "POST", path, &id, body.as_bytes());
    match status {
        200 => {
            let whole = match path {
                "/v1/messages" => answer.contains("message_stop"),
                "/v1/responses" => {
                    answer.contains("\"response.completed\"")
                        || answer.contains("\"response.incomplete\"")
                }
                "/api/generate" => answer.contains("\"done\":true"),
                "/v1/embeddings" => answer.contains("\"embedding\""),
                _ => answer.contains("\"length\"") || answer.contains("\"stop\""),
            };
            assert!(whole, "{path}: cut off without a word: {answer}");
            End::Completed
        }
        400 if number % 40 == 5 => End::Refused,
        429 | 503 => {
            assert!(head.contains("retry-after: "), "{head}");
            assert!(answer.contains("error"), "{answer}");
            End::Refused
        }
        other => panic!("{path}: {other}: {head} {answer}"),
    }
}

/// How the log says that each request ended.
fn ends_in_log(notes: &str) -> BTreeMap<usize, Vec<String>> {
    let mut ends: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in notes.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let id = words.iter().find_map(|word| word.strip_prefix("load-"));
        if let Some(number) = id.and_then(|id| id.parse().ok()) {
            let outcome = words[words.len() - 3].to_owned();
            ends.entry(number).or_default().push(outcome);
        }
    }
    ends
}

/// Watches how much memory a process holds that no file backs; what it held at most.
fn watch_memory(pid: u32, over: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (over, most) = (Arc::clone(over), AtomicU64::new(0));
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            let status = status.unwrap_or_default();
            let kib = |name: &str| -> u64 {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                let number =
                    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
                number.unwrap_or(0)
            };
            let held = (kib("RssAnon:") + kib("RssShmem:")) << 10;
            most.fetch_max(held, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
        most.into_inner()
    })
}

#[test]
fn twenty_times_too_many_requests_all_end_and_stay_within_memory() {
    let (queue, budget) = (PLACES.to_string(), BUDGET.to_string());
    let args = [
        ["--queue", &queue],
        ["--parallel", "4"],
        ["--max-connections", "512"],
        ["--ctx", "512"],
        ["--memory", &budget],
    ];
    let server = Server::start(&args.concat());
    let over = Arc::new(AtomicBool::new(false));
    let memory = watch_memory(server.child.id(), &over);
    let together = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, together) = (server.address, Arc::clone(&together));
            std::thread::spawn(move || {
                let mut ends = Vec::new();
                for round in 0..ROUNDS {
                    together.wait();
                    let number = round * CLIENTS + (client + round) % CLIENTS;
                    ends.push((number, one(address, number)));
                }
                ends
            })
        })
        .collect();
    let ends = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap());
    let ends: BTreeMap<usize, End> = ends.collect();
    assert_eq!(ends.len(), CLIENTS * ROUNDS, "none is lost");
    // Those that went are noticed; this question is the one that is there.
    until("some requests never end", || {
        server.metric("", "ingle_requests_live ") <= 1.0
            && server.metric("", "ingle_running_requests") + server.metric("", "ingle_queue_depth")
                == 0.0
    });
    over.store(true, Ordering::Relaxed);
    let most = memory.join().unwrap();
    let of = |end: End| ends.values().filter(|e| **e == end).count();
    let counts = [End::Completed, End::Refused, End::Left].map(of);
    println!(
        "completed, refused, left: {counts:?}; {} MiB at most",
        most >> 20
    );
    assert!(counts.iter().all(|n| *n >= PLACES), "{counts:?}");
    let begun = server.metric("", "ingle_requests_total");
    until("a line of the log is missing", || {
        ends_in_log(&server.notes()).len() >= CLIENTS * ROUNDS - counts[2]
    });
    let log = ends_in_log(&server.notes());
    for (number, end) in &ends {
        let told = log.get(number).map_or(&[][..], Vec::as_slice);
        let right = match (end, told) {
            (End::Completed, [one]) => one == "completed",
            (End::Refused, [one]) => one == "refused",
            // It may have been quicker, or refused, or gone before its request was read.
            (End::Left, [one]) => ["completed", "refused", "cancelled"].contains(&one.as_str()),
            (End::Left, []) => true,
            _ => false,
        };
        assert!(right, "{number}: {end:?}, and the log says {told:?}");
    }
    assert!(
        log.values().any(|told| told[0] == "cancelled"),
        "nobody left"
    );
    assert!(begun >= log.len() as f64, "every line is counted");
    if cfg!(target_os = "linux") {
        assert!((1..=BUDGET).contains(&most), "{most} of {BUDGET} bytes");
    }
    // Nothing is left behind: everybody is served again.
    let path = "/v1/chat/completions";
    assert_eq!(server.post(path, &chat("Hi", 4)).0, 200);
}

/// A home whose ingle.toml says this.
fn home_with(config: &str) -> tempfile::TempDir {
    let home = home();
    let folder = home.path().join("c/ingle");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ingle.toml"), config).unwrap();
    home
}

/// Names and bytes of the models in memory.
fn loaded(server: &Server) -> BTreeMap<String, u64> {
    let models = server.shown("/ingle/ps")["models"].clone();
    let models = models.as_array().unwrap().iter();
    let pair = |m: &Value| {
        (
            m["id"].as_str().unwrap().to_owned(),
            m["bytes"].as_u64().unwrap(),
        )
    };
    models.map(pair).collect()
}

fn names(server: &Server) -> Vec<String> {
    loaded(server).into_keys().collect()
}

/// Asks a model that ingle.toml names, without a word of its parameters.
fn ask(address: SocketAddr, model: &str) -> (u16, String) {
    let mut body = chat("Hello", 0);
    body.as_object_mut().unwrap().remove("max_tokens");
    body["model"] = model.into();
    let json = "Content-Type: application/json\r\n";
    let body = body.to_string();
    let (status, _, text) = request(
        address,
        "POST",
        "/v1/chat/completions",
        json,
        body.as_bytes(),
    );
    (status, text)
}

const BRIEF: &str = "[models.brief]\nsystem = \"Be brief.\"\nmax_tokens = 3\ncontext = 256\n";

#[test]
fn models_come_when_they_are_asked_for_and_go() {
    let home = home_with(BRIEF);
    let server = Server::start_at(home.path(), &[]);
    let (home, address) = (home.path(), server.address);
    assert_eq!(names(&server), ["ingle-mini"]);
    let asks: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(move || ask(address, "brief")))
        .collect();
    for asked in asks {
        let (status, text) = asked.join().unwrap();
        assert_eq!(status, 200, "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["model"], "brief");
        assert_eq!(value["usage"]["completion_tokens"], 3);
    }
    assert_eq!(names(&server), ["brief", "ingle-mini"]);
    let (code, out, err) = said(home, &["ps", "--json"]);
    assert!(code == 0 && out.contains("\"brief\""), "{out}{err}");
    assert_eq!(said(home, &["stop", "brief"]).0, 0);
    assert_eq!(names(&server), ["ingle-mini"]);
    assert_eq!(said(home, &["stop", "brief"]).0, 1);
    for unknown in ["nobody-knows", "/etc/hostname", "../brief"] {
        let (status, text) = ask(address, unknown);
        let said_so = text.contains("model_not_found");
        assert_eq!((status, said_so), (404, true), "{text}");
    }
}

#[test]
fn the_idle_leave_for_who_is_wanted_and_who_is_in_use_stays() {
    const ALONE: &[&str] = &["--parallel", "1", "--ctx", "4096"];
    let home = home_with(BRIEF);
    let both = Server::start_at(home.path(), ALONE);
    assert_eq!(ask(both.address, "brief").0, 200);
    let bytes = loaded(&both);
    drop(both);
    // Room for either, not for both.
    let memory = (bytes["ingle-mini"] + bytes["brief"] / 2).to_string();
    let server = Server::start_at(home.path(), &[ALONE, &["--memory", &memory]].concat());
    let endless = json!({"prompt": "Once", "max_tokens": 4000, "stream": true, "logit_bias": {"0": -100, "1": -100, "2": -100}});
    let body = endless.to_string();
    let mut reader = server.connect();
    write!(reader, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut first = [0; 15];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let (status, text) = ask(server.address, "brief");
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("model_does_not_fit") && text.contains("`ingle-mini` with"),
        "{text}"
    );
    // The one in use goes on, and who is there is still answered.
    assert!(reader.read(&mut [0; 64]).unwrap() > 0);
    assert_eq!(names(&server), ["ingle-mini"]);
    drop(reader);
    until("there is never room", || {
        ask(server.address, "brief").0 == 200
    });
    assert_eq!(names(&server), ["brief"]);
    assert_eq!(
        server
            .post("/v1/completions", &json!({"prompt": "a", "max_tokens": 2}))
            .0,
        200
    );
    assert_eq!(names(&server), ["ingle-mini"]);
    assert!(
        server
            .notes()
            .contains("brief leaves: its memory is wanted")
    );
}

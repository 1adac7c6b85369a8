//! Beginnings of texts on disk: they survive `kill -9`, are nobody else's, and go when they are told to.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::{Server, at_home};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Nobody writes this by chance.
const MARK: &str = "the heron's ledger is kept in violet ink";

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = at_home(home);
    command.args(args);
    command
}

fn ask(server: &Server, headers: &str, text: &str) -> Value {
    let body = json!({
        "messages": [{"role": "user", "content": text}], "max_tokens": 24, "seed": 5,
        "temperature": 0.8, "logprobs": true,
    });
    let (status, _, answer) = server.post_with("/v1/chat/completions", headers, &body);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

fn long_text() -> String {
    format!(
        "{MARK}. {}",
        "It rained on the harbour and nobody minded. ".repeat(24)
    )
}

fn said(answer: &Value) -> (Value, Value) {
    let choice = &answer["choices"][0];
    (
        choice["message"]["content"].clone(),
        choice["logprobs"].clone(),
    )
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap()
}

fn cache(home: &Path, args: &[&str]) -> Value {
    let args = [&["cache", "--json"], args].concat();
    let output = command(home, &args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Asks until so many pages are kept, and kills the server. One whose disk was slow when it measured, because
/// the machine was busy, keeps none, as computing them again is faster; then another one tries.
fn until_kept(home: &Path, pages: u64, mut ask: impl FnMut(&Server)) {
    let kept = (0..6).any(|_| {
        let server = Server::start_at(home, &[]);
        ask(&server);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if cache(home, &[])["files"].as_u64().unwrap() >= pages {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    });
    assert!(kept, "too few pages are kept");
}

/// Regular files; a server that was killed leaves its socket.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let all = paths.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    all.filter(|path| path.is_file()).collect()
}

#[test]
fn a_beginning_survives_a_server_that_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let text = long_text();
    let first = ask(&Server::start_at(home, &[]), "", &text);
    assert_eq!(cached(&first), 0);
    // The server is dead. What it had written by then is whole; more is asked for if that was little.
    let pages = first["usage"]["prompt_tokens"].as_u64().unwrap() / 64;
    assert!(pages > 4);
    until_kept(home, pages, |server| {
        assert_eq!(said(&ask(server, "", &text)), said(&first));
    });
    let warm = ask(&Server::start_at(home, &[]), "", &text);
    assert_eq!(said(&warm), said(&first));
    assert!(cached(&warm) >= 64 * (pages - 1), "{warm}");
    for file in files(home) {
        let bytes = fs::read(&file).unwrap();
        assert!(
            !bytes.windows(12).any(|w| w == &MARK.as_bytes()[..12]),
            "{file:?}"
        );
        #[cfg(unix)]
        if file.starts_with(home.join("k/ingle/prefix")) {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }
    // Torn files are as good as none.
    for file in files(&home.join("k/ingle/prefix")) {
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    }
    let torn = ask(&Server::start_at(home, &[]), "", &text);
    assert_eq!((said(&torn), cached(&torn)), (said(&first), 0));
}

#[test]
fn what_is_not_to_be_kept_is_not_and_what_is_cleared_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let text = long_text();
    let short = "A short one, of no more than a page or two. ".repeat(6);
    until_kept(home, 1, |server| {
        ask(server, "Cache-Control: no-store\r\n", &text);
        // Whatever is kept of this one comes behind the other.
        ask(server, "", &short);
    });
    let mut seen = Vec::new();
    until_kept(home, 5, |server| {
        seen.push(cached(&ask(server, "", &text)));
    });
    assert_eq!(seen[0], 0);
    let kept = cache(home, &[]);
    assert!(kept["bytes"].as_u64().unwrap() > 5000 && kept["oldest"].is_u64());
    let removed = cache(home, &["clear"]);
    assert!(removed["files"].as_u64().unwrap() >= 5);
    assert_eq!(cache(home, &[])["files"], 0);
    assert_eq!(files(&home.join("k/ingle/prefix")), Vec::<PathBuf>::new());
    let server = Server::start_at(home, &["--prefix-store", "0"]);
    assert_eq!(cached(&ask(&server, "", &text)), 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cache(home, &[])["files"], 0);
}

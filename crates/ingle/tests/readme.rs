//! The README's commands, run as they stand there.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "support/hub.rs"]
mod hub;
mod support;

use hub::{Files, Server, answer};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{ingle, repository};
use tempfile::TempDir;

/// What the short name of the README's `pull` stands for.
const REPO: &str = "Qwen/Qwen3-4B-GGUF";
const FILE: &str = "Qwen3-4B-Q4_K_M.gguf";

fn readme() -> String {
    std::fs::read_to_string(repository("README.md")).unwrap()
}

/// The blocks between fences, each with what stands behind its first fence.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(kind), None) => open = Some((kind.to_owned(), String::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((kind, body))) => open = Some((kind, format!("{body}{line}\n"))),
            (None, None) => {}
        }
    }
    blocks
}

/// Lines that a person would type, without the remark behind them.
fn commands(text: &str) -> Vec<String> {
    let lines = blocks(text)
        .into_iter()
        .filter(|(kind, _)| kind.is_empty())
        .flat_map(|(_, body)| body.lines().map(str::to_owned).collect::<Vec<_>>());
    let typed = lines.filter_map(|line| {
        let line = line.strip_prefix("$ ").unwrap_or(&line).to_owned();
        let line = line.split("   ").next().unwrap().to_owned();
        (line.starts_with("ingle ") || line.starts_with("git ") || line.starts_with("cargo run "))
            .then_some(line)
    });
    typed.collect()
}

/// A folder as a reader would have: a model, a chat, a change in a git repository, the program.
fn desk() -> TempDir {
    let desk = tempfile::tempdir().unwrap();
    let path = |name: &str| desk.path().join(name);
    let mini = repository("models/ingle-mini/ingle-mini.gguf");
    // As converters write a model: `quantize` does not quantise twice unasked.
    let written = ingle()
        .args(["quantize", "--allow-requantize", &mini])
        .arg(path("MODEL.gguf"))
        .arg("f16")
        .output();
    assert!(written.unwrap().status.success());
    std::fs::write(
        path("chat.json"),
        r#"[{"role": "user", "content": "Hello"}]"#,
    )
    .unwrap();
    std::fs::write(path("notes.txt"), "one\n").unwrap();
    std::fs::create_dir(path("bin")).unwrap();
    let program = env!("CARGO_BIN_EXE_ingle");
    std::os::unix::fs::symlink(program, path("bin/ingle")).unwrap();
    // A chat without a terminal reads what is piped.
    std::fs::write(path("typed.txt"), "Hello\n").unwrap();
    for args in [&["init", "-q"][..], &["add", "notes.txt"]] {
        let git = Command::new("git")
            .args(args)
            .current_dir(desk.path())
            .status();
        assert!(git.unwrap().success());
    }
    std::fs::write(path("notes.txt"), "one\ntwo\n").unwrap();
    desk
}

/// A shell at the desk that finds the program, and no models or network but the test's own.
fn shell(desk: &Path, hub: &str, line: &str) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    for (name, value) in ingle().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .args(["-c", line])
        .current_dir(desk)
        .env("PATH", format!("{}:{path}", desk.join("bin").display()))
        .env("HOME", desk)
        // `run` would ask the server of another test.
        .env("XDG_STATE_HOME", desk.join("state"))
        .env("HF_ENDPOINT", hub)
        .env_remove("HTTPS_PROXY")
        .env_remove("ALL_PROXY")
        .stdin(Stdio::null());
    command
}

/// `cargo run --release -- ARGS` is `ingle ARGS`, built another way.
fn without_cargo(line: &str) -> String {
    line.replacen("cargo run --release -- ", "ingle ", 1)
}

#[test]
fn every_command_of_the_readme_runs() {
    let desk = desk();
    let model = std::fs::read(repository("models/ingle-mini/ingle-mini.gguf")).unwrap();
    let files: Files = vec![(FILE, model)];
    let hub = Server::start(move |seen| answer(REPO, &files, seen));
    let mut ran = 0;
    // `pull` first: what it brings is then listed.
    let (pulls, rest): (Vec<_>, Vec<_>) = commands(&readme())
        .into_iter()
        .partition(|line| line.starts_with("ingle pull"));
    for line in pulls.into_iter().chain(rest) {
        // The example is run by the tests of CI's examples; a server does not end by itself.
        if line.contains("--example") || line.ends_with(" serve") {
            continue;
        }
        let mut typed = without_cargo(&line);
        if typed == "ingle run MODEL.gguf" {
            typed += " < typed.txt";
        }
        let done = shell(desk.path(), &hub.url, &typed).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{line}\n{said}");
        ran += 1;
    }
    assert!(ran > 15, "only {ran} commands were found");
}

#[test]
fn the_answers_that_the_readme_shows_are_the_answers() {
    let readme = readme();
    let desk = desk();
    let mut shown = 0;
    for line in readme.lines() {
        let Some(typed) = line
            .strip_prefix("$ ")
            .filter(|typed| typed.starts_with("ingle run "))
        else {
            continue;
        };
        let after = readme.split_once(line).unwrap().1;
        let after = after.split_once("\n$ ").unwrap().0;
        let done = shell(desk.path(), "http://127.0.0.1:1", typed)
            .output()
            .unwrap();
        let out = String::from_utf8(done.stdout).unwrap();
        let out = out.trim_end();
        assert!(
            out.len() > 10 && after.contains(out),
            "{typed} answers\n{out}"
        );
        shown += 1;
    }
    assert_eq!(shown, 2);
}

/// A server at the port of the README that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_of_the_readme_get_answers() {
    let address = "127.0.0.1:11435".parse().unwrap();
    let connects = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
    if connects() {
        println!("skipped: something else listens at {address}");
        return;
    }
    let mut command = ingle();
    command
        .arg("serve")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let mut server = Serving(command.spawn().unwrap());
    while !connects() {
        assert!(server.0.try_wait().unwrap().is_none(), "the server ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    let blocks = blocks(&readme());
    let curls = blocks.iter().filter(|(_, body)| body.starts_with("curl "));
    let curls: Vec<&String> = curls.map(|(_, body)| body).collect();
    assert_eq!(curls.len(), 2);
    for curl in curls {
        let done = Command::new("sh").args(["-c", curl]).output().unwrap();
        if String::from_utf8_lossy(&done.stderr).contains("not found") {
            println!("skipped: there is no curl here");
            break;
        }
        let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        let message = &answer["choices"][0]["message"];
        if curl.contains("\"tools\"") {
            // As the text above it says.
            let call = &message["tool_calls"][0]["function"];
            assert_eq!(call["name"], "calculator", "{answer}");
            let arguments: serde_json::Value =
                serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
            let meant = serde_json::json!({ "expression": "31 * 47" });
            assert_eq!(arguments, meant, "{answer}");
        } else {
            assert!(message["content"].is_string(), "{answer}");
        }
    }
    let python =
        std::env::var("INGLE_PYTHON").unwrap_or_else(|_| repository("target/ci-python/bin/python"));
    let has_it = Command::new(&python).args(["-c", "import openai"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!("skipped: no Python with the package openai (.ci/run makes one)");
        return;
    }
    let script = &blocks.iter().find(|(kind, _)| kind == "python").unwrap().1;
    let done = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.stdout.len() > 20);
}

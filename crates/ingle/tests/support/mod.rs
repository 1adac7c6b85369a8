//! Running the binary, and where the shared data are.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part, and a test may fail"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run of the program left.
#[derive(Debug, PartialEq)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The program, with an environment that changes nothing.
pub fn ingle() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingle"));
    command.env_remove("INGLE_ISA").env_remove("INGLE_THREADS");
    // No models, no tokens and no home but those that a test makes.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HF_") || name.starts_with("HUGGING") || name.starts_with("XDG_") {
            command.env_remove(&*name);
        }
    }
    command
        .env("HOME", "/no/such/home")
        // What is remembered of disks has a place, lest a test that may make folders anywhere makes a home.
        .env(
            "XDG_STATE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/state"),
        )
        // One test's beginnings of texts are not another's.
        .env("INGLE_PREFIX_STORE", "0")
        .env("OLLAMA_MODELS", "/no/such/ollama");
    command
}

/// Runs the program with nothing on standard input.
pub fn run(args: &[&str]) -> Done {
    run_with(args, b"")
}

/// Runs the program with `input` on standard input.
pub fn run_with(args: &[&str], input: &[u8]) -> Done {
    let mut command = ingle();
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that reads nothing may have gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file of the shared data; `None`, and a line that says so, where it is absent.
pub fn shared(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("INGLE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let path = folder.join("data").join(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {file} is not in the folder of shared data");
    None
}

/// A file in the repository.
pub fn repository(file: &str) -> String {
    format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))
}

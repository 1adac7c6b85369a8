//! A model larger than its budget: the same tokens as wholly in memory, and a peak within the budget.
//!
//! The model is made here: a mixture of 8 layers of 64 experts, about 170 MB of random blocks. It runs with
//! `--memory 128MiB` in a control group of that and 64 MiB more, where one can be made; elsewhere the most memory
//! that the process itself held is looked at.
#![allow(clippy::unwrap_used, reason = "a test")]

mod group;
mod model;
#[path = "../support/mod.rs"]
mod support;

use group::Group;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const BUDGET: u64 = 128 * MIB;
/// What a group has beyond the budget.
const SPARE: u64 = 64 * MIB;
/// Long enough for batches of several rows, and experts that come and go.
const PROMPT: &str =
    "Once upon a time there was a fox who lived in a small house at the edge of the wood. ";

/// One run of the program.
struct Run {
    answer: serde_json::Value,
    notes: String,
    /// The most memory that the process held, in bytes.
    peak: u64,
}

fn ingle(model: &Path, args: &[&str], group: Option<&Group>) -> Run {
    let mut command = support::ingle();
    if let Some(group) = group {
        command = group.wrap(&command);
    }
    command.arg("run").arg(model).arg(PROMPT.repeat(4));
    command.args([
        "--raw",
        "--json",
        "--logprobs",
        "0",
        "-n",
        "40",
        "--temp",
        "1",
        "--top-k",
        "0",
        "--seed",
        "7",
    ]);
    command.args(args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let peak = watch(&mut child);
    let output = child.wait_with_output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{:?}\n{notes}", output.status);
    Run {
        answer: serde_json::from_slice(&output.stdout).unwrap(),
        notes,
        peak,
    }
}

/// Waits for the end; the peak that the process had shortly before.
fn watch(child: &mut Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// The tokens of an answer, with their log-probabilities to the last bit.
fn tokens(run: &Run) -> (&serde_json::Value, &serde_json::Value) {
    let logprobs = &run.answer["logprobs"];
    assert!(!logprobs.is_null(), "{}", run.answer);
    (&run.answer["text"], logprobs)
}

#[test]
fn a_model_larger_than_its_budget_gives_the_same_tokens_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moe.gguf");
    let bytes = model::write(&path);
    assert!(bytes > BUDGET + 8 * MIB, "{bytes} would fit");
    let whole = ingle(&path, &["--memory", "2GiB"], None);

    let group = Group::new(BUDGET + SPARE);
    if let Err(why) = &group {
        println!("skipped: the control group ({why}); the process' own peak is looked at");
    }
    let group = group.ok();
    for memory in ["128MiB", "100MiB"] {
        let streamed = ingle(&path, &["--memory", memory], group.as_ref());
        assert!(
            streamed.notes.contains("of 512 experts"),
            "{}",
            streamed.notes
        );
        assert_eq!(tokens(&streamed), tokens(&whole), "{memory}");
        let stream = &streamed.answer["stream"];
        assert!(stream["hit_rate"].as_f64() > Some(0.0), "{stream}");
        assert!(
            stream["disk_bytes_per_token"].as_f64() > Some(0.0),
            "{stream}"
        );
        assert!(whole.answer["stream"].is_null());
        // The pages of the program itself are the system's: it may share or drop them.
        let own = streamed.peak.saturating_sub(program_bytes());
        assert!(
            own <= BUDGET,
            "{own} bytes with {memory}\n{}",
            streamed.notes
        );
    }
    if let Some(group) = &group {
        let peak = group.peak();
        assert_eq!(group.kills(), Some(0));
        assert!(peak.is_none_or(|peak| peak <= BUDGET), "{peak:?}");
        println!("peak of the control group: {peak:?} bytes");
    }
}

/// Bytes of the program that may be mapped.
fn program_bytes() -> u64 {
    std::fs::metadata(env!("CARGO_BIN_EXE_ingle")).map_or(0, |file| file.len().min(64 * MIB))
}

#[test]
fn a_budget_that_is_too_small_is_refused_with_the_smallest_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moe.gguf");
    model::write(&path);
    let path = path.to_str().unwrap();
    let refused = support::run(&["plan", path, "--memory", "16MiB", "--json"]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    let answer: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    let smallest = answer["smallest_bytes"].as_u64().unwrap();
    assert!(smallest > 32 * MIB && smallest < BUDGET, "{smallest}");
    let memory = smallest.to_string();
    let done = support::run(&["plan", path, "--memory", &memory, "--json"]);
    assert_eq!(done.code, 0, "{}", done.err);
}

//! What every command has in common: exit codes, a reader that goes, help.

mod support;

use std::process::Stdio;
use support::{ingle, repository, run};

#[test]
fn exit_codes() {
    assert_eq!(run(&["--version"]).code, 0);
    assert_eq!(run(&["show", "/no/such/model.gguf"]).code, 1);
    assert_eq!(run(&["show"]).code, 2);
    assert_eq!(run(&["show", "hf.co/somebody/something"]).code, 1);
    assert_eq!(run(&["show", "hf.co/../something"]).code, 2);
    assert_eq!(run(&["dance"]).code, 2);
    assert_eq!(run(&["doctor", "--threads", "0"]).code, 2);
}

#[test]
fn an_error_leaves_stdout_empty() {
    let done = run(&["show", "/no/such/model.gguf", "--json"]);
    assert_eq!(done.out, "");
    insta::assert_snapshot!(done.err);
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let model = repository("models/ingle-mini/ingle-mini.gguf");
    let mut child = ingle()
        .args(["show", "--tensors", &model])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_environment_chooses_threads_and_kernels() {
    let json = |name: &str, value: &str| {
        let output = ingle()
            .args(["doctor", "--json"])
            .env(name, value)
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    assert_eq!(json("INGLE_THREADS", "3")["threads"], 3);
    assert_eq!(json("INGLE_ISA", "scalar")["kernels"]["isa"], "scalar");
    assert!(json("INGLE_ISA", "mmx").is_null());
}

#[test]
fn doctor_and_list_answer_in_json() {
    let model = repository("models");
    for args in [&["doctor", "--json"][..], &["list", "--json", &model]] {
        let done = run(args);
        assert_eq!(done.code, 0);
        serde_json::from_str::<serde_json::Value>(&done.out).unwrap();
    }
}

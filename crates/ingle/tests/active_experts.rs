//! Another number of experts than the model was trained with: only where it is asked for, and said in every answer.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

mod support;

use serde_json::Value as Json;
use std::path::Path;
use support::run;

/// A small mixture of five experts, two of them for a token.
fn mixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/goldens/mixtral.gguf");
    path.to_str().unwrap().to_owned()
}

fn experts(arguments: &[&str]) -> Json {
    let model = mixture();
    let args = [
        &[
            "run", &model, "--raw", "--json", "-n", "2", "--temp", "0", "a",
        ],
        arguments,
    ]
    .concat();
    let done = run(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    let json: Json = serde_json::from_str(&done.out).unwrap();
    json["model"]["active_experts"].clone()
}

#[test]
fn the_answer_says_so_only_where_it_was_asked_for() {
    assert_eq!(experts(&[]), Json::Null);
    assert_eq!(experts(&["--active-experts", "1"]), 1);
}

#[test]
fn more_than_there_are_or_in_a_dense_model_is_refused() {
    let done = run(&["run", &mixture(), "--active-experts", "99", "a"]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("experts in a layer"), "{}", done.err);
    let done = run(&["run", "--active-experts", "1", "a"]);
    // The built-in model is dense.
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("no mixture of experts"), "{}", done.err);
}

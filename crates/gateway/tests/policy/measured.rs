//! A smaller version of the figures, as floors.

use super::figures::{Marked, checkable, count, is_held_out, read};
use super::*;

#[test]
fn personal_data_with_a_format() {
    let shared = std::env::var("INGLE_SHARED").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let Ok(json) = std::fs::read_to_string(format!("{shared}/evals/pii.json")) else {
        println!("skipped: {shared}/evals/pii.json is not there");
        return;
    };
    let rows = read(&json).unwrap();
    let held: Vec<&Marked> = rows
        .iter()
        .filter(|row| is_held_out(&row.template))
        .collect();
    let sum = checkable(&count(&SCANNER, &held, &mut |_, _, _| {}));
    assert!(sum.marked > 50);
    assert!(sum.recall() >= 0.95 && sum.precision() >= 0.9, "{sum:?}");
}

#[test]
fn secrets_and_near_misses() {
    let mut wrong = Vec::new();
    let counts = corpus::count(&SCANNER, &corpus::make(11, 12), &mut |kind, how, what| {
        wrong.push(format!("{kind} {how}: {what}"));
    });
    let all = counts.get("**all**").unwrap();
    assert!(
        all.recall() >= 0.97 && all.precision() >= 0.97,
        "{all:?} {wrong:#?}"
    );
}

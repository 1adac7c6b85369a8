//! `ingle plan`: what fits is described, what does not is refused with what would do.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

mod support;

use support::run;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_model_that_fits_is_described() {
    let done = run(&["plan", "--json", "--memory", "256MiB"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let plan = json(&done.out);
    assert_eq!(plan["fits"], "in memory");
    assert_eq!(plan["hit_rate"], 1.0);
    assert_eq!(plan["disk_bytes_per_token"], 0.0);
    assert!(plan["tokens_per_second"].as_f64().unwrap() > 1.0);
    assert!(plan["total_bytes"].as_u64() < plan["allowed_bytes"].as_u64());

    let text = run(&["plan", "--memory", "256MiB"]);
    assert_eq!(text.code, 0);
    assert!(
        text.out.contains("All weights fit in memory"),
        "{}",
        text.out
    );
    assert!(text.out.contains("tokens a second"), "{}", text.out);
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_what_would_do() {
    let done = run(&["plan", "--json", "--memory", "1MiB"]);
    assert_eq!(done.code, 1);
    let plan = json(&done.out);
    assert!(plan["fits"].is_null());
    let smallest = plan["smallest_bytes"].as_u64().unwrap();
    assert!(smallest > 1 << 20);
    assert!(done.err.contains("does not fit"), "{}", done.err);

    let enough = run(&["plan", "--json", "--memory", &smallest.to_string()]);
    assert_eq!(enough.code, 0, "{}", enough.err);
}

//! The ledger as a person meets it: `ingle cost`, `audit`, `why` and `ledger`.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use ingle_egress::{Event, Log as _, Purpose, Row as Passage};
use ingle_gateway::confidence::outcomes::Given;
use ingle_gateway::confidence::{Confidence, Outcomes};
use ingle_gateway::ledger::{
    Currency, Decision, Ledger, Money, Options, Outcome, Priced, Route, Row, Step, Tokens, Wanted,
};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use support::{Done, ingle};

/// Noon of 2026-10-01, UTC.
const NOON: u64 = 1_790_856_000_000;

fn in_home(home: &Path, args: &[&str]) -> Done {
    let mut command = ingle();
    let output = command
        .args(args)
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CONFIG_HOME", home.join("config"))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(&home.display().to_string(), "HOME")
    };
    Done {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn usd(text: &str) -> Money {
    Money::parse(text, Currency::USD).unwrap()
}

fn row(request: &str, user: Option<&str>, route: Route) -> Row {
    let priced = Priced {
        provider: "cloud".into(),
        model: "big".into(),
        cost: usd("0.002"),
        dated: "2026-09-01".into(),
    };
    let local = route == Route::Local;
    Row {
        user: user.map(str::to_owned),
        asked_model: "auto".into(),
        model: if local { "small" } else { "big" }.into(),
        route,
        reason: if local {
            "the policy is local-only"
        } else {
            "it was not sure enough here"
        }
        .into(),
        outcome: Outcome::Completed,
        tokens: Tokens {
            input: 100,
            cached: 40,
            output: 20,
            ..Tokens::default()
        },
        provider_tokens: (!local).then(|| Tokens {
            input: 104,
            output: 20,
            ..Tokens::default()
        }),
        first_ms: Some(12),
        total_ms: 340,
        cost: (!local).then(|| priced.clone()),
        instead: local.then_some(priced),
        decision: Decision {
            wanted: "auto, by the setting".into(),
            steps: vec![Step {
                about: "policy".into(),
                verdict: "may leave".into(),
                why: "a rule allows it".into(),
                facts: [("rule".to_owned(), "ingle.toml:3".to_owned())].into(),
            }],
        },
        prompt: Some("a marked prompt".into()),
        ..Row::new(request, NOON)
    }
}

/// A home with a day's ledger in it.
fn day() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("state/ingle");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("ledger.sqlite");
    let ledger = Ledger::open(&path, Options::default(), Arc::new(|| NOON)).unwrap();
    for (name, user) in [("req-1", None), ("req-2", Some("anna"))] {
        ledger.append(row(name, user, Route::Local)).wait().unwrap();
    }
    let wanted = Wanted {
        request: "req-3".into(),
        user: Some("anna".into()),
        provider: "cloud".into(),
        model: "big".into(),
        most: usd("0.01"),
    };
    let held = ledger.reserve(wanted).wait().unwrap();
    let door = ledger.door().unwrap();
    for event in [
        Event::Asked {
            purpose: Purpose::Provider,
            method: "POST",
            origin: "https://cloud.example:443".into(),
            path: "/v1/chat/completions".into(),
            token: true,
            request: Some("req-3".into()),
            rule: Some("policy.rule[1]".into()),
            body: 812,
        },
        Event::Dial {
            address: "203.0.113.9:443".parse().unwrap(),
            proxy: None,
        },
        Event::End {
            status: Some(200),
            up: 2044,
            down: 5120,
            outcome: "done".into(),
        },
    ] {
        door.record(&Passage { id: 1, event }).unwrap();
    }
    held.settle(usd("0.002")).wait().unwrap();
    ledger
        .append(row("req-3", Some("anna"), Route::Cloud))
        .wait()
        .unwrap();
    home
}

fn json(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

#[test]
fn a_day_is_told_in_words() {
    let home = day();
    let text = |args: &[&str]| {
        let done = in_home(home.path(), args);
        assert_eq!(done.code, 0, "{}", done.err);
        done.out
    };
    insta::assert_snapshot!("cost", text(&["cost"]));
    insta::assert_snapshot!(
        "cost_by_user",
        text(&["cost", "--by", "user", "--csv"]).replace('\r', "")
    );
    insta::assert_snapshot!("audit", text(&["audit"]));
    insta::assert_snapshot!("why", text(&["why", "req-3"]));
    insta::assert_snapshot!("ledger", text(&["ledger"]));
    assert!(!text(&["why", "req-3", "--texts"]).contains("marked prompt"));
}

#[test]
fn a_day_is_told_to_machines() {
    let home = day();
    let cost = json(&in_home(home.path(), &["cost", "--by", "model", "--json"]));
    assert_eq!(cost["total"]["spent"][0]["amount"], "0.002");
    assert_eq!(cost["total"]["saved"][0]["amount"], "0.004");
    assert_eq!(cost["lines"][1]["name"], "small");
    assert_eq!(cost["total"]["home_tokens"], 240);
    let none = json(&in_home(
        home.path(),
        &["cost", "--since", "2026-10-02", "--json"],
    ));
    assert_eq!(none["total"]["requests"], 0);
    let day = json(&in_home(
        home.path(),
        &["cost", "--until", "2026-10-01", "--json"],
    ));
    assert_eq!(day["total"]["requests"], 3);
    let audit = json(&in_home(
        home.path(),
        &["audit", "--json", "--request", "req-3"],
    ));
    let one = &audit["uses"][0];
    assert_eq!(
        (&one["up"], &one["rule"]),
        (&2044.into(), &"policy.rule[1]".into())
    );
    assert_eq!(
        (&one["user"], &one["addresses"][0]),
        (&"anna".into(), &"203.0.113.9:443".into())
    );
    let why = json(&in_home(home.path(), &["why", "req-3", "--json"]));
    let one = &why["requests"][0];
    assert_eq!(one["row"]["decision"]["steps"][0]["about"], "policy");
    assert_eq!(one["reserved"][0]["charged"]["amount"], "0.002");
    let csv = in_home(home.path(), &["audit", "--csv"]).out;
    assert_eq!(csv.lines().count(), 2, "{csv}");
}

/// What is kept of how sure an answer was.
fn given<'a>(id: &'a str, user: Option<&'a str>) -> Given<'a> {
    Given {
        id,
        user,
        at: 5,
        model: "mini",
        task: "general",
        confidence: Confidence::uncalibrated(0.5),
        rows: Vec::new(),
        key: 1,
    }
}

#[test]
fn a_person_is_erased_and_the_money_stays() {
    let home = day();
    let mut outcomes = Outcomes::open(&home.path().join("state/ingle/outcomes.db")).unwrap();
    for (id, user) in [
        ("req-1", None),
        ("req-2", Some("anna")),
        ("req-3", Some("anna")),
    ] {
        outcomes.answered(&given(id, user)).unwrap();
        outcomes.feedback(id, true, 7).unwrap();
    }
    drop(outcomes);
    let erased = json(&in_home(
        home.path(),
        &["ledger", "erase", "anna", "--why", "letter 12", "--json"],
    ));
    assert_eq!(erased["outcomes"], 2);
    assert_eq!(
        (&erased["answers"], &erased["reservations"]),
        (&2.into(), &1.into())
    );
    for entry in std::fs::read_dir(home.path().join("state/ingle")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"anna"));
    }
    let cost = json(&in_home(home.path(), &["cost", "--json"]));
    assert_eq!(cost["total"]["spent"][0]["amount"], "0.002");
    assert_eq!(cost["total"]["requests"], 1);
    assert_eq!(in_home(home.path(), &["why", "req-3"]).code, 1);
    let shown = json(&in_home(home.path(), &["ledger", "--json"]));
    assert_eq!(shown["kept"]["erasures"][0]["why"], "letter 12");
    let old = json(&in_home(
        home.path(),
        &["ledger", "retain", "--days", "0", "--json"],
    ));
    assert_eq!(old["answers"], 1);
    assert_eq!(in_home(home.path(), &["ledger", "check"]).code, 0);
}

#[test]
fn what_is_wrong_is_said() {
    let home = tempfile::tempdir().unwrap();
    for command in [
        vec!["cost"],
        vec!["audit"],
        vec!["why", "req-1"],
        vec!["ledger"],
        vec!["ledger", "erase", "anna"],
        vec!["ledger", "retain", "--days", "3"],
    ] {
        let done = in_home(home.path(), &command);
        assert_eq!(done.code, 1, "{command:?}");
        assert!(
            done.err.contains("there is no ledger at HOME/state/ingle"),
            "{}",
            done.err
        );
    }
    assert!(!home.path().join("state/ingle/ledger.sqlite").exists());
    let home = day();
    assert_eq!(
        in_home(home.path(), &["cost", "--since", "2026-13-01"]).code,
        2
    );
    assert_eq!(in_home(home.path(), &["ledger", "erase"]).code, 2);
    assert_eq!(
        in_home(home.path(), &["why", "nothing-of-this-name"]).code,
        1
    );
    let path = home.path().join("state/ingle/ledger.sqlite");
    std::fs::write(&path, "no database at all, but a text of mine\n".repeat(30)).unwrap();
    let done = in_home(home.path(), &["cost"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("it was left as it is"), "{}", done.err);
}

//! `ingle calibrate` with the model that is built in: a smaller version of the tables in bench/README.md.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::{Done, ingle, shared};

/// Runs it with a state folder of its own.
fn calibrate(state: &Path, args: &[&str]) -> Done {
    let output = ingle()
        .env("XDG_STATE_HOME", state)
        .arg("calibrate")
        .args(args)
        .output()
        .unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Requests of clinc150 that the model never saw, with lists of eight names; one of five without the right
/// one.
fn intents(count: usize) -> Option<String> {
    let file = shared("evals/clinc150.json")?;
    let data: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let rows: Vec<(&str, &str)> = data["val"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_str().unwrap(), row[1].as_str().unwrap()))
        .collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row.1).collect();
    names.sort_unstable();
    names.dedup();
    let mut out = String::new();
    for i in 0..count {
        let (text, intent) = rows[i * 37 % rows.len()];
        let at = names.iter().position(|name| *name == intent).unwrap();
        let other = |k: usize| names[(at + 1 + (k * 17 + i) % (names.len() - 1)) % names.len()];
        let mut given: Vec<&str> = (0..8).map(other).collect();
        let fits = i % 5 > 0;
        if fits {
            given[i % 8] = intent;
        }
        let right = if fits { intent } else { "none" };
        let list = given.join(", ");
        given.push("none");
        let line = json!({
            "prompt": format!(
                "Name the intent of the request. Intents: {list}. If none fits, say none. Answer with JSON.\n\nRequest: {text}"
            ),
            "text": text,
            "answers": [json!({ "intent": right }).to_string()],
            "schema": {
                "type": "object", "properties": { "intent": { "enum": given } },
                "required": ["intent"], "additionalProperties": false,
            },
            "max_tokens": 40,
            "group": if fits { "given" } else { "not given" },
        });
        out += &format!("{line}\n");
    }
    Some(out)
}

#[test]
fn what_is_learned_is_worth_something_on_what_was_not_seen() {
    let Some(questions) = intents(450) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("intents.jsonl");
    std::fs::write(&file, questions).unwrap();
    let data = ["--data", file.to_str().unwrap(), "--task", "intents"];
    let report = calibrate(
        folder.path(),
        &[&data[..], &["--report", "--json"]].concat(),
    );
    assert_eq!(report.code, 0, "{}", report.err);
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let figure = |way: &str, name: &str| report[way][name].as_f64().unwrap();
    assert!(figure("after", "accuracy") > 0.6, "{report}");
    assert!(figure("after", "auroc") > 0.75, "{report}");
    assert!(
        figure("after", "auroc") > figure("raw", "auroc"),
        "{report}"
    );
    assert!(figure("after", "better_than_base_rate") > 0.12, "{report}");
    let (ours, random) = ("captured_at_20_percent", "captured_at_random");
    assert!(figure("after", ours) > figure("raw", ours), "{report}");
    assert!(
        figure("after", ours) > 1.5 * figure("after", random),
        "{report}"
    );
    let groups = report["groups"].as_object().unwrap();
    let counts = groups
        .values()
        .map(|group| group["after"]["n"].as_u64().unwrap());
    assert_eq!((groups.len(), counts.sum::<u64>()), (2, 450), "{report}");
    let within = |name: &str| {
        let range = &report["after"][format!("{name}_interval")];
        let (low, high) = (range[0].as_f64().unwrap(), range[1].as_f64().unwrap());
        low < high && (0.0..=1.0).contains(&low)
    };
    assert!(
        within("auroc") && within("captured") && within("ece"),
        "{report}"
    );
    let chance = figure("after", "ece_by_chance");
    assert!(figure("after", "ece") < 2.0 * chance, "{report}");
}

#[test]
fn a_calibration_is_stored_and_listed() {
    let Some(questions) = intents(120) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("intents.jsonl");
    std::fs::write(&file, questions).unwrap();
    let empty = calibrate(folder.path(), &[]);
    assert_eq!((empty.code, empty.out.as_str()), (0, ""));
    let data = ["--data", file.to_str().unwrap(), "--task", "intents"];
    let done = calibrate(folder.path(), &data);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.out.contains("task intents: 120 outcomes") && done.out.contains('#'),
        "{}",
        done.out
    );
    assert!(done.out.contains("Aim: none is stated"), "{}", done.out);
    let list = calibrate(folder.path(), &["--json"]);
    let list: Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(
        (
            &list[0]["task"],
            list[0]["stages"].as_array().unwrap().len()
        ),
        (&json!("intents"), 3)
    );
    assert_eq!(list[0]["stages"][2]["sample_size"], 120);
    let priced = ["--price", "0.01", "--requests-per-day", "200", "--json"];
    let aimed = |aim: &[&str]| {
        let done = calibrate(folder.path(), &[aim, &priced].concat());
        let list: Value = serde_json::from_str(&done.out).unwrap();
        list[0]["stages"][2]["routing"].clone()
    };
    let number = |value: &Value| value.as_f64().unwrap();
    let routing = aimed(&["--accuracy", "0.9"]);
    let threshold = &routing["threshold"];
    assert!(
        number(&threshold["accuracy"]) >= 0.9 && threshold["met"] == true,
        "{routing}"
    );
    let escalated = number(&threshold["escalated"]);
    assert!(
        (number(&threshold["cost_per_day"]) - 2.0 * escalated).abs() < 1e-9,
        "{routing}"
    );
    assert_eq!(routing["curve"].as_array().unwrap().len(), 11);
    let money = aimed(&["--money-per-day", "0.4"]);
    let escalated = number(&money["threshold"]["escalated"]);
    assert!(escalated > 0.1 && escalated <= 0.2 + 1e-9, "{money}");
    let far = aimed(&["--accuracy", "0.99", "--cloud-accuracy", "0.5"]);
    assert_eq!(far["threshold"]["met"], false, "{far}");
    // As ingle.toml says.
    let file = folder.path().join("ingle.toml");
    std::fs::write(&file, "[route]\naccuracy = 0.9\n").unwrap();
    let file = file.to_str().unwrap();
    let table = calibrate(folder.path(), &["--config", file]);
    assert!(
        table.err.contains("90.0% right in the end") && table.out.contains("THEN RIGHT"),
        "{table:?}"
    );
    let wrong = calibrate(folder.path(), &["--money-per-day", "1"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    // A file that was cut short is told of.
    let kept = folder.path().join("ingle/calibrations");
    let kept = std::fs::read_dir(kept)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, &text[..text.len() / 2]).unwrap();
    let list = calibrate(folder.path(), &["--json"]);
    assert!(
        list.out == "[]\n" && list.err.contains("make it again"),
        "{list:?}"
    );
}

#[test]
fn answers_that_were_given_are_weighed_and_what_is_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl");
    let mut lines = String::new();
    for i in 0..60 {
        let right = i % 3 > 0;
        let answer = if right {
            "Once upon a time there was a fox."
        } else {
            "Zq xv 77 kk."
        };
        lines += &format!(
            "{}\n",
            json!({ "prompt": format!("Tell me story {} of a fox", "ab".repeat(i)), "answer": answer, "right": right })
        );
    }
    std::fs::write(&file, &lines).unwrap();
    let path = file.to_str().unwrap();
    let done = calibrate(folder.path(), &["--data", path, "--json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let json: Value = serde_json::from_str(&done.out).unwrap();
    assert!(
        json["stages"][2]["auroc"].as_f64().unwrap() > 0.95,
        "{json}"
    );
    std::fs::write(&file, lines + "{\"prompt\": 1}\n").unwrap();
    let wrong = calibrate(folder.path(), &["--data", path]);
    assert!(
        wrong.code == 1 && wrong.err.contains("line 61"),
        "{wrong:?}"
    );
    let few = "{\"prompt\": \"hi\", \"answers\": [\"x\"], \"max_tokens\": 2}\n";
    std::fs::write(&file, few).unwrap();
    let wrong = calibrate(folder.path(), &["--data", path]);
    assert!(
        wrong.code == 1 && wrong.err.contains("too few to learn from"),
        "{wrong:?}"
    );
    let wrong = calibrate(folder.path(), &["--data", path, "--task", "../x"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("no name of a task"),
        "{wrong:?}"
    );
    let wrong = calibrate(folder.path(), &["--feedback"]);
    assert!(
        wrong.code == 1 && wrong.err.contains("no outcomes"),
        "{wrong:?}"
    );
}

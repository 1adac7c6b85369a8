//! Calibrated confidence from end to end: what was learned with `ingle calibrate` decides in `ingle serve` who answers.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "support/cloud.rs"]
mod cloud;
#[path = "support/server.rs"]
mod server;
mod support;

use cloud::{ALLOW, Cloud, Does};
use serde_json::{Value, json};
use server::{Server, at_home, home};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// What the built-in model is asked and does well, and what it does badly.
const SURE: &str = "Tell me a story of the fox bamora";
const UNSURE: &str = "Add up the figures of kelise and votira";

/// A word for a number: texts that differ in numbers alone count as one.
fn name(i: usize) -> String {
    const SYLLABLES: [&str; 9] = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo"];
    let places = [i / 81, i / 9, i].map(|n| SYLLABLES[n % 9]);
    places.concat()
}

/// Teaches the judge of this home that stories come out right and sums do not.
fn calibrated(home: &Path) {
    // What the model says itself: answers of another hand would leave a gap in which its own lie.
    let (_, story) = asked(&Server::serve(at_home(home), &[]), SURE, false);
    let file = home.join("data.jsonl");
    let mut lines = String::new();
    for i in 0..120_usize {
        let right = i % 3 > 0;
        let (one, other) = (name(i), name(i + 300));
        let (prompt, answer) = match right {
            true => (format!("Tell me a story of the fox {one}"), story.as_str()),
            false => (
                format!("Add up the figures of {one} and {other}"),
                "Zq xv 77 kk, wum pel 9 or tik 4 brz qua lo.",
            ),
        };
        lines += &format!(
            "{}\n",
            json!({ "prompt": prompt, "answer": answer, "right": right })
        );
    }
    std::fs::write(&file, lines).unwrap();
    let done = at_home(home)
        .args(["calibrate", "--data"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

fn serving(home: &Path, cloud: &Cloud, route: &str) -> Server {
    let file = home.join("ingle.toml");
    let settings = format!(
        "{}{ALLOW}[route]\naccuracy = 0.95\n{route}",
        cloud.settings()
    );
    std::fs::write(&file, settings).unwrap();
    let mut command = at_home(home);
    command.arg("--config").arg(file);
    Server::serve(command, &[])
}

/// A request; one that the model does badly is also sampled badly.
fn body(text: &str, stream: bool) -> Value {
    let heat = if text == UNSURE { 5.0 } else { 0.0 };
    json!({
        "model": "ingle-mini", "messages": [{ "role": "user", "content": text }], "max_tokens": 24,
        "temperature": heat, "seed": 3, "stream": stream,
    })
}

/// What is said of how it was decided, and the text.
fn asked(server: &Server, text: &str, stream: bool) -> (Value, String) {
    let (status, head, answer) = server.post_with("/v1/chat/completions", "", &body(text, stream));
    assert_eq!(status, 200, "{answer}");
    if !stream {
        let header = |name: &str| {
            let line = head
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().to_owned()
        };
        let told = json!({
            "route": header("x-ingle-route"), "reason": header("x-ingle-reason"),
            "fallback": header("x-ingle-fallback") == "true",
            "probability": header("x-ingle-confidence").parse::<f64>().ok(),
        });
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
        return (told, text.to_owned());
    }
    let events = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"));
    let events: Vec<Value> = events
        .map(|e| serde_json::from_str(&format!("{{{e}")).unwrap())
        .collect();
    let words = events
        .iter()
        .filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
    let text: String = words.collect();
    let last = events.iter().rfind(|e| e["ingle"].is_object()).unwrap();
    let mut told = last["ingle"].clone();
    told["probability"] = told["confidence"]["probability"].clone();
    (told, text)
}

#[test]
fn what_is_below_the_threshold_escalates_and_what_is_above_does_not() {
    let home = home();
    calibrated(home.path());
    let cloud = Cloud::new(Does::Says("Twenty-one, says the cloud."));
    for (route, stream) in [
        ("", false),
        ("stream = \"prefix\"\nprefix = 16\n", true),
        ("stream = \"before\"\n", true),
    ] {
        let server = serving(home.path(), &cloud, route);
        cloud.does(Does::Says("Twenty-one, says the cloud."));
        let before = cloud.asked().len();
        let (told, text) = asked(&server, SURE, stream);
        assert_eq!(told["route"], "local", "{route}: {told}");
        assert!(!text.is_empty() && cloud.asked().len() == before);
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains("is right with probability") && reason.contains("is enough"),
            "{told}"
        );
        let (told, text) = asked(&server, UNSURE, stream);
        assert_eq!(told["route"], "cloud", "{route}: {told}");
        assert_eq!(text, "Twenty-one, says the cloud.");
        let reason = told["reason"].as_str().unwrap();
        assert!(reason.contains("is needed"), "{told}");
        assert_eq!(cloud.asked().len(), before + 1);
        // The provider fails: the local answer, marked.
        cloud.does(Does::Refuses(400));
        let (told, text) = asked(&server, UNSURE, stream);
        assert_eq!(
            (&told["route"], &told["fallback"]),
            (&json!("local"), &json!(true)),
            "{told}"
        );
        assert!(!text.is_empty() && !text.contains("cloud"), "{text}");
        assert!(
            told["reason"]
                .as_str()
                .unwrap()
                .starts_with("this is the local answer"),
            "{told}"
        );
    }
    // Nothing is shown of answers that are streamed until it is decided, or they are decided here alone.
    let server = serving(home.path(), &cloud, "stream = \"local-only\"\n");
    let before = cloud.asked().len();
    let (told, _) = asked(&server, UNSURE, true);
    assert_eq!(told["route"], "local", "{told}");
    assert_eq!(cloud.asked().len(), before);
}

#[test]
fn further_answers_are_drawn_where_their_agreement_was_learned() {
    let home = home();
    let file = home.path().join("questions.jsonl");
    let mut lines = String::new();
    for i in 0..90_usize {
        // Two of three are right whatever is answered.
        let right = if i % 3 > 0 {
            vec!["red", "blue"]
        } else {
            vec!["green"]
        };
        let prompt = format!("Is the hat of {} red or blue?", name(i));
        lines += &format!(
            "{}\n",
            json!({ "prompt": prompt, "choices": ["red", "blue"], "answers": right, "max_tokens": 8 })
        );
    }
    std::fs::write(&file, lines).unwrap();
    let mut command = at_home(home.path());
    command.args(["calibrate", "--samples", "2", "--task", "hats", "--data"]);
    let done = command.arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let cloud = Cloud::new(Does::Says("Blue, says the cloud."));
    let server = serving(home.path(), &cloud, "");
    let ask = |id: &str, label: &str, stream: bool| {
        let mut asks = body("Is the hat of bamoke red or blue?", stream);
        asks["n"] = json!(1);
        let headers = format!("x-request-id: {id}\r\nx-ingle-label: {label}\r\n");
        let (status, _, answer) = server.post_with("/v1/chat/completions", &headers, &asks);
        assert_eq!(status, 200, "{answer}");
    };
    ask("hats-1", "hats", false);
    ask("others-1", "others", false);
    ask("hats-2", "hats", true);
    let row = why(home.path(), "hats-1").to_string();
    assert!(row.contains("% of 2 further answers say the same"), "{row}");
    // Where nothing was learned from them none are drawn, and none for the beginning of an answer.
    for id in ["others-1", "hats-2"] {
        let row = why(home.path(), id).to_string();
        assert!(!row.contains("further answers"), "{row}");
    }
}

#[test]
fn what_is_not_calibrated_escalates_nothing() {
    let home = home();
    let cloud = Cloud::new(Does::Says("From far away."));
    let server = serving(home.path(), &cloud, "");
    for stream in [false, true] {
        let (told, _) = asked(&server, UNSURE, stream);
        assert_eq!(told["route"], "local", "{told}");
        assert!(
            told["reason"].as_str().unwrap().contains("not calibrated"),
            "{told}"
        );
    }
    assert!(cloud.asked().is_empty());
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let home = home();
    let cloud = Cloud::new(Does::Says("From far away."));
    let server = serving(home.path(), &cloud, "default = \"cloud\"\n");
    let asks = body(SURE, false);
    for headers in [
        "x-ingle-policy: allow\r\nx-ingle-policy: local-only\r\n",
        "x-ingle-policy: local-only\r\nX-Ingle-Policy: allow\r\n",
        "x-ingle-policy: allow, local-only\r\n",
        "x-ingle-policy: everything\r\n",
        "x-ingle-route: cloud\r\nx-ingle-route: local\r\n",
        "x-ingle-session: a\r\nx-ingle-session: b\r\n",
    ] {
        let (status, _, answer) = server.post_with("/v1/chat/completions", headers, &asks);
        assert_eq!(status, 400, "{headers}: {answer}");
    }
    assert!(cloud.asked().is_empty());
    // What a header wishes for is not what a secret needs.
    let mut asks = body("My key is AKIAZ5QXG7BN2PLRTW4M, is that good?", false);
    asks["route"] = json!("cloud");
    let (status, head, _) = server.post_with(
        "/v1/chat/completions",
        "x-ingle-policy: prefer-cloud\r\n",
        &asks,
    );
    assert_eq!(status, 200);
    assert!(head.contains("x-ingle-route: local"), "{head}");
    assert!(cloud.asked().is_empty());
}

#[test]
fn how_a_preset_samples_keeps_nothing_here() {
    let home = home();
    let cloud = Cloud::new(Does::Says("From far away."));
    let preset = "default = \"cloud\"\n[sampling]\nmin_p = 0.05\n[models.small.parameters]\nmin_p = 0.1\ntemperature = 0.3\ndry_multiplier = 0.5\n";
    let server = serving(home.path(), &cloud, preset);
    let ask = |body: &Value| {
        let (status, head, answer) = server.post_with("/v1/chat/completions", "", body);
        assert_eq!(status, 200, "{answer}");
        head
    };
    let mut asks = json!({ "model": "small", "messages": [{ "role": "user", "content": SURE }], "max_tokens": 4 });
    assert!(ask(&asks).contains("x-ingle-route: cloud"));
    assert!(
        cloud.asked()[0]["temperature"].is_null(),
        "{:?}",
        cloud.asked()
    );
    // What the request itself says is another matter.
    asks["min_p"] = json!(0.2);
    assert!(ask(&asks).contains("x-ingle-route: local"));
    assert_eq!(cloud.asked().len(), 1);
    // So it is in every dialect; and a provider's model has no preset.
    let said = json!([{ "role": "user", "content": SURE }]);
    for (path, body) in [
        (
            "/v1/messages",
            json!({ "model": "small", "messages": said, "max_tokens": 4 }),
        ),
        (
            "/api/chat",
            json!({ "model": "small", "messages": said, "stream": false }),
        ),
        (
            "/v1/chat/completions",
            json!({ "model": "cloud/big", "messages": said, "max_tokens": 4 }),
        ),
    ] {
        let (status, head, answer) = server.post_with(path, "", &body);
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(head.contains("x-ingle-route: cloud"), "{path}: {head}");
    }
    let asked = cloud.asked();
    assert_eq!(asked.len(), 4);
    assert!(
        asked.iter().all(|asked| asked["temperature"].is_null()),
        "{asked:?}"
    );
    // What a request says leaves with it, also where it is what is usual here.
    ask(&json!({ "model": "cloud/big", "messages": said, "max_tokens": 4, "temperature": 1.0 }));
    assert_eq!(cloud.asked()[4]["temperature"], 1.0);
}

#[test]
fn the_row_of_an_answer_that_was_dropped_says_how_far_it_came() {
    let home = home();
    let cloud = Cloud::new(Does::Says("From far away."));
    let server = serving(home.path(), &cloud, "");
    let mut asks = body(SURE, true);
    asks["max_tokens"] = json!(400);
    asks["temperature"] = json!(1.5);
    let asks = asks.to_string();
    let mut stream = server.connect();
    let n = asks.len();
    write!(stream, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-Id: gone\r\nContent-Length: {n}\r\n\r\n{asks}").unwrap();
    let mut seen = String::new();
    let mut part = [0; 512];
    while seen.matches("\"content\":\"").count() < 20 {
        let n = stream.read(&mut part).unwrap();
        assert!(n > 0, "{seen}");
        seen += &String::from_utf8_lossy(&part[..n]);
    }
    drop(stream);
    let row = why(home.path(), "gone");
    let text = row.to_string();
    assert!(text.contains("\"cancelled\""), "{row}");
    let tokens = find(&row, "tokens").unwrap();
    assert!(tokens["output"].as_u64().unwrap() >= 15, "{row}");
    assert!(tokens["input"].as_u64().unwrap() >= 5, "{row}");
}

/// The row of a request, when it is there.
fn why(home: &Path, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let mut command = at_home(home);
        command.arg("--config").arg(home.join("ingle.toml"));
        let done = command.args(["why", id, "--json"]).output().unwrap();
        if done.status.success() {
            return serde_json::from_slice(&done.stdout).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no row");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The first member of that name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members
            .get(name)
            .or_else(|| members.values().find_map(|value| find(value, name))),
        Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

//! ingle.toml and keys, as a person meets them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use serde_json::Value;
use std::path::Path;
use support::{Done, ingle, run};

fn in_home(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> Done {
    let mut command = ingle();
    let output = command
        .args(args)
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CONFIG_HOME", home.join("config"))
        .envs(variables.iter().copied())
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

fn home_with(config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("config/ingle");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ingle.toml"), config).unwrap();
    home
}

#[test]
fn every_mistake_is_told_with_its_line_and_the_nearest_name() {
    let home = home_with(
        r#"[server]
prot = 8080
port = 70000
quiet = "yes"
allow_origin = ["https://a.example", 3]
[sever]
[engine]
memory = "6 XB"
kv = "q8"
ctx = true
[sampling]
temperature = 0.5
temp = 0.6
[models.fast]
base = "qwen3:4b"
systen = "Be brief."
keep_alive = "soon"
template = "no/such/file.jinja"
threads = 4
[models.fast.parameters]
top_q = 1
"#,
    );
    let done = in_home(home.path(), &["config", "check"], &[]);
    assert_eq!(done.code, 2);
    insta::assert_snapshot!("mistakes", done.err);
    // No other command goes on with a file that is wrong, but help is given.
    let done = in_home(home.path(), &["doctor"], &[]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert_eq!(in_home(home.path(), &["serve", "--help"], &[]).code, 0);
}

#[test]
fn budgets_and_the_ledger_are_read_or_refused_by_line() {
    let right = home_with(
        "[budget]\ncurrency = \"EUR\"\nday = 1.00\nmonth = \"20\"\nuser_day = 0.000000001\nzone = \"UTC\"\n\
         [budget.users.anna]\nday = 2\n[ledger]\nfile = \"mine.sqlite\"\nkeep_days = 90\nkeep_texts = false\nenergy = true\n",
    );
    let done = in_home(right.path(), &["config", "check"], &[]);
    assert_eq!(done.code, 0, "{}", done.err);
    let shown = in_home(right.path(), &["config", "show"], &[]).out;
    assert!(
        shown.contains("budget.users.anna.day") && shown.contains("ingle.toml:8"),
        "{shown}"
    );
    let doctor = in_home(right.path(), &["doctor"], &[]).out;
    assert!(doctor.contains("HOME/config/ingle/mine.sqlite"), "{doctor}");
    let wrong = home_with(
        r#"[budget]
currency = "dollars"
day = -1
month = 1e3
request = 0.0000000001
user_day = true
zone = "Middle/Earth"
dya = 1
[budget.users.anna]
week = 1
[ledger]
file = ""
keep_days = 0
keep_texts = "yes"
keep_text = true
"#,
    );
    let done = in_home(wrong.path(), &["config", "check"], &[]);
    assert_eq!(done.code, 2);
    insta::assert_snapshot!("mistakes_of_budgets", done.err);
}

#[test]
fn what_is_no_toml_has_a_place_too() {
    let home = home_with("[server]\nport = = 1\n");
    let done = in_home(home.path(), &["config", "check"], &[]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("ingle.toml:2:8:"), "{}", done.err);
}

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let home = home_with("[server]\nport = 1\nhost = \"127.0.0.2\"\n[sampling]\ntop_k = 3\n");
    let shown = in_home(
        home.path(),
        &["config", "show", "--json"],
        &[("INGLE_PORT", "2")],
    );
    assert_eq!(shown.code, 0, "{}", shown.err);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let of = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        let found = settings.iter().find(|s| s["key"] == key).unwrap();
        (
            found["value"].clone(),
            found["from"].as_str().unwrap().to_owned(),
        )
    };
    let file = "HOME/config/ingle/ingle.toml";
    assert_eq!(
        of("server.port"),
        (serde_json::json!(["2"]), "INGLE_PORT".into())
    );
    assert_eq!(
        of("server.host"),
        (serde_json::json!(["127.0.0.2"]), format!("{file}:3"))
    );
    assert_eq!(of("sampling.top_k").1, format!("{file}:5"));
    assert_eq!(
        of("engine.kv"),
        (serde_json::json!(["f16"]), "default".into())
    );
    // What was used says so.
    let parameters = |args: &[&str], variables: &[(&str, &str)]| {
        let line = [&["run", "Hi", "--json", "-n", "1"], args].concat();
        let done = in_home(home.path(), &line, variables);
        let json: Value = serde_json::from_str(&done.out).unwrap();
        json["parameters"]["top_k"].as_u64().unwrap()
    };
    assert_eq!(parameters(&[], &[]), 3);
    assert_eq!(parameters(&[], &[("INGLE_TOP_K", "4")]), 4);
    assert_eq!(parameters(&["--top-k", "5"], &[("INGLE_TOP_K", "4")]), 5);
    let plain = run(&["run", "Hi", "--json", "-n", "1"]);
    let plain: Value = serde_json::from_str(&plain.out).unwrap();
    assert_ne!(plain["parameters"]["top_k"], 3);
}

#[test]
fn a_preset_is_a_model_with_other_settings() {
    let home = home_with(
        "[models.brief]\nsystem = \"Be brief.\"\ncontext = 256\nmax_tokens = 2\nstop = [\"!\"]\n\
         template = \"mine.jinja\"\n[models.brief.parameters]\ntemperature = 0\ntop_k = 7\n",
    );
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    let folder = home.path().join("config/ingle");
    std::fs::write(folder.join("mine.jinja"), template).unwrap();
    let done = in_home(
        home.path(),
        &["run", "brief", "Hello", "--json", "--top-k", "8"],
        &[],
    );
    assert_eq!(done.code, 0, "{}", done.err);
    let json: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(json["usage"]["generated_tokens"], 2);
    assert_eq!(json["model"]["context"], 256);
    let parameters = &json["parameters"];
    assert_eq!(
        (
            &parameters["temperature"],
            &parameters["top_k"],
            &parameters["stop"]
        ),
        (&0.into(), &8.into(), &serde_json::json!(["!"]))
    );
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let home = tempfile::tempdir().unwrap();
    let key = |args: &[&str]| in_home(home.path(), &[&["key"], args].concat(), &[]);
    let made = key(&["add", "ann", "--concurrent", "2", "--model", "qwen3*"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let secret = made.out.trim();
    assert!(
        secret.starts_with("ingle-") && secret.len() == 70,
        "{secret}"
    );
    assert_eq!(key(&["add", "ann"]).code, 1);
    assert_eq!(key(&["add", "a b"]).code, 2);
    let file = std::fs::read_to_string(home.path().join("state/ingle/keys.json")).unwrap();
    assert!(!file.contains(&secret[6..]));
    let listed = key(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["keys"][0]["name"], "ann");
    assert_eq!(listed["keys"][0]["concurrent"], 2);
    assert!(key(&["list"]).out.contains("qwen3*"));
    assert_eq!(key(&["revoke", "bob"]).code, 1);
    assert_eq!(key(&["revoke", "ann"]).code, 0);
    assert!(key(&["list"]).err.contains("There is no key"));
}

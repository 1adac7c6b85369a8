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
        &["run", "brief", "Tell me a story", "--json", "--top-k", "8"],
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

/// A file with providers of every kind.
const PROVIDERS: &str = r#"
[providers.cloud]
dialect = "openai"
base_url = "https://api.cloud.example/v1"
key_env = "CLOUD_KEY"
price_date = 2026-11-01
first_timeout = "90s"
[providers.cloud.models."big-1"]
context = 200000
max_output = 32000
tools = true
images = true
thinking = "effort"
input = 1.25
cached_input = 0.125
output = "10"
[providers.claude]
dialect = "anthropic"
key_file = "claude.key"
price_date = "2026-11-01"
prompt_cache = true
[providers.claude.models.c]
context = 200000
input = 3
output = 15
[providers.gpu1]
dialect = "vllm"
base_url = "http://10.0.0.5:8000/v1"
[providers.gpu1.models."qwen3"]
context = 32768
[providers.gpu2]
dialect = "ingle"
base_url = "http://10.0.0.6:11435"
[providers.gpu2.models."qwen3"]
context = 16384
tools = true
[pools.fleet]
upstreams = ["gpu1/qwen3", "gpu2/qwen3"]
most_load = 150
check_every = "30s"
"#;

#[test]
fn providers_are_read_and_their_keys_not_shown() {
    let home = home_with(PROVIDERS);
    let variables = [("CLOUD_KEY", "sk-secret-1")];
    let key = home.path().join("config/ingle/claude.key");
    std::fs::write(&key, "sk-secret-2\n").unwrap();
    let mut all = String::new();
    for args in [
        &["config", "check"][..],
        &["config", "show"],
        &["config", "show", "--json"],
    ] {
        let done = in_home(home.path(), args, &variables);
        assert_eq!(done.code, 0, "{}", done.err);
        all = all + &done.out + &done.err;
    }
    assert!(!all.contains("secret"), "{all}");
    let shown = in_home(home.path(), &["config", "show"], &variables).out;
    let lines = shown
        .lines()
        .filter(|l| l.contains("cloud") || l.contains("claude") || l.contains("gpu"));
    // How wide a column is depends on where the folder lies.
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    insta::assert_snapshot!("providers_shown", lines.collect::<Vec<_>>().join("\n"));
    // A key that others could read is not used.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let done = in_home(home.path(), &["providers"], &variables);
        assert_eq!(done.code, 1);
        assert!(
            done.err.contains("chmod 600") && !done.err.contains("secret"),
            "{}",
            done.err
        );
        mode(0o600);
    }
    let done = in_home(home.path(), &["providers"], &[]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.err.contains("set CLOUD_KEY to its key"),
        "{}",
        done.err
    );
    insta::assert_snapshot!("providers_listed", done.out);
    // Nothing goes out where nothing may.
    let done = in_home(
        home.path(),
        &["providers", "--check", "--offline"],
        &variables,
    );
    assert_eq!(done.code, 1);
    assert_eq!(
        done.err.matches("--offline was given").count(),
        4,
        "{}",
        done.err
    );
}

#[test]
fn every_mistake_in_a_provider_is_told_with_its_line() {
    let home = home_with(
        r#"[providers.a]
base_url = "https://a.example"
[providers.b]
dialect = "opnai"
[providers.c]
dialect = "vllm"
modles = 1
[providers.d]
dialect = "openai"
key_env = "X"
base_url = "http://10.0.0.1/v1"
models = []
[providers.e]
dialect = "openai"
key_env = "X"
key_file = "Y"
stream = "yes"
timeout = "soon"
price_date = "yesterday"
currency = "dollars"
limit_field = "tokens"
[providers.e.models.m]
context = -1
[providers.f]
dialect = "openai"
[providers.f.models.m]
context = 1000
[providers.f.models.n]
context = 1000
input = 1.0000000001
output = 1e3
[providers.g]
dialect = "openai"
[providers.g.models.m]
context = 1000
input = 1
output = 2
[providers.h]
dialect = "vllm"
base_url = "http://h.example"
[providers.h.models.m]
context = 1000
[providers.i]
dialect = "vllm"
base_url = "http://127.0.0.1:1"
[providers.i.models.m]
contxt = 1000
context = 1000
max_output = 2000
free = true
[pools]
p = 1
[pools.q]
upstream = ["i/m"]
[pools.r]
upstreams = "i/m"
"#,
    );
    let done = in_home(home.path(), &["config", "check"], &[]);
    assert_eq!(done.code, 2);
    insta::assert_snapshot!("provider_mistakes", done.err);
    let right = "[providers.i]\ndialect = \"vllm\"\nbase_url = \"http://127.0.0.1:1\"\n[providers.i.models.m]\ncontext = 9\n";
    let pools = "[pools.q]\nupstreams = [\"i/m\", \"i/n\"]\n[pools.r]\nupstreams = [\"i/m\"]\nmost_load = 9\n";
    let home = home_with(&format!("{right}{pools}"));
    let done = in_home(home.path(), &["config", "check"], &[]);
    assert_eq!(done.code, 2);
    insta::assert_snapshot!("pool_mistakes", done.err);
}

//! Models in the stores of other programs, used where they lie.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests may fail")]

#[path = "support/stores.rs"]
mod stores;
mod support;

use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use stores::{COMMIT, hub_file, ollama_model, sha256, tree};
use support::{Done, ingle, repository};
use tempfile::TempDir;

/// A machine with a Hugging Face cache and a store of Ollama, which both hold the built-in model.
struct Machine {
    folder: TempDir,
    model: Vec<u8>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = std::fs::read(repository("models/ingle-mini/ingle-mini.gguf")).unwrap();
        let machine = Self { folder, model };
        hub_file(
            &machine.hub(),
            "someone/mini-GGUF",
            "mini-Q8_0.gguf",
            &machine.model,
        );
        hub_file(&machine.hub(), "someone/mini-GGUF", "README.md", b"# mini");
        ollama_model(
            &machine.ollama(),
            "registry.ollama.ai/library/mini/latest",
            &[
                ("model", machine.model.as_slice()),
                ("template", b"{{ .Prompt }}"),
                ("system", b"You are terse."),
                ("params", br#"{"stop":["<|never|>"],"temperature":0.25,"top_k":7,"num_ctx":64,"mirostat":1}"#),
                ("license", b"MIT License\n\nCopyright"),
                ("projector", b"clip"),
            ],
        );
        machine
    }

    fn hub(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn ollama(&self) -> PathBuf {
        self.folder.path().join("ollama")
    }

    fn ingle(&self, args: &[&str]) -> Done {
        let mut command = ingle();
        command
            .args(args)
            .env("HF_HUB_CACHE", self.hub())
            .env("OLLAMA_MODELS", self.ollama())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn json(&self, args: &[&str]) -> Value {
        let done = self.ingle(args);
        assert_eq!(done.code, 0, "{}", done.err);
        serde_json::from_str(&done.out).unwrap()
    }

    fn without(&self, text: &str) -> String {
        text.replace(self.folder.path().to_str().unwrap(), "TMP")
    }
}

/// Makes the file look unread for days, so that the system notes when it is read next.
fn forget_reading(path: &Path) -> SystemTime {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let times = std::fs::FileTimes::new().set_accessed(long_ago);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_times(times)
        .unwrap();
    path.metadata().unwrap().accessed().unwrap()
}

/// Whether this file system notes when a file is read.
fn reading_is_noted(folder: &Path) -> bool {
    let path = folder.join("probe");
    std::fs::write(&path, "probe").unwrap();
    let before = forget_reading(&path);
    std::fs::read(&path).unwrap();
    let noted = path.metadata().unwrap().accessed().unwrap() != before;
    std::fs::remove_file(&path).unwrap();
    noted
}

#[test]
fn a_model_of_another_program_runs_without_a_byte_copied() {
    let machine = Machine::new();
    let digest = sha256(&machine.model);
    let hub_blob = machine
        .hub()
        .join("models--someone--mini-GGUF/blobs")
        .join(&digest);
    let ollama_blob = machine.ollama().join(format!("blobs/sha256-{digest}"));
    let link = format!("models--someone--mini-GGUF/snapshots/{COMMIT}/mini-Q8_0.gguf");
    for (name, blob, shown) in [
        (
            "hf.co/someone/mini-GGUF",
            &hub_blob,
            machine.hub().join(link),
        ),
        ("mini", &ollama_blob, ollama_blob.clone()),
    ] {
        let noted = reading_is_noted(machine.folder.path());
        let unread = forget_reading(blob);
        let before = tree(machine.folder.path());
        let done = machine.ingle(&["run", name, "A fox", "-n", "4", "--seed", "1"]);
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(!done.out.trim().is_empty());
        assert!(
            done.err.contains(&shown.display().to_string()),
            "{}",
            done.err
        );
        assert_eq!(tree(machine.folder.path()), before);
        let read = blob.metadata().unwrap().accessed().unwrap() != unread;
        assert!(read || !noted, "{name}: the file in place was not read");
    }
}

#[test]
fn what_ollama_keeps_beside_the_weights_is_used() {
    let machine = Machine::new();
    let answer = |more: &[&str]| {
        machine.json(&[&["run", "mini", "A fox", "-n", "2", "--json"], more].concat())
    };
    let json = answer(&[]);
    assert_eq!(json["model"]["name"], "mini:latest");
    assert_eq!(json["parameters"]["temperature"], 0.25);
    assert_eq!(json["parameters"]["top_k"], 7);
    assert_eq!(json["parameters"]["stop"][0], "<|never|>");
    // A flag wins, also one that says what the default is.
    let json = answer(&["--temp", "0.7", "--stop", "x"]);
    assert_eq!(json["parameters"]["temperature"], 0.7);
    assert_eq!(json["parameters"]["top_k"], 7);
    let notes = machine.ingle(&["run", "mini", "A fox", "-n", "2"]).err;
    let line = notes
        .lines()
        .find(|line| line.starts_with("from Ollama"))
        .unwrap();
    insta::assert_snapshot!("note_of_layers", line);
    let shown = machine.ingle(&["show", "mini"]).out;
    let ollama = &shown[shown.find("\nOLLAMA").unwrap()..];
    insta::assert_snapshot!("show_of_layers", ollama);
    let json = machine.json(&["show", "mini", "--json"]);
    assert_eq!(json["ollama"]["system"], "You are terse.");
}

#[test]
fn every_command_takes_a_name() {
    let machine = Machine::new();
    for name in ["mini", "someone/mini-GGUF:Q8_0", "mini-GGUF"] {
        let ids = machine.json(&["tokenize", name, "fox", "--json"]);
        assert!(!ids["ids"].as_array().unwrap().is_empty());
        let shown = machine.json(&["show", name, "--json"]);
        assert_eq!(shown["architecture"], "qwen3");
    }
    std::fs::write(
        machine.folder.path().join("chat.json"),
        r#"[{"role":"user","content":"hi"}]"#,
    )
    .unwrap();
    let prompt = machine.json(&["template", "mini", "--messages", "chat.json", "--json"]);
    assert!(prompt["prompt"].as_str().unwrap().contains("hi"));
}

#[test]
fn list_shows_everything() {
    let machine = Machine::new();
    std::fs::write(machine.folder.path().join("mine.gguf"), &machine.model).unwrap();
    hub_file(
        &machine.hub(),
        "Qwen/Qwen3-0.6B-GGUF",
        "Qwen3-0.6B-Q8_0.gguf",
        &machine.model,
    );
    hub_file(&machine.hub(), "bad/bad-GGUF", "bad-Q8_0.gguf", b"no model");
    ollama_model(
        &machine.ollama(),
        "registry.ollama.ai/library/remote/latest",
        &[],
    );
    let done = machine.ingle(&["list"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    insta::assert_snapshot!("list", machine.without(&done.out));
    let json = machine.json(&["list", "--json"]);
    let models = json["models"].as_array().unwrap();
    let alias = models
        .iter()
        .find(|model| model["name"] == "qwen3:0.6b")
        .unwrap();
    assert_eq!(alias["full_name"], "Qwen/Qwen3-0.6B-GGUF:Q8_0");
    assert_eq!(alias["place"], "hub");
    // A folder alone.
    let done = machine.ingle(&["list", "."]);
    assert!(
        done.out.contains("mine") && !done.out.contains("qwen3:0.6b"),
        "{}",
        done.out
    );
}

#[test]
fn list_of_what_can_be_got() {
    let machine = Machine::new();
    let done = machine.ingle(&["list", "--available"]);
    assert_eq!(done.code, 0);
    insta::assert_snapshot!("available", done.out);
    let json = machine.json(&["list", "--available", "--json"]);
    assert_eq!(json["models"][0]["name"], "qwen3:0.6b");
    assert_eq!(json["models"][0]["bytes"], 639_446_688);
}

#[test]
fn what_is_not_here_is_said_with_what_to_do() {
    let machine = Machine::new();
    let mut text = String::new();
    for args in [
        &["run", "qwen3:4b", "hi"][..],
        &["run", "qwen3:4b"],
        &["run", "nobody/nothing", "hi"],
        &["run", "minni:latest", "hi"],
        &["run", "hf.co/someone/mini-GGUF:Q2_K", "hi"],
        &["show", "no-such-model"],
        &["show", "hf.co/../x"],
        &["list", "no-such-folder"],
        &["list", "hub/models--someone--mini-GGUF/refs/main"],
    ] {
        let done = machine.ingle(args);
        assert_eq!(done.out, "");
        text += &format!(
            "$ ingle {}\n[{}] {}\n",
            args.join(" "),
            done.code,
            machine.without(&done.err)
        );
    }
    insta::assert_snapshot!("not_here", text);
}

//! `ingle pull` against a hub on this machine: honest, slow of speech, and hostile.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests may fail")]

#[path = "support/hub.rs"]
mod hub;
mod support;

use hub::{COMMIT, Files, Say, Seen, Server, answer, file, git_oid, info, sha256, sibling};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Done, ingle, repository};
use tempfile::TempDir;

const REPO: &str = "someone/mini-GGUF";

/// A home without models, and a token.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("hub")
    }

    fn command(&self, server: &Server, args: &[&str]) -> Command {
        let mut command = ingle();
        command
            .args(args)
            .env("HF_ENDPOINT", &server.url)
            .env("HF_TOKEN", "hf_secret")
            .env("HF_HUB_CACHE", self.cache())
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env_remove("HTTPS_PROXY")
            .env_remove("ALL_PROXY")
            .stdin(Stdio::null());
        command
    }

    fn ingle(&self, server: &Server, args: &[&str]) -> Done {
        done(self.command(server, args).output().unwrap())
    }

    fn pull(&self, server: &Server, name: &str) -> Done {
        self.ingle(server, &["pull", name])
    }

    /// The message of a pull that fails, without what differs from run to run. Nothing is left under a
    /// final name.
    fn failure(&self, server: &Server, args: &[&str]) -> String {
        let done = self.ingle(server, &[&["pull"], args].concat());
        assert_eq!(done.out, "", "{args:?}");
        let left = self.finished();
        assert!(left.is_empty(), "{left:?}");
        let port = server.url.rsplit(':').next().unwrap().to_owned();
        let text = done
            .err
            .replace(&port, "PORT")
            .replace(self.0.path().to_str().unwrap(), "TMP");
        format!("$ ingle pull {}\n[{}] {text}", args.join(" "), done.code)
    }

    /// Names in the cache that are no partial file, lock or folder.
    fn finished(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.cache()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if !name.starts_with('.') {
                    names.push(
                        path.strip_prefix(self.cache())
                            .unwrap()
                            .display()
                            .to_string(),
                    );
                }
            }
        }
        names.sort();
        names
    }
}

fn done(output: std::process::Output) -> Done {
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn mini() -> Vec<u8> {
    std::fs::read(repository("models/ingle-mini/ingle-mini.gguf")).unwrap()
}

fn repo() -> Files {
    vec![
        (".gitattributes", b"*.gguf filter=lfs".to_vec()),
        ("README.md", b"# mini".to_vec()),
        ("mini-Q4_K_M.gguf", mini()),
        ("mini-Q8_0.gguf", vec![8; 90_000]),
        ("mmproj-mini-F16.gguf", vec![1; 1000]),
    ]
}

fn honest(files: Files) -> Server {
    Server::start(move |seen| answer(REPO, &files, seen))
}

#[test]
fn a_pulled_model_runs_and_lies_where_every_program_finds_it() {
    let (home, server) = (Home::new(), honest(repo()));
    let done = home.pull(&server, "hf.co/someone/mini-GGUF");
    assert_eq!(done.code, 0, "{}", done.err);
    insta::assert_snapshot!("pulled", lines_without_progress(&done.err));
    let folder = home.cache().join("models--someone--mini-GGUF");
    let link = folder
        .join("snapshots")
        .join(COMMIT)
        .join("mini-Q4_K_M.gguf");
    assert_eq!(done.out.trim(), link.display().to_string());
    let digest = sha256(&mini());
    assert_eq!(
        std::fs::read_link(&link).unwrap(),
        Path::new(&format!("../../blobs/{digest}"))
    );
    assert_eq!(std::fs::read(&link).unwrap(), mini());
    assert_eq!(
        std::fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    assert_eq!(home.finished().len(), 3);
    // It is asked for by name from now on.
    let ran = home.ingle(&server, &["run", "someone/mini-GGUF", "A fox", "-n", "3"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // The second pull asks the hub and fetches nothing.
    assert_eq!(server.files_asked().len(), 1);
    let again = home.pull(&server, "someone/mini-GGUF:q4_k_m");
    assert!(again.err.contains("is here already"), "{}", again.err);
    assert_eq!(
        (again.code, again.out, server.files_asked().len()),
        (0, done.out, 1)
    );
    // What went out is written down, and the token is not.
    let audit = home.ingle(&server, &["audit", "--json"]).out;
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let uses = audit["uses"].as_array().unwrap();
    assert!(uses.len() >= 3, "{audit}");
    let paths = uses.iter().filter_map(|one| one["path"].as_str());
    assert!(
        paths
            .into_iter()
            .any(|path| path.contains("/api/models/someone/mini-GGUF"))
    );
    for one in uses {
        assert_eq!(
            (&one["purpose"], &one["refused"]),
            (&"pull".into(), &false.into())
        );
        assert!(
            one["down"].as_u64() > Some(0) && !one["addresses"][0].is_null(),
            "{one}"
        );
    }
    let state = home.0.path().join("state/ingle");
    for entry in std::fs::read_dir(&state).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"hf_secret"));
    }
    let doctor = home.ingle(&server, &["doctor"]).out;
    assert!(doctor.contains("state/ingle/ledger.sqlite"), "{doctor}");
}

/// Lines that tell no percentage.
fn lines_without_progress(text: &str) -> String {
    text.lines()
        .filter(|line| !line.ends_with("%)"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let tries = AtomicUsize::new(0);
    let files = repo();
    let server = Server::start(move |seen| {
        let mut say = answer(REPO, &files, seen);
        if seen.path.contains("/resolve/") && tries.fetch_add(1, Ordering::Relaxed) == 0 {
            say.cut = Some(2_000_000);
        }
        say
    });
    let home = Home::new();
    let done = home.ingle(&server, &["pull", REPO, "--json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let events: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |name: &str| events.iter().find(|event| event["event"] == name);
    assert_eq!(of("plan").unwrap()["bytes"], mini().len());
    assert!(of("retry").is_some() && of("progress").is_some());
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["already"]),
        (&json!("done"), &json!(false))
    );
    assert_eq!(
        std::fs::read(last["path"].as_str().unwrap()).unwrap(),
        mini()
    );
    let ranges: Vec<_> = server
        .seen()
        .iter()
        .filter_map(|seen| seen.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=2000000-"]);
}

#[test]
fn all_parts_of_a_split_model_come() {
    let files: Files = vec![
        ("BF16/m-00001-of-00002.gguf", b"one".to_vec()),
        ("BF16/m-00002-of-00002.gguf", b"two".to_vec()),
        ("m-Q2_K.gguf", b"small".to_vec()),
        ("m-Q6_K-00001-of-00003.gguf", b"alone".to_vec()),
    ];
    let (home, server) = (Home::new(), honest(files));
    let done = home.pull(&server, "hf.co/someone/mini-GGUF:BF16");
    assert_eq!(done.code, 0, "{}", done.err);
    let first = PathBuf::from(done.out.trim());
    assert_eq!(std::fs::read(&first).unwrap(), b"one");
    assert_eq!(
        std::fs::read(first.with_file_name("m-00002-of-00002.gguf")).unwrap(),
        b"two"
    );
    let home = Home::new();
    let failures = [
        &["someone/mini-GGUF:Q6_K"][..],
        &["someone/mini-GGUF:Q4_K_M"],
    ]
    .map(|args| home.failure(&server, args));
    insta::assert_snapshot!("quant_not_there", failures.join("\n"));
}

#[test]
fn an_alias_is_a_model_whatever_its_file_is_called() {
    const TINY: &str = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF";
    for file in ["smollm2-135m-instruct-q8_0.gguf", "Another-Name.Q8_0.gguf"] {
        let files: Files = vec![(file, mini()), ("x-Q4_K_M.gguf", b"other".to_vec())];
        let server = Server::start(move |seen| answer(TINY, &files, seen));
        let home = Home::new();
        let done = home.pull(&server, "smollm2:135m");
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(done.out.trim().ends_with(file), "{}", done.out);
        let ran = home.ingle(&server, &["run", "smollm2:135m", "A fox", "-n", "2"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
}

#[test]
fn a_folder_of_safetensors_comes_whole_and_checked() {
    let files: Files = vec![
        ("config.json", b"{\"a\":1}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("1_Pooling/config.json", b"{}".to_vec()),
        ("model.safetensors", b"weights".to_vec()),
        ("consolidated.safetensors", b"weights again".to_vec()),
        ("pytorch_model.bin", b"pickle".to_vec()),
    ];
    let (home, server) = (Home::new(), honest(files));
    let refused = home.failure(&server, &["someone/mini-GGUF:Q4_K_M"]);
    assert!(refused.contains("has no GGUF files"), "{refused}");
    let done = home.pull(&server, REPO);
    assert_eq!(done.code, 0, "{}", done.err);
    let folder = PathBuf::from(done.out.trim());
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        b"weights"
    );
    assert!(folder.join("1_Pooling/config.json").is_file());
    assert!(
        !folder.join("consolidated.safetensors").exists()
            && !folder.join("pytorch_model.bin").exists()
    );
    let link = std::fs::read_link(folder.join("config.json")).unwrap();
    assert_eq!(
        link,
        Path::new(&format!("../../blobs/{}", git_oid(b"{\"a\":1}")))
    );
}

#[test]
fn a_mirror_that_lists_no_sizes_is_asked_for_the_tree() {
    let files = repo();
    let server = Server::start(move |seen| {
        if seen
            .path
            .starts_with("/hub/api/models/someone/mini-GGUF/revision/main")
        {
            let names: Vec<_> = files
                .iter()
                .map(|(name, _)| json!({ "rfilename": name }))
                .collect();
            return Say::json(&info(REPO, &names));
        }
        if seen.path == format!("/hub/api/models/{REPO}/tree/{COMMIT}?recursive=true") {
            let entry = |(name, bytes): &(&str, Vec<u8>)| {
                json!({ "type": "file", "oid": git_oid(bytes), "size": bytes.len(), "path": name,
                    "lfs": { "oid": sha256(bytes), "size": bytes.len(), "pointerSize": 134 } })
            };
            let mut entries =
                vec![json!({ "type": "directory", "oid": COMMIT, "size": 0, "path": "onnx" })];
            entries.extend(files.iter().map(entry));
            return Say::json(&entries.into());
        }
        let plain = Seen {
            path: seen.path.replacen("/hub", "", 1),
            ..seen.clone()
        };
        answer(REPO, &files, &plain)
    });
    let home = Home::new();
    let args = ["pull", "someone/mini-GGUF:Q8_0"];
    let mut command = home.command(&server, &args);
    let done = done(
        command
            .env("HF_ENDPOINT", format!("{}/hub/", server.url))
            .output()
            .unwrap(),
    );
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(std::fs::read(done.out.trim()).unwrap(), vec![8; 90_000]);
}

/// CVE-2026-7020 and its class, from the other side: what a hub says names no file elsewhere.
#[test]
fn cve_2026_7020_what_a_hub_says_stays_in_the_cache() {
    let mut text = String::new();
    for name in [
        "../../../../evil.gguf",
        "/tmp/evil.gguf",
        "a\\..\\..\\evil.gguf",
        "x/../../evil.gguf",
        "C:evil.gguf",
    ] {
        let server = Server::start(move |_| {
            Say::json(&info(
                REPO,
                &[sibling("mini-Q8_0.gguf", b"x"), sibling(name, b"evil")],
            ))
        });
        text += &Home::new().failure(&server, &[REPO]);
        assert!(server.files_asked().is_empty());
    }
    let mut bad = |change: &dyn Fn(&mut Value)| {
        let mut said = info(REPO, &[sibling("mini-Q8_0.gguf", b"x")]);
        change(&mut said);
        let server = Server::start(move |_| Say::json(&said));
        text += &Home::new().failure(&server, &[REPO]);
        assert!(server.files_asked().is_empty());
    };
    bad(&|said| said["sha"] = "../../..".into());
    bad(&|said| said["siblings"][0]["lfs"]["sha256"] = "../../../evil".into());
    bad(&|said| {
        said["siblings"][0]["lfs"] = Value::Null;
        said["siblings"][0]["size"] = (1_u64 << 33).into();
    });
    bad(&|said| said["siblings"][0]["lfs"]["size"] = 7.into());
    bad(&|said| {
        said["siblings"][0]["size"] = (1_u64 << 60).into();
        said["siblings"][0]["lfs"]["size"] = (1_u64 << 60).into();
    });
    bad(&|said| *said = json!([]));
    // What is free differs from machine to machine.
    let steady = text.lines().map(|line| {
        match line.find(" has ").filter(|_| line.contains(" free, and ")) {
            Some(at) => format!("{} has ... free, and ... are needed", &line[..at]),
            None => line.to_owned(),
        }
    });
    insta::assert_snapshot!("hostile_lists", steady.collect::<Vec<_>>().join("\n"));
}

#[test]
fn wrong_bytes_get_no_name() {
    let lying = |name: &'static str, listed: &'static [u8], sent: &'static [u8], others: Files| {
        Server::start(move |seen| {
            if seen.path.starts_with("/api/") {
                let mut siblings = vec![sibling(name, listed)];
                siblings.extend(others.iter().map(|(name, bytes)| sibling(name, bytes)));
                return Say::json(&info(REPO, &siblings));
            }
            if seen.path.ends_with(name) {
                return file(seen, sent);
            }
            answer(REPO, &others, seen)
        })
    };
    let wrong = lying("mini-Q8_0.gguf", b"right bytes", b"wrong bytes", Vec::new());
    let home = Home::new();
    let mut text = home.failure(&wrong, &[REPO]);
    assert_eq!(
        wrong.files_asked().len(),
        2,
        "once more from the start, then no more"
    );
    let weights: Files = vec![("model.safetensors", b"w".to_vec())];
    let config = lying("config.json", b"{\"a\":1}", b"{\"a\":2}", weights);
    text += &Home::new().failure(&config, &[REPO]);
    insta::assert_snapshot!("wrong_bytes", text);
}

#[test]
fn every_no_says_what_to_do() {
    let no = |status: u16, code: &'static str| {
        Server::start(move |seen| {
            if seen.path.starts_with("/api/models?") {
                return Say::json(&json!([{ "id": "someone/mini-GGUF" }, { "id": "../evil" }]));
            }
            let say = Say::new(status, r#"{"error":"no"}"#);
            if code.is_empty() {
                say
            } else {
                say.with("x-error-code", code)
            }
        })
    };
    let mut text = String::new();
    for (status, code) in [
        (404, "RepoNotFound"),
        (401, "RepoNotFound"),
        (401, "GatedRepo"),
        (403, "GatedRepo"),
        (500, ""),
        (200, ""),
    ] {
        text += &Home::new().failure(&no(status, code), &["someone/minni-GGUF"]);
    }
    // Without a token.
    for (status, code) in [(401, "RepoNotFound"), (401, "GatedRepo")] {
        let (home, server) = (Home::new(), no(status, code));
        let output = home
            .command(&server, &["pull", REPO])
            .env_remove("HF_TOKEN")
            .output()
            .unwrap();
        text += &String::from_utf8(output.stderr)
            .unwrap()
            .replace(&server.url, "URL");
    }
    // What is no name of the hub's, and a repository without a model.
    let server = honest(vec![("README.md", b"x".to_vec())]);
    for name in [
        "someone/mini-GGUF",
        "./x.gguf",
        "no such name",
        "nobody:knows",
        "hf.co/../x",
    ] {
        text += &Home::new().failure(&server, &[name]);
    }
    let home = Home::new();
    let output = home
        .command(&server, &["pull", REPO])
        .env("HF_ENDPOINT", "ftp://x")
        .output()
        .unwrap();
    text += &String::from_utf8(output.stderr).unwrap();
    insta::assert_snapshot!("every_no", text.replace(&server.url, "URL"));
}

#[test]
fn the_token_stays_with_the_hub() {
    let other = honest(repo());
    let elsewhere = other.url.clone();
    let files = repo();
    let server = Server::start(move |seen| {
        if seen.path.contains("/resolve/") {
            return Say::new(302, "").with("location", &format!("{elsewhere}{}", seen.path));
        }
        answer(REPO, &files, seen)
    });
    // An address on this machine is nobody's download host, unless the user says so.
    let refused = Home::new().failure(&server, &[REPO]);
    assert!(
        refused.contains("redirects to") && other.seen().is_empty(),
        "{refused}"
    );
    let home = Home::new();
    let done = home.ingle(&server, &["pull", REPO, "--download-host", &other.url]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(std::fs::read(done.out.trim()).unwrap(), mini());
    let token = |server: &Server| {
        server
            .seen()
            .iter()
            .filter(|seen| seen.header("authorization").is_some())
            .count()
    };
    assert!(
        token(&server) >= 2
            && server
                .seen()
                .iter()
                .any(|seen| seen.header("authorization") == Some("Bearer hf_secret"))
    );
    assert!(!other.seen().is_empty());
    assert_eq!(token(&other), 0);
    assert!(
        !other
            .seen()
            .iter()
            .any(|seen| seen.head.contains("hf_secret"))
    );
}

#[test]
fn offline_means_offline() {
    let (home, server) = (Home::new(), honest(repo()));
    let by_flag = home.failure(&server, &[REPO, "--offline"]);
    let variable = || {
        let mut command = home.command(&server, &["pull", REPO]);
        done(command.env("HF_HUB_OFFLINE", "1").output().unwrap())
    };
    insta::assert_snapshot!("offline", by_flag + &variable().err);
    assert!(server.seen().is_empty());
    assert_eq!(home.pull(&server, REPO).code, 0);
    let asked = server.seen().len();
    let here = variable();
    assert_eq!(here.code, 0, "{}", here.err);
    assert!(here.err.contains("HF_HUB_OFFLINE") && here.out.contains("mini-Q4_K_M.gguf"));
    assert_eq!(server.seen().len(), asked);
}

#[test]
fn two_pulls_at_once_leave_one_right_file() {
    let (home, server) = (Home::new(), honest(repo()));
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = home.command(&server, &["pull", REPO]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let done = done(child.wait_with_output().unwrap());
        assert_eq!(done.code, 0, "{}", done.err);
        assert_eq!(std::fs::read(done.out.trim()).unwrap(), mini());
    }
    assert_eq!(home.finished().len(), 3, "{:?}", home.finished());
}

//! A process that fetches is killed again and again; the next one goes on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use ingle_egress::{Cancel, FileLog, Origin};
use ingle_store::Digest;
use ingle_store::download::{Fetch, fetch_file};

use crate::server::{Dice, Server, honest_answer, say};
use crate::{door, hasty, names, sha256};

/// Where the parent tells the child what to do: URL, target, digest, log.
const TASK: &str = "INGLE_TEST_FETCH";

/// The part of a child process. Run as a test, without a task, it has nothing to do.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let task: Vec<&str> = task.split('|').collect();
    let &[url, into, digest, log] = task.as_slice() else {
        panic!("{task:?}")
    };
    let clock = Arc::new(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_millis() as u64
    });
    let log = Arc::new(FileLog::open(Path::new(log), clock).unwrap());
    let door = door(Origin::parse(url).unwrap(), log);
    let mut fetch = Fetch::new(url.parse().unwrap(), into.into());
    fetch.sha256 = (!digest.is_empty()).then(|| Digest::from_hex(digest).unwrap());
    fetch.patience = hasty(4);
    fetch_file(&door, &fetch, &mut |_| {}, &Cancel::new()).unwrap();
}

pub fn spawn(url: &str, into: &Path, digest: &str, log: &Path) -> Child {
    let task = format!("{url}|{}|{digest}|{}", into.display(), log.display());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child"])
        .env(TASK, task)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_download_that_is_killed_again_and_again_arrives() {
    const FILES: usize = 6;
    let mut dice = Dice(2026);
    let bytes: Vec<Vec<u8>> = (0..FILES).map(|_| dice.bytes(300_000)).collect();
    let hosted = bytes.clone();
    // A slow line: about 60 ms for a whole file.
    let server = Server::start(move |seen, stream| {
        let nth: usize = seen.path.trim_start_matches('/').parse().unwrap();
        let (head, body) = honest_answer(seen, &hosted[nth], "\"one\"");
        let mut going = say(stream, head);
        for piece in body.chunks(5000) {
            going = going && say(stream, piece);
            thread::sleep(Duration::from_millis(1));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("egress.jsonl");
    let mut kills = 0;
    for (nth, bytes) in bytes.iter().enumerate() {
        let into = folder.path().join(format!("{nth}.gguf"));
        // Without a digest it is the server's `ETag` by which the next process goes on.
        let digest = if nth % 2 == 0 {
            sha256(bytes).hex()
        } else {
            String::new()
        };
        let url = format!("{}/{nth}", server.url);
        for round in 0.. {
            assert!(round < 200, "no progress");
            let mut child = spawn(&url, &into, &digest, &log);
            thread::sleep(Duration::from_millis(5 + dice.below(60) as u64));
            // SIGKILL on Unix.
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
            assert!(!into.exists() || std::fs::read(&into).unwrap() == *bytes);
        }
        assert_eq!(std::fs::read(&into).unwrap(), *bytes);
    }
    assert_eq!(
        names(folder.path()).len(),
        FILES,
        "{:?}",
        names(folder.path())
    );
    assert!(kills >= FILES, "only {kills} kills");
    let seen = server.seen.lock().unwrap();
    assert!(
        seen.iter().any(|request| request.from().is_some()),
        "nothing was resumed"
    );
    check_log(&log, server.connections());
}

/// Every connection that the server saw is in the log, whatever happened to the process.
fn check_log(log: &Path, connections: usize) {
    let text = std::fs::read_to_string(log).unwrap();
    let count = |event: &str| text.lines().filter(|line| line.contains(event)).count();
    assert!(count(r#""event":"asked""#) >= connections);
    assert!(count(r#""event":"dial""#) >= connections);
    assert!(count(r#""event":"end""#) > 0);
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            row["when"].as_u64() > Some(1_700_000_000_000) && row["process"].is_u64(),
            "{line}"
        );
    }
}

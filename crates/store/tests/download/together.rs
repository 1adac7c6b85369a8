//! Several pulls of the same file at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ingle_egress::Cancel;
use ingle_store::download::{DownloadError, Fetch, Progress, fetch_file};

use crate::server::{Dice, Server, honest_answer, say};
use crate::{Rows, door, hasty, kill, names, sha256};

/// A server that takes its time, so that the others come while the first is at work.
fn slow_server(bytes: Vec<u8>) -> Server {
    Server::start(move |seen, stream| {
        let (head, body) = honest_answer(seen, &bytes, "\"one\"");
        let mut going = say(stream, head);
        for piece in body.chunks(body.len() / 10 + 1) {
            thread::sleep(Duration::from_millis(20));
            going = going && say(stream, piece);
        }
    })
}

#[test]
fn threads_that_want_the_same_file_fetch_it_once() {
    let bytes = Dice(1).bytes(100_000);
    let server = slow_server(bytes.clone());
    let door = door(server.origin(), Arc::new(Rows::default()));
    let folder = tempfile::tempdir().unwrap();
    let mut fetch = Fetch::new(server.at("/file"), folder.path().join("deep/er/file.gguf"));
    fetch.sha256 = Some(sha256(&bytes));
    fetch.patience = hasty(4);
    let (waited, already) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut progress = |news: Progress| {
                    if matches!(news, Progress::Waiting) {
                        waited.fetch_add(1, Ordering::SeqCst);
                    }
                };
                let fetched = fetch_file(&door, &fetch, &mut progress, &Cancel::new()).unwrap();
                assert!(fetched.verified);
                already.fetch_add(usize::from(fetched.already), Ordering::SeqCst);
            });
        }
    });
    assert_eq!(server.connections(), 1);
    assert_eq!(already.load(Ordering::SeqCst), 5);
    assert!(waited.load(Ordering::SeqCst) > 0);
    assert_eq!(std::fs::read(&fetch.into).unwrap(), bytes);
    assert_eq!(names(fetch.into.parent().unwrap()), ["file.gguf"]);
}

#[test]
fn processes_that_want_the_same_file_fetch_it_once() {
    let bytes = Dice(2).bytes(100_000);
    let server = slow_server(bytes.clone());
    let folder = tempfile::tempdir().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let into = folder.path().join("file.gguf");
    let (url, digest) = (format!("{}/file", server.url), sha256(&bytes).hex());
    let log = logs.path().join("log");
    let children: Vec<_> = (0..4)
        .map(|_| kill::spawn(&url, &into, &digest, &log))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(std::fs::read(&into).unwrap(), bytes);
    assert_eq!(names(folder.path()), ["file.gguf"]);
}

#[test]
fn who_waits_can_be_stopped_and_takes_over_when_the_first_fails() {
    let bytes = Dice(3).bytes(50_000);
    let server = slow_server(bytes.clone());
    let door = door(server.origin(), Arc::new(Rows::default()));
    let folder = tempfile::tempdir().unwrap();
    let mut fetch = Fetch::new(server.at("/file"), folder.path().join("file.gguf"));
    fetch.sha256 = Some(sha256(&bytes));
    fetch.patience = hasty(4);
    let (first, second) = (Cancel::new(), Cancel::new());
    thread::scope(|scope| {
        let (go, begun) = std::sync::mpsc::channel();
        let (door, fetch) = (&door, &fetch);
        let worker = scope.spawn({
            let first = first.clone();
            move || {
                let mut progress = |news: Progress| {
                    if matches!(news, Progress::Fetching { done: 1.., .. }) {
                        let _ = go.send(());
                    }
                };
                fetch_file(door, fetch, &mut progress, &first)
            }
        });
        begun.recv().unwrap();
        // A waiter that is stopped leaves at once, and the work goes on.
        let mut stop = |news: Progress| {
            if matches!(news, Progress::Waiting) {
                second.cancel();
            }
        };
        let stopped = fetch_file(door, fetch, &mut stop, &second);
        assert!(
            matches!(stopped, Err(DownloadError::Cancelled { .. })),
            "{stopped:?}"
        );
        // The worker is stopped, and another goes on where it was.
        first.cancel();
        let fetched = fetch_file(door, fetch, &mut |_| {}, &Cancel::new()).unwrap();
        assert!(!fetched.already);
        assert!(matches!(
            worker.join().unwrap(),
            Err(DownloadError::Cancelled { have: 1.., .. })
        ));
    });
    assert_eq!(std::fs::read(&fetch.into).unwrap(), bytes);
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].from().is_some_and(|from| from > 0));
    assert_eq!(names(folder.path()), ["file.gguf"]);
}

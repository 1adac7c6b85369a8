//! Every use of the door is a row, before it happens.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use ingle_egress::{Clock, Door, EgressError, Event, FileLog, Log, Purpose, Redirects, Row, Token};

use crate::server::{Server, ok};
use crate::{Rows, fetch, get, options};

/// A clock that a test can read.
fn clock() -> Clock {
    let ticks = AtomicU64::new(1000);
    Arc::new(move || ticks.fetch_add(1, Ordering::SeqCst))
}

fn rows(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn rows_are_on_the_disk_before_the_connection_and_after_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("egress.jsonl");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (watched, there) = (path.clone(), seen.clone());
    let server = Server::plain(move |_, line| {
        there.lock().unwrap().extend(rows(&watched));
        ok(line, "here");
    });
    let log = Arc::new(FileLog::open(&path, clock()).unwrap());
    assert_eq!(log.path(), path);
    let door = Door::new(options(server.origin("127.0.0.1"), Redirects::none()), log);
    let url = server.url("127.0.0.1", "/a/b?sig=secret#frag");
    let token = Token::new(server.origin("127.0.0.1"), "hf_secret").unwrap();
    let request = get(&door, &url).unwrap().token(Some(&token));
    let mut answer = door.send_blocking(request).unwrap();
    assert_eq!(answer.bytes(10).unwrap(), b"here");
    drop(answer);
    let before = seen.lock().unwrap().clone();
    assert_eq!(before.len(), 2);
    assert_eq!(before[0]["event"], "asked");
    assert_eq!(
        (&before[0]["path"], &before[0]["token"]),
        (&"/a/b".into(), &true.into())
    );
    assert_eq!(before[1]["event"], "dial");
    assert_eq!(before[1]["address"], server.address.to_string());
    let after = rows(&path);
    assert_eq!(after.len(), 3);
    assert_eq!(after[2]["event"], "end");
    assert_eq!(
        (&after[2]["status"], &after[2]["outcome"]),
        (&200.into(), &"done".into())
    );
    assert!(after[2]["up"].as_u64().unwrap() > 60 && after[2]["down"].as_u64().unwrap() > 40);
    assert!(
        after
            .iter()
            .all(|row| row["id"] == 1 && row["when"].as_u64() >= Some(1000))
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_file_that_everybody_could_read_is_closed_and_a_torn_line_stays_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("egress.jsonl");
    std::fs::write(&path, "{\"when\":1}\n{\"when\":2,\"ev").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let log = FileLog::open(&path, clock()).unwrap();
    log.record(&row(7)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["{\"when\":1}", "{\"when\":2,\"ev"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(lines[2]).unwrap()["id"],
        7
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

fn row(id: u64) -> Row {
    let event = Event::Refused {
        purpose: Purpose::Pull,
        origin: "https://hub.test".to_owned(),
        reason: "because".to_owned(),
        request: None,
        rule: None,
    };
    Row { id, event }
}

#[test]
fn writers_at_once_do_not_mix_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("egress.jsonl");
    thread::scope(|scope| {
        for writer in 0..4_u64 {
            let path = &path;
            scope.spawn(move || {
                // Each opens the file for itself, as a process would.
                let log = FileLog::open(path, clock()).unwrap();
                (0..50).for_each(|n| log.record(&row(writer * 1000 + n)).unwrap());
            });
        }
    });
    let mut ids: Vec<u64> = rows(&path)
        .iter()
        .map(|row| row["id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    let wanted: Vec<u64> = (0..4)
        .flat_map(|writer| (0..50).map(move |n| writer * 1000 + n))
        .collect();
    assert_eq!(ids, wanted);
}

/// A log that takes so many rows and no more.
struct Full(AtomicU64);

impl Log for Full {
    fn record(&self, _row: &Row) -> io::Result<()> {
        match self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            }) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let server = Server::plain(|_, line| ok(line, "here"));
    for (room, connections) in [(0, 0), (1, 0), (2, 1)] {
        let log = Arc::new(Full(room.into()));
        let door = Door::new(options(server.origin("127.0.0.1"), Redirects::none()), log);
        let fetched = fetch(&door, &server.url("127.0.0.1", "/"));
        assert_eq!(server.connections(), connections, "{room}");
        match connections {
            0 => assert!(matches!(fetched, Err(EgressError::Log { .. }))),
            // The last row tells of what has happened; the next request is refused.
            _ => {
                assert_eq!(fetched.unwrap(), "here");
                let next = fetch(&door, &server.url("127.0.0.1", "/"));
                assert!(matches!(next, Err(EgressError::Log { .. })));
            }
        }
    }
}

#[test]
fn an_answer_that_is_dropped_ends_its_row() {
    let server = Server::plain(|_, line| ok(line, "here"));
    let log = Arc::new(Rows::default());
    let door = Door::new(
        options(server.origin("127.0.0.1"), Redirects::none()),
        log.clone(),
    );
    drop(
        door.send_blocking(get(&door, &server.url("127.0.0.1", "/")).unwrap())
            .unwrap(),
    );
    let ends: Vec<_> = log
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::End { .. }))
        .collect();
    assert!(
        matches!(ends.as_slice(), [Event::End { status: Some(200), outcome, .. }] if outcome == "dropped"),
        "{ends:?}"
    );
}

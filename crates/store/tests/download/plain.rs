//! One behaviour at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingle_egress::{
    Cancel, Door, DoorOptions, EgressError, Endpoint, Limits, Purpose, Redirects, Slowest, Token,
};
use ingle_store::download::{DownloadError, Fault, Fetch, Progress, fetch_file};

use crate::server::{Dice, Seen, Server, honest, honest_answer, say, tell};
use crate::{Rows, door, hasty, names, sha256};

struct Setting {
    bytes: Vec<u8>,
    server: Server,
    door: Door,
    folder: tempfile::TempDir,
    fetch: Fetch,
}

/// A file of 100,000 bytes at a server that answers as `handler` does.
fn setting(
    handler: impl Fn(&Seen, &mut std::net::TcpStream, &[u8]) + Send + Sync + 'static,
) -> Setting {
    let bytes = Dice(7).bytes(100_000);
    let hosted = bytes.clone();
    let server = Server::start(move |seen, stream| handler(seen, stream, &hosted));
    let door = door(server.origin(), Arc::new(Rows::default()));
    let folder = tempfile::tempdir().unwrap();
    let mut fetch = Fetch::new(
        server.at("/org/repo/file.gguf"),
        folder.path().join("file.gguf"),
    );
    fetch.patience = hasty(3);
    Setting {
        bytes,
        server,
        door,
        folder,
        fetch,
    }
}

impl Setting {
    fn fetch(&self) -> Result<ingle_store::download::Fetched, DownloadError> {
        self.fetch_with(&mut |_| {})
    }

    fn fetch_with(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ingle_store::download::Fetched, DownloadError> {
        fetch_file(&self.door, &self.fetch, progress, &Cancel::new())
    }

    /// The first byte that each request asked for.
    fn asked_from(&self) -> Vec<Option<usize>> {
        self.server
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(Seen::from)
            .collect()
    }

    fn is_right(&self) {
        assert_eq!(std::fs::read(&self.fetch.into).unwrap(), self.bytes);
        assert_eq!(names(self.folder.path()), ["file.gguf"]);
    }
}

/// The first answer ends after 40,000 bytes; `etag` is every answer's.
fn cut_once(etag: &'static str) -> Setting {
    setting(move |seen, stream, file| match seen.nth {
        0 => {
            let (head, body) = honest_answer(seen, file, etag);
            let _ = say(stream, head) && say(stream, &body[..40_000]);
        }
        _ => honest(seen, stream, file, etag),
    })
}

#[test]
fn without_a_digest_the_result_says_that_nothing_was_verified() {
    let s = cut_once("\"v1\"");
    let fetched = s.fetch().unwrap();
    assert!(!fetched.verified && !fetched.already);
    assert_eq!(fetched.sha256, Some(sha256(&s.bytes)));
    assert_eq!(s.asked_from(), [None, Some(40_000)]);
    let seen = s.server.seen.lock().unwrap().clone();
    assert_eq!(seen[1].header("if-range"), Some("\"v1\""));
    assert_eq!(seen[1].header("accept-encoding"), Some("identity"));
    s.is_right();
}

#[test]
fn without_digest_and_version_nothing_is_resumed() {
    for etag in ["W/\"v1\"", "v1", "\""] {
        let s = cut_once(etag);
        assert!(!s.fetch().unwrap().verified);
        assert_eq!(s.asked_from(), [None, None], "{etag}");
        s.is_right();
    }
}

#[test]
fn with_a_digest_the_rest_may_come_from_any_version() {
    let mut s = setting(|seen, stream, file| match seen.nth {
        0 => {
            let (head, body) = honest_answer(seen, file, "W/\"x\"");
            let _ = say(stream, head) && say(stream, &body[..40_000]);
        }
        _ => honest(seen, stream, file, "\"y\""),
    });
    s.fetch.sha256 = Some(sha256(&s.bytes));
    assert!(s.fetch().unwrap().verified);
    assert_eq!(s.asked_from(), [None, Some(40_000)]);
    s.is_right();
}

#[test]
fn a_later_call_goes_on_and_a_changed_wish_does_not() {
    let s = setting(|seen, stream, file| match seen.nth {
        0..3 => {
            let (head, body) = honest_answer(seen, file, "\"v1\"");
            let _ = say(stream, head) && say(stream, &body[..body.len().min(20_000)]);
        }
        _ => honest(seen, stream, file, "\"v1\""),
    });
    let mut first = s.fetch.clone();
    first.patience.tries = 1;
    first.patience.progress = 1 << 30;
    let stop = fetch_file(&s.door, &first, &mut |_| {}, &Cancel::new());
    assert!(
        matches!(
            stop,
            Err(DownloadError::GaveUp {
                have: 20_000,
                size: Some(100_000),
                ..
            })
        ),
        "{stop:?}"
    );
    // The same again: it goes on.
    let stop = fetch_file(&s.door, &first, &mut |_| {}, &Cancel::new());
    assert!(
        matches!(stop, Err(DownloadError::GaveUp { have: 40_000, .. })),
        "{stop:?}"
    );
    // Another file under the same name: it begins anew.
    let other = s.server.at("/org/repo/other.gguf");
    let stop = fetch_file(
        &s.door,
        &Fetch {
            url: other,
            ..first
        },
        &mut |_| {},
        &Cancel::new(),
    );
    assert!(
        matches!(stop, Err(DownloadError::GaveUp { have: 20_000, .. })),
        "{stop:?}"
    );
    s.fetch().unwrap();
    assert_eq!(s.asked_from(), [None, Some(20_000), None, None]);
    s.is_right();
}

#[test]
fn a_file_that_changed_in_between_is_fetched_anew() {
    // The server takes no notice of If-Range.
    let s = setting(|seen, stream, file| match seen.nth {
        0 => {
            let (head, body) = honest_answer(seen, &[b'x'; 100_000], "\"old\"");
            let _ = say(stream, head) && say(stream, &body[..40_000]);
        }
        1 => tell(
            stream,
            "HTTP/1.1 206 Part\r\nETag: \"new\"\r\nContent-Length: 60000\r\nContent-Range: bytes 40000-99999/100000\r\n\r\n",
        ),
        _ => honest(seen, stream, file, "\"new\""),
    });
    s.fetch().unwrap();
    assert_eq!(s.asked_from(), [None, Some(40_000), None]);
    s.is_right();
}

#[test]
fn wrong_bytes_are_fetched_once_more_and_then_given_up() {
    let mut s = setting(|seen, stream, file| {
        let mut wrong = file.to_vec();
        wrong[77] ^= 1;
        honest(seen, stream, &wrong, "\"v1\"");
    });
    s.fetch.sha256 = Some(sha256(&s.bytes));
    let mut restarts = 0;
    let error =
        s.fetch_with(&mut |news| restarts += usize::from(matches!(news, Progress::Restarting)));
    assert!(
        matches!(error, Err(DownloadError::WrongDigest { .. })),
        "{error:?}"
    );
    assert_eq!((restarts, s.server.connections()), (1, 2));
    assert!(names(s.folder.path()).is_empty());
}

#[test]
fn a_damaged_partial_file_is_found_out() {
    let mut s = setting(|seen, stream, file| honest(seen, stream, file, "\"v1\""));
    s.fetch.sha256 = Some(sha256(&s.bytes));
    let mut wrong = s.bytes[..30_000].to_vec();
    wrong[5] ^= 1;
    std::fs::write(s.folder.path().join(".file.gguf.partial"), wrong).unwrap();
    let note = format!(
        r#"{{"url":"x","size":100000,"sha256":"{}","etag":null}}"#,
        sha256(&s.bytes).hex()
    );
    std::fs::write(s.folder.path().join(".file.gguf.partial.json"), note).unwrap();
    assert!(s.fetch().unwrap().verified);
    assert_eq!(s.asked_from(), [Some(30_000), None]);
    s.is_right();
}

#[test]
fn what_lies_there_and_is_no_partial_file_is_not_trusted() {
    for note in ["", "{", "[1,2]", r#"{"url":1}"#, &"[".repeat(100_000)] {
        let mut s = setting(|seen, stream, file| honest(seen, stream, file, "\"v1\""));
        s.fetch.size = Some(100_000);
        std::fs::write(s.folder.path().join(".file.gguf.partial"), vec![1; 200_000]).unwrap();
        std::fs::write(s.folder.path().join(".file.gguf.partial.json"), note).unwrap();
        s.fetch().unwrap();
        s.is_right();
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link() {
    let s = setting(|seen, stream, file| honest(seen, stream, file, "\"v1\""));
    let victim = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(victim.path(), "mine").unwrap();
    for name in [
        ".file.gguf.partial",
        ".file.gguf.partial.json",
        ".file.gguf.lock",
        "file.gguf",
    ] {
        std::os::unix::fs::symlink(victim.path(), s.folder.path().join(name)).unwrap();
    }
    s.fetch().unwrap();
    assert_eq!(std::fs::read(victim.path()).unwrap(), b"mine");
    assert!(
        !std::fs::symlink_metadata(&s.fetch.into)
            .unwrap()
            .is_symlink()
    );
    s.is_right();
}

#[test]
fn a_file_that_is_in_place_is_not_fetched_and_a_wrong_one_is_replaced() {
    let mut s = setting(|seen, stream, file| honest(seen, stream, file, "\"v1\""));
    s.fetch.sha256 = Some(sha256(&s.bytes));
    std::fs::write(&s.fetch.into, &s.bytes).unwrap();
    let there = s.fetch().unwrap();
    assert!(there.already && there.verified);
    assert_eq!(s.server.connections(), 0);
    std::fs::write(&s.fetch.into, vec![0; 100_000]).unwrap();
    assert!(!s.fetch().unwrap().already);
    s.is_right();
    // Without a digest the size must do, and the result says so.
    s.fetch.sha256 = None;
    s.fetch.size = Some(100_000);
    let there = s.fetch().unwrap();
    assert!(there.already && !there.verified && there.sha256.is_none());
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for() {
    let s = setting(|seen, stream, file| match seen.nth {
        0 => tell(
            stream,
            "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        ),
        1 => tell(
            stream,
            "HTTP/1.1 429 Busy\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n",
        ),
        _ => honest(seen, stream, file, "\"v1\""),
    });
    let mut pauses = Vec::new();
    s.fetch_with(&mut |news| {
        if let Progress::Retrying { pause, .. } = news {
            pauses.push(pause);
        }
    })
    .unwrap();
    assert_eq!(pauses, [Duration::from_secs(1), Duration::from_millis(1)]);
    s.is_right();
    let s = setting(|_, stream, _| {
        tell(
            stream,
            "HTTP/1.1 429 Busy\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n",
        )
    });
    let error = s.fetch().unwrap_err();
    assert!(matches!(error, DownloadError::Later { asked, .. } if asked.as_secs() == 7200));
    assert_eq!(s.server.connections(), 1);
    assert!(names(s.folder.path()).is_empty());
}

#[test]
fn a_no_is_said_once_and_in_full() {
    for (status, token, wanted) in [
        (404, false, "has no /org/repo/file.gguf"),
        (401, false, "set HF_TOKEN"),
        (403, true, "the access token does not open it"),
        (418, false, "status 418"),
        (304, false, "status 304"),
        (301, false, "status 301"),
    ] {
        let mut s = setting(move |_, stream, _| {
            tell(
                stream,
                format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"),
            )
        });
        s.fetch.token = token.then(|| Token::new(s.server.origin(), "hf_x").unwrap());
        let error = s.fetch().unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert_eq!(s.server.connections(), 1);
        assert!(names(s.folder.path()).is_empty());
    }
}

#[test]
fn a_file_without_an_end_is_not_begun() {
    let s = setting(|_, stream, _| tell(stream, "HTTP/1.1 200 OK\r\n\r\nabc"));
    assert!(matches!(s.fetch(), Err(DownloadError::NoLength { .. })));
    assert!(names(s.folder.path()).is_empty());
}

#[test]
fn a_file_may_come_without_a_length_where_the_caller_knows_it() {
    let mut s = setting(|_, stream, file| {
        let _ = say(stream, "HTTP/1.1 200 OK\r\n\r\n") && say(stream, file);
    });
    s.fetch.size = Some(100_000);
    s.fetch().unwrap();
    s.is_right();
}

/// Whether the byte too many comes with the others or after all of them were taken.
#[test]
fn a_file_that_is_longer_than_the_caller_knows_is_none() {
    for wait in [0, 40] {
        too_long(Duration::from_millis(wait));
    }
}

fn too_long(wait: Duration) {
    let mut s = setting(move |_, stream, file| {
        let sent = say(stream, "HTTP/1.1 200 OK\r\n\r\n") && say(stream, file);
        std::thread::sleep(wait);
        let _ = sent && say(stream, "x");
    });
    s.fetch.size = Some(100_000);
    let error = s.fetch().unwrap_err();
    assert!(
        matches!(&error, DownloadError::GaveUp { fault, .. } if matches!(**fault, Fault::TooLong { .. })),
        "{wait:?}: {error:?}"
    );
    assert!(!s.fetch.into.exists());
    // With a digest the bytes themselves say that they are the file.
    s.fetch.sha256 = Some(sha256(&s.bytes));
    s.fetch().unwrap();
    s.is_right();
}

#[test]
fn an_empty_file_is_a_file() {
    let s = setting(|_, stream, _| tell(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(s.fetch().unwrap().bytes, 0);
    assert_eq!(names(s.folder.path()), ["file.gguf"]);
}

#[test]
fn a_trickle_is_given_up_and_what_came_is_kept() {
    let s = setting(|seen, stream, file| {
        let (head, body) = honest_answer(seen, file, "\"v1\"");
        let mut going = say(stream, head);
        for byte in body.chunks(1) {
            going = going && say(stream, byte);
            if !going {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let mut fetch = s.fetch.clone();
    fetch.patience.tries = 1;
    fetch.patience.progress = 1000;
    let options = DoorOptions {
        endpoints: vec![Endpoint::named(
            Purpose::Pull,
            s.server.origin(),
            Redirects::none(),
        )],
        limits: Limits {
            slowest: Some(Slowest {
                bytes: 1000,
                window: Duration::from_secs(1),
            }),
            ..Limits::default()
        },
        ..DoorOptions::default()
    };
    let door = Door::new(options, Arc::new(Rows::default()));
    let error = fetch_file(&door, &fetch, &mut |_| {}, &Cancel::new()).unwrap_err();
    let DownloadError::GaveUp { fault, have, .. } = error else {
        panic!("{error:?}")
    };
    assert!(
        matches!(*fault, Fault::Net(EgressError::TooSlow { .. })),
        "{fault:?}"
    );
    assert!((1..1000).contains(&have));
}

#[test]
fn a_stop_is_quick_and_says_where() {
    let s = setting(|seen, stream, file| {
        let (head, body) = honest_answer(seen, file, "\"v1\"");
        let _ = say(stream, head) && say(stream, &body[..40_000]);
        std::thread::sleep(Duration::from_secs(5));
    });
    let cancel = Cancel::new();
    let mut progress = |news| {
        if matches!(news, Progress::Fetching { done: 40_000.., .. }) {
            cancel.cancel();
        }
    };
    let error = fetch_file(&s.door, &s.fetch, &mut progress, &cancel).unwrap_err();
    assert!(
        matches!(
            error,
            DownloadError::Cancelled {
                have: 40_000,
                size: Some(100_000)
            }
        ),
        "{error:?}"
    );
    let before = fetch_file(&s.door, &s.fetch, &mut |_| {}, &cancel).unwrap_err();
    assert!(matches!(before, DownloadError::Cancelled { .. }));
}

#[test]
fn a_target_must_have_a_name() {
    let s = setting(|_, _, _| {});
    let folder = s.folder.path().to_str().unwrap();
    for path in ["/", "..", "a/..", "", folder] {
        let fetch = Fetch::new(s.fetch.url.clone(), path.into());
        let error = fetch_file(&s.door, &fetch, &mut |_| {}, &Cancel::new()).unwrap_err();
        assert!(
            matches!(error, DownloadError::BadTarget { .. }),
            "{path}: {error:?}"
        );
    }
}

#[test]
fn progress_only_grows_within_a_try_and_ends_at_the_size() {
    let s = cut_once("\"v1\"");
    let steps = Mutex::new(Vec::new());
    s.fetch_with(&mut |news| {
        if let Progress::Fetching { done, of } = news {
            assert_eq!(of, Some(100_000));
            steps.lock().unwrap().push(done);
        }
    })
    .unwrap();
    let steps = steps.into_inner().unwrap();
    assert!(steps.is_sorted());
    assert_eq!(steps.last(), Some(&100_000));
}

#[test]
fn what_a_killed_process_left_beside_a_whole_file_is_cleared_away() {
    let mut s = setting(|seen, stream, file| honest(seen, stream, file, "\"v1\""));
    s.fetch.sha256 = Some(sha256(&s.bytes));
    std::fs::write(&s.fetch.into, &s.bytes).unwrap();
    for name in [
        ".file.gguf.lock",
        ".file.gguf.partial.json",
        ".file.gguf.partial",
    ] {
        std::fs::write(s.folder.path().join(name), "").unwrap();
    }
    assert!(s.fetch().unwrap().already);
    assert_eq!(s.server.connections(), 0);
    s.is_right();
}

#[test]
fn a_server_without_ranges_cannot_take_away_what_is_there() {
    const CUTS: [usize; 6] = [40_000, 10_000, 70_000, 0, 69_999, 100_000];
    for digest in [true, false] {
        let mut s = setting(|seen, stream, file| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: \"v1\"\r\n\r\n";
            let _ = say(stream, head) && say(stream, &file[..CUTS[seen.nth]]);
        });
        s.fetch.sha256 = digest.then(|| sha256(&s.bytes));
        let mut reached = 0;
        s.fetch_with(&mut |news| {
            if let Progress::Fetching { done, .. } = news {
                assert!(done >= reached, "{done} after {reached}");
                reached = done;
            }
        })
        .unwrap();
        let asked = [
            None,
            Some(40_000),
            Some(40_000),
            Some(70_000),
            Some(70_000),
            Some(70_000),
        ];
        assert_eq!(s.asked_from(), asked);
        s.is_right();
    }
}

#[test]
fn what_is_refused_makes_and_reads_nothing() {
    let mut s = setting(|seen, stream, file| honest(seen, stream, file, "\"v1\""));
    s.fetch.into = s.folder.path().join("deep/file.gguf");
    s.fetch.url = "https://elsewhere.test/x".parse().unwrap();
    let error = s.fetch().unwrap_err();
    assert!(
        matches!(error, DownloadError::Egress(EgressError::NotAllowed { .. })),
        "{error:?}"
    );
    assert!(names(s.folder.path()).is_empty());
}

#[test]
fn a_file_that_only_git_names_is_verified_before_it_gets_its_name() {
    let git = |bytes: &[u8]| {
        use sha1::Digest as _;
        let mut hash = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
        hash.update(bytes);
        let text: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        ingle_store::Commit::parse(&text).unwrap()
    };
    let mut s = cut_once("W/\"weak\"");
    s.fetch.git = Some(git(&s.bytes));
    let fetched = s.fetch().unwrap();
    assert!(fetched.verified && !fetched.already);
    assert_eq!(s.asked_from(), [None, Some(40_000)]);
    s.is_right();
    let there = s.fetch().unwrap();
    assert!(there.verified && there.already);
    // Wrong bytes of the right length, in place and from the server.
    let mut s = setting(|seen, stream, file| {
        let mut wrong = file.to_vec();
        wrong[0] ^= 1;
        honest(seen, stream, &wrong, "\"v1\"");
    });
    s.fetch.git = Some(git(&s.bytes));
    s.fetch.size = Some(100_000);
    let error = s.fetch().unwrap_err();
    assert!(
        matches!(
            error,
            DownloadError::WrongDigest {
                kind: "git digest",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(s.server.connections(), 2);
    assert!(names(s.folder.path()).is_empty());
}

#[test]
fn git_names_an_empty_file_as_everybody_knows() {
    let mut s = setting(|seen, stream, _| honest(seen, stream, b"", "\"v1\""));
    let known = ingle_store::Commit::parse("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    s.fetch.git = Some(known.unwrap());
    let fetched = s.fetch().unwrap();
    assert!(fetched.verified && fetched.bytes == 0);
}

//! A thousand downloads from a server that lies, cuts, stalls and redirects, by a seed.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ingle_egress::{Cancel, Redirects, Token};
use ingle_store::download::{DownloadError, Fetch, fetch_file};

use crate::server::{Dice, Seen, Server, honest, honest_answer, say, tell};
use crate::{Rows, hasty, impatient_door, names, sha256};

const DOWNLOADS: usize = 1000;
const WORKERS: usize = 8;
const TOKEN: &str = "hf_thisIsTheSecret";

/// A file as the servers know it.
struct Hosted {
    bytes: Vec<u8>,
    /// Another file of the same name: what it may change into.
    other: Vec<u8>,
    /// Whether the caller knows the digest. Without one the server may be clumsy, but not lie, since
    /// nobody could know.
    digest: bool,
    /// Requests until the server tires of its tricks.
    tricks: usize,
    seed: u64,
    requests: AtomicUsize,
}

/// What the servers share.
struct World {
    files: Mutex<HashMap<String, Arc<Hosted>>>,
    /// Where redirects lead: a download host that is allowed, and a host that is not.
    cdn: Mutex<String>,
    forbidden: Mutex<String>,
}

impl World {
    fn answer(&self, seen: &Seen, stream: &mut TcpStream, at_cdn: bool) {
        let path = seen.path.split('?').next().unwrap();
        let file = self.files.lock().unwrap().get(path).unwrap().clone();
        let nth = file.requests.fetch_add(1, Ordering::SeqCst);
        if nth >= file.tricks {
            return honest(seen, stream, &file.bytes, "\"one\"");
        }
        let mut dice = Dice(file.seed.wrapping_add(nth as u64 * 7919));
        dice.next();
        if !at_cdn && dice.below(3) == 0 {
            let to = format!("{}{path}?sig=secret", self.cdn.lock().unwrap());
            say(
                stream,
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
            );
            return;
        }
        match dice.below(3) {
            0 => clumsy(seen, stream, &file, &mut dice),
            _ if !file.digest => clumsy(seen, stream, &file, &mut dice),
            1 => lying(seen, stream, &file, &mut dice),
            _ => self.misleading(seen, stream, &file, &mut dice),
        }
    }

    /// Sends the client somewhere else, or says no.
    fn misleading(&self, seen: &Seen, stream: &mut TcpStream, file: &Hosted, dice: &mut Dice) {
        let forbidden = self.forbidden.lock().unwrap().clone();
        let to = match dice.below(12) {
            0 => forbidden.clone(),
            1 => forbidden.replace("http://", "https://"),
            2 => "http://169.254.169.254/latest/meta-data".to_owned(),
            3 => "https://10.0.0.1/x".to_owned(),
            4 => "https://[::ffff:127.0.0.1]/x".to_owned(),
            5 => "file:///etc/passwd".to_owned(),
            6 => format!(
                "http://user:pass@{}",
                forbidden.trim_start_matches("http://")
            ),
            7 => "//".to_owned(),
            8 => "https://localhost/x".to_owned(),
            9 => {
                return tell(stream, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno");
            }
            10 => {
                return tell(stream, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
            }
            // A circle, until the tricks are over.
            _ => seen.path.clone(),
        };
        let _ = file;
        say(
            stream,
            format!("HTTP/1.1 307 There\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
        );
    }
}

/// What bad lines and bad servers do without malice.
fn clumsy(seen: &Seen, stream: &mut TcpStream, file: &Hosted, dice: &mut Dice) {
    let (head, body) = honest_answer(seen, &file.bytes, "\"one\"");
    let cut = dice.below(body.len() + 1);
    match dice.below(12) {
        0 => {}
        1 => tell(stream, &head.as_bytes()[..dice.below(head.len())]),
        2 => tell(
            stream,
            "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nbusy",
        ),
        3 => tell(
            stream,
            "HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n\r\n",
        ),
        4 => {
            // Ranges are not known here.
            let size = file.bytes.len();
            let _ = say(
                stream,
                format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: \"one\"\r\n\r\n"),
            ) && say(stream, &file.bytes);
        }
        5 if dice.below(4) == 0 => {
            let _ = say(stream, head) && say(stream, &body[..cut]);
            thread::sleep(Duration::from_millis(350));
        }
        6 => {
            // The file is another one now, for this answer.
            let (head, body) = honest_answer(seen, &file.other, "\"two\"");
            let _ = say(stream, head) && say(stream, &body[..body.len().min(cut)]);
        }
        7 => {
            // No version, or one that is no promise.
            let head = head.replace("\"one\"", ["W/\"one\"", "", "\""][dice.below(3)]);
            let _ = say(stream, head) && say(stream, &body[..cut]);
        }
        8 => tell(stream, "HTTP/1.1 500 Oh\r\n\r\n"),
        _ => {
            let _ = say(stream, head) && say(stream, &body[..cut]);
        }
    }
}

/// What only a digest finds out.
fn lying(seen: &Seen, stream: &mut TcpStream, file: &Hosted, dice: &mut Dice) {
    let size = file.bytes.len();
    let (head, body) = honest_answer(seen, &file.bytes, "\"one\"");
    let from = size - body.len();
    let answer = |status: &str, headers: String| format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n");
    let head = match dice.below(14) {
        0 => answer(
            "200 OK",
            format!("Content-Length: {}", size + 1 + dice.below(5000)),
        ),
        1 => answer("200 OK", format!("Content-Length: {}", dice.below(size))),
        2 => answer(
            "206 Part",
            format!("Content-Range: bytes {}-{}/{size}", from + 1, size - 1),
        ),
        3 => answer(
            "206 Part",
            format!("Content-Range: bytes {from}-{}/{}", size + 9, size + 10),
        ),
        4 => answer("206 Part", "Content-Range: bytes 5-4/3".to_owned()),
        5 => answer("206 Part", format!("Content-Length: {}", body.len())),
        6 => answer("416 No", "Content-Length: 0".to_owned()),
        7 => answer(
            "200 OK",
            format!("Content-Length: {size}\r\nContent-Encoding: gzip"),
        ),
        8 => answer("200 OK", format!("X-Long: {}", "y".repeat(200_000))),
        9 => "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        10 => answer("200 OK", "Transfer-Encoding: chunked".to_owned()) + "zz\r\n",
        11 => return endless(stream, dice),
        // Wrong bytes under a right head.
        _ => {
            let mut wrong = body.to_vec();
            if let Some(byte) = wrong.get_mut(dice.below(body.len())) {
                *byte ^= 1;
            }
            let _ = say(stream, head)
                && say(
                    stream,
                    &wrong[..wrong.len() - dice.below(2) * (wrong.len() / 3)],
                );
            return;
        }
    };
    let _ = say(stream, head) && say(stream, body);
}

/// A body that never ends: longer than any of the files, until the client has had enough.
fn endless(stream: &mut TcpStream, dice: &mut Dice) {
    let chunked = dice.below(2) == 0;
    let head = match chunked {
        true => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        false => "HTTP/1.0 200 OK\r\n\r\n",
    };
    let mut going = say(stream, head);
    let piece = vec![b'x'; 16 << 10];
    for _ in 0..10_000 {
        if !going {
            return;
        }
        going = (!chunked || say(stream, "4000\r\n"))
            && say(stream, &piece)
            && (!chunked || say(stream, "\r\n"));
    }
    panic!("a client that reads 160 MB of a small file");
}

#[test]
fn a_thousand_downloads_from_a_hostile_server_end_right() {
    let world = Arc::new(World {
        files: Mutex::default(),
        cdn: Mutex::default(),
        forbidden: Mutex::default(),
    });
    let (there, cdn_there) = (world.clone(), world.clone());
    let home = Server::start(move |seen, stream| there.answer(seen, stream, false));
    let cdn = Server::start(move |seen, stream| cdn_there.answer(seen, stream, true));
    let forbidden = Server::start(|_, stream| tell(stream, "HTTP/1.1 200 OK\r\n\r\nno"));
    *world.cdn.lock().unwrap() = cdn.url.clone();
    *world.forbidden.lock().unwrap() = forbidden.url.clone();
    let log = Arc::new(Rows::default());
    let redirects = Redirects::none().and(cdn.origin());
    let door = impatient_door(
        home.origin(),
        redirects,
        Duration::from_millis(250),
        log.clone(),
    );
    let folder = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    let errors = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::SeqCst);
                    if nth >= DOWNLOADS {
                        return;
                    }
                    let failed = download(nth, &world, &home, &door, folder.path());
                    errors.fetch_add(failed, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(
        names(folder.path()).len(),
        DOWNLOADS,
        "a partial file or a lock was left"
    );
    assert_eq!(forbidden.connections(), 0);
    assert!(
        cdn.connections() > 100 && errors.load(Ordering::SeqCst) > 100,
        "the server was too kind"
    );
    let seen = home.seen.lock().unwrap();
    assert!(
        seen.iter()
            .all(|request| request.header("authorization").is_some())
    );
    assert!(
        seen.iter()
            .filter(|request| request.from().is_some())
            .count()
            > 100
    );
    let elsewhere = cdn.seen.lock().unwrap();
    assert!(
        elsewhere
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    let rows = format!("{:?}", log.0.lock().unwrap());
    assert!(!rows.contains(TOKEN) && !rows.contains("sig="));
}

/// One file, asked for until it is there. Says how many calls failed on the way.
fn download(
    nth: usize,
    world: &World,
    home: &Server,
    door: &ingle_egress::Door,
    folder: &std::path::Path,
) -> usize {
    let mut dice = Dice(nth as u64);
    let size = match dice.below(4) {
        0 => 1 + dice.below(10),
        1 => 1 + dice.below(5000),
        _ => 1 + dice.below(200_000),
    };
    let hosted = Arc::new(Hosted {
        bytes: dice.bytes(size),
        other: {
            let size = 1 + dice.below(2 * size);
            dice.bytes(size)
        },
        digest: dice.below(4) != 0,
        tricks: dice.below(12),
        seed: dice.next(),
        requests: AtomicUsize::new(0),
    });
    let path = format!("/model/{nth}.gguf");
    world
        .files
        .lock()
        .unwrap()
        .insert(path.clone(), hosted.clone());
    let mut fetch = Fetch::new(home.at(&path), folder.join(format!("{nth}.gguf")));
    fetch.token = Some(Token::new(home.origin(), TOKEN).unwrap());
    fetch.patience = hasty(4);
    if hosted.digest {
        fetch.sha256 = Some(sha256(&hosted.bytes));
        fetch.size = (dice.below(2) == 0).then_some(size as u64);
    }
    for failed in 0..40 {
        match fetch_file(door, &fetch, &mut |_| {}, &Cancel::new()) {
            Ok(fetched) => {
                let there = std::fs::read(&fetch.into).unwrap();
                let right = there == hosted.bytes || (!hosted.digest && there == hosted.other);
                assert!(right, "file {nth} is wrong after {failed} errors");
                assert_eq!(fetched.sha256, Some(sha256(&there)));
                assert_eq!(fetched.bytes, there.len() as u64);
                assert_eq!(fetched.verified, hosted.digest);
                return failed;
            }
            Err(error) => {
                assert!(!fetch.into.exists(), "file {nth}: {error}");
                let text = error.to_string();
                assert!(!text.contains(TOKEN) && !text.contains("sig="), "{text}");
                let expected = matches!(
                    error,
                    DownloadError::GaveUp { .. }
                        | DownloadError::NotFound { .. }
                        | DownloadError::Denied { .. }
                        | DownloadError::NoLength { .. }
                        | DownloadError::WrongDigest { .. }
                        | DownloadError::Egress(
                            ingle_egress::EgressError::Redirect { .. }
                                | ingle_egress::EgressError::RedirectLoop { .. }
                        )
                );
                assert!(expected, "file {nth}: {error:?}");
            }
        }
    }
    panic!("file {nth} never came");
}

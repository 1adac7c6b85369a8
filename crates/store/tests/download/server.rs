//! A server on this machine whose every answer is written by the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counted from 0.
    pub nth: usize,
    pub path: String,
    head: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The first byte that is asked for.
    pub fn from(&self) -> Option<usize> {
        let range = self.header("range")?;
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

type Handler = dyn Fn(&Seen, &mut TcpStream) + Send + Sync;

/// A listener and what it saw.
pub struct Server {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Answers each connection's one request with `handler`, on a thread of its own.
    pub fn start(handler: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            connections: Arc::default(),
            stop: Arc::default(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, connections) = (server.seen.clone(), server.connections.clone());
        let stop = server.stop.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let nth = connections.fetch_add(1, Ordering::SeqCst);
                let (seen, handler) = (seen.clone(), handler.clone());
                thread::spawn(move || {
                    stream
                        .set_read_timeout(Some(Duration::from_secs(5)))
                        .unwrap();
                    if let Some(request) = read_request(nth, &stream) {
                        seen.lock().unwrap().push(request.clone());
                        handler(&request, &mut stream);
                    }
                    // What the client still says is read, so that closing does not reset what was sent.
                    drop(stream.shutdown(Shutdown::Write));
                    drop(stream.read(&mut [0; 64]));
                });
            }
        });
        server
    }

    /// Connections that were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn origin(&self) -> ingle_egress::Origin {
        ingle_egress::Origin::parse(&self.url).unwrap()
    }

    pub fn at(&self, path: &str) -> ingle_egress::Url {
        format!("{}{path}", self.url).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn read_request(nth: usize, stream: &TcpStream) -> Option<Seen> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let path = head.split(' ').nth(1)?.to_owned();
    Some(Seen { nth, path, head })
}

/// Writes; a client that is gone is none of a server's worries.
pub fn say(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) -> bool {
    stream.write_all(bytes.as_ref()).is_ok()
}

/// Writes what may be cut short without consequence.
pub fn tell(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let _ = say(stream, bytes);
}

/// The answer of an honest server that knows ranges.
pub fn honest(seen: &Seen, stream: &mut TcpStream, file: &[u8], etag: &str) {
    let (head, body) = honest_answer(seen, file, etag);
    let _ = say(stream, head) && say(stream, body);
}

/// Head and body of the honest answer.
pub fn honest_answer<'a>(seen: &Seen, file: &'a [u8], etag: &str) -> (String, &'a [u8]) {
    let size = file.len();
    let same = seen
        .header("if-range")
        .is_none_or(|version| version == etag);
    match seen.from().filter(|_| same) {
        None => (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: {etag}\r\n\r\n"),
            file,
        ),
        Some(from) if from >= size => (
            format!(
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"
            ),
            &[],
        ),
        Some(from) => (
            format!(
                "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{size}\r\nETag: {etag}\r\n\r\n",
                size - from,
                size - 1
            ),
            &file[from..],
        ),
    }
}

/// Numbers that are the same in each run (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

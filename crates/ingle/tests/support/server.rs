//! `ingle serve` for a test: started, asked, and ended with it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::zombie_processes,
    reason = "each test file uses a part, and a test may fail; a server is waited for when it is dropped"
)]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a test waits for the next byte of an answer: whoever waits longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that ends with the test, as hard as it gets.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    /// What it has said so far.
    notes: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// The program with a home of its own: keys, settings, what is kept and remembered.
pub fn at_home(home: &Path) -> Command {
    let mut command = crate::support::ingle();
    command.env("HOME", home).env_remove("INGLE_PREFIX_STORE");
    for (name, folder) in [
        ("XDG_CACHE_HOME", "k"),
        ("XDG_STATE_HOME", "s"),
        ("XDG_CONFIG_HOME", "c"),
    ] {
        command.env(name, home.join(folder));
    }
    command.stdin(Stdio::null());
    command
}

/// A home; its path is short, because that of a socket has little room.
pub fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("i").tempdir().unwrap()
}

impl Server {
    /// `ingle serve ARGS` on any free port.
    pub fn start(args: &[&str]) -> Self {
        Self::serve(crate::support::ingle(), args)
    }

    /// The same in somebody's home.
    pub fn start_at(home: &Path, args: &[&str]) -> Self {
        Self::serve(at_home(home), args)
    }

    /// Adds `serve --port 0 ARGS` to a command, and begins it.
    pub fn serve(mut command: Command, args: &[&str]) -> Self {
        command.args(["serve", "--port", "0"]).args(args);
        Self::begin(command)
    }

    /// A command that serves. Comes back when it says where it listens.
    pub fn begin(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let notes = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            let n = lines.read_line(&mut line).unwrap();
            assert!(n > 0, "it ended: {}", notes.lock().unwrap());
            notes.lock().unwrap().push_str(&line);
            let place = line.split_once(" at http");
            let place = place.and_then(|(_, rest)| rest.split_once("://"));
            if let Some((_, rest)) = place {
                break rest.trim().trim_end_matches("/v1").parse().unwrap();
            }
        };
        let all = Arc::clone(&notes);
        // Read to the end, lest the server waits for somebody to read.
        let reader = std::thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                all.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            child,
            address,
            notes,
            reader: Some(reader),
        }
    }

    /// What it has said so far on standard error.
    pub fn notes(&self) -> String {
        self.notes.lock().unwrap().clone()
    }

    /// Waits for its end: everything it said on both of its outputs.
    pub fn ended(&mut self) -> (std::process::ExitStatus, String) {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let mut said = Vec::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_end(&mut said).unwrap();
        }
        let out = String::from_utf8_lossy(&said).into_owned();
        (status, self.notes() + &out)
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends bytes and reads until the other side closes.
    pub fn send(&self, bytes: &[u8]) -> (u16, String, String) {
        send(self.address, bytes)
    }

    /// Status, head in small letters, and body without the lengths of its chunks.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> (u16, String, String) {
        request(self.address, method, path, headers, body)
    }

    /// Status and text of an answer.
    pub fn post_text(&self, path: &str, body: &Value) -> (u16, String) {
        let (status, _, body) = self.post_with(path, "", body);
        (status, body)
    }

    /// With more headers.
    pub fn post_with(&self, path: &str, headers: &str, body: &Value) -> (u16, String, String) {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.request("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Status and JSON of an answer.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.post_text(path, body);
        (status, json_of(&text))
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.request("GET", path, "", b"");
        (status, json_of(&body))
    }

    /// An answer that is right.
    pub fn right(&self, path: &str, body: &Value) -> Value {
        let (status, body) = self.post(path, body);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// What is there to be read.
    pub fn shown(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Requests that a model works on.
    pub fn running(&self) -> u64 {
        self.shown("/health")["running"].as_u64().unwrap()
    }

    /// The sum of all lines of `/metrics` that begin so.
    pub fn metric(&self, headers: &str, name: &str) -> f64 {
        let (_, _, text) = self.request("GET", "/metrics", headers, b"");
        let lines = text.lines().filter(|line| line.starts_with(name));
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        numbers.sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> (u16, String, String) {
    let length = body.len();
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    send(address, &bytes)
}

/// Status 0: the other side closed without an answer. Whoever waits too long for a byte fails.
pub fn send(address: SocketAddr, bytes: &[u8]) -> (u16, String, String) {
    let mut stream = connect(address);
    // A server that refuses may not read all of it.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let waited = read.is_err_and(|error| {
        matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        )
    });
    assert!(!waited, "an answer hangs");
    parts(&answer)
}

/// An answer's status, head in small letters, and body without the lengths of its chunks.
fn parts(answer: &[u8]) -> (u16, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = match end {
        Some(end) => (&answer[..end], &answer[end + 4..]),
        None => (answer, &[][..]),
    };
    let head = text(head).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = match head.contains("transfer-encoding: chunked") {
        true => text(&unchunked(body)),
        false => text(body),
    };
    (status.unwrap_or(0), head, body)
}

/// A body without the lengths of its chunks; of one that is cut off what came.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&rest[..line]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let chunk = &rest[line + 2..];
        out.extend_from_slice(&chunk[..length.min(chunk.len())]);
        rest = chunk.get(length + 2..).unwrap_or_default();
    }
    out
}

//! A hub on this machine, which says what the real one says, or what a test wants it to say.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part, and a test may fail"
)]

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// With its query.
    pub path: String,
    pub head: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Say {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Bytes after which the connection is cut.
    pub cut: Option<usize>,
}

impl Say {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut: None,
        }
    }

    pub fn json(value: &Value) -> Self {
        Self::new(200, value.to_string()).with("content-type", "application/json")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A server.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Seen) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (all, answer) = (seen.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answer) = (all.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &all, &*answer));
            }
        });
        Self { url, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Paths that were asked for, without the API's.
    pub fn files_asked(&self) -> Vec<String> {
        let paths = self.seen().into_iter().map(|seen| seen.path);
        paths.filter(|path| !path.starts_with("/api/")).collect()
    }
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Seen>>, answer: &dyn Fn(&Seen) -> Say) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let seen = Seen { path, head };
    all.lock().unwrap().push(seen.clone());
    let say = answer(&seen);
    let mut text = format!(
        "HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {}\r\n",
        say.status,
        say.body.len()
    );
    for (name, value) in &say.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let _ = stream.write_all((text + "\r\n").as_bytes());
    let end = say.cut.unwrap_or(say.body.len()).min(say.body.len());
    let _ = stream.write_all(&say.body[..end]);
}

/// A file's bytes, from the byte that is asked for.
pub fn file(seen: &Seen, bytes: &[u8]) -> Say {
    let from = seen.header("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let etag = format!("\"{}\"", hex(&Sha256::digest(bytes)));
    match from {
        Some(from) if from < bytes.len() => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Say::new(206, &bytes[from..])
                .with("content-range", &range)
                .with("etag", &etag)
        }
        _ => Say::new(200, bytes)
            .with("etag", &etag)
            .with("accept-ranges", "bytes"),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn git_oid(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

/// How the hub lists a file: large ones by their SHA-256, small ones by git's name for them.
pub fn sibling(name: &str, bytes: &[u8]) -> Value {
    let large = [".gguf", ".safetensors"]
        .iter()
        .any(|ending| name.ends_with(ending));
    let mut entry = json!({ "rfilename": name, "size": bytes.len(), "blobId": git_oid(bytes) });
    if large {
        entry["lfs"] = json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 });
    }
    entry
}

/// The files of one repository.
pub type Files = Vec<(&'static str, Vec<u8>)>;

pub fn info(repo: &str, siblings: &[Value]) -> Value {
    json!({ "_id": "1", "id": repo, "modelId": repo, "private": false, "gated": false, "sha": COMMIT, "siblings": siblings })
}

/// An honest hub with one repository.
pub fn answer(repo: &str, files: &Files, seen: &Seen) -> Say {
    let (path, _) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    if path == format!("/api/models/{repo}/revision/main") {
        let siblings: Vec<Value> = files
            .iter()
            .map(|(name, bytes)| sibling(name, bytes))
            .collect();
        return Say::json(&info(repo, &siblings));
    }
    let name = path.strip_prefix(&format!("/{repo}/resolve/{COMMIT}/"));
    match files.iter().find(|(file, _)| Some(*file) == name) {
        Some((_, bytes)) => file(seen, bytes),
        None if path == "/api/models" => Say::json(&json!([{ "id": repo }, { "id": "x/y" }])),
        None => Say::new(404, r#"{"error":"Repository not found"}"#)
            .with("x-error-code", "RepoNotFound"),
    }
}

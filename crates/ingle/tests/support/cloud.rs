//! Somebody who plays a provider: OpenAI's dialect on a port of this machine, with what a test has it say.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part, and a test may fail"
)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a provider does when it is asked.
#[derive(Debug, Clone)]
pub enum Does {
    /// Answers with this text.
    Says(&'static str),
    /// Answers with its beginning, and says nothing more.
    Stops(&'static str),
    /// Says no.
    Refuses(u16),
}

/// The provider.
pub struct Cloud {
    pub address: SocketAddr,
    does: Arc<Mutex<Does>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Cloud {
    pub fn new(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cloud = Self {
            address: listener.local_addr().unwrap(),
            does: Arc::new(Mutex::new(does)),
            asked: Arc::default(),
        };
        let (does, asked) = (Arc::clone(&cloud.does), Arc::clone(&cloud.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (does, asked) = (Arc::clone(&does), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream, &does, &asked));
            }
        });
        cloud
    }

    /// From now on it does this.
    pub fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// What it was asked.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// What ingle.toml says of it, as `cloud/big`; a token of an answer costs two millionths of a dollar.
    pub fn settings(&self) -> String {
        settings(self.address)
    }
}

/// The same of a provider at any address.
pub fn settings(address: SocketAddr) -> String {
    format!(
        "[providers.cloud]\ndialect = \"openai\"\nbase_url = \"http://{address}/v1\"\nprice_date = 2026-11-01\nretries = 0\n\
         connect_timeout = \"2s\"\n[providers.cloud.models.big]\ncontext = 4096\nusual_output = 100\n\
         input = \"1.00\"\noutput = \"2.00\"\n"
    )
}

/// A rule that lets everything go.
pub const ALLOW: &str = "[[policy.rule]]\nname = \"all\"\nthen = \"allow\"\n";

fn serve(stream: TcpStream, does: &Mutex<Does>, asked: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let begun = head.len();
        if !matches!(reader.read_line(&mut head), Ok(1..)) {
            return;
        }
        let line = head[begun..].to_ascii_lowercase();
        if let Some(n) = line.strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    asked.lock().unwrap().push(body.clone());
    let does = does.lock().unwrap().clone();
    let mut stream = reader.into_inner();
    // Whoever asked may have gone.
    let _ = answer(&mut stream, &does, body["stream"] == true);
}

fn answer(stream: &mut TcpStream, does: &Does, streamed: bool) -> std::io::Result<()> {
    let text = match does {
        Does::Says(text) | Does::Stops(text) => *text,
        Does::Refuses(status) => {
            let why = "{\"error\":{\"message\":\"not now\"}}";
            let n = why.len();
            return write!(
                stream,
                "HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {n}\r\n\r\n{why}"
            );
        }
    };
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5 });
    if !streamed {
        let choice = json!({ "index": 0, "message": { "content": text }, "finish_reason": "stop" });
        let whole = json!({ "choices": [choice], "usage": usage }).to_string();
        let n = whole.len();
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {n}\r\n\r\n{whole}"
        );
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    )?;
    let mut event = |data: Value| write!(stream, "data: {data}\n\n").and_then(|()| stream.flush());
    for word in text.split_inclusive(' ') {
        event(json!({ "choices": [{ "index": 0, "delta": { "content": word } }] }))?;
    }
    if matches!(does, Does::Stops(_)) {
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
    event(
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage }),
    )?;
    write!(stream, "data: [DONE]\n\n")
}

//! Providers on this machine, whose answers the tests write.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

pub const AUTHORITY: &[u8] = include_bytes!("../../../egress/tests/goldens/authority.der");
const CERTIFICATE: &[u8] = include_bytes!("../../../egress/tests/goldens/server.der");
const KEY: &[u8] = include_bytes!("../../../egress/tests/goldens/server.key.der");

/// What came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
    /// Requests before it.
    pub before: usize,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

pub trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

type Handler = dyn Fn(&Asked, &mut dyn Line) + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    host: &'static str,
}

impl Server {
    pub fn new(handler: impl Fn(&Asked, &mut dyn Line) + Send + Sync + 'static) -> Self {
        Self::named("127.0.0.1", handler)
    }

    /// The certificate is for 127.0.0.1, `hub.test` and `cdn.test`.
    pub fn named(
        host: &'static str,
        handler: impl Fn(&Asked, &mut dyn Line) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let server = Self {
            address: listener.local_addr().unwrap(),
            asked: asked.clone(),
            host,
        };
        let (config, handler): (_, Arc<Handler>) = (tls(), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, handler, config) = (asked.clone(), handler.clone(), config.clone());
                thread::spawn(move || serve(stream, config, &asked, &*handler));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("https://{}:{}/v1", self.host, self.address.port())
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

fn tls() -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key);
    Arc::new(config.unwrap())
}

fn serve(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    asked: &Mutex<Vec<Asked>>,
    handler: &Handler,
) {
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let after = stream.try_clone().unwrap();
    let connection = rustls::ServerConnection::new(config).unwrap();
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(1..) => {}
            _ => return,
        }
    }
    let mut request = Asked {
        head,
        body: Vec::new(),
        before: 0,
    };
    let length = request
        .header("content-length")
        .and_then(|n| n.parse().ok());
    request.body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut request.body).is_err() {
        return;
    }
    {
        let mut asked = asked.lock().unwrap();
        request.before = asked.len();
        asked.push(request.clone());
    }
    handler(&request, reader.get_mut());
    let _ = reader.get_mut().flush();
    let _ = after.shutdown(Shutdown::Write);
    let _ = (&after).read(&mut [0; 64]);
}

/// Writes; a client that is gone is none of a server's worries.
pub fn tell(line: &mut dyn Line, text: impl AsRef<[u8]>) {
    let _ = line.write_all(text.as_ref());
    let _ = line.flush();
}

pub fn answer(line: &mut dyn Line, status: &str, headers: &str, body: impl AsRef<[u8]>) {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    tell(line, [head.as_bytes(), body].concat());
}

pub fn json(line: &mut dyn Line, body: &Value) {
    answer(
        line,
        "200 OK",
        "Content-Type: application/json\r\n",
        body.to_string(),
    );
}

/// The head of a stream of events, which ends with the connection.
pub fn stream(line: &mut dyn Line) {
    tell(
        line,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
}

/// More of a stream.
pub fn more(line: &mut dyn Line, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let length = format!("{:x}\r\n", text.len());
    tell(line, [length.as_bytes(), text, b"\r\n"].concat());
}

pub fn end(line: &mut dyn Line) {
    tell(line, "0\r\n\r\n");
}

/// A text as OpenAI's stream, without its end.
pub fn delta(text: &str) -> String {
    let chunk = serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    format!("data: {chunk}\n\n")
}

/// How such a stream ends.
pub const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}\n\n\
    data: [DONE]\n\n";

/// A whole answer, streamed.
pub fn good(line: &mut dyn Line) {
    stream(line);
    more(line, delta("Hel"));
    more(line, delta("lo!"));
    more(line, STOP);
    end(line);
}

//! Servers on this machine, with and without TLS, whose answers the tests write.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ingle_egress::{Origin, Url};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub const AUTHORITY: &[u8] = include_bytes!("../goldens/authority.der");
const CERTIFICATE: &[u8] = include_bytes!("../goldens/server.der");
const KEY: &[u8] = include_bytes!("../goldens/server.key.der");

/// A connection, plain or not.
pub trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

type Handler = dyn Fn(&str, &mut dyn Line) + Send + Sync;

/// A listener and the heads of the requests that came.
pub struct Server {
    pub address: SocketAddr,
    pub heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    tls: bool,
}

impl Server {
    pub fn plain(handler: impl Fn(&str, &mut dyn Line) + Send + Sync + 'static) -> Self {
        Self::start(false, Arc::new(handler))
    }

    /// With a certificate for `hub.test`, `cdn.test` and 127.0.0.1.
    pub fn tls(handler: impl Fn(&str, &mut dyn Line) + Send + Sync + 'static) -> Self {
        Self::start(true, Arc::new(handler))
    }

    fn start(tls: bool, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            connections: Arc::default(),
            tls,
        };
        let (heads, connections) = (server.heads.clone(), server.connections.clone());
        let config = tls.then(tls_config);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                let (heads, handler, config) = (heads.clone(), handler.clone(), config.clone());
                thread::spawn(move || serve(stream, config, &heads, &*handler));
            }
        });
        server
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The URL of `path` here, under the name `host`.
    pub fn url(&self, host: &str, path: &str) -> Url {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.address.port())
            .parse()
            .unwrap()
    }

    pub fn origin(&self, host: &str) -> Origin {
        Origin::of(&self.url(host, "/")).unwrap()
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let heads = self.heads.lock().unwrap();
        heads.last()?.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

fn tls_config() -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .unwrap();
    Arc::new(config)
}

fn serve(
    stream: TcpStream,
    config: Option<Arc<rustls::ServerConfig>>,
    heads: &Mutex<Vec<String>>,
    handler: &Handler,
) {
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let after = stream.try_clone().unwrap();
    match config {
        None => answer(stream, heads, handler),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config).unwrap();
            answer(rustls::StreamOwned::new(connection, stream), heads, handler);
        }
    }
    drop(after.shutdown(Shutdown::Write));
    drop((&after).read(&mut [0; 64]));
}

fn answer(line: impl Line, heads: &Mutex<Vec<String>>, handler: &Handler) {
    let mut reader = BufReader::new(line);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(1..) => {}
            _ => return,
        }
    }
    heads.lock().unwrap().push(head.clone());
    handler(&head, reader.get_mut());
    drop(reader.get_mut().flush());
}

/// Writes; a client that is gone is none of a server's worries.
pub fn tell(line: &mut dyn Line, text: impl AsRef<[u8]>) {
    let _ = line.write_all(text.as_ref());
}

pub fn ok(line: &mut dyn Line, body: &str) {
    tell(
        line,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
}

pub fn redirect(line: &mut dyn Line, to: impl std::fmt::Display) {
    tell(
        line,
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
    );
}

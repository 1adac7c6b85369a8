//! Clients that are slow, many, or gone: bounds that hold, and an end in order.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::{Budget, Engine, EngineHandle, LoadOptions, Patience, Plan, Turns};
use ingle_formats::prompt::Prompter;
use ingle_server::{
    Allowed, ApiError, App, Config, Details, InMemory, Later, Limits, LogLine, Models, Offer,
    Preset, Room, Served, Watcher, serve,
};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::Model;
use tokio::sync::oneshot;

struct Server {
    address: SocketAddr,
    engine: EngineHandle,
    log: Arc<Mutex<Vec<String>>>,
    drain: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

fn start(limits: Limits) -> Server {
    start_with(limits, |models| models)
}

/// With its models in a room that `room` makes.
fn start_with<R: Room + 'static>(limits: Limits, room: impl Fn(Models) -> R) -> Server {
    let (metadata, source) = Model::random("qwen3moe").with_vocabulary().build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let budget = Budget::new(1 << 30);
    let options = LoadOptions {
        context: Some(4096),
        max_sequences: 2,
        max_waiting: 8,
        ..LoadOptions::default()
    };
    let plan = Plan::new(&metadata, &source, &ops, &options, budget.free()).unwrap();
    let engine = Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap();
    let (plan, vocabulary) = (engine.plan().clone(), engine.vocabulary().clone());
    let begun = Instant::now();
    let engine = EngineHandle::start(engine, Turns::default(), Patience::default(), move || {
        begun.elapsed()
    })
    .unwrap();
    let prompter = Prompter::new(vocabulary).unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let config = Config {
        limits,
        allowed: Allowed::default(),
        unix_time: || 0,
        random: || 7,
        log: Arc::new(move |line: &LogLine| {
            lines.lock().unwrap().push(format!(
                "{} {} {} {}",
                line.method,
                line.route,
                line.status,
                line.outcome.name()
            ));
        }),
        transcript: None,
    };
    let models = Models::one(Served::new("tiny".into(), &plan, prompter, engine.clone()));
    let app = App::new(config, room(models));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, drained) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let drained = async { drained.await.unwrap_or_default() };
            serve(listener, app, drained, std::future::pending())
                .await
                .unwrap();
        });
    });
    Server {
        address,
        engine,
        log,
        drain: Some(drain),
        thread,
    }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    fn ask(&self, body: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        stream
    }
}

fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let waited = read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!waited, "the other side does not close");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn the_slow_are_not_waited_for_and_one_too_many_is_told_so() {
    let quick = Duration::from_millis(200);
    let server = start(Limits {
        header_time: quick,
        body_idle: quick,
        connections: 3,
        ..Limits::default()
    });
    // Half a header, half a body, and nothing at all: each is ended.
    let mut half_header = server.connect();
    half_header
        .write_all(b"GET /health HTTP/1.1\r\nHost: local")
        .unwrap();
    let mut half_body = server.connect();
    half_body.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let silent = server.connect();
    let many = rest(server.connect());
    assert!(
        many.starts_with("HTTP/1.1 503") && many.contains("retry-after: 1"),
        "{many}"
    );
    assert!(many.contains("too_many_connections"), "{many}");
    let slow = rest(half_body);
    assert!(
        slow.starts_with("HTTP/1.1 408") && slow.contains("body_timeout"),
        "{slow}"
    );
    rest(half_header);
    rest(silent);
    // Their places are free again.
    let answer = rest(server.ask(r#"{"prompt": "a", "max_tokens": 2}"#));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() {
    let server = start(Limits::default());
    let endless = r#"{"prompt": "a", "max_tokens": 4000, "stream": true, "logprobs": 5, "logit_bias": {"2": -100}}"#;
    let silent = server.ask(endless);
    let answer =
        rest(server.ask(r#"{"prompt": "b", "max_tokens": 50, "logit_bias": {"2": -100}}"#));
    assert!(answer.contains("\"completion_tokens\":50"), "{answer}");
    drop(silent);
    while server.engine.stats().live > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn draining_takes_nothing_new_and_what_takes_too_long_is_cut_off() {
    let mut server = start(Limits {
        drain_time: Duration::from_millis(300),
        ..Limits::default()
    });
    let endless =
        r#"{"prompt": "SECRET", "max_tokens": 4000, "stream": true, "logit_bias": {"2": -100}}"#;
    let mut stream = server.ask(endless);
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    rest(server.ask("{\"prompt\": \"SECRET"));
    let mut path = server.connect();
    path.write_all(b"GET /SECRET HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    rest(path);
    server.drain.take().unwrap().send(()).unwrap();
    let cut = rest(stream);
    // It was finished in time, or says that it was not.
    assert!(
        cut.contains("\"finish_reason\":\"length\"") || cut.contains("\"code\":\"cancelled\""),
        "{}",
        &cut[cut.len().saturating_sub(300)..]
    );
    server.thread.join().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
    // A line is written when its request ends: the one that was cut off comes last.
    let log = server.log.lock().unwrap();
    let ended = |line: &String| line.starts_with("POST /v1/completions 200 c");
    assert!(log.last().is_some_and(ended), "{log:?}");
    assert_eq!(
        log.get(..2),
        Some(
            &[
                "POST /v1/completions 400 refused".to_owned(),
                "GET - 404 refused".into()
            ][..]
        )
    );
}

/// A room that falls where it is asked for a model, with words of the request in its mouth.
#[derive(Debug)]
struct Falls(Models);

impl Room for Falls {
    fn name_of(&self, name: Option<&str>) -> Result<String, ApiError> {
        assert!(name != Some("at once"), "SECRET {name:?}");
        Ok(name.unwrap_or("tiny").to_owned())
    }

    fn open<'a>(&'a self, id: &'a str) -> Later<'a, Arc<Served>> {
        assert!(id != "later", "SECRET {id}");
        self.0.open(id)
    }

    fn preset(&self, _: &str) -> Option<Preset> {
        None
    }

    fn list(&self) -> Vec<Offer> {
        self.0.list()
    }

    fn loaded(&self) -> Vec<InMemory> {
        self.0.loaded()
    }

    fn engines(&self) -> Vec<Arc<Served>> {
        self.0.engines()
    }

    fn unload<'a>(&'a self, id: &'a str) -> Later<'a, bool> {
        self.0.unload(id)
    }

    fn show(&self, id: &str) -> Result<Details, ApiError> {
        self.0.show(id)
    }

    fn pull(&self, name: &str, watcher: Watcher) -> Result<(), ApiError> {
        self.0.pull(name, watcher)
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), ApiError> {
        self.0.copy(from, to)
    }

    fn delete(&self, name: &str) -> Result<(), ApiError> {
        self.0.delete(name)
    }

    fn close(&self) {
        self.0.close();
    }

    fn is_open(&self) -> bool {
        self.0.is_open()
    }
}

#[test]
fn a_fault_ends_one_request_and_tells_no_word_of_it() {
    let server = start_with(Limits::default(), Falls);
    let sane = r#"{"prompt": "a", "max_tokens": 2}"#;
    for fault in ["at once", "later"] {
        let body = format!(r#"{{"model": "{fault}", "prompt": "SECRET", "max_tokens": 2}}"#);
        let answer = rest(server.ask(&body));
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
        assert!(
            answer.contains("internal_error") && !answer.contains("SECRET"),
            "{answer}"
        );
        assert!(rest(server.ask(sane)).starts_with("HTTP/1.1 200"));
    }
    let log = server.log.lock().unwrap();
    let of = |end: &str| log.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!((of("500 refused"), of("200 completed")), (2, 2), "{log:?}");
}

//! Providers that answer, and providers that do everything wrong, over TLS.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::result_large_err,
    clippy::indexing_slicing,
    reason = "tests may fail"
)]

mod answers;
mod faults;
mod hostile;
mod pools;
mod server;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ingle_egress::{Door, DoorOptions, Event, Log, Resolve, Resolving, Row};
use ingle_gateway::chat::{Message, Piece, Request, Role};
use ingle_gateway::ledger::{Currency, Prices};
use ingle_gateway::provider::{
    Answer, CallError, Charged, Dialect, Key, PoolSettings, Provider, ProviderSettings, Providers,
    RemoteModel, Retries, Secret, Thinking, Timeouts,
};

use server::Server;

/// The key of all tests: it must turn up nowhere.
pub const KEY: &str = "sk-test-0123456789abcdef-SECRET";

/// Rows in memory.
#[derive(Default)]
pub struct Rows(pub Mutex<Vec<Row>>);

impl Log for Rows {
    fn record(&self, row: &Row) -> io::Result<()> {
        self.0.lock().unwrap().push(row.clone());
        Ok(())
    }
}

impl Rows {
    pub fn asked(&self) -> usize {
        let rows = self.0.lock().unwrap();
        let asked = rows
            .iter()
            .filter(|row| matches!(row.event, Event::Asked { .. }));
        asked.count()
    }
}

/// Every name is this machine.
struct Here;

impl Resolve for Here {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })
    }
}

pub fn model(name: &str) -> RemoteModel {
    let dollar = 1_000_000_000;
    RemoteModel {
        name: name.into(),
        context: 100_000,
        max_output: 8000,
        usual_output: 1000,
        tools: true,
        images: true,
        image_tokens: 2000,
        thinking: Thinking::Effort,
        prices: Prices {
            currency: Currency::USD,
            input: dollar,
            cached_input: dollar,
            cache_write: dollar,
            output: dollar,
            dated: "2026-11-01".into(),
        },
    }
}

pub fn settings(name: &str, dialect: Dialect, server: &Server) -> ProviderSettings {
    let mut settings = ProviderSettings::new(name, dialect, &server.url());
    settings.key = Key::Given(Secret::new(KEY));
    settings.models = vec![model("m")];
    settings.timeouts = Timeouts {
        connect: Duration::from_secs(5),
        first: Duration::from_secs(5),
        between: Duration::from_secs(5),
        whole: Duration::from_secs(20),
    };
    settings.retries = Retries {
        times: 2,
        first: Duration::from_millis(20),
        most: Duration::from_secs(2),
    };
    settings
}

pub struct World {
    pub providers: Providers,
    pub rows: Arc<Rows>,
}

pub fn world(settings: Vec<ProviderSettings>, pools: Vec<PoolSettings>) -> World {
    let made = settings.into_iter().map(|s| Provider::new(s).unwrap());
    let made: Vec<Provider> = made.collect();
    let rows = Arc::new(Rows::default());
    let options = DoorOptions {
        endpoints: Providers::endpoints(&made),
        authorities: vec![server::AUTHORITY.to_vec()],
        resolver: Arc::new(Here),
        ..DoorOptions::default()
    };
    let start = Instant::now();
    let clock = Arc::new(move || start.elapsed());
    let door = Door::new(options, rows.clone());
    let providers = Providers::new(door, made, pools, clock, 7).unwrap();
    World { providers, rows }
}

pub fn request() -> Request {
    let system = Message::text(Role::System, "Be brief.");
    Request::new("req_1", vec![system, Message::text(Role::User, "Hello?")])
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

impl World {
    pub fn ask(&self, target: &str, request: &Request) -> Result<Answered, CallError> {
        run(on_any_thread(async {
            let asked = self.providers.ask(target, request, "policy.rule[1]");
            Ok(read(asked.await?).await)
        }))
    }
}

/// A server asks on any of its threads.
fn on_any_thread<T: Send>(work: T) -> T {
    work
}

/// An answer that was read as far as it goes.
#[derive(Debug)]
pub struct Answered {
    pub pieces: Vec<Piece>,
    pub error: Option<CallError>,
    pub charged: Charged,
    pub usage_fault: Option<&'static str>,
    pub upstream: String,
    pub tries: u32,
}

pub async fn read(mut answer: Answer) -> Answered {
    let (mut pieces, mut error) = (Vec::new(), None);
    loop {
        match answer.next().await {
            Ok(Some(piece)) => pieces.push(piece),
            Ok(None) => break,
            Err(why) => {
                error = Some(why);
                assert!(answer.next().await.unwrap().is_none());
                break;
            }
        }
    }
    Answered {
        pieces,
        error,
        charged: answer.charged(),
        usage_fault: answer.usage_fault(),
        upstream: answer.upstream().to_owned(),
        tries: answer.tries(),
    }
}

impl Answered {
    pub fn text(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

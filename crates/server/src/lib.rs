//! Floor 5: the dialects that clients speak. Now: OpenAI's.
//!
//! ```text
//! let app = App::new(config, models);
//! run(listener, app, ending)                   until Ctrl-C or SIGTERM, or
//! serve(listener, app, drain, stop).await      on a runtime that is there
//! ```
//!
//! `listen` takes connections, `gate` says who may ask, `route` finds who answers. A dialect (`openai`)
//! reads what its clients send into a `talk::Wanted` and writes what comes of it.
//! No clock or environment is read here: [`Config`] hands in what is needed. Only [`run`] listens
//! for signals, because a program asked it to. Nothing that is
//! logged holds a word of a prompt or an answer.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod anthropic;
mod body;
mod bounds;
mod call;
mod ending;
mod error;
mod fields;
mod gate;
mod keys;
mod listen;
mod llama_cpp;
mod lookup;
mod manage;
mod metrics;
mod ollama;
mod openai;
mod preset;
mod reply;
mod room;
mod route;
mod routing;
mod run;
mod served;
mod stall;
mod stream;
pub mod talk;
mod time;
mod tls;

pub use anthropic::MessagesRequest;
pub use error::ApiError;
pub use gate::Allowed;
pub use http::StatusCode;
pub use keys::{Caller, Key, Keys, Need};
pub use listen::{Listeners, serve};
pub use llama_cpp::CompletionRequest as LlamaCompletionRequest;
pub use metrics::Outcome;
pub use ollama::{EmbedRequest as OllamaEmbedRequest, OllamaRequest};
pub use openai::chat_request::ChatRequest;
pub use openai::completions_request::CompletionRequest;
pub use openai::responses::request::ResponsesRequest;
pub use preset::Preset;
pub use room::{
    Details, InMemory, Later, Models, Offer, Progress, Room, Watcher, in_memory, not_found,
};
pub use run::{Notice, Sockets, run, run_until_stopped};
pub use served::{KeepAlive, Limit, Served};
pub use tls::{Tls, TlsError};

use ingle_gateway::decide::Gateway;
use metrics::Metrics;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Bounds on what a client may send and take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// How long the next part of a body may take.
    pub body_idle: Duration,
    /// How long a whole body may take.
    pub body_time: Duration,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of all headers together.
    pub header_bytes: usize,
    /// How long headers may take; a connection that asks nothing is closed after that.
    pub header_time: Duration,
    /// Bytes of all bodies that are there at the same time.
    pub bodies_bytes: usize,
    /// How long a client may take no byte of its answer before the connection is closed.
    pub write_stall: Duration,
    /// Connections at the same time.
    pub connections: usize,
    /// Requests at the same time that a model works on or will; one more is refused at once.
    pub requests: usize,
    /// How long answers may take to finish when the server is asked to end.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            body_idle: Duration::from_secs(20),
            body_time: Duration::from_secs(120),
            headers: 100,
            header_bytes: 64 << 10,
            header_time: Duration::from_secs(20),
            bodies_bytes: 256 << 20,
            write_stall: Duration::from_secs(60),
            connections: 256,
            requests: 64,
            drain_time: Duration::from_secs(30),
        }
    }
}

/// One line of the log: what was asked and what became of it, without a word of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The request's name, which its answer has as `x-request-id`.
    pub id: Arc<str>,
    /// The method.
    pub method: &'static str,
    /// The path as this server knows it; `-` for one that it does not.
    pub route: &'static str,
    /// The name of the key; `-` for nobody in particular.
    pub caller: String,
    /// The HTTP status; 0 where the client went before there was one.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Until its end.
    pub time: Duration,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.time.as_secs_f64() * 1000.0;
        let (method, route, status) = (self.method, self.route, self.status);
        let (outcome, id, caller) = (self.outcome.name(), &self.id, &self.caller);
        write!(
            f,
            "{method} {route} {status} {ms:.0} ms {outcome} {id} {caller}"
        )
    }
}

/// Which side of a request is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the client sent.
    Request,
    /// What it was answered.
    Answer,
}

/// Takes the words of requests and answers, by the request's name.
pub type Transcript = Arc<dyn Fn(&str, Side, &[u8]) + Send + Sync>;

/// What the program hands in.
#[derive(Clone)]
pub struct Config {
    /// Bounds.
    pub limits: Limits,
    /// Who may ask.
    pub allowed: Allowed,
    /// Seconds since 1970.
    pub unix_time: fn() -> i64,
    /// 64 bits that nobody can guess: for names of answers, and for seeds where none is given.
    pub random: fn() -> u64,
    /// Takes lines of the log.
    pub log: Arc<dyn Fn(&LogLine) + Send + Sync>,
    /// Takes every word of requests and answers, where somebody asked for that.
    pub transcript: Option<Transcript>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// A server without its connections.
#[derive(Debug)]
pub struct App {
    pub(crate) config: Config,
    pub(crate) models: Arc<dyn Room>,
    pub(crate) keys: Keys,
    pub(crate) metrics: Metrics,
    pub(crate) responses: openai::responses::Store,
    /// [`Limits::requests`].
    pub(crate) places: Arc<Semaphore>,
    /// [`Limits::bodies_bytes`].
    pub(crate) bodies: Arc<Semaphore>,
    /// Somebody who may has asked the server to end.
    pub(crate) end: Notify,
    /// Decides who answers; none: this machine always does.
    pub(crate) gateway: Option<Arc<Gateway>>,
}

impl App {
    /// A server of these models, for whom it is on this machine.
    pub fn new(config: Config, models: impl Room + 'static) -> Arc<Self> {
        Self::with_keys(config, Arc::new(models), Keys::new(Need::IfThereAre))
    }

    /// A server of these models, for those who have a key.
    pub fn with_keys(config: Config, models: Arc<dyn Room>, keys: Keys) -> Arc<Self> {
        Self::with_gateway(config, models, keys, None)
    }

    /// The same; `gateway` decides which requests a provider answers, and writes down each.
    pub fn with_gateway(
        config: Config,
        models: Arc<dyn Room>,
        keys: Keys,
        gateway: Option<Arc<Gateway>>,
    ) -> Arc<Self> {
        let limits = &config.limits;
        let bodies = limits.bodies_bytes.div_ceil(body::GRAIN);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(limits.requests)),
            bodies: Arc::new(Semaphore::new(bodies.min(Semaphore::MAX_PERMITS))),
            config,
            models,
            keys,
            metrics: Metrics::default(),
            responses: openai::responses::Store::default(),
            end: Notify::new(),
            gateway,
        })
    }

    /// Who may ask: may be changed while the server runs.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

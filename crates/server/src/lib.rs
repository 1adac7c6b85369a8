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
mod call;
mod caller;
mod error;
mod fields;
mod gate;
mod listen;
mod llama_cpp;
mod lookup;
mod ollama;
mod openai;
mod route;
mod run;
mod served;
mod stream;
pub mod talk;
mod time;

pub use anthropic::MessagesRequest;
pub use caller::Caller;
pub use error::ApiError;
pub use gate::Allowed;
pub use listen::serve;
pub use llama_cpp::CompletionRequest as LlamaCompletionRequest;
pub use ollama::{EmbedRequest as OllamaEmbedRequest, OllamaRequest};
pub use openai::chat_request::ChatRequest;
pub use run::run;
pub use served::{Models, Served};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// Connections at the same time.
    pub connections: usize,
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
            connections: 256,
            drain_time: Duration::from_secs(30),
        }
    }
}

/// One line of the log: what was asked and what became of it, without a word of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The method.
    pub method: &'static str,
    /// The path as this server knows it; `-` for one that it does not.
    pub route: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Until the answer, or its stream, began.
    pub time: Duration,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.time.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} {} {} {ms:.0} ms",
            self.method, self.route, self.status
        )
    }
}

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
    pub(crate) models: Models,
}

impl App {
    /// A server of these models.
    pub fn new(config: Config, models: Models) -> Arc<Self> {
        Arc::new(Self { config, models })
    }
}

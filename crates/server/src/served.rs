//! A model that is served.

use crate::talk::Grammars;
use ingle_engine::{EngineHandle, NUMERICS_CLASS, Plan};
use ingle_formats::prompt::Prompter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A model that is loaded and answers. It is in use as long as somebody but its room holds the `Arc`
/// it lies in; hold it until the answer is over.
#[derive(Debug)]
pub struct Served {
    /// Its name in answers.
    pub id: String,
    /// Other names by which requests may call it.
    pub aliases: Vec<String>,
    /// When it was loaded: seconds since 1970.
    pub created: i64,
    /// Positions of a sequence.
    pub context: u32,
    /// Requests that are worked on at the same time.
    pub parallel: u32,
    /// Numbers of an embedding.
    pub width: usize,
    /// Scores are probabilities already, not logits.
    pub scores_probabilities: bool,
    /// What its answers say of how they were computed: the numerics class, within which a seed gives the
    /// same answer, and every approximation that was asked for.
    pub fingerprint: String,
    /// What its answers depend on, as calibrations of its confidence know it.
    pub identity: String,
    /// Makes grammars of what its answers must be.
    pub grammars: Grammars,
    /// Makes its prompts.
    pub prompter: Arc<Prompter>,
    /// Works on its requests.
    pub engine: EngineHandle,
    /// How long it stays when nobody uses it.
    pub keep_alive: KeepAlive,
    /// Bytes of memory that it holds.
    pub bytes: u64,
    /// What bounds how fast it generates, where that was measured.
    pub limit: Option<Limit>,
}

/// What bounds how fast a model generates: its weights are read once for a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Bytes of weights that one token is computed with.
    pub token_bytes: u64,
    /// Bytes that this machine reads from memory in a second.
    pub read_rate: f64,
}

/// How long a model stays loaded when nobody uses it; requests may say otherwise.
#[derive(Debug)]
pub struct KeepAlive(Mutex<Option<Duration>>);

impl KeepAlive {
    /// So long; `None`: until its memory is wanted.
    pub fn new(time: Option<Duration>) -> Self {
        Self(Mutex::new(time))
    }

    /// From now on.
    pub fn set(&self, time: Option<Duration>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// As it is now.
    pub fn get(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// A model that was loaded as `plan` says.
    pub fn new(id: String, plan: &Plan, prompter: Prompter, engine: EngineHandle) -> Self {
        Self {
            identity: id.clone(),
            id,
            aliases: Vec::new(),
            created: 0,
            context: plan.context,
            parallel: plan.options.max_sequences,
            width: plan.needs.shape.width,
            scores_probabilities: plan.needs.causal,
            fingerprint: NUMERICS_CLASS.to_owned(),
            grammars: Grammars::default(),
            prompter: Arc::new(prompter),
            engine,
            keep_alive: KeepAlive::new(None),
            bytes: plan.total(),
            limit: None,
        }
    }

    /// Whether requests may call it so.
    pub fn is_called(&self, name: &str) -> bool {
        self.id == name || self.aliases.iter().any(|alias| alias == name)
    }
}

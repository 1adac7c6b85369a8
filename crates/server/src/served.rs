//! The models that are served, by name.

use crate::error::ApiError;
use http::StatusCode;
use ingle_engine::{EngineHandle, NUMERICS_CLASS, Plan};
use ingle_formats::prompt::Prompter;
use std::sync::Arc;

/// A model that is loaded and answers.
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
    /// Makes its prompts.
    pub prompter: Arc<Prompter>,
    /// Works on its requests.
    pub engine: EngineHandle,
}

impl Served {
    /// A model that was loaded as `plan` says.
    pub fn new(id: String, plan: &Plan, prompter: Prompter, engine: EngineHandle) -> Self {
        Self {
            id,
            aliases: Vec::new(),
            created: 0,
            context: plan.context,
            parallel: plan.options.max_sequences,
            width: plan.needs.shape.width,
            scores_probabilities: plan.needs.causal,
            fingerprint: NUMERICS_CLASS.to_owned(),
            prompter: Arc::new(prompter),
            engine,
        }
    }
}

/// All models that are served: at least one.
#[derive(Debug)]
pub struct Models {
    first: Arc<Served>,
    others: Vec<Arc<Served>>,
}

impl Models {
    /// One model.
    pub fn one(model: Served) -> Self {
        Self {
            first: Arc::new(model),
            others: Vec::new(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Served>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The model that a request names; the only one where it names none.
    ///
    /// # Errors
    /// 404 `model_not_found`, with the names of what is served.
    pub fn find(&self, name: Option<&str>) -> Result<&Arc<Served>, ApiError> {
        let Some(name) = name else {
            if self.others.is_empty() {
                return Ok(&self.first);
            }
            return Err(ApiError::invalid("model", "say which `model` is to answer"));
        };
        let called = |m: &&Arc<Served>| m.id == name || m.aliases.iter().any(|a| a == name);
        self.iter().find(called).ok_or_else(|| {
            let ids: Vec<String> = self.iter().map(|m| format!("`{}`", m.id)).collect();
            let message = format!("there is no such model here; served: {}", ids.join(", "));
            ApiError {
                param: Some("model".into()),
                ..ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message)
            }
        })
    }
}

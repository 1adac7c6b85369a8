//! The room in which models are kept: which there are, which are loaded, and who leaves.
//!
//! The binary hands in a [`Room`], because finding and loading models is its business. [`Models`] is
//! the room of a program that has loaded all it wants to serve.

use crate::error::ApiError;
use crate::preset::Preset;
use crate::served::Served;
use http::StatusCode;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a method of [`Room`] gives that may have to wait.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// A model that can be asked for, loaded or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offer {
    /// What to ask for.
    pub id: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Bytes of its file.
    pub bytes: u64,
    /// When the file was last changed: seconds since 1970.
    pub modified: i64,
    /// `gguf` or `safetensors`.
    pub format: &'static str,
    /// The architecture, as `qwen3`.
    pub family: String,
    /// Numbers of the network.
    pub parameters: u64,
    /// How most weights are stored, as `Q4_K_M`; empty where it is not known.
    pub quantization: String,
    /// SHA-256 of the file in hexadecimal digits, where it is known without reading the file.
    pub digest: Option<String>,
    /// Positions it was trained for.
    pub trained_context: u32,
    /// It writes text, and does not only compute embeddings or scores.
    pub generates: bool,
    /// The name of the model that this one is a preset of.
    pub base: Option<String>,
}

/// A model that is loaded now.
#[derive(Debug, Clone)]
pub struct InMemory {
    /// The model.
    pub id: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Where its file lies; not for everybody to see.
    pub path: Option<PathBuf>,
    /// Bytes of memory that it holds.
    pub bytes: u64,
    /// Positions of a sequence.
    pub context: u32,
    /// Requests that hold it now.
    pub users: usize,
    /// Until it is taken out of memory if nobody asks; `None`: until its memory is wanted.
    pub expires_in: Option<Duration>,
    /// Requests of it that run, and that are there.
    pub running: usize,
    /// See `running`.
    pub live: usize,
}

/// A model in all its details, for `/api/show` and the like.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// What a list says of it.
    pub offer: Offer,
    /// The chat template.
    pub template: Option<String>,
    /// What it is told first.
    pub system: Option<String>,
    /// Parameters that it has beside, one a pair.
    pub parameters: Vec<(String, String)>,
    /// The licence's text, where it lies with the model.
    pub license: Option<String>,
    /// What the file says of itself: names and values; long lists are left out.
    pub metadata: Vec<(String, serde_json::Value)>,
    /// What it can do: `completion`, `tools`, `thinking`, `embedding`, `insert`.
    pub capabilities: Vec<&'static str>,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, as `pulling manifest`.
    pub status: String,
    /// Which file.
    pub file: Option<String>,
    /// Its bytes, where they are known.
    pub total: Option<u64>,
    /// Those that are here.
    pub completed: Option<u64>,
}

/// Is told how far a download is; `false` ends it.
pub type Watcher = Box<dyn FnMut(Progress) -> bool + Send>;

/// Where models come from. Names are those that requests use; none of them is ever taken for a path.
pub trait Room: fmt::Debug + Send + Sync {
    /// The [`Served::id`] that a name stands for, without loading anything; of the only or the first
    /// model where no name is given.
    ///
    /// # Errors
    /// 404 `model_not_found`.
    fn name_of(&self, name: Option<&str>) -> Result<String, ApiError>;

    /// The model of this [`Served::id`], loaded if it is not. It stays as long as the answer is held.
    ///
    /// Errors: 404 `model_not_found`; 503 `model_does_not_fit`, with what is in use; what is wrong
    /// with its file.
    fn open<'a>(&'a self, id: &'a str) -> Later<'a, Arc<Served>>;

    /// Whether [`Self::preset`] ever says anything.
    fn has_presets(&self) -> bool {
        false
    }

    /// What requests of this [`Served::id`] mean where they say nothing themselves.
    fn preset(&self, id: &str) -> Option<Preset>;

    /// All that can be asked for. May read the disk: not for a thread that serves connections.
    fn list(&self) -> Vec<Offer>;

    /// All that are loaded.
    fn loaded(&self) -> Vec<InMemory>;

    /// The engines that are there, for measuring.
    fn engines(&self) -> Vec<Arc<Served>>;

    /// Takes a model out of memory, once nobody uses it any more. `false`: it is not loaded.
    fn unload<'a>(&'a self, id: &'a str) -> Later<'a, bool>;

    /// A model in all its details. May read the disk.
    ///
    /// # Errors
    /// 404 `model_not_found`.
    fn show(&self, id: &str) -> Result<Details, ApiError>;

    /// Downloads a model. Works on the calling thread until it is here.
    ///
    /// # Errors
    /// 403 where this server does not download; what the hub said.
    fn pull(&self, name: &str, watcher: Watcher) -> Result<(), ApiError>;

    /// Gives a model another name, which is remembered.
    ///
    /// # Errors
    /// 404 for the first name, 409 where the second one is another model's.
    fn copy(&self, from: &str, to: &str) -> Result<(), ApiError>;

    /// Forgets a model's name that [`Self::copy`] gave, or deletes a model that may be deleted.
    ///
    /// # Errors
    /// 404; 403 where its file belongs to another program.
    fn delete(&self, name: &str) -> Result<(), ApiError>;

    /// Nothing is loaded any more, and what runs is cancelled.
    fn close(&self);

    /// Whether models can be loaded and asked.
    fn is_open(&self) -> bool;
}

/// A room with models that are loaded already, and no others: at least one.
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

    /// One more.
    #[must_use]
    pub fn and(mut self, model: Served) -> Self {
        self.others.push(Arc::new(model));
        self
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Served>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn find(&self, name: &str) -> Result<&Arc<Served>, ApiError> {
        let found = self.iter().find(|model| model.is_called(name));
        found.ok_or_else(|| not_found(self.iter().map(|model| model.id.as_str())))
    }
}

/// There is no such model; `ids` are there.
pub fn not_found<'a>(ids: impl Iterator<Item = &'a str>) -> ApiError {
    /// More names than this are no help.
    const SHOWN: usize = 20;
    let ids: Vec<String> = ids.take(SHOWN).map(|id| format!("`{id}`")).collect();
    let message = format!("there is no such model here; served: {}", ids.join(", "));
    ApiError {
        param: Some("model".into()),
        ..ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message)
    }
}

/// This room cannot do that.
fn fixed() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "models_are_fixed",
        "the models of this server were chosen by the program that started it",
    )
}

impl Room for Models {
    fn name_of(&self, name: Option<&str>) -> Result<String, ApiError> {
        let Some(name) = name else {
            if self.others.is_empty() {
                return Ok(self.first.id.clone());
            }
            return Err(ApiError::invalid("model", "say which `model` is to answer"));
        };
        Ok(self.find(name)?.id.clone())
    }

    fn open<'a>(&'a self, id: &'a str) -> Later<'a, Arc<Served>> {
        Box::pin(async move { self.find(id).cloned() })
    }

    fn preset(&self, _: &str) -> Option<Preset> {
        None
    }

    fn list(&self) -> Vec<Offer> {
        let offer = |model: &Arc<Served>| Offer {
            id: model.id.clone(),
            aliases: model.aliases.clone(),
            bytes: model.bytes,
            modified: model.created,
            format: "gguf",
            trained_context: model.context,
            generates: true,
            ..Offer::default()
        };
        self.iter().map(offer).collect()
    }

    fn loaded(&self) -> Vec<InMemory> {
        self.iter().map(|model| in_memory(model, None)).collect()
    }

    fn engines(&self) -> Vec<Arc<Served>> {
        self.iter().cloned().collect()
    }

    fn unload<'a>(&'a self, _: &'a str) -> Later<'a, bool> {
        Box::pin(async { Err(fixed()) })
    }

    fn show(&self, id: &str) -> Result<Details, ApiError> {
        let model = self.find(id)?;
        let offer = self.list().into_iter().find(|offer| offer.id == model.id);
        Ok(Details {
            offer: offer.unwrap_or_default(),
            ..Details::default()
        })
    }

    fn pull(&self, _: &str, _: Watcher) -> Result<(), ApiError> {
        Err(fixed())
    }

    fn copy(&self, _: &str, _: &str) -> Result<(), ApiError> {
        Err(fixed())
    }

    fn delete(&self, _: &str) -> Result<(), ApiError> {
        Err(fixed())
    }

    fn close(&self) {
        self.iter().for_each(|model| model.engine.stop());
    }

    fn is_open(&self) -> bool {
        self.iter().all(|model| model.engine.is_open())
    }
}

/// What is said of a loaded model. Its room holds one `Arc` of it.
pub fn in_memory(model: &Arc<Served>, expires_in: Option<Duration>) -> InMemory {
    let stats = model.engine.stats();
    InMemory {
        id: model.id.clone(),
        aliases: model.aliases.clone(),
        path: None,
        bytes: model.bytes,
        context: model.context,
        users: Arc::strong_count(model).saturating_sub(1),
        expires_in,
        running: stats.running,
        live: stats.live,
    }
}

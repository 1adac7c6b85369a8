//! Ollama's dialect (<https://github.com/ollama/ollama/blob/main/docs/api.md>, read 2026-11).
//!
//! `request` and its neighbours read, `answer` asks, `reply` writes; `models`, `library` and `embed` are
//! the other paths. Two things differ on purpose: nothing is cut from a prompt that is too long, which
//! is refused with the numbers, and an answer never pushes the beginning of its context out.

mod answer;
mod embed;
mod keep_alive;
mod library;
mod messages;
mod models;
mod names;
mod options;
mod reply;
mod request;

use crate::body::{Body, full, json};
use crate::call::Call;
use crate::error::ApiError;
use http::{HeaderValue, Response, StatusCode, header};
use reply::Shape;
use serde_json::{Value, json};
use std::sync::Arc;

pub use embed::EmbedRequest;
pub use request::OllamaRequest;

pub(crate) use names::meant;

/// The version of Ollama whose interface this is: clients ask for it to see what they may use.
const VERSION: &str = "0.33.0";

/// What this dialect answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Root,
    Version,
    Tags,
    Ps,
    Show,
    Chat,
    Generate,
    Embed,
    Embeddings,
    Pull,
    Copy,
    Delete,
    /// Making and giving away models.
    NotDone,
}

/// Method, path, and who answers.
pub const ROUTES: &[(&str, &str, Path)] = &[
    ("GET", "/", Path::Root),
    ("GET", "/api/version", Path::Version),
    ("GET", "/api/tags", Path::Tags),
    ("GET", "/api/ps", Path::Ps),
    ("POST", "/api/show", Path::Show),
    ("POST", "/api/chat", Path::Chat),
    ("POST", "/api/generate", Path::Generate),
    ("POST", "/api/embed", Path::Embed),
    ("POST", "/api/embeddings", Path::Embeddings),
    ("POST", "/api/pull", Path::Pull),
    ("POST", "/api/copy", Path::Copy),
    ("DELETE", "/api/delete", Path::Delete),
    ("POST", "/api/create", Path::NotDone),
    ("POST", "/api/push", Path::NotDone),
    ("POST", "/api/blobs/{id}", Path::NotDone),
];

/// Answers a request.
pub async fn answer(path: Path, call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    match path {
        Path::Root => Ok(running()),
        Path::Version => {
            let ingle = env!("CARGO_PKG_VERSION");
            Ok(json(&json!({ "version": VERSION, "ingle": ingle })))
        }
        Path::Tags => models::tags(&call).await,
        Path::Ps => models::ps(&call).await,
        Path::Show => models::show(&call).await,
        Path::Chat => answer::answer(call, Shape::Chat).await,
        Path::Generate => answer::answer(call, Shape::Generate).await,
        Path::Embed => embed::embed(&call).await,
        Path::Embeddings => embed::embeddings(&call).await,
        Path::Pull => library::pull(&call).await,
        Path::Copy => library::copy(&call).await,
        Path::Delete => library::delete(&call).await,
        Path::NotDone => Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            "models are not made or given away here: `ingle quantize` makes one, and a preset in ingle.toml is what a Modelfile is",
        )),
    }
}

/// Does what may take long away from where connections are served.
async fn aside<T: Send + 'static>(
    call: &Arc<Call>,
    work: impl FnOnce(&Call) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let call = Arc::clone(call);
    let done = tokio::task::spawn_blocking(move || work(&call)).await;
    done.map_err(|_| ApiError::internal("a fault in Ingle"))?
}

/// What clients look for before anything else.
fn running() -> Response<Body> {
    let mut response = Response::new(full("Ollama is running"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// An error: `{"error": "..."}`.
pub fn error(error: &ApiError) -> Value {
    json!({ "error": error.named() })
}

/// `num_ctx` is larger than the model was loaded for.
fn context_too_large(asked: u32, loaded: u32) -> ApiError {
    let message = format!(
        "`options.num_ctx` is {asked} and the model was loaded for {loaded}; leave it out, or start the server with --ctx {asked}"
    );
    ApiError::invalid("options.num_ctx", message)
}

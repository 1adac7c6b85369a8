//! What whoever runs the server asks it: `/ingle/ps`, `/ingle/stop`, `/metrics`, `/openapi.json`.

use crate::App;
use crate::body::{Body, full, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::keys::Caller;
use crate::room::InMemory;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// What is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Metrics,
    OpenApi,
    Ps,
    Stop,
}

/// Method, path, and who answers.
pub const ROUTES: &[(&str, &str, Path)] = &[
    ("GET", "/metrics", Path::Metrics),
    ("GET", "/openapi.json", Path::OpenApi),
    ("GET", "/ingle/ps", Path::Ps),
    ("POST", "/ingle/stop", Path::Stop),
];

/// Answers a request.
pub async fn answer(path: Path, call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    match path {
        Path::Metrics => Ok(metrics(&call.app)),
        Path::OpenApi => Ok(openapi()),
        Path::Ps => Ok(json(&ps(&call.app, &call.caller))),
        Path::Stop => stop(&call).await,
    }
}

/// Numbers, in Prometheus' text format.
fn metrics(app: &App) -> Response<Body> {
    let text = app.metrics.text(&app.models.engines());
    let mut response = Response::new(full(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What there is to ask, as OpenAPI describes it. `route` holds the file to the list of paths.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

fn openapi() -> Response<Body> {
    let text = OPENAPI.replace("INGLE_VERSION", env!("CARGO_PKG_VERSION"));
    let mut response = Response::new(full(text));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Which models are loaded. Where their files lie is told the owner of this machine alone.
fn ps(app: &App, caller: &Caller) -> Value {
    let one = |model: &InMemory| {
        let mut value = json!({
            "id": model.id, "aliases": model.aliases, "bytes": model.bytes,
            "context": model.context, "users": model.users, "running": model.running,
            "waiting": model.live.saturating_sub(model.running),
            "expires_in_s": model.expires_in.map(|time| time.as_secs()),
        });
        if caller.is_owner() {
            let path = model.path.as_ref().map(|path| path.display().to_string());
            value = crate::body::with(value, "path", path);
        }
        value
    };
    let loaded = app.models.loaded();
    let seen = loaded.iter().filter(|model| caller.may_use(&model.id));
    json!({ "models": seen.map(one).collect::<Vec<_>>() })
}

/// Takes a model out of memory, or with no `model` ends the server.
async fn stop(call: &Call) -> Result<Response<Body>, ApiError> {
    call.may_manage()?;
    let body = parse(&call.body)?;
    let fields = Fields::of_body(&body)?;
    let Some(name) = fields.str("model")? else {
        call.app.end.notify_one();
        return Ok(json(&json!({ "ending": true })));
    };
    let id = call.model_id(Some(name))?;
    let unloaded = call.app.models.unload(&id).await?;
    Ok(json(&json!({ "model": id, "unloaded": unloaded })))
}

//! `GET /v1/models` and one of them, as far as the caller may use them.

use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::room::{Offer, not_found};
use crate::served::Served;
use http::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// All that can be asked for: those that are loaded first.
pub async fn list(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let data = on_disk(call, |call| Ok(all(call))).await?;
    Ok(json(&json!({ "object": "list", "data": data })))
}

/// One by its name or an alias.
pub async fn one(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let found = on_disk(call, |call| {
        let id = call.app.models.name_of(Some(&call.id))?;
        let mut all = all(call).into_iter();
        all.find(|model| model["id"] == *id)
            .ok_or_else(|| not_found(std::iter::empty()))
    });
    Ok(json(&found.await?))
}

/// Lists of models are read from disk: not where connections are served.
async fn on_disk<T: Send + 'static>(
    call: Arc<Call>,
    look: impl FnOnce(&Call) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || look(&call)).await;
    done.map_err(|_| ApiError::internal("a fault in Ingle"))?
}

fn all(call: &Call) -> Vec<Value> {
    let loaded = call.app.models.engines();
    let offers = call.app.models.list();
    let others = offers
        .iter()
        .filter(|o| !loaded.iter().any(|m| m.id == o.id));
    let loaded = loaded
        .iter()
        .map(|model| (model.id.as_str(), served(model)));
    loaded
        .chain(others.map(|other| (other.id.as_str(), offered(other))))
        .filter(|(id, _)| call.caller.may_use(id))
        .map(|(_, value)| value)
        .chain(elsewhere(call))
        .collect()
}

/// What providers answer, and the name by which the gateway chooses.
fn elsewhere(call: &Call) -> Vec<Value> {
    let gateway = call
        .app
        .gateway
        .as_ref()
        .filter(|gateway| gateway.has_cloud());
    let names = gateway.map(|gateway| gateway.cloud.names());
    let names = names.map(|names| std::iter::once("auto".to_owned()).chain(names));
    let names = names.into_iter().flatten();
    names
        .filter(|name| call.caller.may_use(name) || call.caller.may_use("auto"))
        .map(|name| {
            let owner = name
                .split_once('/')
                .map_or("ingle", |(provider, _)| provider);
            json!({ "id": name, "object": "model", "created": 0, "owned_by": owner })
        })
        .collect()
}

fn served(model: &Served) -> Value {
    json!({
        "id": model.id, "object": "model", "created": model.created, "owned_by": "ingle",
        "context_length": model.context,
    })
}

fn offered(offer: &Offer) -> Value {
    json!({
        "id": offer.id, "object": "model", "created": offer.modified, "owned_by": "ingle",
    })
}

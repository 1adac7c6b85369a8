//! `GET /v1/models` and one of them.

use crate::App;
use crate::body::{Body, json};
use crate::error::ApiError;
use crate::served::Served;
use http::Response;
use serde_json::{Value, json};

/// All that are served.
pub fn list(app: &App) -> Response<Body> {
    let data: Vec<Value> = app.models.iter().map(|m| model(m)).collect();
    json(&json!({ "object": "list", "data": data }))
}

/// One by its name or an alias.
pub fn one(app: &App, name: &str) -> Result<Response<Body>, ApiError> {
    Ok(json(&model(app.models.find(Some(name))?)))
}

fn model(model: &Served) -> Value {
    json!({
        "id": model.id, "object": "model", "created": model.created, "owned_by": "ingle",
        "context_length": model.context,
    })
}

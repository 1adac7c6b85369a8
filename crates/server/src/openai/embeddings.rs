//! `POST /v1/embeddings`.

use crate::App;
use crate::body::Body;
use crate::error::ApiError;
use http::Response;
use std::sync::Arc;

/// Answers a request.
pub async fn answer(app: &Arc<App>, _body: Vec<u8>) -> Result<Response<Body>, ApiError> {
    let _ = app;
    Err(ApiError::unsupported(
        "model",
        "this model gives no embeddings",
    ))
}

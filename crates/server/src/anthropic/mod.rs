//! Anthropic's dialect (the Messages API, version 2023-06-01; shapes as the types of the Python package
//! `anthropic` have them, read 2026-11).
//!
//! `request` with `content` and `tools` reads, `answer` asks, `reply` writes the events.

mod answer;
mod content;
mod models;
mod reply;
mod request;
mod tools;

use crate::App;
use crate::body::Body;
use crate::call::Call;
use crate::error::{ApiError, MORE_ROOM};
use http::{HeaderMap, Response};
use serde_json::{Value, json};
use std::sync::Arc;

pub use request::MessagesRequest;

/// What this dialect answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Messages,
    CountTokens,
    /// The two paths that OpenAI's dialect has too: see [`is_meant`].
    Models,
    Model,
}

/// Method, path, and who answers.
pub const ROUTES: &[(&str, &str, Path)] = &[
    ("POST", "/v1/messages", Path::Messages),
    ("POST", "/v1/messages/count_tokens", Path::CountTokens),
];

/// Whether a client of a path that several dialects have speaks this one.
pub fn is_meant(headers: &HeaderMap) -> bool {
    headers.contains_key("anthropic-version")
}

/// Answers a request.
pub async fn answer(path: Path, call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    match path {
        Path::Messages => answer::messages(call).await,
        Path::CountTokens => answer::count_tokens(call).await,
        Path::Models => models::list(call).await,
        Path::Model => models::one(call).await,
    }
}

/// An error: `{"type": "error", "error": {"type": ..., "message": ...}, "request_id": ...}`; the request's
/// `name` is what clients report.
pub fn error(error: &ApiError, name: &str) -> Value {
    let kind = match error.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let message = match error.excess {
        // Claude Code reads the numbers, and sums up the conversation.
        Some((tokens, context)) => {
            format!("prompt is too long: {tokens} tokens > {context} maximum; {MORE_ROOM}")
        }
        None => error.named(),
    };
    json!({
        "type": "error", "error": { "type": kind, "message": message }, "request_id": name,
    })
}

/// A name that nothing else has.
fn new_id(app: &App, prefix: &str) -> String {
    format!("{prefix}_{:016x}", (app.config.random)())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_look_like_anthropics() {
        assert_eq!(
            error(&ApiError::invalid("a", "no"), "req_1").to_string(),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"`a`: no"},"request_id":"req_1"}"#
        );
        let long = ApiError {
            excess: Some((29_346, 4096)),
            ..ApiError::invalid("messages", "too long")
        };
        let message = error(&long, "req_1")["error"]["message"].clone();
        let message = message.as_str().unwrap();
        assert!(message.starts_with("prompt is too long: 29346 tokens > 4096 maximum; "));
        assert_eq!(
            error(&ApiError::internal("x"), "req_1")["error"]["type"],
            "api_error"
        );
    }
}

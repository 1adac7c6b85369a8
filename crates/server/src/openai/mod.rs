//! OpenAI's dialect.

mod chat;
pub mod chat_request;
mod completions;
pub mod completions_request;
mod embeddings;
mod feedback;
mod forms;
mod logprobs;
mod messages;
mod models;
mod rerank;
pub mod responses;
mod sampling;
mod tools;

use crate::App;
use crate::body::Body;
use crate::call::Call;
use crate::error::{ApiError, MORE_ROOM};
use crate::talk::{End, Usage};
use http::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// What this dialect answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Models,
    Model,
    Chat,
    Completions,
    Embeddings,
    Rerank,
    Feedback,
    Responses,
    InputTokens,
    InputItems,
    CancelResponse,
    GetResponse,
    DeleteResponse,
}

/// Method, path, and who answers.
pub const ROUTES: &[(&str, &str, Path)] = &[
    ("GET", "/v1/models", Path::Models),
    ("GET", "/v1/models/{id}", Path::Model),
    ("POST", "/v1/chat/completions", Path::Chat),
    ("POST", "/v1/completions", Path::Completions),
    ("POST", "/v1/embeddings", Path::Embeddings),
    ("POST", "/v1/rerank", Path::Rerank),
    ("POST", "/v1/feedback", Path::Feedback),
    ("POST", "/v1/responses", Path::Responses),
    ("POST", "/v1/responses/input_tokens", Path::InputTokens),
    ("GET", "/v1/responses/{id}/input_items", Path::InputItems),
    ("POST", "/v1/responses/{id}/cancel", Path::CancelResponse),
    ("GET", "/v1/responses/{id}", Path::GetResponse),
    ("DELETE", "/v1/responses/{id}", Path::DeleteResponse),
];

/// Answers a request.
pub async fn answer(path: Path, call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    match path {
        Path::Models => models::list(call).await,
        Path::Model => models::one(call).await,
        Path::Chat => chat::answer(call).await,
        Path::Completions => completions::answer(call).await,
        Path::Embeddings => embeddings::answer(call).await,
        Path::Rerank => rerank::answer(call).await,
        Path::Feedback => feedback::answer(call).await,
        Path::Responses => responses::answer(call).await,
        Path::InputTokens => responses::input_tokens(call).await,
        Path::InputItems => responses::input_items(&call),
        Path::CancelResponse => responses::cancel(&call),
        Path::GetResponse => responses::get(&call),
        Path::DeleteResponse => responses::delete(&call),
    }
}

/// An error: `{"error": {message, type, param, code}}`.
pub fn error(error: &ApiError) -> Value {
    let kind = match error.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let message = match error.excess {
        // Agents look for these words, and sum up the conversation.
        Some((tokens, context)) => format!(
            "this model's maximum context length is {context} tokens, and the prompt has {tokens}: {MORE_ROOM}"
        ),
        None => error.message.clone(),
    };
    json!({ "error": {
        "message": message, "type": kind, "param": error.param, "code": error.code,
    } })
}

/// A name that no other answer has.
fn new_id(app: &App, prefix: &str) -> String {
    format!("{prefix}-{:016x}", (app.config.random)())
}

/// How an answer ended.
fn finish_reason(end: &End) -> &'static str {
    match end {
        End::Stop | End::StopText(_) => "stop",
        End::Length => "length",
        End::Calls => "tool_calls",
    }
}

/// What completions took.
fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt, "completion_tokens": usage.generated,
        "total_tokens": usage.prompt + usage.generated,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_look_like_openais() {
        let full = error(&ApiError::invalid("a.b", "no"));
        assert_eq!(
            full.to_string(),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"a.b","code":"invalid_value"}}"#
        );
        assert_eq!(
            error(&ApiError::internal("x"))["error"]["type"],
            "server_error"
        );
    }
}

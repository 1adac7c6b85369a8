//! llama.cpp's own paths (<https://github.com/ggml-org/llama.cpp/tree/master/tools/server>, read
//! 2026-11), for editors and tools that speak to its server.
//!
//! `request` reads completions, `reply` writes them; `tokens` and `props` are the other paths. There are
//! no slots here to save, restore or choose: a prompt finds what was computed of it by itself.

mod completion;
mod props;
mod reply;
mod request;
mod tokens;

use crate::body::{Body, with};
use crate::call::Call;
use crate::error::ApiError;
use http::Response;
use serde_json::{Value, json};
use std::sync::Arc;

pub use request::CompletionRequest;

/// What this dialect answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Completion,
    Infill,
    Tokenize,
    Detokenize,
    ApplyTemplate,
    Props,
    Slots,
}

/// Method, path, and who answers.
pub const ROUTES: &[(&str, &str, Path)] = &[
    ("POST", "/completion", Path::Completion),
    ("POST", "/completions", Path::Completion),
    ("POST", "/infill", Path::Infill),
    ("POST", "/tokenize", Path::Tokenize),
    ("POST", "/detokenize", Path::Detokenize),
    ("POST", "/apply-template", Path::ApplyTemplate),
    ("GET", "/props", Path::Props),
    ("GET", "/slots", Path::Slots),
];

/// Answers a request.
pub async fn answer(path: Path, call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    match path {
        Path::Completion => completion::answer(call, CompletionRequest::parse).await,
        Path::Infill => completion::answer(call, CompletionRequest::parse_infill).await,
        Path::Tokenize => tokens::tokenize(call).await,
        Path::Detokenize => tokens::detokenize(call).await,
        Path::ApplyTemplate => tokens::apply_template(call).await,
        Path::Props => props::props(&call).await,
        Path::Slots => props::slots(&call).await,
    }
}

/// An error: `{"error": {"code": 400, "message": ..., "type": ...}}`.
pub fn error(error: &ApiError) -> Value {
    let kind = match (error.status.as_u16(), error.code) {
        (_, Some("context_length_exceeded")) => "exceed_context_size_error",
        (401, _) => "authentication_error",
        (403, _) => "permission_error",
        (404, _) => "not_found_error",
        (501, _) => "not_supported_error",
        (429 | 503, _) => "unavailable_error",
        (500.., _) => "server_error",
        _ => "invalid_request_error",
    };
    let code = error.status.as_u16();
    let mut body = json!({ "code": code, "message": error.named(), "type": kind });
    if let Some((tokens, context)) = error.excess {
        body = with(with(body, "n_prompt_tokens", tokens), "n_ctx", context);
    }
    json!({ "error": body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_look_like_llama_cpps() {
        assert_eq!(
            error(&ApiError::invalid("a", "no")).to_string(),
            r#"{"error":{"code":400,"message":"`a`: no","type":"invalid_request_error"}}"#
        );
    }
}

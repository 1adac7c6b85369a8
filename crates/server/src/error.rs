//! What goes wrong, as OpenAI's clients know it.

use crate::body::{Body, full};
use http::{HeaderValue, Response, StatusCode, header};
use ingle_engine::Refusal;
use ingle_engine::sampler::SamplingError;
use ingle_formats::prompt::PromptError;
use serde_json::{Value, json};

/// A request that is not answered, and why: `{"error": {message, type, param, code}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What happened and what to do.
    pub message: String,
    /// Which field of the request, as `messages[2].role`.
    pub param: Option<String>,
    /// A word for programs.
    pub code: Option<&'static str>,
    /// Seconds after which it may work.
    pub retry_after: Option<u32>,
    /// The methods that a path has.
    pub allow: Option<&'static str>,
}

impl ApiError {
    /// An error of this status.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: Some(code),
            retry_after: None,
            allow: None,
        }
    }

    /// A field has a value that makes no sense.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message)
        }
    }

    /// A field asks for what Ingle or this model cannot do.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::BAD_REQUEST, "unsupported_value", message)
        }
    }

    /// A fault of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// It may work in so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// OpenAI's name for this kind of error.
    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind(), "param": self.param, "code": self.code,
        } })
    }

    /// As an answer.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(full(self.to_json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// A refusal of the engine; `prompt` is the field that the prompt came from.
pub(crate) fn refused(refusal: &Refusal, prompt: &str) -> ApiError {
    let message = refusal.to_string();
    let too_long = || ApiError {
        code: Some("context_length_exceeded"),
        ..ApiError::invalid(prompt, message.clone())
    };
    match refusal {
        Refusal::PromptTooLong { .. }
        | Refusal::ContextOverflow { .. }
        | Refusal::TextTooLong { .. } => too_long(),
        Refusal::WritesNothing { .. } | Refusal::NoEmbedding | Refusal::NoScore => {
            ApiError::unsupported("model", message)
        }
        Refusal::Busy { .. } => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "server_busy", message).retry_after(1)
        }
        Refusal::Stopped => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "server_stopping", message)
                .retry_after(5)
        }
        Refusal::NothingToDo => ApiError::invalid("max_tokens", message),
        Refusal::Stops { .. } => ApiError::invalid("stop", message),
        Refusal::Sampling(error) => match error {
            SamplingError::Range { parameter, .. } => ApiError::invalid(*parameter, message),
            SamplingError::TooManyLogprobs { .. } => ApiError::invalid("logprobs", message),
            _ => ApiError::invalid("logit_bias", message),
        },
        _ => ApiError::invalid(prompt, message),
    }
}

impl From<PromptError> for ApiError {
    fn from(error: PromptError) -> Self {
        match error {
            PromptError::NoTemplate => Self::unsupported(
                "messages",
                "this model has no chat template; send a text to /v1/completions instead",
            ),
            other => Self::invalid("messages", other.to_string()),
        }
    }
}

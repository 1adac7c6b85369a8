//! What goes wrong, in no dialect's words.

use crate::body::{Body, full};
use crate::talk::Names;
use http::{HeaderValue, Response, StatusCode, header};
use ingle_engine::Refusal;
use ingle_engine::constrain::ConstraintError;
use ingle_engine::sampler::SamplingError;
use ingle_formats::prompt::PromptError;
use serde_json::Value;

/// A request that is not answered, and why. Each dialect has its own shape for it.
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
    pub allow: Option<String>,
    /// A prompt does not fit: its tokens, and those of the context. Programs look for these in the words of
    /// their own dialect, and shorten the conversation then.
    pub excess: Option<(u32, u32)>,
}

/// What helps where a prompt does not fit.
pub(crate) const MORE_ROOM: &str = "shorten it, or start the server with a larger --ctx";

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
            excess: None,
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

    /// The message with the field's name, for dialects that have no other place for it.
    pub(crate) fn named(&self) -> String {
        match &self.param {
            Some(param) if !param.is_empty() && !self.message.contains(param.as_str()) => {
                format!("`{param}`: {}", self.message)
            }
            _ => self.message.clone(),
        }
    }

    /// It may work in so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// As an answer, whose body a dialect has written.
    pub(crate) fn response(&self, body: &Value) -> Response<Body> {
        let mut response = Response::new(full(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(Ok(allow)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

/// A refusal of the engine; `names` says which fields it comes from.
pub(crate) fn refused(refusal: &Refusal, names: &Names) -> ApiError {
    let message = refusal.to_string();
    let excess = match refusal {
        Refusal::PromptTooLong {
            prompt_tokens,
            context,
        } => Some((u32::try_from(*prompt_tokens).unwrap_or(u32::MAX), *context)),
        _ => None,
    };
    let too_long = || ApiError {
        code: Some("context_length_exceeded"),
        excess,
        ..ApiError::invalid(names.input, message.clone())
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
        Refusal::NothingToDo => ApiError::invalid(names.max_tokens, message),
        Refusal::Stops { .. } => ApiError::invalid(names.stop, message),
        Refusal::Sampling(error) => refused_sampling(error),
        _ => ApiError::invalid(names.input, message),
    }
}

/// A number of the sampler that is out of its range.
pub(crate) fn refused_sampling(error: &SamplingError) -> ApiError {
    let param = match error {
        SamplingError::Range { parameter, .. } => parameter,
        SamplingError::TooManyLogprobs { .. } => "logprobs",
        SamplingError::InfillOfMany { .. } => "top_k",
        SamplingError::NoSuchBreaker { .. } => "dry_sequence_breakers",
        _ => "logit_bias",
    };
    ApiError::invalid(param, error.to_string())
}

/// What an answer cannot be kept to.
pub(crate) fn refused_constraint(error: &ConstraintError, names: &Names) -> ApiError {
    let param = match error {
        ConstraintError::Tool { .. } | ConstraintError::NoCalls => names.tools,
        ConstraintError::NoTool { .. } => names.tool_choice,
        _ => names.form,
    };
    ApiError::unsupported(param, error.to_string())
}

/// A conversation that this model's template does not make a prompt of.
pub(crate) fn refused_prompt(error: PromptError, names: &Names) -> ApiError {
    match error {
        PromptError::NoTemplate => ApiError::unsupported(
            names.input,
            "this model has no chat template; send a text to /v1/completions instead",
        ),
        other => ApiError::invalid(names.input, other.to_string()),
    }
}

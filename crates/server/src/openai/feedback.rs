//! `POST /v1/feedback`: whether an answer was right, so that confidence can be held against it.

use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::openai::forms::missing;
use http::{Response, StatusCode};
use ingle_gateway::confidence::outcomes::OutcomeError;
use ingle_gateway::decide::Feedback;
use serde_json::json;
use std::sync::Arc;

/// The longest name of a request.
const LONGEST: usize = 64;

/// `{"id": "req-...", "right": true}`; the id is the answer's `x-request-id`.
pub async fn answer(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let feedback = read(&call.body)?;
    let id = feedback.id.clone();
    let noted = match &call.app.gateway {
        Some(gateway) => gateway.sureness.feedback(feedback).await.ok(),
        None => None,
    };
    match noted {
        Some(Ok(())) => Ok(json(
            &json!({ "id": id, "object": "feedback", "kept": true }),
        )),
        Some(Err(error @ OutcomeError::Unknown { .. })) => Err(ApiError {
            param: Some("id".into()),
            ..ApiError::new(StatusCode::NOT_FOUND, "answer_not_found", error.to_string())
        }),
        Some(Err(error)) => Err(ApiError::internal(error.to_string())),
        None => {
            let message = "nothing is remembered of answers here: only where ingle.toml has a provider, and for requests that could be answered by one";
            Err(ApiError::new(StatusCode::NOT_FOUND, "no_feedback", message))
        }
    }
}

fn read(body: &[u8]) -> Result<Feedback, ApiError> {
    let body = parse(body)?;
    let fields = Fields::of_body(&body)?;
    let id = fields.str("id")?.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| missing("id".into()))?;
    if id.len() > LONGEST {
        let message =
            format!("`id` has more than {LONGEST} bytes: give the `x-request-id` of the answer");
        return Err(ApiError::invalid("id", message));
    }
    Ok(Feedback {
        id: id.to_owned(),
        right: fields
            .bool("right")?
            .ok_or_else(|| missing("right".into()))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let read = |text: &str| read(text.as_bytes()).map_err(|e| e.param.unwrap_or_default());
        let right = Feedback {
            id: "req-1".into(),
            right: true,
        };
        assert_eq!(read(r#"{"id": "req-1", "right": true}"#), Ok(right));
        assert_eq!(read(r#"{"right": true}"#), Err("id".into()));
        assert_eq!(read(r#"{"id": "req-1"}"#), Err("right".into()));
        assert_eq!(
            read(r#"{"id": "req-1", "right": "yes"}"#),
            Err("right".into())
        );
        let long = format!(r#"{{"id": "{}", "right": true}}"#, "x".repeat(65));
        assert_eq!(read(&long), Err("id".into()));
    }
}

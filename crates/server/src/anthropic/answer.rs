//! `/v1/messages` and `/v1/messages/count_tokens`, as they are answered.

use super::reply::{PING, Reply};
use super::request::MessagesRequest;
use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::stream;
use crate::talk::{Input, Names, Wanted, ask, prepare};
use http::Response;
use serde_json::json;
use std::sync::Arc;

const NAMES: Names = Names {
    input: "messages",
    suffix: "suffix",
    tools: "tools",
    tool_choice: "tool_choice",
    form: "output_config.format",
    effort: "thinking",
    budget: "thinking.budget_tokens",
    max_tokens: "max_tokens",
    stop: "stop_sequences",
};

/// What is asked beside what the engine does.
struct Rest {
    max_tokens: Option<u32>,
    hides_thinking: bool,
    stream: bool,
}

/// The same in no dialect's words.
fn wanted(request: MessagesRequest) -> (Wanted, Rest) {
    let rest = Rest {
        max_tokens: request.max_tokens,
        hides_thinking: request.hides_thinking,
        stream: request.stream,
    };
    let wanted = Wanted {
        model: Some(request.model),
        route: request.route,
        streams: request.stream,
        form: request.form,
        reasoning: request.reasoning,
        sampling: request.sampling,
        seeded: request.seeded,
        said: request.said,
        stop: request.stop,
        max_tokens: request.max_tokens,
        // The stop reason says when the context was full first.
        ends_with_context: true,
        ..Wanted::new(Input::Chat(request.conversation))
    };
    (wanted, rest)
}

/// `POST /v1/messages`.
pub(super) async fn messages(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let read = |call: &Call| MessagesRequest::parse(&call.body).map(wanted);
    let (answers, rest) = ask(&call, &NAMES, read).await?;
    let id = super::new_id(&call.app, "msg");
    let reply = Reply::new(
        answers,
        id,
        Arc::clone(&call.name),
        rest.max_tokens,
        rest.hides_thinking,
    );
    match rest.stream {
        true => Ok(stream::response(PING, reply)),
        false => reply.whole().await.map(|value| json(&value)),
    }
}

/// `POST /v1/messages/count_tokens`.
pub(super) async fn count_tokens(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let count = move || {
        let (wanted, _) = MessagesRequest::parse_to_count(&call.body).map(wanted)?;
        let ready = prepare(&call, &wanted, &NAMES)?;
        Ok::<usize, ApiError>(ready.prompts.iter().map(|prompt| prompt.tokens.len()).sum())
    };
    let counted = tokio::task::spawn_blocking(count).await;
    let tokens = counted.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    Ok(json(&json!({ "input_tokens": tokens })))
}

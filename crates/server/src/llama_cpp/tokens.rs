//! Texts and tokens: `/tokenize`, `/detokenize`, `/apply-template`.

use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::fields::{Fields, parse};
use crate::lookup;
use crate::openai::chat_request::ChatRequest;
use crate::served::Served;
use crate::talk::read::tokens;
use crate::talk::{Names, prepare};
use http::Response;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Decode, Encode, Vocabulary};
use serde_json::{Value, json};
use std::sync::Arc;

/// Does the work away from where connections are served.
async fn aside(
    call: Arc<Call>,
    work: fn(&Call) -> Result<Value, ApiError>,
) -> Result<Response<Body>, ApiError> {
    let done = tokio::task::spawn_blocking(move || work(&call)).await;
    let value = done.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    Ok(json(&value))
}

fn model(call: &Call, fields: &Fields<'_>) -> Result<Arc<Served>, ApiError> {
    lookup::model(call, fields.str("model")?)
}

/// `POST /tokenize`.
pub(super) async fn tokenize(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    aside(call, |call| {
        let body = parse(&call.body)?;
        let fields = Fields::of_body(&body)?;
        let text = fields.str("content")?;
        let missing = || ApiError::invalid("content", "`content` is missing: give a text");
        let text = text.ok_or_else(missing)?;
        let options = Encode {
            add_special: fields.bool("add_special")?.unwrap_or(false),
            parse_special: fields.bool("parse_special")?.unwrap_or(true),
        };
        let pieces = fields.bool("with_pieces")?.unwrap_or(false);
        let model = model(call, &fields)?;
        let vocabulary = model.prompter.vocabulary();
        let tokens = vocabulary.encode(text, options).into_iter();
        let tokens: Vec<Value> = match pieces {
            true => tokens.map(|token| piece(vocabulary, token)).collect(),
            false => tokens.map(|token| token.0.into()).collect(),
        };
        Ok(json!({ "tokens": tokens }))
    })
    .await
}

/// A token and its text; its bytes where they are none.
fn piece(vocabulary: &Vocabulary, token: TokenId) -> Value {
    let mut bytes = Vec::new();
    vocabulary.piece(token, true, &mut bytes);
    let piece = match String::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(error) => error.into_bytes().into(),
    };
    json!({ "id": token.0, "piece": piece })
}

/// `POST /detokenize`.
pub(super) async fn detokenize(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    aside(call, |call| {
        let body = parse(&call.body)?;
        let fields = Fields::of_body(&body)?;
        let missing = || ApiError::invalid("tokens", "`tokens` is missing: give token ids");
        let tokens = tokens(fields.list("tokens")?.ok_or_else(missing)?, "tokens")?;
        let model = model(call, &fields)?;
        let vocabulary = model.prompter.vocabulary();
        let n = vocabulary.len();
        if let Some(token) = tokens.iter().find(|token| token.0 as usize >= n) {
            let message = format!("`tokens`: token {token} is not in the vocabulary of {n}");
            return Err(ApiError::invalid("tokens", message));
        }
        let decode = Decode {
            special: true,
            start_of_text: false,
            clean_up: false,
        };
        Ok(json!({ "content": vocabulary.decode(&tokens, decode) }))
    })
    .await
}

/// `POST /apply-template`: the prompt of a conversation in OpenAI's shape.
pub(super) async fn apply_template(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    const NAMES: Names = Names {
        input: "messages",
        suffix: "suffix",
        tools: "tools",
        tool_choice: "tool_choice",
        form: "response_format",
        effort: "reasoning_effort",
        budget: "reasoning_budget",
        max_tokens: "max_tokens",
        stop: "stop",
    };
    aside(call, |call| {
        let request = ChatRequest::parse(&call.body)?;
        let ready = prepare(call, request.wanted(), &NAMES)?;
        let prompt = ready.prompts.into_iter().next().map(|prompt| prompt.text);
        Ok(json!({ "prompt": prompt.unwrap_or_default() }))
    })
    .await
}

//! `/v1/responses`: answers that can be followed up and asked for again.

mod items;
pub mod request;
mod script;
mod store;

pub use store::Store;

use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::openai::logprobs;
use crate::stream::{self, Events};
use crate::talk::{self, Answers, Heard, News, Wanted};
use http::{Response, StatusCode};
use request::{NAMES, ResponsesRequest};
use script::{Event, Script};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use store::Stored;

/// `POST /v1/responses`.
pub async fn answer(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let (random, now) = (call.app.config.random, (call.app.config.unix_time)());
    let id = format!("resp_{:016x}{:016x}", random(), random());
    let name = id.clone();
    let read = move |call: &Call| {
        let (mut wanted, request) = read(call)?;
        wanted.response = Some(name);
        Ok((wanted, request))
    };
    let (answers, request) = talk::ask(&call, &NAMES, read).await?;
    let head = head(&id, now, answers.model(), &request.echo);
    let response = Responding {
        script: Script::new(head, random).with_spaces(request.spaces),
        logprobs: request.logprobs,
        answers,
        keep: request.store.then(|| Keep {
            input: named(&request.input, random),
            previous: request.previous.clone(),
        }),
        call,
        id,
        begun: false,
        over: false,
    };
    match request.stream {
        true => Ok(stream::response(stream::COMMENT, response)),
        false => response.whole().await.map(|value| json(&value)),
    }
}

fn read(call: &Call) -> Result<(Wanted, ResponsesRequest), ApiError> {
    let request = ResponsesRequest::parse(&call.body)?;
    let before = match &request.previous {
        None => Vec::new(),
        Some(previous) => {
            let items = call.app.responses.items(call.caller.namespace, previous);
            items.ok_or_else(|| {
                let message = "the response named in `previous_response_id`, or one that it follows, is not stored here (any more): send all items in `input`";
                ApiError {
                    param: Some("previous_response_id".into()),
                    ..ApiError::new(StatusCode::BAD_REQUEST, "previous_response_not_found", message)
                }
            })?
        }
    };
    Ok((request.wanted(&before)?, request))
}

/// A response of which nothing has come.
fn head(id: &str, now: i64, model: &str, echo: &Map<String, Value>) -> Map<String, Value> {
    let mut head = Map::new();
    let pairs = [
        ("id", id.into()),
        ("object", "response".into()),
        ("created_at", now.into()),
        ("status", "in_progress".into()),
        ("completed_at", Value::Null),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("model", model.into()),
        ("output", json!([])),
        ("usage", Value::Null),
    ];
    head.extend(pairs.into_iter().map(|(n, v)| (n.to_owned(), v)));
    head.extend(echo.clone());
    head
}

/// Items as they can be asked for: each has a name.
fn named(items: &[Value], random: fn() -> u64) -> Vec<Value> {
    let one = |item: &Value| {
        let mut item = item.clone();
        if let Some(fields) = item.as_object_mut() {
            fields.entry("type").or_insert_with(|| "message".into());
            if !fields.get("id").is_some_and(Value::is_string) {
                fields.insert("id".into(), format!("item_{:016x}", random()).into());
            }
        }
        item
    };
    items.iter().map(one).collect()
}

/// What is kept beside a response.
struct Keep {
    input: Vec<Value>,
    previous: Option<String>,
}

/// A response on its way to a client.
struct Responding {
    call: Arc<Call>,
    id: String,
    answers: Answers,
    script: Script,
    /// Whether it shows how probable its tokens were.
    logprobs: bool,
    /// None where it is not to be kept, or is.
    keep: Option<Keep>,
    begun: bool,
    over: bool,
}

impl Responding {
    async fn whole(mut self) -> Result<Value, ApiError> {
        while let Some(heard) = self.answers.next().await {
            self.take(heard)?;
        }
        Ok(self.script.response())
    }

    /// Takes what is new; an error only where the response failed, which has been told.
    fn take(&mut self, mut heard: Heard) -> Result<Vec<Event>, ApiError> {
        let last = heard
            .news
            .pop_if(|news| matches!(news, News::End(_) | News::Failed(_)));
        let vocabulary = self.answers.vocabulary().filter(|_| self.logprobs);
        let shown = heard.news.iter().filter_map(|news| match news {
            News::Logprob(token) => vocabulary.map(|v| logprobs::chat(token, v)),
            _ => None,
        });
        let shown = shown.collect();
        let mut events = self.script.news(heard.news, shown);
        let end = match &last {
            Some(News::End(end)) => Ok(end),
            Some(News::Failed(error)) => Err(error),
            _ => return Ok(events),
        };
        self.over = true;
        let now = (self.call.app.config.unix_time)();
        self.script.tells(self.answers.told());
        events.extend(self.script.end(end, &self.answers.usage(), now));
        if let Some(Keep { input, previous }) = self.keep.take() {
            let stored = Stored {
                response: self.script.response(),
                input,
                previous,
            };
            let user = self.call.caller.namespace;
            self.call.app.responses.put(user, self.id.clone(), stored);
        }
        Ok(events)
    }
}

impl Events for Responding {
    async fn next(&mut self) -> Option<String> {
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            events = self.script.begin();
        }
        while events.is_empty() && !self.over {
            let heard = self.answers.next().await?;
            events = self.take(heard).unwrap_or_default();
        }
        let text: String = events.iter().map(|(n, v)| stream::event(n, v)).collect();
        (!text.is_empty()).then_some(text)
    }
}

fn find(call: &Call) -> Result<Arc<Stored>, ApiError> {
    let found = call.app.responses.get(call.caller.namespace, &call.id);
    found.ok_or_else(not_found)
}

fn not_found() -> ApiError {
    let message = "there is no such response here: it was not stored, was deleted, or is forgotten";
    ApiError {
        param: Some("response_id".into()),
        ..ApiError::new(StatusCode::NOT_FOUND, "response_not_found", message)
    }
}

/// `GET /v1/responses/{id}`.
pub fn get(call: &Call) -> Result<Response<Body>, ApiError> {
    if call.parameter("stream").as_deref() == Some("true") {
        let message = "`stream`: a response that is over is not streamed again; leave it out";
        return Err(ApiError::unsupported("stream", message));
    }
    Ok(json(&find(call)?.response))
}

/// `DELETE /v1/responses/{id}`.
pub fn delete(call: &Call) -> Result<Response<Body>, ApiError> {
    match call.app.responses.remove(call.caller.namespace, &call.id) {
        true => Ok(json(
            &json!({ "id": call.id, "object": "response", "deleted": true }),
        )),
        false => Err(not_found()),
    }
}

/// `POST /v1/responses/{id}/cancel`: what is stored is over.
pub fn cancel(call: &Call) -> Result<Response<Body>, ApiError> {
    find(call)?;
    let message = "only a response that is made in the background can be cancelled; to cancel another, close its connection";
    Err(ApiError {
        param: None,
        ..ApiError::unsupported("", message)
    })
}

/// `GET /v1/responses/{id}/input_items`.
pub fn input_items(call: &Call) -> Result<Response<Body>, ApiError> {
    let stored = find(call)?;
    let before = stored.previous.as_ref();
    let before = before.and_then(|p| call.app.responses.items(call.caller.namespace, p));
    let mut items: VecDeque<Value> = before.unwrap_or_default().into();
    items.extend(stored.input.iter().cloned());
    let mut items: Vec<Value> = items.into();
    match call.parameter("order").as_deref() {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(ApiError::invalid("order", "`order` must be asc or desc")),
    }
    let limit = match call.parameter("limit").map(|n| n.parse::<usize>()) {
        None => 20,
        Some(Ok(n @ 1..=100)) => n,
        Some(_) => {
            let message = "`limit` must be a whole number from 1 to 100";
            return Err(ApiError::invalid("limit", message));
        }
    };
    if let Some(after) = call.parameter("after") {
        let at = items
            .iter()
            .position(|i| i.get("id") == Some(&after.as_str().into()));
        let at = at.ok_or_else(|| ApiError::invalid("after", "`after` names none of the items"))?;
        items.drain(..=at);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let id = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned();
    Ok(json(&json!({
        "object": "list", "first_id": id(items.first()), "last_id": id(items.last()),
        "has_more": has_more, "data": items,
    })))
}

/// `POST /v1/responses/input_tokens`: how long the prompt of a response would be.
pub async fn input_tokens(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let count = tokio::task::spawn_blocking(move || {
        let (wanted, _) = read(&call)?;
        let ready = talk::prepare(&call, &wanted, &NAMES)?;
        Ok::<_, ApiError>(ready.prompts.iter().map(|p| p.tokens.len()).sum::<usize>())
    });
    let count = count.await;
    let count = count.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    Ok(json(
        &json!({ "object": "response.input_tokens", "input_tokens": count }),
    ))
}

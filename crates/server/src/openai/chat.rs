//! `POST /v1/chat/completions`, as it is answered.

use super::chat_request::{ChatRequest, NAMES};
use super::sampling::Sent;
use super::{error, finish_reason, logprobs, new_id, usage};
use crate::body::{Body, json, with};
use crate::call::Call;
use crate::error::ApiError;
use crate::stream::{self, Events};
use crate::talk::{self, Answers, Choice, Heard, News, TokenLogprob};
use http::Response;
use ingle_formats::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Answers a conversation.
pub async fn answer(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let read = |call: &Call| {
        let request = ChatRequest::parse(&call.body)?;
        Ok((request.wanted, request.sent))
    };
    let (answers, sent) = talk::ask(&call, &NAMES, read).await?;
    let chat = Chat {
        id: new_id(&call.app, "chatcmpl"),
        created: (call.app.config.unix_time)(),
        answers,
        sent,
        state: State::Begin,
    };
    match sent.stream {
        true => Ok(stream::response(stream::COMMENT, chat)),
        false => chat.whole().await.map(|value| json(&value)),
    }
}

/// The answers to a request on their way to a client.
struct Chat {
    id: String,
    created: i64,
    answers: Answers,
    sent: Sent,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Middle,
    Usage,
    Done,
    Over,
}

impl Chat {
    /// All of it in one piece.
    async fn whole(self) -> Result<Value, ApiError> {
        let (whole, answers) = self.answers.whole().await?;
        let choices = whole.choices.iter().enumerate();
        let choices = choices.map(|(i, answer)| choice(i, answer, answers.vocabulary()));
        Ok(json!({
            "id": self.id, "object": "chat.completion", "created": self.created,
            "model": answers.model(), "choices": choices.collect::<Vec<Value>>(),
            "usage": usage(&whole.usage), "system_fingerprint": answers.fingerprint(),
        }))
    }

    fn chunk(&self, index: usize, delta: Value, logprobs: Value, end: Value) -> String {
        let choice =
            json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end });
        self.envelope(vec![choice], Value::Null, None)
    }

    fn envelope(&self, choices: Vec<Value>, usage: Value, told: Option<Value>) -> String {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.answers.model(), "system_fingerprint": self.answers.fingerprint(),
            "choices": choices,
        });
        if self.sent.include_usage {
            chunk = with(chunk, "usage", usage);
        }
        if let Some(told) = told {
            chunk = with(chunk, "ingle", told);
        }
        stream::data(&chunk)
    }

    /// The chunks that news becomes.
    fn chunks(&mut self, heard: Heard) -> String {
        let mut delta = Map::new();
        let mut heard_logprobs = Vec::new();
        let mut end = None;
        for news in heard.news {
            match news {
                News::Reasoning(text) => append(&mut delta, "reasoning_content", &text),
                News::Content(text) => append(&mut delta, "content", &text),
                News::CallBegin { index, id, name } => push_call(
                    &mut delta,
                    json!({
                        "index": index, "id": id, "type": "function",
                        "function": { "name": name, "arguments": "" },
                    }),
                ),
                News::CallArguments { index, text } => more_arguments(&mut delta, index, &text),
                News::CallEnd { .. } => {}
                News::Logprob(logprob) => heard_logprobs.push(logprob),
                News::End(reason) => end = Some(Ok(reason)),
                News::Failed(error) => end = Some(Err(error)),
            }
        }
        let mut chunks = String::new();
        if !delta.is_empty() || !heard_logprobs.is_empty() {
            if delta.is_empty() {
                delta.insert("content".into(), "".into());
            }
            let logprobs = all_logprobs(&heard_logprobs, self.answers.vocabulary());
            chunks += &self.chunk(heard.choice, delta.into(), logprobs, Value::Null);
        }
        match end {
            None => {}
            Some(Ok(end)) => {
                let end: Value = finish_reason(&end).into();
                let choice = json!({
                    "index": heard.choice, "delta": {}, "logprobs": null, "finish_reason": end,
                });
                let told = self.answers.told();
                chunks += &self.envelope(vec![choice], Value::Null, told);
            }
            Some(Err(failed)) => {
                chunks += &stream::data(&error(&failed));
                self.state = State::Done;
            }
        }
        chunks
    }
}

fn append(delta: &mut Map<String, Value>, name: &str, text: &str) {
    match delta.get_mut(name) {
        Some(Value::String(before)) => before.push_str(text),
        _ => drop(delta.insert(name.into(), text.into())),
    }
}

fn push_call(delta: &mut Map<String, Value>, call: Value) {
    let calls = delta.entry("tool_calls");
    if let Some(calls) = calls.or_insert_with(|| json!([])).as_array_mut() {
        calls.push(call);
    }
}

/// Adds to the call of this delta, or says to which earlier one it belongs.
fn more_arguments(delta: &mut Map<String, Value>, index: u32, text: &str) {
    let calls = delta.get_mut("tool_calls").and_then(Value::as_array_mut);
    let last = calls.and_then(|calls| calls.last_mut());
    let last = last.filter(|call| call.get("index") == Some(&index.into()));
    let arguments = last.and_then(|call| call.get_mut("function")?.get_mut("arguments"));
    match arguments {
        Some(Value::String(before)) => before.push_str(text),
        _ => push_call(
            delta,
            json!({ "index": index, "function": { "arguments": text } }),
        ),
    }
}

fn all_logprobs(tokens: &[TokenLogprob], vocabulary: Option<&Vocabulary>) -> Value {
    match vocabulary.filter(|_| !tokens.is_empty()) {
        None => Value::Null,
        Some(vocabulary) => {
            let content = tokens.iter().map(|token| logprobs::chat(token, vocabulary));
            json!({ "content": content.collect::<Vec<Value>>(), "refusal": null })
        }
    }
}

fn choice(index: usize, answer: &Choice, vocabulary: Option<&Vocabulary>) -> Value {
    let content = answer.content();
    let calls: Vec<Value> = answer
        .calls()
        .map(|call| {
            json!({
                "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments },
            })
        })
        .collect();
    let shown = match content.is_empty() && !calls.is_empty() {
        true => Value::Null,
        false => content.into(),
    };
    let mut message = json!({ "role": "assistant", "content": shown, "refusal": null });
    let reasoning = answer.reasoning();
    if !reasoning.is_empty() {
        message = with(message, "reasoning_content", reasoning);
    }
    if !calls.is_empty() {
        message = with(message, "tool_calls", calls);
    }
    json!({
        "index": index, "message": message,
        "logprobs": all_logprobs(&answer.logprobs, vocabulary),
        "finish_reason": answer.end.as_ref().map(finish_reason),
    })
}

impl Events for Chat {
    async fn next(&mut self) -> Option<String> {
        loop {
            match self.state {
                State::Begin => {
                    self.state = State::Middle;
                    let role = json!({ "role": "assistant", "content": "" });
                    let roles = (0..self.answers.choices())
                        .map(|i| self.chunk(i, role.clone(), Value::Null, Value::Null));
                    return Some(roles.collect());
                }
                State::Middle => match self.answers.next().await {
                    None => self.state = State::Usage,
                    Some(heard) => return Some(self.chunks(heard)),
                },
                State::Usage => {
                    self.state = State::Done;
                    if self.sent.include_usage {
                        let usage = usage(&self.answers.usage());
                        return Some(self.envelope(Vec::new(), usage, None));
                    }
                }
                State::Done => {
                    self.state = State::Over;
                    return Some("data: [DONE]\n\n".into());
                }
                State::Over => return None,
            }
        }
    }
}

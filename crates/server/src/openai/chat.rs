//! `POST /v1/chat/completions`, as it is answered.

use super::chat_request::ChatRequest;
use super::generate::{Generation, finish_reason, is_end};
use super::logprobs::TokenLogprob;
use super::{new_id, tools};
use crate::App;
use crate::body::{Body, json, with};
use crate::error::ApiError;
use crate::served::Served;
use crate::sse::{self, Events};
use http::Response;
use ingle_engine::Event;
use ingle_engine::reasoning::{self, Splitter};
use ingle_formats::prompt::{Prompt, Prompter};
use ingle_formats::template::{Chat, LocalTime};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Answers a conversation.
pub async fn answer(app: &Arc<App>, body: Vec<u8>) -> Result<Response<Body>, ApiError> {
    let prepared = {
        let app = Arc::clone(app);
        // Reading, rendering and tokenizing may take long: not where connections are served.
        tokio::task::spawn_blocking(move || prepare(&app, &body)).await
    };
    let (request, model, prompt) =
        prepared.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    let wants = &request.wants;
    let prompts = vec![prompt.tokens];
    let max_tokens = request.max_tokens;
    let generation = Generation::start(app, &model, prompts, max_tokens, wants, "messages").await?;
    let voice = |_| Voice::new(&prompt.text, request.tools.is_some());
    let talk = Talk {
        id: new_id(app, "chatcmpl"),
        created: (app.config.unix_time)(),
        voices: (0..generation.len()).map(voice).collect(),
        generation,
        model,
        include_usage: wants.include_usage,
        state: State::Begin,
        random: app.config.random,
    };
    match wants.stream {
        true => Ok(sse::response(talk)),
        false => talk.whole().await.map(|value| json(&value)),
    }
}

fn prepare(app: &App, body: &[u8]) -> Result<(ChatRequest, Arc<Served>, Prompt), ApiError> {
    let request = ChatRequest::parse(body)?;
    let model = Arc::clone(app.models.find(request.model.as_deref())?);
    let chat = conversation(&request, &model.prompter)?;
    let prompt = model
        .prompter
        .chat(&chat, LocalTime::from_unix((app.config.unix_time)()))?;
    Ok((request, model, prompt))
}

/// The conversation as this model's template knows it.
fn conversation(request: &ChatRequest, prompter: &Prompter) -> Result<Chat, ApiError> {
    let mentions = |name: &str| prompter.template_mentions(name);
    if request.tools.is_some() && !(mentions("tools") && tools::understands(mentions)) {
        return Err(ApiError::unsupported(
            "tools",
            "`tools`: this model's template has no form of calls that this version reads",
        ));
    }
    let mut messages = request.messages.clone();
    for message in &mut messages {
        // OpenAI's newer name, which few templates know.
        let developer = message.get("role").is_some_and(|role| role == "developer");
        if developer && !mentions("developer") {
            *message = with(message.take(), "role", "system");
        }
    }
    let mut variables = request.variables.clone();
    if let Some(effort) = &request.reasoning_effort {
        match effort.as_str() {
            effort if mentions("reasoning_effort") => {
                variables.insert("reasoning_effort".into(), effort.into());
            }
            "none" | "minimal" if mentions("enable_thinking") => {
                variables.insert("enable_thinking".into(), false.into());
            }
            _ => {
                let message =
                    "`reasoning_effort`: this model's template has no such switch; leave it out";
                return Err(ApiError::unsupported("reasoning_effort", message));
            }
        }
    }
    Ok(Chat {
        messages,
        tools: request.tools.clone(),
        documents: None,
        add_generation_prompt: true,
        variables,
    })
}

/// One answer while it comes.
struct Voice {
    reasoning: Splitter,
    /// Where tools may be called.
    tools: Option<tools::Splitter>,
    calls: usize,
    all: Delta,
}

/// What is new of an answer.
#[derive(Default)]
struct Delta {
    reasoning: String,
    content: String,
    calls: Vec<Value>,
    logprobs: Vec<Value>,
}

impl Voice {
    fn new(prompt: &str, has_tools: bool) -> Self {
        Self {
            reasoning: Splitter::new(prompt),
            tools: has_tools.then(tools::Splitter::default),
            calls: 0,
            all: Delta::default(),
        }
    }

    fn text(&mut self, parts: Vec<reasoning::Part>, ends: bool, random: fn() -> u64) -> Delta {
        let mut delta = Delta::default();
        let mut answer = String::new();
        for part in parts {
            match part {
                reasoning::Part::Reasoning(text) => delta.reasoning.push_str(&text),
                reasoning::Part::Answer(text) => answer.push_str(&text),
            }
        }
        let Some(tools) = &mut self.tools else {
            delta.content = answer;
            return delta;
        };
        let mut parts = tools.push(&answer);
        if ends {
            parts.extend(tools.finish());
        }
        for part in parts {
            match part {
                tools::Part::Text(text) => delta.content.push_str(&text),
                tools::Part::Call { name, arguments } => {
                    delta.calls.push(json!({
                        "index": self.calls, "id": format!("call_{:016x}", random()),
                        "type": "function", "function": { "name": name, "arguments": arguments },
                    }));
                    self.calls += 1;
                }
            }
        }
        delta
    }
}

impl Delta {
    fn is_empty(&self) -> bool {
        self.reasoning.is_empty()
            && self.content.is_empty()
            && self.calls.is_empty()
            && self.logprobs.is_empty()
    }

    fn extend(&mut self, other: Self) {
        self.reasoning.push_str(&other.reasoning);
        self.content.push_str(&other.content);
        self.calls.extend(other.calls);
        self.logprobs.extend(other.logprobs);
    }
}

/// All answers of a request while they come.
struct Talk {
    id: String,
    created: i64,
    model: Arc<Served>,
    generation: Generation,
    voices: Vec<Voice>,
    include_usage: bool,
    state: State,
    random: fn() -> u64,
}

#[derive(PartialEq, Eq)]
enum State {
    Begin,
    Middle,
    Usage,
    Over,
}

/// What came of an event.
struct News {
    index: usize,
    delta: Delta,
    end: Option<Result<&'static str, ApiError>>,
}

impl Talk {
    async fn news(&mut self) -> Option<News> {
        let (index, event) = self.generation.next().await?;
        let voice = self.voices.get_mut(index)?;
        let (delta, end) = match event {
            Event::Token {
                token,
                text,
                logprob,
                top,
                ..
            } => {
                let parts = voice.reasoning.push(&text);
                let mut delta = voice.text(parts, false, self.random);
                let logprob = logprob.filter(|_| !is_end(&self.model, token));
                let logprob = logprob.map(|logprob| TokenLogprob {
                    token,
                    logprob,
                    top,
                });
                let vocabulary = self.model.prompter.vocabulary();
                delta
                    .logprobs
                    .extend(logprob.map(|l| l.to_chat(vocabulary)));
                (delta, None)
            }
            Event::Finished { reason, .. } => {
                let parts = voice.reasoning.finish();
                let delta = voice.text(parts, true, self.random);
                let called = voice.calls > 0;
                let end = finish_reason(&reason);
                (
                    delta,
                    Some(end.map(|end| {
                        if called && end == "stop" {
                            "tool_calls"
                        } else {
                            end
                        }
                    })),
                )
            }
            Event::Embedded { .. } => (Delta::default(), None),
        };
        Some(News { index, delta, end })
    }

    /// The answer in one piece.
    async fn whole(mut self) -> Result<Value, ApiError> {
        let mut ends = vec!["stop"; self.voices.len()];
        while let Some(news) = self.news().await {
            if let Some(end) = news.end
                && let Some(slot) = ends.get_mut(news.index)
            {
                *slot = end?;
            }
            if let Some(voice) = self.voices.get_mut(news.index) {
                voice.all.extend(news.delta);
            }
        }
        let choices = self.voices.iter_mut().zip(ends).enumerate();
        let choices: Vec<Value> = choices
            .map(|(i, (voice, end))| choice(i, &mut voice.all, end))
            .collect();
        Ok(json!({
            "id": self.id, "object": "chat.completion", "created": self.created,
            "model": self.model.id, "choices": choices, "usage": self.generation.usage.to_json(),
            "system_fingerprint": self.model.fingerprint,
        }))
    }

    fn chunk(&self, index: usize, delta: Value, logprobs: Value, end: Value) -> Value {
        let choice =
            json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end });
        self.envelope(vec![choice], Value::Null)
    }

    fn envelope(&self, choices: Vec<Value>, usage: Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.model.id, "system_fingerprint": self.model.fingerprint, "choices": choices,
        });
        if self.include_usage {
            chunk = with(chunk, "usage", usage);
        }
        chunk
    }

    /// The chunks that an event becomes.
    fn chunks(&mut self, news: News) -> Vec<Value> {
        let News { index, delta, end } = news;
        let mut chunks = Vec::new();
        if !delta.is_empty() {
            let mut shown = Map::new();
            if !delta.reasoning.is_empty() {
                shown.insert("reasoning_content".into(), delta.reasoning.into());
            }
            if !delta.content.is_empty() || (shown.is_empty() && delta.calls.is_empty()) {
                shown.insert("content".into(), delta.content.into());
            }
            if !delta.calls.is_empty() {
                shown.insert("tool_calls".into(), delta.calls.into());
            }
            let logprobs = logprobs(delta.logprobs);
            chunks.push(self.chunk(index, shown.into(), logprobs, Value::Null));
        }
        match end {
            None => {}
            Some(Ok(end)) => chunks.push(self.chunk(index, json!({}), Value::Null, end.into())),
            Some(Err(error)) => {
                chunks.push(sse::error(&error));
                self.state = State::Over;
            }
        }
        chunks
    }
}

fn logprobs(content: Vec<Value>) -> Value {
    match content.is_empty() {
        true => Value::Null,
        false => json!({ "content": content, "refusal": null }),
    }
}

fn choice(index: usize, all: &mut Delta, end: &str) -> Value {
    let all = std::mem::take(all);
    let mut message = json!({ "role": "assistant", "content": all.content, "refusal": null });
    if !all.reasoning.is_empty() {
        message = with(message, "reasoning_content", all.reasoning);
    }
    if !all.calls.is_empty() {
        if all.content.is_empty() {
            message = with(message, "content", Value::Null);
        }
        let without_index = |mut call: Value| {
            call.as_object_mut().map(|call| call.shift_remove("index"));
            call
        };
        let calls: Vec<Value> = all.calls.into_iter().map(without_index).collect();
        message = with(message, "tool_calls", calls);
    }
    json!({
        "index": index, "message": message, "logprobs": logprobs(all.logprobs), "finish_reason": end,
    })
}

impl Events for Talk {
    async fn next(&mut self) -> Option<Vec<Value>> {
        loop {
            match self.state {
                State::Begin => {
                    self.state = State::Middle;
                    let role = json!({ "role": "assistant", "content": "" });
                    let roles = (0..self.voices.len())
                        .map(|i| self.chunk(i, role.clone(), Value::Null, Value::Null));
                    return Some(roles.collect());
                }
                State::Middle => match self.news().await {
                    None => self.state = State::Usage,
                    Some(news) => {
                        let chunks = self.chunks(news);
                        if !chunks.is_empty() {
                            return Some(chunks);
                        }
                    }
                },
                State::Usage => {
                    self.state = State::Over;
                    if self.include_usage {
                        return Some(vec![
                            self.envelope(Vec::new(), self.generation.usage.to_json()),
                        ]);
                    }
                }
                State::Over => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream of pieces becomes: reasoning, content, calls.
    fn heard(prompt: &str, pieces: &[&str]) -> (String, String, Vec<Value>) {
        let mut voice = Voice::new(prompt, true);
        for piece in pieces {
            let parts = voice.reasoning.push(piece);
            let delta = voice.text(parts, false, || 7);
            voice.all.extend(delta);
        }
        let parts = voice.reasoning.finish();
        let delta = voice.text(parts, true, || 7);
        voice.all.extend(delta);
        (voice.all.reasoning, voice.all.content, voice.all.calls)
    }

    #[test]
    fn reasoning_content_and_calls_are_told_apart() {
        let (reasoning, content, calls) = heard(
            "...<think>\n",
            &[
                "Hm",
                "m.</th",
                "ink>\n\nI look. ",
                "\n<tool",
                "_call>{\"name\": \"f\", ",
                "\"arguments\": {\"a\": 1}}</tool_call>",
                "\n",
            ],
        );
        assert_eq!((reasoning.as_str(), content.as_str()), ("Hmm.", "I look."));
        assert_eq!(
            calls,
            [json!({
                "index": 0, "id": "call_0000000000000007", "type": "function",
                "function": { "name": "f", "arguments": "{\"a\":1}" },
            })]
        );
        let mut all = Delta {
            content: String::new(),
            calls,
            ..Delta::default()
        };
        let message = choice(0, &mut all, "tool_calls");
        assert_eq!(message["message"]["content"], Value::Null);
        assert_eq!(message["message"]["tool_calls"][0].get("index"), None);
    }
}

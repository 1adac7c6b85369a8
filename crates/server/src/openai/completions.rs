//! `POST /v1/completions`: texts that are continued as they stand.

use super::generate::{Generation, finish_reason, is_end};
use super::logprobs::{TokenLogprob, to_legacy};
use super::new_id;
use super::sampling::{Wants, wants};
use crate::App;
use crate::body::{Body, json, with};
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::served::Served;
use crate::sse::{self, Events};
use http::Response;
use ingle_engine::Event;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Decode;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most prompts of a request.
const MAX_PROMPTS: usize = 32;
/// The most answers of a request.
const MAX_ANSWERS: usize = 64;
/// What OpenAI generates where nobody says how much.
const USUAL_TOKENS: u32 = 16;
/// The most alternatives of a token.
const MAX_TOP: u32 = 20;

/// A text, or its tokens.
#[derive(Debug, Clone, PartialEq)]
enum Prompt {
    Text(String),
    Tokens(Vec<TokenId>),
}

struct CompletionRequest {
    model: Option<String>,
    prompts: Vec<Prompt>,
    max_tokens: u32,
    echo: bool,
    wants: Wants,
}

impl CompletionRequest {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let mut wants = wants(&fields)?;
        wants.sampling.logprobs = fields.u32("logprobs", 0, MAX_TOP)?;
        let echo = fields.bool("echo")?.unwrap_or(false);
        if echo && wants.sampling.logprobs.is_some() {
            let message =
                "`echo` with `logprobs`: probabilities of the prompt are not computed yet";
            return Err(ApiError::unsupported("echo", message));
        }
        let empty = |v: &Value| v.as_str() == Some("");
        fields.refuse(
            "suffix",
            empty,
            "filling in the middle is not supported yet",
        )?;
        let best_of = fields.u32("best_of", 1, 20)?.unwrap_or(wants.n);
        if best_of != wants.n {
            let message = "`best_of`: all answers are given, none is chosen; leave it out";
            return Err(ApiError::unsupported("best_of", message));
        }
        let prompts = prompts(&fields)?;
        if prompts.len() * wants.n as usize > MAX_ANSWERS {
            let message = format!("a request may have {MAX_ANSWERS} answers: prompts times `n`");
            return Err(ApiError::invalid("n", message));
        }
        let max_tokens = fields
            .u32("max_tokens", 1, u32::MAX)?
            .unwrap_or(USUAL_TOKENS);
        let model = fields.str("model")?.map(str::to_owned);
        Ok(Self {
            model,
            prompts,
            max_tokens,
            echo,
            wants,
        })
    }
}

/// A text, tokens, or a list of either.
fn prompts(fields: &Fields<'_>) -> Result<Vec<Prompt>, ApiError> {
    let what = format!("a string, a list of at most {MAX_PROMPTS} of them, or token ids");
    let list = match fields.get("prompt") {
        None => {
            return Err(ApiError::invalid(
                "prompt",
                "`prompt` is missing: give a text",
            ));
        }
        Some(Value::String(text)) => return Ok(vec![Prompt::Text(text.clone())]),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong("prompt", &what, other)),
    };
    if list.first().is_some_and(Value::is_number) {
        return Ok(vec![Prompt::Tokens(tokens(list, "prompt")?)]);
    }
    if list.is_empty() || list.len() > MAX_PROMPTS {
        return Err(ApiError::invalid(
            "prompt",
            format!("`prompt` must be {what}"),
        ));
    }
    let one = |(i, value): (usize, &Value)| match value {
        Value::String(text) => Ok(Prompt::Text(text.clone())),
        Value::Array(ids) => Ok(Prompt::Tokens(tokens(ids, &format!("prompt[{i}]"))?)),
        other => Err(wrong(
            &format!("prompt[{i}]"),
            "a string or token ids",
            other,
        )),
    };
    list.iter().enumerate().map(one).collect()
}

/// A list of token ids.
pub fn tokens(ids: &[Value], path: &str) -> Result<Vec<TokenId>, ApiError> {
    let one = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map(TokenId)
            .ok_or_else(|| wrong(path, "a list of token ids", value))
    };
    ids.iter().map(one).collect()
}

/// Answers a request.
pub async fn answer(app: &Arc<App>, body: Vec<u8>) -> Result<Response<Body>, ApiError> {
    let prepared = {
        let app = Arc::clone(app);
        tokio::task::spawn_blocking(move || prepare(&app, &body)).await
    };
    let (request, model, prompts) =
        prepared.map_err(|_| ApiError::internal("a fault in Ingle"))??;
    let wants = &request.wants;
    let echoes = match request.echo {
        true => request.prompts.iter().map(|p| p.text(&model)).collect(),
        false => vec![String::new(); prompts.len()],
    };
    let n = wants.n as usize;
    let texts = echoes
        .into_iter()
        .flat_map(|echo| vec![echo; n])
        .map(Text::new);
    let max_tokens = Some(request.max_tokens);
    let texts = texts.collect();
    let generation = Generation::start(app, &model, prompts, max_tokens, wants, "prompt").await?;
    let writing = Writing {
        id: new_id(app, "cmpl"),
        created: (app.config.unix_time)(),
        model,
        generation,
        texts,
        include_usage: wants.include_usage,
        logprobs: wants.sampling.logprobs.is_some(),
        over: false,
        echoed: !request.echo,
    };
    match wants.stream {
        true => Ok(sse::response(writing)),
        false => writing.whole().await.map(|value| json(&value)),
    }
}

type Prepared = (CompletionRequest, Arc<Served>, Vec<Vec<TokenId>>);

fn prepare(app: &App, body: &[u8]) -> Result<Prepared, ApiError> {
    let request = CompletionRequest::parse(body)?;
    let model = Arc::clone(app.models.find(request.model.as_deref())?);
    let tokens = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => model.prompter.text(text),
        Prompt::Tokens(tokens) => tokens.clone(),
    };
    let prompts = request.prompts.iter().map(tokens).collect();
    Ok((request, model, prompts))
}

impl Prompt {
    fn text(&self, model: &Served) -> String {
        let decode = Decode {
            special: true,
            start_of_text: true,
            clean_up: false,
        };
        match self {
            Self::Text(text) => text.clone(),
            Self::Tokens(tokens) => model.prompter.vocabulary().decode(tokens, decode),
        }
    }
}

/// One answer while it comes.
struct Text {
    echo: String,
    text: String,
    logprobs: Vec<TokenLogprob>,
    /// Characters of the tokens whose log-probabilities were sent.
    sent: usize,
    end: &'static str,
}

impl Text {
    fn new(echo: String) -> Self {
        Self {
            text: String::new(),
            logprobs: Vec::new(),
            sent: 0,
            end: "stop",
            echo,
        }
    }
}

/// All answers of a request while they come.
struct Writing {
    id: String,
    created: i64,
    model: Arc<Served>,
    generation: Generation,
    texts: Vec<Text>,
    include_usage: bool,
    logprobs: bool,
    echoed: bool,
    over: bool,
}

struct News {
    index: usize,
    text: String,
    logprob: Option<TokenLogprob>,
    end: Option<Result<&'static str, ApiError>>,
}

impl Writing {
    async fn news(&mut self) -> Option<News> {
        let (index, event) = self.generation.next().await?;
        let mut news = News {
            index,
            text: String::new(),
            logprob: None,
            end: None,
        };
        match event {
            Event::Token {
                token,
                text,
                logprob,
                top,
                ..
            } => {
                let logprob = logprob.filter(|_| !is_end(&self.model, token));
                news.logprob = logprob.map(|logprob| TokenLogprob {
                    token,
                    logprob,
                    top,
                });
                news.text = text;
            }
            Event::Finished { reason, .. } => news.end = Some(finish_reason(&reason)),
            Event::Embedded { .. } => {}
        }
        Some(news)
    }

    async fn whole(mut self) -> Result<Value, ApiError> {
        while let Some(news) = self.news().await {
            let Some(text) = self.texts.get_mut(news.index) else {
                continue;
            };
            text.text.push_str(&news.text);
            text.logprobs.extend(news.logprob);
            if let Some(end) = news.end {
                text.end = end?;
            }
        }
        let vocabulary = self.model.prompter.vocabulary();
        let choices = self.texts.iter().enumerate().map(|(i, text)| {
            let logprobs = self
                .logprobs
                .then(|| to_legacy(vocabulary, &text.logprobs, 0));
            choice(
                i,
                format!("{}{}", text.echo, text.text),
                logprobs,
                Some(text.end),
            )
        });
        let choices = choices.collect();
        Ok(self.envelope(choices, Some(self.generation.usage.to_json())))
    }

    fn envelope(&self, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut object = json!({
            "id": self.id, "object": "text_completion", "created": self.created,
            "model": self.model.id, "system_fingerprint": self.model.fingerprint, "choices": choices,
        });
        if let Some(usage) = usage {
            object = with(object, "usage", usage);
        }
        object
    }

    fn chunk(&self, choice: Value) -> Value {
        self.envelope(vec![choice], self.include_usage.then_some(Value::Null))
    }

    /// The chunks that an event becomes.
    fn chunks(&mut self, news: News) -> Vec<Value> {
        let mut chunks = Vec::new();
        if !news.text.is_empty() || news.logprob.is_some() {
            let logprobs = self
                .logprobs
                .then(|| self.sent(news.index, news.logprob.as_slice()));
            chunks.push(self.chunk(choice(news.index, news.text, logprobs, None)));
        }
        match news.end {
            None => {}
            Some(Ok(end)) => {
                let last = choice(news.index, String::new(), None, Some(end));
                chunks.push(self.chunk(last));
            }
            Some(Err(error)) => {
                chunks.push(sse::error(&error));
                (self.over, self.include_usage) = (true, false);
            }
        }
        chunks
    }

    fn sent(&mut self, index: usize, tokens: &[TokenLogprob]) -> Value {
        let vocabulary = self.model.prompter.vocabulary();
        let Some(text) = self.texts.get_mut(index) else {
            return Value::Null;
        };
        let value = to_legacy(vocabulary, tokens, text.sent);
        let shown = value.get("tokens").and_then(Value::as_array);
        let shown = shown.into_iter().flatten();
        text.sent += shown
            .filter_map(Value::as_str)
            .map(|t| t.chars().count())
            .sum::<usize>();
        value
    }
}

fn choice(index: usize, text: String, logprobs: Option<Value>, end: Option<&str>) -> Value {
    json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": end })
}

impl Events for Writing {
    async fn next(&mut self) -> Option<Vec<Value>> {
        if !std::mem::replace(&mut self.echoed, true) {
            let echoes = self.texts.iter().enumerate();
            let echoes = echoes.map(|(i, t)| self.chunk(choice(i, t.echo.clone(), None, None)));
            return Some(echoes.collect());
        }
        while !self.over {
            let Some(news) = self.news().await else {
                self.over = true;
                break;
            };
            let chunks = self.chunks(news);
            if !chunks.is_empty() {
                return Some(chunks);
            }
        }
        if std::mem::replace(&mut self.include_usage, false) {
            return Some(vec![
                self.envelope(Vec::new(), Some(self.generation.usage.to_json())),
            ]);
        }
        None
    }
}

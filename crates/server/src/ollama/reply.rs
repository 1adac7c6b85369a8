//! Answers to `/api/chat` and `/api/generate`: one JSON object a line, or one for all.

use crate::body::with;
use crate::error::ApiError;
use crate::stream::Events;
use crate::talk::{Answers, End, Heard, News, TokenLogprob};
use crate::time::rfc3339;
use ingle_formats::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Generate,
}

/// What stands in every line.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub shape: Shape,
    /// The model, as the client called it.
    pub model: String,
    /// Seconds since 1970.
    pub now: fn() -> i64,
}

impl Head {
    /// A line with what is new.
    fn line(&self, delta: &Delta, done: bool) -> Value {
        let line = json!({ "model": self.model, "created_at": rfc3339((self.now)()) });
        let mut said = Map::new();
        match self.shape {
            Shape::Chat => {
                said.insert("role".into(), "assistant".into());
                said.insert("content".into(), delta.content.as_str().into());
            }
            Shape::Generate => {
                said.insert("response".into(), delta.content.as_str().into());
            }
        }
        if !delta.thinking.is_empty() {
            said.insert("thinking".into(), delta.thinking.as_str().into());
        }
        if !delta.calls.is_empty() {
            said.insert("tool_calls".into(), delta.calls.clone().into());
        }
        let line = match self.shape {
            Shape::Chat => with(line, "message", said),
            Shape::Generate => said
                .into_iter()
                .fold(line, |line, (name, value)| with(line, &name, value)),
        };
        let line = with(line, "done", done);
        match delta.logprobs.is_empty() {
            true => line,
            false => with(line, "logprobs", delta.logprobs.clone()),
        }
    }

    /// The answer to a request that asks nothing: `load` or `unload`.
    pub fn nothing(&self, done_reason: &str) -> Value {
        with(
            self.line(&Delta::default(), true),
            "done_reason",
            done_reason,
        )
    }
}

/// What is new of an answer.
#[derive(Debug, Default, PartialEq)]
struct Delta {
    thinking: String,
    content: String,
    calls: Vec<Value>,
    logprobs: Vec<Value>,
}

impl Delta {
    fn extend(&mut self, other: Self) {
        self.thinking.push_str(&other.thinking);
        self.content.push_str(&other.content);
        self.calls.extend(other.calls);
        self.logprobs.extend(other.logprobs);
    }
}

/// A call whose arguments still come.
#[derive(Debug)]
struct Open {
    index: u32,
    id: String,
    name: String,
    arguments: String,
}

impl Open {
    /// The whole call; none where it was cut off, which `done_reason` says.
    fn close(self) -> Option<Value> {
        let text = if self.arguments.is_empty() {
            "{}"
        } else {
            &self.arguments
        };
        let arguments: Map<String, Value> = serde_json::from_str(text).ok()?;
        Some(json!({
            "id": self.id,
            "function": { "index": self.index, "name": self.name, "arguments": arguments },
        }))
    }
}

/// Gathers what comes of one answer: calls are told when they are whole.
#[derive(Debug, Default)]
struct Gather {
    open: Option<Open>,
}

impl Gather {
    /// `shown` is a log-probability as it is told.
    fn hear(
        &mut self,
        news: Vec<News>,
        shown: impl Fn(&TokenLogprob) -> Value,
    ) -> (Delta, Option<Result<End, ApiError>>) {
        let (mut delta, mut end) = (Delta::default(), None);
        for news in news {
            if let News::CallEnd { whole: false, .. } = news {
                self.open = None; // it was none: all of it follows as text
            }
            let goes_on = matches!(news, News::CallArguments { .. } | News::Logprob(_));
            if !goes_on {
                delta.calls.extend(self.open.take().and_then(Open::close));
            }
            match news {
                News::Reasoning(text) => delta.thinking.push_str(&text),
                News::Content(text) => delta.content.push_str(&text),
                News::CallBegin { index, id, name } => {
                    let arguments = String::new();
                    self.open = Some(Open {
                        index,
                        id,
                        name,
                        arguments,
                    });
                }
                News::CallArguments { text, .. } => {
                    if let Some(open) = &mut self.open {
                        open.arguments.push_str(&text);
                    }
                }
                News::CallEnd { .. } => {}
                News::Logprob(logprob) => delta.logprobs.push(shown(&logprob)),
                News::End(reason) => end = Some(Ok(reason)),
                News::Failed(error) => end = Some(Err(error)),
            }
        }
        (delta, end)
    }
}

fn probable(logprob: &TokenLogprob, vocabulary: &Vocabulary) -> Value {
    let one = |token, logprob: f32| {
        let mut bytes = Vec::new();
        vocabulary.piece(token, true, &mut bytes);
        // JSON has no infinity.
        let logprob = f64::from(logprob.max(-9999.0));
        json!({ "token": String::from_utf8_lossy(&bytes), "logprob": logprob, "bytes": bytes })
    };
    let top = logprob
        .top
        .iter()
        .map(|&(token, logprob)| one(token, logprob));
    let top: Vec<Value> = top.collect();
    let shown = one(logprob.token, logprob.logprob);
    match top.is_empty() {
        true => shown,
        false => with(shown, "top_logprobs", top),
    }
}

/// Ollama's word for how an answer ended.
fn done_reason(end: &End) -> &'static str {
    match end {
        End::Length => "length",
        _ => "stop",
    }
}

/// One answer while it comes.
#[derive(Debug)]
pub(super) struct Reply {
    pub head: Head,
    pub answers: Answers,
    /// The tokens of prompt and answer are told at the end.
    pub tells_context: bool,
    gather: Gather,
    over: bool,
}

impl Reply {
    pub fn new(head: Head, answers: Answers, tells_context: bool) -> Self {
        Self {
            head,
            answers,
            tells_context,
            gather: Gather::default(),
            over: false,
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// It could not be finished.
    pub async fn whole(mut self) -> Result<Value, ApiError> {
        let mut all = Delta::default();
        while let Some(Heard { news, .. }) = self.answers.next().await {
            let (delta, end) = self.hear(news);
            all.extend(delta);
            if let Some(end) = end {
                return Ok(self.last(&all, &end?));
            }
        }
        Err(ApiError::internal("an answer without an end"))
    }

    fn hear(&mut self, news: Vec<News>) -> (Delta, Option<Result<End, ApiError>>) {
        let vocabulary = self.answers.vocabulary();
        let shown = |logprob: &_| vocabulary.map_or(Value::Null, |v| probable(logprob, v));
        self.gather.hear(news, shown)
    }

    /// The last line, with what it took.
    fn last(&self, delta: &Delta, end: &End) -> Value {
        let usage = self.answers.usage();
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut last = with(self.head.line(delta, true), "done_reason", done_reason(end));
        if let Some(told) = self.answers.told() {
            last = with(last, "ingle", told);
        }
        if self.tells_context && self.answers.vocabulary().is_some() {
            let (prompt, written) = (self.answers.prompt_tokens(0), self.answers.written(0));
            let tokens = prompt.iter().chain(written).map(|token| token.0);
            last = with(last, "context", tokens.collect::<Vec<u32>>());
        }
        for (name, value) in [
            ("total_duration", nanos(usage.first + usage.rest)),
            // It was loaded before the request was read, or while it waited.
            ("load_duration", 0),
            ("prompt_eval_count", usage.prompt),
            ("prompt_eval_duration", nanos(usage.first)),
            ("eval_count", usage.generated),
            ("eval_duration", nanos(usage.rest)),
        ] {
            last = with(last, name, value);
        }
        last
    }
}

impl Events for Reply {
    async fn next(&mut self) -> Option<String> {
        while !self.over {
            let Some(Heard { news, .. }) = self.answers.next().await else {
                self.over = true;
                break;
            };
            let (delta, end) = self.hear(news);
            self.over = end.is_some();
            let mut lines = String::new();
            if delta != Delta::default() {
                lines = format!("{}\n", self.head.line(&delta, false));
            }
            match end {
                None => {}
                Some(Ok(end)) => lines += &format!("{}\n", self.last(&Delta::default(), &end)),
                Some(Err(error)) => lines += &format!("{}\n", super::error(&error)),
            }
            if !lines.is_empty() {
                return Some(lines);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(shape: Shape) -> Head {
        Head {
            shape,
            model: "m:latest".into(),
            now: || 0,
        }
    }

    #[test]
    fn calls_are_told_whole_and_cut_ones_not_at_all() {
        let begin = |index| News::CallBegin {
            index,
            id: format!("call_{index}"),
            name: "f".into(),
        };
        let more = |index, text: &str| News::CallArguments {
            index,
            text: text.into(),
        };
        let mut gather = Gather::default();
        let mut hear = |news| gather.hear(news, |_| Value::Null);
        assert_eq!(
            hear(vec![begin(0), more(0, "{\"a\"")]),
            (Delta::default(), None)
        );
        let (delta, end) = hear(vec![more(0, ": 1}"), begin(1)]);
        let call =
            json!({"id": "call_0", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}});
        assert_eq!((delta.calls, end), (vec![call], None));
        let (delta, _) = hear(vec![News::Content("x".into())]);
        assert_eq!(delta.calls[0]["function"]["arguments"], json!({}));
        let (delta, end) = hear(vec![begin(2), more(2, "{\"a"), News::End(End::Length)]);
        assert_eq!((delta.calls, end), (vec![], Some(Ok(End::Length))));
    }

    #[test]
    fn lines_look_like_ollamas() {
        let delta = Delta {
            thinking: "Hm.".into(),
            content: "Yes".into(),
            calls: vec![json!({"id": "c"})],
            ..Delta::default()
        };
        let mut shown = Vec::new();
        for shape in [Shape::Chat, Shape::Generate] {
            shown.push(head(shape).line(&delta, false).to_string());
            shown.push(head(shape).nothing("load").to_string());
        }
        insta::assert_snapshot!(shown.join("\n"));
    }
}

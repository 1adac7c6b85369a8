//! `POST /v1/completions`: texts that are continued as they stand, as they are answered.

use super::completions_request::{CompletionRequest, Shown};
use super::{error, finish_reason, logprobs, new_id, usage};
use crate::body::{Body, json, with};
use crate::call::Call;
use crate::error::ApiError;
use crate::stream::{self, Events};
use crate::talk::{self, Answers, Choice, Heard, Names, News, TokenLogprob};
use http::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a request.
pub async fn answer(call: Arc<Call>) -> Result<Response<Body>, ApiError> {
    let read = |call: &Call| {
        let request = CompletionRequest::parse(&call.body)?;
        Ok((request.wanted, request.shown))
    };
    let (answers, shown) = talk::ask(&call, &Names::PLAIN, read).await?;
    let writing = Writing {
        id: new_id(&call.app, "cmpl"),
        created: (call.app.config.unix_time)(),
        sent: vec![0; answers.choices()],
        answers,
        shown,
        state: State::Echo,
    };
    match shown.sent.stream {
        true => Ok(stream::response(stream::COMMENT, writing)),
        false => writing.whole().await.map(|value| json(&value)),
    }
}

/// All answers of a request on their way to a client.
struct Writing {
    id: String,
    created: i64,
    answers: Answers,
    shown: Shown,
    /// Of each answer, characters of the tokens whose log-probabilities were sent.
    sent: Vec<usize>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Echo,
    Middle,
    Usage,
    Done,
    Over,
}

impl Writing {
    /// What stands before an answer.
    fn echo(&self, index: usize) -> String {
        let shown = self.answers.prompt(index).filter(|_| self.shown.echo);
        shown.unwrap_or_default().to_owned()
    }

    async fn whole(self) -> Result<Value, ApiError> {
        let echoes: Vec<String> = (0..self.answers.choices()).map(|i| self.echo(i)).collect();
        let n = self.answers.n();
        let (whole, given) = self.answers.whole().await?;
        let mut answers: Vec<(String, Choice)> = echoes.into_iter().zip(whole.choices).collect();
        if let Some(best_of) = self.shown.best {
            let best = answers.chunks_mut(n).flat_map(|of_prompt| {
                of_prompt.sort_by(|a, b| mean(&b.1).total_cmp(&mean(&a.1)));
                of_prompt.iter().take(best_of).cloned()
            });
            answers = best.collect();
        }
        let choices = answers.iter().enumerate().map(|(i, (echo, answer))| {
            let vocabulary = given.vocabulary().filter(|_| self.shown.logprobs);
            let logprobs = vocabulary.map(|v| logprobs::legacy(v, &answer.logprobs, 0));
            let text = format!("{echo}{}", answer.content());
            choice(i, text, logprobs, answer.end.as_ref().map(finish_reason))
        });
        Ok(json!({
            "id": self.id, "object": "text_completion", "created": self.created,
            "model": given.model(), "system_fingerprint": given.fingerprint(),
            "choices": choices.collect::<Vec<Value>>(), "usage": usage(&whole.usage),
        }))
    }

    fn chunk(&self, choices: Vec<Value>, usage: Value) -> String {
        let mut chunk = json!({
            "id": self.id, "object": "text_completion", "created": self.created,
            "model": self.answers.model(), "system_fingerprint": self.answers.fingerprint(),
            "choices": choices,
        });
        if self.shown.sent.include_usage {
            chunk = with(chunk, "usage", usage);
        }
        stream::data(&chunk)
    }

    /// The chunks that news becomes.
    fn chunks(&mut self, heard: Heard) -> String {
        let (mut text, mut tokens, mut end) = (String::new(), Vec::new(), None);
        for news in heard.news {
            match news {
                News::Content(more) => text.push_str(&more),
                News::Logprob(logprob) => tokens.push(logprob),
                News::End(reason) => end = Some(Ok(reason)),
                News::Failed(error) => end = Some(Err(error)),
                News::Reasoning(_)
                | News::CallBegin { .. }
                | News::CallArguments { .. }
                | News::CallEnd { .. } => {}
            }
        }
        let mut chunks = String::new();
        if !text.is_empty() || !tokens.is_empty() {
            let logprobs = self
                .shown
                .logprobs
                .then(|| self.new_logprobs(heard.choice, &tokens));
            let more = choice(heard.choice, text, logprobs, None);
            chunks += &self.chunk(vec![more], Value::Null);
        }
        match end {
            None => {}
            Some(Ok(end)) => {
                let last = choice(heard.choice, String::new(), None, Some(finish_reason(&end)));
                chunks += &self.chunk(vec![last], Value::Null);
            }
            Some(Err(failed)) => {
                chunks += &stream::data(&error(&failed));
                self.state = State::Done;
            }
        }
        chunks
    }

    fn new_logprobs(&mut self, index: usize, tokens: &[TokenLogprob]) -> Value {
        let (Some(vocabulary), Some(sent)) = (self.answers.vocabulary(), self.sent.get_mut(index))
        else {
            return Value::Null;
        };
        let value = logprobs::legacy(vocabulary, tokens, *sent);
        let shown = value.get("tokens").and_then(Value::as_array);
        let shown = shown.into_iter().flatten().filter_map(Value::as_str);
        *sent += shown.map(|text| text.chars().count()).sum::<usize>();
        value
    }
}

/// How probable an answer is by token; one that says nothing comes last, for it has none.
fn mean(answer: &Choice) -> f64 {
    if answer.logprobs.is_empty() {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = answer.logprobs.iter().map(|t| f64::from(t.logprob)).sum();
    sum / answer.logprobs.len() as f64
}

fn choice(index: usize, text: String, logprobs: Option<Value>, end: Option<&str>) -> Value {
    json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": end })
}

impl Events for Writing {
    async fn next(&mut self) -> Option<String> {
        loop {
            match self.state {
                State::Echo => {
                    self.state = State::Middle;
                    if self.shown.echo {
                        let echo =
                            |i| self.chunk(vec![choice(i, self.echo(i), None, None)], Value::Null);
                        return Some((0..self.answers.choices()).map(echo).collect());
                    }
                }
                State::Middle => match self.answers.next().await {
                    None => self.state = State::Usage,
                    Some(heard) => return Some(self.chunks(heard)),
                },
                State::Usage => {
                    self.state = State::Done;
                    if self.shown.sent.include_usage {
                        return Some(self.chunk(Vec::new(), usage(&self.answers.usage())));
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

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_formats::TokenId;

    #[test]
    fn an_answer_that_says_nothing_is_not_the_best() {
        let says = |logprobs: &[f32]| {
            let token = |&logprob| TokenLogprob {
                token: TokenId(0),
                logprob,
                top: Vec::new(),
            };
            mean(&Choice {
                logprobs: logprobs.iter().map(token).collect(),
                ..Choice::default()
            })
        };
        assert!(says(&[-1.0]) > says(&[-1.0, -3.0]));
        assert!(says(&[-9.0]) > says(&[]));
    }
}

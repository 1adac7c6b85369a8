//! Requests in the engine, and what comes of them, whatever the shape that a client wants.

use super::sampling::Wants;
use crate::App;
use crate::error::{ApiError, refused};
use crate::served::Served;
use http::StatusCode;
use ingle_engine::{Answer, Event, FinishReason, Request, Usage};
use ingle_formats::TokenId;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::task::Poll;

/// The answers to one request of a client: `n` to each of its prompts.
#[derive(Debug)]
pub struct Generation {
    answers: Vec<Option<Answer>>,
    /// Whose turn it is.
    next: usize,
    pub usage: Usages,
}

impl Generation {
    /// Hands the requests to the engine and waits until it has taken them all; one that it refuses
    /// ends the others. `prompt` is the field that the prompts came from.
    pub async fn start(
        app: &App,
        model: &Served,
        prompts: Vec<Vec<TokenId>>,
        max_tokens: Option<u32>,
        wants: &Wants,
        prompt: &str,
    ) -> Result<Self, ApiError> {
        let seed = match wants.seeded {
            true => wants.sampling.seed,
            false => (app.config.random)(),
        };
        let mut answers = Vec::new();
        for tokens in prompts {
            for i in 0..wants.n {
                let mut sampling = wants.sampling.clone();
                // The first answer is the one that a client gets who asks for one.
                sampling.seed = seed.wrapping_add(u64::from(i));
                let request = Request {
                    max_tokens,
                    sampling,
                    stop: wants.stop.clone(),
                    ..Request::new(tokens.clone())
                };
                let answer = model.engine.submit(request);
                answers.push(answer.map_err(|e| refused(&e, prompt))?);
            }
        }
        for answer in &mut answers {
            answer.taken().await.map_err(|e| refused(&e, prompt))?;
        }
        let usage = Usages {
            n: wants.n as usize,
            ..Usages::default()
        };
        let answers = answers.into_iter().map(Some).collect();
        Ok(Self {
            answers,
            next: 0,
            usage,
        })
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// The next event of any answer, in turn; none when all are over.
    pub async fn next(&mut self) -> Option<(usize, Event)> {
        let (answers, turn) = (&mut self.answers, self.next);
        let (index, event) = poll_fn(|context| {
            let mut waits = false;
            let (first, last) = answers.split_at_mut(turn);
            let last = last.iter_mut().enumerate().map(|(i, a)| (i + turn, a));
            for (index, slot) in last.chain(first.iter_mut().enumerate()) {
                match slot.as_mut().map(|answer| answer.poll_next(context)) {
                    Some(Poll::Ready(Some(event))) => return Poll::Ready(Some((index, event))),
                    Some(Poll::Pending) => waits = true,
                    _ => *slot = None,
                }
            }
            if waits {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        })
        .await?;
        self.next = (index + 1) % self.answers.len();
        if let Event::Finished { usage, .. } = &event {
            self.usage.add(index, usage);
        }
        Some((index, event))
    }
}

/// Tokens of all answers; a prompt counts once, however many answers it has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usages {
    n: usize,
    prompt: u64,
    cached: u64,
    generated: u64,
}

impl Usages {
    fn add(&mut self, index: usize, usage: &Usage) {
        self.generated += u64::from(usage.generated_tokens);
        if index.is_multiple_of(self.n.max(1)) {
            self.prompt += u64::from(usage.prompt_tokens);
            self.cached += u64::from(usage.cached_tokens);
        }
    }

    /// In OpenAI's shape.
    pub fn to_json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt, "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        })
    }
}

/// OpenAI's word for how an answer ended, or the error that it ended in.
pub fn finish_reason(reason: &FinishReason) -> Result<&'static str, ApiError> {
    match reason {
        FinishReason::End(_)
        | FinishReason::StopToken(_)
        | FinishReason::StopText(_)
        | FinishReason::Embedded => Ok("stop"),
        FinishReason::Length => Ok("length"),
        FinishReason::Cancelled => {
            let message = "the answer was cut off: the server is stopping, or nobody read it";
            let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", message);
            Err(error.retry_after(5))
        }
        FinishReason::Unreadable(why) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(ApiError::new(status, "weights_unreadable", why.clone()))
        }
        FinishReason::Failed(why) => Err(ApiError::internal(why.clone())),
    }
}

/// Whether a token ends an answer and is no part of it.
pub fn is_end(model: &Served, token: TokenId) -> bool {
    model.prompter.vocabulary().is_end_of_generation(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_has_a_code_and_says_where() {
        let why = "tensor `a` could not be read from b.gguf at byte 7";
        let error = finish_reason(&FinishReason::Unreadable(why.into())).unwrap_err();
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(error.code, Some("weights_unreadable"));
        let json = error.to_json();
        assert_eq!(json["error"]["type"], "server_error");
        assert_eq!(json["error"]["message"], why);
    }
}

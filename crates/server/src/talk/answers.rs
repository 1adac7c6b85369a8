//! Answers while they come.

use super::end::End;
use super::prepare::Ready;
use super::usage::Usage;
use super::voice::Voice;
use crate::error::ApiError;
use crate::reply::Reply;
use crate::served::Served;
use ingle_engine::Event;
use ingle_formats::TokenId;
use ingle_formats::prompt::Prompt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// The answers to one request, `n` to each of its prompts. Dropping it cancels them.
#[derive(Debug)]
pub struct Answers {
    model: Arc<Served>,
    answers: Vec<Option<Reply>>,
    voices: Vec<Voice>,
    prompts: Vec<Prompt>,
    /// The tokens of each answer.
    written: Vec<Vec<TokenId>>,
    /// What each answer took, where it is over.
    each: Vec<Usage>,
    /// Whose turn it is.
    turn: usize,
    /// Answers to each prompt.
    n: usize,
    usage: Usage,
    asked: Instant,
    first: Option<Instant>,
}

/// What a token, or the end, of one answer brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Which answer.
    pub choice: usize,
    /// What is new of it; never empty.
    pub news: Vec<News>,
}

/// What is new of an answer. [`News::End`] or [`News::Failed`] is its last.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The model thinks on.
    Reasoning(String),
    /// More text for the reader.
    Content(String),
    /// A tool is to be called; its arguments follow.
    CallBegin {
        /// Calls before it in this answer.
        index: u32,
        /// What the tool's answer refers to.
        id: String,
        /// Which tool.
        name: String,
    },
    /// More of the arguments of a call.
    CallArguments {
        /// Which call of this answer.
        index: u32,
        /// All of these together are a JSON object.
        text: String,
    },
    /// A call has ended.
    CallEnd {
        /// Which call of this answer.
        index: u32,
        /// Whether its arguments are whole. Where they are not, what the model wrote is no call, and all of
        /// it follows as text.
        whole: bool,
    },
    /// How probable a token was.
    Logprob(TokenLogprob),
    /// It is complete.
    End(End),
    /// It could not be finished.
    Failed(ApiError),
}

/// A token with its log-probability and the most probable ones of its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: TokenId,
    /// Its natural logarithm.
    pub logprob: f32,
    /// The most probable tokens in its place, the most probable first.
    pub top: Vec<(TokenId, f32)>,
}

impl Answers {
    /// Answers that the engine has taken, with a voice for each.
    pub(super) fn new(
        ready: Ready,
        answers: Vec<Reply>,
        voices: Vec<Voice>,
        n: usize,
        asked: Instant,
    ) -> Self {
        Self {
            model: ready.model,
            prompts: ready.prompts,
            written: vec![Vec::new(); answers.len()],
            each: vec![Usage::default(); answers.len()],
            answers: answers.into_iter().map(Some).collect(),
            voices,
            turn: 0,
            n: n.max(1),
            usage: Usage::default(),
            asked,
            first: None,
        }
    }

    /// The model that answers.
    pub fn model(&self) -> &Arc<Served> {
        &self.model
    }

    /// How many answers there are.
    pub fn choices(&self) -> usize {
        self.voices.len()
    }

    /// How many there are to each prompt.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The prompt of an answer; of a text with a hole, what stands before the hole.
    pub fn prompt(&self, choice: usize) -> Option<&str> {
        self.prompts.get(choice / self.n).map(|p| p.text.as_str())
    }

    /// The tokens of the prompt of an answer.
    pub fn prompt_tokens(&self, choice: usize) -> &[TokenId] {
        let prompt = self.prompts.get(choice / self.n);
        prompt.map_or(&[], |prompt| prompt.tokens.as_slice())
    }

    /// The tokens of an answer so far; the one that ends it is none of them.
    pub fn written(&self, choice: usize) -> &[TokenId] {
        self.written.get(choice).map_or(&[], Vec::as_slice)
    }

    /// What one answer took.
    pub fn usage_of(&self, choice: usize) -> Usage {
        let each = self.each.get(choice).copied().unwrap_or_default();
        Usage {
            reasoning: self.voices.get(choice).map_or(0, |v| v.reasoning_tokens),
            ..each
        }
    }

    /// Nobody wants the rest of an answer.
    pub fn cancel(&mut self, choice: usize) {
        if let Some(answer) = self.answers.get_mut(choice) {
            *answer = None;
        }
    }

    /// What those that are over took.
    pub fn usage(&self) -> Usage {
        let reasoning = self.voices.iter().map(|v| v.reasoning_tokens).sum();
        Usage {
            reasoning,
            ..self.usage
        }
    }

    /// What is new of any answer, in turn; none when all are over. What it gave is never lost: a future
    /// of it may be dropped and made again.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let (choice, event) = self.event().await?;
            let now = Instant::now();
            let first = *self.first.get_or_insert(now);
            self.usage.first = first - self.asked;
            self.usage.rest = now - first;
            let (first, rest) = (self.usage.first, self.usage.rest);
            if let Some(each) = self.each.get_mut(choice) {
                if each.first.is_zero() {
                    each.first = first + rest;
                }
                each.rest = (first + rest).saturating_sub(each.first);
            }
            let news = self.news(choice, event);
            if !news.is_empty() {
                return Some(Heard { choice, news });
            }
        }
    }

    async fn event(&mut self) -> Option<(usize, Event)> {
        let (answers, turn) = (&mut self.answers, self.turn);
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
        self.turn = (index + 1) % self.answers.len();
        Some((index, event))
    }

    fn news(&mut self, choice: usize, event: Event) -> Vec<News> {
        let Some(voice) = self.voices.get_mut(choice) else {
            return Vec::new();
        };
        match event {
            Event::Token {
                token,
                text,
                logprob,
                top,
                ..
            } => {
                let vocabulary = self.model.prompter.vocabulary();
                let ends = vocabulary.is_end_of_generation(token);
                if let Some(written) = self.written.get_mut(choice).filter(|_| !ends) {
                    written.push(token);
                }
                let logprob = logprob.filter(|_| !ends);
                let logprob = logprob.map(|logprob| TokenLogprob {
                    token,
                    logprob,
                    top,
                });
                voice.push(&text, logprob)
            }
            Event::Finished { reason, usage, .. } => {
                self.usage.add(&usage, choice.is_multiple_of(self.n));
                if let Some(each) = self.each.get_mut(choice) {
                    each.add(&usage, true);
                }
                let mut news = voice.finish();
                news.push(match End::new(&reason, voice.calls > 0) {
                    Ok(end) => News::End(end),
                    Err(error) => News::Failed(error),
                });
                news
            }
            Event::Embedded { .. } => Vec::new(),
        }
    }
}

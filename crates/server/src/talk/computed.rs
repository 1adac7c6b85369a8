//! Answers that the engine computes, while they come.

use super::answers::{Heard, News, TokenLogprob};
use super::end::End;
use super::prepare::Ready;
use super::usage::Usage;
use super::voice::Voice;
use crate::reply::Reply;
use crate::served::Served;
use ingle_engine::{Event, Signals, Watch};
use ingle_formats::TokenId;
use ingle_formats::prompt::Prompt;
use ingle_gateway::decide::AtHome;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// The answers to one request, `n` to each of its prompts. Dropped, they are cancelled.
#[derive(Debug)]
pub(crate) struct Computed {
    model: Arc<Served>,
    answers: Vec<Option<Reply>>,
    voices: Vec<Voice>,
    prompts: Vec<Prompt>,
    /// The tokens of each answer.
    written: Vec<Vec<TokenId>>,
    /// Tokens that came of each answer; none of one that is over.
    heard: Vec<Option<u64>>,
    /// What each answer took, where it is over.
    each: Vec<Usage>,
    /// Whose turn it is.
    turn: usize,
    /// Answers to each prompt.
    n: usize,
    usage: Usage,
    asked: Instant,
    first: Option<Instant>,
    /// How sure the model was of the first answer so far, where somebody asked.
    watch: Watch,
    /// How sure it was of all of it.
    signals: Option<Signals>,
    /// Tokens of the first answer.
    tokens: u32,
    /// What the first answer says so far.
    said: String,
    /// Why the first answer could not be finished.
    failed: Option<String>,
    /// Nobody wants to hear anything but that the prompts are computed.
    silent: bool,
}

impl Computed {
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
            heard: vec![Some(0); answers.len()],
            each: vec![Usage::default(); answers.len()],
            answers: answers.into_iter().map(Some).collect(),
            voices,
            turn: 0,
            n: n.max(1),
            usage: Usage::default(),
            asked,
            first: None,
            watch: Watch::default(),
            signals: None,
            tokens: 0,
            said: String::new(),
            failed: None,
            silent: false,
        }
    }

    /// The prompts are computed; what the engine says to them is not told.
    pub(super) fn silent(mut self) -> Self {
        self.silent = true;
        self
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

    /// What all took so far, for whoever wants no more of it: of those that are not over what has been computed,
    /// and nobody says how much of their prompts had been before.
    fn so_far(&mut self) -> Usage {
        let mut context = Context::from_waker(Waker::noop());
        for choice in 0..self.answers.len() {
            // What came and nobody has looked at yet.
            while let Some(Some(answer)) = self.answers.get_mut(choice)
                && let Poll::Ready(Some(event)) = answer.poll_next(&mut context)
            {
                self.count(choice, &event);
            }
        }
        let mut usage = self.usage();
        for (choice, heard) in self.heard.iter().enumerate() {
            if let Some(tokens) = heard {
                usage.generated += tokens;
                if choice.is_multiple_of(self.n) {
                    usage.prompt += self.prompt_tokens(choice).len() as u64;
                }
            }
        }
        usage
    }

    /// Counts a token, or the end, of an answer.
    fn count(&mut self, choice: usize, event: &Event) {
        match event {
            Event::Token { .. } if self.silent => {}
            Event::Token { .. } => {
                if let Some(Some(heard)) = self.heard.get_mut(choice) {
                    *heard += 1;
                }
            }
            Event::Finished { usage, .. } => {
                if let Some(heard) = self.heard.get_mut(choice) {
                    *heard = None;
                }
                let mut usage = *usage;
                if self.silent {
                    usage.generated_tokens = 0;
                }
                self.usage.add(&usage, choice.is_multiple_of(self.n));
                if let Some(each) = self.each.get_mut(choice) {
                    each.add(&usage, true);
                }
            }
            Event::Embedded { .. } => {}
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
            for news in news.iter().filter(|_| choice == 0) {
                if let News::Content(text) = news {
                    self.said.push_str(text);
                }
            }
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
        self.count(choice, &event);
        let Some(voice) = self.voices.get_mut(choice) else {
            return Vec::new();
        };
        match event {
            Event::Token { .. } if self.silent => Vec::new(),
            Event::Token {
                token,
                text,
                logprob,
                top,
                signals,
                ..
            } => {
                if choice == 0 {
                    self.tokens += 1;
                    self.watch.push(signals.as_ref());
                }
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
            Event::Finished {
                reason, signals, ..
            } => {
                self.signals = signals.map(|signals| *signals);
                let mut news = voice.finish();
                news.push(match End::new(&reason, voice.calls > 0) {
                    Ok(_) if self.silent => News::End(End::Length),
                    Ok(end) => News::End(end),
                    Err(error) => {
                        self.failed = Some(error.message.clone());
                        News::Failed(error)
                    }
                });
                news
            }
            Event::Embedded { .. } => Vec::new(),
        }
    }
}

impl AtHome for Computed {
    type News = Heard;

    async fn next(&mut self) -> Option<Heard> {
        Self::next(self).await
    }

    fn identity(&self) -> String {
        self.model.identity.clone()
    }

    fn tokens(&self) -> u32 {
        self.tokens
    }

    fn signals(&mut self) -> Option<Signals> {
        match (&self.signals, self.tokens) {
            (Some(all), _) => Some(*all),
            (None, 0) => None,
            (None, _) => Some(self.watch.summary()),
        }
    }

    fn text(&self) -> &str {
        &self.said
    }

    fn failed(&self) -> Option<String> {
        self.failed.clone()
    }

    fn taken(&mut self) -> ingle_gateway::chat::Usage {
        self.so_far().counted()
    }
}

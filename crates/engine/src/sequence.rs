//! One request on its way.

use crate::request::{Event, FinishReason, Request, RequestId, Usage};
use crate::sampler::{Choice, Sampler, SamplingError};
use crate::stop::StopTexts;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Decode, StreamDecoder, TokenKind, Vocabulary};
use ingle_tensor::ops::{Item, PageId, Row};
use std::time::Duration;

/// A request, what is known of its text, and how far that is computed.
pub(crate) struct Sequence {
    pub id: RequestId,
    /// Prompt and generated tokens.
    known: Vec<TokenId>,
    /// How many of them have keys and values in the pages.
    computed: usize,
    prompt_len: usize,
    /// Length at which generation ends; the pages hold so many positions.
    pub max_len: usize,
    /// None while it waits.
    pages: Vec<PageId>,
    /// Whether its whole prompt is to be computed.
    pub fresh: bool,
    cached: usize,
    sampler: Sampler,
    decoder: StreamDecoder,
    stops: StopTexts,
    stop_tokens: Vec<TokenId>,
    ignore_end: bool,
    submitted: Duration,
    started: Option<Duration>,
}

impl Sequence {
    /// A request that has been checked; `sampler` has seen nothing yet.
    pub fn new(
        id: RequestId,
        request: Request,
        max_len: usize,
        mut sampler: Sampler,
        vocabulary: &Vocabulary,
        now: Duration,
    ) -> Self {
        let prompt = request.prompt;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let is_control = |&token: &TokenId| vocabulary.kind(token) == Some(TokenKind::Control);
        let decode = Decode {
            special: request.show_control,
            start_of_text: prompt.iter().all(is_control),
            clean_up: false,
        };
        Self {
            id,
            prompt_len: prompt.len(),
            known: prompt,
            computed: 0,
            max_len,
            pages: Vec::new(),
            fresh: request.fresh,
            cached: 0,
            sampler,
            decoder: StreamDecoder::new(decode),
            stops: StopTexts::new(request.stop),
            stop_tokens: request.stop_tokens,
            ignore_end: request.ignore_end,
            submitted: now,
            started: None,
        }
    }

    /// The tokens to continue.
    pub fn prompt(&self) -> &[TokenId] {
        &self.known[..self.prompt_len]
    }

    /// Its pages, in order of position.
    pub fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Gets all its pages, the first of which hold `cached` positions of the prompt already.
    pub fn start(&mut self, pages: Vec<PageId>, cached: usize) {
        // Here and not before: what waits takes no more than its prompt.
        let to_come = self.max_len - self.known.len();
        self.known.reserve(to_come);
        self.sampler.reserve(to_come);
        self.pages = pages;
        self.cached = cached;
        self.computed = cached;
    }

    /// What is computed, and all pages, of a request that is over.
    pub fn take_computed(&mut self) -> (Vec<TokenId>, Vec<PageId>) {
        self.known.truncate(self.computed);
        (
            std::mem::take(&mut self.known),
            std::mem::take(&mut self.pages),
        )
    }

    /// Known tokens that are not computed.
    pub fn behind(&self) -> usize {
        self.known.len() - self.computed
    }

    /// Appends the next `n` rows to a batch in which this is sequence `index`.
    pub fn rows(&mut self, n: usize, index: u32, now: Duration, rows: &mut Vec<Row>) {
        self.started.get_or_insert(now);
        let range = self.computed..self.computed + n;
        rows.extend(range.map(|position| Row {
            item: Item::Token(self.known[position]),
            position: position as u32,
            sequence: index,
        }));
    }

    /// Notes that `n` more tokens are computed.
    pub fn advance(&mut self, n: usize) {
        self.computed += n;
    }

    /// Chooses the next token from the logits of the last known one, and says what came of it.
    pub fn choose(
        &mut self,
        logits: &mut [f32],
        vocabulary: &Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        match self.sampler.choose(logits, self.known.len() as u32) {
            Ok(choice) => self.take(choice, vocabulary, events),
            Err(error) => Some(FinishReason::Failed(SamplingError::to_string(&error))),
        }
    }

    fn take(
        &mut self,
        choice: Choice,
        vocabulary: &Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let token = choice.token;
        self.known.push(token);
        self.sampler.accept(token);
        let mut text = String::new();
        let reason = self.why_finished(token, vocabulary, &mut text);
        if reason.is_some() {
            self.stops.finish(&mut text);
        }
        events.push(Event::Token {
            request: self.id,
            token,
            text,
            logprob: choice.logprob,
            top: choice.top,
        });
        reason
    }

    /// Appends the text that became certain with `token`, and says whether the answer ends there.
    fn why_finished(
        &mut self,
        token: TokenId,
        vocabulary: &Vocabulary,
        text: &mut String,
    ) -> Option<FinishReason> {
        let mut piece = String::new();
        let reason = if !self.ignore_end && vocabulary.is_end_of_generation(token) {
            Some(FinishReason::End(token))
        } else if self.stop_tokens.contains(&token) {
            Some(FinishReason::StopToken(token))
        } else {
            self.decoder.push(vocabulary, token, &mut piece);
            (self.known.len() >= self.max_len).then_some(FinishReason::Length)
        };
        if reason.is_some() {
            self.decoder.finish(&mut piece);
        }
        match self.stops.push(&piece, text) {
            Some(stop) => Some(FinishReason::StopText(stop.to_owned())),
            None => reason,
        }
    }

    /// The last event of this request.
    pub fn finished(&self, reason: FinishReason, now: Duration) -> Event {
        Event::Finished {
            request: self.id,
            reason,
            usage: Usage {
                prompt_tokens: self.prompt_len as u32,
                cached_tokens: self.cached as u32,
                generated_tokens: (self.known.len() - self.prompt_len) as u32,
            },
            waited: self.started.unwrap_or(now).saturating_sub(self.submitted),
        }
    }
}

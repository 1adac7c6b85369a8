//! From logits to text: what a request that generates carries along.

use crate::request::{Event, FinishReason, Request, RequestId};
use crate::sampler::{Choice, Sampler, SamplingError};
use crate::stop::StopTexts;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Decode, StreamDecoder, TokenKind, Vocabulary};

/// Chooses tokens and makes text of them.
pub(crate) struct Writer {
    sampler: Sampler,
    decoder: StreamDecoder,
    stops: StopTexts,
    stop_tokens: Vec<TokenId>,
    ignore_end: bool,
    /// Control tokens whose text is part of the answer.
    shown: Vec<TokenId>,
    /// What is chosen whatever the logits are; the last comes first.
    forced: Vec<TokenId>,
}

impl Writer {
    /// For a request that has been checked; `sampler` has seen nothing yet.
    pub fn new(request: &Request, mut sampler: Sampler, vocabulary: &Vocabulary) -> Self {
        let prompt = &request.prompt;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let is_control = |&token: &TokenId| vocabulary.kind(token) == Some(TokenKind::Control);
        let decode = Decode {
            special: request.show_control,
            start_of_text: prompt.iter().all(is_control),
            clean_up: false,
        };
        Self {
            sampler,
            decoder: StreamDecoder::new(decode),
            stops: StopTexts::new(request.stop.clone()),
            stop_tokens: request.stop_tokens.clone(),
            ignore_end: request.ignore_end,
            shown: request.shown.clone(),
            forced: request.forced.iter().rev().copied().collect(),
        }
    }

    /// Makes room for `n` more tokens.
    pub fn reserve(&mut self, n: usize) {
        self.sampler.reserve(n);
    }

    /// Chooses the next token from the logits of the last known one, and says what came of it.
    pub fn choose(
        &mut self,
        id: RequestId,
        logits: &mut [f32],
        known: &mut Vec<TokenId>,
        max_len: usize,
        vocabulary: &Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let choice = match self.sampler.choose(logits, known.len() as u32) {
            Ok(choice) => choice,
            Err(error) => return Some(FinishReason::Failed(SamplingError::to_string(&error))),
        };
        let Choice {
            token,
            logprob,
            top,
        } = choice;
        let token = self.forced.pop().unwrap_or(token);
        known.push(token);
        self.sampler.accept(token);
        let mut text = String::new();
        let full = known.len() >= max_len;
        let reason = self.why_finished(token, full, vocabulary, &mut text);
        if reason.is_some() {
            self.stops.finish(&mut text);
        }
        events.push(Event::Token {
            request: id,
            token,
            text,
            logprob,
            top,
        });
        reason
    }

    /// Appends the text that became certain with `token`, and says whether the answer ends there.
    fn why_finished(
        &mut self,
        token: TokenId,
        full: bool,
        vocabulary: &Vocabulary,
        text: &mut String,
    ) -> Option<FinishReason> {
        let mut piece = String::new();
        let reason = if !self.ignore_end && vocabulary.is_end_of_generation(token) {
            Some(FinishReason::End(token))
        } else if self.stop_tokens.contains(&token) {
            Some(FinishReason::StopToken(token))
        } else {
            self.decode(vocabulary, token, &mut piece);
            full.then_some(FinishReason::Length)
        };
        if reason.is_some() {
            self.decoder.finish(&mut piece);
        }
        match self.stops.push(&piece, text) {
            Some(stop) => Some(FinishReason::StopText(stop.to_owned())),
            None => reason,
        }
    }

    /// Appends the text that is complete with a token.
    fn decode(&mut self, vocabulary: &Vocabulary, token: TokenId, out: &mut String) {
        let is_control = vocabulary.kind(token) == Some(TokenKind::Control);
        if is_control && self.shown.contains(&token) {
            self.decoder.finish(out);
            out.push_str(vocabulary.token_text(token).unwrap_or_default());
        } else {
            self.decoder.push(vocabulary, token, out);
        }
    }
}

//! From logits to text: what a request that generates carries along.

use crate::constrain::{Guide, end_token};
use crate::request::{Event, FinishReason, Request, RequestId};
use crate::sampler::{Choice, Rule, Sampler, SamplingError};
use crate::signals::{Signals, TokenSignals, Watch};
use crate::stop::StopTexts;
use crate::thinking::Clock;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Decode, StreamDecoder, TokenKind, Vocabulary};
use std::collections::VecDeque;

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
    /// What the answer must be.
    guide: Option<Guide>,
    thinking: Option<Clock>,
    /// Tokens that must come next.
    due: VecDeque<TokenId>,
    /// How sure the model was so far, where that is asked for.
    watch: Option<Watch>,
}

/// A grammar as a rule of the sampler.
struct Obey<'a> {
    guide: &'a mut Guide,
    vocabulary: &'a Vocabulary,
    failed: Option<String>,
}

impl Rule for Obey<'_> {
    fn allows(&mut self, token: TokenId) -> bool {
        self.guide.allows(token, self.vocabulary)
    }

    fn restrict(&mut self, logits: &mut [f32]) {
        self.failed = self.guide.restrict(logits, self.vocabulary).err();
    }
}

impl Writer {
    /// For a request that has been checked; `sampler` has seen nothing yet.
    pub fn new(request: &Request, mut sampler: Sampler, vocabulary: &Vocabulary) -> Self {
        let prompt = &request.prompt;
        prompt.iter().for_each(|&token| sampler.accept(token));
        if request.signals {
            sampler = sampler.with_signals();
        }
        let is_control = |&token: &TokenId| vocabulary.kind(token) == Some(TokenKind::Control);
        let decode = Decode {
            special: request.show_control,
            start_of_text: prompt.iter().all(is_control),
            clean_up: false,
        };
        let mut writer = Self {
            sampler,
            decoder: StreamDecoder::new(decode),
            stops: StopTexts::new(request.stop.clone()),
            stop_tokens: request.stop_tokens.clone(),
            ignore_end: request.ignore_end,
            shown: request.shown.clone(),
            forced: request.forced.iter().rev().copied().collect(),
            guide: request.grammar.as_ref().map(Guide::new),
            thinking: request.thinking.as_ref().map(Clock::new),
            due: VecDeque::new(),
            watch: request.signals.then(Watch::default),
        };
        writer.look_ahead(vocabulary);
        writer
    }

    /// Makes room for `n` more tokens.
    pub fn reserve(&mut self, n: usize) {
        self.sampler.reserve(n);
        if let Some(watch) = &mut self.watch {
            watch.reserve(n);
        }
    }

    /// Chooses the next token from the logits of the last known one, and says what came of it. Tokens
    /// that must follow become known with it, without logits of their own, unless somebody wants to
    /// know how probable they are: then they come one by one.
    pub fn choose(
        &mut self,
        id: RequestId,
        logits: &mut [f32],
        known: &mut Vec<TokenId>,
        max_len: usize,
        vocabulary: &Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let due = self.due.pop_front();
        let told = self.forced.last().copied();
        let mut obey = self.guide.as_mut().map(|guide| Obey {
            guide,
            vocabulary,
            failed: None,
        });
        let rule = obey.as_mut().map(|obey| obey as &mut dyn Rule);
        let chosen = self
            .sampler
            .choose_by(logits, known.len() as u32, rule, due, told);
        if let Some(why) = obey.and_then(|obey| obey.failed) {
            return Some(FinishReason::Failed(too_much(&why)));
        }
        let mut choice = match chosen {
            Ok(choice) => choice,
            Err(error) => return Some(FinishReason::Failed(SamplingError::to_string(&error))),
        };
        choice.token = self.forced.pop().unwrap_or(choice.token);
        // What must come says nothing of how sure the model is.
        choice.signals = choice.signals.filter(|_| due.is_none());
        let full = |known: &Vec<TokenId>| known.len() >= max_len;
        loop {
            known.push(choice.token);
            let reason = self.take(id, choice, full(known), vocabulary, events);
            if reason.is_some() || self.sampler.sampling().logprobs.is_some() {
                return reason;
            }
            choice = Choice {
                token: self.due.pop_front()?,
                logprob: None,
                top: Vec::new(),
                signals: None,
            };
        }
    }

    /// How sure the model was of what is written, where that is asked for.
    pub fn signals(&mut self) -> Option<Box<Signals>> {
        self.watch.as_mut().map(|watch| Box::new(watch.summary()))
    }

    /// A token has come.
    fn take(
        &mut self,
        id: RequestId,
        choice: Choice,
        full: bool,
        vocabulary: &Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let Choice {
            token,
            logprob,
            top,
            mut signals,
        } = choice;
        self.sampler.accept(token);
        let mut text = String::new();
        let mut reason = self.why_finished(token, full, vocabulary, &mut text, &mut signals);
        if let Some(watch) = &mut self.watch {
            watch.push(signals.as_ref());
        }
        if reason.is_none() {
            let followed = self.follow(token, vocabulary);
            reason = followed.err().map(FinishReason::Failed);
        }
        if reason.is_some() {
            self.stops.finish(&mut text);
        }
        events.push(Event::Token {
            request: id,
            token,
            text,
            logprob,
            top,
            signals,
        });
        reason
    }

    /// Goes on in the grammar, and finds out what must come next.
    fn follow(&mut self, token: TokenId, vocabulary: &Vocabulary) -> Result<(), String> {
        if let Some(guide) = &mut self.guide {
            guide.accept(token).map_err(|why| too_much(&why))?;
        }
        self.look_ahead(vocabulary);
        Ok(())
    }

    /// Fills [`Self::due`].
    fn look_ahead(&mut self, vocabulary: &Vocabulary) {
        if !self.due.is_empty() {
            return;
        }
        // Not within a character.
        let whole = self.decoder.is_between_characters();
        if let Some(close) = self
            .thinking
            .as_mut()
            .filter(|_| whole)
            .and_then(Clock::ring)
        {
            let guide = self.guide.as_mut();
            if guide.is_none_or(|guide| guide.allows_all(&close)) {
                self.due.extend(close);
                return;
            }
        }
        let Some(guide) = &mut self.guide else {
            return;
        };
        match guide.is_complete() {
            true => self.due.extend(end_token(vocabulary)),
            false => self.due.extend(guide.forced()),
        }
    }

    /// Appends the text that became certain with `token`, and says whether the answer ends there.
    fn why_finished(
        &mut self,
        token: TokenId,
        full: bool,
        vocabulary: &Vocabulary,
        text: &mut String,
        signals: &mut Option<TokenSignals>,
    ) -> Option<FinishReason> {
        let mut piece = String::new();
        let ends = !self.ignore_end || self.guide.is_some();
        let reason = if ends && vocabulary.is_end_of_generation(token) {
            Some(FinishReason::End(token))
        } else if self.stop_tokens.contains(&token) {
            Some(FinishReason::StopToken(token))
        } else {
            self.decode(vocabulary, token, &mut piece);
            full.then_some(FinishReason::Length)
        };
        if let Some(signals) = signals {
            let reasons = self.thinking.as_ref().is_some_and(Clock::is_reasoning);
            signals.content = !reasons && piece.chars().any(char::is_alphanumeric);
        }
        if let Some(thinking) = &mut self.thinking {
            thinking.tick(&piece);
        }
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

fn too_much(why: &str) -> String {
    format!(
        "the answer's grammar cannot be followed any further ({why}); simplify the schema or grammar"
    )
}

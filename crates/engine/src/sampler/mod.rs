//! From logits to one token.
//!
//! # The order, the same in every interface
//!
//! 1. **Logprobs**, when asked for, are taken first: log-softmax of the logits as the model gave
//!    them. They describe the model, not the sampler.
//! 2. **Logit bias** is added (negative infinity bans a token).
//! 3. **Repetition**, then **frequency and presence** penalties, over the last `penalty_last_n`
//!    known tokens, prompt included.
//! 4. **DRY** ([`Dry`]).
//! 5. With temperature 0 the largest logit wins, the lowest id among equals, and nothing below
//!    applies, unless infill is asked for: then the largest of what it left wins.
//! 6. **Top-k**, 7. **typical**, 8. **top-p**, 9. **min-p**: each works on what the one before it
//!    left, and its probabilities are those of what is left. Each keeps at least one token.
//! 10. **Infill**, where it is asked for: what the model is unsure of ends the text (`infill.rs`).
//! 11. **Temperature** divides the logits.
//! 12. **One token** is drawn.
//! 13. **A constraint** that does not allow it bans all that it does not allow, and 5 to 12 are done
//!     once more.
//!
//! # The draw
//!
//! Gumbel-max: the token with the largest `logit / temperature + G` wins, where `G = -ln(-ln u)`
//! and `u` is a pure function of (seed, position, token id): see `noise.rs`. It is computed in the
//! equal form of a race: the smallest `-ln(u) / exp(logit / temperature)` wins. No state is
//! carried from draw to draw, so the same seed gives the same token whatever else is in the batch,
//! and a truncation that leaves the winner in the set does not change who wins.
//!
//! # Logits that are not numbers
//!
//! NaN and negative infinity are never chosen; positive infinity counts as the largest finite
//! number. Where nothing can be chosen, the answer is [`SamplingError::NothingLeft`].

mod dry;
mod infill;
mod logprobs;
mod look;
mod noise;
mod params;
mod penalties;
#[cfg(test)]
mod tests;
mod truncate;
mod weights;

pub use dry::breaker_tokens;
pub use params::{Dry, MAX_TOP_LOGPROBS, Sampling, SamplingError};

use crate::signals::TokenSignals;
use dry::DryState;
use infill::Infill;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use look::Look;
use penalties::Window;
use std::sync::Arc;
use truncate::Candidate;

/// A token that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: TokenId,
    /// Its log-probability (nats) under the model's own distribution; `None` unless
    /// [`Sampling::logprobs`] is set.
    pub logprob: Option<f32>,
    /// The most probable tokens with their log-probabilities, most probable first: as many as
    /// [`Sampling::logprobs`] says.
    pub top: Vec<(TokenId, f32)>,
    /// How sure the model was; `None` unless asked for by [`Sampler::with_signals`].
    pub signals: Option<TokenSignals>,
}

/// Says which tokens may be chosen.
pub(crate) trait Rule {
    /// Whether this one may.
    fn allows(&mut self, token: TokenId) -> bool;

    /// Bans all that may not, by negative infinity.
    fn restrict(&mut self, logits: &mut [f32]);
}

/// Chooses the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    n_vocab: usize,
    /// Every known token, in order; empty unless a penalty looks back.
    history: Vec<TokenId>,
    /// The tokens that penalties count.
    window: Window,
    dry: DryState,
    /// Where the text ends if the model is unsure; none: nobody asked.
    infill: Option<Infill>,
    /// Scratch for truncation: reused from call to call.
    candidates: Vec<Candidate>,
    /// Logits that bias and penalties changed, as they were: (id, logit).
    changed: Vec<(u32, f32)>,
    /// Whether each choice comes with its signals.
    looks: bool,
    /// The most probable tokens, where a rule is asked about them: reused from call to call.
    asked: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for a vocabulary of `n_vocab` tokens.
    ///
    /// # Errors
    /// A parameter is out of its range; the error names both.
    pub fn new(sampling: &Sampling, n_vocab: usize) -> Result<Self, SamplingError> {
        sampling.validate()?;
        if let Some(&(token, _)) = sampling
            .logit_bias
            .iter()
            .find(|(t, _)| t.0 as usize >= n_vocab)
        {
            return Err(SamplingError::BiasOutsideVocabulary { token, n_vocab });
        }
        Ok(Self {
            sampling: sampling.clone(),
            n_vocab,
            history: Vec::new(),
            window: Window::new(sampling, n_vocab),
            dry: DryState::default(),
            infill: None,
            candidates: Vec::new(),
            changed: Vec::new(),
            looks: false,
            asked: Vec::new(),
        })
    }

    /// The tokens that end a DRY match: see [`breaker_tokens`].
    #[must_use]
    pub fn with_breakers(mut self, breakers: Vec<TokenId>) -> Self {
        self.dry.set_breakers(breakers);
        self
    }

    /// What tokens say: [`Sampling::infill`] asks.
    #[must_use]
    pub fn with_vocabulary(mut self, vocabulary: Arc<Vocabulary>) -> Self {
        self.infill = self.sampling.infill.then(|| Infill::new(vocabulary));
        self
    }

    /// Every choice says how sure the model was of it.
    #[must_use]
    pub fn with_signals(mut self) -> Self {
        self.looks = true;
        self
    }

    /// Makes room for `tokens` more known tokens, so that [`Self::accept`] allocates nothing.
    pub fn reserve(&mut self, tokens: usize) {
        if self.looks_back() {
            self.history.reserve(tokens);
        }
    }

    /// Takes note of a known token, of the prompt or chosen. Amortised constant time.
    pub fn accept(&mut self, token: TokenId) {
        if self.looks_back() {
            self.history.push(token);
            self.window.push(&self.history);
        }
    }

    /// Forgets the last `n` known tokens. What a window had lost by then, it has again.
    pub fn retract(&mut self, n: usize) {
        for _ in 0..n.min(self.history.len()) {
            self.window.pop(&self.history);
            self.history.pop();
        }
    }

    /// The parameters in use.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Chooses the token of `position` from `logits` (`[n_vocab]`), which it changes.
    ///
    /// The chosen token becomes known by [`Self::accept`], not here.
    ///
    /// # Errors
    /// [`SamplingError::NothingLeft`] when no logit is a number above negative infinity;
    /// [`SamplingError::WrongWidth`] when there are not `n_vocab` logits.
    pub fn choose(&mut self, logits: &mut [f32], position: u32) -> Result<Choice, SamplingError> {
        self.choose_by(logits, position, None, None, None)
    }

    /// As [`Self::choose`], under a rule: what is chosen without it stands where the rule allows it;
    /// else all that it does not allow is banned, and the choice is made once more. Without truncation
    /// that is the same as banning first, because the noise of a token is its own; and what a rule
    /// allows is seldom computed. A token that is `forced` comes whatever the logits are. Signals and the
    /// log-probability are those of `told`, where the caller will put that in the place of what is chosen.
    pub(crate) fn choose_by(
        &mut self,
        logits: &mut [f32],
        position: u32,
        mut rule: Option<&mut dyn Rule>,
        forced: Option<TokenId>,
        told: Option<TokenId>,
    ) -> Result<Choice, SamplingError> {
        if logits.len() != self.n_vocab {
            return Err(SamplingError::WrongWidth {
                found: logits.len(),
                n_vocab: self.n_vocab,
            });
        }
        for logit in logits.iter_mut() {
            *logit = if logit.is_nan() {
                f32::NEG_INFINITY
            } else {
                logit.min(f32::MAX)
            };
        }
        let log_sum = self
            .sampling
            .logprobs
            .map(|_| logprobs::log_sum_exp(logits));
        let top = match (self.sampling.logprobs, log_sum) {
            (Some(n), Some(log_sum)) if n > 0 => self.top(logits, n as usize, log_sum),
            _ => Vec::new(),
        };

        let look = self.looks.then(|| Look::of(logits)).flatten();
        let free = rule.is_some() && forced.is_none();
        if free && look.is_some() {
            look::asked(logits, &mut self.asked);
        }
        let told = told.map(|token| (token.0, logits[token.0 as usize]));

        self.changed.clear();
        self.bias(logits);
        self.window
            .penalise(&self.sampling, logits, &mut self.changed);
        self.dry
            .penalise(&self.sampling.dry, &self.history, logits, &mut self.changed);

        let mut token = match forced {
            Some(token) => Some(token.0),
            None => self.draw(logits, position),
        };
        if forced.is_none()
            && let Some(rule) = rule.as_deref_mut()
            && !token.is_some_and(|token| rule.allows(TokenId(token)))
        {
            rule.restrict(logits);
            token = self.draw(logits, position);
        }
        let token = token.ok_or(SamplingError::NothingLeft { position })?;
        let logit = self.given(logits, token);
        let came = told.unwrap_or((token, logit));
        let logprob = log_sum.map(|log_sum| (f64::from(came.1) - log_sum) as f32);
        let signals = look.map(|look| {
            let (token, logit) = came;
            let mut signals = look.at(token, logit);
            if let Some(rule) = rule.filter(|_| free) {
                look.among(&mut signals, token, logit, &mut self.asked, rule);
            }
            signals
        });
        Ok(Choice {
            token: TokenId(token),
            logprob,
            top,
            signals,
        })
    }

    fn draw(&mut self, logits: &[f32], position: u32) -> Option<u32> {
        let greedy = self.sampling.temperature == 0.0;
        if greedy && self.infill.is_none() {
            return argmax(logits);
        }
        let temperature = self.sampling.temperature;
        let key = noise::position_key(self.sampling.seed, position);
        if self.sampling.keeps_all() {
            return noise::draw_any(key, temperature, logits);
        }
        self.truncate(logits);
        if let Some(infill) = &mut self.infill {
            infill.keep_sure(logits, &mut self.candidates);
        }
        if greedy {
            return self.candidates.first().map(|c| c.id);
        }
        noise::draw(key, temperature, &self.candidates)
    }

    fn looks_back(&self) -> bool {
        self.window.is_on() || self.sampling.dry.is_on()
    }

    fn bias(&mut self, logits: &mut [f32]) {
        for &(token, bias) in &self.sampling.logit_bias {
            let logit = &mut logits[token.0 as usize];
            self.changed.push((token.0, *logit));
            *logit = (*logit + bias).min(f32::MAX);
        }
    }

    /// Fills `candidates` with the tokens that may be drawn.
    fn truncate(&mut self, logits: &[f32]) {
        let s = &self.sampling;
        if s.top_k == 0 && s.typical >= 1.0 {
            truncate::likely(logits, s.top_p, s.min_p, &mut self.candidates);
            return;
        }
        let k = if s.top_k == 0 {
            usize::MAX
        } else {
            s.top_k as usize
        };
        truncate::top_k(logits, k, &mut self.candidates);
        if s.typical < 1.0 {
            truncate::typical(&mut self.candidates, s.typical);
        }
        if s.top_p < 1.0 {
            truncate::top_p(&mut self.candidates, s.top_p);
        }
        if s.min_p > 0.0 {
            truncate::min_p(&mut self.candidates, s.min_p);
        }
    }

    fn top(&mut self, logits: &[f32], n: usize, log_sum: f64) -> Vec<(TokenId, f32)> {
        truncate::top_k(logits, n, &mut self.candidates);
        truncate::sort_by_logit(&mut self.candidates);
        self.candidates
            .iter()
            .map(|c| (TokenId(c.id), (f64::from(c.logit) - log_sum) as f32))
            .collect()
    }

    /// The logit of `token` as the model gave it.
    fn given(&self, logits: &[f32], token: u32) -> f32 {
        // The first entry of a token is the oldest, hence the model's own.
        self.changed
            .iter()
            .find(|(id, _)| *id == token)
            .map_or(logits[token as usize], |&(_, logit)| logit)
    }
}

/// The largest logit's id, the lowest among equals; `None` where all are negative infinity.
fn argmax(logits: &[f32]) -> Option<u32> {
    let max = largest(logits);
    let found = (0..).zip(logits).find(|(_, logit)| **logit == max);
    found.filter(|_| max > f32::NEG_INFINITY).map(|(id, _)| id)
}

/// The largest of `logits`, none of which is NaN; negative infinity where there is none.
fn largest(logits: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    // In lanes, so that a vocabulary is read at the speed of memory.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for chunk in whole {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, logit);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, larger)
}

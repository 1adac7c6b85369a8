//! DRY: what repeats a stretch of the text is penalised, the longer the stretch the more.

use super::{Dry, SamplingError};
use ingle_formats::TokenId;

/// Longest repeat whose length is told apart; `base^50` is beyond any logit.
const LONGEST: u32 = 50;

/// The tokens whose text contains one of `breakers`, ascending, each once.
///
/// `pieces` are the texts of all tokens, as bytes.
///
/// # Errors
/// [`SamplingError::NoSuchBreaker`]: a breaker that no token contains would do nothing.
pub fn breaker_tokens<'a>(
    breakers: &[String],
    pieces: impl Iterator<Item = (TokenId, &'a [u8])>,
) -> Result<Vec<TokenId>, SamplingError> {
    let mut found = vec![false; breakers.len()];
    let mut tokens = Vec::new();
    for (token, piece) in pieces {
        let mut breaks = false;
        for (breaker, found) in breakers.iter().zip(&mut found) {
            let inside = !breaker.is_empty()
                && piece
                    .windows(breaker.len())
                    .any(|part| part == breaker.as_bytes());
            *found |= inside;
            breaks |= inside;
        }
        if breaks {
            tokens.push(token);
        }
    }
    tokens.sort_unstable();
    tokens.dedup();
    match breakers.iter().zip(found).find(|(_, found)| !found) {
        Some((breaker, _)) => Err(SamplingError::NoSuchBreaker {
            breaker: breaker.clone(),
        }),
        None => Ok(tokens),
    }
}

/// Scratch and breakers.
#[derive(Clone, Debug, Default)]
pub(super) struct DryState {
    /// Ascending.
    breakers: Vec<TokenId>,
    /// For each token of the searched stretch, last first: how many tokens up to it equal the end
    /// of the text (the Z function of the reversed text).
    repeats: Vec<u32>,
    /// Longest repeat that each token would continue: (token, length), ascending by token.
    continued: Vec<(TokenId, u32)>,
}

impl DryState {
    pub(super) fn set_breakers(&mut self, mut breakers: Vec<TokenId>) {
        breakers.sort_unstable();
        breakers.dedup();
        self.breakers = breakers;
    }

    /// Subtracts the penalties; `changed` receives what the logits were.
    ///
    /// Time is linear in the tokens searched, whatever they repeat.
    pub(super) fn penalise(
        &mut self,
        dry: &Dry,
        history: &[TokenId],
        logits: &mut [f32],
        changed: &mut Vec<(u32, f32)>,
    ) {
        if !dry.is_on() {
            return;
        }
        let last_n = dry.penalty_last_n.map_or(usize::MAX, |n| n as usize);
        let text = &history[history.len().saturating_sub(last_n)..];
        let limit = self.unbroken(text);
        self.repeats(text, limit);
        self.continued.clear();
        for (back, &repeat) in self.repeats.iter().enumerate().skip(1) {
            if repeat >= dry.allowed_length {
                // `back` tokens before the end a repeat ends; the token after it would continue it.
                self.continued.push((text[text.len() - back], repeat));
            }
        }
        self.continued.sort_unstable();
        for (i, &(token, repeat)) in self.continued.iter().enumerate() {
            // The last entry of a token has its longest repeat.
            if self
                .continued
                .get(i + 1)
                .is_some_and(|next| next.0 == token)
                || self.breakers.binary_search(&token).is_ok()
            {
                continue;
            }
            let Some(logit) = logits.get_mut(token.0 as usize) else {
                continue;
            };
            changed.push((token.0, *logit));
            *logit -= penalty(dry, repeat);
        }
    }

    /// How many tokens at the end of the text hold no breaker.
    fn unbroken(&self, text: &[TokenId]) -> usize {
        text.iter()
            .rev()
            .take_while(|t| self.breakers.binary_search(t).is_err())
            .count()
    }

    /// The Z function of the reversed text; no length goes beyond `limit`.
    fn repeats(&mut self, text: &[TokenId], limit: usize) {
        let n = text.len();
        let from_end = |i: usize| text[n - 1 - i];
        self.repeats.clear();
        self.repeats.resize(n, 0);
        // [left, right): the stretch found equal to the end that reaches furthest.
        let (mut left, mut right) = (0, 0);
        for i in 1..n {
            let mut len = 0;
            if i < right {
                len = (right - i).min(self.repeats[i - left] as usize);
            }
            while len < limit && i + len < n && from_end(len) == from_end(i + len) {
                len += 1;
            }
            self.repeats[i] = len as u32;
            if i + len > right {
                (left, right) = (i, i + len);
            }
        }
    }
}

fn penalty(dry: &Dry, repeat: u32) -> f32 {
    let over = (repeat - dry.allowed_length).min(LONGEST);
    let penalty = f64::from(dry.multiplier) * libm::pow(f64::from(dry.base), f64::from(over));
    penalty.min(f64::from(f32::MAX)) as f32
}

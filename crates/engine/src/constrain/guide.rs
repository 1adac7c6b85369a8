//! One answer on its way through a grammar.

use super::Grammar;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use llguidance::Matcher;

/// Says which tokens may come.
pub(crate) struct Guide {
    matcher: Matcher,
}

impl Guide {
    /// At the beginning of an answer.
    pub fn new(grammar: &Grammar) -> Self {
        let matcher = grammar.begin();
        Self { matcher }
    }

    /// Whether `token` may come next.
    pub fn allows(&mut self, token: TokenId, vocabulary: &Vocabulary) -> bool {
        if vocabulary.is_end_of_generation(token) {
            return self.matcher.is_accepting().unwrap_or(false);
        }
        !self.matcher.is_stopped() && self.matcher.validate_tokens(&[token.0]).unwrap_or(0) == 1
    }

    /// Whether all of `tokens` may come next.
    pub fn allows_all(&mut self, tokens: &[TokenId]) -> bool {
        let ids: Vec<u32> = tokens.iter().map(|t| t.0).collect();
        !self.matcher.is_stopped() && self.matcher.validate_tokens(&ids).unwrap_or(0) == ids.len()
    }

    /// Bans every token that may not come next.
    ///
    /// # Errors
    /// The grammar takes more than its bounds here.
    pub fn restrict(&mut self, logits: &mut [f32], vocabulary: &Vocabulary) -> Result<(), String> {
        let mask = match self.matcher.is_stopped() && !self.matcher.is_error() {
            true => None,
            false => Some(
                self.matcher
                    .compute_mask()
                    .map_err(|e| super::short(&e.to_string()))?,
            ),
        };
        let accepting = self.matcher.is_accepting().unwrap_or(false);
        let ends = vocabulary.ends_of_generation();
        let kept: Vec<f32> = ends.iter().map(|t| logits[t.0 as usize]).collect();
        match &mask {
            None => logits.fill(f32::NEG_INFINITY),
            Some(mask) => {
                let words = mask.as_slice().iter().copied().chain(std::iter::repeat(0));
                for (chunk, word) in logits.chunks_mut(32).zip(words) {
                    match word {
                        u32::MAX => {}
                        0 => chunk.fill(f32::NEG_INFINITY),
                        _ => {
                            let banned = chunk.iter_mut().enumerate();
                            let banned = banned.filter(|(bit, _)| word >> bit & 1 == 0);
                            banned.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
                        }
                    }
                }
            }
        }
        for (token, logit) in ends.iter().zip(kept) {
            logits[token.0 as usize] = if accepting { logit } else { f32::NEG_INFINITY };
        }
        Ok(())
    }

    /// Takes note of a token that came.
    ///
    /// # Errors
    /// It may not come, or the grammar takes more than its bounds.
    pub fn accept(&mut self, token: TokenId) -> Result<(), String> {
        let taken = self.matcher.consume_token(token.0);
        taken.map_err(|e| super::short(&e.to_string()))
    }

    /// The tokens that must come next, as the vocabulary cuts their text.
    pub fn forced(&mut self) -> Vec<TokenId> {
        let tokens = self.matcher.compute_ff_tokens();
        tokens.into_iter().map(TokenId).collect()
    }

    /// Whether nothing may come but the end.
    pub fn is_complete(&mut self) -> bool {
        self.matcher.is_stopped() && self.matcher.is_accepting().unwrap_or(false)
    }
}

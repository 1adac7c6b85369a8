//! Repetition, frequency and presence penalties over a window of known tokens.

use super::Sampling;
use ingle_formats::TokenId;
use std::collections::HashMap;

/// How often each token stands in the window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    counts: HashMap<TokenId, u32>,
    /// `usize::MAX`: all known tokens. 0: the penalties are off.
    len: usize,
}

impl Window {
    pub(super) fn new(sampling: &Sampling, n_vocab: usize) -> Self {
        let off = sampling.repetition_penalty == 1.0
            && sampling.presence_penalty == 0.0
            && sampling.frequency_penalty == 0.0;
        let len = if off {
            0
        } else {
            sampling.penalty_last_n.map_or(usize::MAX, |n| n as usize)
        };
        // One more than the window: a token comes before the oldest goes.
        let room = len
            .saturating_add(1)
            .min(n_vocab)
            .min(if off { 0 } else { usize::MAX });
        Self {
            counts: HashMap::with_capacity(room),
            len,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.len > 0
    }

    /// Counts the last token of `history` and drops the one that left the window.
    pub(super) fn push(&mut self, history: &[TokenId]) {
        let (Some(new), true) = (history.last(), self.is_on()) else {
            return;
        };
        *self.counts.entry(*new).or_insert(0) += 1;
        let gone = history
            .len()
            .checked_sub(self.len.saturating_add(1))
            .map(|i| history[i]);
        if let Some(gone) = gone {
            self.uncount(gone);
        }
    }

    /// Undoes [`Self::push`] for the last token of `history`.
    pub(super) fn pop(&mut self, history: &[TokenId]) {
        let (Some(last), true) = (history.last(), self.is_on()) else {
            return;
        };
        self.uncount(*last);
        let back = history.len().checked_sub(self.len.saturating_add(1));
        if let Some(i) = back {
            *self.counts.entry(history[i]).or_insert(0) += 1;
        }
    }

    fn uncount(&mut self, token: TokenId) {
        if let Some(count) = self.counts.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&token);
            }
        }
    }

    /// Applies the penalties; `changed` receives what the logits were.
    pub(super) fn penalise(
        &self,
        sampling: &Sampling,
        logits: &mut [f32],
        changed: &mut Vec<(u32, f32)>,
    ) {
        for (token, &count) in &self.counts {
            // A prompt may hold ids beyond the logits only by a fault elsewhere: not ours to panic on.
            let Some(logit) = logits.get_mut(token.0 as usize) else {
                continue;
            };
            changed.push((token.0, *logit));
            if *logit > 0.0 {
                *logit /= sampling.repetition_penalty;
            } else {
                *logit *= sampling.repetition_penalty;
            }
            *logit -= count as f32 * sampling.frequency_penalty + sampling.presence_penalty;
            *logit = logit.min(f32::MAX);
        }
    }
}

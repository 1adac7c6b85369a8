//! What the model's own distribution says of a token: the numbers of [`TokenSignals`].

use super::truncate::{self, Candidate};
use super::{Rule, logprobs, weights};
use crate::signals::TokenSignals;
use ingle_formats::TokenId;

/// How many of the most probable tokens are asked whether a grammar allows them. What lies behind
/// them counts as not allowed: each asks a parser, and their mass is small.
const ASKED: usize = 32;

/// One distribution, before anything changed its logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The most probable token, and its logit.
    first: (u32, f32),
    /// The logit of the second.
    second: f32,
    log_sum: f64,
    entropy: f64,
}

impl Look {
    /// `None` where nothing can be chosen.
    pub fn of(logits: &[f32]) -> Option<Self> {
        let max = super::largest(logits);
        let first = super::argmax(logits)?;
        let second = logprobs::largest_but(logits, first as usize);
        let (sum, weighted) = weights::sum_exp_weighted(logits, max);
        let log = libm::log(sum);
        Some(Self {
            first: (first, max),
            second,
            log_sum: f64::from(max) + log,
            // H = ln Z - E[logit - max]
            entropy: (log - weighted / sum).max(0.0),
        })
    }

    /// What is known of `token`, whose logit was `logit`.
    pub fn at(&self, token: u32, logit: f32) -> TokenSignals {
        let other = match token == self.first.0 {
            true => self.second,
            false => self.first.1,
        };
        let logprob = bounded((f64::from(logit) - self.log_sum) as f32);
        let margin = bounded(logit - other);
        TokenSignals {
            logprob,
            margin,
            entropy: self.entropy as f32,
            allowed_logprob: logprob,
            allowed_margin: margin,
            avoided: false,
            content: true,
        }
    }

    /// The same where a rule allows `token` and not every other. `candidates` are the most probable
    /// ones, as [`asked`] found them.
    pub fn among(
        &self,
        signals: &mut TokenSignals,
        token: u32,
        logit: f32,
        candidates: &mut [Candidate],
        rule: &mut dyn Rule,
    ) {
        truncate::sort_by_logit(candidates);
        let (mut mass, mut best) = (0.0, f32::NEG_INFINITY);
        // Without another that is allowed, the margin is to the last that was asked.
        let floor = candidates.last().map_or(logit, |c| c.logit);
        for c in candidates.iter().filter(|c| c.id != token) {
            if rule.allows(TokenId(c.id)) {
                mass += libm::exp(f64::from(c.logit) - f64::from(logit));
                best = best.max(c.logit);
            } else if c.id == self.first.0 {
                signals.avoided = true;
            }
        }
        signals.allowed_logprob = -libm::log1p(mass) as f32;
        signals.allowed_margin = bounded(logit - best.max(floor.min(logit)));
    }
}

/// Fills `out` with the tokens that [`Look::among`] asks about.
pub(super) fn asked(logits: &[f32], out: &mut Vec<Candidate>) {
    truncate::top_k(logits, ASKED, out);
}

/// A number that an average can bear.
fn bounded(margin: f32) -> f32 {
    margin.clamp(-100.0, 100.0)
}

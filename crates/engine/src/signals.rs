//! How sure the model was of what it wrote, in numbers that something else makes a probability of.
//!
//! All but the numbers called `allowed` are of the model's own distribution: before bias, penalties,
//! temperature and grammar. They cost two passes over the logits of a token, and are taken only where
//! [`crate::Request::signals`] asks for them.
//!
//! *Content* tokens are those whose text has a letter or a digit, that the model could have chosen
//! otherwise, and that are no reasoning: brackets, spaces and what a grammar forces say nothing of how
//! sure an answer is.

/// What is known of one token that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenSignals {
    /// Its log-probability, nats.
    pub logprob: f32,
    /// Its logit less the best other one's: below 0 where another was more probable.
    pub margin: f32,
    /// The entropy of the distribution it was taken from, nats.
    pub entropy: f32,
    /// Its log-probability among the tokens that the grammar allows here; `logprob` without a grammar.
    pub allowed_logprob: f32,
    /// Its logit less the best other one that the grammar allows; `margin` without a grammar.
    pub allowed_margin: f32,
    /// The grammar took the model's first choice away.
    pub avoided: bool,
    /// It says something: see [the module](self).
    pub content: bool,
}

/// A number over the content tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    /// The mean.
    pub mean: f32,
    /// That of the token that the model was least sure of.
    pub worst: f32,
    /// What a tenth of the tokens are no better than.
    pub tenth: f32,
    /// What a quarter of the tokens are no better than.
    pub quarter: f32,
}

/// What is known of an answer, or of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signals {
    /// Tokens of the answer, the one that ended it included.
    pub tokens: u32,
    /// Content tokens among them. Where there are none, the spreads are 0 and mean nothing.
    pub content: u32,
    /// Tokens that a grammar forced, without a choice.
    pub forced: u32,
    /// How often a grammar took the model's first choice away.
    pub avoided: u32,
    /// The sum of the log-probabilities of all tokens that were chosen, nats.
    pub logprob_sum: f32,
    /// The same among what the grammar allowed.
    pub allowed_logprob_sum: f32,
    /// Log-probabilities: worst is lowest.
    pub logprob: Spread,
    /// Margins: worst is lowest.
    pub margin: Spread,
    /// Entropies: worst is highest.
    pub entropy: Spread,
    /// Margins among what the grammar allowed: worst is lowest.
    pub allowed_margin: Spread,
}

/// Gathers the signals of an answer token by token.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    tokens: u32,
    forced: u32,
    avoided: u32,
    logprob_sum: f64,
    allowed_logprob_sum: f64,
    logprobs: Vec<f32>,
    margins: Vec<f32>,
    entropies: Vec<f32>,
    allowed_margins: Vec<f32>,
}

impl Watch {
    /// Makes room for `n` more tokens, so that [`Self::push`] allocates nothing.
    pub fn reserve(&mut self, n: usize) {
        for each in [
            &mut self.logprobs,
            &mut self.margins,
            &mut self.entropies,
            &mut self.allowed_margins,
        ] {
            each.reserve(n);
        }
    }

    /// A token has come; `None`: without a choice, so that nothing is known of it.
    pub fn push(&mut self, token: Option<&TokenSignals>) {
        self.tokens += 1;
        let Some(token) = token else {
            self.forced += 1;
            return;
        };
        self.avoided += u32::from(token.avoided);
        self.logprob_sum += f64::from(token.logprob);
        self.allowed_logprob_sum += f64::from(token.allowed_logprob);
        if token.content {
            self.logprobs.push(token.logprob);
            self.margins.push(token.margin);
            self.entropies.push(token.entropy);
            self.allowed_margins.push(token.allowed_margin);
        }
    }

    /// What is known so far. More tokens may come.
    pub fn summary(&mut self) -> Signals {
        Signals {
            tokens: self.tokens,
            content: self.logprobs.len() as u32,
            forced: self.forced,
            avoided: self.avoided,
            logprob_sum: self.logprob_sum as f32,
            allowed_logprob_sum: self.allowed_logprob_sum as f32,
            logprob: spread(&mut self.logprobs, 1.0),
            margin: spread(&mut self.margins, 1.0),
            entropy: spread(&mut self.entropies, -1.0),
            allowed_margin: spread(&mut self.allowed_margins, 1.0),
        }
    }
}

/// The spread of `values`, which it sorts; worst is lowest with `sign` 1, highest with -1.
fn spread(values: &mut [f32], sign: f32) -> Spread {
    values.sort_unstable_by(|a, b| (sign * a).total_cmp(&(sign * b)));
    let Some(last) = values.len().checked_sub(1) else {
        return Spread::default();
    };
    let sum: f64 = values.iter().copied().map(f64::from).sum();
    Spread {
        mean: (sum / values.len() as f64) as f32,
        worst: values[0],
        tenth: values[last / 10],
        quarter: values[last / 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(logprob: f32, content: bool) -> TokenSignals {
        TokenSignals {
            logprob,
            margin: -logprob,
            entropy: -2.0 * logprob,
            allowed_logprob: logprob / 2.0,
            allowed_margin: 1.0,
            avoided: logprob < -3.0,
            content,
        }
    }

    #[test]
    fn only_content_is_in_the_spreads_and_all_in_the_sums() {
        let mut watch = Watch::default();
        watch.push(Some(&token(-9.0, false)));
        watch.push(None);
        for i in 0..=20_u8 {
            watch.push(Some(&token(-f32::from(20 - i) / 10.0, true)));
        }
        let s = watch.summary();
        assert_eq!((s.tokens, s.content, s.forced, s.avoided), (23, 21, 1, 1));
        assert!((s.logprob_sum + 30.0).abs() < 1e-4 && (s.allowed_logprob_sum + 15.0).abs() < 1e-4);
        let found = [s.logprob.worst, s.logprob.tenth, s.logprob.quarter];
        assert_eq!(found, [-2.0, -1.8, -1.5]);
        assert!((s.logprob.mean + 1.0).abs() < 1e-6);
        let found = [s.entropy.worst, s.entropy.tenth, s.margin.worst];
        assert_eq!(found, [4.0, 3.6, 0.0]);
    }

    #[test]
    fn an_answer_goes_on_behind_a_summary() {
        let mut watch = Watch::default();
        assert_eq!(watch.summary(), Signals::default());
        watch.push(Some(&token(-1.0, true)));
        assert_eq!(watch.summary().logprob.worst, -1.0);
        watch.push(Some(&token(-2.0, true)));
        let s = watch.summary();
        assert_eq!((s.tokens, s.logprob.worst, s.logprob.mean), (2, -2.0, -1.5));
    }
}

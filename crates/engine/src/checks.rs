//! Which requests are taken, and why others are not.

use crate::engine::Engine;
use crate::request::{MAX_STOP_LEN, MAX_STOPS, Refusal, Request};
use crate::sampler::{SamplingError, breaker_tokens};
use ingle_formats::TokenId;
use ingle_tensor::ops::Ops;

impl<O: Ops + 'static> Engine<O> {
    /// The length at which the request's generation ends.
    pub(crate) fn check_request(&self, request: &Request) -> Result<usize, Refusal> {
        let (prompt_tokens, context) = (request.prompt.len(), self.plan.context);
        if !self.plan.generates() {
            let architecture = self.plan.needs.architecture.clone();
            return Err(Refusal::WritesNothing { architecture });
        }
        self.check_tokens(&request.prompt)?;
        self.check_in_vocabulary(&request.stop_tokens)?;
        self.check_in_vocabulary(&request.forced)?;
        self.check_in_vocabulary(&request.shown)?;
        if let Some(thinking) = &request.thinking {
            self.check_in_vocabulary(&thinking.close)?;
        }
        let lengths = || request.stop.iter().map(String::len);
        let (longest, shortest) = (lengths().max().unwrap_or(1), lengths().min().unwrap_or(1));
        if request.stop.len() > MAX_STOPS || longest > MAX_STOP_LEN || shortest == 0 {
            return Err(Refusal::Stops {
                count: request.stop.len(),
                longest,
                shortest,
            });
        }
        let room = (context as usize).saturating_sub(prompt_tokens);
        match request.max_tokens {
            Some(0) => Err(Refusal::NothingToDo),
            _ if room == 0 => Err(Refusal::PromptTooLong {
                prompt_tokens,
                context,
            }),
            Some(max_tokens) if max_tokens as usize > room => Err(Refusal::ContextOverflow {
                prompt_tokens,
                max_tokens,
                context,
            }),
            Some(max_tokens) => Ok(prompt_tokens + max_tokens as usize),
            None => Ok(context as usize),
        }
    }

    pub(crate) fn check_tokens(&self, tokens: &[TokenId]) -> Result<(), Refusal> {
        match tokens.is_empty() {
            true => Err(Refusal::EmptyPrompt),
            false => self.check_in_vocabulary(tokens),
        }
    }

    fn check_in_vocabulary(&self, tokens: &[TokenId]) -> Result<(), Refusal> {
        let n_vocab = self.vocabulary.len();
        match tokens.iter().find(|t| t.0 as usize >= n_vocab) {
            Some(&token) => Err(Refusal::NoSuchToken { token, n_vocab }),
            None => Ok(()),
        }
    }

    /// The tokens at which DRY's repeated sequences end.
    pub(crate) fn breakers(&self, request: &Request) -> Result<Vec<TokenId>, SamplingError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let tokens = || (0..self.vocabulary.len() as u32).map(TokenId);
        for token in tokens() {
            self.vocabulary.piece(token, true, &mut bytes);
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let pieces = starts.zip(&ends).map(|(start, &end)| &bytes[start..end]);
        breaker_tokens(
            &request.sampling.dry.sequence_breakers,
            tokens().zip(pieces),
        )
    }

    /// The tokens by which a decoder answers whether a text fits.
    pub(crate) fn yes_and_no(&self) -> Result<Vec<TokenId>, Refusal> {
        let token = |text| self.vocabulary.token_id(text).ok_or(Refusal::NoScore);
        Ok(vec![token("yes")?, token("no")?])
    }
}

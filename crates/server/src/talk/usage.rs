//! What answers took.

use ingle_engine::Usage as Tokens;
use ingle_gateway::chat;
use std::time::Duration;

/// What the answers to a request took. A prompt counts once, however many answers it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompts.
    pub prompt: u64,
    /// Those that had been computed before.
    pub cached: u64,
    /// Tokens of the answers, their reasoning included.
    pub generated: u64,
    /// Tokens of their reasoning.
    pub reasoning: u64,
    /// Until the first token, from when the request was read.
    pub first: Duration,
    /// From the first token to the last.
    pub rest: Duration,
}

impl Usage {
    /// As the gateway counts.
    pub(super) fn counted(&self) -> chat::Usage {
        chat::Usage {
            input: self.prompt,
            cached: self.cached,
            cache_writes: 0,
            output: self.generated,
            reasoning: self.reasoning,
        }
    }

    /// Adds an answer; `first_of_prompt`: no other to the same prompt was added.
    pub(super) fn add(&mut self, tokens: &Tokens, first_of_prompt: bool) {
        self.generated += u64::from(tokens.generated_tokens);
        if first_of_prompt {
            self.prompt += u64::from(tokens.prompt_tokens);
            self.cached += u64::from(tokens.cached_tokens);
        }
    }
}

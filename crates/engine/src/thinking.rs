//! How long a model thinks.

use crate::reasoning::{Marks, Splitter};
use ingle_formats::TokenId;

/// A bound on reasoning: after so many tokens the mark that ends it comes, whatever the model would
/// choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thinking {
    /// The marks around reasoning.
    pub marks: Marks,
    /// Whether the prompt has opened it.
    pub opened: bool,
    /// Tokens of reasoning at most.
    pub budget: u32,
    /// The tokens that end it: see [`crate::tools::Style::thinking`].
    pub close: Vec<TokenId>,
}

/// Counts tokens of reasoning.
#[derive(Debug)]
pub(crate) struct Clock {
    splitter: Splitter,
    left: u32,
    close: Vec<TokenId>,
}

impl Clock {
    pub fn new(thinking: &Thinking) -> Self {
        let prompt = if thinking.opened {
            thinking.marks.open
        } else {
            ""
        };
        Self {
            splitter: Splitter::with(thinking.marks, prompt),
            left: thinking.budget,
            close: thinking.close.clone(),
        }
    }

    /// Takes note of a token and the text that became complete with it.
    pub fn tick(&mut self, text: &str) {
        if self.splitter.is_reasoning() {
            self.left = self.left.saturating_sub(1);
        }
        self.splitter.push(text);
    }

    /// Whether the text so far ends within reasoning.
    pub fn is_reasoning(&self) -> bool {
        self.splitter.is_reasoning()
    }

    /// The tokens that end the reasoning, once, when its time is up.
    pub fn ring(&mut self) -> Option<Vec<TokenId>> {
        let up = self.splitter.is_reasoning() && self.left == 0 && !self.close.is_empty();
        up.then(|| std::mem::take(&mut self.close))
    }
}

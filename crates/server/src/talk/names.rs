//! What a dialect calls its fields.

/// Names of fields as a dialect's clients write them, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The conversation or the text.
    pub input: &'static str,
    /// What stands behind the hole of a text.
    pub suffix: &'static str,
    /// What may be called.
    pub tools: &'static str,
    /// Whether something is to be called.
    pub tool_choice: &'static str,
    /// What the answer must look like.
    pub form: &'static str,
    /// Whether or how hard the model thinks.
    pub effort: &'static str,
    /// Tokens that it may think.
    pub budget: &'static str,
    /// Tokens of an answer.
    pub max_tokens: &'static str,
    /// Texts that end an answer.
    pub stop: &'static str,
}

impl Names {
    /// The names that most clients use.
    pub const PLAIN: Self = Self {
        input: "prompt",
        suffix: "suffix",
        tools: "tools",
        tool_choice: "tool_choice",
        form: "response_format",
        effort: "reasoning_effort",
        budget: "reasoning_budget",
        max_tokens: "max_tokens",
        stop: "stop",
    };
}

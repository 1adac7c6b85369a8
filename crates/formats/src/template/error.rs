//! What can go wrong with a chat template, for people and for the evaluator.

/// Why a chat template could not be read or did not give a prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The source is not a template of the Jinja2 language as chat templates use it.
    #[error("the chat template cannot be read, line {line}: {what}; use another template")]
    Syntax {
        /// Line of the template, from 1.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// The template itself refused the conversation through `raise_exception`.
    #[error("the chat template refuses this conversation: {message}")]
    Raised {
        /// The words of the template's author.
        message: String,
    },
    /// The template did something that has no meaning, such as reading an attribute of nothing.
    #[error(
        "the chat template failed, line {line}: {what}; \
         change the messages or use another template"
    )]
    Failed {
        /// Line of the template, from 1.
        line: usize,
        /// What it tried.
        what: String,
    },
    /// The template was stopped because it reached a bound.
    #[error(
        "the chat template was stopped, line {line}: it passed its bound of {limit} {of}; \
         use another template"
    )]
    Limit {
        /// Line of the template, from 1.
        line: usize,
        /// The bound.
        limit: u64,
        /// What is bounded.
        of: Bound,
    },
}

/// What a template may use only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// Steps of evaluation; work on long strings counts as several.
    Fuel,
    /// Bytes of values made during one rendering.
    Memory,
    /// Bytes of the prompt.
    Output,
    /// Levels of nesting: of the source, of calls, of values.
    Depth,
    /// Bytes of the template's source.
    Source,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fuel => "steps",
            Self::Memory => "bytes of memory",
            Self::Output => "bytes of output",
            Self::Depth => "levels of nesting",
            Self::Source => "bytes of source",
        })
    }
}

/// A failure inside the evaluator, before the line is known.
#[derive(Debug)]
pub(super) enum Fault {
    Raised(String),
    Failed(String),
    Limit(Bound, u64),
}

impl Fault {
    pub(super) fn at(self, line: usize) -> TemplateError {
        match self {
            Self::Raised(message) => TemplateError::Raised { message },
            Self::Failed(what) => TemplateError::Failed { line, what },
            Self::Limit(of, limit) => TemplateError::Limit { line, limit, of },
        }
    }
}

/// Result of one step of evaluation.
pub(super) type Run<T> = Result<T, Fault>;

/// A failure with a message.
pub(super) fn failed<T>(what: impl Into<String>) -> Run<T> {
    Err(Fault::Failed(what.into()))
}

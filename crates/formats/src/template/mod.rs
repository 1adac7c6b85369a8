//! Chat templates: the Jinja2 programs in model files that turn a conversation into a prompt.
//!
//! A template is untrusted. It is parsed once and run with bounds on steps, memory, depth and output
//! ([`Limits`]); it can load nothing, reads no clock (the time is handed in), and changes nothing. The
//! language is Jinja2 as Hugging Face transformers sets it up: `trim_blocks`, `lstrip_blocks`, the
//! immutable sandbox, `break` and `continue`, `{% generation %}`, `tojson`, `raise_exception` and
//! `strftime_now`. What it prints is what Jinja2 prints, to the byte.
//!
//! The evaluator is our own. minijinja counts instructions, but not the bytes they make: a loop that
//! doubles a string ends the process, and some of Python's ways of printing cannot be had from it.
//!
//! Sources: the Jinja2 3.1 documentation; `apply_chat_template` of transformers.
mod access;
mod ast;
mod call;
mod checks;
mod clock;
mod error;
mod eval;
mod eval_expr;
mod filters;
mod format;
mod json;
mod lexer;
mod meter;
mod methods;
mod number;
mod ops;
mod parser;
mod parser_expr;
mod print;
mod scope;
mod sequences;
mod text;
mod value;

pub use clock::LocalTime;
pub use error::{Bound, TemplateError};
pub use meter::Limits;

use ast::Name;
use eval::Machine;
use meter::Meter;
use scope::Scope;

/// Bytes that the source of a template may have. The longest public ones have about 20,000.
const LONGEST_SOURCE: usize = 1 << 20;

/// A conversation and what else a template may read. Values are JSON; objects keep their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chat {
    /// `messages`: objects with `role`, `content` and whatever else the template knows.
    pub messages: Vec<serde_json::Value>,
    /// `tools`: function schemas; `none` for the template when absent.
    pub tools: Option<Vec<serde_json::Value>>,
    /// `documents`, for retrieval; `none` for the template when absent.
    pub documents: Option<Vec<serde_json::Value>>,
    /// Whether the prompt ends where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// `bos_token`, `eos_token`, and switches such as `enable_thinking`. A name given here replaces
    /// one of those above.
    pub variables: serde_json::Map<String, serde_json::Value>,
}

/// A parsed chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    body: ast::Block,
    source_bytes: u64,
}

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`], or [`TemplateError::Limit`] for a source that is too long or nested
    /// too deeply.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        if source.len() > LONGEST_SOURCE {
            let limit = u64::try_from(LONGEST_SOURCE).unwrap_or(u64::MAX);
            return Err(TemplateError::Limit {
                line: 1,
                limit,
                of: Bound::Source,
            });
        }
        let body = parser::parse(&lexer::tokens(source)?)?;
        Ok(Self {
            body,
            source_bytes: u64::try_from(source.len()).unwrap_or(u64::MAX),
        })
    }

    /// The prompt that a conversation becomes, with bounds that fit its size. `now` is what
    /// `strftime_now` shows.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] when the template refuses the conversation,
    /// [`TemplateError::Failed`] when it does what has no meaning, [`TemplateError::Limit`] when it
    /// reaches a bound.
    pub fn render(&self, chat: &Chat, now: LocalTime) -> Result<String, TemplateError> {
        let input = chat
            .globals()
            .map(|(_, value)| value.size())
            .fold(self.source_bytes, u64::saturating_add);
        self.render_within(chat, now, Limits::for_input(input))
    }

    /// As [`ChatTemplate::render`], within the bounds given.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_within(
        &self,
        chat: &Chat,
        now: LocalTime,
        limits: Limits,
    ) -> Result<String, TemplateError> {
        let mut machine = Machine::new(Meter::new(limits), now);
        let scope = Scope::root();
        let result = (|| {
            for (name, value) in chat.globals() {
                let value = value.to_value(&mut machine.meter)?;
                scope.set(&Name::from(name), value);
            }
            machine.run(&self.body, &scope)
        })();
        scope.clear();
        result.map_err(|fault| fault.at(machine.line))
    }
}

/// A variable of the conversation, not yet a value of the template.
enum Global<'c> {
    Flag(bool),
    List(Option<&'c [serde_json::Value]>),
    Json(&'c serde_json::Value),
}

impl Global<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Flag(_) | Self::List(None) => 8,
            Self::List(Some(items)) => items.iter().map(json::size).fold(8, u64::saturating_add),
            Self::Json(value) => json::size(value),
        }
    }

    fn to_value(&self, meter: &mut Meter) -> error::Run<value::Value> {
        match self {
            Self::Flag(flag) => Ok(value::Value::Bool(*flag)),
            Self::List(None) => Ok(value::Value::None),
            Self::List(Some(items)) => {
                let items: error::Run<Vec<_>> = items
                    .iter()
                    .map(|item| json::from_json(meter, item))
                    .collect();
                value::Value::list(meter, items?)
            }
            Self::Json(value) => json::from_json(meter, value),
        }
    }
}

impl Chat {
    fn globals(&self) -> impl Iterator<Item = (&str, Global<'_>)> {
        let own = [
            ("messages", Global::List(Some(&self.messages))),
            ("tools", Global::List(self.tools.as_deref())),
            ("documents", Global::List(self.documents.as_deref())),
            (
                "add_generation_prompt",
                Global::Flag(self.add_generation_prompt),
            ),
        ];
        let given = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), Global::Json(value)));
        own.into_iter().chain(given)
    }
}

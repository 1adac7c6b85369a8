//! Grammars of answers.

use super::wanted::{Form, Grammar};
use ingle_engine::constrain::{Constrainer, Constraint, ConstraintError};
use ingle_formats::prompt::Prompter;
use std::sync::OnceLock;

/// Makes the grammars of one model. What it needs of the vocabulary is made when it is first asked for.
#[derive(Debug, Default)]
pub struct Grammars(OnceLock<Result<Constrainer, ConstraintError>>);

impl Grammars {
    /// The maker for the vocabulary of `prompter`, always the same one.
    pub(super) fn of(&self, prompter: &Prompter) -> Result<&Constrainer, ConstraintError> {
        let made = self
            .0
            .get_or_init(|| Constrainer::new(prompter.shared_vocabulary()));
        made.as_ref().map_err(Clone::clone)
    }
}

/// What the engine is to keep to; none: anything.
pub(super) fn constraint(form: &Form) -> Option<Constraint> {
    Some(match form {
        Form::Text => return None,
        Form::JsonObject => Constraint::JsonObject,
        Form::JsonSchema(schema) => Constraint::JsonSchema(schema.clone()),
        Form::Regex(regex) => Constraint::Regex(regex.clone()),
        Form::Grammar(Grammar::Lark(text)) => Constraint::Lark(text.clone()),
        Form::Grammar(Grammar::Gbnf(text)) => Constraint::Gbnf(text.clone()),
        Form::Choice(choices) => Constraint::Choice(choices.clone()),
    })
}

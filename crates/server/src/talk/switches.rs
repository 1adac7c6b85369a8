//! Reasoning: on, off, how hard, how long.

use super::names::Names;
use super::wanted::Reasoning;
use crate::error::ApiError;
use ingle_engine::tools::Style;
use ingle_formats::prompt::Prompter;
use serde_json::{Map, Value};

/// What a model's template is told, and how long the model may think.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Switches {
    pub variables: Map<String, Value>,
    /// Tokens.
    pub budget: Option<u32>,
}

/// How long a model may think whose template knows no effort: a page, and four.
const LITTLE: u32 = 1024;
const MEDIUM: u32 = 4096;

/// Does what is wanted by the template's own switches where it has them. Where it has none, the closing
/// mark of reasoning is forced after as many tokens as the effort is worth, after none to turn it off.
pub(super) fn switches(
    reasoning: &Reasoning,
    prompter: &Prompter,
    style: &Style,
    names: &Names,
) -> Result<Switches, ApiError> {
    let mentions = |name: &str| prompter.template_mentions(name);
    let mut told = Switches {
        budget: reasoning.budget,
        ..Switches::default()
    };
    let mut set = |name: &str, value: Value| told.variables.insert(name.to_owned(), value);
    let (mut on, mut worth) = (reasoning.on, None);
    match reasoning.effort.as_deref() {
        None => {}
        Some(effort) if mentions("reasoning_effort") => {
            set("reasoning_effort", effort.into());
        }
        Some(_) if !style.reasons && reasoning.lenient => {}
        Some(_) if !style.reasons => return Err(no_switch(names.effort)),
        // The least of a switch is off.
        Some("minimal") => on = Some(false),
        Some(effort) => {
            on = Some(on.unwrap_or(true));
            worth = match effort {
                "low" => Some(LITTLE),
                "medium" => Some(MEDIUM),
                _ => None,
            };
        }
    }
    match on {
        None => {}
        Some(on) if mentions("enable_thinking") => {
            set("enable_thinking", on.into());
        }
        Some(on) if style.reasons => {
            if mentions("thinking") {
                set("thinking", on.into());
            }
            if !on {
                worth = Some(0);
            }
        }
        // A model that does not think need not be told not to.
        Some(false) => {}
        Some(true) if reasoning.effort.is_some() || reasoning.lenient => {}
        Some(true) => return Err(no_switch(names.effort)),
    }
    if told.budget.is_some() && !style.reasons {
        if !reasoning.lenient {
            return Err(no_switch(names.budget));
        }
        told.budget = None;
    }
    told.budget = match (told.budget, worth) {
        (Some(given), Some(worth)) => Some(given.min(worth)),
        (given, worth) => given.or(worth),
    };
    Ok(told)
}

fn no_switch(param: &str) -> ApiError {
    let message = format!(
        "`{param}`: this model does not think before it answers, as far as its template says; leave it out"
    );
    ApiError::unsupported(param, message)
}

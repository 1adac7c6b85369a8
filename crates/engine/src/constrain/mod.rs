//! Answers that obey: a grammar says which tokens may come next.
//!
//! ```text
//! let constrainer = Constrainer::new(vocabulary)?;         once a model
//! let grammar = constrainer.compile(&constraint)?;          or what is wrong, and where
//! request.grammar = Some(grammar);
//! ```
//!
//! The grammars are compiled and followed by llguidance. What it would accept and not follow is
//! refused here, by the path of the keyword (`schema/`).

mod few;
mod gbnf;
mod guide;
mod schema;
#[cfg(test)]
mod tests;
mod tokens;

pub use few::few;
pub(crate) use guide::Guide;
pub(crate) use schema::{embedded, whole};
pub use tokens::end_token;
pub(crate) use tokens::is_mark;

use ingle_formats::vocabulary::Vocabulary;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokens::Tokens;
use toktrie::{InferenceCapabilities, TokEnv};

/// The most bytes of a schema, a grammar, an expression, or of all choices.
pub const MAX_CONSTRAINT_BYTES: usize = 1 << 20;
/// The most choices.
pub const MAX_CHOICES: usize = 4096;

/// What an answer must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// JSON that this JSON schema validates.
    JsonSchema(Value),
    /// A JSON object.
    JsonObject,
    /// A text that this regular expression matches as a whole (syntax of the crate `regex`, without
    /// look-around).
    Regex(String),
    /// A text of this grammar, in Lark's notation as llguidance reads it.
    Lark(String),
    /// A text of this grammar, in the notation of llama.cpp.
    Gbnf(String),
    /// One of these texts.
    Choice(Vec<String>),
}

/// Why a constraint is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// A part of a schema that cannot be kept to.
    #[error("the schema{}: {why}", place(.path))]
    Schema {
        /// A JSON pointer to the keyword; empty: the schema itself.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A grammar or an expression that cannot be read.
    #[error("the {what} cannot be read: {why}")]
    Grammar {
        /// `grammar`, `regular expression`, `choice`.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// More than is taken.
    #[error("the {what} is too large: {found}, where at most {limit} are taken")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Bytes, or how many there are.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// A part of a tool's schema that cannot be kept to.
    #[error("the parameters of the tool `{name}`{}: {why}", place(.path))]
    Tool {
        /// Which tool.
        name: String,
        /// A JSON pointer to the keyword, in the parameters.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A call is asked for of a tool that there is not.
    #[error("there is no tool `{name}` to be called; declare it in the list of tools")]
    NoTool {
        /// Its name; empty: there are no tools at all.
        name: String,
    },
    /// The model's template knows no calls.
    #[error(
        "this model's chat template has no form of calls that is known, so it cannot call tools; use a model that was trained to"
    )]
    NoCalls,
    /// The vocabulary has no token that ends an answer.
    #[error(
        "this model's vocabulary has no token that ends an answer, so no answer could be kept to a form; use another model"
    )]
    NoEnd,
}

/// A place in a schema, in words.
fn place(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!(" at `{path}`"),
    }
}

/// Compiles constraints for one vocabulary. Cheap to clone.
#[derive(Clone)]
pub struct Constrainer {
    factory: Arc<ParserFactory>,
    vocabulary: Arc<Vocabulary>,
    made: Arc<Mutex<Made>>,
}

/// Grammars that were made last, by their text: agents ask with the same tools again and again.
#[derive(Default)]
struct Made {
    /// The latest last.
    all: VecDeque<(String, Grammar)>,
}

/// How many are kept.
const MAX_MADE: usize = 64;
/// The longest text of one that is kept, in bytes.
const MAX_KEPT_BYTES: usize = 1 << 17;

impl Made {
    fn find(&mut self, text: &str) -> Option<Grammar> {
        let at = self.all.iter().position(|(kept, _)| kept == text)?;
        let found = self.all.remove(at)?;
        let grammar = found.1.clone();
        self.all.push_back(found);
        Some(grammar)
    }

    fn keep(&mut self, text: String, grammar: &Grammar) {
        if text.len() > MAX_KEPT_BYTES {
            return;
        }
        if self.all.len() >= MAX_MADE {
            self.all.pop_front();
        }
        self.all.push_back((text, grammar.clone()));
    }
}

impl std::fmt::Debug for Constrainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constrainer").finish_non_exhaustive()
    }
}

/// Bounds on what a grammar may take: a hostile one is refused while it is compiled, or ends its own
/// answer. About 0.1 s each.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_items_in_row: 2_000,
        max_lexer_states: 50_000,
        max_grammar_size: 250_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

impl Constrainer {
    /// Makes the trie of a vocabulary, which takes some tenths of a second.
    ///
    /// # Errors
    /// [`ConstraintError::NoEnd`].
    pub fn new(vocabulary: Arc<Vocabulary>) -> Result<Self, ConstraintError> {
        let tokens = Tokens::new(Arc::clone(&vocabulary)).ok_or(ConstraintError::NoEnd)?;
        let env: TokEnv = Arc::new(tokens);
        let caps = InferenceCapabilities {
            ff_tokens: toktrie::TokenizerEnv::tokenize_is_canonical(&*env),
            ..InferenceCapabilities::default()
        };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&env, caps, &slices).map_err(|_| ConstraintError::NoEnd)?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self {
            factory: Arc::new(factory),
            vocabulary,
            made: Arc::default(),
        })
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// Checks a constraint and makes a grammar of it, or says what is wrong. May take a tenth of a
    /// second.
    ///
    /// # Errors
    /// [`ConstraintError`].
    pub fn compile(&self, constraint: &Constraint) -> Result<Grammar, ConstraintError> {
        let top = match constraint {
            Constraint::JsonSchema(schema) => {
                return self.schema(schema);
            }
            Constraint::JsonObject => {
                return self.schema(&serde_json::json!({ "type": "object" }));
            }
            Constraint::Regex(regex) => {
                bounded("regular expression", regex.len())?;
                TopLevelGrammar::from_regex(regex)
            }
            Constraint::Lark(lark) => {
                bounded("grammar", lark.len())?;
                schema::check_lark(lark)?;
                TopLevelGrammar::from_lark(lark.clone())
            }
            Constraint::Gbnf(gbnf) => {
                bounded("grammar", gbnf.len())?;
                TopLevelGrammar::from_lark(gbnf::to_lark(gbnf)?)
            }
            Constraint::Choice(choices) => TopLevelGrammar::from_lark(choice(choices)?),
        };
        let what = match constraint {
            Constraint::Regex(_) => "regular expression",
            Constraint::Choice(_) => "choice",
            _ => "grammar",
        };
        let made = self.make(top);
        made.map_err(|why| ConstraintError::Grammar { what, why })
    }

    /// The grammar of a text that [`crate::tools`] wrote.
    pub(crate) fn trusted(&self, lark: String) -> Result<Grammar, ConstraintError> {
        bounded("set of tools", lark.len())?;
        let made = || self.make(TopLevelGrammar::from_lark(lark.clone()));
        self.kept(&lark, made)
            .map_err(|why| ConstraintError::Grammar {
                what: "set of tools",
                why,
            })
    }

    fn schema(&self, schema: &Value) -> Result<Grammar, ConstraintError> {
        let checked = schema::checked(schema)?;
        let text = checked.to_string();
        let made = || self.make(TopLevelGrammar::from_json_schema(checked));
        self.kept(&text, made)
            .map_err(|said| schema::blamed(schema, &said))
    }

    /// The grammar of a text: one that is kept, or a new one.
    fn kept(
        &self,
        text: &str,
        make: impl FnOnce() -> Result<Grammar, String>,
    ) -> Result<Grammar, String> {
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grammar) = lock().find(text) {
            return Ok(grammar);
        }
        let grammar = make()?;
        lock().keep(text.to_owned(), &grammar);
        Ok(grammar)
    }

    fn make(&self, top: TopLevelGrammar) -> Result<Grammar, String> {
        // A panic in there is an error.
        let made = llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Ok(Matcher::new(self.factory.create_parser(top)))
        }));
        let mut matcher = made.map_err(|_| "it is too complicated".to_owned())?;
        if let Some(error) = matcher.get_error() {
            return Err(short(&error));
        }
        let warnings = matcher.grammar_warnings();
        if !warnings.is_empty() {
            return Err(short(&warnings.join("; ")));
        }
        Ok(Grammar(Arc::new(Mutex::new(matcher))))
    }
}

/// What matters of a message that may be long: of an expression what is wrong, else the first line.
fn short(message: &str) -> String {
    let wrong = message
        .lines()
        .find_map(|line| line.strip_prefix("error: "));
    let line = wrong.or(message.lines().next()).unwrap_or_default();
    line.chars().take(300).collect()
}

fn bounded(what: &'static str, found: usize) -> Result<(), ConstraintError> {
    match found > MAX_CONSTRAINT_BYTES {
        true => Err(ConstraintError::TooLarge {
            what,
            found,
            limit: MAX_CONSTRAINT_BYTES,
        }),
        false => Ok(()),
    }
}

/// A text as a literal of Lark.
pub(crate) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

fn choice(choices: &[String]) -> Result<String, ConstraintError> {
    bounded("choice", choices.iter().map(String::len).sum())?;
    let why = match choices {
        [] => Some("there is nothing to choose from; give at least one text"),
        all if all.iter().any(String::is_empty) => {
            Some("one of the texts is empty; leave it out, or let the model write freely")
        }
        _ => None,
    };
    if let Some(why) = why {
        let (what, why) = ("choice", why.to_owned());
        return Err(ConstraintError::Grammar { what, why });
    }
    if choices.len() > MAX_CHOICES {
        return Err(ConstraintError::TooLarge {
            what: "choice",
            found: choices.len(),
            limit: MAX_CHOICES,
        });
    }
    let all: Vec<String> = choices.iter().map(|text| literal(text)).collect();
    Ok(format!("start: {}", all.join(" | ")))
}

/// A constraint as rules of a larger grammar: their text, and the name of the one that stands for all.
pub(crate) fn rule_of(constraint: &Constraint) -> Result<(String, String), ConstraintError> {
    Ok(match constraint {
        Constraint::Regex(regex) => {
            bounded("regular expression", regex.len())?;
            let regex = regex.replace('/', "\\/").replace('\n', "\\n");
            (format!("F_REGEX: /{regex}/\n"), "F_REGEX".into())
        }
        Constraint::Choice(choices) => {
            let rules = choice(choices)?.replacen("start", "f_choice", 1);
            (rules + "\n", "f_choice".into())
        }
        Constraint::Gbnf(gbnf) => {
            let lark = gbnf::to_lark(gbnf)?;
            let rules = lark.replacen("start", "f_start", 1);
            (rules, "f_start".into())
        }
        Constraint::Lark(lark) => {
            bounded("grammar", lark.len())?;
            schema::check_lark(lark)?;
            (renamed(lark), "f_start".into())
        }
        Constraint::JsonSchema(schema) => {
            let schema = schema::checked(schema)?;
            (format!("f_json: %json {schema}\n"), "f_json".into())
        }
        Constraint::JsonObject => {
            let schema = schema::checked(&serde_json::json!({ "type": "object" }))?;
            (format!("f_json: %json {schema}\n"), "f_json".into())
        }
    })
}

/// A grammar of which the first rule has another name.
fn renamed(lark: &str) -> String {
    let mut out = String::new();
    for line in lark.lines() {
        let rest = line.strip_prefix("start");
        match rest.filter(|rest| rest.trim_start().starts_with([':', '['])) {
            Some(rest) => out.extend(["f_start", rest]),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// A compiled constraint, at its beginning. Cheap to clone; every answer follows it by itself.
#[derive(Clone)]
pub struct Grammar(Arc<Mutex<Matcher>>);

impl Grammar {
    /// For one answer.
    pub(crate) fn begin(&self) -> Matcher {
        let matcher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matcher.deep_clone()
    }

    /// Whether a whole text is what it asks for, token by token.
    pub fn accepts(&self, tokens: &[ingle_formats::TokenId]) -> bool {
        let mut matcher = self.begin();
        let ids: Vec<u32> = tokens.iter().map(|t| t.0).collect();
        let taken = matcher.try_consume_tokens(&ids);
        matches!(taken, Ok(n) if n == ids.len()) && matcher.is_accepting().unwrap_or(false)
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

impl PartialEq for Grammar {
    /// The same compilation.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

//! Placeholders in the place of what is sensitive, and back.
//!
//! A placeholder is `[EMAIL_1]`: the kind and a number, the same for the same value all through a request. A
//! model may write it in small letters, with another separator, or escaped as Markdown; it comes back all the
//! same. What a person wrote that looks like one is itself replaced by a placeholder (`[TEXT_1]`), so that
//! nothing comes back that was not sent.

use super::kind::{Find, KINDS};
use crate::chat::{Finish, Piece};
use std::collections::{BTreeMap, HashMap};

/// No placeholder is longer than this, in bytes, however a model writes it.
pub const LONGEST_PLACEHOLDER: usize = 64;

/// The label of placeholders for what only looks like one.
const LITERAL: &str = "TEXT";

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// As it is read.
    Text,
    /// As JSON: a value in it is escaped.
    Json,
}

/// What stands for what in one request. Never leaves, and shows nothing of itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// By placeholder.
    values: HashMap<String, String>,
    /// By value.
    names: HashMap<String, String>,
    /// How many of a label there are.
    counts: BTreeMap<String, usize>,
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapping of {} placeholders", self.values.len())
    }
}

impl Mapping {
    /// How many values have a placeholder.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was replaced.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many placeholders there are of each label.
    pub fn counts(&self) -> &BTreeMap<String, usize> {
        &self.counts
    }

    /// A text with placeholders for `finds`, which stand in it in order and do not overlap.
    pub fn redact(&mut self, text: &str, finds: &[Find], writing: Writing) -> String {
        let mut out = String::with_capacity(text.len());
        let mut quotes = Quotes::default();
        let mut at = 0;
        for find in finds.iter().filter(|find| find.start < find.end) {
            let (Some(before), Some(value)) =
                (text.get(at..find.start), text.get(find.start..find.end))
            else {
                continue;
            };
            quotes.read(before);
            self.literals(before, &mut out);
            let bare = writing == Writing::Json && !quotes.inside;
            let plain = match writing {
                Writing::Json if !bare => unescaped(value),
                _ => value.to_owned(),
            };
            let name = self.name(&plain, &find.kind.label());
            let quote = if bare { "\"" } else { "" };
            out.extend([quote, &name, quote]);
            quotes.read(value);
            at = find.end;
        }
        self.literals(text.get(at..).unwrap_or_default(), &mut out);
        out
    }

    /// Copies a text, with placeholders for what only looks like them.
    fn literals(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while let Some(at) = rest.find(['[', '\\']) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            match Candidate::read(from) {
                Candidate::Placeholder { len, .. } => {
                    let (literal, after) = from.split_at(len);
                    let name = self.name(literal, LITERAL);
                    out.push_str(&name);
                    rest = after;
                }
                _ => {
                    let (sign, after) = from.split_at(1);
                    out.push_str(sign);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
    }

    fn name(&mut self, value: &str, label: &str) -> String {
        if let Some(name) = self.names.get(value) {
            return name.clone();
        }
        let count = self.counts.entry(label.to_owned()).or_default();
        *count = count.saturating_add(1);
        let name = format!("[{label}_{count}]");
        self.values.insert(name.clone(), value.to_owned());
        self.names.insert(value.to_owned(), name.clone());
        name
    }

    /// Puts values back into a stream of this writing.
    pub fn restorer(&self, writing: Writing) -> Restorer {
        Restorer {
            mapping: self.clone(),
            writing,
            held: String::new(),
        }
    }

    /// Puts values back into a whole text.
    pub fn restore(&self, text: &str, writing: Writing) -> String {
        let mut restorer = self.restorer(writing);
        let mut out = restorer.push(text);
        out.push_str(&restorer.finish());
        out
    }

    /// Puts values back into the pieces of an answer.
    pub fn pieces(&self) -> Pieces {
        Pieces {
            text: self.restorer(Writing::Text),
            reasoning: self.restorer(Writing::Text),
            call: None,
            mapping: self.clone(),
        }
    }
}

/// Whether a place in a JSON text is inside of a string.
#[derive(Default)]
struct Quotes {
    inside: bool,
    escaped: bool,
}

impl Quotes {
    fn read(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' if self.inside => self.escaped = true,
                '"' => self.inside = !self.inside,
                _ => {}
            }
        }
    }
}

/// The value of a piece of a JSON string.
fn unescaped(piece: &str) -> String {
    serde_json::from_str(&format!("\"{piece}\"")).unwrap_or_else(|_| piece.to_owned())
}

/// A value as a piece of a JSON string.
fn escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

/// What the beginning of a text may be.
enum Candidate {
    /// A placeholder of this many bytes, and its name as it was given out.
    Placeholder { len: usize, name: String },
    /// The beginning of one, perhaps: more of the text is needed.
    Unfinished,
    /// Something else.
    Other,
}

impl Candidate {
    /// Reads at a `[` or `\`.
    fn read(text: &str) -> Self {
        // Markdown: `\[EMAIL\_1\]`.
        let marked = text.starts_with('\\');
        let body = text.strip_prefix('\\').unwrap_or(text);
        if body.is_empty() {
            return Self::Unfinished;
        }
        let Some(body) = body.strip_prefix('[') else {
            return Self::Other;
        };
        let mut name = String::new();
        let mut slash = false;
        for (at, c) in body.char_indices() {
            if at > LONGEST_PLACEHOLDER {
                return Self::Other;
            }
            match c {
                ']' if slash == marked => {
                    let len = text.len() - body.len() + at + 1;
                    return match given(&name) {
                        Some(name) => Self::Placeholder { len, name },
                        None => Self::Other,
                    };
                }
                '\\' if !slash => slash = true,
                '_' | '-' | ' ' => {
                    name.push('_');
                    slash = false;
                }
                c if c.is_ascii_alphanumeric() && !slash => name.push(c.to_ascii_uppercase()),
                _ => return Self::Other,
            }
        }
        Self::Unfinished
    }
}

/// The placeholder of that label and number, if there is such a label.
fn given(name: &str) -> Option<String> {
    let (label, number) = name.rsplit_once('_')?;
    let known = label == LITERAL || KINDS.iter().any(|(kind, _, _)| kind.label() == label);
    let number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (known && number).then(|| format!("[{name}]"))
}

/// Puts values back into a stream. What may be the beginning of a placeholder is held until the next piece.
#[derive(Clone, PartialEq, Eq)]
pub struct Restorer {
    mapping: Mapping,
    writing: Writing,
    held: String,
}

impl std::fmt::Debug for Restorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Restorer of {:?}", self.mapping)
    }
}

impl Restorer {
    /// The next piece, as far as it is sure.
    pub fn push(&mut self, piece: &str) -> String {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['[', '\\']) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            rest = match Candidate::read(from) {
                Candidate::Unfinished => {
                    self.held = from.to_owned();
                    return out;
                }
                Candidate::Placeholder { len, name } if self.mapping.values.contains_key(&name) => {
                    let value = self.mapping.values.get(&name).map_or("", String::as_str);
                    match self.writing {
                        Writing::Text => out.push_str(value),
                        Writing::Json => out.push_str(&escaped(value)),
                    }
                    from.get(len..).unwrap_or_default()
                }
                _ => {
                    let (sign, after) = from.split_at(1);
                    out.push_str(sign);
                    after
                }
            };
        }
        out.push_str(rest);
        out
    }

    /// What was held, when nothing more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Puts values back into the pieces of an answer: its text, its reasoning, the arguments of its calls.
#[derive(Debug, Clone)]
pub struct Pieces {
    text: Restorer,
    reasoning: Restorer,
    call: Option<(u32, Restorer)>,
    mapping: Mapping,
}

impl Pieces {
    /// The pieces that are sure after this one.
    pub fn push(&mut self, piece: Piece) -> Vec<Piece> {
        let mut out = Vec::new();
        match piece {
            Piece::Text(text) => {
                self.end_reasoning(&mut out);
                self.end_call(&mut out);
                out.push(Piece::Text(self.text.push(&text)));
            }
            Piece::Reasoning(text) => {
                self.end_text(&mut out);
                self.end_call(&mut out);
                out.push(Piece::Reasoning(self.reasoning.push(&text)));
            }
            Piece::CallArguments { index, text } => {
                if self.call.as_ref().is_some_and(|(i, _)| *i != index) {
                    self.end_call(&mut out);
                }
                let new = || (index, self.mapping.restorer(Writing::Json));
                let (_, restorer) = self.call.get_or_insert_with(new);
                let text = restorer.push(&text);
                out.push(Piece::CallArguments { index, text });
            }
            Piece::CallBegin { index, id, name } => {
                self.end(&mut out);
                let name = self.mapping.restore(&name, Writing::Text);
                out.push(Piece::CallBegin { index, id, name });
            }
            Piece::Finish(finish) => {
                self.end(&mut out);
                out.push(Piece::Finish(match finish {
                    Finish::StopText(stop) => {
                        Finish::StopText(self.mapping.restore(&stop, Writing::Text))
                    }
                    other => other,
                }));
            }
            Piece::Usage(usage) => out.push(Piece::Usage(usage)),
        }
        out.retain(|piece| match piece {
            Piece::Text(text) | Piece::Reasoning(text) => !text.is_empty(),
            Piece::CallArguments { text, .. } => !text.is_empty(),
            _ => true,
        });
        out
    }

    /// What was held of a stream that ended without a [`Piece::Finish`].
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut out = Vec::new();
        self.end(&mut out);
        out
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        self.end_reasoning(out);
        self.end_text(out);
        self.end_call(out);
    }

    fn end_text(&mut self, out: &mut Vec<Piece>) {
        let text = self.text.finish();
        if !text.is_empty() {
            out.push(Piece::Text(text));
        }
    }

    fn end_reasoning(&mut self, out: &mut Vec<Piece>) {
        let text = self.reasoning.finish();
        if !text.is_empty() {
            out.push(Piece::Reasoning(text));
        }
    }

    fn end_call(&mut self, out: &mut Vec<Piece>) {
        if let Some((index, mut restorer)) = self.call.take() {
            let text = restorer.finish();
            if !text.is_empty() {
                out.push(Piece::CallArguments { index, text });
            }
        }
    }
}

//! Tools in answers: in which form a model writes its calls, reading them while they stream in, and
//! the grammar that keeps it to the tools that there are.
//!
//! ```text
//! let style = Style::detect(template, vocabulary);         once a model
//! request.shown = style.shown(vocabulary);                  marks that are control tokens
//! request.grammar = constrainer.answer(&answering)?;        what the answer may be
//! request.thinking = Some(style.thinking(...));             where reasoning has a budget
//! let mut reader = Reader::new(&style, prompt, &tools);     one an answer
//! reader.push(text) -> pieces, ..., reader.finish() -> pieces
//! ```

mod gemma;
mod grammar;
mod harmony;
mod header;
mod lark;
mod marked;
mod object;
mod params;
mod python;
mod reader;
mod scan;
mod style;
#[cfg(test)]
mod tests;
mod xml;

pub use grammar::Answering;
pub use reader::Reader;
pub use style::{Format, Style};

use serde_json::Value;

/// A tool that may be called.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// By which it is called.
    pub name: String,
    /// JSON schema of its arguments, an object; `None`: any object.
    pub parameters: Option<Value>,
    /// Whether a schema that cannot be kept to whole is refused. Otherwise a call is kept to what of it
    /// can be.
    pub strict: bool,
}

/// Whether tools are called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// Never.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// A piece of an answer. Calls come one after the other: what follows a `CallBegin` belongs to that
/// call, up to its `CallEnd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What the model thinks before it answers.
    Reasoning(String),
    /// Text for the reader.
    Text(String),
    /// A call begins.
    CallBegin {
        /// Of this tool.
        name: String,
    },
    /// More of the arguments: all these together are one JSON object.
    CallArguments(String),
    /// A call has ended.
    CallEnd {
        /// Whether the arguments are whole. Where they are not, the answer was cut, or what the model
        /// wrote is no call: then all of it follows as text.
        whole: bool,
    },
}

/// Appends to the latest piece where it is of the same kind.
pub(crate) fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (_, Piece::Text(new) | Piece::Reasoning(new) | Piece::CallArguments(new))
            if new.is_empty() => {}
        (Some(Piece::Text(text)), Piece::Text(new))
        | (Some(Piece::Reasoning(text)), Piece::Reasoning(new))
        | (Some(Piece::CallArguments(text)), Piece::CallArguments(new)) => text.push_str(&new),
        (_, piece) => pieces.push(piece),
    }
}

/// What came of reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More text is needed.
    More,
    /// The call has ended.
    Done,
    /// This is no call.
    Broken,
}

impl Next {
    /// What came last may still become a part of a call, or cannot.
    fn more_if(may: bool) -> Self {
        if may { Self::More } else { Self::Broken }
    }
}

/// Takes steps until one says what came of them, each from where the one before ended.
fn steps(text: &str, mut step: impl FnMut(&str) -> (usize, Option<Next>)) -> (usize, Next) {
    let mut done = 0;
    loop {
        let (n, next) = step(&text[done..]);
        done += n;
        if let Some(next) = next {
            return (done, next);
        }
    }
}

/// Reads one call behind its opening mark.
pub(crate) trait Call {
    /// Reads on from the start of `text`, of which nothing was read before, and says how many bytes
    /// are done with. `ended`: nothing will follow.
    fn read(&mut self, text: &str, ended: bool, out: &mut Vec<Piece>) -> (usize, Next);
}

/// Bytes at the end of `text` that are the beginning of one of `marks`.
pub(crate) fn begun<'a>(text: &str, marks: impl IntoIterator<Item = &'a str>) -> usize {
    let one = |mark: &str| {
        let lengths = (1..mark.len()).rev().filter(|n| mark.is_char_boundary(*n));
        let mut lengths = lengths.filter(|n| text.ends_with(&mark[..*n]));
        lengths.next().unwrap_or(0)
    };
    marks.into_iter().map(one).max().unwrap_or(0)
}

/// The first of `marks` in `text`, the longest where several begin there: where, and which.
pub(crate) fn first<'a>(text: &str, marks: &[&'a str]) -> Option<(usize, &'a str)> {
    let found = marks
        .iter()
        .filter_map(|mark| Some((text.find(mark)?, *mark)));
    found.min_by_key(|(at, mark)| (*at, usize::MAX - mark.len()))
}

//! An answer while it comes: reasoning, text and calls.

use super::harmony::Harmony;
use super::marked::Marked;
use super::{Format, Piece, Style, Tool, add};
use crate::reasoning::{Part, Splitter};

/// Reads one answer as it streams in, however it is cut.
#[derive(Debug)]
pub struct Reader(Kind);

#[derive(Debug)]
enum Kind {
    Harmony(Harmony),
    Plain {
        reasoning: Splitter,
        /// Where tools may be called.
        calls: Option<Box<Marked>>,
    },
}

impl Reader {
    /// For an answer to `prompt`. Without `tools` nothing is taken for a call.
    pub fn new(style: &Style, prompt: &str, tools: &[Tool]) -> Self {
        if style.calls == Some(Format::Harmony) {
            return Self(Kind::Harmony(Harmony::new(!tools.is_empty())));
        }
        let format = style.calls.filter(|_| !tools.is_empty());
        Self(Kind::Plain {
            reasoning: Splitter::with(style.reasoning, prompt),
            calls: format.map(|format| Box::new(Marked::new(format, tools))),
        })
    }

    /// Takes the next text and gives back what is known of it.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match &mut self.0 {
            Kind::Harmony(harmony) => harmony.push(text, &mut pieces),
            Kind::Plain { reasoning, calls } => {
                let parts = reasoning.push(text);
                sort(parts, calls.as_deref_mut(), &mut pieces);
            }
        }
        pieces
    }

    /// Ends the answer: what was held is what it looks like.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match &mut self.0 {
            Kind::Harmony(harmony) => harmony.finish(&mut pieces),
            Kind::Plain { reasoning, calls } => {
                let parts = reasoning.finish();
                sort(parts, calls.as_deref_mut(), &mut pieces);
                if let Some(calls) = calls {
                    calls.finish(&mut pieces);
                }
            }
        }
        pieces
    }
}

fn sort(parts: Vec<Part>, mut calls: Option<&mut Marked>, pieces: &mut Vec<Piece>) {
    for part in parts {
        match (part, calls.as_deref_mut()) {
            (Part::Reasoning(text), _) => add(pieces, Piece::Reasoning(text)),
            (Part::Answer(text), Some(calls)) => calls.push(&text, pieces),
            (Part::Answer(text), None) => add(pieces, Piece::Text(text)),
        }
    }
}

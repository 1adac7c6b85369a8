//! Control tokens in what people wrote.
//!
//! A template writes `<|im_end|>` and means the token; a person who writes it means eleven
//! characters. Before a conversation is rendered, every text in it that would become a control token
//! is broken by [`MARK`], a noncharacter that no text holds; when the prompt is cut at its control
//! tokens the broken ones are not found, and then the mark is dropped. What a person wrote so
//! reaches the model to the letter, as plain text.

use crate::vocabulary::{Vocabulary, VocabularyError};
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use serde_json::{Map, Value};

/// Breaks a control token: a noncharacter, which Unicode sets aside for a program's own use.
pub(crate) const MARK: char = '\u{FDD0}';

/// The marks of reasoning. Templates look for them in earlier answers, and models write them there.
const REASONING: [&str; 2] = ["<think>", "</think>"];

/// What a text is, which says how much of it may be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What somebody wrote.
    Text,
    /// What the model wrote earlier: the marks of reasoning stay whole.
    Answer,
    /// A name that the template compares with its own: it is marked only where it holds a whole
    /// control token.
    Name,
}

/// Finds the texts of control tokens, and the beginnings and ends of them.
#[derive(Debug)]
pub(super) struct Guard {
    forward: NFA,
    /// The same texts from their ends.
    backward: NFA,
    /// Bytes of the longest control token.
    longest: usize,
}

impl Guard {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, VocabularyError> {
        let texts: Vec<&str> = vocabulary.control_texts().collect();
        Ok(Self {
            forward: automaton(texts.iter())?,
            backward: automaton(texts.iter().map(|text| reversed(text)))?,
            longest: texts.iter().map(|text| text.len()).max().unwrap_or(0),
        })
    }

    /// The messages of a conversation, guarded.
    pub(super) fn messages(&self, messages: &[Value]) -> Vec<Value> {
        let guarded = messages.iter().map(|message| {
            let role = message.get("role").and_then(Value::as_str);
            let kind = match role {
                Some("assistant") => Kind::Answer,
                _ => Kind::Text,
            };
            self.value(message, kind)
        });
        guarded.collect()
    }

    /// Texts that are no messages, guarded: tools, documents.
    pub(super) fn values(&self, values: &[Value]) -> Vec<Value> {
        values.iter().map(|v| self.value(v, Kind::Text)).collect()
    }

    /// An object, guarded.
    pub(super) fn object(&self, object: &Map<String, Value>) -> Map<String, Value> {
        self.map(object, Kind::Text)
    }

    // The depth is that of JSON that was parsed or built: serde_json stops at 128.
    fn value(&self, value: &Value, kind: Kind) -> Value {
        match value {
            Value::String(text) => self.string(text, kind).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item, kind)).collect(),
            Value::Object(object) => Value::Object(self.map(object, kind)),
            other => other.clone(),
        }
    }

    fn map(&self, object: &Map<String, Value>, kind: Kind) -> Map<String, Value> {
        let pairs = object.iter().map(|(name, value)| {
            let kind = if name == "role" { Kind::Name } else { kind };
            (self.string(name, Kind::Name), self.value(value, kind))
        });
        pairs.collect()
    }

    fn string(&self, text: &str, kind: Kind) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        if kind == Kind::Answer {
            while let Some((at, mark)) = first_of(rest, &REASONING) {
                let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
                self.text(before, true, &mut out);
                out.push_str(mark);
                rest = after.strip_prefix(mark).unwrap_or_default();
            }
        }
        self.text(rest, kind != Kind::Name, &mut out);
        out
    }

    /// Appends a text in which no control token is left. With `pieces` it has a mark also behind
    /// every beginning of one, and before an end of one with which it begins: whatever the template
    /// puts beside it or takes out of it makes none.
    fn text(&self, text: &str, pieces: bool, out: &mut String) {
        let start = text.trim_start();
        out.push_str(text.strip_suffix(start).unwrap_or_default());
        if pieces && self.begins_with_an_end(start) {
            out.push(MARK);
        }
        let solid = start.trim_end();
        self.break_tokens(solid, pieces, out);
        out.push_str(start.strip_prefix(solid).unwrap_or_default());
    }

    /// Whether `text` begins with what could be the end of a control token.
    fn begins_with_an_end(&self, text: &str) -> bool {
        let Ok(start) = self.backward.start_state(Anchored::No) else {
            return false;
        };
        let first = text.as_bytes().get(..self.longest);
        let bytes = first.unwrap_or(text.as_bytes()).iter().rev();
        let step = |s, &byte: &u8| self.backward.next_state(Anchored::No, s, byte);
        bytes.fold(start, step) != start
    }

    /// Appends `text`, with a mark before the last character of every control token and, with
    /// `pieces`, behind every beginning of one that does not go on.
    fn break_tokens(&self, text: &str, pieces: bool, out: &mut String) {
        let Ok(start) = self.forward.start_state(Anchored::No) else {
            return out.push_str(text);
        };
        // What ends here, and what begins with what was read since the last mark.
        let mut state = start;
        let mut begun = Begun::Nothing;
        for c in text.chars().map(clean) {
            let mut next = self.after(state, c);
            let goes_on = self.begun(begun, c);
            let abandoned = pieces && begun != Begun::Nothing && goes_on == Begun::Nothing;
            begun = goes_on;
            if self.forward.is_match(next) || abandoned {
                // One mark is enough: all that it parts holds the two characters beside it.
                out.push(MARK);
                next = self.after(start, c);
                begun = self.begun(Begun::Nothing, c);
            } else if begun == Begun::Nothing {
                begun = self.begun(Begun::Nothing, c);
            }
            // A character that is a token by itself cannot be broken.
            let whole = self.forward.is_match(next);
            out.push(if whole {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            });
            (state, begun) = if whole {
                (start, Begun::Nothing)
            } else {
                (next, begun)
            };
        }
        if pieces && begun != Begun::Nothing {
            out.push(MARK);
        }
    }

    fn after(&self, state: StateID, c: char) -> StateID {
        let mut utf8 = [0; 4];
        let bytes = c.encode_utf8(&mut utf8).bytes();
        bytes.fold(state, |s, byte| {
            self.forward.next_state(Anchored::No, s, byte)
        })
    }

    /// What is begun one character further.
    fn begun(&self, begun: Begun, c: char) -> Begun {
        let start = match begun {
            Begun::Token(state) => Ok(state),
            Begun::Nothing => self.forward.start_state(Anchored::Yes),
        };
        let Ok(mut state) = start else {
            return Begun::Nothing;
        };
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            state = self.forward.next_state(Anchored::Yes, state, byte);
            if self.forward.is_dead(state) {
                return Begun::Nothing;
            }
        }
        Begun::Token(state)
    }
}

/// The beginning of a control token that the text ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Nothing,
    Token(StateID),
}

/// The first of `needles` in a text, and where it stands.
fn first_of<'n>(text: &str, needles: &[&'n str]) -> Option<(usize, &'n str)> {
    let found = needles.iter().filter_map(|n| Some((text.find(n)?, *n)));
    found.min_by_key(|(at, _)| *at)
}

/// A text that holds no mark of its own.
fn clean(c: char) -> char {
    if c == MARK {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

fn reversed(text: &str) -> Vec<u8> {
    text.bytes().rev().collect()
}

fn automaton<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Result<NFA, VocabularyError> {
    NFA::builder()
        .match_kind(MatchKind::Standard)
        .build(texts)
        .map_err(|error| VocabularyError::SpecialTokens {
            reason: error.to_string(),
        })
}

//! A call as one JSON object: `{"name": ..., "arguments": {...}}`.

use super::scan::{Scan, Step};
use super::{Call, Next, Piece, add};
use serde_json::Value;

/// Copies JSON that comes in pieces, and escapes control characters in its strings, which models
/// forget.
#[derive(Debug, Default)]
pub(crate) struct Copier {
    scan: Scan,
}

impl Copier {
    /// Reads on and appends what it read to `out`; how many bytes that was.
    pub fn read(&mut self, text: &str, out: &mut String) -> (usize, Next) {
        for (at, c) in text.char_indices() {
            let raw = self.scan.in_text() && c < ' ';
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                match self.scan.push(byte) {
                    Step::More => {}
                    Step::Wrong => return (at, Next::Broken),
                    Step::Before => return (at, Next::Done),
                    Step::Done => {
                        out.push(c);
                        return (at + c.len_utf8(), Next::Done);
                    }
                }
            }
            match raw {
                true => out.push_str(&super::scan::escaped(c.encode_utf8(&mut utf8))),
                false => out.push(c),
            }
        }
        (text.len(), Next::More)
    }
}

/// Reads such an object. The arguments are handed out as they come, once the name is known.
#[derive(Debug, Default)]
pub(crate) struct Object {
    state: State,
    name: Option<String>,
    /// Arguments that came before the name.
    early: Option<String>,
    /// Whether arguments have come.
    given: bool,
    /// In the object that `"function"` names, of another one.
    inner: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// At a key, or the end.
    Key,
    /// Behind a key.
    Colon(String),
    /// In the value of a key.
    Value {
        key: String,
        copier: Copier,
        text: String,
    },
    /// In arguments that are an object, after the name.
    Arguments(Copier),
    /// Behind a value.
    Comma,
}

impl Call for Object {
    fn read(&mut self, text: &str, ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        let mut done = 0;
        loop {
            let rest = &text[done..];
            let space = match self.state {
                State::Value { .. } | State::Arguments(_) => 0,
                _ => rest.len() - rest.trim_start().len(),
            };
            done += space;
            let (n, next) = self.step(&rest[space..], ended, out);
            done += n;
            match next {
                Some(next) => return (done, next),
                None if done == text.len() => return (done, Next::More),
                None => {}
            }
        }
    }
}

impl Object {
    /// One change of state; `None`: go on.
    fn step(&mut self, text: &str, _ended: bool, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        let Some(c) = text.chars().next() else {
            return (0, Some(Next::More));
        };
        match &mut self.state {
            State::Open if c == '{' => {
                self.state = State::Key;
                (1, None)
            }
            State::Key | State::Comma if c == '}' => self.end(out),
            State::Comma if c == ',' => {
                self.state = State::Key;
                (1, None)
            }
            State::Key if c == '"' => {
                let mut key = String::new();
                let (n, next) = Copier::default().read(text, &mut key);
                match (next, serde_json::from_str(&key)) {
                    (Next::More, _) => (0, Some(Next::More)),
                    (Next::Done, Ok(key)) => {
                        self.state = State::Colon(key);
                        (n, None)
                    }
                    _ => (0, Some(Next::Broken)),
                }
            }
            State::Colon(_) if c == ':' => match text[1..].trim_start().chars().next() {
                None => (0, Some(Next::More)),
                Some(first) => {
                    let space = text.len() - 1 - text[1..].trim_start().len();
                    (1 + space, self.begin(first, out))
                }
            },
            State::Value {
                copier,
                text: value,
                ..
            } => match copier.read(text, value) {
                (n, Next::Done) => (n, self.value(out)),
                (n, Next::More) => (n, None),
                (n, Next::Broken) => (n, Some(Next::Broken)),
            },
            State::Arguments(copier) => {
                let mut more = String::new();
                let (n, next) = copier.read(text, &mut more);
                add(out, Piece::CallArguments(more));
                if next == Next::Done {
                    self.state = State::Comma;
                }
                (n, Some(next).filter(|next| *next == Next::Broken))
            }
            _ => (0, Some(Next::Broken)),
        }
    }

    /// A value begins with `first`.
    fn begin(&mut self, first: char, out: &mut Vec<Piece>) -> Option<Next> {
        let State::Colon(key) = std::mem::take(&mut self.state) else {
            return Some(Next::Broken);
        };
        let is_arguments = key == "arguments" || key == "parameters";
        if key == "function" && first == '{' && !self.inner {
            self.inner = true;
            self.state = State::Open;
            return None;
        }
        if is_arguments && first == '{' && !self.given && self.announce(out) {
            self.given = true;
            self.state = State::Arguments(Copier::default());
            return None;
        }
        self.state = State::Value {
            key,
            copier: Copier::default(),
            text: String::new(),
        };
        None
    }

    /// Begins the call, where its name is known.
    fn announce(&mut self, out: &mut Vec<Piece>) -> bool {
        match self.name.take() {
            Some(name) => {
                out.push(Piece::CallBegin { name });
                true
            }
            None => false,
        }
    }

    /// A value has ended.
    fn value(&mut self, out: &mut Vec<Piece>) -> Option<Next> {
        let State::Value { key, text, .. } = std::mem::replace(&mut self.state, State::Comma)
        else {
            return Some(Next::Broken);
        };
        let known = self.name.is_some() || self.given;
        match (key.as_str(), serde_json::from_str(&text)) {
            // A tool may be named in place of the object that describes it.
            ("name" | "function", Ok(Value::String(name))) if !known && !name.is_empty() => {
                self.name = Some(name);
                if let Some(early) = self.early.take() {
                    self.arguments(early, out);
                }
            }
            ("name", _) => return Some(Next::Broken),
            ("arguments" | "parameters", Ok(value)) if !self.given => {
                let arguments = match value {
                    Value::Null => "{}".to_owned(),
                    Value::Object(_) => text,
                    Value::String(inner) if is_object(&inner) => inner,
                    _ => return Some(Next::Broken),
                };
                match self.name.is_some() {
                    true => self.arguments(arguments, out),
                    false => self.early = Some(arguments),
                }
            }
            (_, Err(_)) => return Some(Next::Broken),
            _ => {}
        }
        None
    }

    fn arguments(&mut self, arguments: String, out: &mut Vec<Piece>) {
        self.announce(out);
        self.given = true;
        add(out, Piece::CallArguments(arguments));
    }

    fn end(&mut self, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        if self.inner {
            self.inner = false;
            self.state = State::Comma;
            return (1, None);
        }
        if self.name.is_some() {
            self.arguments("{}".to_owned(), out);
        }
        let next = if self.given { Next::Done } else { Next::Broken };
        (1, Some(next))
    }
}

fn is_object(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(Value::Object(_)))
}

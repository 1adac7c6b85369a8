//! Calls written as marks around names and values.

use super::params::{Arguments, Kind, Types};
use super::{Call, Next, Piece, begun, first, steps};

/// The longest name that is waited for, in bytes.
const MAX_NAME: usize = 1024;

/// What is being read of a value.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// Nothing yet: a line break may come first that is no part of it.
    Begin(Kind),
    /// Text, handed out as it comes.
    Text,
    /// Held until it is whole.
    Whole(Kind),
}

/// Reads values between marks; a line break beside a mark is no part of the value.
#[derive(Debug, Default)]
struct Values {
    arguments: Arguments,
}

impl Values {
    /// Reads on in a value that one of `ends` ends. How many bytes, and whether it has ended.
    fn read(
        &mut self,
        value: &mut Value,
        text: &str,
        ends: &[&'static str],
        lines: bool,
        out: &mut Vec<Piece>,
    ) -> (usize, Option<&'static str>) {
        let mut from = 0;
        if let Value::Begin(kind) = value {
            match (text.as_bytes().first(), lines) {
                (None, _) => return (0, None),
                (Some(b'\n'), true) => from = 1,
                _ => {}
            }
            *value = match *kind {
                Kind::Text => Value::Text,
                kind => Value::Whole(kind),
            };
        }
        let rest = &text[from..];
        let found = first(rest, ends);
        let known = match found {
            Some((at, _)) => &rest[..at],
            None => &rest[..rest.len() - begun(rest, ends.iter().copied())],
        };
        let strip = |text| match lines {
            true => str::strip_suffix(text, '\n').unwrap_or(text),
            false => text,
        };
        let body = strip(known);
        match (&value, found) {
            (Value::Text, found) => {
                if !body.is_empty() {
                    self.arguments.text(body, out);
                }
                if let Some((at, mark)) = found {
                    self.arguments.text_end(out);
                    return (from + at + mark.len(), Some(mark));
                }
                (from + body.len(), None)
            }
            (Value::Whole(kind), Some((at, mark))) => {
                self.arguments.value(body, *kind, out);
                (from + at + mark.len(), Some(mark))
            }
            _ => (from, None),
        }
    }
}

/// `<function=NAME>`, then `<parameter=KEY>VALUE</parameter>` for each argument, `</function>`.
#[derive(Debug)]
pub(crate) struct Functions {
    types: Types,
    values: Values,
    name: String,
    state: InFunction,
}

#[derive(Debug)]
enum InFunction {
    Open,
    /// At a parameter, or the end.
    Parameters,
    Value(Value),
    /// In a value whose end was the next mark, which is to be read again.
    Over,
}

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

impl Functions {
    pub fn new(types: Types) -> Self {
        Self {
            types,
            values: Values::default(),
            name: String::new(),
            state: InFunction::Open,
        }
    }

    /// The name behind `mark`, and where it ends.
    fn named<'a>(text: &'a str, mark: &str) -> Result<Option<(&'a str, usize)>, usize> {
        let Some(rest) = text.strip_prefix(mark) else {
            return match mark.starts_with(text) {
                true => Ok(None),
                false => Err(0),
            };
        };
        match rest.find('>') {
            Some(at) if at > 0 && at <= MAX_NAME => Ok(Some((&rest[..at], mark.len() + at + 1))),
            None if rest.len() <= MAX_NAME => Ok(None),
            _ => Err(mark.len()),
        }
    }

    /// One change of state; `None`: go on.
    fn step(&mut self, text: &str, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        let seen = text.trim_start();
        let space = text.len() - seen.len();
        match &mut self.state {
            InFunction::Open => match Self::named(seen, FUNCTION) {
                Ok(None) => (0, Some(Next::More)),
                Err(n) => (space + n, Some(Next::Broken)),
                Ok(Some((name, n))) => {
                    self.name = name.trim().to_owned();
                    let name = self.name.clone();
                    out.push(Piece::CallBegin { name });
                    self.state = InFunction::Parameters;
                    (space + n, None)
                }
            },
            InFunction::Parameters | InFunction::Over => {
                if seen.starts_with(FUNCTION_END) {
                    self.values.arguments.end(out);
                    return (space + FUNCTION_END.len(), Some(Next::Done));
                }
                match Self::named(seen, PARAMETER) {
                    Ok(Some((key, n))) => {
                        let kind = self.types.of(&self.name, key);
                        self.values.arguments.key(key, out);
                        self.state = InFunction::Value(Value::Begin(kind));
                        (space + n, None)
                    }
                    Ok(None) => (0, Some(Next::More)),
                    Err(_) if FUNCTION_END.starts_with(seen) => (0, Some(Next::More)),
                    Err(_) => (0, Some(Next::Broken)),
                }
            }
            InFunction::Value(value) => {
                // A model that forgets the end of a parameter goes on with the next one.
                let ends = [PARAMETER_END, "\n<parameter=", "\n</function>"];
                let (n, mark) = self.values.read(value, text, &ends, true, out);
                match mark {
                    Some(PARAMETER_END) => self.state = InFunction::Parameters,
                    Some(mark) => {
                        self.state = InFunction::Over;
                        return (n - (mark.len() - 1), None);
                    }
                    None => return (n, Some(Next::More)),
                }
                (n, None)
            }
        }
    }
}

impl Call for Functions {
    fn read(&mut self, text: &str, _ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        steps(text, |text| self.step(text, out))
    }
}

/// `NAME`, then `<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>` for each argument. The mark
/// behind the call ends it.
#[derive(Debug)]
pub(crate) struct ArgKeys {
    types: Types,
    values: Values,
    name: Option<String>,
    value: Option<Value>,
}

impl ArgKeys {
    pub fn new(types: Types) -> Self {
        Self {
            types,
            values: Values::default(),
            name: None,
            value: None,
        }
    }

    fn step(&mut self, text: &str, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        const KEY: &str = "<arg_key>";
        const VALUE: &str = "<arg_value>";
        const END: &str = "</tool_call>";
        if let Some(value) = &mut self.value {
            let (n, mark) = self.values.read(value, text, &["</arg_value>"], false, out);
            let next = mark.is_none().then_some(Next::More);
            if mark.is_some() {
                self.value = None;
            }
            return (n, next);
        }
        let Some(name) = &self.name else {
            let Some((at, _)) = first(text, &[KEY, END, "\n<"]) else {
                let next = Next::more_if(text.len() <= MAX_NAME);
                return (0, Some(next));
            };
            let name = text[..at].trim();
            if name.is_empty() || name.contains(char::is_whitespace) || name.contains('<') {
                return (0, Some(Next::Broken));
            }
            let name = name.to_owned();
            self.name = Some(name.clone());
            out.push(Piece::CallBegin { name });
            return (at, None);
        };
        let seen = text.trim_start();
        let space = text.len() - seen.len();
        if seen.starts_with(END) {
            self.values.arguments.end(out);
            return (space, Some(Next::Done));
        }
        let waits = |text: &str| [KEY, END].iter().any(|mark| mark.starts_with(text));
        let Some(rest) = seen.strip_prefix(KEY) else {
            let next = Next::more_if(waits(seen));
            return (0, Some(next));
        };
        let Some((key, rest)) = rest.split_once("</arg_key>") else {
            let next = Next::more_if(rest.len() <= MAX_NAME);
            return (0, Some(next));
        };
        let behind = rest.trim_start();
        let Some(rest) = behind.strip_prefix(VALUE) else {
            let next = Next::more_if(VALUE.starts_with(behind));
            return (0, Some(next));
        };
        let kind = self.types.of(name, key.trim());
        self.values.arguments.key(key.trim(), out);
        self.value = Some(Value::Begin(kind));
        (text.len() - rest.len(), None)
    }
}

impl Call for ArgKeys {
    fn read(&mut self, text: &str, _ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        steps(text, |text| self.step(text, out))
    }
}

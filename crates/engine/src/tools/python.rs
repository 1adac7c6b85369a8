//! Calls as Python writes them: `name(key="value", other=[1, None])`.

use super::params::{Arguments, Types};
use super::scan::escaped;
use super::{Call, Next, Piece, add, steps};

/// The longest name that is waited for, in bytes.
const MAX_NAME: usize = 1024;
/// The deepest nesting of a value.
const MAX_DEPTH: usize = 64;

/// Reads one such call; each argument is handed out when it is whole.
#[derive(Debug, Default)]
pub(crate) struct Python {
    named: bool,
    arguments: Arguments,
}

impl Python {
    /// One change of state; `None`: go on.
    fn step(&mut self, text: &str, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        let seen = text.trim_start();
        let space = text.len() - seen.len();
        if !self.named {
            let Some(at) = seen.find('(') else {
                let wrong = seen.len() > MAX_NAME || seen.contains(char::is_whitespace);
                let next = if wrong { Next::Broken } else { Next::More };
                return (0, Some(next));
            };
            let name = &seen[..at];
            // Llama's own tools are objects with one method.
            let name = name.strip_suffix(".call").unwrap_or(name);
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            if name.is_empty() || !name.chars().all(is_part) {
                return (0, Some(Next::Broken));
            }
            self.named = true;
            let name = name.to_owned();
            out.push(Piece::CallBegin { name });
            return (space + at + 1, None);
        }
        if seen.starts_with(')') {
            self.arguments.end(out);
            return (space + 1, Some(Next::Done));
        }
        if seen.starts_with(',') {
            return (space + 1, None);
        }
        let Some((key, behind)) = seen.split_once('=') else {
            let wrong = seen.len() > MAX_NAME || seen.contains(['(', ')', '"', '\'']);
            let next = if wrong { Next::Broken } else { Next::More };
            return (0, Some(next));
        };
        let key = key.trim();
        if key.is_empty() || key.contains(|c: char| !c.is_alphanumeric() && c != '_' && c != '-') {
            return (0, Some(Next::Broken));
        }
        let mut value = String::new();
        let mut literal = Literal {
            text: behind,
            at: 0,
        };
        match literal.value(&mut value, 0) {
            // A number may go on.
            Ok(()) if literal.at == behind.len() => (0, Some(Next::More)),
            Ok(()) => {
                self.arguments.key(key, out);
                add(out, Piece::CallArguments(value));
                (text.len() - behind.len() + literal.at, None)
            }
            Err(Next::Broken) => (0, Some(Next::Broken)),
            Err(_) => (0, Some(Next::More)),
        }
    }
}

impl Call for Python {
    fn read(&mut self, text: &str, _ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        steps(text, |text| self.step(text, out))
    }
}

/// A literal of Python, to be written as JSON.
struct Literal<'a> {
    text: &'a str,
    at: usize,
}

impl Literal<'_> {
    fn peek(&mut self) -> Result<char, Next> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next().ok_or(Next::More)
    }

    fn value(&mut self, out: &mut String, depth: usize) -> Result<(), Next> {
        if depth > MAX_DEPTH {
            return Err(Next::Broken);
        }
        match self.peek()? {
            quote @ ('"' | '\'') => self.quoted(quote, out),
            '[' => self.items('[', ']', out, depth),
            '(' => self.items('[', ')', out, depth),
            '{' => self.items('{', '}', out, depth),
            _ => self.word(out),
        }
    }

    fn quoted(&mut self, quote: char, out: &mut String) -> Result<(), Next> {
        let mut text = String::new();
        let mut chars = self.text[self.at + 1..].char_indices();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                self.at += 1 + i + 1;
                out.push_str(&format!("\"{}\"", escaped(&text)));
                return Ok(());
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().ok_or(Next::More)?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    if digits.len() < 4 {
                        return Err(Next::More);
                    }
                    let code = u32::from_str_radix(&digits, 16).map_err(|_| Next::Broken)?;
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                c @ ('\\' | '\'' | '"') => text.push(c),
                c => text.extend(['\\', c]),
            }
        }
        Err(Next::More)
    }

    fn items(
        &mut self,
        open: char,
        close: char,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Next> {
        self.at += 1;
        out.push(open);
        let mut any = false;
        loop {
            if self.peek()? == close {
                self.at += 1;
                out.push(if open == '[' { ']' } else { '}' });
                return Ok(());
            }
            if any {
                if self.peek()? != ',' {
                    return Err(Next::Broken);
                }
                self.at += 1;
                if self.peek()? == close {
                    continue;
                }
                out.push_str(", ");
            }
            any = true;
            if open == '{' {
                match self.peek()? {
                    quote @ ('"' | '\'') => self.quoted(quote, out)?,
                    _ => return Err(Next::Broken),
                }
                if self.peek()? != ':' {
                    return Err(Next::Broken);
                }
                self.at += 1;
                out.push_str(": ");
            }
            self.value(out, depth + 1)?;
        }
    }

    fn word(&mut self, out: &mut String) -> Result<(), Next> {
        let rest = &self.text[self.at..];
        let ends = |c: char| matches!(c, ',' | ')' | ']' | '}' | ':') || c.is_whitespace();
        let end = rest.find(ends).unwrap_or(rest.len());
        let word = &rest[..end];
        let json = match word {
            "True" | "true" => "true",
            "False" | "false" => "false",
            "None" | "null" => "null",
            word if serde_json::from_str::<f64>(word).is_ok() => word,
            _ if end == rest.len() && rest.len() < MAX_NAME => return Err(Next::More),
            _ => return Err(Next::Broken),
        };
        out.push_str(json);
        self.at += end;
        Ok(())
    }
}

/// What stands behind `<|python_tag|>`: a call as Python writes it, or code for a tool that runs it.
#[derive(Debug)]
pub(crate) struct Code {
    python: Python,
    /// The tool that runs code, where there is one.
    runner: Option<&'static str>,
    arguments: Arguments,
    runs: bool,
}

/// Names of tools that run code.
const RUNNERS: [&str; 3] = ["code_interpreter", "python", "ipython"];

impl Code {
    pub fn new(types: &Types) -> Self {
        Self {
            python: Python::default(),
            runner: RUNNERS.into_iter().find(|name| types.has(name)),
            arguments: Arguments::default(),
            runs: false,
        }
    }

    fn code(&mut self, text: &str, ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        if !text.is_empty() {
            self.arguments.text(text, out);
        }
        if ended {
            self.arguments.text_end(out);
            add(out, Piece::CallArguments("}".to_owned()));
            return (text.len(), Next::Done);
        }
        (text.len(), Next::More)
    }
}

impl Call for Code {
    fn read(&mut self, text: &str, ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        if self.runs {
            return self.code(text, ended, out);
        }
        let (n, next) = match self.runner {
            // Whether it is a call or code is known at the first bracket.
            Some(_) if !self.python.named && !ended && !text.contains(['(', ' ', '\n', '=']) => {
                return (0, Next::More);
            }
            Some(_) if !self.python.named && !is_call(text) => (0, Next::Broken),
            _ => self.python.read(text, ended, out),
        };
        let Some(runner) = self
            .runner
            .filter(|_| next == Next::Broken && !self.python.named)
        else {
            return (n, next);
        };
        self.runs = true;
        let name = runner.to_owned();
        out.push(Piece::CallBegin { name });
        self.arguments.key("code", out);
        self.code(text, ended, out)
    }
}

fn is_call(text: &str) -> bool {
    let name = text.split('(').next().unwrap_or_default();
    name.ends_with(".call")
}

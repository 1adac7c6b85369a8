//! Calls as Gemma writes them: `call:NAME{key:value}`, texts between marks of their own.

use super::scan::escaped;
use super::{Call, Next, Piece, add, begun, steps};

/// The longest name, key or number that is waited for, in bytes.
const MAX_WORD: usize = 1024;
/// The deepest nesting that is read.
const MAX_DEPTH: usize = 128;

/// Reads such a call and writes its arguments as JSON.
#[derive(Debug)]
pub(crate) struct Gemma {
    /// Around texts.
    quote: &'static str,
    named: bool,
    /// `{` and `[` that are open.
    open: Vec<char>,
    /// The next word is a key.
    key: bool,
    in_text: bool,
}

impl Gemma {
    pub fn new(quote: &'static str) -> Self {
        Self {
            quote,
            named: false,
            open: Vec::new(),
            key: false,
            in_text: false,
        }
    }

    fn name(&mut self, text: &str, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        const CALL: &str = "call:";
        let seen = text.trim_start();
        let Some(rest) = seen.strip_prefix(CALL) else {
            let next = Next::more_if(CALL.starts_with(seen));
            return (0, Some(next));
        };
        let Some((name, behind)) = rest.split_once('{') else {
            let next = Next::more_if(rest.len() <= MAX_WORD);
            return (0, Some(next));
        };
        let name = name.trim().to_owned();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains('<') {
            return (0, Some(Next::Broken));
        }
        self.named = true;
        out.push(Piece::CallBegin { name });
        (text.len() - behind.len() - 1, None)
    }

    /// One change of state; `None`: go on.
    fn step(&mut self, text: &str, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        if !self.named {
            return self.name(text, out);
        }
        let mut say = |text: &str| add(out, Piece::CallArguments(text.to_owned()));
        if self.in_text {
            if let Some(at) = text.find(self.quote) {
                say(&(escaped(&text[..at]) + "\""));
                self.in_text = false;
                return (at + self.quote.len(), None);
            }
            let known = text.len() - begun(text, [self.quote]);
            say(&escaped(&text[..known]));
            return (known, Some(Next::More));
        }
        let Some(c) = text.chars().next() else {
            return (0, Some(Next::More));
        };
        if self.quote.starts_with(text) {
            return (0, Some(Next::More));
        }
        if text.starts_with(self.quote) {
            say("\"");
            self.in_text = true;
            return (self.quote.len(), None);
        }
        match c {
            '{' | '[' if self.open.len() == MAX_DEPTH => return (0, Some(Next::Broken)),
            '{' | '[' => {
                self.open.push(c);
                self.key = c == '{';
            }
            '}' | ']' => {
                let pair = if c == '}' { '{' } else { '[' };
                if self.open.pop() != Some(pair) {
                    return (0, Some(Next::Broken));
                }
                self.key = false;
            }
            ',' => self.key = self.open.last() == Some(&'{'),
            ':' => self.key = false,
            c if c.is_whitespace() => return (c.len_utf8(), None),
            _ => return self.word(text, out),
        }
        say(c.encode_utf8(&mut [0; 4]));
        let next = self.open.is_empty().then_some(Next::Done);
        (1, next)
    }

    /// A key, a number, or a word that stands for a value.
    fn word(&mut self, text: &str, out: &mut Vec<Piece>) -> (usize, Option<Next>) {
        let ends = |c: char| matches!(c, ',' | ':' | '{' | '}' | '[' | ']' | '<');
        let end = match self.key {
            true => text.find(':'),
            false => text.find(ends),
        };
        let Some(end) = end else {
            let next = Next::more_if(text.len() <= MAX_WORD);
            return (0, Some(next));
        };
        let word = text[..end].trim();
        let json = match (self.key, word) {
            (false, "true" | "True") => "true".to_owned(),
            (false, "false" | "False") => "false".to_owned(),
            (false, "null" | "None") => "null".to_owned(),
            (false, word) if serde_json::from_str::<f64>(word).is_ok() => word.to_owned(),
            (_, word) => format!("\"{}\"", escaped(word)),
        };
        add(out, Piece::CallArguments(json));
        match end {
            0 => (0, Some(Next::Broken)),
            end => (end, None),
        }
    }
}

impl Call for Gemma {
    fn read(&mut self, text: &str, _ended: bool, out: &mut Vec<Piece>) -> (usize, Next) {
        steps(text, |text| self.step(text, out))
    }
}

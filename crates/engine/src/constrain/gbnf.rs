//! Grammars in the notation of llama.cpp (GBNF), written again in Lark's.

use super::ConstraintError;
use std::fmt::Write as _;

fn wrong(why: impl Into<String>) -> ConstraintError {
    ConstraintError::Grammar {
        what: "grammar",
        why: why.into(),
    }
}

/// The same grammar in Lark's notation.
pub(super) fn to_lark(gbnf: &str) -> Result<String, ConstraintError> {
    let chars: Vec<char> = gbnf.chars().collect();
    let mut reader = Reader {
        chars: &chars,
        at: 0,
        depth: 0,
    };
    let mut out = String::from("start: r_root\n");
    let mut has_root = false;
    loop {
        reader.space(true);
        if reader.peek().is_none() {
            break;
        }
        let name = reader.name()?;
        has_root |= name == "root";
        reader.space(true);
        if !reader.eat("::=") {
            return Err(wrong(format!("`::=` is missing behind `{name}`")));
        }
        reader.space(true);
        let body = reader.alternatives()?;
        let _ = writeln!(out, "{}: {body}", rule(&name));
    }
    match has_root {
        true => Ok(out),
        false => Err(wrong(
            "there is no rule `root`, with which an answer would begin",
        )),
    }
}

/// A rule's name in Lark: in small letters, and no other than that of another rule.
fn rule(name: &str) -> String {
    let mut out = "r_".to_owned();
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            '-' => out.push('_'),
            c => {
                let _ = write!(out, "_x{:x}_", u32::from(c));
            }
        }
    }
    out
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, text: &str) -> bool {
        let end = self.at + text.chars().count();
        let found = self
            .chars
            .get(self.at..end)
            .is_some_and(|c| c.iter().copied().eq(text.chars()));
        if found {
            self.at = end;
        }
        found
    }

    /// White space and comments; line ends too where `lines`.
    fn space(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                '\n' | '\r' if !lines => return,
                c if c.is_whitespace() => self.at += 1,
                _ => return,
            }
        }
    }

    fn name(&mut self) -> Result<String, ConstraintError> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let start = self.at;
        while self.peek().is_some_and(is_part) {
            self.at += 1;
        }
        match start == self.at {
            true => Err(wrong(format!("a name was expected at character {start}"))),
            false => Ok(self.chars[start..self.at].iter().collect()),
        }
    }

    fn alternatives(&mut self) -> Result<String, ConstraintError> {
        let lines = self.depth > 0;
        let mut all = Vec::new();
        loop {
            all.push(self.sequence()?);
            self.space(lines);
            let before = self.at;
            self.space(true);
            if !self.eat("|") {
                self.at = before;
                break;
            }
            self.space(true);
        }
        Ok(all.join(" | "))
    }

    fn sequence(&mut self) -> Result<String, ConstraintError> {
        let mut items = Vec::new();
        loop {
            self.space(self.depth > 0);
            let item = match self.peek() {
                Some('"') => self.text()?,
                Some('[') => self.class()?,
                Some('.') => {
                    self.at += 1;
                    "/(?s:.)/".to_owned()
                }
                Some('(') => {
                    if self.depth > 64 {
                        return Err(wrong("brackets are nested too deep"));
                    }
                    self.at += 1;
                    self.depth += 1;
                    let inside = self.alternatives()?;
                    self.space(true);
                    self.depth -= 1;
                    if !self.eat(")") {
                        return Err(wrong("a bracket is not closed"));
                    }
                    format!("({inside})")
                }
                Some('<' | '!') => return Err(wrong("tokens cannot be named; write their text")),
                Some(c) if c.is_ascii_alphanumeric() => {
                    // The name of the next rule stands before `::=`.
                    let before = self.at;
                    let name = self.name()?;
                    let behind = self.at;
                    self.space(true);
                    if self.eat("::=") {
                        self.at = before;
                        break;
                    }
                    self.at = behind;
                    rule(&name)
                }
                _ => break,
            };
            items.push(item + &self.times()?);
        }
        match items.is_empty() {
            true => Ok("\"\"".to_owned()),
            false => Ok(items.join(" ")),
        }
    }

    fn times(&mut self) -> Result<String, ConstraintError> {
        match self.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.at += 1;
                Ok(c.to_string())
            }
            Some('{') => {
                let rest: String = self.chars[self.at + 1..].iter().take(24).collect();
                let Some((inside, _)) = rest.split_once('}') else {
                    return Err(wrong("a repetition is not closed"));
                };
                if !inside
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b == b',' || b == b' ')
                {
                    return Err(wrong("a repetition has other things than numbers in it"));
                }
                self.at += inside.chars().count() + 2;
                Ok(format!("{{{}}}", inside.replace(' ', "")))
            }
            _ => Ok(String::new()),
        }
    }

    /// One character of a text or class, behind a backslash or not.
    fn character(&mut self) -> Result<char, ConstraintError> {
        let cut = || wrong("a text or a class is not closed");
        let c = self.peek().ok_or_else(cut)?;
        self.at += 1;
        if c != '\\' {
            return Ok(c);
        }
        let c = self.peek().ok_or_else(cut)?;
        self.at += 1;
        let digits = match c {
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '"' | '\\' | '[' | ']' | '-' | '^' | '/' | '.' => return Ok(c),
            c => return Err(wrong(format!("the escape `\\{c}` is not known"))),
        };
        let text: String = self
            .chars
            .get(self.at..self.at + digits)
            .ok_or_else(cut)?
            .iter()
            .collect();
        self.at += digits;
        let code = u32::from_str_radix(&text, 16).ok();
        code.and_then(char::from_u32)
            .ok_or_else(|| wrong(format!("`{text}` is no character")))
    }

    fn text(&mut self) -> Result<String, ConstraintError> {
        self.at += 1;
        let mut text = String::new();
        while self.peek() != Some('"') {
            text.push(self.character()?);
        }
        self.at += 1;
        Ok(super::literal(&text))
    }

    fn class(&mut self) -> Result<String, ConstraintError> {
        self.at += 1;
        let mut out = "/[".to_owned();
        if self.eat("^") {
            out.push('^');
        }
        let mut any = false;
        while self.peek() != Some(']') {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(self.character()?));
            any = true;
            if self.peek() == Some('-') && self.chars.get(self.at + 1) != Some(&']') {
                self.at += 1;
                let _ = write!(out, "-\\u{{{:x}}}", u32::from(self.character()?));
            }
        }
        if !any {
            return Err(wrong("a class is empty"));
        }
        self.at += 1;
        out.push_str("]/");
        Ok(out)
    }
}

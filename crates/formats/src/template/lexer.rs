//! Source text to tokens, with Jinja2's rules of white space under `trim_blocks` and `lstrip_blocks`.
//!
//! Source: the Jinja2 documentation, "Template Designer Documentation", white space control.
use super::error::TemplateError;

/// A token and the line where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside tags.
    Data(String),
    /// `{%`.
    BlockBegin,
    /// `%}`.
    BlockEnd,
    /// `{{`.
    PrintBegin,
    /// `}}`.
    PrintEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    /// An operator or a bracket.
    Op(&'static str),
}

/// Longer operators come first, so that `//` is not two times `/`.
const OPERATORS: &[&str] = &[
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",",
];

/// White space as Python's `str.isspace` has it.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Splits the source of a template.
///
/// # Errors
/// [`TemplateError::Syntax`] where a tag, a comment or a string has no end, or a character has no
/// meaning.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, TemplateError> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer {
        rest: source,
        line: 1,
        line_starts: true,
        found: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.found)
}

struct Lexer<'s> {
    rest: &'s str,
    line: usize,
    /// Whether the tag before ended with the line break that belongs to it.
    line_starts: bool,
    found: Vec<Token>,
}

impl<'s> Lexer<'s> {
    fn run(&mut self) -> Result<(), TemplateError> {
        while let Some(at) = first_tag(self.rest) {
            let text = self.take(at);
            let tag = self.take(2);
            let sign = self.sign();
            self.data(
                strip(text, sign, tag != "{{" && self.line_starts, tag != "{{"),
                text,
            );
            match tag {
                "{#" => self.comment()?,
                "{%" if self.starts_raw() => self.raw()?,
                "{%" => self.tag(Kind::BlockBegin, "%}", Kind::BlockEnd)?,
                _ => self.tag(Kind::PrintBegin, "}}", Kind::PrintEnd)?,
            }
        }
        let text = self.take(self.rest.len());
        self.data(text, text);
        Ok(())
    }

    /// Moves past `bytes` bytes and returns them.
    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn count_lines(&mut self, text: &str) {
        self.line = self.line.saturating_add(text.matches('\n').count());
    }

    fn push(&mut self, kind: Kind) {
        self.found.push(Token {
            line: self.line,
            kind,
        });
    }

    /// Emits the `kept` part of `text`.
    fn data(&mut self, kept: &str, text: &str) {
        if !kept.is_empty() {
            self.push(Kind::Data(kept.to_owned()));
        }
        self.count_lines(text);
    }

    fn sign(&mut self) -> &'s str {
        if self.rest.starts_with(['-', '+']) {
            self.take(1)
        } else {
            ""
        }
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::Syntax {
            line: self.line,
            what: what.into(),
        })
    }

    fn skip_space(&mut self) {
        let rest = self.rest.trim_start_matches(is_space);
        let space = self.take(self.rest.len().saturating_sub(rest.len()));
        self.count_lines(space);
    }

    /// Takes the end of a tag if it stands here, with the white space that goes with it.
    fn end(&mut self, end: &str) -> bool {
        for sign in ["-", "+", ""] {
            let Some(after) = self
                .rest
                .strip_prefix(sign)
                .and_then(|r| r.strip_prefix(end))
            else {
                continue;
            };
            // A variable has no `+}}`.
            if sign == "+" && end == "}}" {
                continue;
            }
            self.rest = after;
            let before = self.rest;
            match sign {
                "-" => self.skip_space(),
                "" if end != "}}" && self.rest.starts_with('\n') => {
                    let newline = self.take(1);
                    self.count_lines(newline);
                }
                _ => {}
            }
            let eaten = before.len().saturating_sub(self.rest.len());
            self.line_starts = before
                .get(..eaten)
                .is_some_and(|eaten| eaten.ends_with('\n'));
            return true;
        }
        false
    }

    fn comment(&mut self) -> Result<(), TemplateError> {
        let Some(at) = self.rest.find("#}") else {
            return self.error("a comment has no end `#}`");
        };
        // A sign before the end belongs to the end.
        let signed = self
            .rest
            .get(..at)
            .is_some_and(|text| text.ends_with(['-', '+']));
        let text = self.take(if signed { at.saturating_sub(1) } else { at });
        self.count_lines(text);
        self.end("#}");
        Ok(())
    }

    /// Whether `raw` stands here as the only word of its tag; moves past the tag if so.
    fn starts_raw(&mut self) -> bool {
        let Some(after) = self.rest.trim_start_matches(is_space).strip_prefix("raw") else {
            return false;
        };
        let after = after.trim_start_matches(is_space);
        let (after, strips) = match after.strip_prefix("-%}") {
            Some(after) => (after, true),
            None => match after.strip_prefix("%}") {
                Some(after) => (after, false),
                None => return false,
            },
        };
        let tag = self.take(self.rest.len().saturating_sub(after.len()));
        self.count_lines(tag);
        if strips {
            self.skip_space();
        }
        self.line_starts = false;
        true
    }

    /// Everything up to `{% endraw %}` is text.
    fn raw(&mut self) -> Result<(), TemplateError> {
        let mut from = 0;
        while let Some(at) = self.rest.get(from..).and_then(|rest| rest.find("{%")) {
            let at = from.saturating_add(at);
            let tag = self.rest.get(at.saturating_add(2)..).unwrap_or("");
            let sign = tag
                .get(..1)
                .filter(|sign| ["-", "+"].contains(sign))
                .unwrap_or("");
            let inside = tag
                .get(sign.len()..)
                .unwrap_or("")
                .trim_start_matches(is_space);
            if let Some(after) = inside.strip_prefix("endraw") {
                let after = after.trim_start_matches(is_space);
                if ["%}", "-%}", "+%}"]
                    .iter()
                    .any(|end| after.starts_with(end))
                {
                    let text = self.take(at);
                    self.data(strip(text, sign, self.line_starts, true), text);
                    let tag = self.take(self.rest.len().saturating_sub(after.len()));
                    self.count_lines(tag);
                    self.end("%}");
                    return Ok(());
                }
            }
            from = at.saturating_add(2);
        }
        self.error("`{% raw %}` has no `{% endraw %}`")
    }

    /// The tokens of one tag, from after its begin to after its end.
    fn tag(&mut self, begin: Kind, end: &str, end_kind: Kind) -> Result<(), TemplateError> {
        let first_line = self.line;
        self.push(begin);
        let mut open: Vec<&str> = Vec::new();
        loop {
            self.skip_space();
            let line = self.line;
            if open.is_empty() && self.end(end) {
                self.found.push(Token {
                    line,
                    kind: end_kind,
                });
                return Ok(());
            }
            let Some(c) = self.rest.chars().next() else {
                self.line = first_line;
                return self.error(format!("a tag has no end `{end}`"));
            };
            let kind = match c {
                '\'' | '"' => Kind::Str(self.string(c)?),
                '0'..='9' => self.number()?,
                c if c.is_alphabetic() || c == '_' => {
                    let word = |c: char| c.is_alphanumeric() || c == '_';
                    let length = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
                    Kind::Name(self.take(length).to_owned())
                }
                c => self.operator(c, &mut open)?,
            };
            self.found.push(Token { line, kind });
        }
    }

    fn operator(&mut self, c: char, open: &mut Vec<&'s str>) -> Result<Kind, TemplateError> {
        let Some(op) = OPERATORS.iter().find(|op| self.rest.starts_with(**op)) else {
            return self.error(format!("unexpected character {c:?}"));
        };
        self.take(op.len());
        match *op {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" if open.pop() != Some(*op) => {
                return self.error(format!("`{op}` closes nothing"));
            }
            _ => {}
        }
        Ok(Kind::Op(op))
    }

    fn number(&mut self) -> Result<Kind, TemplateError> {
        let lower = self.rest.to_ascii_lowercase();
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = lower.strip_prefix(prefix) {
                let length = digits.find(|c: char| !c.is_digit(radix) && c != '_');
                let digits = digits.get(..length.unwrap_or(digits.len())).unwrap_or("");
                self.take(digits.len().saturating_add(2));
                let value = i128::from_str_radix(&digits.replace('_', ""), radix);
                return value
                    .map(Kind::Int)
                    .or_else(|_| self.error("a number cannot be read"));
            }
        }
        let after_dot = matches!(
            self.found.last(),
            Some(Token {
                kind: Kind::Op("."),
                ..
            })
        );
        let mut length = digits(self.rest);
        let mut is_float = false;
        let rest = |length: usize| self.rest.get(length..).unwrap_or("");
        if let Some(fraction) = rest(length).strip_prefix('.')
            && !after_dot
            && digits(fraction) > 0
        {
            is_float = true;
            length = length.saturating_add(1).saturating_add(digits(fraction));
        }
        if let Some(exponent) = rest(length).strip_prefix(['e', 'E'])
            && !after_dot
        {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits(unsigned) > 0 {
                is_float = true;
                let sign = exponent.len().saturating_sub(unsigned.len());
                length = length.saturating_add(1).saturating_add(sign);
                length = length.saturating_add(digits(unsigned));
            }
        }
        let text = self.take(length).replace('_', "");
        let kind = match is_float {
            true => text.parse().ok().map(Kind::Float),
            false => text.parse().ok().map(Kind::Int),
        };
        kind.map_or_else(|| self.error(format!("the number {text} is too large")), Ok)
    }

    fn string(&mut self, quote: char) -> Result<String, TemplateError> {
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == quote {
                let text = self.take(at.saturating_add(1));
                self.count_lines(text);
                let inside = text.get(1..at).unwrap_or("");
                return unescape(inside).map_or_else(
                    || self.error("a string has an escape that means nothing"),
                    Ok,
                );
            }
        }
        self.error("a string has no end")
    }
}

/// How many bytes of digits, with `_` between them, the text begins with.
fn digits(text: &str) -> usize {
    let length = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    text.get(..length)
        .map_or(0, |digits| digits.trim_end_matches('_').len())
}

fn first_tag(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find('{') {
        let at = from.saturating_add(at);
        from = at.saturating_add(1);
        if text.get(from..)?.starts_with(['{', '%', '#']) {
            return Some(at);
        }
    }
    None
}

/// The text before a tag without the white space that the tag removes: all of it for the sign `-`,
/// else that of the tag's own line where nothing else stands before it (`lstrip_blocks`).
fn strip<'s>(text: &'s str, sign: &str, line_starts: bool, is_block: bool) -> &'s str {
    if sign == "-" {
        return text.trim_end_matches(is_space);
    }
    if sign == "+" || !is_block {
        return text;
    }
    let line = text.rfind('\n').map(|at| at.saturating_add(1));
    if line.is_none() && !line_starts {
        return text;
    }
    let line = line.unwrap_or(0);
    match text.get(line..) {
        Some(indent) if indent.chars().all(is_space) => text.get(..line).unwrap_or(text),
        _ => text,
    }
}

/// The escapes of a Python string literal. An unknown one stays as it is.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at)?);
        rest = rest.get(at.checked_add(1)?..)?;
        let escape = rest.chars().next()?;
        rest = rest.get(escape.len_utf8()..)?;
        let plain = match escape {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            '\\' | '\'' | '"' => escape,
            '\n' => continue,
            'x' | 'u' | 'U' => {
                let length = if escape == 'x' {
                    2
                } else if escape == 'u' {
                    4
                } else {
                    8
                };
                let code = u32::from_str_radix(rest.get(..length)?, 16).ok()?;
                rest = rest.get(length..)?;
                char::from_u32(code)?
            }
            '0'..='7' => {
                let more = rest.chars().take(2).take_while(|c| c.is_digit(8)).count();
                let digits = format!("{escape}{}", rest.get(..more)?);
                rest = rest.get(more..)?;
                char::from_u32(u32::from_str_radix(&digits, 8).ok()?)?
            }
            // A character by its name: no table of names here.
            'N' => return None,
            unknown => {
                out.push('\\');
                unknown
            }
        };
        out.push(plain);
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(source: &str) -> Vec<String> {
        let found = tokens(source)
            .unwrap()
            .into_iter()
            .filter_map(|token| match token.kind {
                Kind::Data(text) => Some(text),
                _ => None,
            });
        found.collect()
    }

    #[test]
    fn white_space_goes_as_in_jinja2() {
        assert_eq!(data("a\n  {% x %}\n  b\n"), ["a\n", "  b"]);
        assert_eq!(data("a  {% x %}b"), ["a  ", "b"]);
        assert_eq!(data("a\n  {%+ x +%}\nb"), ["a\n  ", "\nb"]);
        assert_eq!(data("a \n {%- x -%} \n b"), ["a", "b"]);
        assert_eq!(data("a\n  {{ x }}\n b"), ["a\n  ", "\n b"]);
        assert_eq!(data("  {# c #}\n  {#- d -#}  e"), ["e"]);
        assert_eq!(
            data("{% raw %}\n{{ x }}{% endraw %}\ny"),
            ["\n{{ x }}", "y"]
        );
        assert_eq!(data("a\n\n"), ["a\n"]);
        assert_eq!(data("a\r\nb\rc"), ["a\nb\nc"]);
    }

    #[test]
    fn brackets_hide_the_end_of_a_tag() {
        let kinds: Vec<Kind> = tokens("{{ {'a': {}}}}")
            .unwrap()
            .into_iter()
            .map(|t| t.kind)
            .collect();
        let brackets = kinds
            .iter()
            .filter(|kind| matches!(kind, Kind::Op("{" | "}")))
            .count();
        assert_eq!(brackets, 4);
        assert_eq!(kinds.last(), Some(&Kind::PrintEnd));
    }

    #[test]
    fn literals_are_those_of_python() {
        let kinds = |source: &str| -> Vec<Kind> {
            let all = tokens(&format!("{{{{ {source} }}}}")).unwrap();
            all.into_iter()
                .map(|t| t.kind)
                .filter(|k| !matches!(k, Kind::PrintBegin | Kind::PrintEnd))
                .collect()
        };
        assert_eq!(
            kinds("1_000 0x1F 1.5 2e3 .5"),
            [
                Kind::Int(1000),
                Kind::Int(31),
                Kind::Float(1.5),
                Kind::Float(2000.0),
                Kind::Op("."),
                Kind::Int(5)
            ]
        );
        assert_eq!(
            kinds(r#"'a\n\x41\u00e9\'\d' "\"""#),
            [Kind::Str("a\nAé'\\d".into()), Kind::Str("\"".into())]
        );
        assert_eq!(kinds("x.0.1").len(), 5);
    }

    #[test]
    fn what_has_no_end_is_an_error_with_its_line() {
        for source in [
            "\n{{ 'a",
            "\n{# a",
            "\n{% raw %}",
            "\n{{ a",
            "\n{{ a ? }}",
            "\n{{ ) }}",
        ] {
            let Err(TemplateError::Syntax { line, .. }) = tokens(source) else {
                panic!("{source}")
            };
            assert_eq!(line, 2, "{source}");
        }
    }
}

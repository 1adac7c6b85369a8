//! Regular expressions: from ECMAScript's notation to Rust's.
//!
//! What the two write alike and mean otherwise is written out; what cannot be is refused.

use super::super::ConstraintError;
use super::refuse;
use serde_json::Value;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 4096;
/// White space and line ends as ECMAScript has them.
const SPACE: &str = r"\t\n\x0B\x0C\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
const WORD: &str = "A-Za-z0-9_";
const LINE: &str = r"[^\n\r\u{2028}\u{2029}]";

/// The value of `pattern`, as it is kept to.
pub(super) fn checked(value: &Value, path: &str) -> Result<Value, ConstraintError> {
    match value {
        Value::String(pattern) => translated(pattern, path).map(Value::from),
        _ => Err(refuse(path, "it must be a string")),
    }
}

/// A character as itself, in and outside of a class.
pub(super) fn escaped(c: char) -> String {
    format!("\\u{{{:x}}}", u32::from(c))
}

/// An expression in Rust's notation that matches the same.
pub(super) fn translated(pattern: &str, path: &str) -> Result<String, ConstraintError> {
    if pattern.len() > MAX_BYTES {
        return Err(refuse(
            path,
            &format!("the expression is longer than {MAX_BYTES} bytes"),
        ));
    }
    let chars: Vec<char> = pattern.chars().collect();
    let mut translator = Translator {
        chars: &chars,
        at: 0,
        out: String::new(),
        depth: 0,
        begins: false,
        done: Vec::new(),
    };
    match translator.all() {
        Ok(()) => Ok(translator.finish()),
        Err(why) => Err(refuse(path, why)),
    }
}

/// One of the alternatives of an expression.
struct Alternative {
    /// It begins where the text does.
    begins: bool,
    inside: String,
    /// It ends where the text does.
    ends: bool,
}

struct Translator<'a> {
    chars: &'a [char],
    at: usize,
    /// Of the alternative that is being read.
    out: String,
    depth: usize,
    begins: bool,
    done: Vec<Alternative>,
}

type Done = Result<(), &'static str>;

impl Translator<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    fn all(&mut self) -> Done {
        let mut first = true;
        while let Some(c) = self.next() {
            let at_start = std::mem::replace(&mut first, false);
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' if self.depth == 0 => return Err("a bracket is closed that is not open"),
                ')' => {
                    self.depth -= 1;
                    self.out.push(')');
                }
                '.' => self.out.push_str(LINE),
                '{' => self.repeat()?,
                '}' | ']' => self.out.push_str(&escaped(c)),
                '^' if at_start => self.begins = true,
                '$' if self.depth == 0 && matches!(self.peek(), None | Some('|')) => {
                    self.alternative(true);
                    first = self.next().is_some();
                    if !first {
                        return Ok(());
                    }
                }
                // Elsewhere an anchor may mean what the engine cannot do.
                '^' | '$' => {
                    return Err("`^` may only come first and `$` only last in an alternative");
                }
                '|' if self.depth == 0 => {
                    self.alternative(false);
                    first = true;
                }
                '|' | '*' | '+' | '?' => self.out.push(c),
                c if c.is_ascii_alphanumeric() => self.out.push(c),
                c => self.out.push_str(&escaped(c)),
            }
        }
        if self.depth > 0 {
            return Err("a bracket is not closed");
        }
        self.alternative(false);
        Ok(())
    }

    /// An alternative has ended.
    fn alternative(&mut self, ends: bool) {
        self.done.push(Alternative {
            begins: std::mem::take(&mut self.begins),
            inside: std::mem::take(&mut self.out),
            ends,
        });
    }

    /// All alternatives as one expression.
    fn finish(self) -> String {
        let anchor = |is: bool, anchor| if is { anchor } else { "" };
        if let [one] = &self.done[..] {
            let (from, to) = (anchor(one.begins, "^"), anchor(one.ends, "$"));
            return format!("{from}{}{to}", one.inside);
        }
        if self.done.iter().all(|one| !one.begins && !one.ends) {
            let all: Vec<String> = self.done.into_iter().map(|one| one.inside).collect();
            return all.join("|");
        }
        // Each by itself stands for the whole text.
        const ANY: &str = "(?s:.*)";
        let whole = |one: Alternative| {
            let (from, to) = (anchor(!one.begins, ANY), anchor(!one.ends, ANY));
            format!("{from}{}{to}", one.inside)
        };
        let all: Vec<String> = self.done.into_iter().map(whole).collect();
        format!("^(?:{})$", all.join("|"))
    }

    fn group(&mut self) -> Done {
        self.depth += 1;
        if self.depth > 32 {
            return Err("brackets are nested too deep");
        }
        if self.peek() != Some('?') {
            self.out.push_str("(?:");
            return Ok(());
        }
        self.next();
        match (self.next(), self.peek()) {
            (Some(':'), _) => self.out.push_str("(?:"),
            (Some('<'), Some(c)) if c != '=' && c != '!' => {
                while self.next().ok_or("a name is not closed")? != '>' {}
                self.out.push_str("(?:");
            }
            _ => {
                return Err(
                    "the expression looks ahead or behind, or sets flags; that cannot be kept to",
                );
            }
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,5}`; anything else is a brace.
    fn repeat(&mut self) -> Done {
        let rest: String = self.chars[self.at..].iter().take(12).collect();
        let Some((inside, _)) = rest.split_once('}') else {
            return Err("write a brace as `\\{`");
        };
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let number = |text: &str| {
            text.len() <= 4 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
        };
        if !number(least) || !(most.is_empty() || number(most)) {
            return Err("write a brace as `\\{`");
        }
        if least.parse::<u32>().unwrap_or(0) > most.parse().unwrap_or(u32::MAX) {
            return Err("a repetition has its numbers the wrong way round");
        }
        self.out.push('{');
        self.out.push_str(inside);
        self.out.push('}');
        self.at += inside.chars().count() + 1;
        Ok(())
    }

    /// Behind a backslash.
    fn escape(&mut self, class: bool) -> Done {
        let c = self.next().ok_or("a backslash is last")?;
        let set = |inside: &str, class: bool| match class {
            true => inside.to_owned(),
            false => format!("[{inside}]"),
        };
        match c {
            'd' => self.out.push_str(&set("0-9", class)),
            'w' => self.out.push_str(&set(WORD, class)),
            's' => self.out.push_str(&set(SPACE, class)),
            'D' if !class => self.out.push_str("[^0-9]"),
            'W' if !class => self.out.push_str(&format!("[^{WORD}]")),
            'S' if !class => self.out.push_str(&format!("[^{SPACE}]")),
            'D' => self.out.push_str(r"\x00-/:-\u{10ffff}"),
            'W' => self.out.push_str(r"\x00-/:-@\[-\^`\{-\u{10ffff}"),
            'S' => self.out.push_str(NOT_SPACE),
            't' | 'n' | 'r' => self.out.extend(['\\', c]),
            'f' => self.out.push_str("\\x0C"),
            'v' => self.out.push_str("\\x0B"),
            'b' if class => self.out.push_str("\\x08"),
            '0' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.out.push_str("\\x00"),
            'x' => self.hex(2)?,
            'u' => self.unicode()?,
            'p' | 'P' => self.property(c)?,
            c if c.is_ascii_alphanumeric() => {
                return Err(
                    "this escape (a reference to a group, a word boundary, or one that is not known) cannot be kept to",
                );
            }
            c => self.out.push_str(&escaped(c)),
        }
        Ok(())
    }

    /// A class by general category, which is the same in every edition of Unicode but for characters
    /// that are new.
    fn property(&mut self, p: char) -> Done {
        const NAMES: [&str; 24] = [
            "L",
            "Letter",
            "Lu",
            "Uppercase_Letter",
            "Ll",
            "Lowercase_Letter",
            "Lt",
            "Lm",
            "Lo",
            "M",
            "Mark",
            "N",
            "Number",
            "Nd",
            "Nl",
            "No",
            "digit",
            "P",
            "Punctuation",
            "S",
            "Symbol",
            "Z",
            "Separator",
            "Zs",
        ];
        let mut name = String::new();
        if self.next() == Some('{') {
            while let Some(c) = self.next().filter(|c| *c != '}') {
                name.push(c);
            }
        }
        if !NAMES.contains(&name.as_str()) {
            return Err("this class by property is not known; write the characters out");
        }
        let name = if name == "digit" { "Nd" } else { &name };
        self.out.push_str(&format!("\\{p}{{{name}}}"));
        Ok(())
    }

    fn digits(&mut self, n: usize) -> Result<u32, &'static str> {
        let text: String = self
            .chars
            .get(self.at..self.at + n)
            .unwrap_or_default()
            .iter()
            .collect();
        self.at += n;
        let all = text.len() == n && text.bytes().all(|b| b.is_ascii_hexdigit());
        u32::from_str_radix(&text, 16)
            .ok()
            .filter(|_| all)
            .ok_or("an escape has too few digits")
    }

    fn hex(&mut self, n: usize) -> Done {
        let code = self.digits(n)?;
        let c = char::from_u32(code).ok_or("half of a surrogate pair is no character")?;
        self.out.push_str(&escaped(c));
        Ok(())
    }

    fn unicode(&mut self) -> Done {
        if self.peek() != Some('{') {
            let high = self.digits(4)?;
            let pair = (0xd800..0xdc00).contains(&high)
                && self.chars.get(self.at..self.at + 2) == Some(&['\\', 'u']);
            if !pair {
                self.at -= 4;
                return self.hex(4);
            }
            self.at += 2;
            let low = self.digits(4)?;
            let code = 0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00);
            let c = char::from_u32(code).filter(|_| (0xdc00..0xe000).contains(&low));
            self.out.push_str(&escaped(
                c.ok_or("half of a surrogate pair is no character")?,
            ));
            return Ok(());
        }
        self.next();
        let mut code = String::new();
        while let Some(c) = self.next().filter(|c| *c != '}') {
            code.push(c);
        }
        let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
        self.out
            .push_str(&escaped(c.ok_or("an escape is no character")?));
        Ok(())
    }

    fn class(&mut self) -> Done {
        self.out.push('[');
        if self.peek() == Some('^') {
            self.next();
            self.out.push('^');
        }
        if self.peek() == Some(']') {
            return Err("an empty class matches nothing, or everything; write what is meant");
        }
        loop {
            match self.next().ok_or("a class is not closed")? {
                ']' => break,
                '\\' => self.escape(true)?,
                '-' => {
                    // A range, or the character itself at an end.
                    let ends = self.peek() == Some(']') || self.out.ends_with(['[', '^']);
                    self.out.push_str(if ends { "\\-" } else { "-" });
                }
                c => self.out.push_str(&escaped(c)),
            }
        }
        self.out.push(']');
        Ok(())
    }
}

/// All but [`SPACE`].
const NOT_SPACE: &str = r"\x00-\x08\x0E-\x1F!-\u{9f}\u{a1}-\u{167f}\u{1681}-\u{1fff}\u{200b}-\u{2027}\u{202a}-\u{202e}\u{2030}-\u{205e}\u{2060}-\u{2fff}\u{3001}-\u{fefe}\u{ff00}-\u{10ffff}";

//! Keys, tokens, passwords.

use super::page::{Cue, Page};
use super::vendors::VENDORS;
use super::{Raw, forms};
use crate::policy::Kind;
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::captures::Captures;
use std::ops::Range;

/// The forms of secrets.
pub struct Secrets {
    vendors: Regex,
    tokens: Regex,
    begins: Regex,
    connections: Regex,
    assigned: Regex,
    random: Regex,
}

/// JSON web tokens, signed and encrypted.
const JWT: &str = r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,})?";

/// How a private key begins.
const BEGINS: &[&str] = &[
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    r"PuTTY-User-Key-File-[23]:",
    r"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----",
];

/// A URL with a name and a password: the password is the group.
const CONNECTION: &str =
    r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s:/@"'<>\[\]]*:([^\s/"'<>]+)@[a-z0-9\[][^\s"'<>]*"#;

/// Something is given to a name that says it is secret. The groups: the name, what stands between, the
/// value in double quotes, in single ones, bare.
const ASSIGNED: &[&str] = &[
    r#"(?i)((?:[a-z0-9]+[_.-])*[a-z0-9]*(?:passwor[dt]|passwd|pwd|passphrase|passcode|wachtwoord|contrasena|senha|secret|token|api[_ -]?key|access[_ -]?key|auth[_ -]?key|account[_ -]?key|private[_ -]?key|secret[_ -]?key|encryption[_ -]?key|signing[_ -]?key|master[_ -]?key|shared[_ -]?key|credentials?)(?:[_-]?[a-z0-9]+)*)["'\]]{0,2}([ \t]{0,4}(?::=|=>|==?|:| is:? | was | lautet | = )[ \t]{0,4})(?:"([^"\r\n]{3,512})"|'([^'\r\n]{3,512})'|([^\s"'`,;<>]{3,512}))"#,
    r#"(?i)(--?(?:password|passwd|pass|token|secret|api-key|apikey|access-key|auth))([ =])(?:"([^"\r\n]{3,512})"|'([^'\r\n]{3,512})'|([^\s"'`,;<>-][^\s"'`,;<>]{2,512}))"#,
    r#"(?i)(\blogin[ \t]+[^ \t\r\n]+[ \t\r\n]+password)([ \t]+)(?:"([^"\r\n]{3,512})"|'([^'\r\n]{3,512})'|([^\s"'`,;<>]{3,512}))"#,
    r#"(?i)(<[a-z0-9:_-]*(?:password|passwd|secret|token|apikey|api-key)[a-z0-9_-]*>)()(?:"([^"\r\n]{3,512})"|'([^'\r\n]{3,512})'|([^\s"'`,;<>]{3,512}))"#,
    r#"(?i)\b((?:bearer|basic|authorization: ?token))([ \t]{1,3})(?:"([^"\r\n]{3,512})"|'([^'\r\n]{3,512})'|([a-z0-9+/._~-]{16,}=*))"#,
];

/// What may be random.
const RANDOM: &str = r"[A-Za-z0-9][A-Za-z0-9+/_-]{18,254}[A-Za-z0-9]={0,2}";

/// The longest private key.
const LONGEST_KEY: usize = 64 << 10;

impl Secrets {
    pub fn new() -> Result<Self, Box<BuildError>> {
        let vendors: Vec<&str> = VENDORS.iter().map(|(_, form)| *form).collect();
        Ok(Self {
            vendors: forms(&vendors)?,
            tokens: forms(&[JWT])?,
            begins: forms(BEGINS)?,
            connections: forms(&[CONNECTION])?,
            assigned: forms(ASSIGNED)?,
            random: forms(&[RANDOM])?,
        })
    }

    pub fn find(&self, page: &Page<'_>, finds: &mut Vec<Raw>, taken: &mut Vec<Range<usize>>) {
        let known = finds.len();
        self.keys(page, finds);
        self.known(page, finds);
        self.connections(page, finds);
        self.assigned(page, finds);
        self.random(page, finds);
        // A number in a secret is no telephone's.
        taken.extend(finds.iter().skip(known).map(|raw| raw.range.clone()));
        taken.sort_by_key(|range| (range.start, range.end));
    }

    fn keys(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        let mut next = 0;
        for found in self.begins.find_iter(page.text) {
            if found.start() < next {
                continue;
            }
            let end = key_end(page, found.end());
            next = end;
            let body = page.cut(found.end()..end);
            let written = body.bytes().filter(|b| b.is_ascii_alphanumeric()).count();
            if written >= 40 && !is_placeholder(body) {
                finds.push(Raw::new(Kind::PrivateKey, "", found.start()..end));
            }
        }
    }

    fn known(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        for found in self.vendors.find_iter(page.text) {
            let name = VENDORS
                .get(found.pattern().as_usize())
                .map_or("", |(name, _)| name);
            let text = page.cut(found.range());
            if !is_placeholder(text) && entropy(text) > 2.8 {
                finds.push(Raw::new(Kind::VendorKey, name, found.range()));
            }
        }
        for found in self.tokens.find_iter(page.text) {
            let text = page.cut(found.range());
            if !is_placeholder(text) && entropy(text) > 3.0 {
                finds.push(Raw::new(Kind::Jwt, "", found.range()));
            }
        }
    }

    fn connections(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        for found in self.connections.captures_iter(page.text) {
            let (Some(whole), Some(password)) = (found.get_match(), found.get_group(1)) else {
                continue;
            };
            let secret = page.cut(password.range());
            let word = ["password", "pass", "pwd", "secret", "token", "port", "user"];
            let stands_for = word.contains(&secret.to_ascii_lowercase().as_str());
            if !is_placeholder(secret) && !stands_for && !is_code(secret) {
                let text = page.cut(whole.range());
                let text = text.trim_end_matches(['.', ',', ';', ')', '`']);
                let end = whole.start().saturating_add(text.len());
                finds.push(Raw::new(Kind::Connection, "", whole.start()..end));
            }
        }
    }

    fn assigned(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        for found in self.assigned.captures_iter(page.text) {
            if let Some(raw) = assigned(page, &found) {
                finds.push(raw);
            }
        }
    }

    fn random(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        for found in self.random.find_iter(page.text) {
            let range = found.range();
            let text = page.cut(range.clone());
            let near = page.nearest(Cue::Secret, &range, 40, 0);
            let digest = page.nearest(Cue::Digest, &range, 28, 0);
            let Some(near) = near.filter(|near| digest.is_none_or(|digest| *near < digest)) else {
                continue;
            };
            if is_random(text, near) && !is_placeholder(text) && !in_address(page, range.start) {
                finds.push(Raw::new(Kind::HighEntropy, "", range));
            }
        }
    }
}

/// Where a private key ends that has begun before `from`: behind its last line, or with what is no part of one.
fn key_end(page: &Page<'_>, from: usize) -> usize {
    let last = page.text.len().min(from.saturating_add(LONGEST_KEY));
    let rest = page.text.get(from..last).unwrap_or_default();
    let line = rest.find("-----END").or_else(|| rest.find("---- END"));
    let begun = rest.find("-----BEGIN").unwrap_or(usize::MAX);
    if let Some(line) = line.filter(|line| *line < begun) {
        let tail = rest.get(line.saturating_add(5)..).unwrap_or_default();
        let close = tail.find("-----").map_or(3, |at| at.saturating_add(5));
        return from
            .saturating_add(line)
            .saturating_add(5)
            .saturating_add(close)
            .min(last);
    }
    let body = |c: char| c.is_ascii_alphanumeric() || "+/=-:., \r\n\t\\".contains(c);
    from.saturating_add(rest.find(|c| !body(c)).unwrap_or(rest.len()))
}

fn assigned(page: &Page<'_>, found: &Captures) -> Option<Raw> {
    let name = found.get_group(1)?;
    let between = page.cut(found.get_group(2)?.range());
    let quoted = found.get_group(3).or_else(|| found.get_group(4));
    let value = quoted.or_else(|| found.get_group(5))?;
    let name_text = page.cut(name.range()).to_ascii_lowercase();
    let mut text = page.cut(value.range());
    if quoted.is_none() {
        text = text.trim_end_matches(['.', ')', ']', '}', ':', '!', '?', '*', '\\']);
    }
    let range = value.start..value.start.saturating_add(text.len());
    let password = [
        "passwor",
        "passwd",
        "pwd",
        "passphrase",
        "passcode",
        "wachtwoord",
        "contrasena",
        "senha",
    ];
    let is_password =
        password.iter().any(|word| name_text.contains(word)) || name_text.starts_with("--pass");
    let believed = match (
        is_password,
        between.contains(|c: char| c.is_ascii_alphabetic()),
    ) {
        (true, false) => is_password_value(text, quoted.is_some()),
        (true, true) => is_spoken(page, name.start, text, range.end),
        (false, _) => is_token_value(text),
    };
    let believed = believed && !is_placeholder(text) && !is_code(text);
    believed.then(|| Raw::new(Kind::Password, "", range))
}

/// What may be given to a name such as `password`.
fn is_password_value(text: &str, quoted: bool) -> bool {
    let word = text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    // `password: string`, `pwd = get`: bare words are programs, unless an environment sets them.
    text.len() >= 4 && !is_common(text) && (quoted || !word) && !text.contains(' ')
}

/// `the password is swordfish`, not `the password is wrong`.
fn is_spoken(page: &Page<'_>, name: usize, text: &str, end: usize) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_lowercase());
    if !letters {
        return text.len() >= 4 && !text.contains(' ') && !is_common(text);
    }
    let before = page
        .lower
        .get(name.saturating_sub(12)..name)
        .unwrap_or_default();
    let whose = [
        "my ", "the ", "your ", "our ", "his ", "her ", "new ", "wifi ", "wi-fi ",
    ];
    let verb = text.ends_with("ed") || text.ends_with("ing") || text.ends_with("ly");
    let over = page.at(end).is_none_or(|b| b".\n,!".contains(&b));
    text.len() >= 6
        && over
        && !verb
        && !is_common(text)
        && whose.iter().any(|w| before.ends_with(w))
}

/// What may be given to a name such as `token`.
fn is_token_value(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+/_-=.~!@#$%^&*:|".contains(&b));
    let number = letters == 0 && digits < 24;
    let path = text.starts_with(['/', '.', '~']) || text.contains("://");
    text.len() >= 10
        && plain
        && digits >= 2
        && !number
        && !path
        && !is_uuid(text)
        && entropy(text) >= 2.9
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|b| *b == b'-').count() == 4
}

/// Whether a text is too random for words, at this distance from a word that says it is secret.
fn is_random(text: &str, near: usize) -> bool {
    let count = |is: fn(&u8) -> bool| text.bytes().filter(is).count();
    let (digits, small, large) = (
        count(u8::is_ascii_digit),
        count(u8::is_ascii_lowercase),
        count(u8::is_ascii_uppercase),
    );
    if is_uuid(text) {
        return false;
    }
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex {
        return text.len() >= 32
            && near <= 12
            && digits >= 6
            && small + large >= 4
            && entropy(text) > 3.0;
    }
    // Words and paths change their class seldom.
    let classes = |b: u8| {
        (
            b.is_ascii_digit(),
            b.is_ascii_lowercase(),
            b.is_ascii_uppercase(),
        )
    };
    let bytes = text.as_bytes().windows(2);
    let changes = bytes
        .filter(|w| matches!(w, [a, b] if classes(*a) != classes(*b)))
        .count();
    let mixed = digits >= 2 && small >= 2 && large >= 2;
    let codes = digits >= 4 && (small >= 6 || large >= 6);
    (mixed || codes) && changes * 3 >= text.len() && entropy(text) >= 3.6
}

/// Whether it stands in a web address or in data: the host of a picture is not random by design.
fn in_address(page: &Page<'_>, at: usize) -> bool {
    let before = page.text.as_bytes().get(..at).unwrap_or_default();
    let line = before.iter().rev().take(400);
    let word: Vec<u8> = line
        .take_while(|b| !b.is_ascii_whitespace() && !b"\"'<>()".contains(b))
        .copied()
        .collect();
    let has = |text: &[u8]| word.windows(text.len()).any(|w| w.iter().rev().eq(text));
    (has(b"://") && !has(b"=")) || has(b"base64,") || has(b"data:")
}

/// Bits a byte by how often each byte stands in it (Shannon).
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = text.len().max(1) as f64;
    let counts = counts.iter().filter(|count| **count > 0);
    counts
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

/// Words that stand where a secret would.
const COMMON: &[&str] = &[
    "string",
    "str",
    "none",
    "null",
    "nil",
    "true",
    "false",
    "required",
    "optional",
    "undefined",
    "wrong",
    "incorrect",
    "invalid",
    "missing",
    "empty",
    "correct",
    "valid",
    "weak",
    "strong",
    "secret",
    "password",
    "passwd",
    "token",
    "text",
    "varchar",
    "bytes",
    "char",
    "int",
    "number",
    "bool",
    "boolean",
    "object",
    "hidden",
    "unknown",
    "default",
    "value",
    "self",
    "this",
    "input",
    "prompt",
    "the same",
    "different",
    "secure",
    "insecure",
    "unique",
    "confidential",
    "only",
    "always",
    "never",
    "used",
    "okay",
    "short",
    "long",
    "here",
    "there",
    "below",
    "above",
    "private",
    "credentials",
    "encrypted",
    "hashed",
    "function",
    "return",
    "async",
    "await",
    "const",
    "case",
    "type",
    "field",
];

fn is_common(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    COMMON.contains(&text.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
}

/// What people write where a secret is to be put.
pub fn is_placeholder(text: &str) -> bool {
    const MARKS: &[&str] = &[
        "example",
        "your",
        "placeholder",
        "changeme",
        "change_me",
        "change-me",
        "change.me",
        "dummy",
        "redacted",
        "xxxx",
        "****",
        "....",
        "insert",
        "replace",
        "sample",
        "fake",
        "todo",
        "<",
        "${",
        "{{",
        "%(",
        "$(",
        "todo",
        "my-api",
        "my_api",
        "abc123",
        "123456789012",
        "foobar",
        "lorem",
        "not-a-real",
        "not_a_real",
        "notreal",
        "goes-here",
        "goes_here",
        "0000000000",
        "deadbeef",
        "[email",
        "____",
        "…",
    ];
    let lower = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| lower.contains(mark)) || is_one_letter(&lower)
}

/// Whether hardly more than one character makes it up.
fn is_one_letter(text: &str) -> bool {
    let mut distinct: Vec<u8> = text.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() <= 2
}

/// Whether a value is computed where it stands: a call, a variable, a path in a program.
fn is_code(text: &str) -> bool {
    const CODE: &[&str] = &[
        "process.env",
        "os.environ",
        "getenv",
        "os.getenv",
        "env.",
        "env[",
        "config.",
        "settings.",
        "self.",
        "this.",
        "request.",
        "req.",
        "args.",
        "options.",
        "secrets.",
        "vault.",
        "params.",
        "props.",
        "data.",
        "ctx.",
        "var.",
    ];
    let lower = text.to_ascii_lowercase();
    let call = lower.contains('(') && !lower.contains(|c: char| c.is_ascii_digit());
    let variable = text.starts_with('$')
        && text
            .bytes()
            .skip(1)
            .all(|b| b.is_ascii_alphabetic() || b"_{}".contains(&b));
    call || variable
        || lower.ends_with("()")
        || lower.starts_with("f\"")
        || CODE.iter().any(|code| lower.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_known_texts() {
        assert!(entropy("aaaa").abs() < 1e-9);
        assert!((entropy("abcd") - 2.0).abs() < 1e-9);
        assert!(entropy("0123456789abcdef") > 3.99);
    }

    #[test]
    fn placeholders() {
        for text in [
            "YOUR_API_KEY",
            "xxxxxxxxxxxx",
            "<token>",
            "${TOKEN}",
            "aaaaaaaa",
            "AKIAIOSFODNN7EXAMPLE",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        assert!(!is_placeholder("k8Zp2Lm4Qw"));
    }
}

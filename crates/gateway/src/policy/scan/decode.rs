//! A text that was written in another writing: percent, HTML and JSON escapes, base64, hexadecimal digits.
//! Two levels: base64 in the string of a tool call, JSON in JSON.

use super::view::{Builder, View};
use crate::policy::memory::name_of;
use std::collections::HashSet;
use std::ops::Range;

/// The shortest run of base64 or hexadecimal digits that is read.
const SHORTEST: usize = 12;
/// Places in a run at which digits may begin.
const MOST_STARTS: usize = 3;
/// The longest one that is read whole; of a longer one (an image, a key) this much is.
const LONGEST: usize = 64 << 10;

/// The text read in every writing that stands in it, and what is read so once more.
pub fn views(text: &str) -> Vec<View<'static>> {
    let mut seen = HashSet::new();
    let mut views = once(text);
    views.retain(|view| seen.insert(name_of(&view.text)));
    let mut inner = Vec::new();
    for view in &views {
        for found in once(&view.text) {
            if seen.insert(name_of(&found.text)) {
                inner.push(found.within(view));
            }
        }
    }
    views.extend(inner);
    views
}

/// What is read in one writing.
fn once(text: &str) -> Vec<View<'static>> {
    let mut views = Vec::new();
    let readers: [(&str, Reader); 3] = [("%", percent), ("&", entity), ("\\", escape)];
    for (sign, read) in readers {
        if text.contains(sign) {
            views.extend(unescaped(text, read));
        }
    }
    views.extend(blocks(text));
    views
}

/// Reads what an escape stands for, at the beginning of a text: a character and how many bytes it took.
type Reader = fn(&str) -> Option<(char, usize)>;

/// The text with its escapes replaced; `None` where there are none.
fn unescaped(text: &str, read: Reader) -> Option<View<'static>> {
    let mut view = Builder::with_capacity(text.len());
    let mut any = false;
    let mut at = 0_usize;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (c, len) = match read(rest) {
            Some(found) => {
                any = true;
                found
            }
            None => {
                let c = rest.chars().next()?;
                (c, c.len_utf8())
            }
        };
        let end = at.saturating_add(len.max(1));
        view.push(c, at..end);
        at = end;
    }
    any.then(|| view.view())
}

fn hex_byte(digits: &str) -> Option<u8> {
    let right = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    right.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// `%41`, and the two to four of a character beyond ASCII.
fn percent(text: &str) -> Option<(char, usize)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while bytes.len() < 4 {
        let byte = rest
            .strip_prefix('%')
            .and_then(|r| r.get(..2))
            .and_then(hex_byte)?;
        bytes.push(byte);
        if let Ok(read) = std::str::from_utf8(&bytes) {
            return Some((read.chars().next()?, bytes.len().saturating_mul(3)));
        }
        rest = rest.get(3..).unwrap_or_default();
    }
    None
}

/// `&#65;`, `&#x41;` and the named ones that matter.
fn entity(text: &str) -> Option<(char, usize)> {
    let body = text.strip_prefix('&')?;
    let end = body.bytes().take(12).position(|b| b == b';')?;
    let name = body.get(..end)?;
    let c = match name.strip_prefix('#') {
        Some(number) => {
            let hex = number.strip_prefix(['x', 'X']);
            let code = match hex {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
        None => match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "nbsp" | "ensp" | "emsp" | "thinsp" => ' ',
            "commat" => '@',
            "period" => '.',
            "colon" => ':',
            "sol" => '/',
            "plus" => '+',
            "num" => '#',
            "equals" => '=',
            "shy" | "zwj" | "zwnj" => '\u{200B}',
            "hyphen" | "dash" | "ndash" | "mdash" | "minus" => '-',
            _ => return None,
        },
    };
    Some((c, end.saturating_add(2)))
}

/// Escapes of JSON, JavaScript and C: `\u0041`, `\x41`, `\n`.
fn escape(text: &str) -> Option<(char, usize)> {
    let body = text.strip_prefix('\\')?;
    let unit = |body: &str| -> Option<u32> {
        let digits = body.strip_prefix('u')?.get(..4)?;
        let right = digits.bytes().all(|b| b.is_ascii_hexdigit());
        right
            .then(|| u32::from_str_radix(digits, 16).ok())
            .flatten()
    };
    let code = |digits: &str| {
        let right = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = right.then(|| u32::from_str_radix(digits, 16).ok())?;
        char::from_u32(code?)
    };
    match body.chars().next()? {
        // As Rust and JavaScript, and as Python write them.
        'u' if body.get(1..2) == Some("{") => {
            let end = body.bytes().take(9).position(|b| b == b'}')?;
            Some((code(body.get(2..end)?)?, end.saturating_add(2)))
        }
        'U' => Some((code(body.get(1..9)?)?, 10)),
        'n' => Some(('\n', 2)),
        'r' => Some(('\r', 2)),
        't' => Some(('\t', 2)),
        c @ ('"' | '\\' | '/' | '\'') => Some((c, 2)),
        'x' => Some((char::from(hex_byte(body.get(1..3)?)?), 4)),
        'u' => {
            let first = unit(body)?;
            if let Some(c) = char::from_u32(first) {
                return Some((c, 6));
            }
            let second = unit(body.get(5..)?.strip_prefix('\\')?)?;
            let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
            let c = char::decode_utf16(pair).next()?.ok()?;
            Some((c, 12))
        }
        _ => None,
    }
}

/// A line of so many digits may go on in the next one, as in mails and in PEM.
const WRAPPED: usize = 60;

/// Every run of base64 or hexadecimal digits that holds a text.
fn blocks(text: &str) -> Vec<View<'static>> {
    let mut views = Vec::new();
    let bytes = text.as_bytes();
    let in_block = |at: usize| {
        let byte = bytes.get(at);
        byte.is_some_and(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(b))
    };
    let mut at = 0_usize;
    while at < bytes.len() {
        if !in_block(at) {
            at = at.saturating_add(1);
            continue;
        }
        let (start, mut line) = (at, at);
        loop {
            while in_block(at) {
                at = at.saturating_add(1);
            }
            let broken = match text.get(at..) {
                Some(rest) if rest.starts_with("\r\n") => 2,
                Some(rest) if rest.starts_with('\n') => 1,
                _ => 0,
            };
            let next = at.saturating_add(broken);
            if broken == 0 || at.saturating_sub(line) < WRAPPED || !in_block(next) {
                break;
            }
            (at, line) = (next, next);
        }
        views.extend(block(text, start..at));
    }
    views
}

fn block(text: &str, range: Range<usize>) -> Option<View<'static>> {
    let end = range.end.min(range.start.saturating_add(LONGEST));
    let shown = text.get(range.start..end)?;
    if shown.len() < SHORTEST {
        return None;
    }
    let whole: String = shown
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect();
    // What stands before it may have signs of the alphabet too: `file/`, `key-`.
    let signs = whole.match_indices(['/', '-', '_', '+']).take(MOST_STARTS);
    let starts = std::iter::once(0).chain(signs.map(|(at, _)| at.saturating_add(1)));
    let mut written = starts.filter_map(|start| whole.get(start..));
    written.find_map(|digits| decoded(digits, &range))
}

/// What digits say, if it is a text.
fn decoded(digits: &str, range: &Range<usize>) -> Option<View<'static>> {
    if digits.len() < SHORTEST {
        return None;
    }
    let bytes = match unhex(digits) {
        Some(bytes) => bytes,
        None => unbase64(digits)?,
    };
    let end = bytes.len();
    let read = match std::str::from_utf8(&bytes) {
        Ok(read) => read,
        // A long one was cut, perhaps in the middle of a character.
        Err(error) if end.saturating_sub(error.valid_up_to()) < 4 => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let written = read.chars().all(|c| !c.is_control() || c.is_whitespace());
    if !written || read.len() < 6 {
        return None;
    }
    let mut view = Builder::with_capacity(read.len());
    read.chars().for_each(|c| view.push(c, range.clone()));
    Some(view.view())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digit = |b: &u8| {
        char::from(*b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

/// Either alphabet (RFC 4648, 4 and 5), without its padding.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let value = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        // A last group of one character says nothing.
        bits <<= 6 * (4 - group.len());
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend(whole.iter().take(group.len().saturating_sub(1)));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        views(text)
            .iter()
            .map(|view| view.text.to_string())
            .collect()
    }

    #[test]
    fn each_writing() {
        for (text, want) in [
            ("a%40b.com", "a@b.com"),
            ("caf%C3%A9", "café"),
            ("a&#64;b.com", "a@b.com"),
            ("a&#x40;b&period;com", "a@b.com"),
            ("\\u0061\\u0040b.com", "a@b.com"),
            ("\\x61 \\ud83d\\ude00", "a 😀"),
            ("YW5uYUBleGFtcGxlLmNvbQ==", "anna@example.com"),
            ("616e6e61406578616d706c652e636f6d", "anna@example.com"),
        ] {
            assert!(
                read(text).contains(&want.to_owned()),
                "{text}: {:?}",
                read(text)
            );
        }
        assert_eq!(read("100% of it & more"), Vec::<String>::new());
    }

    #[test]
    fn one_writing_in_another() {
        for text in [
            // JSON in JSON, and a percent sign that is one itself.
            "{\"body\": \"{\\\"mail\\\": \\\"a\\\\u0040b.com\\\"}\"}",
            "a%2540b.com",
            "a\\u0026#64;b.com",
            // base64 of base64, of percent escapes, and in hexadecimal digits.
            "U1NCaGJTQmhibTVoSUdGQVlpNWpiMjBnYjJzPQ==",
            "YSBhbm5hIGElNDBiLmNvbQ==",
            "59534268626d3568494746415969356a623230676232733d",
        ] {
            let all = read(text);
            assert!(
                all.iter().any(|text| text.contains("a@b.com")),
                "{text}: {all:?}"
            );
        }
        // Lines of base64 in a string.
        let lines = "c29tZSB0ZXh0IHRoYXQgaXMgbG9uZyBlbm91Z2ggdG8gZmlsbCBhIHdob2xl";
        let text = format!("{{\"file\": \"{lines}\\nIGxpbmUsIGFuZCBhbm5hQGV4YW1wbGUuY29tIGlu\"}}");
        let all = read(&text);
        assert!(
            all.iter().any(|text| text.contains("anna@example.com in")),
            "{all:?}"
        );
    }

    #[test]
    fn a_block_leads_back_to_all_of_it() {
        let text = "see YW5uYUBleGFtcGxlLmNvbQ== there";
        let views = views(text);
        let source = views[0].source(0..4);
        assert_eq!(&text[source], "YW5uYUBleGFtcGxlLmNvbQ");
    }
}

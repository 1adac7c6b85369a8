//! Work on text, as Python does it.
use super::error::Run;
use super::lexer::is_space;
use super::meter::{Meter, Text};
use super::value::Value;

/// A list of strings.
pub(super) fn list(meter: &mut Meter, parts: Vec<&str>) -> Run<Value> {
    meter.items(parts.len())?;
    let items: Run<Vec<Value>> = parts.into_iter().map(|part| meter.text(part)).collect();
    Value::list(meter, items?)
}

/// Replaces the first `count` places, or all.
pub(super) fn replace(
    meter: &mut Meter,
    s: &str,
    old: &str,
    new: &str,
    count: Option<usize>,
) -> Run<Value> {
    meter.scan(s.len())?;
    let mut out = Text::new(meter);
    let mut end = 0;
    for (at, found) in s.match_indices(old).take(count.unwrap_or(usize::MAX)) {
        out.push(s.get(end..at).unwrap_or(""))?;
        out.push(new)?;
        end = at.saturating_add(found.len());
    }
    out.push(s.get(end..).unwrap_or(""))?;
    Ok(Value::Str(out.finish().into()))
}

/// The words between white space; after `count` splits the rest stays whole, with the white space at
/// its far end.
pub(super) fn words(s: &str, count: Option<usize>, from_end: bool) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = s;
    loop {
        rest = match from_end {
            true => rest.trim_end_matches(is_space),
            false => rest.trim_start_matches(is_space),
        };
        if rest.is_empty() {
            break;
        }
        let at = match count.is_some_and(|count| words.len() >= count) {
            true => None,
            false if from_end => rest.char_indices().rfind(|(_, c)| is_space(*c)),
            false => rest.char_indices().find(|(_, c)| is_space(*c)),
        };
        let Some((at, space)) = at else {
            words.push(rest);
            break;
        };
        let (left, right) = rest.split_at_checked(at).unwrap_or((rest, ""));
        words.push(if from_end {
            right.get(space.len_utf8()..).unwrap_or("")
        } else {
            left
        });
        rest = if from_end { left } else { right };
    }
    if from_end {
        words.reverse();
    }
    words
}

/// Lines as Python's `splitlines` ends them.
pub(super) fn lines(s: &str, keep_ends: bool) -> Vec<&str> {
    let ends = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = s;
    while !rest.is_empty() {
        let at = rest.find(ends).unwrap_or(rest.len());
        let (line, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let end = match tail.starts_with("\r\n") {
            true => 2,
            false => tail.chars().next().map_or(0, char::len_utf8),
        };
        let kept = if keep_ends {
            at.saturating_add(end)
        } else {
            line.len()
        };
        lines.push(rest.get(..kept).unwrap_or(line));
        rest = tail.get(end..).unwrap_or("");
    }
    lines
}

/// The first character in upper case, the others in lower case.
pub(super) fn capitalized(s: &str) -> String {
    let mut chars = s.chars();
    match chars.next() {
        Some(first) => first
            .to_uppercase()
            .chain(chars.as_str().to_lowercase().chars())
            .collect(),
        None => String::new(),
    }
}

/// Upper case for lower case and the other way round.
pub(super) fn swapped(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if c.is_uppercase() {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
    }
    out
}

/// `str.title`: letters after a letter in lower case, others in upper case.
pub(super) fn titled(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut after_letter = false;
    for c in s.chars() {
        if after_letter {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        after_letter = c.is_alphabetic();
    }
    out
}

/// The properties that `str.isalpha` and its like ask for; `None` for another name.
pub(super) fn property(s: &str, name: &str) -> Option<bool> {
    let all = |holds: fn(char) -> bool| !s.is_empty() && s.chars().all(holds);
    let upper = s.chars().any(char::is_uppercase);
    let lower = s.chars().any(char::is_lowercase);
    Some(match name {
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => s.is_ascii(),
        "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
        "isspace" => all(is_space),
        "isupper" => upper && !lower,
        "islower" => lower && !upper,
        "istitle" => upper && titled(s) == s,
        "isprintable" => !s.chars().any(char::is_control),
        "isidentifier" => {
            all(|c| c.is_alphanumeric() || c == '_') && !s.starts_with(char::is_numeric)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_python() {
        assert_eq!(words(" a  b c ", None, false), ["a", "b", "c"]);
        assert_eq!(words(" a  b c ", Some(1), false), ["a", "b c "]);
        assert_eq!(words(" a  b c ", Some(1), true), [" a  b", "c"]);
        assert_eq!(words("  ", None, false), [""; 0]);
        assert_eq!(words(" a ", Some(0), false), ["a "]);
    }

    #[test]
    fn lines_end_as_in_python() {
        assert_eq!(lines("a\r\nb\n\nc", false), ["a", "b", "", "c"]);
        assert_eq!(lines("a\r\nb\n", true), ["a\r\n", "b\n"]);
        assert_eq!(lines("", false), [""; 0]);
    }
}

//! Patterns that a file gives itself, for tokenizers that have no name.
//!
//! Only what runs on the shadow of a text (see [`split`](super::split)) is taken: general categories, ASCII
//! characters, white space, and the one look-ahead that all such patterns end in.

use super::super::unicode::NAMES;
use super::split::{Spaces, Stage, Stages};

/// White space up to the last one before a word.
const AHEAD: &str = r"\s+(?!\S)|\s+";
/// More than any tokenizer has.
const MAX_PATTERNS: usize = 16;
/// Longer than any pattern of a known tokenizer that is taken.
const MAX_LEN: usize = 4096;

/// The stages of these patterns, one after the other.
pub(super) fn stages<'a>(
    patterns: impl ExactSizeIterator<Item = &'a str>,
) -> Result<Stages, String> {
    if patterns.len() > MAX_PATTERNS {
        return Err(format!("more than {MAX_PATTERNS} patterns"));
    }
    let stages = patterns.map(stage).collect::<Result<_, _>>()?;
    Ok(Stages {
        stages,
        flagged: None,
    })
}

fn stage(pattern: &str) -> Result<Stage, String> {
    if pattern.len() > MAX_LEN || !pattern.is_ascii() {
        return Err("it names characters beyond ASCII one by one, or is very long".to_owned());
    }
    let (body, spaces) = match pattern.strip_suffix(AHEAD) {
        None => (pattern.to_owned(), Spaces::Keep),
        Some(before) => {
            let breaks = before.contains(r"\s*[\r\n]");
            let spaces = match breaks {
                true => Spaces::LeaveOneButLineBreak,
                false => Spaces::LeaveOne,
            };
            (format!(r"{before}\s+"), spaces)
        }
    };
    refuse_unknown(&body)?;
    Stage::pattern(&body, spaces)
}

/// Escapes, groups and anchors that mean another thing on the shadow, or nothing.
fn refuse_unknown(pattern: &str) -> Result<(), String> {
    let mut rest = pattern;
    let mut in_class = false;
    let mut repeated = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or("");
        let fault = |what: &str| Err(format!("`{what}` in `{pattern}` is not understood"));
        let mut step = c.len_utf8();
        let was_repeated = std::mem::take(&mut repeated);
        match c {
            '\\' => {
                let Some(escape) = after.chars().next() else {
                    return fault("\\");
                };
                step += escape.len_utf8();
                match escape {
                    'p' => step += category(after)?,
                    's' | 'r' | 'n' | 't' => {}
                    _ if escape.is_ascii_punctuation() => {}
                    _ => return fault(rest.get(..step).unwrap_or(rest)),
                }
            }
            '[' if in_class => return fault("["),
            '[' => in_class = true,
            ']' => in_class = false,
            '&' | '~' | '-' if in_class && after.starts_with(c) => {
                return fault("an operation on classes");
            }
            _ if in_class => {}
            '(' if after.starts_with('?')
                && !after.starts_with("?i:")
                && !after.starts_with("?:") =>
            {
                return fault(rest.get(..3).unwrap_or(rest));
            }
            '^' | '$' => return fault(rest.get(..1).unwrap_or(rest)),
            '+' | '?' if was_repeated => return fault("a repetition of a repetition"),
            '+' | '?' | '*' | '}' => repeated = true,
            _ => {}
        }
        rest = rest.get(step..).unwrap_or("");
    }
    Ok(())
}

/// Bytes of `{Lu}` behind `p`, where it names a general category.
fn category(after: &str) -> Result<usize, String> {
    let name = after
        .strip_prefix("p{")
        .and_then(|rest| rest.split_once('}'));
    match name {
        Some((name, _))
            if !name.is_empty() && NAMES.iter().any(|known| known.starts_with(name)) =>
        {
            Ok(name.len() + 2)
        }
        _ => Err(format!(
            "`\\{}` is no general category",
            after.chars().take(12).collect::<String>()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(patterns: &[&str], text: &str) -> Vec<String> {
        let stages = stages(patterns.iter().copied()).unwrap();
        let mut rest = text;
        let take = |len: usize| {
            let (piece, after) = rest.split_at(len);
            rest = after;
            piece.to_owned()
        };
        stages.split(text).into_iter().map(take).collect()
    }

    #[test]
    fn given_patterns_cut() {
        let found = cut(
            &[r"\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
            "Grüße  12345 !?\n\n x",
        );
        assert_eq!(
            found,
            ["Grüße", " ", " ", "12", "34", "5", " !?", "\n\n", " ", "x"]
        );
        assert_eq!(cut(&[r"\p{N}", r"[a-z]+"], "ab12C"), ["ab", "1", "2", "C"]);
        assert_eq!(cut(&[], "as it is"), ["as it is"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for pattern in [
            r"\d+",
            r"\w",
            r"\S+",
            r"(?=a)",
            r"(?!a)",
            r"(?<=a)b",
            r"a++",
            r"a?+",
            r"a*?+",
            r"^a",
            r"a$",
            r"\bx",
            r"\p{Han}+",
            r"\P{L}",
            r"\pL",
            r"[a&&b]",
            r"[[:alpha:]]",
            "ä",
            r"(a",
            "a\\",
            r"\1",
            r"(?i)a",
            "[a--b]",
        ] {
            assert!(stages([pattern].into_iter()).is_err(), "{pattern}");
        }
        let many = ["a"; MAX_PATTERNS + 1];
        assert!(stages(many.into_iter()).is_err());
        assert!(stages(["a".repeat(MAX_LEN + 1).as_str()].into_iter()).is_err());
    }
}

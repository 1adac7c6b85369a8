//! How byte-level tokenizers cut text before merging: the name that GGUF has for it, where there is one, and
//! the patterns themselves where there is none.

use super::super::HuggingFaceError;
use super::file::File;
use super::parts::{Part, Pattern, flat};
use super::unknown_part;
use crate::gguf::Value;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// As GPT-2's own file has it.
const GPT2_SHORT: &str = r"'(?:[sdmt]|ll|ve|re)";
const DIGIT: &str = r"\p{N}";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CODER: [&str; 5] = [
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[一-龥ࠀ-一가-퟿]+",
    DIGIT,
];
const V3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
];

/// Patterns, whether a piece that is a token is taken whole, and GGUF's name. Of several names for one
/// cut, the first that a model of this kind had.
const KNOWN: &[(&[&str], bool, &str)] = &[
    (&[GPT2], false, "gpt-2"),
    (&[DIGIT, GPT2], false, "smollm"),
    (&[LLAMA3], true, "llama-bpe"),
    (&[LLAMA3], false, "dbrx"),
    (&[QWEN2], false, "qwen2"),
    (&[QWEN35], false, "qwen35"),
    (&[GPT4O], false, "gpt-4o"),
    (&[TEKKEN], true, "tekken"),
    (&CODER, false, "deepseek-coder"),
    (&V3, false, "deepseek-v3"),
];

/// The keys under which the cut is written.
pub(super) fn pairs(file: &File) -> Result<Vec<(&'static str, Value)>, HuggingFaceError> {
    let mut pairs = Vec::new();
    for part in flat(file.normalizer.as_ref())? {
        match part.kind() {
            "NFC" => pairs.push(("ingle.nfc", true.into())),
            _ => return Err(part.unknown()),
        }
    }
    let mut patterns: Vec<String> = Vec::new();
    for part in flat(file.pre_tokenizer.as_ref())? {
        patterns.extend(pattern(part)?);
    }
    let whole = file.model.ignore_merges.unwrap_or(false);
    let plain: Vec<String> = patterns
        .iter()
        .map(|pattern| not_possessive(pattern))
        .collect();
    let known = KNOWN
        .iter()
        .find(|(known, takes_whole, _)| *takes_whole == whole && known.iter().eq(plain.iter()));
    if let Some(&(_, _, name)) = known {
        pairs.push(("pre", name.into()));
        return Ok(pairs);
    }
    // Programs that do not know the patterns fall back to something near.
    pairs.push(("pre", "qwen2".into()));
    pairs.push(("ingle.pre_patterns", patterns.into()));
    pairs.push(("ingle.whole_pieces", whole.into()));
    Ok(pairs)
}

/// The pattern of one part: every match becomes a piece, and what lies between too.
fn pattern(part: Part<'_>) -> Result<Option<String>, HuggingFaceError> {
    match part.kind() {
        "ByteLevel" => {
            if part.bool("add_prefix_space") == Some(true) {
                return Err(unknown_part(
                    "a space is put before the first word (`add_prefix_space`)",
                ));
            }
            Ok(part
                .bool("use_regex")
                .unwrap_or(true)
                .then(|| GPT2.to_owned()))
        }
        "Digits" => Ok(Some(match part.bool("individual_digits") {
            Some(true) => DIGIT.to_owned(),
            _ => format!("{DIGIT}+"),
        })),
        "Split" => {
            let inverted = part.bool("invert").unwrap_or(false);
            let Some(Pattern::Regex(regex)) = part.pattern("pattern") else {
                return Err(part.unknown());
            };
            match (part.str("behavior").unwrap_or(""), inverted) {
                ("Isolated", _) | ("Removed", true) => {}
                _ => return Err(part.unknown()),
            }
            Ok(Some(regex.replacen(
                GPT2_SHORT,
                "'s|'t|'re|'ve|'m|'ll|'d",
                1,
            )))
        }
        _ => Err(part.unknown()),
    }
}

/// Without the `+` behind a repetition that forbids going back: in the known patterns nothing is gained by
/// going back.
fn not_possessive(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    // The character before, where it ends a repetition; `\p{L}` does not.
    let mut ends_repetition = false;
    let mut escaped = false;
    let mut named = false;
    let mut in_class = false;
    for c in pattern.chars() {
        if c == '+' && !escaped && ends_repetition {
            ends_repetition = false;
            continue;
        }
        out.push(c);
        match c {
            '[' if !escaped => in_class = true,
            ']' if !escaped => in_class = false,
            _ => {}
        }
        let repeats = matches!(c, '+' | '?' | '*') || c == '}' && !named;
        ends_repetition = repeats && !escaped && !in_class;
        named = match c {
            'p' | 'P' if escaped => true,
            '}' => false,
            _ => named,
        };
        escaped = c == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possessive_repetitions_become_plain() {
        let found = not_possessive(r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|\++");
        assert_eq!(found, r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\++");
        for (patterns, _, name) in KNOWN {
            for pattern in *patterns {
                assert_eq!(not_possessive(pattern), *pattern, "{name}");
            }
        }
    }
}

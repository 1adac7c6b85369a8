//! Tokenizers in the manner of SentencePiece: what happens to spaces before the model sees the text.

use super::super::HuggingFaceError;
use super::file::File;
use super::parts::{Part, Pattern, flat};
use super::unknown_part;

/// How SentencePiece writes a space.
pub(super) const SPACE: &str = "▁";

/// Where a space is put before text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Prefix {
    #[default]
    None,
    /// Before each stretch of text between special tokens.
    Always,
    /// As before, where the stretch does not begin with a space.
    Missing,
    /// As before, at the beginning of the whole text alone.
    First,
}

/// All that the normaliser and the pre-tokenizer do.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    pub(super) prefix: Prefix,
    /// Runs of spaces become one, and those at the ends vanish.
    pub(super) merge: bool,
    /// A piece never reaches over a space.
    pub(super) split: bool,
    /// `precompiled_charsmap` of SentencePiece.
    pub(super) charsmap: Option<Vec<u8>>,
}

impl Spaces {
    pub(super) fn read(file: &File) -> Result<Self, HuggingFaceError> {
        let mut spaces = Self::default();
        let mut escaped = false;
        for part in flat(file.normalizer.as_ref())? {
            spaces.normalizer(part, &mut escaped)?;
        }
        for part in flat(file.pre_tokenizer.as_ref())? {
            spaces.pre_tokenizer(part, &mut escaped)?;
        }
        match escaped {
            true => Ok(spaces),
            false => Err(unknown_part("no part of it writes spaces as `▁`")),
        }
    }

    fn normalizer(&mut self, part: Part<'_>, escaped: &mut bool) -> Result<(), HuggingFaceError> {
        let replace = (part.pattern("pattern"), part.str("content"));
        match (part.kind(), replace) {
            ("Prepend", _) if part.str("prepend") == Some(SPACE) => self.prefix = Prefix::Always,
            ("Replace", (Some(Pattern::Text(" ")), Some(SPACE))) => *escaped = true,
            ("Replace", (Some(Pattern::Regex(" {2,}")), Some(" " | SPACE))) => self.merge = true,
            ("Precompiled", _) => {
                let text = part.str("precompiled_charsmap").unwrap_or("");
                let bytes = base64(text).ok_or_else(|| part.unknown())?;
                self.charsmap = Some(bytes);
            }
            // What SentencePiece does to the ends of a text.
            ("Strip", _) if self.charsmap.is_some() => {}
            _ => return Err(part.unknown()),
        }
        Ok(())
    }

    fn pre_tokenizer(
        &mut self,
        part: Part<'_>,
        escaped: &mut bool,
    ) -> Result<(), HuggingFaceError> {
        match part.kind() {
            "WhitespaceSplit" => self.merge = true,
            "Metaspace" if part.str("replacement").is_none_or(|text| text == SPACE) => {
                *escaped = true;
                self.split = part.bool("split").unwrap_or(true);
                let old = match part.bool("add_prefix_space") {
                    Some(false) => "never",
                    _ => "always",
                };
                self.prefix = match part.str("prepend_scheme").unwrap_or(old) {
                    "never" => self.prefix,
                    "first" => Prefix::First,
                    "always" => Prefix::Missing,
                    _ => return Err(part.unknown()),
                };
            }
            // Spaces have become `▁` by then: it finds nothing (the Gemmas have it).
            "Split" if *escaped && part.pattern("pattern") == Some(Pattern::Text(" ")) => {}
            _ => return Err(part.unknown()),
        }
        Ok(())
    }
}

/// RFC 4648, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte.checked_sub(b'A')?,
            b'a'..=b'z' => byte.checked_sub(b'a')?.checked_add(26)?,
            b'0'..=b'9' => byte.checked_sub(b'0')?.checked_add(52)?,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = ((bits << 6) | u32::from(value)) & 0x3fff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let known = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (text, bytes) in known {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64("+/8=").unwrap(), [0xfb, 0xff]);
        assert_eq!(base64("a b"), None);
    }
}

//! What tokenizers of Hugging Face do to a text that GGUF has no key for. Folders that are read here say it
//! under keys of their own, `tokenizer.ingle.*`; files of other programs have none of them.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::VocabularyError;
use super::partition::Fragment;
use crate::gguf::Metadata;

/// Before which stretches of text a space is put, where `add_space_prefix` asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Prefix {
    /// Those at the beginning and after special tokens.
    #[default]
    Always,
    /// Of these, those that do not begin with a space.
    Missing,
    /// Of these, the one at the beginning.
    First,
}

/// What stands before a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Start,
    /// A special token.
    Special,
    /// Another stretch.
    Text,
}

impl Before {
    /// What stands before the stretch that follows this fragment.
    pub(super) fn after(fragment: &Fragment<'_>) -> Self {
        match fragment {
            Fragment::Token(_) => Self::Special,
            _ => Self::Text,
        }
    }
}

/// How text is prepared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spaces {
    prefix: Prefix,
    /// Characters are composed first (Unicode's form C).
    compose: bool,
}

impl Spaces {
    pub(super) fn read(metadata: &Metadata) -> Result<Self, VocabularyError> {
        let prefix = match metadata.str("tokenizer.ingle.space_prefix")? {
            Some("missing") => Prefix::Missing,
            Some("first") => Prefix::First,
            _ => Prefix::Always,
        };
        let compose = metadata.bool("tokenizer.ingle.nfc")?.unwrap_or(false);
        Ok(Self { prefix, compose })
    }

    /// Whether a space is put before this stretch.
    pub(super) fn wants_prefix(self, text: &str, before: Before) -> bool {
        let missing = !text.starts_with([' ', '▁']);
        match (self.prefix, before) {
            (_, Before::Text) => false,
            (Prefix::Always, _) => true,
            (Prefix::Missing, _) => missing,
            (Prefix::First, before) => before == Before::Start && missing,
        }
    }

    /// The text in the form that the tokenizer was trained on.
    pub(super) fn compose(self, text: &str) -> Cow<'_, str> {
        match self.compose && is_nfc_quick(text.chars()) != IsNormalized::Yes {
            true => Cow::Owned(text.nfc().collect()),
            false => Cow::Borrowed(text),
        }
    }
}

//! The tokens of a vocabulary: texts, types, and the way from a text to its token.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::VocabularyError;
use crate::TokenId;

/// More tokens than any published vocabulary has (the largest have about 260 thousand).
const MAX_TOKENS: usize = 1 << 22;
/// Longer than any published token (the longest, runs of spaces, have a few hundred bytes).
pub(super) const MAX_TOKEN_BYTES: usize = 4096;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for text that has no token.
    Unknown,
    /// Steers the model (`<|im_end|>`), and is no text.
    Control,
    /// Text that is found before any other rule is applied.
    UserDefined,
    /// Not in use.
    Unused,
    /// One byte, for text that has no token (`<0x0A>`).
    Byte,
}

/// A set of properties of one token. A token can have several: some files mark as normal what is
/// known to be a control token by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Attributes(u8);

impl Attributes {
    pub(super) const NORMAL: Self = Self(1);
    pub(super) const UNKNOWN: Self = Self(2);
    pub(super) const CONTROL: Self = Self(4);
    pub(super) const USER_DEFINED: Self = Self(8);
    pub(super) const UNUSED: Self = Self(16);
    pub(super) const BYTE: Self = Self(32);
    /// White space before the token is dropped.
    pub(super) const LEFT_STRIP: Self = Self(64);
    /// White space after the token is dropped.
    pub(super) const RIGHT_STRIP: Self = Self(128);

    /// From the number in `tokenizer.ggml.token_type`.
    fn from_gguf(number: i32) -> Self {
        match number {
            1 => Self::NORMAL,
            2 => Self::UNKNOWN,
            3 => Self::CONTROL,
            4 => Self::USER_DEFINED,
            5 => Self::UNUSED,
            6 => Self::BYTE,
            _ => Self::default(),
        }
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it has any property of `other`.
    pub(super) const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn kind(self) -> TokenKind {
        let kinds = [
            (Self::CONTROL, TokenKind::Control),
            (Self::USER_DEFINED, TokenKind::UserDefined),
            (Self::UNKNOWN, TokenKind::Unknown),
            (Self::BYTE, TokenKind::Byte),
            (Self::NORMAL, TokenKind::Normal),
        ];
        let found = kinds
            .into_iter()
            .find(|(attribute, _)| self.any(*attribute));
        found.map_or(TokenKind::Unused, |(_, kind)| kind)
    }
}

/// Texts and attributes of all tokens.
///
/// The texts lie one after the other in one string; the table holds ids alone.
#[derive(Clone)]
pub(super) struct Tokens {
    texts: String,
    /// Where the text of each token ends.
    ends: Vec<u32>,
    attributes: Vec<Attributes>,
    by_text: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Bytes of the longest text.
    longest: usize,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// Collects tokens; `kinds` are the numbers of `tokenizer.ggml.token_type`, and where there are
    /// none every token is normal. A token without text is called `[EMPTY_id]`.
    pub(super) fn new<'a>(
        texts: impl ExactSizeIterator<Item = &'a str>,
        kinds: Option<&[i32]>,
    ) -> Result<Self, VocabularyError> {
        let count = texts.len();
        if count == 0 {
            return Err(VocabularyError::Empty);
        }
        if count > MAX_TOKENS {
            return Err(VocabularyError::TooManyTokens {
                count,
                limit: MAX_TOKENS,
            });
        }
        if let Some(kinds) = kinds
            && kinds.len() < count
        {
            return Err(VocabularyError::TooShort {
                key: "tokenizer.ggml.token_type",
                tokens: count,
                found: kinds.len(),
            });
        }
        let attributes = match kinds {
            Some(kinds) => kinds
                .iter()
                .take(count)
                .map(|&k| Attributes::from_gguf(k))
                .collect(),
            None => vec![Attributes::NORMAL; count],
        };
        let mut tokens = Self {
            texts: String::new(),
            ends: Vec::with_capacity(count),
            attributes,
            by_text: HashTable::with_capacity(count),
            hasher: DefaultHashBuilder::default(),
            longest: 0,
        };
        for (id, text) in (0_u32..).zip(texts) {
            if text.is_empty() {
                tokens.push(id, &format!("[EMPTY_{id}]"))?;
            } else {
                tokens.push(id, text)?;
            }
        }
        tokens.texts.shrink_to_fit();
        Ok(tokens)
    }

    fn push(&mut self, id: u32, text: &str) -> Result<(), VocabularyError> {
        let len = text.len();
        if len > MAX_TOKEN_BYTES {
            return Err(VocabularyError::TokenTooLong {
                id,
                len,
                limit: MAX_TOKEN_BYTES,
            });
        }
        let Self {
            texts,
            ends,
            by_text,
            hasher,
            ..
        } = self;
        let same = |&other: &u32| text_of(texts, ends, other) == Some(text);
        let rehash = |&other: &u32| hasher.hash_one(text_of(texts, ends, other).unwrap_or(""));
        match by_text.entry(hasher.hash_one(text), same, rehash) {
            Entry::Occupied(found) => {
                let (first, text) = (*found.get(), text.to_owned());
                return Err(VocabularyError::DuplicateToken {
                    first,
                    second: id,
                    text,
                });
            }
            Entry::Vacant(place) => place.insert(id),
        };
        self.texts.push_str(text);
        // Fails beyond 4 GiB of text.
        let end = u32::try_from(self.texts.len()).map_err(|_| VocabularyError::TokenTooLong {
            id,
            len,
            limit: MAX_TOKEN_BYTES,
        })?;
        self.ends.push(end);
        self.longest = self.longest.max(len);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the longest text.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn text(&self, id: TokenId) -> Option<&str> {
        text_of(&self.texts, &self.ends, id.0)
    }

    /// The texts, in the order of the ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TokenId, &str)> {
        (0_u32..).map_while(|id| Some((TokenId(id), self.text(TokenId(id))?)))
    }

    /// The token with this text.
    pub(super) fn find(&self, text: &str) -> Option<TokenId> {
        let same = |&id: &u32| text_of(&self.texts, &self.ends, id) == Some(text);
        self.by_text
            .find(self.hasher.hash_one(text), same)
            .map(|&id| TokenId(id))
    }

    pub(super) fn attributes(&self, id: TokenId) -> Attributes {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.attributes.get(index).copied().unwrap_or_default()
    }

    pub(super) fn set_attributes(&mut self, id: TokenId, attributes: Attributes) {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        if let Some(slot) = self.attributes.get_mut(index) {
            *slot = attributes;
        }
    }
}

fn text_of<'a>(texts: &'a str, ends: &[u32], id: u32) -> Option<&'a str> {
    let index = usize::try_from(id).ok()?;
    let end = usize::try_from(*ends.get(index)?).ok()?;
    let start = match index.checked_sub(1) {
        Some(before) => usize::try_from(*ends.get(before)?).ok()?,
        None => 0,
    };
    texts.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_ids_lead_to_each_other() {
        let tokens = Tokens::new(["a", "", "bc"].into_iter(), None).unwrap();
        assert_eq!(tokens.find("bc"), Some(TokenId(2)));
        assert_eq!(tokens.text(TokenId(1)), Some("[EMPTY_1]"));
        assert_eq!(tokens.text(TokenId(3)), None);
        assert_eq!(tokens.find("b"), None);
    }

    #[test]
    fn duplicates_are_refused_with_both_ids() {
        let error = Tokens::new(["a", "b", "a"].into_iter(), None).unwrap_err();
        assert!(matches!(
            error,
            VocabularyError::DuplicateToken {
                first: 0,
                second: 2,
                ..
            }
        ));
    }

    #[test]
    fn types_for_too_few_tokens_are_refused() {
        let error = Tokens::new(["a", "b"].into_iter(), Some(&[1])).unwrap_err();
        assert!(matches!(
            error,
            VocabularyError::TooShort {
                tokens: 2,
                found: 1,
                ..
            }
        ));
    }

    /// GHSA-7rxv-5jhh-j6xx: the length of a token was cast to a signed 32-bit integer, and a
    /// negative length passed the check before a copy.
    #[test]
    fn ghsa_7rxv_5jhh_j6xx_a_token_of_hostile_length_is_refused() {
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);
        let error = Tokens::new(["a", long.as_str()].into_iter(), None).unwrap_err();
        assert!(matches!(error, VocabularyError::TokenTooLong { id: 1, .. }));
    }
}

//! WordPiece with the normalisation of BERT (Devlin et al. 2019): words at white space, each
//! punctuation mark and each Chinese character, then the longest tokens from the left.
//!
//! This is BERT's own normalisation. llama.cpp departs from it in three places, where text becomes
//! other tokens than in training: it keeps only the first part of a Hangul syllable, drops spacing
//! and enclosing marks as if they were accents, and takes vertical tabs, form feeds and U+0085 as
//! spaces where BERT drops them.
//!
//! In GGUF files a token that begins a word begins with `▁`, and a token that continues one has no
//! mark (the vocabulary of BERT itself marks the latter with `##`).

use unicode_normalization::UnicodeNormalization;

use super::tokens::Tokens;
use super::unicode::Category;
use crate::TokenId;

/// A word with more characters becomes the unknown token, as in BERT's own tokenizer.
const MAX_WORD_CHARS: usize = 100;

/// How text is normalised.
#[derive(Debug, Clone)]
pub(super) struct WordPiece {
    pub(super) lower_case: bool,
    pub(super) strip_accents: bool,
}

/// Ideographs that BERT takes as words of one character.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_b73f
        | 0x2_b740..=0x2_b81f | 0x2_b920..=0x2_ceaf | 0xf900..=0xfaff | 0x2_f800..=0x2_fa1f)
}

impl WordPiece {
    /// Appends the tokens of `text`.
    pub(super) fn encode(
        &self,
        tokens: &Tokens,
        text: &str,
        unknown: Option<TokenId>,
        out: &mut Vec<TokenId>,
    ) {
        let mut word = String::from(super::SPACE);
        let mut finish = |word: &mut String| {
            if word.len() > super::SPACE.len() {
                self.word(tokens, word, unknown, out);
                word.truncate(super::SPACE.len());
            }
        };
        self.normalise(text, |c| {
            let category = Category::of(c);
            if c.is_whitespace() {
                finish(&mut word);
            } else if category.is_punctuation()
                || (c.is_ascii() && category.is_symbol())
                || is_chinese(c)
            {
                finish(&mut word);
                word.push(c);
                finish(&mut word);
            } else {
                word.push(c);
            }
        });
        finish(&mut word);
    }

    /// Hands on the characters that are left of the text: no control characters, and where asked
    /// for no accents and no capitals.
    fn normalise(&self, text: &str, mut each: impl FnMut(char)) {
        let mut clean = |c: char| {
            let category = Category::of(c);
            let control = category.is_control() && !matches!(c, '\t' | '\n' | '\r');
            let accent = self.strip_accents && category == Category::NONSPACING_MARK;
            if control || accent || c == char::REPLACEMENT_CHARACTER {
                return;
            }
            if self.lower_case {
                c.to_lowercase().for_each(&mut each);
            } else {
                each(c);
            }
        };
        if self.strip_accents {
            text.nfd().for_each(&mut clean);
        } else {
            text.chars().for_each(&mut clean);
        }
    }

    /// Appends the tokens of one word, which begins with `▁`; the unknown token where it cannot be
    /// made of tokens.
    fn word(&self, tokens: &Tokens, word: &str, unknown: Option<TokenId>, out: &mut Vec<TokenId>) {
        let before = out.len();
        if word.chars().count() > MAX_WORD_CHARS + super::SPACE.chars().count() {
            out.extend(unknown);
            return;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let Some((token, len)) = longest_prefix(tokens, rest) else {
                out.truncate(before);
                out.extend(unknown);
                return;
            };
            out.push(token);
            rest = rest.get(len..).unwrap_or("");
        }
    }
}

/// The longest token that `text` begins with, and its bytes.
fn longest_prefix(tokens: &Tokens, text: &str) -> Option<(TokenId, usize)> {
    let mut end = text.len().min(tokens.longest());
    while end > 0 {
        if let Some(token) = text.get(..end).and_then(|prefix| tokens.find(prefix)) {
            return Some((token, end));
        }
        end -= 1;
    }
    None
}

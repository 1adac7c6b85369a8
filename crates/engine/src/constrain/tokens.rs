//! A vocabulary as llguidance knows it.

use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Encode, TokenKind, Vocabulary};
use std::sync::Arc;
use toktrie::{TokRxInfo, TokTrie, TokenizerEnv};

/// The bytes of every token in a trie, made once a vocabulary.
pub(super) struct Tokens {
    vocabulary: Arc<Vocabulary>,
    trie: TokTrie,
}

/// The token that ends an answer: the end of a turn, or of a text, or another one that does.
pub fn end_token(vocabulary: &Vocabulary) -> Option<TokenId> {
    let named = [vocabulary.roles().eot, vocabulary.eos()];
    let ends = vocabulary.ends_of_generation();
    let named = named
        .into_iter()
        .flatten()
        .find(|token| ends.contains(token));
    named.or(ends.first().copied())
}

/// Whether a token is no text: a grammar must name it.
pub(crate) fn is_mark(vocabulary: &Vocabulary, token: TokenId) -> bool {
    match vocabulary.kind(token) {
        Some(TokenKind::Control | TokenKind::Unknown) => true,
        // Marks of a format that are shown as text.
        Some(TokenKind::UserDefined) => {
            let text = vocabulary.token_text(token).unwrap_or_default();
            text.starts_with("<|") && text.ends_with("|>")
        }
        _ => false,
    }
}

impl Tokens {
    /// `None` where no token ends an answer.
    pub fn new(vocabulary: Arc<Vocabulary>) -> Option<Self> {
        let ends: Vec<u32> = vocabulary
            .ends_of_generation()
            .iter()
            .map(|t| t.0)
            .collect();
        let end = end_token(&vocabulary)?.0;
        let word = |id: u32| {
            let (token, mut bytes) = (TokenId(id), Vec::new());
            if is_mark(&vocabulary, token) {
                bytes.push(TokTrie::SPECIAL_TOKEN_MARKER);
                bytes.extend(vocabulary.token_text(token).unwrap_or_default().as_bytes());
            } else {
                vocabulary.piece(token, false, &mut bytes);
            }
            bytes
        };
        let n = vocabulary.len() as u32;
        let words: Vec<Vec<u8>> = (0..n).map(word).collect();
        let trie = TokTrie::from(&TokRxInfo::new(n, end), &words).with_eos_tokens(&ends);
        Some(Self { vocabulary, trie })
    }
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        let encode = |text: &str| {
            let tokens = self.vocabulary.encode(text, Encode::default());
            tokens.into_iter().map(|t| t.0).collect()
        };
        let tokens = self.trie.tokenize_with_greedy_fallback(bytes, encode);
        // What a vocabulary writes otherwise (a space without a token of its own) is not the text.
        match self.trie.decode(&tokens) == bytes {
            true => tokens,
            false => self.trie.greedy_tokenize(bytes),
        }
    }

    /// A text in the middle of another one has other tokens where a space is put before it.
    fn tokenize_is_canonical(&self) -> bool {
        !self.vocabulary.add_space_prefix()
    }
}

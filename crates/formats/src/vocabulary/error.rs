//! What can be wrong with a vocabulary, and what is worth a warning.

use crate::gguf::GgufError;

/// Why metadata hold no vocabulary that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum VocabularyError {
    #[error(transparent)]
    Metadata(#[from] GgufError),
    #[error(
        "this file holds no vocabulary: `tokenizer.ggml.model` is \"{}\"; use the vocabulary of the model that it belongs to",
        model.escape_debug()
    )]
    NoVocabulary { model: String },
    #[error(
        "the tokenizer model \"{}\" (`tokenizer.ggml.model`) is not supported; gpt2, gemma4, llama, bert and t5 are",
        model.escape_debug()
    )]
    UnknownModel { model: String },
    #[error("the vocabulary is empty; the file is damaged: convert the model again")]
    Empty,
    #[error(
        "the vocabulary has {count} tokens and at most {limit} are allowed; no known model has so many, so the file is refused"
    )]
    TooManyTokens { count: usize, limit: usize },
    #[error(
        "token {id} is {len} bytes long and at most {limit} are allowed; the file is damaged: convert the model again"
    )]
    TokenTooLong { id: u32, len: usize, limit: usize },
    #[error(
        "tokens {first} and {second} are both \"{}\"; the file is damaged: convert the model again",
        text.escape_debug()
    )]
    DuplicateToken {
        first: u32,
        second: u32,
        text: String,
    },
    #[error(
        "`{key}` has {found} entries for {tokens} tokens; the file is damaged: convert the model again"
    )]
    TooShort {
        key: &'static str,
        tokens: usize,
        found: usize,
    },
    #[error(
        "the score of token {id} is not a number; the file is damaged: convert the model again"
    )]
    Score { id: u32 },
    #[error(
        "merge {index} is \"{}\", and a merge is two tokens with a space between; the file is damaged: convert the model again",
        text.escape_debug()
    )]
    Merge { index: usize, text: String },
    #[error(
        "there are {count} merges and at most {limit} are allowed; no known model has so many, so the file is refused"
    )]
    TooManyMerges { count: usize, limit: usize },
    #[error(
        "`{key}` names token {id} and the vocabulary has {tokens}; the file is damaged: convert the model again"
    )]
    TokenOutOfRange {
        key: &'static str,
        id: i128,
        tokens: usize,
    },
    #[error(
        "`{flag}` asks for a token that the file does not name (`{key}`); convert the model again"
    )]
    SpecialTokenMissing {
        flag: &'static str,
        key: &'static str,
    },
    #[error(
        "`tokenizer.ggml.precompiled_charsmap` is damaged: {what} (byte {at}); convert the model again"
    )]
    Charsmap { what: &'static str, at: usize },
    #[error("a pattern of the pre-tokenizer \"{name}\" is faulty: {reason}; please report this")]
    Pattern { name: String, reason: String },
    #[error("the special tokens could not be indexed: {reason}; please report this")]
    SpecialTokens { reason: String },
}

/// Something about a vocabulary that a person should know: text may become other tokens than those
/// that the model was trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum Warning {
    /// `tokenizer.ggml.pre` is absent.
    NoPreTokenizer,
    /// `tokenizer.ggml.pre` holds an unknown name.
    UnknownPreTokenizer { name: String },
    /// Merges whose parts or result are no tokens.
    MergesWithoutToken { count: usize },
    /// Bytes of UTF-8 text that no token stands for.
    BytesWithoutToken { count: usize },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPreTokenizer => f.write_str(
                "the file does not name its pre-tokenizer (`tokenizer.ggml.pre`), so the default is used; \
                 answers may be worse than they should be: look for a newer conversion of the model",
            ),
            Self::UnknownPreTokenizer { name } => write!(
                f,
                "the pre-tokenizer \"{}\" is unknown, so the default is used; answers may be worse than \
                 they should be: look for a newer version of this program",
                name.escape_debug()
            ),
            Self::MergesWithoutToken { count } => write!(
                f,
                "{count} merges name no token; the vocabulary is incomplete: look for another conversion of the model"
            ),
            Self::BytesWithoutToken { count } => write!(
                f,
                "{count} bytes of UTF-8 have no token, so text with them becomes the unknown token or is left out"
            ),
        }
    }
}

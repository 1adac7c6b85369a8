//! tokenizer.json as it is written: the vocabulary and the merges typed, for they are large; the parts of
//! the pipeline as JSON, for they are small and of many kinds.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::super::HuggingFaceError;
use super::super::json::single;
use super::unknown_part;

/// The name of the file, for messages.
pub(super) const NAME: &str = "tokenizer.json";

/// The whole file.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) added_tokens: Vec<Added>,
    pub(super) normalizer: Option<Value>,
    pub(super) pre_tokenizer: Option<Value>,
    pub(super) post_processor: Option<Value>,
    pub(super) decoder: Option<Value>,
    pub(super) model: Model,
}

/// A token that is found before text is cut.
#[derive(Debug, Deserialize)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
}

/// The model: which fields there are depends on its kind.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    name: Option<String>,
    pub(super) vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Option<Vec<Merge>>,
    pub(super) unk_token: Option<String>,
    pub(super) unk_id: Option<u32>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
    pub(super) dropout: Option<f64>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
}

/// The kinds of models that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bpe,
    Unigram,
    WordPiece,
}

impl File {
    pub(super) fn parse(text: &[u8]) -> Result<Self, HuggingFaceError> {
        serde_json::from_slice(text).map_err(|error| HuggingFaceError::Json {
            file: NAME,
            reason: error.to_string(),
        })
    }
}

impl Model {
    /// By name; old files do not name it.
    pub(super) fn kind(&self) -> Result<Kind, HuggingFaceError> {
        match (self.name.as_deref(), &self.vocab) {
            (Some("BPE"), _) => Ok(Kind::Bpe),
            (Some("Unigram"), _) | (None, Vocab::List(_)) => Ok(Kind::Unigram),
            (Some("WordPiece"), _) => Ok(Kind::WordPiece),
            (None, _) if self.merges.is_some() => Ok(Kind::Bpe),
            (None, _) => Ok(Kind::WordPiece),
            (Some(other), _) => Err(unknown_part(format!(
                "the model `{}` is not known",
                other.escape_debug()
            ))),
        }
    }
}

/// Tokens with their numbers, or in order with their scores.
#[derive(Debug)]
pub(super) enum Vocab {
    Map(Vec<(String, u32)>),
    List(Vec<(String, f32)>),
}

impl Vocab {
    /// The tokens with their numbers.
    pub(super) fn numbered(&self) -> Box<dyn Iterator<Item = (&str, u32)> + '_> {
        match self {
            Self::Map(tokens) => Box::new(tokens.iter().map(|(text, id)| (text.as_str(), *id))),
            Self::List(tokens) => Box::new(
                tokens
                    .iter()
                    .zip(0..)
                    .map(|((text, _), id)| (text.as_str(), id)),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VocabVisitor)
    }
}

struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = Vocab;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tokens and numbers, or an array of tokens and scores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
        let mut tokens = Vec::new();
        while let Some(pair) = map.next_entry()? {
            tokens.push(pair);
        }
        Ok(Vocab::Map(tokens))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vocab, A::Error> {
        let mut tokens = Vec::new();
        while let Some((text, score)) = seq.next_element::<(String, Value)>()? {
            let score = single(&score).ok_or_else(|| A::Error::custom("a score is no number"))?;
            tokens.push((text, score));
        }
        Ok(Vocab::List(tokens))
    }
}

/// Two texts that become one: `["a", "b"]`, in old files `"a b"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merge(pub(super) String, pub(super) String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = Merge;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("two texts, as `[\"a\", \"b\"]` or `\"a b\"`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Merge, E> {
        match text.split_once(' ') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains(' ') =>
            {
                Ok(Merge(left.to_owned(), right.to_owned()))
            }
            _ => Err(E::custom(
                "a merge is not two texts with a space between them",
            )),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
        let missing = || A::Error::custom("a merge has not two texts");
        let left = seq.next_element()?.ok_or_else(missing)?;
        let right = seq.next_element()?.ok_or_else(missing)?;
        match seq.next_element::<String>()? {
            None => Ok(Merge(left, right)),
            Some(_) => Err(missing()),
        }
    }
}

//! The vocabulary of a folder under GGUF's keys.
//!
//! tokenizer.json comes first; where it is absent, `tokenizer.model` (SentencePiece) or `vocab.txt` (BERT).
//! A tokenizer.json is a pipeline of parts that can be put together in any way; those that published
//! models have are known here, and any other is refused by name, because text cut in another way than in
//! training gives worse answers that nobody can explain.

mod added;
mod bpe;
mod file;
mod parts;
mod pre;
mod roles;
mod sentencepiece;
mod spaces;
mod template;
mod unigram;
mod wordpiece;

use std::collections::BTreeMap;

use super::HuggingFaceError;
use super::Texts;
use super::architecture::Architecture;
use super::json::Json;
use crate::gguf::Value;
use file::File;

/// The numbers that `tokenizer.ggml.token_type` holds.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// The tokens by number, some of which may not be named.
#[derive(Debug)]
struct Table {
    texts: Vec<Option<String>>,
    kinds: Vec<i32>,
    /// Empty where the tokenizer has none.
    scores: Vec<f32>,
    by_text: BTreeMap<String, u32>,
}

/// What a tokenizer is beside its tokens.
#[derive(Debug, Default)]
struct Rules {
    /// Keys without `tokenizer.ggml.`.
    pairs: Vec<(&'static str, Value)>,
    /// Text of the token that stands for what has none.
    unknown: Option<String>,
    /// What is put around a text: numbers of tokens.
    around: Around,
    /// Tokens that drop the white space after them, or before them.
    right_strip: Vec<u32>,
    left_strip: Vec<u32>,
}

/// The tokens before and after a text.
#[derive(Debug, Default, Clone)]
struct Around {
    before: Vec<u32>,
    after: Vec<u32>,
    /// Whether the file says so.
    is_said: bool,
}

impl Table {
    /// Unnamed tokens for each of the embedding's rows.
    fn new(rows: u32) -> Self {
        let rows = usize::try_from(rows).unwrap_or(0);
        Self {
            texts: vec![None; rows],
            kinds: vec![kind::UNUSED; rows],
            scores: Vec::new(),
            by_text: BTreeMap::new(),
        }
    }

    fn len(&self) -> usize {
        self.texts.len()
    }

    /// Names a token, in place of what it was called before.
    fn set(
        &mut self,
        file: &'static str,
        id: u32,
        text: &str,
        kind: i32,
    ) -> Result<(), HuggingFaceError> {
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        let rows = self.len();
        let (Some(slot), Some(kind_slot)) = (self.texts.get_mut(index), self.kinds.get_mut(index))
        else {
            let text: String = text.chars().take(40).collect();
            let what = format!(
                "token {id} (`{}`) has no row in the embedding, which has {rows}",
                text.escape_debug()
            );
            return Err(HuggingFaceError::Vocabulary { file, what });
        };
        if let Some(&first) = self.by_text.get(text)
            && first != id
        {
            let text: String = text.chars().take(40).collect();
            let what = format!("tokens {first} and {id} are both `{}`", text.escape_debug());
            return Err(HuggingFaceError::Vocabulary { file, what });
        }
        if let Some(before) = slot.replace(text.to_owned()) {
            self.by_text.remove(&before);
        }
        *kind_slot = kind;
        self.by_text.insert(text.to_owned(), id);
        Ok(())
    }

    fn find(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// Tokens, types and scores as GGUF has them. A row that no token names is called by its number.
    fn pairs(mut self) -> Vec<(&'static str, Value)> {
        let rows = self.len();
        let mut texts = Vec::with_capacity(rows);
        for (id, text) in self.texts.into_iter().enumerate() {
            let mut name = text.unwrap_or_else(|| {
                let mut name = format!("[PAD{id}]");
                while self.by_text.contains_key(&name) {
                    name.push('_');
                }
                name
            });
            if name.is_empty() {
                name = format!("[EMPTY{id}]");
            }
            texts.push(name);
        }
        let mut pairs = vec![("tokens", texts.into()), ("token_type", self.kinds.into())];
        if !self.scores.is_empty() {
            self.scores.resize(rows, 0.0);
            pairs.push(("scores", self.scores.into()));
        }
        pairs
    }
}

/// The keys `tokenizer.*` for an embedding of `rows` rows.
pub(super) fn metadata(
    texts: &Texts,
    architecture: &Architecture,
    config: &Json,
    rows: u32,
) -> Result<Vec<(String, Value)>, HuggingFaceError> {
    let (mut table, mut rules) = match (&texts.tokenizer, &texts.sentencepiece, &texts.vocab) {
        (Some(text), _, _) => {
            let file = File::parse(text)?;
            from_file(&file, rows)?
        }
        (None, Some(bytes), _) => sentencepiece::read(bytes, rows)?,
        (None, None, Some(text)) => wordpiece::from_lines(text, rows)?,
        (None, None, None) => return Err(HuggingFaceError::NoVocabulary),
    };
    let said = roles::Said::read(texts, config)?;
    if texts.tokenizer.is_none() {
        said.add_tokens(&mut table, &mut rules)?;
    }
    if architecture.is_encoder() {
        let types = config.u32("type_vocab_size")?.unwrap_or(1);
        rules.pairs.push(("token_type_count", types.into()));
    }
    said.write(&table, &mut rules);
    let mut pairs: Vec<(String, Value)> = Vec::new();
    let all = rules.pairs.into_iter().chain(table.pairs());
    pairs.extend(all.map(|(key, value)| match key.starts_with("ingle.") {
        true => (format!("tokenizer.{key}"), value),
        false => (format!("tokenizer.ggml.{key}"), value),
    }));
    for (key, ids) in [
        ("tokenizer.ingle.right_strip", rules.right_strip),
        ("tokenizer.ingle.left_strip", rules.left_strip),
    ] {
        if !ids.is_empty() {
            pairs.push((key.to_owned(), ids.into()));
        }
    }
    template::write(texts, &mut pairs)?;
    Ok(pairs)
}

fn from_file(file: &File, rows: u32) -> Result<(Table, Rules), HuggingFaceError> {
    let mut table = Table::new(rows);
    let mut rules = match file.model.kind()? {
        file::Kind::Bpe if bpe::is_byte_level(file) => bpe::byte_level(file, &mut table)?,
        file::Kind::Bpe => bpe::sentencepiece(file, &mut table)?,
        file::Kind::Unigram => unigram::read(file, &mut table)?,
        file::Kind::WordPiece => wordpiece::read(file, &mut table)?,
    };
    added::add(file, &mut table, &mut rules)?;
    rules.around = parts::around(file, &table)?;
    Ok((table, rules))
}

/// The error that a part of tokenizer.json is not known.
fn unknown_part(what: impl Into<String>) -> HuggingFaceError {
    HuggingFaceError::Tokenizer {
        what: what.into(),
        remedy: "text would be cut in another way than in training: get the model as a .gguf file",
    }
}

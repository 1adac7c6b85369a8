//! Vocabularies: from text to tokens and back.
//!
//! [`Vocabulary::from_metadata`] reads `tokenizer.ggml.*` of a GGUF file. Four kinds of tokenizer
//! are known: byte pair encoding (`gpt2`, `gemma4`), SentencePiece's BPE (`llama`), WordPiece
//! (`bert`) and unigram (`t5`). Their behaviour is that of the models' own tokenizers, as llama.cpp
//! names and configures them.
//!
//! Nothing here is quadratic in the length of a text, and reading a vocabulary allocates in
//! proportion to the metadata.

mod alphabet;
mod bpe;
mod charsmap;
mod decode;
mod error;
mod partition;
mod pretokenizer;
mod remembered;
mod sentencepiece;
mod spaces;
mod special;
mod tokens;
mod trie;
mod unicode;
mod unicode_table;
mod unigram;
mod wordpiece;

pub use decode::{Decode, StreamDecoder};
pub use error::{VocabularyError, Warning};
pub use special::Roles;
pub use tokens::TokenKind;

use bpe::Bpe;
use charsmap::Charsmap;
use partition::{Fragment, SpecialTokens};
use pretokenizer::{Encoding, PreTokenizer};
use sentencepiece::SentencePiece;
use spaces::Before;
use tokens::{Attributes, Tokens};
use unigram::Unigram;
use wordpiece::WordPiece;

use crate::TokenId;
use crate::gguf::{Array, Metadata, Value};
use crate::prompt::MARK;

/// How SentencePiece writes a space: U+2581.
const SPACE: &str = "▁";

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encode {
    /// The beginning and end tokens are added where the vocabulary asks for them.
    pub add_special: bool,
    /// The text of a control token (`<|im_end|>`) becomes that token. Leave it off for text that a
    /// person or a tool wrote.
    pub parse_special: bool,
}

/// The tokenizer that a file names in `tokenizer.ggml.model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Gpt2,
    Gemma4,
    SentencePiece,
    WordPiece,
    Unigram,
}

impl Model {
    fn by_name(name: &str) -> Result<Self, VocabularyError> {
        let model = || name.to_owned();
        match name {
            "gpt2" => Ok(Self::Gpt2),
            "gemma4" => Ok(Self::Gemma4),
            "llama" => Ok(Self::SentencePiece),
            "bert" => Ok(Self::WordPiece),
            "t5" => Ok(Self::Unigram),
            "no_vocab" | "none" => Err(VocabularyError::NoVocabulary { model: model() }),
            _ => Err(VocabularyError::UnknownModel { model: model() }),
        }
    }
}

#[derive(Debug, Clone)]
enum Tokenizer {
    Bpe(Box<Bpe>),
    SentencePiece(SentencePiece),
    WordPiece(WordPiece),
    Unigram(Box<Unigram>),
}

/// The tokens of a model and the rules by which text becomes them.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    tokens: Tokens,
    tokenizer: Tokenizer,
    special: SpecialTokens,
    roles: Roles,
    ends: Vec<TokenId>,
    add_bos: bool,
    add_eos: bool,
    add_sep: bool,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
    spaces: spaces::Spaces,
    clean_spaces: bool,
    chat_template: Option<String>,
    warnings: Vec<Warning>,
}

impl Vocabulary {
    /// Reads the vocabulary of a model.
    ///
    /// # Errors
    /// [`VocabularyError`], where the metadata hold none, or one that is damaged or unsupported.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, VocabularyError> {
        let model = Model::by_name(metadata.require_str("tokenizer.ggml.model")?)?;
        let texts = metadata.require_strings("tokenizer.ggml.tokens")?;
        let kinds = metadata.i32s("tokenizer.ggml.token_type")?;
        let mut tokens = Tokens::new(texts.iter(), kinds)?;
        let mut warnings = Vec::new();
        let tokenizer = read_tokenizer(metadata, model, &tokens, &mut warnings)?;
        let pre = match &tokenizer {
            Tokenizer::Bpe(bpe) => Some(&bpe.pre_tokenizer),
            _ => None,
        };

        let no_default_bos = pre.is_some_and(|pre| pre.no_default_bos);
        let roles = Roles::read(metadata, model, no_default_bos, &mut tokens)?;
        let ends = roles.end_of_generation(&mut tokens);
        let special = SpecialTokens::new(&tokens)?;
        special::mark_stripping(metadata, &mut tokens, &special.iter().collect::<Vec<_>>())?;

        let flag = |name: &str, default: bool| -> Result<bool, VocabularyError> {
            Ok(metadata
                .bool(&format!("tokenizer.ggml.{name}"))?
                .unwrap_or(default))
        };
        let add_bos = match model {
            Model::Gpt2 | Model::Gemma4 => pre.is_some_and(|pre| pre.add_bos),
            Model::SentencePiece | Model::WordPiece => true,
            Model::Unigram => false,
        };
        let vocabulary = Self {
            add_bos: flag("add_bos_token", add_bos)? || pre.is_some_and(|pre| pre.always_bos),
            add_eos: flag("add_eos_token", model == Model::Unigram)?,
            add_sep: flag("add_sep_token", model == Model::WordPiece)?,
            add_space_prefix: flag("add_space_prefix", model == Model::SentencePiece)?,
            remove_extra_whitespaces: flag("remove_extra_whitespaces", false)?,
            spaces: spaces::Spaces::read(metadata)?,
            clean_spaces: pre.map_or(model == Model::WordPiece, |pre| pre.clean_spaces),
            chat_template: metadata.str("tokenizer.chat_template")?.map(str::to_owned),
            tokens,
            tokenizer,
            special,
            roles,
            ends,
            warnings,
        };
        vocabulary.check_added_tokens()?;
        Ok(vocabulary)
    }

    /// Every token that is to be added must be named.
    fn check_added_tokens(&self) -> Result<(), VocabularyError> {
        let missing = [
            (
                self.add_bos,
                self.roles.bos,
                "add_bos_token",
                "bos_token_id",
            ),
            (
                self.add_eos,
                self.roles.eos,
                "add_eos_token",
                "eos_token_id",
            ),
            (
                self.is_word_piece(),
                self.roles.sep,
                "add_sep_token",
                "seperator_token_id",
            ),
        ];
        match missing
            .into_iter()
            .find(|(added, id, _, _)| *added && id.is_none())
        {
            Some((_, _, flag, key)) => Err(VocabularyError::SpecialTokenMissing { flag, key }),
            None => Ok(()),
        }
    }

    fn is_word_piece(&self) -> bool {
        matches!(self.tokenizer, Tokenizer::WordPiece(_))
    }

    /// Whether tokens write a space as `▁`.
    fn escapes_spaces(&self) -> bool {
        match &self.tokenizer {
            Tokenizer::Bpe(bpe) => bpe.pre_tokenizer.encoding == Encoding::Characters,
            _ => true,
        }
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str, options: Encode) -> Vec<TokenId> {
        let mut out = Vec::new();
        if options.add_special && (self.add_bos || self.is_word_piece()) {
            out.extend(self.roles.bos);
        }
        let mut before = Before::Start;
        for fragment in self.special.cut(&self.tokens, text, options.parse_special) {
            match fragment {
                Fragment::Text(text) => self.encode_text(text, before, &mut out),
                Fragment::Token(token) => out.push(token),
            }
            before = Before::after(&fragment);
        }
        if options.add_special {
            if self.is_word_piece() {
                out.extend(self.roles.sep);
            } else if self.add_eos {
                out.extend(self.roles.eos);
            }
        }
        out
    }

    /// The tokens of a prompt in which the texts of control tokens that are none are broken by
    /// marks, which are dropped here; see [`crate::prompt`].
    pub(crate) fn encode_guarded(&self, prompt: &str) -> Vec<TokenId> {
        let mut out = Vec::new();
        let mut before = Before::Start;
        for fragment in self.special.cut(&self.tokens, prompt, true) {
            match fragment {
                Fragment::Text(text) if text.contains(MARK) => {
                    self.encode_text(&text.replace(MARK, ""), before, &mut out);
                }
                Fragment::Text(text) => self.encode_text(text, before, &mut out),
                Fragment::Token(token) => out.push(token),
            }
            before = Before::after(&fragment);
        }
        out
    }

    /// The texts that become control tokens where [`Encode::parse_special`] is on.
    pub(crate) fn control_texts(&self) -> impl Iterator<Item = &str> {
        let control = Attributes::CONTROL.with(Attributes::UNKNOWN);
        let tokens = self.special.iter();
        let tokens = tokens.filter(move |token| self.tokens.attributes(*token).any(control));
        tokens.filter_map(|token| self.tokens.text(token))
    }

    /// The tokens of a pair of texts, as cross-encoders read it, and where the second begins; no
    /// text of a special token becomes that token.
    ///
    /// `[CLS] a [SEP] b [SEP]` (BERT), `<s> a </s></s> b </s>` (RoBERTa, XLM-R). `None` where the
    /// vocabulary has no tokens for that.
    pub fn encode_pair(&self, first: &str, second: &str) -> Option<(Vec<TokenId>, usize)> {
        let roles = &self.roles;
        let (begin, between) = match self.is_word_piece() {
            true => (roles.bos?, vec![roles.sep?]),
            false => (roles.bos?, vec![roles.eos?, roles.sep.or(roles.eos)?]),
        };
        let end = *between.first()?;
        let plain = |text| self.encode(text, Encode::default());
        let mut tokens = vec![begin];
        tokens.extend(plain(first));
        tokens.extend(between);
        let start = tokens.len();
        tokens.extend(plain(second));
        tokens.push(end);
        Some((tokens, start))
    }

    /// Appends the tokens of a text that holds no special token.
    fn encode_text(&self, text: &str, before: Before, out: &mut Vec<TokenId>) {
        let unknown = self.roles.unk;
        match &self.tokenizer {
            Tokenizer::Bpe(bpe) => {
                // Some files name the end token here: it must not come out of a text.
                let unknown = unknown.filter(|id| self.kind(*id) == Some(TokenKind::Unknown));
                let text = self.spaces.compose(text);
                bpe.encode(&self.tokens, &text, unknown, out);
            }
            Tokenizer::SentencePiece(sentence_piece) => {
                let wanted = self.spaces.wants_prefix(text, before);
                let prefix = if self.add_space_prefix && wanted {
                    SPACE
                } else {
                    ""
                };
                let text = prefix.to_owned() + &text.replace(' ', SPACE);
                sentence_piece.encode(&self.tokens, &text, unknown, out);
            }
            Tokenizer::WordPiece(word_piece) => {
                word_piece.encode(&self.tokens, text, unknown, out);
            }
            Tokenizer::Unigram(unigram) => unigram.encode(text, unknown, out),
        }
    }

    /// How many tokens there are.
    #[allow(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens that have a role, as the beginning and end tokens.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The beginning token.
    pub fn bos(&self) -> Option<TokenId> {
        self.roles.bos
    }

    /// The end token.
    pub fn eos(&self) -> Option<TokenId> {
        self.roles.eos
    }

    /// Whether the model has nothing more to say after this token: the end token, the ends of a
    /// turn and of a message, and others that are known by their text.
    pub fn is_end_of_generation(&self, token: TokenId) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// The tokens for which [`Vocabulary::is_end_of_generation`] holds, sorted.
    pub fn ends_of_generation(&self) -> &[TokenId] {
        &self.ends
    }

    /// The text of a token as the file has it; see [`Vocabulary::piece`] for what it stands for.
    pub fn token_text(&self, token: TokenId) -> Option<&str> {
        self.tokens.text(token)
    }

    /// The token with this text, as the file has it.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.tokens.find(text)
    }

    /// What a token is for.
    pub fn kind(&self, token: TokenId) -> Option<TokenKind> {
        self.tokens.text(token)?;
        Some(self.tokens.attributes(token).kind())
    }

    /// Whether a beginning token is added by default.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether an end token is added by default.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether a separator is added by default, as after BERT's sentences.
    pub fn add_sep(&self) -> bool {
        self.add_sep
    }

    /// Whether a space is put before the first word.
    pub fn add_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// Whether runs of spaces become one.
    pub fn remove_extra_whitespaces(&self) -> bool {
        self.remove_extra_whitespaces
    }

    /// The default chat template, where the file has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// What a person should know about this vocabulary.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

fn read_tokenizer(
    metadata: &Metadata,
    model: Model,
    tokens: &Tokens,
    warnings: &mut Vec<Warning>,
) -> Result<Tokenizer, VocabularyError> {
    Ok(match model {
        Model::Gpt2 | Model::Gemma4 => {
            let name = match model {
                Model::Gemma4 => Some("gemma4"),
                _ => metadata.str("tokenizer.ggml.pre")?,
            };
            let given = metadata.strings("tokenizer.ingle.pre_patterns")?;
            let (pre_tokenizer, warning) = match given.filter(|_| model == Model::Gpt2) {
                Some(patterns) => {
                    let whole = metadata.bool("tokenizer.ingle.whole_pieces")?;
                    let whole = whole.unwrap_or(false);
                    (PreTokenizer::given(patterns.iter(), whole)?, None)
                }
                None => PreTokenizer::by_name(name)?,
            };
            warnings.extend(warning);
            let merges = metadata.require_strings("tokenizer.ggml.merges")?;
            Tokenizer::Bpe(Box::new(Bpe::new(tokens, merges, pre_tokenizer, warnings)?))
        }
        Model::SentencePiece => {
            let scores = read_scores(metadata, tokens.len())?;
            Tokenizer::SentencePiece(SentencePiece::new(tokens, scores, warnings)?)
        }
        Model::WordPiece => {
            let lower_case = metadata
                .bool("tokenizer.ggml.normalizer.lowercase")?
                .unwrap_or(true);
            let accents = metadata.bool("tokenizer.ggml.normalizer.strip_accents")?;
            let strip_accents = accents.unwrap_or(lower_case);
            Tokenizer::WordPiece(WordPiece {
                lower_case,
                strip_accents,
            })
        }
        Model::Unigram => {
            let charsmap = match read_bytes(metadata, "tokenizer.ggml.precompiled_charsmap")? {
                Some(bytes) if !bytes.is_empty() => Some(Charsmap::new(&bytes)?),
                _ => None,
            };
            let scores = read_scores(metadata, tokens.len())?;
            let mut unigram = Unigram::new(tokens, scores, charsmap);
            let flag = |key| Ok::<_, VocabularyError>(metadata.bool(key)?.unwrap_or(false));
            unigram.add_space_prefix = flag("tokenizer.ggml.add_space_prefix")?;
            unigram.merge_spaces = flag("tokenizer.ggml.remove_extra_whitespaces")?;
            Tokenizer::Unigram(Box::new(unigram))
        }
    })
}

/// A score a token; 0 where the file has none.
fn read_scores(metadata: &Metadata, tokens: usize) -> Result<Vec<f32>, VocabularyError> {
    const KEY: &str = "tokenizer.ggml.scores";
    let scores = match metadata.get(KEY) {
        None => return Ok(vec![0.0; tokens]),
        // Some converters write whole numbers.
        Some(Value::Array(Array::I32(scores))) => scores.iter().map(|&s| nearest(s)).collect(),
        Some(_) => metadata.f32s(KEY)?.unwrap_or_default().to_vec(),
    };
    if scores.len() < tokens {
        return Err(VocabularyError::TooShort {
            key: KEY,
            tokens,
            found: scores.len(),
        });
    }
    match (0..).zip(&scores).find(|(_, score)| score.is_nan()) {
        Some((id, _)) => Err(VocabularyError::Score { id }),
        None => Ok(scores),
    }
}

/// The f32 nearest to an integer: both halves are exact, so only the sum rounds.
fn nearest(value: i32) -> f32 {
    let high = i16::try_from(value >> 16).map_or(0.0, f32::from);
    let low = u16::try_from(value & 0xffff).map_or(0.0, f32::from);
    high * 65536.0 + low
}

/// An array of bytes, signed or not.
fn read_bytes(metadata: &Metadata, key: &str) -> Result<Option<Vec<u8>>, VocabularyError> {
    Ok(match metadata.get(key) {
        None => None,
        Some(Value::Array(Array::U8(bytes))) => Some(bytes.clone()),
        Some(Value::Array(Array::I8(bytes))) => {
            Some(bytes.iter().map(|byte| byte.cast_unsigned()).collect())
        }
        Some(_) => {
            metadata.u32s(key)?; // says what is wrong
            return Err(VocabularyError::Charsmap {
                what: "it is no array of bytes",
                at: 0,
            });
        }
    })
}

/// The tokens `<0x00>` to `<0xFF>`, or the byte as a text of one character.
fn byte_tokens(tokens: &Tokens) -> Vec<Option<TokenId>> {
    let token = |byte: u8| {
        let ascii = || tokens.find(char::from(byte).encode_utf8(&mut [0; 4]));
        tokens
            .find(&format!("<0x{byte:02X}>"))
            .or_else(|| byte.is_ascii().then(ascii).flatten())
    };
    (0..=u8::MAX).map(token).collect()
}

/// The byte of `<0x0A>`.
fn byte_of_text(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16)
        .ok()
        .filter(|_| digits.len() == 2)
}

/// Warns where bytes that occur in the UTF-8 of assigned characters have no token. (0xF1 and 0xF2
/// begin characters of planes 4 to 11, which are empty; some published vocabularies lack them.)
fn warn_of_missing_bytes(bytes: &[Option<TokenId>], warnings: &mut Vec<Warning>) {
    let in_utf8 = |byte: u8| !matches!(byte, 0xc0 | 0xc1 | 0xf1 | 0xf2 | 0xf5..);
    let count = (0..=u8::MAX)
        .zip(bytes)
        .filter(|(byte, id)| in_utf8(*byte) && id.is_none())
        .count();
    if count > 0 {
        warnings.push(Warning::BytesWithoutToken { count });
    }
}

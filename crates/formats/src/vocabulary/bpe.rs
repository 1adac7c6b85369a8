//! Byte pair encoding by ranked merges (Sennrich et al. 2016).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::alphabet::Alphabet;
use super::pretokenizer::{Encoding, PreTokenizer};
use super::remembered::Remembered;
use super::tokens::Tokens;
use super::{VocabularyError, Warning};
use crate::TokenId;
use crate::gguf::StringArray;

/// More merges than any published vocabulary has (the largest have about 600 thousand).
const MAX_MERGES: usize = 1 << 23;
/// What a merge makes.
#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    result: u32,
}

/// Merges between symbols. A symbol is a token, or (from `first_phantom` on) a text that only
/// merges know: incomplete files have such.
#[derive(Debug, Clone)]
pub(super) struct Bpe {
    pub(super) pre_tokenizer: PreTokenizer,
    alphabet: Alphabet,
    merges: HashMap<(u32, u32), Merge>,
    first_phantom: u32,
    /// The symbol of each byte, for [`Encoding::Bytes`].
    bytes: Vec<Option<u32>>,
    /// The token that stands for each byte where its text has no token.
    fallback: Vec<Option<TokenId>>,
}

/// A part of a piece, in the list of those that are left.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    /// `None` where no token and no merge has this text.
    id: Option<u32>,
    start: usize,
    /// 0 where it was merged into the symbol before.
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A merge that can be made: lowest rank first, then leftmost.
type Candidate = Reverse<(u32, usize, usize, u32, u32)>;

/// What one call of `encode` needs, kept between pieces.
#[derive(Debug, Default)]
struct Scratch {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Candidate>,
    text: String,
}

impl Bpe {
    pub(super) fn new(
        tokens: &Tokens,
        merges: &StringArray,
        pre_tokenizer: PreTokenizer,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, VocabularyError> {
        let first_phantom = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let mut symbols = Symbols {
            tokens,
            phantoms: HashMap::new(),
            next: first_phantom,
        };
        let merges = read_merges(merges, &mut symbols)?;
        let count = symbols.phantoms.len();
        if count > 0 {
            warnings.push(Warning::MergesWithoutToken { count });
        }
        let alphabet = Alphabet::new();
        let mut utf8 = [0; 4];
        let bytes = (0..=u8::MAX)
            .map(|byte| symbols.find(alphabet.char_of(byte).encode_utf8(&mut utf8)))
            .collect::<Vec<_>>();
        let fallback: Vec<Option<TokenId>> = match pre_tokenizer.encoding {
            Encoding::Bytes => (0..=u8::MAX)
                .map(|byte| tokens.find(alphabet.char_of(byte).encode_utf8(&mut utf8)))
                .collect(),
            Encoding::Characters => super::byte_tokens(tokens),
        };
        super::warn_of_missing_bytes(&fallback, warnings);
        Ok(Self {
            pre_tokenizer,
            alphabet,
            merges,
            first_phantom,
            bytes,
            fallback,
        })
    }

    pub(super) fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// Appends the tokens of `text` to `out`. `unknown` stands for bytes without a token.
    pub(super) fn encode(
        &self,
        tokens: &Tokens,
        text: &str,
        unknown: Option<TokenId>,
        out: &mut Vec<TokenId>,
    ) {
        let escaped;
        let text = match self.pre_tokenizer.encoding {
            Encoding::Bytes => text,
            Encoding::Characters => {
                escaped = text.replace(' ', super::SPACE);
                &escaped
            }
        };
        let mut scratch = Scratch::default();
        let mut known = Remembered::default();
        let mut rest = text;
        for len in self.pre_tokenizer.stages.split(text) {
            let (piece, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
            rest = after;
            if known.repeat(piece, out) {
                continue;
            }
            let start = out.len();
            if let Some(token) = self.whole(tokens, piece, &mut scratch.text) {
                out.push(token);
            } else {
                self.merge(tokens, piece, &mut scratch);
                self.emit(piece, &scratch.symbols, unknown, out);
            }
            known.remember(piece, start, out.len());
        }
    }

    /// The token that is this whole piece, where the pre-tokenizer says so.
    fn whole(&self, tokens: &Tokens, piece: &str, text: &mut String) -> Option<TokenId> {
        let breaks = self.pre_tokenizer.whole_line_breaks && piece.bytes().all(|b| b == b'\n');
        if !breaks && !self.pre_tokenizer.whole_pieces {
            return None;
        }
        match self.pre_tokenizer.encoding {
            Encoding::Characters => tokens.find(piece),
            Encoding::Bytes => {
                text.clear();
                text.extend(piece.bytes().map(|byte| self.alphabet.char_of(byte)));
                tokens.find(text)
            }
        }
    }

    /// Makes all merges inside a piece; `scratch.symbols` are what is left.
    fn merge(&self, tokens: &Tokens, piece: &str, scratch: &mut Scratch) {
        let Scratch {
            symbols,
            candidates,
            ..
        } = scratch;
        symbols.clear();
        candidates.clear();
        match self.pre_tokenizer.encoding {
            Encoding::Bytes => {
                for (start, byte) in piece.bytes().enumerate() {
                    let id = self.bytes.get(usize::from(byte)).copied().flatten();
                    push_symbol(symbols, id, start, 1);
                }
            }
            Encoding::Characters => {
                let mut utf8 = [0; 4];
                for (start, c) in piece.char_indices() {
                    let id = tokens.find(c.encode_utf8(&mut utf8)).map(|token| token.0);
                    push_symbol(symbols, id, start, c.len_utf8());
                }
            }
        }
        for left in 0..symbols.len().saturating_sub(1) {
            self.offer(symbols, candidates, Some(left), Some(left + 1));
        }
        while let Some(Reverse((_, left, right, left_id, right_id))) = candidates.pop() {
            let (Some(&l), Some(&r)) = (symbols.get(left), symbols.get(right)) else {
                continue;
            };
            let current = l.len > 0 && l.id == Some(left_id) && r.id == Some(right_id);
            if !current || r.len == 0 || l.next != Some(right) {
                continue; // one of the two has been merged since
            }
            let Some(merge) = self.merges.get(&(left_id, right_id)) else {
                continue;
            };
            if let Some(symbol) = symbols.get_mut(left) {
                symbol.id = Some(merge.result);
                symbol.len += r.len;
                symbol.next = r.next;
            }
            if let Some(symbol) = symbols.get_mut(right) {
                symbol.len = 0;
            }
            if let Some(symbol) = r.next.and_then(|next| symbols.get_mut(next)) {
                symbol.previous = Some(left);
            }
            self.offer(symbols, candidates, l.previous, Some(left));
            self.offer(symbols, candidates, Some(left), r.next);
        }
    }

    /// Adds the merge of two neighbours to the candidates, if there is one.
    fn offer(
        &self,
        symbols: &[Symbol],
        candidates: &mut BinaryHeap<Candidate>,
        left: Option<usize>,
        right: Option<usize>,
    ) {
        let id = |index: Option<usize>| Some((index?, symbols.get(index?)?.id?));
        if let (Some((left, left_id)), Some((right, right_id))) = (id(left), id(right))
            && let Some(merge) = self.merges.get(&(left_id, right_id))
        {
            candidates.push(Reverse((merge.rank, left, right, left_id, right_id)));
        }
    }

    fn emit(
        &self,
        piece: &str,
        symbols: &[Symbol],
        unknown: Option<TokenId>,
        out: &mut Vec<TokenId>,
    ) {
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            match symbol.id {
                Some(id) if id < self.first_phantom => out.push(TokenId(id)),
                _ => {
                    let end = symbol.start + symbol.len;
                    let bytes = piece.as_bytes().get(symbol.start..end).unwrap_or_default();
                    let token = |&byte: &u8| {
                        self.fallback
                            .get(usize::from(byte))
                            .copied()
                            .flatten()
                            .or(unknown)
                    };
                    out.extend(bytes.iter().filter_map(token));
                }
            }
        }
    }
}

fn push_symbol(symbols: &mut Vec<Symbol>, id: Option<u32>, start: usize, len: usize) {
    let index = symbols.len();
    let previous = index.checked_sub(1);
    if let Some(before) = previous.and_then(|i| symbols.get_mut(i)) {
        before.next = Some(index);
    }
    symbols.push(Symbol {
        id,
        start,
        len,
        previous,
        next: None,
    });
}

/// The symbols that merges are between.
struct Symbols<'a> {
    tokens: &'a Tokens,
    phantoms: HashMap<String, u32>,
    next: u32,
}

impl Symbols<'_> {
    fn find(&self, text: &str) -> Option<u32> {
        let token = self.tokens.find(text).map(|token| token.0);
        token.or_else(|| self.phantoms.get(text).copied())
    }

    fn find_or_add(&mut self, text: &str) -> u32 {
        self.find(text).unwrap_or_else(|| {
            let id = self.next;
            self.next = self.next.saturating_add(1);
            self.phantoms.insert(text.to_owned(), id);
            id
        })
    }
}

fn read_merges(
    merges: &StringArray,
    symbols: &mut Symbols<'_>,
) -> Result<HashMap<(u32, u32), Merge>, VocabularyError> {
    let count = merges.len();
    if count > MAX_MERGES {
        return Err(VocabularyError::TooManyMerges {
            count,
            limit: MAX_MERGES,
        });
    }
    let mut table = HashMap::with_capacity(count);
    let mut joined = String::new();
    let mut last = 0_u32;
    for (index, text) in merges.iter().enumerate() {
        // A part may itself begin with a space.
        let space = text
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == ' ')
            .map(|(at, _)| at);
        let halves = space.and_then(|at| Some((text.get(..at)?, text.get(at..)?.get(1..)?)));
        let Some((left, right)) = halves.filter(|(_, right)| !right.is_empty()) else {
            return Err(VocabularyError::Merge {
                index,
                text: text.to_owned(),
            });
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        // Most files list the results of merges in the order of the merges.
        let next = TokenId(last.saturating_add(1));
        let result = match symbols.tokens.text(next) {
            Some(text) if text == joined => next.0,
            _ => symbols.find_or_add(&joined),
        };
        last = result;
        let pair = (symbols.find_or_add(left), symbols.find_or_add(right));
        let rank = u32::try_from(index).unwrap_or(u32::MAX);
        // The first of two equal merges counts.
        table.entry(pair).or_insert(Merge { rank, result });
    }
    Ok(table)
}

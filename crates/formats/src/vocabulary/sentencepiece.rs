//! SentencePiece's BPE (Kudo and Richardson 2018): neighbours whose joined text is a token are
//! merged, the highest score first, and of equal ones the leftmost. What remains without a token
//! is spelt in bytes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use hashbrown::HashSet;

use super::remembered::Remembered;
use super::tokens::Tokens;
use super::{VocabularyError, Warning};
use crate::TokenId;

/// Scores and byte tokens.
#[derive(Debug, Clone)]
pub(super) struct SentencePiece {
    scores: Vec<f32>,
    bytes: Vec<Option<TokenId>>,
    /// The characters that stand before `▁` inside some token. Behind any other, text can be cut
    /// before a `▁`, for no merge can join the two.
    before_space: HashSet<char>,
}

/// A part of the text, in the list of those that are left.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// 0 where it was merged into the symbol before.
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A merge that can be made.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both; another length means that one of the two has been merged since.
    len: usize,
}

/// What one call of `encode` needs, kept between words.
#[derive(Debug, Default)]
struct Scratch {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Candidate>,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl SentencePiece {
    pub(super) fn new(
        tokens: &Tokens,
        scores: Vec<f32>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, VocabularyError> {
        let bytes = super::byte_tokens(tokens);
        super::warn_of_missing_bytes(&bytes, warnings);
        // Adding zero makes -0.0 equal to 0.0 in the total order.
        let scores = scores.into_iter().map(|score| score + 0.0).collect();
        let mut before_space = HashSet::new();
        for (_, text) in tokens.iter() {
            for (at, _) in text.match_indices(super::SPACE) {
                before_space.extend(text.get(..at).and_then(|before| before.chars().next_back()));
            }
        }
        Ok(Self {
            scores,
            bytes,
            before_space,
        })
    }

    /// Appends the tokens of `text`, in which spaces are `▁` already.
    pub(super) fn encode(
        &self,
        tokens: &Tokens,
        text: &str,
        unknown: Option<TokenId>,
        out: &mut Vec<TokenId>,
    ) {
        let mut known = Remembered::default();
        let mut scratch = Scratch::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at_checked(self.word(rest)).unwrap_or((rest, ""));
            rest = after;
            if known.repeat(word, out) {
                continue;
            }
            let start = out.len();
            self.merge(tokens, word, &mut scratch);
            self.emit(tokens, word, &scratch.symbols, unknown, out);
            known.remember(word, start, out.len());
        }
    }

    /// Bytes of the text up to where it can be cut.
    fn word(&self, text: &str) -> usize {
        let cut = |&(at, _): &(usize, &str)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            before.is_some_and(|c| !self.before_space.contains(&c))
        };
        text.match_indices(super::SPACE)
            .find(cut)
            .map_or(text.len(), |(at, _)| at)
    }

    /// Makes all merges inside a word; `scratch.symbols` are what is left.
    fn merge(&self, tokens: &Tokens, text: &str, scratch: &mut Scratch) {
        let Scratch {
            symbols,
            candidates,
        } = scratch;
        symbols.clear();
        candidates.clear();
        for (index, (start, c)) in text.char_indices().enumerate() {
            let (previous, next) = (index.checked_sub(1), Some(index + 1));
            symbols.push(Symbol {
                start,
                len: c.len_utf8(),
                previous,
                next,
            });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        for left in 0..symbols.len().saturating_sub(1) {
            self.offer(
                tokens,
                text,
                symbols,
                candidates,
                Some(left),
                Some(left + 1),
            );
        }
        while let Some(Candidate {
            left, right, len, ..
        }) = candidates.pop()
        {
            let (Some(&l), Some(&r)) = (symbols.get(left), symbols.get(right)) else {
                continue;
            };
            if l.len == 0 || r.len == 0 || l.len + r.len != len {
                continue;
            }
            if let Some(symbol) = symbols.get_mut(left) {
                symbol.len = len;
                symbol.next = r.next;
            }
            if let Some(symbol) = symbols.get_mut(right) {
                symbol.len = 0;
            }
            if let Some(symbol) = r.next.and_then(|next| symbols.get_mut(next)) {
                symbol.previous = Some(left);
            }
            self.offer(tokens, text, symbols, candidates, l.previous, Some(left));
            self.offer(tokens, text, symbols, candidates, Some(left), r.next);
        }
    }

    fn emit(
        &self,
        tokens: &Tokens,
        text: &str,
        symbols: &[Symbol],
        unknown: Option<TokenId>,
        out: &mut Vec<TokenId>,
    ) {
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            let piece = text
                .get(symbol.start..symbol.start + symbol.len)
                .unwrap_or("");
            if let Some(token) = tokens.find(piece) {
                out.push(token);
                continue;
            }
            let token = |byte: u8| {
                self.bytes
                    .get(usize::from(byte))
                    .copied()
                    .flatten()
                    .or(unknown)
            };
            out.extend(piece.bytes().filter_map(token));
        }
    }

    /// Adds the merge of two neighbours to the candidates, if their joined text is a token.
    fn offer(
        &self,
        tokens: &Tokens,
        text: &str,
        symbols: &[Symbol],
        candidates: &mut BinaryHeap<Candidate>,
        left: Option<usize>,
        right: Option<usize>,
    ) {
        let symbol = |index: Option<usize>| Some((index?, symbols.get(index?)?));
        let (Some((left, l)), Some((right, r))) = (symbol(left), symbol(right)) else {
            return;
        };
        let len = l.len + r.len;
        if len > tokens.longest() {
            return;
        }
        let token = text
            .get(l.start..l.start + len)
            .and_then(|joined| tokens.find(joined));
        let score = token.and_then(|id| self.scores.get(usize::try_from(id.0).ok()?));
        if let Some(&score) = score {
            candidates.push(Candidate {
                score,
                left,
                right,
                len,
            });
        }
    }
}

//! SentencePiece's BPE (Kudo and Richardson 2018): neighbours whose joined text is a token are
//! merged, the highest score first, and of equal ones the leftmost. What remains without a token
//! is spelt in bytes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::tokens::Tokens;
use super::{VocabularyError, Warning};
use crate::TokenId;

/// Scores and byte tokens.
#[derive(Debug, Clone)]
pub(super) struct SentencePiece {
    scores: Vec<f32>,
    bytes: Vec<Option<TokenId>>,
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
        Ok(Self { scores, bytes })
    }

    /// Appends the tokens of `text`, in which spaces are `▁` already.
    pub(super) fn encode(
        &self,
        tokens: &Tokens,
        text: &str,
        unknown: Option<TokenId>,
        out: &mut Vec<TokenId>,
    ) {
        let mut symbols = Vec::with_capacity(text.len());
        for (index, (start, c)) in text.char_indices().enumerate() {
            let next = Some(index + 1);
            symbols.push(Symbol {
                start,
                len: c.len_utf8(),
                previous: index.checked_sub(1),
                next,
            });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        let mut candidates = BinaryHeap::new();
        for left in 0..symbols.len().saturating_sub(1) {
            self.offer(
                tokens,
                text,
                &symbols,
                &mut candidates,
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
            self.offer(
                tokens,
                text,
                &symbols,
                &mut candidates,
                l.previous,
                Some(left),
            );
            self.offer(tokens, text, &symbols, &mut candidates, Some(left), r.next);
        }
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

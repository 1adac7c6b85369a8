//! Pieces that repeat: their tokens are copied, not found again.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::TokenId;

/// Pieces that one call of `encode` remembers.
const MAX_PIECES: usize = 1 << 16;
/// Bytes of the longest piece that is remembered.
const MAX_BYTES: usize = 64;

/// Pieces of one text that were encoded before, and where in the output their tokens lie.
#[derive(Default)]
pub(super) struct Remembered<'a> {
    pieces: HashTable<(&'a str, usize, usize)>,
    hasher: DefaultHashBuilder,
}

impl<'a> Remembered<'a> {
    /// Copies the tokens of a piece that was encoded before; answers whether it was.
    pub(super) fn repeat(&self, piece: &str, out: &mut Vec<TokenId>) -> bool {
        if piece.len() > MAX_BYTES || self.pieces.is_empty() {
            return false;
        }
        let same = |(text, _, _): &(&str, usize, usize)| *text == piece;
        let found = self.pieces.find(self.hasher.hash_one(piece), same);
        let Some(&(_, start, end)) = found else {
            return false;
        };
        out.extend_from_within(start..end);
        true
    }

    /// Notes where the tokens of a piece lie.
    pub(super) fn remember(&mut self, piece: &'a str, start: usize, end: usize) {
        if piece.len() <= MAX_BYTES && self.pieces.len() < MAX_PIECES {
            let Self { pieces, hasher } = self;
            let rehash = |(text, _, _): &(&str, usize, usize)| hasher.hash_one(text);
            pieces.insert_unique(hasher.hash_one(piece), (piece, start, end), rehash);
        }
    }
}

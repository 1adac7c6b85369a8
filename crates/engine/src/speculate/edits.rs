//! Changes that were made once and may be made again.
//!
//! A name that is replaced, or an argument that is added, is so in many places. What stood instead
//! of what is remembered, and expected wherever the same stands again.

use super::chances::Chance;
use ingle_formats::TokenId;
use std::collections::HashMap;

/// Changes that are remembered; with more all are forgotten.
const MOST: usize = 512;
/// The longest change, in tokens.
pub(super) const LONGEST: usize = 16;

/// Changes by what stands where they are made.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    /// At most [`MOST`].
    known: HashMap<Key, Edit>,
}

/// What stands where a change is made, as seen from its first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whether something is only put in, not replaced.
    inserts: bool,
    /// The token before, where it counts.
    before: Option<TokenId>,
    /// The token there, where it counts.
    there: Option<TokenId>,
}

/// What is written instead.
#[derive(Clone, Debug)]
struct Edit {
    /// What is replaced.
    from: Vec<TokenId>,
    /// What replaces it, never nothing.
    to: Vec<TokenId>,
    /// How often it was made where it could be.
    made: Chance,
    /// The probability before anything is known.
    assumed: f32,
}

/// A change that could be made at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Possible {
    pub key: Key,
    /// Tokens that are replaced.
    pub replaces: usize,
    pub probability: f32,
}

impl Edits {
    /// Bytes that they take at most, about.
    pub const BYTES: u64 = MOST as u64 * (128 + 2 * 4 * LONGEST as u64);

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let edits = self.known.values();
        edits.map(|e| 128 + 4 * (e.from.len() + e.to.len())).sum()
    }

    /// Remembers that behind `before` in a text `from` became `to`, where `after` came next. Two of
    /// them are kept: one for the same surroundings, and one, at first doubted, for any.
    pub fn learn(&mut self, before: TokenId, from: &[TokenId], to: &[TokenId], after: TokenId) {
        let (mut from, mut to) = (from.to_vec(), to.to_vec());
        if to.is_empty() {
            // So that there is something to expect.
            from.push(after);
            to.push(after);
        }
        let first = from.first().copied();
        let inserts = first.is_none();
        let there = first.or(Some(after));
        let exact = Key {
            inserts,
            before: Some(before),
            there,
        };
        let loose = match inserts {
            true => Key {
                there: None,
                ..exact
            },
            false => Key {
                before: None,
                ..exact
            },
        };
        if self.known.len() + 2 > MOST {
            self.known.clear();
        }
        for (key, assumed) in [(exact, 0.8), (loose, 0.5)] {
            let known = self.known.get(&key);
            if known.is_none_or(|known| known.from != from || known.to != to) {
                let (from, to, made) = (from.clone(), to.clone(), Chance::default());
                self.known.insert(
                    key,
                    Edit {
                        from,
                        to,
                        made,
                        assumed,
                    },
                );
            }
        }
    }

    /// The change that could be made at position `source` of `text`.
    pub fn at(&self, text: &[TokenId], source: usize) -> Option<Possible> {
        if self.known.is_empty() {
            return None;
        }
        let before = Some(*text.get(source.checked_sub(1)?)?);
        let there = Some(*text.get(source)?);
        let keys = [
            (true, before, there),
            (false, before, there),
            (true, before, None),
            (false, None, there),
        ];
        keys.into_iter().find_map(|(inserts, before, there)| {
            let key = Key {
                inserts,
                before,
                there,
            };
            let edit = self.known.get(&key)?;
            text[source..].starts_with(&edit.from).then(|| Possible {
                key,
                replaces: edit.from.len(),
                probability: edit.made.probability(edit.assumed),
            })
        })
    }

    /// A token that is written by a change.
    pub fn token(&self, key: Key, i: usize) -> Option<TokenId> {
        self.known.get(&key)?.to.get(i).copied()
    }

    /// Notes whether a change was made where it could be.
    pub fn note(&mut self, key: Key, made: bool) {
        if let Some(edit) = self.known.get_mut(&key) {
            edit.made.note(made);
        }
    }
}

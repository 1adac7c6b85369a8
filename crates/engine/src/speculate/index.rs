//! Where a stretch of the text stood before.

use ingle_formats::TokenId;

/// Lengths of the stretches that are remembered, in tokens.
const LENGTHS: [usize; 4] = [2, 4, 8, 16];
/// Slots of a table at first.
const FEW: usize = 1 << 10;
/// Slots of a table at most: beyond as many tokens older stretches are forgotten.
const MOST: usize = 1 << 20;
/// Tokens that are compared at most to say how long a match is.
const LONGEST: usize = 32;

/// The last place of every stretch of a text, by tables that are overwritten: extending it costs
/// the same for every token, whatever the text repeats, and it never takes more than 16 MiB.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// For each of [`LENGTHS`]: by hash, the position behind the stretch that came last; 0: none.
    tables: [Vec<u32>; LENGTHS.len()],
}

/// An earlier place where the text stood as it stands at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// The position at which it went on there.
    pub source: usize,
    /// How many tokens before it equal the end of the text, counted up to [`LONGEST`].
    pub matched: u32,
}

impl Index {
    pub fn new() -> Self {
        Self {
            tables: std::array::from_fn(|_| vec![0; FEW]),
        }
    }

    /// Bytes that it takes at most for each token, beside those that it takes at first.
    pub const TOKEN_BYTES: u64 = 2 * 4 * LENGTHS.len() as u64;
    /// Bytes that it takes at first.
    pub const FIXED_BYTES: u64 = (FEW * 4 * LENGTHS.len()) as u64;

    /// Takes in the stretches that end with `text`, of which all but the last token was taken in
    /// before, and answers the longest of them that stood earlier, where it stood last.
    pub fn extend(&mut self, text: &[TokenId]) -> Option<Match> {
        if text.len() > self.slots() && self.slots() < MOST {
            self.grow(text);
        }
        let mut found = None;
        let mut hash = 0;
        let mut from = text.len();
        for (table, length) in self.tables.iter_mut().zip(LENGTHS) {
            let Some(start) = text.len().checked_sub(length) else {
                break;
            };
            hash = mix(hash, &text[start..from]);
            from = start;
            let slots = table.len();
            let slot = &mut table[slot(hash, slots)];
            let source = std::mem::replace(slot, text.len() as u32) as usize;
            // What is said of a longer stretch comes later and counts more.
            found = match matched(text, source) {
                0 => found,
                matched if matched as usize >= length => Some(Match { source, matched }),
                _ => found,
            };
        }
        found
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.tables.iter().map(|t| t.capacity() * 4).sum()
    }

    fn slots(&self) -> usize {
        self.tables[0].len()
    }

    /// Makes the tables twice as large and takes in the text anew, without its last token.
    fn grow(&mut self, text: &[TokenId]) {
        let slots = text.len().next_power_of_two().min(MOST);
        for table in &mut self.tables {
            table.clear();
            table.resize(slots, 0);
        }
        for end in 1..text.len() {
            let (mut hash, mut from) = (0, end);
            for (table, length) in self.tables.iter_mut().zip(LENGTHS) {
                let Some(start) = end.checked_sub(length) else {
                    break;
                };
                hash = mix(hash, &text[start..from]);
                from = start;
                let slots = table.len();
                table[slot(hash, slots)] = end as u32;
            }
        }
    }
}

/// How many tokens before `source` equal the end of the text, up to [`LONGEST`].
pub(super) fn matched(text: &[TokenId], source: usize) -> u32 {
    let end = text.iter().rev().take(LONGEST);
    let there = text[..source].iter().rev();
    end.zip(there).take_while(|(a, b)| a == b).count() as u32
}

/// Goes on hashing with more tokens, which stand before those that were hashed.
fn mix(hash: u64, tokens: &[TokenId]) -> u64 {
    let step =
        |h: u64, t: &TokenId| (h ^ u64::from(t.0)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (h >> 29);
    tokens.iter().rev().fold(hash, step)
}

fn slot(hash: u64, slots: usize) -> usize {
    (hash >> 32) as usize & (slots - 1)
}

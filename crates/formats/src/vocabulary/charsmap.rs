//! The precompiled normalisation of SentencePiece: a double-array trie from byte sequences to
//! replacements.
//!
//! Layout: the trie's length in bytes (u32, little endian), the trie (u32 a unit), then the
//! replacements, each ending in a zero byte. A unit holds, from its low bits: a label (8), whether
//! a value hangs below (1), and the offset to its children (22, shifted by 8 where bit 9 is set);
//! with bit 31 set it is a value: the position of a replacement.

use super::VocabularyError;

const UNIT_BYTES: usize = 4;
/// The longest byte sequence that is looked for; published maps have at most some tens of bytes.
const MAX_KEY_BYTES: usize = 256;
const HAS_VALUE: u32 = 1 << 8;
const IS_VALUE: u32 = 1 << 31;

/// A checked map: every replacement that can be reached ends inside the map.
#[derive(Debug, Clone)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

fn damaged(what: &'static str, at: usize) -> VocabularyError {
    VocabularyError::Charsmap { what, at }
}

impl Charsmap {
    /// Reads and checks a map.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, VocabularyError> {
        let (head, rest) = bytes
            .split_first_chunk::<UNIT_BYTES>()
            .ok_or_else(|| damaged("it is too short", bytes.len()))?;
        let len = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if len == 0 || !len.is_multiple_of(UNIT_BYTES) {
            return Err(damaged("its length is no whole number of units", 0));
        }
        let (trie, replacements) = rest
            .split_at_checked(len)
            .ok_or_else(|| damaged("its trie is longer than the map", 0))?;
        let (units, _) = trie.as_chunks::<UNIT_BYTES>();
        let map = Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_vec(),
        };
        map.check()?;
        Ok(map)
    }

    /// Walks over every unit that the root leads to, once.
    fn check(&self) -> Result<(), VocabularyError> {
        // Behind the last zero byte no replacement ends.
        let end = self
            .replacements
            .iter()
            .rposition(|&byte| byte == 0)
            .map_or(0, |at| at + 1);
        let mut seen = vec![false; self.units.len()];
        let mut open = vec![0_u32];
        while let Some(node) = open.pop() {
            let at = usize::try_from(node).unwrap_or(usize::MAX);
            let Some(unit) = self.units.get(at) else {
                return Err(damaged("a node lies outside the trie", UNIT_BYTES));
            };
            let base = node ^ offset(*unit);
            if at != 0 && unit & HAS_VALUE != 0 {
                let value = self.value(base).filter(|value| *value < end);
                if value.is_none() {
                    let byte = at.saturating_mul(UNIT_BYTES).saturating_add(UNIT_BYTES);
                    return Err(damaged("a replacement lies outside the map", byte));
                }
            }
            for label in 1..=u8::MAX {
                let child = base ^ u32::from(label);
                let index = usize::try_from(child).unwrap_or(usize::MAX);
                if self.has_label(child, label)
                    && let Some(seen) = seen.get_mut(index)
                    && !*seen
                {
                    *seen = true;
                    open.push(child);
                }
            }
        }
        Ok(())
    }

    fn unit(&self, node: u32) -> Option<u32> {
        self.units.get(usize::try_from(node).ok()?).copied()
    }

    fn has_label(&self, node: u32, label: u8) -> bool {
        // A value has bit 31 set and so is no child.
        self.unit(node)
            .is_some_and(|unit| unit & (IS_VALUE | 0xff) == u32::from(label))
    }

    /// The position of the replacement that hangs below a node with this base.
    fn value(&self, base: u32) -> Option<usize> {
        usize::try_from(self.unit(base)? & !IS_VALUE).ok()
    }

    /// The replacement of the longest key that `text` begins with, and the bytes of that key.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(&[u8], usize)> {
        let mut base = offset(self.unit(0)?);
        let mut found = None;
        for (len, &byte) in (1..).zip(text.iter().take(MAX_KEY_BYTES)) {
            let node = base ^ u32::from(byte);
            if byte == 0 || !self.has_label(node, byte) {
                break;
            }
            let unit = self.unit(node)?;
            base = node ^ offset(unit);
            if unit & HAS_VALUE != 0 {
                found = self.value(base).map(|at| (at, len));
            }
        }
        let (at, len) = found?;
        let tail = self.replacements.get(at..)?;
        let end = tail.iter().position(|&byte| byte == 0)?;
        Some((tail.get(..end)?, len))
    }
}

/// From a node to its children.
fn offset(unit: u32) -> u32 {
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map with one key of one byte: `key` becomes the replacement at `value` of `tail`.
    fn one_key(key: u8, value: u32, tail: &[u8]) -> Vec<u8> {
        let mut units = vec![0_u32; 512];
        units[0] = 256 << 10; // children of the root at 256 ^ label
        let node = 256 ^ usize::from(key);
        // Its value at node ^ offset: 1 is free.
        units[node] = u32::from(key) | HAS_VALUE | (u32::try_from(node ^ 1).unwrap() << 10);
        units[1] = value | IS_VALUE;
        let mut bytes = u32::try_from(units.len() * 4)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn a_key_is_replaced() {
        let map = Charsmap::new(&one_key(b'A', 2, b"x\0a\0")).unwrap();
        assert_eq!(map.longest(b"AB"), Some((&b"a"[..], 1)));
        assert_eq!(map.longest(b"BA"), None);
        assert_eq!(map.longest(b""), None);
    }

    #[test]
    fn a_replacement_outside_the_map_is_refused() {
        for (value, tail) in [
            (4, &b"x\0a\0"[..]),
            (2, b"x\0a"),
            (0, b""),
            (u32::MAX >> 1, b"\0"),
        ] {
            let error = Charsmap::new(&one_key(b'A', value, tail)).unwrap_err();
            assert!(
                matches!(error, VocabularyError::Charsmap { .. }),
                "{value} {tail:?}"
            );
        }
    }

    #[test]
    fn a_trie_longer_than_the_map_is_refused() {
        for bytes in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0",
            b"\x03\0\0\0abc",
            b"\xff\xff\xff\xffabcd",
        ] {
            assert!(Charsmap::new(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_trie_that_leads_into_itself_ends() {
        // Every unit is a child of every unit, with no value.
        let units: Vec<u32> = (0..256_u32).map(|label| label | label << 10).collect();
        let mut bytes = 1024_u32.to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.push(0);
        let map = Charsmap::new(&bytes).unwrap();
        assert_eq!(map.longest(&[7; 1 << 16]), None);
    }
}

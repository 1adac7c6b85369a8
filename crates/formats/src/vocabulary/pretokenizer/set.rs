//! Sets of characters, written as the inside of a regular expression's brackets.

use super::super::unicode::{Category, NAMES};

/// A set of characters: listed ones, ranges, and whole general categories.
#[derive(Debug, Clone, Default)]
pub(super) struct CharSet {
    /// Bit `n` stands for the ASCII character `n`.
    ascii: u128,
    /// Bit `n` stands for the category `n`, for characters beyond ASCII.
    categories: u32,
    /// Inclusive, for characters beyond ASCII.
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl CharSet {
    /// The set of `A-Za-zµ\p{N}` and the like. `^` at the start negates; `\s` and `\p{..}` are the
    /// only escapes, so `-` must come last and `^` not first where they stand for themselves.
    pub(super) fn parse(spec: &str) -> Self {
        let mut set = Self::default();
        let mut rest = spec;
        if let Some(after) = rest.strip_prefix('^') {
            set.negated = true;
            rest = after;
        }
        loop {
            if let Some(after) = rest.strip_prefix("\\s") {
                for c in (0..=u8::MAX).map(char::from).filter(|c| c.is_whitespace()) {
                    set.add(c, c);
                }
                set.add_category("Z");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("\\p{") {
                let (name, after) = after.split_once('}').unwrap_or((after, ""));
                set.add_category(name);
                rest = after;
            } else {
                let mut chars = rest.chars();
                let Some(first) = chars.next() else { break };
                let mut last = first;
                let mut ahead = chars.clone();
                if ahead.next() == Some('-')
                    && let Some(end) = ahead.next()
                {
                    last = end;
                    chars = ahead;
                }
                set.add(first, last);
                rest = chars.as_str();
            }
        }
        set
    }

    fn add(&mut self, first: char, last: char) {
        for c in (first..=last).take_while(char::is_ascii) {
            self.ascii |= 1_u128 << u32::from(c);
        }
        if !last.is_ascii() {
            self.ranges.push((first.max('\u{80}'), last));
        }
    }

    fn add_category(&mut self, name: &str) {
        for (index, _) in (0_u8..).zip(NAMES).filter(|(_, n)| n.starts_with(name)) {
            self.categories |= 1_u32 << index;
            for c in (0..0x80_u8).map(char::from) {
                if Category::of(c) == Category(index) {
                    self.ascii |= 1_u128 << u32::from(c);
                }
            }
        }
    }

    pub(super) fn contains(&self, c: char) -> bool {
        let listed = if c.is_ascii() {
            self.ascii >> u32::from(c) & 1 == 1
        } else {
            (self.categories != 0 && self.categories >> Category::of(c).0 & 1 == 1)
                || self
                    .ranges
                    .iter()
                    .any(|&(first, last)| first <= c && c <= last)
        };
        listed != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_categories_and_negation() {
        let set = CharSet::parse(r"a-c一-龥\p{N}-");
        let found: String = "abcd1½一龥龦-"
            .chars()
            .filter(|&c| set.contains(c))
            .collect();
        assert_eq!(found, "abc1½一龥-");
        let set = CharSet::parse("^\\s|。");
        let found: String = "a |。\u{3000}\u{85}\nb"
            .chars()
            .filter(|&c| set.contains(c))
            .collect();
        assert_eq!(found, "ab");
    }
}

//! Which part of the data a text belongs to: by a hash of what is left when case, spaces and marks are
//! gone, so that copies of a text never stand on both sides.

use sha2::{Digest, Sha256};

/// A text without what near copies differ in: lower case, letters only, numbers as `0`.
pub fn normalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut digits = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        let digit = c.is_numeric();
        if digit && !digits {
            out.push('0');
        }
        digits |= digit;
        if c.is_alphabetic() {
            digits = false;
            out.push(c);
        }
    }
    out
}

/// The part of `parts` that a text belongs to, from 0. `salt` gives another split of the same texts.
pub fn part(text: &str, salt: &str, parts: u32) -> u32 {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    hash.update([0]);
    hash.update(normalised(text).as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_le_bytes([a, b, c, d]) % parts.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_copies_stay_together() {
        let same = ["Win 500 NOW!!", "win  20 now", "WIN 1,000 now."];
        let parts = same.map(|text| part(text, "", 1 << 20));
        assert_eq!(parts, [parts[0]; 3].map(|_| part("win 0 now", "", 1 << 20)));
        assert_ne!(part("win 0 now", "", 1 << 20), part("win now", "", 1 << 20));
        assert_ne!(part("win", "a", 1 << 20), part("win", "b", 1 << 20));
    }

    #[test]
    fn parts_are_about_even() {
        let mut counts = [0; 5];
        for i in 0..1000_u32 {
            let text: String = (0..4_u32)
                .map(|k| char::from(b'a' + (i >> (3 * k) & 7) as u8))
                .collect();
            counts[part(&text, "", 5) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (150..=250).contains(n)), "{counts:?}");
    }
}

//! The alphabet of byte-level BPE: 256 printable characters that stand for the 256 bytes.
//!
//! Bytes that are printable in Latin-1 stand for themselves; the others, in order, are the
//! characters from U+0100 on (Radford et al. 2019, GPT-2).

/// The first character that stands for a byte which does not stand for itself.
const SHIFTED: u32 = 0x100;

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The bytes that do not stand for themselves, in order.
fn shifted() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|&byte| !stands_for_itself(byte))
}

/// Both directions of the alphabet.
#[derive(Debug, Clone)]
pub(crate) struct Alphabet {
    chars: [char; 256],
}

impl Alphabet {
    pub(crate) fn new() -> Self {
        let mut chars = ['\0'; 256];
        for (byte, slot) in (0..=u8::MAX).zip(chars.iter_mut()) {
            *slot = char::from(byte);
        }
        for (code, byte) in (SHIFTED..).zip(shifted()) {
            if let (Some(slot), Some(c)) = (chars.get_mut(usize::from(byte)), char::from_u32(code))
            {
                *slot = c;
            }
        }
        Self { chars }
    }

    /// The character that stands for this byte.
    pub(crate) fn char_of(&self, byte: u8) -> char {
        self.chars.get(usize::from(byte)).copied().unwrap_or('\0')
    }

    /// The byte that this character stands for.
    pub(crate) fn byte_of(&self, c: char) -> Option<u8> {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => stands_for_itself(byte).then_some(byte),
            // 68 bytes are shifted, so this is a short search of a rare case: it is done only when
            // tokens become text.
            Err(_) => (0..=u8::MAX)
                .zip(&self.chars)
                .find_map(|(byte, &x)| (x == c).then_some(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let alphabet = Alphabet::new();
        for byte in 0..=u8::MAX {
            assert_eq!(alphabet.byte_of(alphabet.char_of(byte)), Some(byte));
        }
    }

    #[test]
    fn space_newline_and_the_last_shifted_byte_are_as_published() {
        let alphabet = Alphabet::new();
        assert_eq!(alphabet.char_of(b' '), 'Ġ');
        assert_eq!(alphabet.char_of(b'\n'), 'Ċ');
        assert_eq!(alphabet.char_of(0xad), 'Ń');
        assert_eq!(alphabet.byte_of('中'), None);
        assert_eq!(alphabet.byte_of(' '), None);
    }
}

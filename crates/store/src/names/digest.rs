//! A SHA-256 digest as manifests and the hub write it.

use super::{NameError, Why};
use std::fmt;

/// The SHA-256 of a file. Being 32 bytes and no text, it cannot name anything but a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

const WHAT: &str = "a digest";

impl Digest {
    /// Reads `sha256:` or `sha256-` and exactly 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Why::NotADigest`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let hex = text
            .strip_prefix("sha256:")
            .or_else(|| text.strip_prefix("sha256-"));
        hex.and_then(bytes)
            .map(Self)
            .ok_or_else(|| NameError::new(WHAT, text, Why::NotADigest))
    }

    /// Reads exactly 64 hexadecimal digits, as the hub writes a digest.
    ///
    /// # Errors
    /// [`Why::NotADigest`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, NameError> {
        bytes(text)
            .map(Self)
            .ok_or_else(|| NameError::new(WHAT, text, Why::NotADigest))
    }

    /// 64 small hexadecimal digits: the name of a blob in the Hugging Face cache.
    pub fn hex(&self) -> String {
        use fmt::Write;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    /// `sha256-` and the digits: the name of a blob in Ollama's store.
    pub fn blob_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

/// 32 bytes from exactly 64 hexadecimal digits.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |c: &u8| char::from(*c).to_digit(16);
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ways_of_writing_and_no_third() {
        let hex = "00ff".repeat(16);
        let digest = Digest::from_hex(&hex).unwrap();
        assert_eq!(Digest::parse(&format!("sha256:{hex}")), Ok(digest));
        assert_eq!(Digest::parse(&format!("sha256-{hex}")), Ok(digest));
        assert_eq!(Digest::from_hex(&hex.to_uppercase()), Ok(digest));
        assert_eq!(digest.to_string(), format!("sha256:{hex}"));
        for wrong in [
            hex.clone(),
            format!("SHA256:{hex}"),
            format!("sha256:{hex}0"),
            format!("sha256:{}", &hex[1..]),
            format!("sha256: {}", &hex[1..]),
            format!("sha256:{}é", &hex[2..]),
            format!("sha512:{hex}"),
            "sha256:".into(),
        ] {
            assert!(Digest::parse(&wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: [u8; 32]) {
            let digest = Digest(bytes);
            prop_assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
            prop_assert_eq!(Digest::parse(&digest.blob_name()), Ok(digest));
        }

        #[test]
        fn no_text_makes_a_path(text in "(sha256[:-])?[0-9a-fA-F./\\\\]{60,70}") {
            if let Ok(digest) = Digest::parse(&text) {
                let name = digest.blob_name();
                prop_assert!(name.len() == 71 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            }
        }
    }
}

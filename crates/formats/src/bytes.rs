//! Sizes as people read them.

/// A number of bytes, printed in the decimal units that disks and files are sold and listed in.
///
/// ```
/// assert_eq!(ingle_formats::Bytes(4_920_000_000).to_string(), "4.9 GB");
/// assert_eq!(ingle_formats::Bytes(999).to_string(), "999 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(&str, u64); 6] = [
            ("EB", 1_000_000_000_000_000_000),
            ("PB", 1_000_000_000_000_000),
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("kB", 1_000),
        ];
        for (unit, size) in UNITS {
            // The tenth is cut, not rounded: a file cut short never looks whole.
            if let (whole @ 1.., rest) = (self.0 / size, self.0 % size) {
                return write!(f, "{whole}.{} {unit}", rest / (size / 10));
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn units_change_at_a_thousand() {
        let shown: Vec<_> = [0, 999, 1000, 1_999_999, 2_000_000, u64::MAX]
            .map(|n| Bytes(n).to_string())
            .to_vec();
        let wanted = [
            "0 bytes",
            "999 bytes",
            "1.0 kB",
            "1.9 MB",
            "2.0 MB",
            "18.4 EB",
        ];
        assert_eq!(shown, wanted);
    }
}

//! A real model that fits this machine, and how to get it.

use crate::out::bytes;
use ingle::store::{Alias, alias};

/// A public model file with a short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(&'static Alias);

/// Short names of models that are good at their size, the largest first.
const GOOD: &[&str] = &[
    "qwen3:30b-a3b",
    "qwen3:8b",
    "qwen3:4b",
    "qwen3:1.7b",
    "qwen3:0.6b",
];

/// Bytes of weights that leave room for sequence memory and for the rest of the machine: two thirds
/// of what is available.
pub fn room_for_weights(available: u64) -> u64 {
    available / 3 * 2
}

/// The largest of them that leaves such room.
pub fn largest_that_fits(available: u64) -> Option<Known> {
    let mut known = GOOD.iter().filter_map(|name| alias(name));
    let (alias, _) = known.find(|(alias, _)| alias.bytes <= room_for_weights(available))?;
    Some(Known(alias))
}

impl Known {
    /// What its makers call it, and how it is stored.
    pub fn name(&self) -> String {
        let title = self.0.title();
        let quant = self.0.quant().unwrap_or_default();
        match title.strip_suffix(&format!("-{quant}")) {
            Some(name) => format!("{name} ({quant})"),
            None => title.to_owned(),
        }
    }

    /// Its file.
    pub fn file(&self) -> &'static str {
        self.0.file
    }

    /// One command that downloads it and goes on when cut off.
    pub fn command(&self) -> String {
        format!("ingle pull {}", self.0.name)
    }

    /// What it is, how to get it and how to run it: three lines.
    pub fn lines(&self) -> String {
        format!(
            "{} fits this machine ({}). To get it and talk to it:\n  {}\n  ingle run {}",
            self.name(),
            bytes(self.0.bytes),
            self.command(),
            self.0.name,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_falls_in_size() {
        let sizes: Vec<_> = GOOD
            .iter()
            .map(|name| alias(name).unwrap().0.bytes)
            .collect();
        assert!(sizes.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn what_fits() {
        const GIB: u64 = 1 << 30;
        let name = |gib| largest_that_fits(gib * GIB).map(|m| m.name());
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(name(64), some("Qwen3-30B-A3B (Q4_K_M)"));
        assert_eq!(name(22), some("Qwen3-8B (Q4_K_M)"));
        assert_eq!(name(5), some("Qwen3-4B (Q4_K_M)"));
        assert_eq!(name(1), some("Qwen3-0.6B (Q8_0)"));
        assert_eq!(name(0), None);
        insta::assert_snapshot!(largest_that_fits(5 * GIB).unwrap().lines());
    }
}

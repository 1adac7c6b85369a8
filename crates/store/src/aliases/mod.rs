//! Short names of well-known models, which ship with the program.

mod table;

use crate::names::{Quant, RepoId};
use crate::near::nearest;
use crate::pick::quant_of;
use crate::reference::HubName;
use table::{ALIASES, LATEST};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Answers and conversations.
    Chat,
    /// Programs.
    Code,
    /// Chat with reasoning before the answer.
    Reasoning,
    /// Texts as vectors.
    Embedding,
    /// How well a text fits a question.
    Reranker,
}

/// A short name and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// As `qwen3:4b`.
    pub name: &'static str,
    /// What it is for.
    pub purpose: Use,
    /// `ORG/REPO` on the hub.
    pub repo: &'static str,
    /// The file in it.
    pub file: &'static str,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether `bytes` was checked against what the hub says of the file.
    pub exact: bool,
    /// Tokens that the model was trained for.
    pub context: u32,
    /// As its makers call it.
    pub licence: &'static str,
}

impl Alias {
    /// The repository and quantisation.
    pub fn hub_name(&self) -> Option<HubName> {
        Some(HubName {
            repo: RepoId::parse(self.repo).ok()?,
            quant: Quant::parse(self.file).ok(),
        })
    }

    /// The same by its quantisation: for a repository that has given its files other names.
    pub fn by_quant(&self) -> Option<HubName> {
        Some(HubName {
            repo: RepoId::parse(self.repo).ok()?,
            quant: Some(Quant::parse(&self.quant()?).ok()?),
        })
    }

    /// The name of the file without the ending: what its makers call the model.
    pub fn title(&self) -> &'static str {
        self.file.strip_suffix(".gguf").unwrap_or(self.file)
    }

    /// As `Q4_K_M`.
    pub fn quant(&self) -> Option<String> {
        quant_of(self.title())
    }
}

/// All of them, families together and small ones first.
pub fn aliases() -> &'static [Alias] {
    ALIASES
}

/// What a short name stands for: `qwen3:4b`, `qwen3` (its usual size), `qwen3:4b-q8_0` (another
/// quantisation of the same repository).
pub fn alias(name: &str) -> Option<(&'static Alias, HubName)> {
    let name = name.strip_suffix(":latest").unwrap_or(name);
    let named = |name: &str| {
        ALIASES
            .iter()
            .find(|alias| alias.name.eq_ignore_ascii_case(name))
    };
    let latest = || {
        let (_, full) = LATEST
            .iter()
            .find(|(short, _)| short.eq_ignore_ascii_case(name))?;
        named(full)
    };
    if let Some(alias) = named(name).or_else(latest) {
        return Some((alias, alias.hub_name()?));
    }
    let (alias, quant) = name.match_indices('-').find_map(|(at, _)| {
        let quant = name
            .get(at + 1..)
            .filter(|rest| quant_of(rest).is_some_and(|q| q.eq_ignore_ascii_case(rest)))?;
        Some((named(name.get(..at)?)?, quant))
    })?;
    let quant = Quant::parse(&quant.to_ascii_uppercase()).ok();
    Some((
        alias,
        HubName {
            quant,
            ..alias.hub_name()?
        },
    ))
}

/// Aliases like a name that is none.
pub(crate) fn near(name: &str) -> Vec<String> {
    nearest(name, ALIASES.iter().map(|alias| alias.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ModelName, RepoFile};

    #[test]
    fn every_row_can_be_used() {
        for row in ALIASES {
            let (found, hub) = alias(row.name).unwrap();
            assert_eq!(found, row);
            assert_eq!(hub.repo.to_string(), row.repo);
            assert_eq!(hub.quant.unwrap().as_str(), row.file);
            assert!(
                RepoFile::parse(row.file).is_ok() && row.file.ends_with(".gguf"),
                "{row:?}"
            );
            assert!(row.quant().is_some(), "{row:?}");
            assert!(
                ModelName::parse(row.name).is_ok() && row.name.contains(':'),
                "{row:?}"
            );
            assert!(
                row.bytes > 10_000_000 && row.context >= 256 && !row.licence.is_empty(),
                "{row:?}"
            );
        }
        let mut names: Vec<_> = ALIASES.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALIASES.len());
        assert!(names.len() >= 40, "{}", names.len());
    }

    #[test]
    fn a_family_has_a_usual_size() {
        for (short, full) in LATEST {
            assert_eq!(alias(short).unwrap().0.name, *full);
            assert_eq!(alias(&format!("{short}:latest")).unwrap().0.name, *full);
            assert!(!short.contains(':'));
        }
        for row in ALIASES {
            let family = row.name.split(':').next().unwrap();
            assert!(alias(family).is_some(), "{family}");
        }
    }

    #[test]
    fn another_quantisation() {
        let (row, hub) = alias("QWEN3:4b-q8_0").unwrap();
        assert_eq!(
            (row.name, hub.to_string()),
            ("qwen3:4b", "hf.co/Qwen/Qwen3-4B-GGUF:Q8_0".into())
        );
        let (row, hub) = alias("qwen3:30b-a3b-q8_0").unwrap();
        assert_eq!(
            (row.name, hub.quant.unwrap().as_str()),
            ("qwen3:30b-a3b", "Q8_0")
        );
        for none in [
            "",
            "qwen3:5b",
            "qwen3:4b-",
            "qwen3:4b-x",
            "qwen3:4b-q8_0-x",
            ":4b",
            "-q8_0",
        ] {
            assert!(alias(none).is_none(), "{none}");
        }
        assert_eq!(near("qwen3-4b").first().unwrap(), "qwen3:4b");
    }
}

//! A repository on the hub, its commit, and which of its quantisations is meant.

use super::{NameError, Rule, Why, check};
use std::fmt;

/// `ORG/REPO`. A few old repositories have no organisation; in a cache they are found, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId {
    org: Option<Box<str>>,
    name: Box<str>,
}

const ORG: Rule = Rule {
    what: "the name of an organisation",
    most: 96,
    signs: "-_.",
};
const NAME: Rule = Rule {
    what: "the name of a repository",
    most: 96,
    signs: "-_.",
};

/// In front of the name of a folder in the Hugging Face cache.
const FOLDER: &str = "models";
/// Between its parts. The hub allows no name that holds it.
const BETWEEN: &str = "--";

impl RepoId {
    /// Reads `ORG/REPO`.
    ///
    /// # Errors
    /// [`NameError`]: the hub's rules are letters, digits, `-`, `_` and `.`, no `--` and no `..`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some((org, name)) = text.split_once('/') else {
            return Err(NameError::new(NAME.what, text, Why::NotTwoParts));
        };
        Ok(Self {
            org: Some(part(org, &ORG)?),
            name: part(name, &NAME)?,
        })
    }

    /// Reads the name of a folder in the Hugging Face cache, as `models--ORG--REPO`. `None` where it is
    /// something else: the cache holds data sets, too.
    pub fn from_folder(folder: &str) -> Option<Self> {
        let rest = folder.strip_prefix(FOLDER)?.strip_prefix(BETWEEN)?;
        match rest.split_once(BETWEEN) {
            Some((org, name)) => Some(Self {
                org: Some(part(org, &ORG).ok()?),
                name: part(name, &NAME).ok()?,
            }),
            None => Some(Self {
                org: None,
                name: part(rest, &NAME).ok()?,
            }),
        }
    }

    /// The name of its folder in the Hugging Face cache.
    pub fn folder(&self) -> String {
        match &self.org {
            Some(org) => format!("{FOLDER}{BETWEEN}{org}{BETWEEN}{}", self.name),
            None => format!("{FOLDER}{BETWEEN}{}", self.name),
        }
    }

    /// What stands behind the slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands in front of the slash.
    pub fn org(&self) -> Option<&str> {
        self.org.as_deref()
    }

    /// Whether both name one repository: the hub does not tell `Qwen` from `qwen`.
    pub fn is(&self, other: &Self) -> bool {
        self.to_string().eq_ignore_ascii_case(&other.to_string())
    }
}

fn part(text: &str, rule: &Rule) -> Result<Box<str>, NameError> {
    check(text, rule)?;
    if text.contains(BETWEEN) {
        return Err(NameError::new(rule.what, text, Why::Doubled));
    }
    if text.ends_with('-') {
        return Err(NameError::new(rule.what, text, Why::Last('-')));
    }
    Ok(text.into())
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.org {
            Some(org) => write!(f, "{org}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A commit of a repository: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit(Box<str>);

impl Commit {
    /// Reads 40 hexadecimal digits.
    ///
    /// # Errors
    /// [`Why::NotACommit`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(NameError::new("a commit", text, Why::NotACommit))
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which of a repository's files is meant: a quantisation as `Q4_K_M`, or the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quant(Box<str>);

impl Quant {
    /// Reads what stands behind the colon of `ORG/REPO:QUANT`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const RULE: Rule = Rule {
            what: "a quantisation",
            most: 200,
            signs: "-_.+=@,~ ()[]",
        };
        check(text, &RULE)?;
        Ok(Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text names the same one.
    pub fn is(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

impl fmt::Display for Quant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repositories() {
        let repo = RepoId::parse("Qwen/Qwen3-0.6B-GGUF").unwrap();
        assert_eq!(repo.folder(), "models--Qwen--Qwen3-0.6B-GGUF");
        assert_eq!(RepoId::from_folder(&repo.folder()), Some(repo.clone()));
        assert!(repo.is(&RepoId::parse("qwen/qwen3-0.6b-gguf").unwrap()));
        assert_eq!(
            RepoId::from_folder("models--gpt2").unwrap().to_string(),
            "gpt2"
        );
        for wrong in [
            "a", "a/", "/a", "a/b/c", "../b", "a/..", "a--x/b", "a/b:c", ".a/b", "-a/b", "a/b.",
            "a/nul", "a\\b/c", "a/ b", "à/b", "a/b\0", "ａ/b",
        ] {
            assert!(RepoId::parse(wrong).is_err(), "{wrong}");
        }
        for other in [
            "datasets--a--b",
            "models",
            "models--",
            "models--..--x",
            "models--a--b--c",
            ".locks",
        ] {
            assert_eq!(RepoId::from_folder(other), None, "{other}");
        }
    }

    #[test]
    fn commits() {
        let commit = "ABCDEF0123456789abcdef0123456789abcdef01";
        assert_eq!(
            Commit::parse(commit).unwrap().as_str(),
            commit.to_lowercase()
        );
        for wrong in ["main", "", "../../x", &commit[1..], &format!("{commit}0")] {
            assert!(Commit::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_folder_leads_back(text in "[a-zA-Z0-9._-]{1,10}/[a-zA-Z0-9._-]{1,10}") {
            if let Ok(repo) = RepoId::parse(&text) {
                prop_assert_eq!(repo.to_string(), text);
                let folder = repo.folder();
                prop_assert!(!folder.contains(['/', '\\']) && !folder.contains(".."));
                prop_assert_eq!(RepoId::from_folder(&folder), Some(repo));
            }
        }

        #[test]
        fn any_text_is_an_answer(text in any::<String>()) {
            let _ = (RepoId::parse(&text), RepoId::from_folder(&text), Commit::parse(&text), Quant::parse(&text));
        }
    }
}

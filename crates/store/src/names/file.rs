//! The name of a file in a repository: what a hub lists, and what an index of shards names.

use super::{NameError, Rule, Why, check};
use std::fmt;
use std::path::PathBuf;

/// A relative path of plain parts, as `model-00001-of-00002.gguf` or `onnx/model.onnx`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoFile(Box<str>);

const WHAT: &str = "the name of a file in a repository";
/// As deep as files lie in a repository.
const MOST_PARTS: usize = 8;

impl RepoFile {
    /// Reads a relative path with `/` between its parts.
    ///
    /// # Errors
    /// [`NameError`]; [`NameError::walks_out`] tells a name that would leave the folder from one that
    /// only has a character or a beginning (`.gitattributes`) that model files do not have.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let rule = Rule {
            what: WHAT,
            most: 255,
            signs: "-_.+=@,~ ()[]",
        };
        let wrong = |why| NameError::new(WHAT, text, why);
        if text.is_empty() {
            return Err(wrong(Why::Empty));
        }
        // Told apart before anything else, so that what leads out is always said to lead out.
        if let Some(odd) = text.chars().find(|c| matches!(c, '\\' | '\0' | ':')) {
            return Err(wrong(Why::Character(odd)));
        }
        if text.split('/').any(str::is_empty) {
            return Err(wrong(Why::EmptyPart));
        }
        if text.split('/').any(|part| part == "." || part == "..") {
            return Err(wrong(Why::Parent));
        }
        if text.split('/').count() > MOST_PARTS {
            return Err(wrong(Why::TooDeep(MOST_PARTS)));
        }
        for part in text.split('/') {
            check(part, &rule).map_err(|error| wrong(error.why))?;
        }
        Ok(Self(text.into()))
    }

    /// The path with `/` between its parts, as the hub writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder in front of the last part, if there is one.
    pub fn folder(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(folder, _)| folder)
    }

    /// How many folders stand in front of the file.
    pub fn depth(&self) -> usize {
        self.0.matches('/').count()
    }

    /// The path as this system writes it, relative to the folder of the repository's files.
    pub fn path(&self) -> PathBuf {
        self.0.split('/').collect()
    }
}

impl fmt::Display for RepoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    #[test]
    fn files_of_real_repositories() {
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "Q4_K_M/Qwen3-235B-A22B-Q4_K_M-00001-of-00005.gguf",
            "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf",
            "1_Pooling/config.json",
            "my model (v2) [final].gguf",
        ] {
            assert_eq!(RepoFile::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_leads_out_is_told_from_what_is_only_odd() {
        for name in [
            "../x.gguf",
            "a/../../x.gguf",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "C:\\x",
            "c:x",
            "a\\..\\b",
            "x\0.gguf",
            "./x",
            "x.gguf:stream",
        ] {
            assert!(RepoFile::parse(name).unwrap_err().walks_out(), "{name:?}");
        }
        for name in [
            ".gitattributes",
            "-x",
            "модель.gguf",
            "a.",
            "nul.gguf",
            "",
            "x\n",
        ] {
            assert!(!RepoFile::parse(name).unwrap_err().walks_out(), "{name:?}");
        }
        assert!(RepoFile::parse(&"a/".repeat(20)).is_err());
        assert!(RepoFile::parse(&"a".repeat(256)).is_err());
    }

    proptest! {
        #[test]
        fn every_accepted_name_stays_inside(text in "[a-zA-Z0-9./\\\\ :_~\0-]{0,40}") {
            if let Ok(file) = RepoFile::parse(&text) {
                let path = file.path();
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|c| matches!(c, Component::Normal(_))));
                prop_assert_eq!(path.components().count(), file.depth() + 1);
            }
        }

        #[test]
        fn any_text_is_an_answer(text in any::<String>()) {
            let _ = RepoFile::parse(&text);
        }
    }
}

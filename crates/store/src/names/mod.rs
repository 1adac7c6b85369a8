//! Names that come from people, manifests and servers: parsed once, then trusted.
//!
//! A path inside a store is made from these types and from nothing else, so no name and no digest can
//! lead out of it. All of them are ASCII: there is no second way to write a character, and nothing that
//! only looks like a dot or a slash.

mod digest;
mod file;
mod ollama;
mod repo;

pub use digest::Digest;
pub use file::RepoFile;
pub use ollama::ModelName;
pub use repo::{Commit, Quant, RepoId};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be {what}: {why}")]
pub struct NameError {
    /// What it should have been, as `the name of a repository`.
    pub what: &'static str,
    /// The text, cut short and with control characters escaped.
    pub text: String,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than any real name.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    /// A character that such a name does not have.
    #[error("it holds {0:?}, and such a name is made of letters, digits and a few signs")]
    Character(char),
    /// It begins with a sign that means something to a shell or a file system.
    #[error("it begins with {0:?}, and a letter or a digit is expected there")]
    First(char),
    /// A file system would drop its end.
    #[error("it ends with {0:?}")]
    Last(char),
    /// The hub allows no such name, and the cache puts it between the parts of one.
    #[error("it holds `--`")]
    Doubled,
    /// `..` leads to the folder above.
    #[error("`..` leads out of its folder")]
    Parent,
    /// An absolute path, or an empty part between slashes.
    #[error("it has an empty part, or begins or ends with a slash")]
    EmptyPart,
    /// Deeper than files lie.
    #[error("it has more than {0} parts")]
    TooDeep(usize),
    /// `CON`, `NUL` and others, which Windows gives to devices in every folder.
    #[error("it is the name of a device on Windows")]
    Device,
    /// A digest is exactly so long.
    #[error("it must be sha256: and 64 hexadecimal digits")]
    NotADigest,
    /// A commit is exactly so long.
    #[error("it must be 40 hexadecimal digits")]
    NotACommit,
    /// The name of a repository without one of its two parts.
    #[error("it must be ORG/REPO")]
    NotTwoParts,
}

impl NameError {
    pub(crate) fn new(what: &'static str, text: &str, why: Why) -> Self {
        const SHOWN: usize = 80;
        let mut shown: String = text
            .chars()
            .take(SHOWN)
            .flat_map(char::escape_debug)
            .collect();
        if text.chars().nth(SHOWN).is_some() {
            shown.push_str("...");
        }
        Self {
            what,
            text: shown,
            why,
        }
    }

    /// Whether the name would have led out of its folder: no slip, but somebody's intention.
    pub fn walks_out(&self) -> bool {
        matches!(
            self.why,
            Why::Parent | Why::EmptyPart | Why::Character('/' | '\\' | '\0' | ':')
        )
    }
}

/// What one part of a name may be.
struct Rule {
    what: &'static str,
    /// Longest, in bytes.
    most: usize,
    /// Signs that it may hold beside letters and digits.
    signs: &'static str,
}

/// Checks one part of a name: what comes out is a file name on every system.
fn check(text: &str, rule: &Rule) -> Result<(), NameError> {
    let wrong = |why| Err(NameError::new(rule.what, text, why));
    if text.is_empty() {
        return wrong(Why::Empty);
    }
    if text == ".." || text == "." {
        return wrong(Why::Parent);
    }
    let odd = |c: &char| !c.is_ascii_alphanumeric() && !rule.signs.contains(*c);
    if let Some(character) = text.chars().find(odd) {
        return wrong(Why::Character(character));
    }
    if text.len() > rule.most {
        return wrong(Why::TooLong(rule.most));
    }
    if let Some(first) = text
        .chars()
        .next()
        .filter(|c| !c.is_ascii_alphanumeric() && *c != '_')
    {
        return wrong(Why::First(first));
    }
    if text.contains("..") {
        return wrong(Why::Parent);
    }
    if let Some(last) = text.chars().last().filter(|c| matches!(c, '.' | ' ')) {
        return wrong(Why::Last(last));
    }
    if is_device(text) {
        return wrong(Why::Device);
    }
    Ok(())
}

/// `NUL`, `nul.txt`, `COM1`, ...: <https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>.
fn is_device(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = |prefix| {
        let digit = stem
            .strip_prefix(prefix)
            .and_then(|rest| rest.parse::<u8>().ok());
        stem.len() == 4 && digit.is_some_and(|digit| digit > 0)
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for name in ["con", "NUL", "nul.gguf", "Com1", "LPT9.txt", "aux .x"] {
            assert!(is_device(name), "{name}");
        }
        for name in ["console", "com0", "com10", "nulls", "lpt", "icon"] {
            assert!(!is_device(name), "{name}");
        }
    }

    #[test]
    fn messages() {
        let long = "x".repeat(500);
        let texts = [
            "",
            "..",
            "a/b",
            "a\0b",
            "-rf",
            "\u{202e}abc",
            "con",
            long.as_str(),
        ];
        let messages: Vec<String> = texts
            .iter()
            .map(|text| Quant::parse(text).unwrap_err().to_string())
            .chain([
                RepoId::parse("gpt2").unwrap_err().to_string(),
                Digest::parse("sha256:12").unwrap_err().to_string(),
                Commit::parse("main").unwrap_err().to_string(),
                RepoFile::parse("/etc/passwd").unwrap_err().to_string(),
            ])
            .collect();
        insta::assert_snapshot!(messages.join("\n"));
    }
}

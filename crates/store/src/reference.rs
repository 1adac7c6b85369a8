//! What a person types where a model is wanted.

use crate::names::{ModelName, NameError, Quant, RepoId, Why};
use std::path::{Path, PathBuf};

/// Longer than any path.
const MOST_BYTES: usize = 4096;

/// In front of a name on the hub; the scheme first.
const SCHEMES: &[&str] = &["https://", "http://", "hf://"];
const HOSTS: &[&str] = &["hf.co/", "huggingface.co/", "www.huggingface.co/"];

/// A model by path or by name. A name is not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A file or a folder.
    Path(PathBuf),
    /// `hf.co/ORG/REPO[:QUANT]`: nowhere but on the hub, or got from there.
    Hub(HubName),
    /// Any other name: an alias, `ORG/REPO[:QUANT]`, a name of Ollama's.
    Name(Name),
}

/// A repository on the hub and which of its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// The repository.
    pub repo: RepoId,
    /// The quantisation or file, where one is asked for.
    pub quant: Option<Quant>,
}

/// A name that may mean several things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As it was written.
    pub text: String,
    /// What it would be on the hub.
    pub hub: Option<HubName>,
    /// What it would be in Ollama's store.
    pub ollama: Option<ModelName>,
}

impl Reference {
    /// Reads a reference. A path that exists is a path; so is what looks like one.
    ///
    /// # Errors
    /// [`NameError`]: it is no path, and no name either.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "the name of a model";
        let wrong = |why| NameError::new(WHAT, text, why);
        if text.is_empty() {
            return Err(wrong(Why::Empty));
        }
        if text.len() > MOST_BYTES {
            return Err(wrong(Why::TooLong(MOST_BYTES)));
        }
        if text.contains('\0') {
            return Err(wrong(Why::Character('\0')));
        }
        if let Some(rest) = on_the_hub(text) {
            return Ok(Self::Hub(HubName::from_address(rest)?));
        }
        let path = Path::new(text);
        if path.exists() || looks_like_a_path(path, text) {
            return Ok(Self::Path(path.to_path_buf()));
        }
        let hub = HubName::parse(text);
        let ollama = ModelName::parse(text);
        match (hub, ollama) {
            (Err(_), Err(error)) => Err(error),
            (hub, ollama) => Ok(Self::Name(Name {
                text: text.to_owned(),
                hub: hub.ok(),
                ollama: ollama.ok(),
            })),
        }
    }
}

impl HubName {
    /// Reads `ORG/REPO[:QUANT]`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (repo, quant) = match text.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None => (text, None),
        };
        // Ollama writes `:latest` where nothing is chosen.
        let quant = quant.filter(|quant| !quant.eq_ignore_ascii_case("latest"));
        Ok(Self {
            repo: RepoId::parse(repo)?,
            quant: quant.map(Quant::parse).transpose()?,
        })
    }

    /// Reads what stands behind the host: also what a browser shows for a folder (`/tree/main`) or a
    /// file (`/blob/main/FILE.gguf`) of a repository.
    fn from_address(rest: &str) -> Result<Self, NameError> {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut parts = rest.splitn(5, '/');
        let (org, repo, view) = (parts.next(), parts.next(), parts.next());
        let Some(("tree" | "blob" | "resolve", org, repo)) =
            view.zip(org).zip(repo).map(|((v, o), r)| (v, o, r))
        else {
            return Self::parse(rest);
        };
        let revision = parts.next().unwrap_or("main");
        if revision != "main" {
            let what = "a branch to take a model from (only `main` is taken)";
            return Err(NameError::new(what, revision, Why::NotACommit));
        }
        let mut name = Self::parse(&format!("{org}/{repo}"))?;
        if let Some(file) = parts
            .next()
            .filter(|file| file.to_ascii_lowercase().ends_with(".gguf"))
        {
            let file = file.rsplit('/').next().unwrap_or(file);
            name.quant = Some(Quant::parse(file)?);
        }
        Ok(name)
    }
}

/// `hf.co/ORG/REPO:QUANT`.
impl std::fmt::Display for HubName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hf.co/{}", self.repo)?;
        match &self.quant {
            Some(quant) => write!(f, ":{quant}"),
            None => Ok(()),
        }
    }
}

/// What stands behind the name of the hub, if it stands in front.
fn on_the_hub(text: &str) -> Option<&str> {
    let strip = |text: &'_ str, prefix: &str| {
        let head = text.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(prefix.len())
    };
    let scheme = SCHEMES
        .iter()
        .find_map(|scheme| Some((*scheme, strip(text, scheme)?)));
    let rest = text.get(scheme.map_or(0, |(_, len)| len)..)?;
    let host = HOSTS.iter().find_map(|host| strip(rest, host));
    match (host, scheme) {
        (Some(len), _) => rest.get(len..),
        (None, Some(("hf://", _))) => Some(rest),
        (None, _) => None,
    }
}

/// Whether somebody who wrote this meant a file, though there is none.
fn looks_like_a_path(path: &Path, text: &str) -> bool {
    let begins = ["./", "../", "~/", ".\\", "..\\"]
        .iter()
        .any(|start| text.starts_with(start));
    let ends = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("gguf") || e.eq_ignore_ascii_case("safetensors"));
    begins
        || path.is_absolute()
        || text.contains('\\')
        || (ends && !text.contains(':'))
        || matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hub(text: &str) -> String {
        match Reference::parse(text) {
            Ok(Reference::Hub(name)) => name.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_on_the_hub() {
        for (text, wanted) in [
            ("hf.co/Qwen/Qwen3-4B-GGUF", "hf.co/Qwen/Qwen3-4B-GGUF"),
            (
                "HF.co/Qwen/Qwen3-4B-GGUF:Q8_0",
                "hf.co/Qwen/Qwen3-4B-GGUF:Q8_0",
            ),
            (
                "hf.co/Qwen/Qwen3-4B-GGUF:latest",
                "hf.co/Qwen/Qwen3-4B-GGUF",
            ),
            (
                "https://huggingface.co/Qwen/Qwen3-4B-GGUF/",
                "hf.co/Qwen/Qwen3-4B-GGUF",
            ),
            (
                "huggingface.co/Qwen/Qwen3-4B-GGUF/tree/main",
                "hf.co/Qwen/Qwen3-4B-GGUF",
            ),
            (
                "https://huggingface.co/a/b/resolve/main/Q8/m-Q8_0.gguf?download=true",
                "hf.co/a/b:m-Q8_0.gguf",
            ),
            ("hf://a/b:Q4_0", "hf.co/a/b:Q4_0"),
        ] {
            assert_eq!(hub(text), wanted, "{text}");
        }
        for wrong in [
            "hf.co/",
            "hf.co/a",
            "hf.co/../..",
            "hf.co/a/b/c",
            "hf.co/a/b:../c",
            "hf://",
            "hf.co/a/b:",
            "https://huggingface.co/a/b/tree/dev",
        ] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths() {
        for text in [
            "./x", "../x", "/no/such", "x.gguf", "a/b.gguf", "C:\\m\\x", ".", "src",
        ] {
            assert!(
                matches!(Reference::parse(text), Ok(Reference::Path(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn other_names_may_mean_several_things() {
        let Ok(Reference::Name(name)) = Reference::parse("qwen3:4b") else {
            panic!()
        };
        assert!(name.hub.is_none() && name.ollama.is_some());
        let Ok(Reference::Name(name)) = Reference::parse("Qwen/Qwen3-4B-GGUF:Q8_0") else {
            panic!()
        };
        assert!(name.hub.is_some() && name.ollama.is_some());
        let Ok(Reference::Name(name)) = Reference::parse("host.x/a/b:c") else {
            panic!()
        };
        assert!(name.hub.is_none() && name.ollama.is_some());
        for wrong in [
            "",
            "a b",
            "a\0",
            "../../etc/passwd\0",
            "a/b/c/d",
            "what is this?",
            "é",
        ] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Reference::parse(&"x".repeat(5000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer(text in any::<String>()) {
            let _ = Reference::parse(&text);
        }

        #[test]
        fn nothing_like_a_name_makes_trouble(text in "(hf\\.co/|hf://|https://huggingface\\.co/)?[a-zA-Z0-9./:?#_-]{0,60}") {
            let _ = Reference::parse(&text);
        }
    }
}

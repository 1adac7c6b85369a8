//! The name of a model in Ollama's store: `[HOST/][NAMESPACE/]MODEL[:TAG]`.

use super::{NameError, Rule, Why, check};
use std::fmt;
use std::path::PathBuf;

/// A name with nothing left out. Its parts are the folders and the file of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    host: Box<str>,
    namespace: Box<str>,
    model: Box<str>,
    tag: Box<str>,
}

/// What a name means that says less: the library of Ollama itself.
const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const TAG: &str = "latest";

const WHAT: &str = "the name of a model";

impl ModelName {
    /// Reads a name; parts that are not there are Ollama's own.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (path, tag) = match text.rsplit_once(':') {
            // A colon in front of a slash belongs to the port of a host.
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, TAG),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (host, namespace, model) = match parts.as_slice() {
            [model] => (HOST, NAMESPACE, *model),
            [namespace, model] => (HOST, *namespace, *model),
            [host, namespace, model] => (*host, *namespace, *model),
            _ => return Err(NameError::new(WHAT, text, Why::TooDeep(3))),
        };
        Self::from_parts([host, namespace, model, tag])
    }

    /// The name of the manifest that lies in these folders.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn from_parts([host, namespace, model, tag]: [&str; 4]) -> Result<Self, NameError> {
        let rule = |what, most, signs| Rule { what, most, signs };
        // A port is part of a host; where a colon cannot be in a file name, no such folder exists.
        let signs = if cfg!(windows) { "-_." } else { "-_.:" };
        check(host, &rule("the host of a model's name", 350, signs))?;
        check(
            namespace,
            &rule("the namespace of a model's name", 80, "-_."),
        )?;
        check(model, &rule(WHAT, 80, "-_."))?;
        check(tag, &rule("the tag of a model's name", 80, "-_."))?;
        Ok(Self {
            host: host.into(),
            namespace: namespace.into(),
            model: model.into(),
            tag: tag.into(),
        })
    }

    /// Where its manifest lies below a folder of manifests.
    pub fn path(&self) -> PathBuf {
        [&self.host, &self.namespace, &self.model, &self.tag]
            .into_iter()
            .map(AsRef::<str>::as_ref)
            .collect()
    }

    /// Whether both name one model: Ollama does not tell `Qwen3` from `qwen3`.
    pub fn is(&self, other: &Self) -> bool {
        let pairs = [
            (&self.host, &other.host),
            (&self.namespace, &other.namespace),
            (&self.model, &other.model),
            (&self.tag, &other.tag),
        ];
        pairs.into_iter().all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// Where it comes from, as `hf.co` for a model that Ollama got from the hub.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// As short as Ollama shows it.
impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self.host != *HOST {
            write!(f, "{}/", self.host)?;
        }
        if *self.host != *HOST || *self.namespace != *NAMESPACE {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}:{}", self.model, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn what_is_left_out_is_ollamas_own() {
        let shown = |text: &str| ModelName::parse(text).unwrap().to_string();
        assert_eq!(shown("qwen3"), "qwen3:latest");
        assert_eq!(shown("qwen3:4b"), "qwen3:4b");
        assert_eq!(shown("me/mine:x"), "me/mine:x");
        assert_eq!(
            shown("hf.co/Qwen/Qwen3-4B-GGUF:Q4_K_M"),
            "hf.co/Qwen/Qwen3-4B-GGUF:Q4_K_M"
        );
        let path = ModelName::parse("qwen3:4b").unwrap().path();
        assert_eq!(path, Path::new("registry.ollama.ai/library/qwen3/4b"));
        #[cfg(unix)]
        assert_eq!(shown("localhost:5000/a/b"), "localhost:5000/a/b:latest");
    }

    #[test]
    fn what_is_no_name() {
        for wrong in [
            "",
            ":",
            "a:",
            ":b",
            "../x",
            "a/../b",
            "a/b/c/d",
            "/a",
            "a/",
            "a:b/c:d:e",
            "a\0",
            "a b",
            ".a",
            "a:..",
            "a:../../x",
            "a\\b",
            "con",
            "а",
            "-a",
            "a:-b",
        ] {
            assert!(ModelName::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_accepted_name_has_four_plain_parts(text in "[a-zA-Z0-9./\\\\:_-]{0,40}") {
            if let Ok(name) = ModelName::parse(&text) {
                let path = name.path();
                prop_assert_eq!(path.components().count(), 4);
                prop_assert!(path.components().all(|c| matches!(c, Component::Normal(_))));
                prop_assert_eq!(ModelName::parse(&name.to_string()), Ok(name));
            }
        }
    }
}

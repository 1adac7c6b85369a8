//! Why a name does not lead to a model on this machine.

use crate::StoreError;
use crate::names::NameError;
use std::path::PathBuf;

/// Why a name does not lead to a model on this machine, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is no name.
    #[error("{0}; give a path, an alias as qwen3:4b (`ingle list --available`), or hf.co/ORG/REPO")]
    Name(#[from] NameError),
    /// A file or a folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A known model that was not downloaded yet.
    #[error("{name} is not on this machine. It is {what}. To get it:\n  ingle pull {name}")]
    NotPulled {
        /// As it was written.
        name: String,
        /// What it is and how large.
        what: String,
    },
    /// A name that the hub may know.
    #[error(
        "{name} is not on this machine{}\nIf the hub has it, this gets it:\n  ingle pull {name}",
        searched(tried, near)
    )]
    NotHere {
        /// As it was written.
        name: String,
        /// Where it was looked for.
        tried: Vec<String>,
        /// Names like it.
        near: Vec<String>,
    },
    /// A name that nobody knows.
    #[error(
        "no model is called {name}{}\n`ingle list` shows what is here, `ingle list --available` what can be got.",
        searched(tried, near)
    )]
    Unknown {
        /// As it was written.
        name: String,
        /// Where it was looked for.
        tried: Vec<String>,
        /// Names like it.
        near: Vec<String>,
    },
    /// Several models are meant.
    #[error("{name} means several models; give one of these:\n{}", lines(meant))]
    Ambiguous {
        /// As it was written.
        name: String,
        /// What each of them is called.
        meant: Vec<String>,
    },
    /// The repository is here, that quantisation is not.
    #[error(
        "{repo} is in the Hugging Face cache, but not as {quant}; there is:\n{}\nTo get the other one:\n  ingle pull {repo}:{quant}",
        lines(have)
    )]
    QuantNotHere {
        /// The repository.
        repo: String,
        /// What is asked for.
        quant: String,
        /// What is there.
        have: Vec<String>,
    },
    /// Some parts of a split model were not downloaded.
    #[error(
        "{name} lies in {wanted} files, {have} of them here. To get the others:\n  ingle pull {name}"
    )]
    Incomplete {
        /// The model.
        name: String,
        /// Files there.
        have: usize,
        /// Files there should be.
        wanted: usize,
    },
    /// A link out of a store.
    #[error("{} leads out of its store, to {}, and is not followed; if that file is meant, give its path", path.display(), target.display())]
    LeadsOut {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A manifest in Ollama's store that cannot be used.
    #[error("the manifest {} cannot be used: {why}; get the model again with `ollama pull {name}`", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The model.
        name: String,
    },
    /// A blob that is not as long as its manifest says.
    #[error("{} is cut short: {have} of {wanted} bytes; get the model again with `ollama pull {name}`", path.display())]
    CutShort {
        /// The blob.
        path: PathBuf,
        /// Its length.
        have: u64,
        /// What the manifest says.
        wanted: u64,
        /// The model.
        name: String,
    },
    /// A model that is not made of one GGUF file.
    #[error("{name} cannot be run: {why}")]
    Unsupported {
        /// The model.
        name: String,
        /// What it is instead.
        why: String,
    },
    /// A file of a store that should be a line of text.
    #[error("{} is damaged: {why}; delete it, or get the model again with `ingle pull {name}`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The model.
        name: String,
    },
}

/// Where was looked, and what is like it.
fn searched(tried: &[String], near: &[String]) -> String {
    let mut text = String::from(".");
    if !tried.is_empty() {
        text += &format!(" Looked in:\n{}", lines(tried));
    }
    if !near.is_empty() {
        text += &format!("\nDid you mean {}?", near.join(", "));
    }
    text
}

fn lines(items: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text: Vec<String> = items
        .iter()
        .take(SHOWN)
        .map(|item| format!("  {item}"))
        .collect();
    if let Some(more) = items.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push(format!("  and {more} more"));
    }
    text.join("\n")
}

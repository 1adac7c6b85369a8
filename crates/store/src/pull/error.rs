//! Why a model was not got from the hub, and what to do.

use crate::PlaceError;
use crate::download::DownloadError;
use crate::names::NameError;
use ingle_egress::EgressError;
use std::path::PathBuf;

/// Why a model was not got from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The way out is closed, or the hub does not answer.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// A file did not come.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The cache.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// No such repository.
    #[error("{host} has no model {repo}; check the spelling{}", did_you_mean(near))]
    NoRepository {
        /// The hub.
        host: String,
        /// What was asked for.
        repo: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// No such repository, or one that only some may see.
    #[error(
        "{host} shows no model {repo}. Either there is none: check the spelling{}\nOr it is private or gated: set HF_TOKEN to a token that may see it, made on the hub's page `settings/tokens`",
        did_you_mean(near)
    )]
    NoRepositoryOrNoToken {
        /// The hub.
        host: String,
        /// What was asked for.
        repo: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// Its makers want their licence accepted first.
    #[error("{host} does not give {repo} to everybody: accept its licence on {page}, {}", if *token_sent { "with the account that HF_TOKEN belongs to" } else { "then make a token on the hub's page `settings/tokens` and set HF_TOKEN to it" })]
    Gated {
        /// The hub.
        host: String,
        /// The repository.
        repo: String,
        /// Its page.
        page: String,
        /// Whether a token went along.
        token_sent: bool,
    },
    /// Another no.
    #[error("{host} answered with status {status}; try again later, or check HF_ENDPOINT")]
    Status {
        /// The hub.
        host: String,
        /// The status.
        status: u16,
    },
    /// An answer that cannot be used.
    #[error("the answer of {host} cannot be used: {why}; check that HF_ENDPOINT is a hub")]
    BadAnswer {
        /// The hub.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file name that would lead out of its folder.
    #[error(
        "{host} lists a file whose name would lead out of its folder ({error}); nothing was downloaded: do not trust this repository"
    )]
    HostileName {
        /// The hub.
        host: String,
        /// The name.
        error: NameError,
    },
    /// Nothing that runs here.
    #[error(
        "{repo} has neither a GGUF file nor a folder of safetensors; look for a repository whose name ends in -GGUF"
    )]
    NoModel {
        /// The repository.
        repo: String,
    },
    /// Files without quantisations only.
    #[error(
        "{repo} has no GGUF files, so no {quant}. If it has safetensors, `ingle pull {repo}` gets them, and `--quant` makes them smaller when they run"
    )]
    NoGguf {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
    },
    /// Other quantisations only.
    #[error("{repo} has no {quant}; it has:\n{}\nAsk for one of them, as\n  ingle pull {repo}:{}", have.join("\n"), first)]
    NoQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// What there is, with sizes.
        have: Vec<String>,
        /// One of them.
        first: String,
    },
    /// Several models are meant.
    #[error("{repo} holds several models; ask for one of them:\n{}", meant.iter().map(|file| format!("  ingle pull {repo}:{file}")).collect::<Vec<_>>().join("\n"))]
    Several {
        /// The repository.
        repo: String,
        /// Their files.
        meant: Vec<String>,
    },
    /// A split model of which the repository lacks parts.
    #[error(
        "{repo} has only {have} of the {wanted} files of {quant}; ask for another quantisation"
    )]
    MissingParts {
        /// The repository.
        repo: String,
        /// The quantisation.
        quant: String,
        /// Files there.
        have: usize,
        /// Files there should be.
        wanted: usize,
    },
    /// Too little room, seen before anything is downloaded.
    #[error("{} has {free} free, and {needed} are needed; make room, or let HF_HUB_CACHE name a folder on another disk", folder.display())]
    NoRoom {
        /// The cache.
        folder: PathBuf,
        /// What is free.
        free: String,
        /// What is needed.
        needed: String,
    },
    /// The cache could not be written.
    #[error("{} could not be written: {error}; check the folder's permissions", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; did you mean\n  {}", near.join("\n  ")),
    }
}

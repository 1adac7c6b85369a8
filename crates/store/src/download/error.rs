//! What can go wrong with a download.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_egress::EgressError;

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The door said no, or the user did.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The user stopped it.
    #[error("stopped{}; the same command goes on from there", at(*have, *size))]
    Cancelled {
        /// Bytes on the disk.
        have: u64,
        /// Bytes of the whole.
        size: Option<u64>,
    },
    /// Nothing is there.
    #[error("{host} has no {file}; check the name of the repository and of the file")]
    NotFound {
        /// Who said so.
        host: String,
        /// The URL's path.
        file: String,
    },
    /// Somebody else may have it.
    #[error(
        "{host} does not give {file} ({status}): {}",
        if *token_sent { "the access token does not open it; accept the model's licence on its page, or use another token" }
        else { "it wants an access token; set HF_TOKEN to yours, and accept the model's licence on its page" }
    )]
    Denied {
        /// Who said so.
        host: String,
        /// The URL's path.
        file: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token went along.
        token_sent: bool,
    },
    /// Another no.
    #[error("{host} does not give {file} (status {status}); check that the endpoint is right")]
    Refused {
        /// Who said so.
        host: String,
        /// The URL's path.
        file: String,
        /// The status.
        status: u16,
    },
    /// Neither the server nor the caller knows how much to expect.
    #[error(
        "{host} does not say how long {file} is, so that its end could not be told from a cut; get it another way"
    )]
    NoLength {
        /// Who.
        host: String,
        /// The URL's path.
        file: String,
    },
    /// A server that wants more patience than there is.
    #[error("{host} asks to come back in {} s; try again then", asked.as_secs())]
    Later {
        /// Who.
        host: String,
        /// When.
        asked: Duration,
    },
    /// Tries were used up.
    #[error("{} was not fetched{}. {tries} tries in a row brought nothing new, the last because {fault}{}", name, so_far(*have, *size), kept(*have))]
    GaveUp {
        /// The file, for people.
        name: String,
        /// The last fault.
        fault: std::sync::Arc<Fault>,
        /// Tries made in vain.
        tries: u32,
        /// Bytes on the disk.
        have: u64,
        /// Bytes of the whole.
        size: Option<u64>,
    },
    /// The bytes are not the ones that were asked for, twice.
    #[error(
        "{} is not what it should be: its {kind} is {got} and should be {wanted}. It was fetched twice from {host} and thrown away; do not trust that copy, use another source",
        name
    )]
    WrongDigest {
        /// The file, for people.
        name: String,
        /// Who sent it.
        host: String,
        /// What sort of digest: "SHA-256".
        kind: &'static str,
        /// The digest that was asked for.
        wanted: String,
        /// The digest of what came.
        got: String,
    },
    /// Not enough room, seen before or while writing.
    #[error("the disk of {} has no room: {} needs {} more than there is; make room, then the same command goes on", folder.display(), name, size_text(*missing))]
    DiskFull {
        /// The folder.
        folder: PathBuf,
        /// The file, for people.
        name: String,
        /// Bytes that are missing.
        missing: u64,
    },
    /// The operating system refused.
    #[error("{} could not be {doing}: {error}; check the folder's permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "written".
        doing: &'static str,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The file system has no locks.
    #[error("{} could not be locked: {error}; put models on a file system that has locks", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// A target without a name or a folder.
    #[error("{} cannot be the name of a file to fetch", path.display())]
    BadTarget {
        /// The final name.
        path: PathBuf,
    },
}

/// What went wrong with one try, after which another may do better.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The network.
    #[error("{0}")]
    Net(EgressError),
    /// The server is busy or broken.
    #[error("{host} is busy or out of order (status {status})")]
    Busy {
        /// Who.
        host: String,
        /// 429 or 5xx, or a no from a host that a redirect led to.
        status: u16,
        /// The pause it asks for.
        retry_after: Option<Duration>,
    },
    /// Another length than expected.
    #[error("{host} says that the file has {got} bytes, and {wanted} were expected")]
    Size {
        /// Who.
        host: String,
        /// Bytes expected.
        wanted: u64,
        /// Bytes announced.
        got: u64,
    },
    /// A part that was not asked for.
    #[error("{host} was asked for the file from byte {have} and answered with `{range}`")]
    Range {
        /// Who.
        host: String,
        /// What was asked for.
        have: u64,
        /// What it says it sends.
        range: String,
    },
    /// It sends on and on.
    #[error("{host} sends more than the {size} bytes of the file")]
    TooLong {
        /// Who.
        host: String,
        /// Bytes of the whole.
        size: u64,
    },
    /// It stopped in between.
    #[error("{host} stopped after {have} of {size} bytes")]
    Short {
        /// Who.
        host: String,
        /// Bytes on the disk.
        have: u64,
        /// Bytes of the whole.
        size: u64,
    },
    /// A transformation that was not asked for.
    #[error("{host} sends the file encoded as `{encoding}`, which was not asked for")]
    Encoded {
        /// Who.
        host: String,
        /// What it says.
        encoding: String,
    },
    /// Another file than at the beginning.
    #[error("the file at {host} changed while it was fetched")]
    Changed {
        /// Who.
        host: String,
    },
}

impl DownloadError {
    pub(super) fn io(path: &Path, doing: &'static str, error: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            doing,
            error,
        }
    }
}

fn at(have: u64, size: Option<u64>) -> String {
    match size {
        Some(size) => format!(" at {} of {}", size_text(have), size_text(size)),
        None => String::new(),
    }
}

fn so_far(have: u64, size: Option<u64>) -> String {
    match (have, size) {
        (1.., Some(size)) => format!(" whole ({} of {})", size_text(have), size_text(size)),
        _ => String::new(),
    }
}

fn kept(have: u64) -> &'static str {
    match have {
        0 => ". Try again later",
        _ => ". What has come is kept: the same command goes on from there",
    }
}

/// A size as people say it, in powers of 1000 as download pages do.
fn size_text(bytes: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    for (step, unit) in STEPS {
        if bytes >= step {
            let tenths = bytes / (step / 10);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

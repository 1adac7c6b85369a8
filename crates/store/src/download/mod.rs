//! Files fetched through the one door: resumed, verified, put in place whole.
//!
//! [`fetch_file`] writes into a partial file beside the target and renames it when it is complete and,
//! where a digest is known, right. Under the target's name there is a whole file or none.
//!
//! | beside `NAME` | what it is |
//! | --- | --- |
//! | `.NAME.partial` | the first bytes of the file; kept when a download fails, so that the next goes on |
//! | `.NAME.partial.json` | what they are the first bytes of |
//! | `.NAME.lock` | held by the one process (the system's lock) that may write the others |
//!
//! # What is trusted
//! Nothing that the server says. With a digest, the bytes decide: a partial file is hashed before it is
//! continued, and a file that turns out wrong is thrown away, fetched once more from the start, then
//! given up. Without one ([`Fetched::verified`] is false) the server must at least name the same size
//! and the same strong `ETag` each time, or the download starts over.
//!
//! # When it gives up
//! A fault of the network or the server is tried again, with growing pauses or the pause that the server
//! asks for ([`Patience`]). Only tries that bring nothing new are counted, so that a large file over a bad
//! line arrives; as every try that is not counted brings at least [`Patience::progress`] bytes beyond
//! all before, there is an end.

mod answer;
mod disk;
mod error;
mod lock;
mod partial;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingle_egress::{Cancel, Door, Token, Url};

pub use disk::{Disk, PortableDisk, SystemDisk};
pub use error::{DownloadError, Fault};

use crate::{Commit, Digest};

/// A file to fetch.
#[derive(Clone)]
pub struct Fetch {
    /// Where it is. Each try begins here, so that download links that expire are made anew.
    pub url: Url,
    /// An access token, which goes to the origin that it is for only.
    pub token: Option<Token>,
    /// How long it is, where that is known.
    pub size: Option<u64>,
    /// What its bytes are, where that is known.
    pub sha256: Option<Digest>,
    /// Git's name for its bytes (the SHA-1 of a header and them), where that is known and the SHA-256 is
    /// not, as for the small files of a hub. It holds against accidents and against other files; whoever
    /// can make SHA-1 collide could deceive it.
    pub git: Option<Commit>,
    /// What messages call it. A final name may be a digest, which says nothing to a person.
    pub name: String,
    /// Its final name, made from checked names by the caller. The folder is made if it is not there.
    pub into: PathBuf,
    /// When to give up.
    pub patience: Patience,
    /// The disk.
    pub disk: Arc<dyn Disk>,
}

impl Fetch {
    /// The file at `url`, of which nothing is known yet, to become `into`.
    #[must_use]
    pub fn new(url: Url, into: PathBuf) -> Self {
        let name = into.file_name().unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            url,
            token: None,
            size: None,
            sha256: None,
            git: None,
            into,
            patience: Patience::default(),
            disk: Arc::new(SystemDisk),
        }
    }

    /// Whether the bytes themselves will say that they are the file.
    fn has_digest(&self) -> bool {
        self.sha256.is_some() || self.git.is_some()
    }
}

/// When to try again, and when not to.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries in a row that may bring nothing new.
    pub tries: u32,
    /// The pause after the first of them; it doubles each time.
    pub pause: Duration,
    /// The longest pause of our own choice.
    pub longest_pause: Duration,
    /// The longest pause that a server may ask for.
    pub longest_asked: Duration,
    /// How many new bytes make a try worth it.
    pub progress: u64,
    /// Bytes that stay free on the disk; for a file that is smaller than this, as many as it has.
    pub margin: u64,
}

impl Default for Patience {
    /// 8 tries; pauses from half a second to 30 s, up to 5 minutes where asked; 64 KiB are progress;
    /// 256 MiB stay free.
    fn default() -> Self {
        Self {
            tries: 8,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            longest_asked: Duration::from_secs(300),
            progress: 64 << 10,
            margin: 256 << 20,
        }
    }
}

/// What a download is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// Another process is fetching the same file; this one waits for it.
    Waiting,
    /// What an earlier download left is read and hashed.
    Checking {
        /// Bytes read.
        done: u64,
        /// Bytes to read.
        of: u64,
    },
    /// Bytes arrive.
    Fetching {
        /// Bytes in the partial file.
        done: u64,
        /// The file's size; known from the first answer on.
        of: Option<u64>,
    },
    /// Something went wrong, and there will be another try.
    Retrying {
        /// What.
        fault: Arc<Fault>,
        /// After this pause.
        pause: Duration,
        /// Tries left that may bring nothing new.
        left: u32,
    },
    /// The whole file was wrong and was thrown away; it is fetched once more.
    Restarting,
}

/// A file that is in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its name.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What its bytes are; `None` for a file that was there already and for which no digest was known.
    pub sha256: Option<Digest>,
    /// Whether the digest is the one that was asked for.
    pub verified: bool,
    /// Whether it was there already (or another process brought it).
    pub already: bool,
}

/// Fetches a file, or finds it in place. Blocks; not to be called from an async task.
///
/// # Errors
/// [`DownloadError`]: under the final name there is then what was there before. What has been fetched is
/// kept for the next time, except where it proved to be wrong.
pub fn fetch_file(
    door: &Door,
    fetch: &Fetch,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Fetched, DownloadError> {
    run::fetch_file(door, fetch, progress, cancel)
}

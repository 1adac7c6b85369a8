//! One writer a file, also among several processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_egress::Cancel;

use super::{DownloadError, Progress};

/// How often a lock that another process holds is tried again.
const LOOK: Duration = Duration::from_millis(100);

/// The right to write one partial file. The system takes it back when the process ends, however it ends.
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock at `path`, after whoever holds it.
    pub(super) fn take(
        path: PathBuf,
        progress: &mut dyn FnMut(Progress),
        cancel: &Cancel,
    ) -> Result<Self, DownloadError> {
        let mut waited = false;
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| DownloadError::io(&path, "opened", error))?;
            match file.try_lock() {
                // Whoever had it may have removed the file in between: then this is the lock of a name
                // that is gone, and somebody else may hold the one that is there now.
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, _file: file }),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(DownloadError::Lock { path, error }),
            }
            if !waited {
                progress(Progress::Waiting);
            }
            waited = true;
            if cancel.sleep(LOOK) {
                return Err(DownloadError::Cancelled {
                    have: 0,
                    size: None,
                });
            }
        }
    }
}

impl Drop for Lock {
    /// Leaves no file behind, where a removed file can be told from one that was made anew. Elsewhere the
    /// empty file stays.
    fn drop(&mut self) {
        if cfg!(unix) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

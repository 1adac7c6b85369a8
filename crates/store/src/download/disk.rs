//! What a download asks of the disk, behind a trait because the question is not portable and because a
//! full disk has to be tried.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The disk that a file is written to.
pub trait Disk: Send + Sync {
    /// Bytes that this user may still write in `folder`; `None` where that is not known.
    fn free(&self, folder: &Path) -> Option<u64>;

    /// Writes all of `bytes` at the end of `file`.
    ///
    /// # Errors
    /// As [`Write::write_all`].
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

/// The machine's disk, asked by `statvfs` on Linux.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    #[cfg(target_os = "linux")]
    fn free(&self, folder: &Path) -> Option<u64> {
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    #[cfg(not(target_os = "linux"))]
    fn free(&self, folder: &Path) -> Option<u64> {
        PortableDisk.free(folder)
    }
}

/// A disk that is not asked: a full one is seen when a write fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct PortableDisk;

impl Disk for PortableDisk {
    fn free(&self, _folder: &Path) -> Option<u64> {
        None
    }
}

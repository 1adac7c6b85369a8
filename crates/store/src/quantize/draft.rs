//! A file that gets its name only when it is whole.

use super::QuantizeError;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file being written under a name of its own beside the one it will have. Dropped before
/// [`Draft::publish`], it is gone.
pub(super) struct Draft {
    /// `None` once it has its name.
    file: Option<BufWriter<File>>,
    path: PathBuf,
    wanted: PathBuf,
    replace: bool,
}

/// Tells drafts of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Draft {
    /// Makes a file beside `wanted`, where `bytes` bytes are free.
    ///
    /// # Errors
    /// The folder is not there or not writable, the disk too full, or `wanted` is there and `replace` is
    /// false.
    pub(super) fn new(wanted: &Path, bytes: u64, replace: bool) -> Result<Self, QuantizeError> {
        check_target(wanted, replace)?;
        let folder = folder_of(wanted);
        let missing = || QuantizeError::NoFolder {
            path: wanted.into(),
            folder: folder.clone(),
        };
        if !folder.is_dir() {
            return Err(missing());
        }
        if let Some(free) = free_bytes(&folder)
            && free < bytes
        {
            let path = wanted.into();
            return Err(QuantizeError::DiskFull { path, bytes, free });
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = OsString::from(".");
        name.push(wanted.file_name().ok_or_else(missing)?);
        name.push(format!(".{}-{number}.part", std::process::id()));
        let path = folder.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| QuantizeError::write(wanted, error))?;
        Ok(Self {
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            path,
            wanted: wanted.into(),
            replace,
        })
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), QuantizeError> {
        match &mut self.file {
            Some(file) => file
                .write_all(bytes)
                .map_err(|error| QuantizeError::write(&self.wanted, error)),
            None => Ok(()),
        }
    }

    /// Waits until all of it is on the disk, and gives it its name.
    pub(super) fn publish(mut self) -> Result<(), QuantizeError> {
        self.settle()
            .map_err(|error| QuantizeError::write(&self.wanted, error))?;
        // Somebody else may have made it meanwhile.
        check_target(&self.wanted, self.replace)?;
        std::fs::rename(&self.path, &self.wanted)
            .map_err(|error| QuantizeError::write(&self.wanted, error))?;
        self.file = None;
        // The name is safe once its folder is; not every system can wait for that.
        if let Ok(folder) = File::open(folder_of(&self.wanted)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    fn settle(&mut self) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush()?;
            file.get_ref().sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            drop(file.into_parts()); // what was not written yet is not wanted any more
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => PathBuf::from("."),
    }
}

/// Whether a file may take this name.
fn check_target(wanted: &Path, replace: bool) -> Result<(), QuantizeError> {
    let path = || wanted.to_path_buf();
    match std::fs::symlink_metadata(wanted) {
        Err(_) => Ok(()),
        Ok(_) if wanted.is_dir() => Err(QuantizeError::IsFolder { path: path() }),
        Ok(_) if !replace => Err(QuantizeError::Exists { path: path() }),
        Ok(_) => Ok(()),
    }
}

/// Bytes free for this user on the disk that holds `folder`; `None` where the system does not say.
#[cfg(target_os = "linux")]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(target_os = "linux"))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_draft_has_its_name_only_when_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a.gguf");
        let mut draft = Draft::new(&wanted, 3, false).unwrap();
        draft.write(b"abc").unwrap();
        assert!(!wanted.exists());
        draft.publish().unwrap();
        assert_eq!(std::fs::read(&wanted).unwrap(), b"abc");
        assert_eq!(names(folder.path()), ["a.gguf"]);
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = Draft::new(&folder.path().join("a.gguf"), 3, false).unwrap();
        draft.write(b"abc").unwrap();
        drop(draft);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn what_is_there_stays_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a.gguf");
        let draft = Draft::new(&wanted, 3, false).unwrap();
        std::fs::write(&wanted, "mine").unwrap();
        assert!(matches!(
            Draft::new(&wanted, 3, false),
            Err(QuantizeError::Exists { .. })
        ));
        // It came while the draft was being written.
        assert!(matches!(draft.publish(), Err(QuantizeError::Exists { .. })));
        assert_eq!(std::fs::read(&wanted).unwrap(), b"mine");
        Draft::new(&wanted, 3, true).unwrap().publish().unwrap();
        assert_eq!(std::fs::read(&wanted).unwrap(), b"");
        assert_eq!(names(folder.path()), ["a.gguf"]);
    }

    #[test]
    fn places_that_cannot_be_written_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(
            Draft::new(&at("no/a.gguf"), 3, false),
            Err(QuantizeError::NoFolder { .. })
        ));
        assert!(matches!(
            Draft::new(folder.path(), 3, true),
            Err(QuantizeError::IsFolder { .. })
        ));
        #[cfg(target_os = "linux")]
        assert!(matches!(
            Draft::new(&at("a.gguf"), u64::MAX, false),
            Err(QuantizeError::DiskFull { .. })
        ));
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

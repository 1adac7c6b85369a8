//! The folder of a repository in the Hugging Face cache, as its own library writes it.

use super::{Plan, PullError, RemoteFile, Repository};
use crate::hub_cache::BRANCH;
use std::path::{Path, PathBuf};

pub(super) struct Folder {
    pub root: PathBuf,
    pub blobs: PathBuf,
    pub snapshot: PathBuf,
    refs: PathBuf,
    commit: String,
}

impl Folder {
    pub fn new(root: &Path, repository: &Repository) -> Self {
        let folder = root.join(repository.repo.folder());
        let commit = repository.commit.as_str().to_owned();
        Self {
            root: root.to_path_buf(),
            blobs: folder.join("blobs"),
            snapshot: folder.join("snapshots").join(&commit),
            refs: folder.join("refs"),
            commit,
        }
    }

    /// What to open.
    pub fn model(&self, plan: &Plan) -> PathBuf {
        match plan.files.first() {
            Some(file) if !plan.is_folder => self.snapshot.join(file.file.path()),
            _ => self.snapshot.clone(),
        }
    }

    pub fn blob(&self, file: &RemoteFile) -> PathBuf {
        self.blobs.join(file.check.blob_name())
    }

    /// Whether a blob of this name and length is here.
    pub fn has_blob(&self, file: &RemoteFile) -> bool {
        self.blob(file)
            .metadata()
            .is_ok_and(|found| found.is_file() && found.len() == file.size)
    }

    /// Bytes of it that an earlier pull left.
    pub fn partial_bytes(&self, file: &RemoteFile) -> u64 {
        let partial = self
            .blobs
            .join(format!(".{}.partial", file.check.blob_name()));
        partial.metadata().map_or(0, |found| found.len())
    }

    /// Whether a file is in the snapshot: a blob is whole under its name, so its length is enough.
    pub fn has(&self, file: &RemoteFile) -> bool {
        let path = self.snapshot.join(file.file.path());
        let right = path
            .metadata()
            .is_ok_and(|found| found.is_file() && found.len() == file.size);
        let link = std::fs::read_link(&path).ok();
        let blob = link
            .as_deref()
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned());
        right && blob.is_none_or(|blob| blob == file.check.blob_name())
    }

    /// Whether `refs/main` names this commit.
    pub fn is_current(&self) -> bool {
        std::fs::read_to_string(self.refs.join(BRANCH)).is_ok_and(|text| text.trim() == self.commit)
    }

    pub fn make(&self) -> Result<(), PullError> {
        [&self.blobs, &self.snapshot, &self.refs]
            .into_iter()
            .try_for_each(|path| make_folder(path))
    }

    /// Puts a file into the snapshot: a relative link to its blob.
    pub fn link(&self, file: &RemoteFile) -> Result<(), PullError> {
        if self.has(file) {
            return Ok(());
        }
        let path = self.snapshot.join(file.file.path());
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        // Made under another name first: another program may be making the same link.
        let fresh = self.snapshot.join(format!(
            ".{}.{}",
            file.check.blob_name(),
            std::process::id()
        ));
        let _ = std::fs::remove_file(&fresh);
        let up = "../".repeat(file.file.depth() + 2);
        let target = format!("{up}blobs/{}", file.check.blob_name());
        let made = symlink(&target, &self.blob(file), &fresh)
            .and_then(|()| std::fs::rename(&fresh, &path));
        made.map_err(|error| PullError::Write { path, error })
    }

    /// Says which commit `main` is, in one step.
    pub fn write_ref(&self) -> Result<(), PullError> {
        let path = self.refs.join(BRANCH);
        let fresh = self.refs.join(format!(".{BRANCH}.{}", std::process::id()));
        let written =
            std::fs::write(&fresh, &self.commit).and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|error| PullError::Write { path, error })
    }
}

fn make_folder(path: &Path) -> Result<(), PullError> {
    std::fs::create_dir_all(path).map_err(|error| PullError::Write {
        path: path.to_path_buf(),
        error,
    })
}

#[cfg(unix)]
fn symlink(target: &str, _blob: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Links want a privilege on Windows: a second name for the blob does as well.
#[cfg(not(unix))]
fn symlink(_target: &str, blob: &Path, link: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, link)
}

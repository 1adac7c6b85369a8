//! The partial file, its hash, and the note that says what it is a part of.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ingle_egress::Cancel;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{Disk, DownloadError, Fetch, Progress};
use crate::Digest;

/// Bytes that are hashed at once.
const STEP: usize = 1 << 20;

/// A note of more bytes than this is none of ours.
const MAX_NOTE: u64 = 64 << 10;

/// What the partial file is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Without the query, which may hold a secret.
    pub(super) url: String,
    pub(super) size: Option<u64>,
    /// Hexadecimal.
    pub(super) sha256: Option<String>,
    /// Hexadecimal.
    #[serde(default)]
    pub(super) git: Option<String>,
    /// The strong `ETag` of the answer that the bytes came from.
    pub(super) etag: Option<String>,
}

impl Note {
    pub(super) fn new(fetch: &Fetch) -> Self {
        let mut url = fetch.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        Self {
            url: url.into(),
            size: fetch.size,
            sha256: fetch.sha256.map(|digest| digest.hex()),
            git: fetch.git.as_ref().map(|oid| oid.as_str().to_owned()),
            etag: None,
        }
    }

    /// Whether what was fetched under this note is the beginning of what `now` asks for. A digest says so
    /// whatever the source; without one it takes the same source and a version (`ETag`).
    fn continues(&self, now: &Self) -> bool {
        let size = now.size.is_none() || now.size == self.size;
        let digests = (&self.sha256, &self.git) == (&now.sha256, &now.git);
        let known = now.sha256.is_some() || now.git.is_some();
        let same = digests && (known || (self.url == now.url && self.etag.is_some()));
        size && same
    }
}

/// The bytes fetched so far. Whoever has one holds the lock.
pub(super) struct Partial {
    path: PathBuf,
    note_path: PathBuf,
    file: File,
    hasher: Sha256,
    have: u64,
    pub(super) note: Note,
}

impl Partial {
    /// Opens what an earlier download left and hashes it, or begins anew.
    pub(super) fn open(
        paths: (PathBuf, PathBuf),
        fetch: &Fetch,
        progress: &mut dyn FnMut(Progress),
        cancel: &Cancel,
    ) -> Result<Self, DownloadError> {
        let (path, note_path) = paths;
        let io = |error| DownloadError::io(&path, "opened", error);
        // Never write through a link that lies there, nor into a device.
        if fs::symlink_metadata(&path).is_ok_and(|there| !there.is_file()) {
            fs::remove_file(&path).map_err(io)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        let mut partial = Self {
            path,
            note_path,
            file,
            hasher: Sha256::new(),
            have: 0,
            note: Note::new(fetch),
        };
        match partial.read_note() {
            Some(note) if note.continues(&partial.note) => {
                partial.note.etag = note.etag;
                partial.note.size = partial.note.size.or(note.size);
                partial.hash_what_is_there(progress, cancel)?;
            }
            _ => partial.clear()?,
        }
        Ok(partial)
    }

    /// Bytes fetched so far.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// The digest of the bytes fetched so far.
    pub(super) fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    /// Git's name for the bytes fetched so far.
    pub(super) fn git_oid(&mut self) -> Result<String, DownloadError> {
        let have = self.have;
        let name = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| git_oid(&self.file, have));
        let end = self.file.seek(SeekFrom::Start(have));
        end.and(name).map_err(|error| self.failed("read", error))
    }

    /// Forgets all bytes. The note stays as it is.
    pub(super) fn clear(&mut self) -> Result<(), DownloadError> {
        self.have = 0;
        self.hasher = Sha256::new();
        self.rewind().map_err(|error| self.failed("emptied", error))
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Adds `bytes`. On an error the file ends where it ended before.
    pub(super) fn append(&mut self, bytes: &[u8], disk: &dyn Disk) -> std::io::Result<()> {
        let end = self.have;
        if let Err(error) = disk.append(&mut self.file, bytes) {
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
            return Err(error);
        }
        self.hasher.update(bytes);
        self.have = end.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Puts the note beside the file, on the disk before any byte that it is about.
    pub(super) fn write_note(&self) -> Result<(), DownloadError> {
        let write = || {
            let text = serde_json::to_vec(&self.note)?;
            // Made anew, so that nothing is written through a link that lies there.
            drop(fs::remove_file(&self.note_path));
            let mut file = File::create_new(&self.note_path)?;
            std::io::Write::write_all(&mut file, &text)?;
            file.sync_all()
        };
        write().map_err(|error| DownloadError::io(&self.note_path, "written", error))
    }

    /// Makes the partial file the whole file: on the disk first, then under its name, for good.
    pub(super) fn finish(self, into: &Path) -> Result<(), DownloadError> {
        self.file
            .sync_all()
            .map_err(|error| self.failed("written to the disk", error))?;
        fs::rename(&self.path, into)
            .map_err(|error| DownloadError::io(into, "put in place", error))?;
        drop(fs::remove_file(&self.note_path));
        sync_folder(into)
    }

    /// Removes an empty partial file and its note; a partial file with bytes is for the next time.
    pub(super) fn leave(self) {
        if self.have == 0 {
            drop(fs::remove_file(&self.path));
            drop(fs::remove_file(&self.note_path));
        }
    }

    fn read_note(&self) -> Option<Note> {
        let file = File::open(&self.note_path).ok()?;
        let mut text = Vec::new();
        file.take(MAX_NOTE).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn hash_what_is_there(
        &mut self,
        progress: &mut dyn FnMut(Progress),
        cancel: &Cancel,
    ) -> Result<(), DownloadError> {
        let of = self.file.metadata().map(|there| there.len());
        let of = of.map_err(|error| self.failed("read", error))?;
        let mut piece = vec![0; STEP];
        loop {
            let read = match self.file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed("read", error)),
            };
            self.hasher.update(piece.get(..read).unwrap_or_default());
            self.have = self.have.saturating_add(read as u64);
            progress(Progress::Checking {
                done: self.have,
                of,
            });
            if cancel.is_cancelled() {
                return Err(DownloadError::Cancelled {
                    have: of,
                    size: self.note.size,
                });
            }
        }
    }

    fn failed(&self, doing: &'static str, error: std::io::Error) -> DownloadError {
        DownloadError::io(&self.path, doing, error)
    }
}

/// The digest and the length of a file.
pub(super) fn digest_of(
    path: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<(Digest, u64), DownloadError> {
    let failed = |error| DownloadError::io(path, "read", error);
    let mut file = File::open(path).map_err(failed)?;
    let of = file.metadata().map_err(failed)?.len();
    let (mut hasher, mut done, mut piece) = (Sha256::new(), 0_u64, vec![0; STEP]);
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => return Ok((Digest(hasher.finalize().into()), done)),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        hasher.update(piece.get(..read).unwrap_or_default());
        done = done.saturating_add(read as u64);
        progress(Progress::Checking { done, of });
        if cancel.is_cancelled() {
            return Err(DownloadError::Cancelled {
                have: 0,
                size: Some(of),
            });
        }
    }
}

/// Git's name for the `size` bytes of a file: the SHA-1 of `blob SIZE`, a zero byte, and they.
pub(super) fn git_oid(file: &File, size: u64) -> std::io::Result<String> {
    let (mut hasher, mut file) = (Sha1::new(), file.take(size));
    hasher.update(format!("blob {size}\0"));
    std::io::copy(&mut file, &mut Hashing(&mut hasher))?;
    let bytes = hasher.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A hash that is written to.
struct Hashing<'a>(&'a mut Sha1);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A rename is for good once the folder is on the disk.
fn sync_folder(file: &Path) -> Result<(), DownloadError> {
    if cfg!(unix)
        && let Some(folder) = file.parent()
    {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| DownloadError::io(folder, "written to the disk", error))?;
    }
    Ok(())
}

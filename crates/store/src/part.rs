//! One file of a model: how it was when it was opened, and reading ranges of it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ingle_formats::gguf::Header;
use ingle_tensor::SourceError;

use crate::StoreError;
use crate::read_at::{self, CachePolicy, FromStart, InMemory, Io, ReadAt, Stamp};

/// One file of a model.
pub(crate) struct Part {
    file: Box<dyn ReadAt>,
    /// For messages.
    pub(crate) name: String,
    /// `None` for a model in memory.
    pub(crate) path: Option<PathBuf>,
    /// As it was when opened.
    pub(crate) stamp: Stamp,
}

impl Part {
    /// Opens a file.
    pub(crate) fn open(path: &Path, io: Io) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io(path, error);
        // Asked before opening: opening a pipe waits for somebody to write.
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(StoreError::NotAFile { path: path.into() });
        }
        let file = read_at::open(path, io).map_err(failed)?;
        let stamp = file.stamp().map_err(failed)?;
        Ok(Self {
            file,
            name: path.display().to_string(),
            path: Some(path.into()),
            stamp,
        })
    }

    /// Bytes in memory that are read as a file would be.
    pub(crate) fn in_memory(name: String, bytes: Cow<'static, [u8]>) -> Self {
        let stamp = Stamp {
            len: bytes.len() as u64,
            modified: None,
        };
        Self {
            file: Box::new(InMemory(bytes)),
            name,
            path: None,
            stamp,
        }
    }

    /// The file from its first byte on.
    pub(crate) fn reader(&self) -> FromStart<'_> {
        FromStart {
            file: self.file.as_ref(),
            at: 0,
            len: self.stamp.len,
        }
    }

    /// The header of a GGUF file.
    pub(crate) fn read_header(&self) -> Result<Header, StoreError> {
        Header::read(&mut self.reader(), self.stamp.len).map_err(|error| StoreError::Gguf {
            file: self.name.clone(),
            error: Box::new(error),
        })
    }

    /// Gives back the page cache of a range.
    pub(crate) fn release(&self, start: u64, len: u64) {
        self.file.release(start, len);
    }

    /// Fills `into` from byte `start` of the file on, for the tensor `name`.
    pub(crate) fn read(
        &self,
        name: &str,
        start: u64,
        into: &mut [u8],
        cache: CachePolicy,
    ) -> Result<(), SourceError> {
        let outcome = self.file.read_exact_at(into, start);
        // A file that changed under us explains a failed read, and spoils one that did not fail.
        let now = self.file.stamp();
        let failed = |error| SourceError::Read {
            name: name.to_owned(),
            file: self.name.clone(),
            offset: start,
            error,
        };
        match now {
            Ok(now) if now != self.stamp => Err(SourceError::Changed {
                file: self.name.clone(),
                offset: start,
                then: self.stamp.len,
                now: now.len,
            }),
            Ok(_) => outcome.map_err(failed),
            Err(error) => Err(failed(error)),
        }?;
        if cache == CachePolicy::Release {
            self.release(start, into.len() as u64);
        }
        Ok(())
    }
}

//! A file of a model, opened to be streamed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use ingle_tensor::SourceError;
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};

use super::Buffer;
use super::buffer::PAGE;
use crate::StoreError;
use crate::part::Part;
use crate::read_at::{CachePolicy, Stamp, stamp_of};

/// An open file.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    /// Past the page cache: offsets, lengths and memory are aligned.
    direct: bool,
    /// What offsets and lengths must be multiples of.
    align: u64,
    cache: CachePolicy,
    /// For messages.
    name: String,
    /// As it was when the model was opened.
    stamp: Stamp,
}

impl Opened {
    /// Opens the file of `part` once more, for direct reads where that is asked for and possible.
    ///
    /// # Errors
    /// [`StoreError`]: it is not there any more, or another.
    pub(crate) fn open(
        part: &Part,
        path: &Path,
        direct: bool,
        cache: CachePolicy,
    ) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io(path, error);
        let (file, align) = match direct.then(|| open_direct(path)).flatten() {
            Some((file, align)) => (file, Some(align)),
            None => (open_cached(path).map_err(failed)?, None),
        };
        if stamp_of(&file).map_err(failed)? != part.stamp {
            return Err(StoreError::Replaced { path: path.into() });
        }
        Ok(Self {
            file,
            direct: align.is_some(),
            align: align.unwrap_or(1),
            cache,
            name: part.name.clone(),
            stamp: part.stamp,
        })
    }

    /// Whether it is read past the page cache.
    pub(crate) fn direct(&self) -> bool {
        self.direct
    }

    /// What offsets and lengths of reads are multiples of.
    pub(crate) fn align(&self) -> u64 {
        self.align
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// One positioned read, which may read less.
    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.file.read_at(into, offset)
    }

    /// Bytes to go back, so that the next read of a range begins where it may.
    pub(crate) fn beyond(&self, got: usize) -> usize {
        let align = usize::try_from(self.align).unwrap_or(1).max(1);
        got % align
    }

    /// [`SourceError::Changed`] where the file is no longer what it was.
    pub(crate) fn check(&self, tensor: &str, offset: u64) -> Result<(), SourceError> {
        match stamp_of(&self.file) {
            Ok(now) if now != self.stamp => Err(SourceError::Changed {
                file: self.name.clone(),
                offset,
                then: self.stamp.len,
                now: now.len,
            }),
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(tensor, offset, error)),
        }
    }

    /// What a failed read means. A file that changed under us explains it.
    pub(crate) fn failed(&self, tensor: &str, offset: u64, error: std::io::Error) -> SourceError {
        match stamp_of(&self.file) {
            Ok(now) if now != self.stamp => SourceError::Changed {
                file: self.name.clone(),
                offset,
                then: self.stamp.len,
                now: now.len,
            },
            _ => SourceError::Read {
                name: tensor.to_owned(),
                file: self.name.clone(),
                offset,
                error,
            },
        }
    }

    /// Gives back the pages of a range, those that are in it in part too, where that was asked for and there are any.
    pub(crate) fn release(&self, offset: u64, len: u64) {
        if self.direct || self.cache == CachePolicy::Keep {
            return;
        }
        let page = PAGE as u64;
        let start = offset - offset % page;
        let end = offset.saturating_add(len).next_multiple_of(page);
        let len = std::num::NonZeroU64::new(end.saturating_sub(start));
        // Only advice: where it is not taken, nothing is lost.
        let _ = rustix::fs::fadvise(&self.file, start, len, rustix::fs::Advice::DontNeed);
    }
}

/// The file opened for reads through the page cache, which shall hold nothing that was not asked for.
fn open_cached(path: &Path) -> std::io::Result<File> {
    let file = File::open(path)?;
    // Only advice.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
    Ok(file)
}

/// The file opened for direct reads, and their alignment; `None` where its file system does not offer them.
fn open_direct(path: &Path) -> Option<(File, u64)> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let align = alignment(&file)?;
    // Some file systems let it be opened and refuse to read.
    let mut block = Buffer::new(usize::try_from(align).ok()?);
    file.read_at(block.bytes_mut(), 0).ok()?;
    Some((file, align))
}

/// What direct reads of a file are multiples of: what the system says, and never less than a page, because a disk
/// reads no less.
fn alignment(file: &File) -> Option<u64> {
    /// More is no alignment but a mistake.
    const MOST: u32 = 1 << 20;
    let Ok(said) = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
        return Some(PAGE as u64);
    };
    let told = StatxFlags::from_bits_retain(said.stx_mask).contains(StatxFlags::DIOALIGN);
    let (offsets, memory) = (said.stx_dio_offset_align, said.stx_dio_mem_align);
    match told {
        false => Some(PAGE as u64),
        // That is how it says that there are no direct reads of this file. Memory begins at a page.
        true if offsets == 0 || offsets > MOST || memory as usize > PAGE => None,
        true => Some(u64::from(offsets.max(PAGE as u32).next_power_of_two())),
    }
}

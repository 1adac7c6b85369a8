//! Reading a range of a file: positioned reads where the system has them, a portable twin elsewhere.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
#[cfg(unix)]
use std::sync::Once;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// How files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Io {
    /// The best way that this system has.
    #[default]
    Native,
    /// As [`Io::Native`], but without io_uring: positioned reads, which every Unix has.
    Positioned,
    /// The way that works on every system: one reader at a time, and no word to the page cache.
    Portable,
}

/// What happens to the pages that the system keeps of a file after they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// They stay, so that the next start of the same model reads memory and not the disk. The system
    /// takes them back by itself when a program asks for memory.
    #[default]
    Keep,
    /// They are given back behind each read. For a memory budget, which counts the page cache: a
    /// weight in memory should not be there twice.
    Release,
}

/// Length and time of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub len: u64,
    pub modified: Option<SystemTime>,
}

/// A file, or what looks like one.
pub(crate) trait ReadAt: Send + Sync {
    /// Fills `into` from byte `offset` on.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// As the file is now.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Tells the system that this range will not be read again soon.
    fn release(&self, _offset: u64, _len: u64) {}
}

/// Opens a file for reading ranges of it.
pub(crate) fn open(path: &Path, io: Io) -> io::Result<Box<dyn ReadAt>> {
    let file = File::open(path)?;
    match io {
        #[cfg(unix)]
        Io::Native | Io::Positioned => Ok(Box::new(Positioned {
            file,
            no_more_ahead: Once::new(),
        })),
        _ => Ok(Box::new(Portable(Mutex::new(file)))),
    }
}

/// Bytes of a page of the page cache, as a rule.
#[cfg(target_os = "linux")]
const PAGE: u64 = 4096;

/// A file as it is now.
pub(crate) fn stamp_of(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok(Stamp {
        len: metadata.len(),
        modified: metadata.modified().ok(),
    })
}

#[cfg(unix)]
struct Positioned {
    file: File,
    /// The system was told not to read ahead: what it reads beyond a range nobody gives back.
    no_more_ahead: Once,
}

#[cfg(unix)]
impl ReadAt for Positioned {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, into, offset)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        stamp_of(&self.file)
    }

    #[cfg(target_os = "linux")]
    fn release(&self, offset: u64, len: u64) {
        use rustix::fs::{Advice, fadvise};

        // Only advice: where it is not taken, nothing is lost.
        self.no_more_ahead.call_once(|| {
            let _ = fadvise(&self.file, 0, None, Advice::Random);
        });
        // Whole pages: of those at the ends a part was read too.
        let start = offset - offset % PAGE;
        let end = offset.saturating_add(len).next_multiple_of(PAGE);
        if let Some(len) = std::num::NonZeroU64::new(end - start) {
            let _ = fadvise(&self.file, start, Some(len), Advice::DontNeed);
        }
    }
}

struct Portable(Mutex<File>);

impl ReadAt for Portable {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        stamp_of(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A file in memory: a model that is built into the program.
pub(crate) struct InMemory(pub Cow<'static, [u8]>);

impl ReadAt for InMemory {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.0.get(start..start.checked_add(into.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp {
            len: self.0.len() as u64,
            modified: None,
        })
    }
}

/// Reads from the start to the end, for the header.
pub(crate) struct FromStart<'f> {
    pub file: &'f dyn ReadAt,
    pub at: u64,
    pub len: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = into.len().min(left);
        if let Some(into) = into.get_mut(..count) {
            self.file.read_exact_at(into, self.at)?;
        }
        self.at += count as u64;
        Ok(count)
    }
}

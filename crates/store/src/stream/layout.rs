//! From ranges of tensors to reads of files: where the bytes of a request lie on disk, and where in a buffer they
//! are read to.

use ingle_tensor::SourceError;
use ingle_tensor::fetch::TensorRange;

use super::{Buffer, Opened};
use crate::ModelFiles;

/// Where the ranges of one request lie.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) ranges: Vec<Placed>,
    /// Bytes of the buffer that they are read into.
    pub(crate) bytes: usize,
}

/// Where one range lies. What is read begins and ends at multiples of its file's alignment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    /// Index of the file.
    pub(crate) file: usize,
    /// The first byte that is read, from the start of the file.
    pub(crate) start: u64,
    /// Bytes that are read, which may end behind the file.
    pub(crate) len: usize,
    /// Bytes that are read before the first that was asked for.
    pub(crate) skip: usize,
    /// Bytes that were asked for.
    pub(crate) wanted: usize,
    /// Where in the buffer what is read begins.
    pub(crate) at: usize,
}

impl Layout {
    /// Where `ranges` lie in the files of `model`, which are `files`.
    ///
    /// # Errors
    /// [`SourceError::Missing`], [`SourceError::Range`].
    pub(crate) fn of(
        model: &ModelFiles,
        files: &[Opened],
        ranges: &[TensorRange],
    ) -> Result<Self, SourceError> {
        let mut layout = Self {
            ranges: Vec::with_capacity(ranges.len()),
            bytes: 0,
        };
        for range in ranges {
            let missing = || SourceError::Missing {
                name: range.name.to_string(),
            };
            let (file, first) = model.place_of(&range.name, range.offset, range.len)?;
            let align = files.get(file).ok_or_else(missing)?.align().max(1);
            let start = first - first % align;
            // Smaller than the alignment, and the range was checked: neither overflows.
            let skip = (first - start) as usize;
            let align = usize::try_from(align).unwrap_or(1);
            // Of no bytes, nothing is read.
            let (skip, len) = match range.len {
                0 => (0, 0),
                len => (skip, skip.saturating_add(len).next_multiple_of(align)),
            };
            layout.ranges.push(Placed {
                file,
                start,
                len,
                skip,
                wanted: range.len,
                at: layout.bytes,
            });
            layout.bytes = layout.bytes.saturating_add(len);
        }
        Ok(layout)
    }

    /// The bytes of each range, out of the buffer that they were read to.
    pub(crate) fn slices<'b>(&self, buffer: &'b Buffer) -> Vec<&'b [u8]> {
        let slice = |placed: &Placed| {
            let start = placed.at.saturating_add(placed.skip);
            let end = start.saturating_add(placed.wanted);
            buffer.bytes().get(start..end).unwrap_or_default()
        };
        self.ranges.iter().map(slice).collect()
    }

    /// Looks whether a file is no longer what it was: what was read may then be anything.
    ///
    /// # Errors
    /// [`SourceError::Changed`]; [`SourceError::Read`] where the system does not say.
    pub(crate) fn check(
        &self,
        files: &[Opened],
        ranges: &[TensorRange],
    ) -> Result<(), SourceError> {
        let mut seen = None;
        for (placed, range) in self.ranges.iter().zip(ranges) {
            if seen.replace(placed.file) == Some(placed.file) {
                continue;
            }
            if let Some(file) = files.get(placed.file) {
                file.check(&range.name, placed.start)?;
            }
        }
        Ok(())
    }

    /// Gives back the page cache behind what was read.
    pub(crate) fn release(&self, files: &[Opened]) {
        for placed in &self.ranges {
            if let Some(file) = files.get(placed.file) {
                file.release(placed.start, placed.len as u64);
            }
        }
    }
}

impl Placed {
    /// Bytes, from `offset` of what is read on, without which a read of `len` is cut short. The last ones are
    /// padding, and lie perhaps behind the end of the file.
    pub(crate) fn needed(&self, offset: usize, len: usize) -> usize {
        let end = self.skip.saturating_add(self.wanted);
        end.saturating_sub(offset).min(len)
    }
}

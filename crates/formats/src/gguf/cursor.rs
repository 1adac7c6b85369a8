//! Bounded reads: a position, what is left of the file, and never a byte beyond either.

use std::io::{ErrorKind, Read};

use super::{GgufError, Place};

/// The largest header that is read. The largest in the wild are some tens of megabytes (a
/// vocabulary of 256,000 pieces with merges); without a bound, a file of many gigabytes could call
/// all of them one array.
const MAX_HEADER_BYTES: u64 = 1 << 30;

/// Bytes asked of the reader at a time.
const CHUNK: u64 = 64 * 1024;

/// Allocations below this are let through unchecked: a structure in memory is somewhat larger than
/// what describes it in a file, which only tiny files would notice.
const SMALL: u64 = 4096;

/// A reader with a position and an end.
pub(super) struct Cursor<'r> {
    reader: &'r mut dyn Read,
    buffer: Box<[u8]>,
    /// The bytes of `buffer` that are read but not taken.
    ready: std::ops::Range<usize>,
    /// Bytes from the start of the file to the next byte taken.
    at: u64,
    file_len: u64,
    /// What is being read, for errors.
    pub place: Place,
}

impl<'r> Cursor<'r> {
    pub(super) fn new(reader: &'r mut dyn Read, file_len: u64) -> Self {
        let size = usize::try_from(file_len.min(CHUNK)).unwrap_or_default();
        Self {
            reader,
            buffer: vec![0; size].into_boxed_slice(),
            ready: 0..0,
            at: 0,
            file_len,
            place: Place::Start,
        }
    }

    /// Bytes from the start of the file to the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// An error where fewer than `count` things of at least `min_bytes` in the file and `in_memory`
    /// bytes in memory can follow; else the count, safe to allocate.
    pub(super) fn count(
        &self,
        what: &'static str,
        count: u64,
        min_bytes: u64,
        in_memory: usize,
    ) -> Result<usize, GgufError> {
        let left = self.file_len.saturating_sub(self.at);
        let on_disk = count.checked_mul(min_bytes);
        let held = u64::try_from(in_memory)
            .ok()
            .and_then(|size| count.checked_mul(size));
        let fits = on_disk.is_some_and(|bytes| bytes <= left)
            && held.is_some_and(|bytes| bytes <= self.file_len.max(SMALL));
        match usize::try_from(count) {
            Ok(count) if fits => Ok(count),
            _ => Err(GgufError::Count {
                place: self.place.clone(),
                at: self.at,
                what,
                count,
                file_len: self.file_len,
            }),
        }
    }

    /// An error where fewer than `needed` bytes are left.
    fn check(&self, needed: u64) -> Result<(), GgufError> {
        let end = self.at.checked_add(needed);
        if end.is_none_or(|end| end > self.file_len) {
            return Err(self.cut_short(needed));
        }
        if end.is_none_or(|end| end > MAX_HEADER_BYTES) {
            return Err(GgufError::HeaderTooLong {
                place: self.place.clone(),
                at: self.at,
                limit: MAX_HEADER_BYTES,
            });
        }
        Ok(())
    }

    fn cut_short(&self, needed: u64) -> GgufError {
        GgufError::CutShort {
            place: self.place.clone(),
            at: self.at,
            needed,
            file_len: self.file_len,
        }
    }

    /// Makes at least one byte ready; an error at the end of the file.
    fn fill(&mut self) -> Result<(), GgufError> {
        while self.ready.is_empty() {
            match self.reader.read(&mut self.buffer) {
                Ok(0) => return Err(self.cut_short(1)),
                // What a reader has beyond the promised length is not the file's.
                Ok(count) => {
                    let left = self.file_len.min(MAX_HEADER_BYTES).saturating_sub(self.at);
                    let left = usize::try_from(left).unwrap_or(usize::MAX);
                    self.ready = 0..count.min(self.buffer.len()).min(left);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(GgufError::Read {
                        place: self.place.clone(),
                        at: self.at,
                        error,
                    });
                }
            }
        }
        Ok(())
    }

    /// Up to `len` bytes that are ready, and at least one; they count as taken. `len` is not zero,
    /// and so many bytes are left.
    fn some(&mut self, len: usize) -> Result<&[u8], GgufError> {
        self.fill()?;
        let count = self.ready.len().min(len);
        let start = self.ready.start;
        self.advance(count);
        let end = self.ready.start;
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }

    fn advance(&mut self, count: usize) {
        self.ready.start = self.ready.start.saturating_add(count);
        self.at = self.at.saturating_add(u64::try_from(count).unwrap_or(0));
    }

    #[inline]
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let ready = self.buffer.get(self.ready.clone());
        if let Some(bytes) = ready.and_then(|ready| ready.first_chunk().copied()) {
            self.advance(N);
            return Ok(bytes);
        }
        self.take_across()
    }

    /// [`Cursor::take`] where a value lies across two fillings of the buffer.
    #[cold]
    fn take_across<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.check(u64::try_from(N).unwrap_or(u64::MAX))?;
        let mut bytes = [0; N];
        let mut into = bytes.as_mut_slice();
        while !into.is_empty() {
            let source = self.some(into.len())?;
            let (now, later) = into.split_at_mut(source.len());
            now.copy_from_slice(source);
            into = later;
        }
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.take().map(u64::from_le_bytes)
    }

    /// Adds `len` bytes of the file to the end of `bytes`.
    pub(super) fn append(&mut self, len: u64, bytes: &mut Vec<u8>) -> Result<(), GgufError> {
        self.check(len)?;
        let mut left = usize::try_from(len).map_err(|_| self.cut_short(len))?;
        if left > bytes.capacity().saturating_sub(bytes.len()) {
            // Doubled, so that many small strings cost few moves, but never beyond what the file
            // can still fill.
            let fillable = self.file_len.saturating_sub(self.at);
            let fillable = usize::try_from(fillable).unwrap_or(usize::MAX);
            bytes.reserve_exact(bytes.capacity().max(left).min(fillable));
        }
        while left > 0 {
            let source = self.some(left)?;
            bytes.extend_from_slice(source);
            left = left.saturating_sub(source.len());
        }
        Ok(())
    }

    /// A length and so many bytes of UTF-8.
    pub(super) fn string(&mut self, limit: u64) -> Result<String, GgufError> {
        let at = self.at;
        let len = self.u64()?;
        if len > limit {
            return Err(GgufError::TooLong {
                place: self.place.clone(),
                at,
                len,
                limit,
            });
        }
        let mut bytes = Vec::new();
        self.append(len, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.not_utf8(at))
    }

    pub(super) fn not_utf8(&self, at: u64) -> GgufError {
        GgufError::Utf8 {
            place: self.place.clone(),
            at,
        }
    }
}

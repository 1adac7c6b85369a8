//! Memory that disks read into.

use ingle_tensor::Aligned;

/// Where memory for direct reads begins, and what their offsets and lengths are multiples of at least.
pub(crate) const PAGE: usize = 4096;

/// Bytes at an address that is a multiple of [`PAGE`].
pub(crate) struct Buffer {
    memory: Aligned,
    /// From the start of `memory` to the first page.
    skip: usize,
    len: usize,
}

impl Buffer {
    /// `len` bytes, rounded up to pages, which are there: the system gives pages when they are first written to, and
    /// the first reads would wait for it.
    pub(crate) fn new(len: usize) -> Self {
        let len = len.div_ceil(PAGE).saturating_mul(PAGE);
        let memory = Aligned::zeroed(len.saturating_add(PAGE));
        let skip = memory.bytes().as_ptr().align_offset(PAGE).min(PAGE);
        let mut buffer = Self { memory, skip, len };
        for page in buffer.bytes_mut().chunks_mut(PAGE) {
            page.fill(0);
        }
        buffer
    }

    /// With room for `len` bytes: what was in it is lost where it had less.
    pub(crate) fn make_room(&mut self, len: usize) {
        if self.len < len {
            *self = Self::new(len);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let end = self.skip.saturating_add(self.len);
        self.memory.bytes().get(self.skip..end).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.skip.saturating_add(self.len);
        let bytes = self.memory.bytes_mut();
        bytes.get_mut(self.skip..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        for len in [0, 1, PAGE, 3 * PAGE + 1, 5 << 20] {
            let mut buffer = Buffer::new(len);
            assert!(buffer.bytes().len() >= len && buffer.bytes().len() < len + PAGE);
            assert_eq!(buffer.bytes_mut().as_ptr().align_offset(PAGE), 0);
            let before = buffer.bytes().as_ptr();
            buffer.make_room(len);
            assert_eq!(buffer.bytes().as_ptr(), before);
            buffer.make_room(len + PAGE);
            assert!(buffer.bytes().len() >= len + PAGE);
        }
    }
}

//! Owned, zeroed, aligned memory for weights, cached positions and activations.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::{Arc, Mutex, PoisonError};

/// Every allocation begins at a multiple of a cache line; large ones at one of a huge page.
const LINE: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed bytes at an address that is a multiple of 64 (of 2 MiB for large ones).
#[derive(Debug)]
pub struct Aligned {
    block: *mut u8,
    start: *mut u8,
    layout: Layout,
    len: usize,
}

// SAFETY: the memory is owned, like a Vec's.
unsafe impl Send for Aligned {}
// SAFETY: shared references only read.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// `len` zeroed bytes. Pages that are never written take no memory.
    ///
    /// Aborts the process where the system has no address space left, as `Vec` does; sizes come
    /// from a plan that has been checked.
    pub fn zeroed(len: usize) -> Self {
        let align = if len >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        // Asking for a small alignment and rounding up by hand lets the allocator hand out fresh
        // pages of the system, which are zero without being touched.
        let Ok(layout) = Layout::from_size_align(len.saturating_add(align), 16) else {
            handle_alloc_error(Layout::new::<u8>());
        };
        // SAFETY: the layout's size is not zero.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: at most `align` bytes on, and the block is that much longer than `len`.
        let start = unsafe { block.add(block.align_offset(align)) };
        if len >= HUGE_PAGE {
            ask_for_huge_pages(start, len);
        }
        Self {
            block,
            start,
            layout,
            len,
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes, owned.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `len` initialised bytes, owned, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Where the bytes lie.
    pub(crate) fn place(&self) -> Place {
        Place {
            start: self.start,
            len: self.len,
        }
    }

    /// The bytes as f32.
    pub fn floats(&self) -> &[f32] {
        // SAFETY: aligned to 64, and every bit pattern is an f32.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len / 4) }
    }

    /// The bytes as f32.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: aligned to 64, every bit pattern is an f32, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.len / 4) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.block, self.layout) }
    }
}

#[cfg(target_os = "linux")]
fn ask_for_huge_pages(start: *mut u8, len: usize) {
    // SAFETY: advice on memory that we own; it changes no contents, and a refusal does no harm.
    unsafe {
        libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE);
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: *mut u8, _: usize) {}

/// Has the system find memory for bytes that nobody has touched, and leaves what they hold as it is, so that
/// whoever writes there first does not wait for it. False: this system cannot.
#[cfg(target_os = "linux")]
fn populate(start: *mut u8, len: usize) -> bool {
    // SAFETY: asks for the machine's largest page; it takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).unwrap_or(4096).max(1);
    let before = start.addr() % page;
    let len = (before + len).next_multiple_of(page);
    // SAFETY: pages of a chunk that we own, or that share a page with one; it changes no contents.
    unsafe { libc::madvise(start.sub(before).cast(), len, libc::MADV_POPULATE_WRITE) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn populate(_: *mut u8, _: usize) -> bool {
    false
}

/// Where an [`Aligned`] lies, for a thread that neither reads nor writes there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    start: *mut u8,
    len: usize,
}

// SAFETY: nothing is read or written through it.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    /// Has the system find memory for some of the bytes, and leaves what they hold as it is. False: this
    /// system cannot.
    ///
    /// # Safety
    /// The [`Aligned`] is still there.
    pub(crate) unsafe fn populate(self, bytes: std::ops::Range<usize>) -> bool {
        let end = bytes.end.min(self.len);
        let start = bytes.start.min(end);
        // SAFETY: inside of the allocation.
        populate(unsafe { self.start.add(start) }, end - start)
    }
}

/// From now on the calling thread gives way to all others of this machine.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    // SAFETY: sets a priority; on Linux that of this thread. A refusal does no harm.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way() {}

/// Bytes of address space that an [`Arena`] asks for at once; pages that nothing lies in take no
/// memory.
const CHUNK: usize = 256 << 20;

/// Hands out memory for matrices side by side, so that small ones lie in huge pages too. What it
/// takes beyond their bytes is at most one huge page every 128 MiB.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// The chunk that is being filled, and its first free byte.
    open: Mutex<Option<(Arc<Aligned>, usize)>>,
}

impl Arena {
    /// `len` zeroed bytes at a multiple of a cache line.
    pub(crate) fn take(&self, len: usize) -> Piece {
        let size = len.next_multiple_of(LINE);
        if size > CHUNK / 2 {
            let chunk = Arc::new(Aligned::zeroed(len));
            return Piece::new(chunk, 0, len);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |open: &mut (Arc<Aligned>, usize)| open.1 + size <= CHUNK;
        let (chunk, at) = match open.take_if(fits) {
            Some(open) => open,
            None => (Arc::new(Aligned::zeroed(CHUNK)), 0),
        };
        *open = Some((Arc::clone(&chunk), at + size));
        Piece::new(chunk, at, len)
    }
}

/// A part of a chunk that nobody else reads or writes; the chunk lives as long as any of its parts.
#[derive(Debug)]
pub(crate) struct Piece {
    start: *mut u8,
    len: usize,
    _chunk: Arc<Aligned>,
}

// SAFETY: the part is owned, like a Vec's memory.
unsafe impl Send for Piece {}
// SAFETY: shared references only read.
unsafe impl Sync for Piece {}

impl Piece {
    /// `at + len` lies in the chunk, and no other piece has any of it.
    fn new(chunk: Arc<Aligned>, at: usize, len: usize) -> Self {
        assert!(at + len <= chunk.len);
        Self {
            // SAFETY: inside the chunk, or one past it.
            start: unsafe { chunk.start.add(at) },
            len,
            _chunk: chunk,
        }
    }

    /// The first byte.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.start
    }

    /// The first byte, for a thread that nobody else reads or writes beside.
    pub(crate) fn as_mut_ptr(&self) -> *mut u8 {
        self.start
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Has the system find memory for it now. False: this system cannot.
    pub(crate) fn populate(&self) -> bool {
        populate(self.start, self.len)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that only this piece has.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// The bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

/// A pointer that threads of a team write through, each to places of its own.
#[derive(Debug)]
pub(crate) struct Shared<T>(*mut T);
impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
// SAFETY: every use says why no two threads touch the same place.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    pub(crate) fn ptr(self) -> *mut T {
        self.0
    }

    /// `len` elements from `at` on.
    ///
    /// # Safety
    /// They lie in the slice, which is still borrowed, and no other thread touches them meanwhile.
    #[allow(
        clippy::mut_from_ref,
        reason = "the caller gives each thread its own range"
    )]
    pub(crate) unsafe fn slice<'a>(self, at: usize, len: usize) -> &'a mut [T] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for len in [0, 1, 63, 64, 1000, HUGE_PAGE + 5] {
            let memory = Aligned::zeroed(len);
            assert_eq!(memory.bytes().len(), len);
            assert_eq!(memory.bytes().as_ptr() as usize % LINE, 0);
            assert!(memory.bytes().iter().all(|b| *b == 0));
        }
    }

    #[test]
    fn pieces_are_zero_aligned_and_apart() {
        let arena = Arena::default();
        let lengths = [1, 64, 65, 0, CHUNK / 2, CHUNK / 2 + 1, CHUNK / 2, 7];
        let mut pieces = lengths.map(|len| arena.take(len));
        drop(arena);
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert_eq!(piece.as_ptr() as usize % LINE, 0);
            assert!(piece.bytes().iter().take(4096).all(|b| *b == 0));
            piece
                .bytes_mut()
                .iter_mut()
                .take(4096)
                .for_each(|b| *b = i as u8 + 1);
        }
        for (i, (piece, len)) in pieces.iter().zip(lengths).enumerate() {
            assert_eq!(piece.bytes().len(), len);
            assert!(piece.bytes().iter().take(4096).all(|b| *b == i as u8 + 1));
        }
    }
}

//! No allocation is larger than the file that is being read, whatever the file claims.
//!
//! One test alone in its program, because the allocator counts for all threads.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "an allocator that counts cannot be written without; a test ends where it fails"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ingle_formats::TensorType;
use ingle_formats::gguf::{Header, Writer};

/// The largest allocation since it was last set to zero, in bytes.
static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// Bytes allocated now.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Relaxed);
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Relaxed);
        LIVE.fetch_add(size, Relaxed);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is read beside the file's own account is let through up to here; see `Header::read`.
const SMALL: usize = 4096;

/// Reads `bytes` as a file that claims to be `bytes.len()` long, and checks what was allocated.
fn read(bytes: &[u8]) -> Option<Header> {
    LARGEST.store(0, Relaxed);
    let header = Header::read(&mut { bytes }, bytes.len() as u64);
    let largest = LARGEST.load(Relaxed);
    assert!(
        largest <= bytes.len().max(SMALL),
        "{largest} bytes at once for a file of {}: {header:?}",
        bytes.len()
    );
    header.ok()
}

/// A vocabulary of 20,000 pieces with scores.
fn vocabulary() -> Writer {
    let pieces: Vec<String> = (0..20_000).map(|i| format!("p{i}")).collect();
    Writer::new()
        .pair("tokens", pieces)
        .pair("scores", vec![0.5_f32; 20_000])
        .pair("flags", vec![true; 20_000])
}

/// A vocabulary, many small keys and many tensors.
fn large_file() -> Vec<u8> {
    let mut writer = vocabulary();
    for key in 0..5000_u32 {
        writer = writer.pair(format!("{key}"), 1_u8);
    }
    for tensor in 0..3000_u32 {
        writer = writer.tensor(format!("{tensor}"), &[8], TensorType::F32);
    }
    writer.file(vec![[0_u8; 32]; 3000]).unwrap()
}

/// Nothing but keys and empty arrays in arrays: what is smallest in a file beside memory.
fn dense_file(nested: usize) -> Vec<u8> {
    let empty = ingle_formats::gguf::Array::U8(Vec::new());
    let mut writer = Writer::new().pair("k", vec![empty; nested]);
    for key in 0..10_000_u32 {
        writer = writer.pair(format!("{key:x}"), true);
    }
    writer.file([[0_u8; 0]; 0]).unwrap()
}

#[test]
fn no_allocation_is_larger_than_the_file() {
    let pieces = vocabulary().file([[0_u8; 0]; 0]).unwrap();
    let before = LIVE.load(Relaxed);
    let header = read(&pieces).unwrap();
    let held = LIVE.load(Relaxed).saturating_sub(before);
    assert_eq!(
        header.metadata.require_strings("tokens").unwrap().len(),
        20_000
    );
    assert!(
        held <= pieces.len() + SMALL,
        "{held} held of {}",
        pieces.len()
    );

    let large = large_file();
    assert_eq!(read(&large).unwrap().tensors.len(), 3000);
    read(&dense_file(100)).unwrap();
    assert!(read(&dense_file(200_000)).is_none());

    // Claims of every size at every place where a small file may hold one.
    let small = Writer::new()
        .pair("text", "abc")
        .pair("texts", vec!["a", "b"])
        .pair("numbers", vec![1_u64, 2])
        .pair("nested", vec![ingle_formats::gguf::Array::U8(vec![1])])
        .tensor("a", &[8], TensorType::F32)
        .file([[0_u8; 32]])
        .unwrap();
    for place in 4..small.len() - 8 {
        for shift in 0..64 {
            for claim in [1_u64 << shift, u64::MAX >> shift] {
                let mut bytes = small.clone();
                bytes[place..place + 8].copy_from_slice(&claim.to_le_bytes());
                read(&bytes);
            }
        }
    }
    for len in (0..large.len()).step_by(4999) {
        read(&large[..len]);
    }
}

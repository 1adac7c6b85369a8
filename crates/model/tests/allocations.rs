//! Nothing is allocated while a network generates: in a steady state a forward pass takes all it
//! needs from what is there, on every thread.
//!
//! One test alone in its program, because the allocator counts for all threads.
#![allow(
    unsafe_code,
    reason = "an allocator that counts cannot be written without"
)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PAGE_LEN, PageId, Row};
use ingle_tensor::team::Team;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use support::Model;

/// Allocations so far, of all threads.
static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Scratch grows to the longest text, of each thread when it first takes a part: after so many rounds
/// at most everything is there.
const ROUNDS: usize = 50;

/// Whether there comes a round without an allocation: each row by row through several pages, two
/// sequences at a time.
fn settles(model: &Model) -> bool {
    let (metadata, source) = model.build();
    let mut ops = Cpu::new(Isa::best(), Arc::new(Team::new(2))).unwrap();
    let mut network = ingle_model::load(&metadata, &source, &ops, 8, 512, &mut |_| {}).unwrap();
    let mut memory = ops.memory(&network.layers(), KvType::F16, 8);
    let pages: Vec<PageId> = (0..8).map(PageId).collect();
    let mut logits = Vec::new();
    (0..ROUNDS).any(|_| {
        let before = COUNT.load(Relaxed);
        for position in 0..3 * PAGE_LEN as u32 {
            let row = |sequence| Row {
                item: Item::Token(TokenId(position + sequence)),
                position,
                sequence,
            };
            let batch = Batch {
                rows: &[row(0), row(1)],
                sequences: &[&pages[..4], &pages[4..]],
                outputs: &[0, 1],
                hidden: false,
            };
            network
                .forward(&mut ops, &mut memory, &batch, &mut logits)
                .unwrap();
        }
        COUNT.load(Relaxed) == before
    })
}

#[test]
fn generation_allocates_nothing() {
    for arch in ["llama", "qwen3", "qwen2", "gemma2"] {
        assert!(settles(&Model::random(arch)), "{arch}");
    }
    assert!(settles(&Model::mixtral(false)), "experts");
}

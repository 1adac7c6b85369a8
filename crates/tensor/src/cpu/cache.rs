//! Cached keys and values, in pages.

use super::activations::{Buf, grain};
use super::ahead::Ahead;
use crate::kernel::Leaf;
use crate::kernel::attention::{Layout, MAX_HEAD_DIM, Store};
use crate::memory::{Aligned, Shared};
use crate::ops::{Batch, KvType, PAGE_LEN, PageId, PagedLayer, Row};
use crate::team::Team;

/// Keys and values of one layer for every page.
#[derive(Debug)]
pub(super) struct LayerCache {
    n_kv_heads: usize,
    layout: Layout,
    /// `[pages, n_kv_heads]`, each as [`Layout`] says.
    data: Aligned,
    n_pages: usize,
}

/// Pages of cached positions of all layers.
#[derive(Debug)]
pub struct Memory {
    /// It ends before the layers go: fields are dropped in order.
    ahead: Option<Ahead>,
    pub(super) layers: Vec<LayerCache>,
}

impl Memory {
    pub(super) fn new(layers: &[PagedLayer], kv: KvType, n_pages: usize) -> Self {
        let layers = layers.iter();
        let layers = layers.map(|shape| LayerCache::new(*shape, kv, n_pages));
        let layers: Vec<LayerCache> = layers.collect();
        let places = layers.iter().map(|l| (l.data.place(), l.page_bytes()));
        Self {
            // SAFETY: it goes before the layers, whose memory stays where it is until then.
            ahead: unsafe { Ahead::begin(places.collect(), n_pages) },
            layers,
        }
    }

    /// A batch writes to these pages.
    pub(super) fn writes(&self, pages: impl Iterator<Item = PageId>) {
        if let (Some(ahead), Some(last)) = (&self.ahead, pages.map(|page| page.0).max()) {
            ahead.used(last as usize + 1);
        }
    }

    pub(super) fn copy_page(&mut self, from: PageId, to: PageId) {
        for layer in &mut self.layers {
            layer.copy_page(from, to);
        }
    }

    /// Bytes of a page, all layers.
    pub(super) fn page_bytes(&self) -> usize {
        self.layers.iter().map(LayerCache::page_bytes).sum()
    }

    pub(super) fn take_page(&self, page: PageId, mut bytes: &mut [u8]) {
        for layer in &self.layers {
            let (own, rest) = bytes.split_at_mut(layer.page_bytes());
            let at = layer.at(page, 0);
            own.copy_from_slice(&layer.data.bytes()[at..at + own.len()]);
            bytes = rest;
        }
    }

    pub(super) fn put_page(&mut self, page: PageId, mut bytes: &[u8]) {
        for layer in &mut self.layers {
            let (own, rest) = bytes.split_at(layer.page_bytes());
            let at = layer.at(page, 0);
            layer.data.bytes_mut()[at..at + own.len()].copy_from_slice(own);
            bytes = rest;
        }
    }
}

impl LayerCache {
    fn new(shape: PagedLayer, kv: KvType, n_pages: usize) -> Self {
        assert!(
            kv.holds(shape.head_dim) && shape.head_dim <= MAX_HEAD_DIM,
            "heads of {} elements as {kv}",
            shape.head_dim
        );
        let layout = Layout::new(kv, shape.head_dim);
        let page = shape.n_kv_heads * layout.head_bytes();
        Self {
            n_kv_heads: shape.n_kv_heads,
            layout,
            data: Aligned::zeroed(n_pages * page),
            n_pages,
        }
    }

    fn copy_page(&mut self, from: PageId, to: PageId) {
        let page = self.page_bytes();
        let (from, to) = (self.at(from, 0), self.at(to, 0));
        self.data.bytes_mut().copy_within(from..from + page, to);
    }

    /// Bytes of a page of this layer.
    fn page_bytes(&self) -> usize {
        self.n_kv_heads * self.layout.head_bytes()
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes before a head of a page.
    fn at(&self, page: PageId, head: usize) -> usize {
        let page = page.0 as usize;
        assert!(page < self.n_pages, "page {page} of {}", self.n_pages);
        (page * self.n_kv_heads + head) * self.layout.head_bytes()
    }

    /// Where the keys and values of a head of a page begin; those of the next heads follow.
    pub(super) fn page(&self, page: PageId, head: usize) -> *const u8 {
        self.data.bytes()[self.at(page, head)..].as_ptr()
    }
}

/// The page of each row.
pub(super) fn pages(batch: &Batch<'_>) -> impl Iterator<Item = PageId> {
    let page = |row: &Row| batch.sequences[row.sequence as usize][row.position as usize / PAGE_LEN];
    batch.rows.iter().map(page)
}

/// Rows of `batch` from `first` on that are one sequence's and go to one page, the pages being
/// counted from the sequence's first position.
fn same_page(batch: &Batch<'_>, first: usize) -> usize {
    let page = |row: usize| {
        let row = &batch.rows[row];
        (row.sequence, row.position as usize / PAGE_LEN)
    };
    let after = (first..batch.rows.len()).take_while(|row| page(*row) == page(first));
    after.count()
}

/// Stores keys and values of the batch's rows.
pub(super) fn store(
    team: &Team,
    leaf: &Leaf,
    cache: &mut LayerCache,
    k: &Buf,
    v: &Buf,
    batch: &Batch<'_>,
) {
    let (n_heads, layout) = (cache.n_kv_heads, cache.layout);
    let data = Shared::new(cache.data.bytes_mut());
    let cache = &*cache;
    let (k_rows, v_rows) = (Rows(k.as_ptr()), Rows(v.as_ptr()));
    let head_dim = layout.head_dim();
    // Sixteen rows make whole vectors of keys.
    let rows = batch.rows.len();
    let grain = if rows < 32 { grain(rows) } else { 16 };
    team.share(rows, grain, &|_, range| {
        let mut first = range.start;
        while first < range.end {
            let rows = same_page(batch, first).min(range.end - first);
            let row = &batch.rows[first];
            let position = row.position as usize;
            let page = batch.sequences[row.sequence as usize][position / PAGE_LEN];
            for head in 0..n_heads {
                // SAFETY: the rows lie in the buffers, the page in the cache; rows of a batch are
                // different positions, or positions of different pages.
                unsafe {
                    (leaf.store)(&Store {
                        k: k_rows.at(first * k.stride + head * head_dim),
                        k_stride: k.stride,
                        v: v_rows.at(first * v.stride + head * head_dim),
                        v_stride: v.stride,
                        rows,
                        slot: position % PAGE_LEN,
                        to: data.ptr().add(cache.at(page, head)),
                        layout,
                    });
                }
            }
            first += rows;
        }
    });
}

/// A pointer to rows that all members read.
#[derive(Clone, Copy)]
pub(super) struct Rows(pub *const f32);
// SAFETY: the rows are borrowed and only read while members run.
unsafe impl Sync for Rows {}
// SAFETY: as above.
unsafe impl Send for Rows {}

impl Rows {
    /// # Safety
    /// The element lies in the buffer.
    pub(super) unsafe fn at(self, element: usize) -> *const f32 {
        // SAFETY: the caller's.
        unsafe { self.0.add(element) }
    }
}

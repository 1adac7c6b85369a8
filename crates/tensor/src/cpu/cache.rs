//! Cached keys and values, in pages.

use crate::memory::{Aligned, Shared};
use crate::ops::{KvType, PAGE_LEN, PageId, PagedLayer};
use half::f16;

/// Keys and values of one layer for every page.
#[derive(Debug)]
pub(super) struct LayerCache {
    shape: PagedLayer,
    kv: KvType,
    /// `[pages, n_kv_heads, PAGE_LEN / 16, head_dim, 16]`: lanes of the score kernel are positions.
    keys: Aligned,
    /// `[pages, n_kv_heads, PAGE_LEN, value_stride]`: lanes of the mixing kernel are elements.
    values: Aligned,
    n_pages: usize,
}

/// Pages of cached positions of all layers.
#[derive(Debug)]
pub struct Memory {
    pub(super) layers: Vec<LayerCache>,
}

impl Memory {
    pub(super) fn new(layers: &[PagedLayer], kv: KvType, n_pages: usize) -> Self {
        Self {
            layers: layers
                .iter()
                .map(|shape| LayerCache::new(*shape, kv, n_pages))
                .collect(),
        }
    }

    pub(super) fn copy_page(&mut self, from: PageId, to: PageId) {
        for layer in &mut self.layers {
            layer.copy_page(from, to);
        }
    }
}

impl LayerCache {
    fn new(shape: PagedLayer, kv: KvType, n_pages: usize) -> Self {
        let page = shape.n_kv_heads * PAGE_LEN * kv.bytes();
        let keys = Aligned::zeroed(n_pages * page * shape.head_dim);
        let values = Aligned::zeroed(n_pages * page * value_stride(shape));
        Self {
            shape,
            kv,
            keys,
            values,
            n_pages,
        }
    }

    pub(super) fn kv(&self) -> KvType {
        self.kv
    }

    pub(super) fn value_stride(&self) -> usize {
        value_stride(self.shape)
    }

    /// Where the keys and values of a head of a page begin.
    pub(super) fn page(&self, page: PageId, head: usize) -> (*const u8, *const u8) {
        let page = page.0 as usize;
        assert!(page < self.n_pages, "page {page} of {}", self.n_pages);
        let unit = (page * self.shape.n_kv_heads + head) * PAGE_LEN * self.kv.bytes();
        let keys = &self.keys.bytes()[unit * self.shape.head_dim..];
        let values = &self.values.bytes()[unit * self.value_stride()..];
        (keys.as_ptr(), values.as_ptr())
    }

    fn copy_page(&mut self, from: PageId, to: PageId) {
        let n_pages = self.n_pages;
        for bytes in [self.keys.bytes_mut(), self.values.bytes_mut()] {
            let page = bytes.len() / n_pages;
            let at = |id: PageId| id.0 as usize * page;
            bytes.copy_within(at(from)..at(from) + page, at(to));
        }
    }

    /// A handle through which several threads store different positions.
    pub(super) fn writer(&mut self) -> Writer {
        Writer {
            shape: self.shape,
            kv: self.kv,
            n_pages: self.n_pages,
            keys: Shared::new(self.keys.bytes_mut()),
            values: Shared::new(self.values.bytes_mut()),
        }
    }
}

fn value_stride(shape: PagedLayer) -> usize {
    shape.head_dim.next_multiple_of(16)
}

/// Stores keys and values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    shape: PagedLayer,
    kv: KvType,
    n_pages: usize,
    keys: Shared<u8>,
    values: Shared<u8>,
}

impl Writer {
    /// Stores one position's keys and values, `[n_kv_heads * head_dim]` each.
    ///
    /// # Safety
    /// The cache is still borrowed, and no other thread stores or reads this position meanwhile.
    pub(super) unsafe fn store(&self, page: PageId, slot: usize, k: &[f32], v: &[f32]) {
        let PagedLayer {
            n_kv_heads,
            head_dim,
        } = self.shape;
        assert!((page.0 as usize) < self.n_pages && slot < PAGE_LEN);
        let (size, stride) = (self.kv.bytes(), value_stride(self.shape));
        for head in 0..n_kv_heads {
            let unit = (page.0 as usize * n_kv_heads + head) * PAGE_LEN;
            let (k, v) = (
                &k[head * head_dim..][..head_dim],
                &v[head * head_dim..][..head_dim],
            );
            let key = unit * head_dim + slot / 16 * 16 * head_dim + slot % 16;
            for (d, (k, v)) in k.iter().zip(v).enumerate() {
                let (k_at, v_at) = ((key + d * 16) * size, (unit + slot) * stride + d);
                // SAFETY: page and slot are in range (asserted), so that the places are too.
                unsafe {
                    let (to_k, to_v) = (
                        self.keys.ptr().add(k_at),
                        self.values.ptr().add(v_at * size),
                    );
                    match self.kv {
                        KvType::F16 => {
                            to_k.cast::<u16>().write(f16::from_f32(*k).to_bits());
                            to_v.cast::<u16>().write(f16::from_f32(*v).to_bits());
                        }
                        KvType::F32 => {
                            to_k.cast::<f32>().write(*k);
                            to_v.cast::<f32>().write(*v);
                        }
                    }
                }
            }
        }
    }
}

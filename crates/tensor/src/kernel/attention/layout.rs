//! How the keys and values of one head lie in a page.
//!
//! First the keys, lanes being positions, then the values, lanes being elements; each in the order
//! in which its kernel reads, so that a head of a page is one ascending stream.
//!
//! - F16, F32: keys `[head_dim, 64]`; values in groups of 64 elements (the last may have 16, 32 or
//!   48), each `[64 positions, elements]`. Heads are rounded up to 16 elements.
//! - Q8_0: keys `[head_dim / 4, 64, 4]` bytes, then scales `[head_dim / 32, 64]` f16; values
//!   `[64, head_dim]` bytes, then scales `[head_dim / 32, 64]` f16.
//! - Q4_0: as Q8_0, in half bytes with 8 added. Of the keys the four elements from `32b + 4j` on
//!   are the low halves of the bytes that have those from `32b + 16 + 4j` on as high halves:
//!   `[head_dim / 32, 4, 64, 4]`. A block of values is 16 bytes, of which byte j has element j
//!   and element 16 + j, as in the block of a file.

use crate::ops::{KvType, PAGE_LEN};
use half::f16;

/// Elements of a group of values.
pub(super) const GROUP: usize = 64;

/// The layout of a head's keys and values in a page.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub(super) kv: KvType,
    pub(super) head_dim: usize,
}

impl Layout {
    /// The layout of heads of this size.
    pub const fn new(kv: KvType, head_dim: usize) -> Self {
        Self { kv, head_dim }
    }

    /// How keys and values are stored.
    pub const fn kv(&self) -> KvType {
        self.kv
    }

    /// Elements of a head.
    pub const fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Elements of values, those between a head's end and the next sixteen among them.
    pub const fn value_width(&self) -> usize {
        self.head_dim.next_multiple_of(16)
    }

    /// Whether blocks of 32 elements share a scale.
    pub const fn quantised(&self) -> bool {
        matches!(self.kv, KvType::Q8_0 | KvType::Q4_0)
    }

    /// Bytes of the keys of a page.
    pub const fn key_bytes(&self) -> usize {
        PAGE_LEN * self.kv.row_bytes(self.head_dim)
    }

    /// Bytes of the keys and values of a page.
    pub const fn head_bytes(&self) -> usize {
        self.key_bytes() + PAGE_LEN * self.kv.row_bytes(self.value_width())
    }

    /// Bytes before the scales, of quantised keys or values.
    pub(super) const fn scales_at(&self) -> usize {
        match self.kv {
            KvType::Q4_0 => PAGE_LEN * self.head_dim / 2,
            _ => PAGE_LEN * self.head_dim,
        }
    }

    /// Decodes the quantised values of a page to f32, in the layout of F32.
    ///
    /// # Safety
    /// The head's keys and values stand at `tile`.
    #[inline(always)]
    pub(super) unsafe fn decode_values(&self, tile: *const u8, out: &mut [f32]) {
        // SAFETY: the values stand behind the keys.
        let values = unsafe {
            std::slice::from_raw_parts(
                tile.add(self.key_bytes()),
                self.head_bytes() - self.key_bytes(),
            )
        };
        let (quants, scales) = values.split_at(self.scales_at());
        let blocks = self.head_dim / 32;
        let mut factors = [0.0f32; PAGE_LEN];
        for block in 0..blocks {
            let (halves, _) = scales[block * PAGE_LEN * 2..].as_chunks::<2>();
            for (factor, half) in factors.iter_mut().zip(halves) {
                *factor = f16::from_le_bytes(*half).to_f32();
            }
            let width = (self.head_dim - block / 2 * GROUP).min(GROUP);
            let group = &mut out[block / 2 * GROUP * PAGE_LEN + block % 2 * 32..];
            for (position, factor) in factors.iter().enumerate() {
                let Some(to) = group[position * width..].first_chunk_mut::<32>() else {
                    return; // the slice holds whole groups
                };
                let at = position * blocks + block;
                match self.kv {
                    KvType::Q4_0 => {
                        let (low, high) = to.split_at_mut(16);
                        let bytes = quants[at * 16..].iter();
                        for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
                            *low = f32::from((byte & 15) as i8 - 8) * factor;
                            *high = f32::from((byte >> 4) as i8 - 8) * factor;
                        }
                    }
                    _ => {
                        for (to, byte) in to.iter_mut().zip(&quants[at * 32..]) {
                            *to = f32::from(*byte as i8) * factor;
                        }
                    }
                }
            }
        }
    }
}

//! How the keys and values of one head lie in a page.
//!
//! First the keys, lanes being positions, then the values, lanes being elements; each in the order
//! in which its kernel reads, so that a head of a page is one ascending stream.
//!
//! - F16, F32: keys `[head_dim, 64]`; values in groups of 64 elements (the last may have 16, 32 or
//!   48), each `[64 positions, elements]`. Heads are rounded up to 16 elements.
//! - Q8_0: of the keys each block of 32 elements by itself: `[8, 64, 4]` bytes, then scales `[64]`
//!   f16. Of the values first all scales, `[head_dim / 32, 64]` f16, then `[64, head_dim]` bytes,
//!   elements i and 16 + i of a block side by side.
//! - Q4_0: as Q8_0, in half bytes with 8 added. Of a block of keys the four elements from 4j on are
//!   the low halves of the bytes that have those from 16 + 4j on as high halves: `[4, 64, 4]`. A
//!   block of values is 16 bytes, of which byte j has element j and element 16 + j, as in the block
//!   of a file.

use super::MAX_HEAD_DIM;
use crate::kernel::simd::Simd;
use crate::ops::{KvType, PAGE_LEN};

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

    /// Bytes of 32 quantised elements without their scale.
    pub(super) const fn block_bytes(&self) -> usize {
        self.kv.row_bytes(32) - 2
    }

    /// Bytes before a block of quantised keys, and before its scales.
    pub(super) const fn key_block(&self, block: usize) -> (usize, usize) {
        let at = block * PAGE_LEN * (self.block_bytes() + 2);
        (at, at + PAGE_LEN * self.block_bytes())
    }

    /// Bytes of the scales that stand before quantised values.
    pub(super) const fn value_scales(&self) -> usize {
        PAGE_LEN * self.head_dim / 32 * 2
    }

    /// Decodes the quantised values of a page to f32, in the layout of F32. Where the head that
    /// follows in memory comes `next`, asks for its lines: decoding has too few loads under way
    /// to keep the memory busy.
    ///
    /// # Safety
    /// The processor has the features of `S`, and the head's keys and values stand at `tile`.
    #[inline(always)]
    pub(super) unsafe fn decode_values<S: Simd>(
        &self,
        tile: *const u8,
        next: bool,
        out: &mut [f32],
    ) {
        let ahead = self.head_bytes() / PAGE_LEN;
        assert!(out.len() >= PAGE_LEN * self.head_dim && self.head_dim <= MAX_HEAD_DIM);
        let blocks = self.head_dim / 32;
        // SAFETY: the values stand behind the keys, and their scales behind them; every block of
        // every position has 32 places of `out`.
        unsafe {
            let scales = tile.add(self.key_bytes());
            let mut factors = [0.0f32; MAX_HEAD_DIM / 32 * PAGE_LEN];
            for at in (0..blocks * PAGE_LEN).step_by(S::LANES) {
                let d = S::f_load_f16(scales.add(at * 2));
                S::f_store(factors.as_mut_ptr().add(at), d);
            }
            let mut values = scales.add(self.value_scales());
            for position in 0..PAGE_LEN {
                if next {
                    let lines = tile.wrapping_add(self.head_bytes() + position * ahead);
                    for at in (0..ahead).step_by(64) {
                        S::prefetch(lines.wrapping_add(at));
                    }
                }
                for block in 0..blocks {
                    let width = (self.head_dim - block / 2 * GROUP).min(GROUP);
                    let group = block / 2 * GROUP * PAGE_LEN + block % 2 * 32;
                    let to = out.as_mut_ptr().add(group + position * width);
                    let d = factors[block * PAGE_LEN + position];
                    match self.kv {
                        KvType::Q4_0 => {
                            let bytes = halves(values.cast());
                            scaled_pairs::<S>(bytes.as_ptr(), d, to);
                        }
                        _ => scaled_pairs::<S>(values, d, to),
                    }
                    values = values.add(self.block_bytes());
                }
            }
        }
    }
}

/// The low half, then the high half, of each byte, less 8.
#[inline(always)]
unsafe fn halves(block: *const [u8; 16]) -> [u8; 32] {
    // SAFETY: the caller's.
    let block = unsafe { block.read_unaligned() };
    let mut out = [0; 32];
    for i in 0..16 {
        out[2 * i] = (block[i] & 15).wrapping_sub(8);
        out[2 * i + 1] = (block[i] >> 4).wrapping_sub(8);
    }
    out
}

/// 32 signed bytes times `d`: those at even places, then those at odd ones.
#[inline(always)]
unsafe fn scaled_pairs<S: Simd>(bytes: *const u8, d: f32, to: *mut f32) {
    // SAFETY: the caller gives 32 bytes and as many places.
    unsafe {
        let d = S::f_splat(d);
        for i in (0..16).step_by(S::LANES) {
            let pairs = S::i_load_i8_pairs(bytes.add(2 * i));
            let even = S::f_mul(S::f_from_i(S::i_first(pairs)), d);
            let odd = S::f_mul(S::f_from_i(S::i_second(pairs)), d);
            S::f_store(to.add(i), even);
            S::f_store(to.add(16 + i), odd);
        }
    }
}

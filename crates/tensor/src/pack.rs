//! How weights lie in memory: panels of sixteen rows, side by side.
//!
//! A panel has one area for each field of the type's block (scales, sub-scales, quants ...). In an
//! area the blocks follow each other, and in a block the sixteen rows' units of 2 or 4 bytes stand
//! next to each other, so that a vector load brings the same four columns of sixteen rows: the
//! lane is the row. The same order is the one that matrix units want. The 6-bit sub-scales of Q4_K
//! and Q5_K are spread to bytes; everything else takes the bytes of the file.
//!
//! Types without a kernel of their own keep their rows as they are in the file.

use crate::kernel::matmul::PANEL;
use crate::quant;
use ingle_formats::TensorType;

/// Bytes that a row has in each area, for one block.
#[derive(Debug, Clone, Copy)]
pub struct Areas<const N: usize>(pub [usize; N]);

impl<const N: usize> Areas<N> {
    /// Where each area begins in a panel of rows of `blocks` blocks.
    #[inline(always)]
    pub const fn offsets(self, blocks: usize) -> [usize; N] {
        let mut out = [0; N];
        let mut i = 1;
        while i < N {
            out[i] = out[i - 1] + (self.0[i - 1] * PANEL * blocks).next_multiple_of(64);
            i += 1;
        }
        out
    }
}

/// Scale; quants.
pub const Q8_0_AREAS: Areas<2> = Areas([2, 32]);
/// Scale; quants.
pub const Q4_0_AREAS: Areas<2> = Areas([2, 16]);
/// Scale and scale of minimums; 8 sub-scales, 8 minimums; quants.
pub const Q4K_AREAS: Areas<3> = Areas([4, 16, 128]);
/// Scale and scale of minimums; 8 sub-scales, 8 minimums; fifth bits; quants.
pub const Q5K_AREAS: Areas<4> = Areas([4, 16, 32, 128]);
/// Scale; 16 sub-scales; upper bits; lower bits.
pub const Q6K_AREAS: Areas<4> = Areas([2, 16, 64, 128]);

/// The longest block with its sub-scales spread.
const LONGEST: usize = 256;

/// The layout of one storage type.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    ty: TensorType,
    /// Of each area: bytes of a row for one block, bytes of a unit, where the field begins in the
    /// spread block. Empty: rows stay as they are.
    fields: &'static [(usize, usize, usize)],
}

impl Layout {
    /// The layout of `ty`.
    pub const fn new(ty: TensorType) -> Self {
        let fields: &[(usize, usize, usize)] = match ty {
            TensorType::F32 => &[(4, 4, 0)],
            TensorType::F16 | TensorType::Bf16 => &[(2, 2, 0)],
            TensorType::Q8_0 => &[(2, 2, 0), (32, 4, 2)],
            TensorType::Q4_0 => &[(2, 2, 0), (16, 4, 2)],
            TensorType::Q4K => &[(4, 2, 0), (16, 2, 4), (128, 4, 20)],
            TensorType::Q5K => &[(4, 2, 0), (16, 2, 4), (32, 4, 20), (128, 4, 52)],
            TensorType::Q6K => &[(2, 2, 208), (16, 2, 192), (64, 4, 128), (128, 4, 0)],
            _ => &[],
        };
        Self { ty, fields }
    }

    /// Bytes of a panel of `columns` columns; a multiple of 64.
    pub fn panel_bytes(&self, columns: usize) -> usize {
        let blocks = columns / self.ty.block_len() as usize;
        if self.fields.is_empty() {
            return (PANEL * self.row_bytes(columns)).next_multiple_of(64);
        }
        self.fields
            .iter()
            .map(|(bytes, _, _)| (bytes * PANEL * blocks).next_multiple_of(64))
            .sum()
    }

    /// Bytes of a row as it stands in the file.
    pub fn row_bytes(&self, columns: usize) -> usize {
        columns / self.ty.block_len() as usize * self.ty.block_bytes() as usize
    }

    /// Packs up to sixteen rows as they stand in the file into a zeroed panel.
    pub fn pack(&self, rows: &[u8], columns: usize, panel: &mut [u8]) {
        if self.fields.is_empty() {
            panel[..rows.len()].copy_from_slice(rows);
            return;
        }
        let (block_bytes, blocks) = (
            self.ty.block_bytes() as usize,
            columns / self.ty.block_len() as usize,
        );
        let mut spread = [0; LONGEST];
        for (r, row) in rows.chunks_exact(self.row_bytes(columns)).enumerate() {
            for (b, block) in row.chunks_exact(block_bytes).enumerate() {
                let spread = self.spread(block, &mut spread);
                self.units(blocks, b, r, |from, to, unit| match unit {
                    4 => panel[to..to + 4].copy_from_slice(&spread[from..from + 4]),
                    _ => panel[to..to + 2].copy_from_slice(&spread[from..from + 2]),
                });
            }
        }
    }

    /// Decodes row `r` of a panel to f32.
    pub fn decode_row(&self, panel: &[u8], r: usize, columns: usize, out: &mut [f32]) {
        let (len, block_bytes) = (self.ty.block_len() as usize, self.ty.block_bytes() as usize);
        let row_bytes = self.row_bytes(columns);
        let mut spread = [0; LONGEST];
        let mut block = [0; LONGEST];
        for b in 0..columns / len {
            let block = if self.fields.is_empty() {
                &panel[r * row_bytes + b * block_bytes..][..block_bytes]
            } else {
                self.units(columns / len, b, r, |to, from, unit| {
                    spread[to..to + unit].copy_from_slice(&panel[from..from + unit]);
                });
                self.gather(&spread, &mut block)
            };
            // Lengths fit by construction, so that decoding cannot fail.
            let _ = quant::decode(self.ty, block, &mut out[b * len..(b + 1) * len]);
        }
    }

    /// Calls `copy(in_block, in_panel, bytes)` for every unit of block `b` of row `r`.
    #[inline(always)]
    fn units(&self, blocks: usize, b: usize, r: usize, mut copy: impl FnMut(usize, usize, usize)) {
        let mut area = 0;
        for &(bytes, unit, from) in self.fields {
            let start = area + b * bytes * PANEL + r * unit;
            for i in 0..bytes / unit {
                copy(from + i * unit, start + i * unit * PANEL, unit);
            }
            area += (bytes * PANEL * blocks).next_multiple_of(64);
        }
    }

    /// A block with its sub-scales spread to bytes.
    fn spread<'a>(&self, block: &'a [u8], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
        if !matches!(self.ty, TensorType::Q4K | TensorType::Q5K) {
            return block;
        }
        buffer[..4].copy_from_slice(&block[..4]);
        for i in 0..8 {
            let (scale, minimum) = sub_scale(&block[4..16], i);
            (buffer[4 + i], buffer[12 + i]) = (scale, minimum);
        }
        buffer[20..block.len() + 4].copy_from_slice(&block[16..]);
        &buffer[..block.len() + 4]
    }

    /// The inverse of [`Layout::spread`].
    fn gather<'a>(&self, spread: &'a [u8; LONGEST], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
        let len = self.ty.block_bytes() as usize;
        if !matches!(self.ty, TensorType::Q4K | TensorType::Q5K) {
            return &spread[..len];
        }
        buffer[..4].copy_from_slice(&spread[..4]);
        for i in 0..4 {
            let (low, high) = (spread[4 + i], spread[8 + i]);
            let (low_min, high_min) = (spread[12 + i], spread[16 + i]);
            buffer[4 + i] = low | (high >> 4) << 6;
            buffer[8 + i] = low_min | (high_min >> 4) << 6;
            buffer[12 + i] = (high & 15) | high_min << 4;
        }
        buffer[16..len].copy_from_slice(&spread[20..len + 4]);
        &buffer[..len]
    }
}

/// Scale and minimum number `i` of the twelve bytes in which Q4_K and Q5_K keep eight of each.
fn sub_scale(packed: &[u8], i: usize) -> (u8, u8) {
    if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        let upper = |byte: u8| (byte >> 6) << 4;
        (
            (packed[i + 4] & 15) | upper(packed[i - 4]),
            (packed[i + 4] >> 4) | upper(packed[i]),
        )
    }
}

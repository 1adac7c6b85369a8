//! How weights lie in memory: panels of sixteen rows, side by side.
//!
//! In a panel the sixteen rows' units of 2 or 4 bytes stand next to each other, so that a vector
//! load brings the same four columns of sixteen rows: the lane is the row. The same order is the
//! one that matrix units want. Everything that a kernel reads stands in the order in which it reads
//! it: one ascending stream of whole cache lines, which is what the processor fetches ahead best.
//! Two blocks with an f16 scale each share a line of scales. The 6-bit sub-scales of Q4_K and Q5_K
//! are spread to bytes; everything else takes the bytes of the file.
//!
//! Types without a kernel of their own keep their rows as they are in the file.

use crate::kernel::matmul::PANEL;
use crate::quant;
use ingle_formats::TensorType;

/// Where the parts of a block stand in a panel.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Blocks that follow a line with their scales (no such line: 1).
    group: usize,
    /// Bytes of that line.
    header: usize,
    /// Bytes of a block of sixteen rows, without such a scale.
    body: usize,
}

impl Places {
    const fn alone(body: usize) -> Self {
        Self {
            group: 1,
            header: 0,
            body,
        }
    }

    const fn paired(body: usize) -> Self {
        Self {
            group: 2,
            header: 64,
            body,
        }
    }

    /// Where block `b` begins.
    #[inline(always)]
    pub const fn body(self, b: usize) -> usize {
        self.group_start(b) + self.header + b % self.group * self.body
    }

    /// Where the scales of block `b` stand, for types whose blocks share a line of them.
    #[inline(always)]
    pub const fn scales(self, b: usize) -> usize {
        self.group_start(b) + b % self.group * 2 * PANEL
    }

    const fn group_start(self, b: usize) -> usize {
        b / self.group * (self.header + self.group * self.body)
    }

    /// Bytes of a panel of `blocks` blocks.
    const fn panel(self, blocks: usize) -> usize {
        let rest = blocks % self.group * self.body;
        self.group_start(blocks) + if rest > 0 { self.header + rest } else { 0 }
    }
}

/// A scale; 8 lines of quants.
pub const Q8_0: Places = Places::paired(8 * 64);
/// A scale; 4 lines of quants.
pub const Q4_0: Places = Places::paired(4 * 64);
/// A line of scales and scales of minimums, 4 of sub-scales and minimums, 32 of quants.
pub const Q4_K: Places = Places::alone(37 * 64);
/// As Q4_K, with 8 lines of fifth bits before the quants.
pub const Q5_K: Places = Places::alone(45 * 64);
/// A scale; 4 lines of sub-scales, then two of lower bits and one of upper bits, 16 times.
pub const Q6_K: Places = Places::paired(52 * 64);

/// Units of a row's block and where they go: where the first begins in the spread block, bytes of
/// a unit, how many, and the place of the first and the step between them in the packed block, in
/// units of sixteen rows.
type Run = (usize, usize, usize, usize, usize);

/// The longest block with its sub-scales spread.
const LONGEST: usize = 256;

/// The layout of one storage type.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    ty: TensorType,
    places: Places,
    /// Where the scale begins in a block, for types whose blocks share a line of them.
    scale: usize,
    /// Empty: rows stay as they are.
    runs: &'static [Run],
}

impl Layout {
    /// The layout of `ty`.
    pub const fn new(ty: TensorType) -> Self {
        let (places, scale, runs): (_, _, &[Run]) = match ty {
            TensorType::F32 => (Places::alone(64), 0, &[(0, 4, 1, 0, 1)]),
            TensorType::F16 | TensorType::Bf16 => (Places::alone(32), 0, &[(0, 2, 1, 0, 1)]),
            TensorType::Q8_0 => (Q8_0, 0, &[(2, 4, 8, 0, 1)]),
            TensorType::Q4_0 => (Q4_0, 0, &[(2, 4, 4, 0, 1)]),
            TensorType::Q4K => (Q4_K, 0, &[(0, 2, 10, 0, 1), (20, 4, 32, 5, 1)]),
            TensorType::Q5K => (
                Q5_K,
                0,
                &[(0, 2, 10, 0, 1), (20, 4, 8, 5, 1), (52, 4, 32, 13, 1)],
            ),
            TensorType::Q6K => (
                Q6_K,
                208,
                &[
                    (192, 2, 8, 0, 1),
                    (0, 4, 8, 4, 3),
                    (32, 4, 8, 5, 3),
                    (128, 4, 8, 6, 3),
                    (64, 4, 8, 28, 3),
                    (96, 4, 8, 29, 3),
                    (160, 4, 8, 30, 3),
                ],
            ),
            _ => (Places::alone(0), 0, &[]),
        };
        Self {
            ty,
            places,
            scale,
            runs,
        }
    }

    /// Bytes of a panel of `columns` columns; a multiple of 64.
    pub fn panel_bytes(&self, columns: usize) -> usize {
        let bytes = if self.runs.is_empty() {
            PANEL * self.row_bytes(columns)
        } else {
            self.places.panel(columns / self.ty.block_len() as usize)
        };
        bytes.next_multiple_of(64)
    }

    /// Bytes of a row as it stands in the file.
    pub fn row_bytes(&self, columns: usize) -> usize {
        columns / self.ty.block_len() as usize * self.ty.block_bytes() as usize
    }

    /// Packs up to sixteen rows as they stand in the file into a panel; rows that are not there are
    /// zero.
    pub fn pack(&self, rows: &[u8], columns: usize, panel: &mut [u8]) {
        let row_bytes = self.row_bytes(columns);
        if self.runs.is_empty() {
            panel[..rows.len()].copy_from_slice(rows);
            panel[rows.len()..].fill(0);
            return;
        }
        if rows.len() < PANEL * row_bytes {
            let mut whole = vec![0; PANEL * row_bytes];
            whole[..rows.len()].copy_from_slice(rows);
            return self.pack(&whole, columns, panel);
        }
        let rows: [&[u8]; PANEL] = std::array::from_fn(|r| &rows[r * row_bytes..][..row_bytes]);
        if let (1, &[(0, unit, 1, 0, 1)]) = (self.ty.block_len(), self.runs) {
            return side_by_side(unit, rows, panel, 1);
        }
        let block_bytes = self.ty.block_bytes() as usize;
        let mut spread = [[0; LONGEST]; PANEL];
        for b in 0..row_bytes / block_bytes {
            let blocks = rows.map(|row| &row[b * block_bytes..][..block_bytes]);
            if self.places.header > 0 {
                let scales = blocks.map(|block| &block[self.scale..][..2]);
                side_by_side(2, scales, &mut panel[self.places.scales(b)..], 1);
            }
            let mut buffers = spread.iter_mut();
            let blocks = blocks.map(|block| match buffers.next() {
                Some(buffer) => self.spread(block, buffer),
                None => block,
            });
            for &(from, unit, count, place, step) in self.runs {
                let units = blocks.map(|block| &block[from..][..count * unit]);
                let first = self.places.body(b) + place * PANEL * unit;
                side_by_side(unit, units, &mut panel[first..], step);
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
            let block = if self.runs.is_empty() {
                &panel[r * row_bytes + b * block_bytes..][..block_bytes]
            } else {
                self.units(b, r, |to, from, unit| {
                    spread[to..to + unit].copy_from_slice(&panel[from..from + unit]);
                });
                self.gather(&spread, &mut block)
            };
            // Lengths fit by construction, so that decoding cannot fail.
            let _ = quant::decode(self.ty, block, &mut out[b * len..(b + 1) * len]);
        }
    }

    /// Calls `copy(in_block, in_panel, bytes)` for every unit of block `b` of row `r`.
    fn units(&self, b: usize, r: usize, mut copy: impl FnMut(usize, usize, usize)) {
        if self.places.header > 0 {
            copy(self.scale, self.places.scales(b) + r * 2, 2);
        }
        let body = self.places.body(b);
        for &(from, unit, count, place, step) in self.runs {
            for i in 0..count {
                let at = body + ((place + i * step) * PANEL + r) * unit;
                copy(from + i * unit, at, unit);
            }
        }
    }

    /// A block with its sub-scales spread to bytes.
    fn spread<'a>(&self, block: &'a [u8], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
        if !matches!(self.ty, TensorType::Q4K | TensorType::Q5K) {
            return block;
        }
        let words = block[4..16].as_chunks::<4>().0;
        let word = |i: usize| u32::from_le_bytes(words[i]);
        let (low, low_min, high) = (word(0), word(1), word(2));
        const SIX: u32 = 0x3f3f_3f3f;
        const FOUR: u32 = 0x0f0f_0f0f;
        const UPPER: u32 = 0x3030_3030;
        let words = [
            low & SIX,
            (high & FOUR) | ((low >> 2) & UPPER),
            low_min & SIX,
            ((high >> 4) & FOUR) | ((low_min >> 2) & UPPER),
        ];
        buffer[..4].copy_from_slice(&block[..4]);
        for (bytes, word) in buffer[4..20].as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
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

/// Writes unit `i` of every row to line `i * step` of a panel, the rows side by side. Units have 2 or
/// 4 bytes.
#[inline(always)]
fn side_by_side(unit: usize, rows: [&[u8]; PANEL], lines: &mut [u8], step: usize) {
    match unit {
        4 => side_by_side_of::<4>(rows, lines, step),
        _ => side_by_side_of::<2>(rows, lines, step),
    }
}

fn side_by_side_of<const UNIT: usize>(rows: [&[u8]; PANEL], lines: &mut [u8], step: usize) {
    let rows = rows.map(|row| row.as_chunks::<UNIT>().0);
    let count = rows[0].len();
    let rows = rows.map(|row| &row[..count]);
    let lines = lines.chunks_exact_mut(UNIT * PANEL).step_by(step);
    for (i, line) in lines.take(count).enumerate() {
        for (place, row) in line.as_chunks_mut::<UNIT>().0.iter_mut().zip(rows) {
            *place = row[i];
        }
    }
}

//! How weights lie in memory: panels of sixteen rows, side by side.
//!
//! In a panel the sixteen rows' units of 2 or 4 bytes stand next to each other, so that a vector
//! load brings the same four columns of sixteen rows: the lane is the row. The same order is the
//! one that matrix units want. Everything that a kernel reads stands in the order in which it reads
//! it: one ascending stream of whole cache lines, which is what the processor fetches ahead best.
//! Two blocks with an f16 scale each share a line of scales (of MXFP4, four with a byte each).
//! Sub-scales of 6 bits are spread to bytes, and the bits of a sub-block are brought together
//! (`order.rs`); a panel is at most 4% larger than its rows in the file.
//!
//! Types without a kernel of their own keep their rows as they are in the file.

use crate::kernel::matmul::PANEL;
use crate::order::{LONGEST, WORDS, base, gather, spread};
use crate::quant;
use ingle_formats::TensorType;

/// Where the parts of a block stand in a panel.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Blocks that follow a line with their scales (no such line: 1).
    group: usize,
    /// Bytes of that line.
    header: usize,
    /// Bytes of such a scale.
    scale: usize,
    /// Bytes of a block of sixteen rows, without such a scale.
    body: usize,
}

impl Places {
    const fn alone(body: usize) -> Self {
        Self {
            group: 1,
            header: 0,
            scale: 0,
            body,
        }
    }

    const fn paired(body: usize) -> Self {
        Self {
            group: 2,
            header: 64,
            scale: 2,
            body,
        }
    }

    const fn in_fours(body: usize) -> Self {
        Self {
            group: 4,
            header: 64,
            scale: 1,
            body,
        }
    }

    /// Bytes of a block of sixteen rows, about: without a line of scales that it shares.
    pub const fn body_bytes(self) -> usize {
        self.body
    }

    /// Where block `b` begins.
    #[inline(always)]
    pub const fn body(self, b: usize) -> usize {
        self.group_start(b) + self.header + b % self.group * self.body
    }

    /// Where the scales of block `b` stand, for types whose blocks share a line of them.
    #[inline(always)]
    pub const fn scales(self, b: usize) -> usize {
        self.group_start(b) + b % self.group * self.scale * PANEL
    }

    const fn group_start(self, b: usize) -> usize {
        b / self.group * (self.header + self.group * self.body)
    }

    /// Bytes of a panel of `blocks` blocks.
    pub const fn panel(self, blocks: usize) -> usize {
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
/// A line of scales and minimums; 4 lines of quants.
pub const Q4_1: Places = Places::alone(5 * 64);
/// A scale; a line of fifth bits, 4 of quants.
pub const Q5_0: Places = Places::paired(5 * 64);
/// A line of scales and minimums; one of fifth bits, 4 of quants.
pub const Q5_1: Places = Places::alone(6 * 64);
/// A scale; 4 lines of quants.
pub const IQ4_NL: Places = Places::paired(4 * 64);
/// A scale of a byte; 4 lines of quants.
pub const MXFP4: Places = Places::in_fours(4 * 64);
/// A line of scales and scales of minimums, 4 of sub-scales with minimums, 16 of quants: one a
/// sub-block.
pub const Q2_K: Places = Places::alone(21 * 64);
/// A scale; 4 lines of sub-scales, then for each run of 32 one of third bits and two of quants.
pub const Q3_K: Places = Places::paired(28 * 64);
/// As Q4_K, with two lines of fifth bits before each 8 of quants.
pub const Q5_K: Places = Places::alone(45 * 64);
/// A scale; 4 lines of sub-scales, then for each sub-block one of upper and two of lower bits.
pub const Q6_K: Places = Places::paired(52 * 64);
/// A scale; 2 lines of sub-scales, 32 of quants.
pub const IQ4_XS: Places = Places::paired(34 * 64);

/// Units of a row's block and where they go: where the first begins in the spread block, bytes of
/// a unit, how many, and the place of the first in the packed block, in units of sixteen rows.
type Run = (usize, usize, usize, usize);

/// The layout of one storage type.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    ty: TensorType,
    places: Places,
    /// Where the scale begins in a spread block, for types whose blocks share a line of them.
    scale: usize,
    /// Empty: rows stay as they are.
    runs: &'static [Run],
}

impl Layout {
    /// The layout of `ty`.
    pub const fn new(ty: TensorType) -> Self {
        let (places, scale, runs): (_, _, &[Run]) = match ty {
            TensorType::F32 => (Places::alone(64), 0, &[(0, 4, 1, 0)]),
            TensorType::F16 | TensorType::Bf16 => (Places::alone(32), 0, &[(0, 2, 1, 0)]),
            TensorType::Q8_0 => (Q8_0, 0, &[(2, 4, 8, 0)]),
            TensorType::Q4_0 => (Q4_0, 0, &[(2, 4, 4, 0)]),
            TensorType::Q4K => (Q4_K, 0, &[(0, 2, 10, 0), (20, 4, 32, 5)]),
            TensorType::Q4_1 => (Q4_1, 0, &[(0, 2, 2, 0), (4, 4, 4, 1)]),
            TensorType::Q5_0 => (Q5_0, 0, &[(2, 4, 5, 0)]),
            TensorType::Q5_1 => (Q5_1, 0, &[(0, 2, 2, 0), (4, 4, 5, 1)]),
            TensorType::Iq4Nl => (IQ4_NL, 0, &[(2, 4, 4, 0)]),
            TensorType::Mxfp4 => (MXFP4, 0, &[(1, 4, 4, 0)]),
            TensorType::Q2K => (Q2_K, 0, &[(80, 2, 2, 0), (0, 2, 8, 2), (16, 4, 16, 5)]),
            TensorType::Q3K => (Q3_K, 112, &[(0, 2, 8, 0), (16, 4, 24, 4)]),
            TensorType::Q5K => (Q5_K, 0, &[(0, 2, 10, 0), (20, 4, 40, 5)]),
            TensorType::Q6K => (Q6_K, 208, &[(0, 2, 8, 0), (16, 4, 48, 4)]),
            TensorType::Iq4Xs => (IQ4_XS, 136, &[(0, 2, 4, 0), (8, 4, 32, 2)]),
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
        if let (1, &[(0, unit, 1, 0)]) = (self.ty.block_len(), self.runs) {
            return side_by_side(unit, rows, panel);
        }
        let (block_bytes, base) = (self.ty.block_bytes() as usize, base(self.ty));
        let (mut lines, mut buffer) = ([[0; PANEL]; WORDS], [[0; PANEL]; WORDS]);
        let lines = &mut lines[..(block_bytes - base) / 4];
        for b in 0..row_bytes / block_bytes {
            let blocks = rows.map(|row| &row[b * block_bytes..][..block_bytes]);
            if self.places.header > 0 {
                let unit = self.places.scale;
                let scales = blocks.map(|block| &block[self.scale_in_file()..][..unit]);
                one_by_one(unit, scales, &mut panel[self.places.scales(b)..]);
            }
            transpose(blocks.map(|block| &block[base..]), lines);
            let lines = spread(self.ty, lines, &mut buffer);
            for &(from, unit, count, place) in self.runs {
                let lines = &lines[(from - base) / 4..][..count * unit / 4];
                let first = self.places.body(b) + place * PANEL * unit;
                put_lines(unit, lines, &mut panel[first..]);
            }
        }
    }

    /// Where a scale that shares a line with others begins in a block as it stands in the file.
    const fn scale_in_file(&self) -> usize {
        match self.ty {
            TensorType::Q3K => 108,
            TensorType::Q6K => 208,
            _ => 0,
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
                gather(self.ty, &spread, &mut block)
            };
            // Lengths fit by construction, so that decoding cannot fail.
            let _ = quant::decode(self.ty, block, &mut out[b * len..(b + 1) * len]);
        }
    }

    /// Calls `copy(in_block, in_panel, bytes)` for every unit of block `b` of row `r`.
    fn units(&self, b: usize, r: usize, mut copy: impl FnMut(usize, usize, usize)) {
        if self.places.header > 0 {
            let unit = self.places.scale;
            copy(self.scale, self.places.scales(b) + r * unit, unit);
        }
        let body = self.places.body(b);
        for &(from, unit, count, place) in self.runs {
            for i in 0..count {
                let at = body + ((place + i) * PANEL + r) * unit;
                copy(from + i * unit, at, unit);
            }
        }
    }
}

/// Writes unit `i` of every row to line `i` of a panel, the rows side by side. Units have 2 or 4 bytes.
fn side_by_side(unit: usize, rows: [&[u8]; PANEL], panel: &mut [u8]) {
    const AT_ONCE: usize = 16;
    let words = rows[0].len() / 4;
    let mut lines = [[0; PANEL]; AT_ONCE];
    for first in (0..words).step_by(AT_ONCE) {
        let lines = &mut lines[..AT_ONCE.min(words - first)];
        transpose(rows.map(|row| &row[4 * first..]), lines);
        put_lines(unit, lines, &mut panel[4 * PANEL * first..]);
    }
    let rest = rows.map(|row| &row[4 * words..]);
    one_by_one(unit, rest, &mut panel[4 * PANEL * words..]);
}

/// The same for a few units, of 1 or 2 bytes.
#[inline(always)]
fn one_by_one(unit: usize, rows: [&[u8]; PANEL], lines: &mut [u8]) {
    match unit {
        2 => one_by_one_of::<2>(rows, lines),
        _ => one_by_one_of::<1>(rows, lines),
    }
}

#[inline(always)]
fn one_by_one_of<const UNIT: usize>(rows: [&[u8]; PANEL], lines: &mut [u8]) {
    let rows = rows.map(|row| row.as_chunks::<UNIT>().0);
    let lines = lines.as_chunks_mut::<UNIT>().0;
    for (i, line) in lines
        .chunks_exact_mut(PANEL)
        .take(rows[0].len())
        .enumerate()
    {
        for (place, row) in line.iter_mut().zip(rows) {
            *place = row[i];
        }
    }
}

/// Word `i` of every row becomes line `i`. Squares of four by four, which compilers make shuffles of.
#[inline(always)]
fn transpose(rows: [&[u8]; PANEL], lines: &mut [[u32; PANEL]]) {
    let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    let rows = rows.map(|row| row[..4 * lines.len()].as_chunks::<16>());
    let (squares, rest) = lines.as_chunks_mut::<4>();
    for (at, square) in squares.iter_mut().enumerate() {
        for quad in 0..4 {
            let four: [[u32; 4]; 4] = std::array::from_fn(|r| {
                let words = rows[4 * quad + r].0[at].as_chunks::<4>().0;
                [
                    word(&words[0]),
                    word(&words[1]),
                    word(&words[2]),
                    word(&words[3]),
                ]
            });
            for (i, line) in square.iter_mut().enumerate() {
                let column = [four[0][i], four[1][i], four[2][i], four[3][i]];
                line[4 * quad..4 * quad + 4].copy_from_slice(&column);
            }
        }
    }
    for (i, line) in rest.iter_mut().enumerate() {
        *line = rows.map(|(_, rest)| word(&rest.as_chunks::<4>().0[i]));
    }
}

/// Writes lines to a panel, with units of 2 bytes each as two lines.
#[inline(always)]
fn put_lines(unit: usize, lines: &[[u32; PANEL]], panel: &mut [u8]) {
    let places = panel.as_chunks_mut::<{ 4 * PANEL }>().0.iter_mut();
    for (line, place) in lines.iter().zip(places) {
        if unit == 4 {
            for (place, word) in place.as_chunks_mut::<4>().0.iter_mut().zip(line) {
                *place = word.to_le_bytes();
            }
        } else {
            let (first, second) = place.split_at_mut(2 * PANEL);
            for (place, word) in first.as_chunks_mut::<2>().0.iter_mut().zip(line) {
                *place = (*word as u16).to_le_bytes();
            }
            for (place, word) in second.as_chunks_mut::<2>().0.iter_mut().zip(line) {
                *place = ((*word >> 16) as u16).to_le_bytes();
            }
        }
    }
}

//! Many columns: a part of a panel is unpacked once into plain bytes, scales and minimums, and
//! multiplied by all columns while it stands in the first-level cache.
//!
//! The accumulators of all columns stand side by side meanwhile: rows of outputs are often a power
//! of two apart, and then share a few lines of the caches. That changes no bit: an output is still
//! one chain through k, and all that is regrouped are exact integer sums.

use super::{Column, Format, PANEL, splat4};
use crate::kernel::quantise::SUMS_256;
use crate::kernel::simd::Simd;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Elements of each row that are unpacked at a time.
pub const PART: usize = 256;

/// Columns that are multiplied by an unpacked part together.
pub const COLUMNS: usize = 128;

/// `unsafe fn(panel, parts, k, columns, offset)`: see [`super_blocks`] and [`blocks`].
pub type ManyFn = unsafe fn(*const u8, Range<usize>, usize, &[Column], usize);

/// A line of a panel: the four bytes, or the number, of each of sixteen rows.
type Line = [u8; 64];

/// 256 elements of sixteen rows as every super-block format is multiplied.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct SuperBlock {
    /// Four elements of each row a line, unsigned.
    pub quants: [Line; 64],
    /// The sub-scale of each row for [`SuperFormat::SUB`] elements, as [`Simd::scale_lanes`]
    /// makes it of i32.
    pub scales: [Line; 16],
    /// Factors of two neighbouring sums of the activations, as pairs of i16.
    pub pairs: [Line; 8],
    /// Scales.
    pub d: [f32; PANEL],
    /// Scales of the minimums.
    pub dmin: [f32; PANEL],
}

/// What the sums of activations are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// Their products with the pairs are part of the integer sum.
    Offset,
    /// Their products with the pairs, times `dmin`, are taken off.
    Minimum,
}

/// A format whose blocks of 256 carry integer sub-scales.
pub trait SuperFormat: Format {
    /// Elements that share a sub-scale: 16 or 32.
    const SUB: usize;
    /// The largest unsigned weight, at most 127.
    const LARGEST: usize;
    /// What unsigned weights are too large by.
    const OFFSET: usize;
    /// What [`SuperBlock::pairs`] are for.
    const SUMS: Sums;
    /// Elements under one sum of activations: 16 (eight pairs) or 32 (four pairs).
    const SUMMED: usize;

    /// Bytes of a packed block of sixteen rows.
    const BYTES: usize;

    /// Unpacks block `b` of a panel.
    ///
    /// # Safety
    /// The processor has the features of `S`, and the panel holds the block. Every part of `to`
    /// that the constants name is written; nothing of it is read.
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut SuperBlock);
}

/// Eight blocks of 32 elements of sixteen rows.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Blocks {
    /// Four elements of each row a line.
    pub quants: [[Line; 8]; PART / 32],
    /// Scales.
    pub d: [[f32; PANEL]; PART / 32],
}

/// A format of blocks of 32 with one scale.
pub trait BlockFormat: Format {
    /// The largest unsigned weight; `None` where weights are signed bytes.
    const LARGEST: Option<usize>;
    /// What unsigned weights are too large by.
    const OFFSET: i32;

    /// Bytes of a packed block of sixteen rows.
    const BYTES: usize;

    /// Unpacks block `b` of a panel as block `i` of `to`.
    ///
    /// # Safety
    /// As [`SuperFormat::unpack`].
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut Blocks, i: usize);
}

/// Lines of unsigned weights whose products may be added before they are widened: as many as
/// surely fit 16 bits where the leaf adds those.
pub(super) const fn run<S: Simd>(largest: usize, lines: usize) -> usize {
    let mut run = lines;
    while S::NARROW && run > 1 && run * 2 * 127 * largest > i16::MAX as usize {
        run /= 2;
    }
    run
}

/// Adds the products of the parts `parts` (of 256 elements) of a panel with each column to
/// `out[offset..offset + 16]` of that column; part 0 writes them.
///
/// # Safety
/// As [`super::matmul`], for a panel of whole blocks of 256, `k` elements wide.
#[inline(always)]
pub unsafe fn super_blocks<S: Simd, T: SuperFormat>(
    panel: *const u8,
    parts: Range<usize>,
    _k: usize,
    columns: &[Column],
    offset: usize,
) {
    let mut block = MaybeUninit::<SuperBlock>::uninit();
    let mut acc = Accumulators::<COLUMNS>::uninit();
    for columns in columns.chunks(COLUMNS) {
        // SAFETY: passed on from the caller; the block is unpacked before it is read.
        unsafe {
            acc.begin(columns, offset, parts.start == 0);
            for b in parts.clone() {
                T::unpack::<S>(panel, b, block.as_mut_ptr());
                let next = panel.add((b + 1) * T::BYTES);
                (0..T::BYTES)
                    .step_by(64)
                    .for_each(|at| S::prefetch(next.wrapping_add(at)));
                let (block, acc) = (block.as_ptr(), acc.as_mut_ptr());
                let (eights, rest) = columns.as_chunks::<8>();
                for (i, tile) in eights.iter().enumerate() {
                    let acc = acc.add(8 * i);
                    prefetch_next::<S>(eights.get(i + 1), b);
                    super_tile::<S, T, 8>(block, b, tile, acc);
                }
                let acc = acc.add(8 * eights.len());
                for (column, acc) in rest.iter().zip((0..).map(|i| acc.add(i))) {
                    super_tile::<S, T, 1>(block, b, &[*column], acc);
                }
            }
            acc.end(columns, offset);
        }
    }
}

/// Asks for the values of a part that come next: the processor does not guess where that is.
#[inline(always)]
unsafe fn prefetch_next<S: Simd>(tile: Option<&[Column; 8]>, part: usize) {
    for column in tile.into_iter().flatten() {
        for line in 0..PART / 64 {
            // SAFETY: the caller has the features of `S`; the address need not be readable.
            unsafe { S::prefetch(column.values.wrapping_add(part * PART + line * 64)) }
        }
    }
}

/// The accumulators of some columns, sixteen rows each.
#[derive(Debug)]
pub(crate) struct Accumulators<const C: usize>(MaybeUninit<[[f32; PANEL]; C]>);

impl<const C: usize> Accumulators<C> {
    pub(crate) fn uninit() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// That of the first column.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut [f32; PANEL] {
        self.0.as_mut_ptr().cast()
    }

    /// Zeros, or what the columns' outputs hold.
    ///
    /// # Safety
    /// There are at most `C` columns, with sixteen outputs at `offset`.
    #[inline(always)]
    pub(crate) unsafe fn begin(&mut self, columns: &[Column], offset: usize, new: bool) {
        for (i, column) in columns.iter().enumerate() {
            // SAFETY: as the caller's.
            unsafe {
                let out = column.out.add(offset).cast::<[f32; PANEL]>();
                let from = if new {
                    [0.0; PANEL]
                } else {
                    out.read_unaligned()
                };
                self.as_mut_ptr().add(i).write(from);
            }
        }
    }

    /// Writes the columns' outputs.
    ///
    /// # Safety
    /// As [`Accumulators::begin`], which came before for the same columns.
    #[inline(always)]
    pub(crate) unsafe fn end(&mut self, columns: &[Column], offset: usize) {
        for (i, column) in columns.iter().enumerate() {
            // SAFETY: as the caller's.
            unsafe {
                let out = column.out.add(offset).cast::<[f32; PANEL]>();
                out.write_unaligned(self.as_mut_ptr().add(i).read());
            }
        }
    }
}

/// One super-block times `N` columns.
#[inline(always)]
unsafe fn super_tile<S: Simd, T: SuperFormat, const N: usize>(
    block: *const SuperBlock,
    b: usize,
    columns: &[Column; N],
    acc: *mut [f32; PANEL],
) {
    // SAFETY: as the caller's.
    unsafe {
        let quants = (&raw const (*block).quants).cast::<u8>();
        let scales = (&raw const (*block).scales).cast::<u8>();
        let pairs = (&raw const (*block).pairs).cast::<u8>();
        let values = columns.map(|c| c.values.add(b * 256));
        for lane in (0..PANEL).step_by(S::LANES) {
            let mut sum = [S::i_zero(); N];
            for sub in 0..256 / T::SUB {
                let scale = S::i_load(scales.add(sub * 64 + lane * 4));
                let run = const { run::<S>(T::LARGEST, T::SUB / 4) };
                for first in (0..T::SUB / 4).step_by(run) {
                    let mut part = [S::i_zero(); N];
                    for j in 0..run {
                        let line = sub * T::SUB / 4 + first + j;
                        let w = S::b_load(quants.add(line * 64 + lane * 4));
                        for c in 0..N {
                            part[c] = S::part_dot(part[c], w, splat4::<S>(values[c], line * 4));
                        }
                    }
                    for c in 0..N {
                        sum[c] = S::part_weigh(sum[c], part[c], scale);
                    }
                }
            }
            let minimum = matches!(T::SUMS, Sums::Minimum);
            let mut off = if minimum { [S::i_zero(); N] } else { sum };
            let first = b * SUMS_256 + if T::SUMMED == 16 { 0 } else { 16 };
            for pair in 0..128 / T::SUMMED {
                let factors = S::i_load(pairs.add(pair * 64 + lane * 4));
                for c in 0..N {
                    let sums = columns[c].sums.add(first + pair * 2).cast::<u8>();
                    off[c] = S::i_dot_pairs(off[c], factors, splat4::<S>(sums, 0));
                }
            }
            let d = S::f_load((&raw const (*block).d).cast::<f32>().add(lane));
            let dmin = S::f_load((&raw const (*block).dmin).cast::<f32>().add(lane));
            for c in 0..N {
                let at = acc.add(c).cast::<f32>().add(lane);
                let mut acc = S::f_load(at);
                let d_a = S::f_splat(*columns[c].scales.add(b));
                if minimum {
                    acc = S::f_fma(S::f_mul(d, d_a), S::f_from_i(sum[c]), acc);
                    acc = S::f_fnma(S::f_mul(dmin, d_a), S::f_from_i(off[c]), acc);
                } else {
                    acc = S::f_fma(S::f_mul(d, d_a), S::f_from_i(off[c]), acc);
                }
                S::f_store(at, acc);
            }
        }
    }
}

/// Adds the products of the parts `parts` (of 256 elements, the last perhaps shorter) of a panel
/// with each column to `out[offset..offset + 16]` of that column; part 0 writes them.
///
/// # Safety
/// As [`super::matmul`], for a panel `k` elements wide.
#[inline(always)]
pub unsafe fn blocks<S: Simd, T: BlockFormat>(
    panel: *const u8,
    parts: Range<usize>,
    k: usize,
    columns: &[Column],
    offset: usize,
) {
    let mut unpacked = MaybeUninit::<Blocks>::uninit();
    let mut acc = Accumulators::<COLUMNS>::uninit();
    for columns in columns.chunks(COLUMNS) {
        // SAFETY: passed on from the caller; the blocks are unpacked before they are read.
        unsafe {
            acc.begin(columns, offset, parts.start == 0);
            for part in parts.clone() {
                let first = part * (PART / 32);
                let n = (k / 32 - first).min(PART / 32);
                for i in 0..n {
                    T::unpack::<S>(panel, first + i, unpacked.as_mut_ptr(), i);
                }
                let next = panel.add((part + 1) * 8 * T::BYTES);
                (0..8 * T::BYTES)
                    .step_by(64)
                    .for_each(|at| S::prefetch(next.wrapping_add(at)));
                let (blocks, acc) = (unpacked.as_ptr(), acc.as_mut_ptr());
                let (eights, rest) = columns.as_chunks::<8>();
                for (i, tile) in eights.iter().enumerate() {
                    let acc = acc.add(8 * i);
                    prefetch_next::<S>(eights.get(i + 1), part);
                    block_tile::<S, T, 8>(blocks, first, n, tile, acc);
                }
                let acc = acc.add(8 * eights.len());
                for (column, acc) in rest.iter().zip((0..).map(|i| acc.add(i))) {
                    block_tile::<S, T, 1>(blocks, first, n, &[*column], acc);
                }
            }
            acc.end(columns, offset);
        }
    }
}

/// `n` blocks from number `first` on, times `N` columns.
#[inline(always)]
unsafe fn block_tile<S: Simd, T: BlockFormat, const N: usize>(
    blocks: *const Blocks,
    first: usize,
    n: usize,
    columns: &[Column; N],
    acc: *mut [f32; PANEL],
) {
    // SAFETY: as the caller's.
    unsafe {
        let values = columns.map(|c| c.values.add(first * 32));
        let sums = columns.map(|c| c.sums.add(first));
        let scales = columns.map(|c| c.scales.add(first));
        for lane in (0..PANEL).step_by(S::LANES) {
            let outs: [*mut f32; N] = std::array::from_fn(|c| acc.add(c).cast::<f32>().add(lane));
            let mut acc = outs.map(|at| S::f_load(at));
            for i in 0..n {
                let quants = (&raw const (*blocks).quants[i]).cast::<u8>().add(lane * 4);
                let mut sum = [S::i_zero(); N];
                for c in 0..N {
                    let offset = if T::LARGEST.is_none() {
                        S::I8_BIAS
                    } else {
                        T::OFFSET
                    };
                    sum[c] = S::i_splat(-offset * i32::from(*sums[c].add(i)));
                }
                block_sums::<S, T, N>(&mut sum, quants, &values, i * 32);
                let d = S::f_load((&raw const (*blocks).d[i]).cast::<f32>().add(lane));
                for c in 0..N {
                    let d = S::f_mul(d, S::f_splat(*scales[c].add(i)));
                    acc[c] = S::f_fma(d, S::f_from_i(sum[c]), acc[c]);
                }
            }
            for c in 0..N {
                S::f_store(outs[c], acc[c]);
            }
        }
    }
}

/// Adds the products of 32 elements of each row, eight lines at `quants`, to `sum`.
#[inline(always)]
unsafe fn block_sums<S: Simd, T: BlockFormat, const N: usize>(
    sum: &mut [S::I; N],
    quants: *const u8,
    values: &[*const u8; N],
    at: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let Some(largest) = T::LARGEST else {
            for j in 0..8 {
                let w = S::b_load(quants.add(j * 64));
                for c in 0..N {
                    sum[c] = S::dot_i8(sum[c], w, splat4::<S>(values[c], at + j * 4));
                }
            }
            return;
        };
        let run = run::<S>(largest, 8);
        for first in (0..8).step_by(run) {
            let mut part = if S::NARROW { [S::i_zero(); N] } else { *sum };
            for j in first..first + run {
                let w = S::b_load(quants.add(j * 64));
                for c in 0..N {
                    part[c] = S::part_dot(part[c], w, splat4::<S>(values[c], at + j * 4));
                }
            }
            for c in 0..N {
                sum[c] = if S::NARROW {
                    S::part_join(sum[c], part[c])
                } else {
                    part[c]
                };
            }
        }
    }
}

//! A panel of sixteen weight rows times columns of activations, written once over [`Simd`].
//!
//! A lane is a row: each output has one accumulator that runs through k in ascending order, so
//! that a column gives the same bits alone or among others, on every leaf. The arithmetic of each
//! storage type is written down under "Numerics class" in ARCHITECTURE.md.

mod block32;
mod decoded;
mod fives;
mod float;
mod k_quants;
mod k_unpack;
mod levels;
pub mod many;
mod sixteens;

pub use block32::{Q4_0, Q8_0};
pub use decoded::decoded;
pub use fives::{Q4_1, Q5_0, Q5_1};
pub use float::{Bf16, F16, F32};
pub use k_quants::{Q4K, Q5K};
pub use levels::{Iq4Nl, Iq4Xs, Mxfp4};
pub use sixteens::{Q2K, Q3K, Q6K};

use super::simd::{NEXT_PAGE, Simd};
use ingle_formats::TensorType;

/// Rows of a panel.
pub const PANEL: usize = 16;

/// What form of activations a storage type multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// f32, as they are.
    Float,
    /// 8-bit integers with a scale every 32 values.
    Blocks32,
    /// 8-bit integers with a scale every 256 values.
    Blocks256,
}

impl Activations {
    /// The form for weights of type `ty`.
    pub const fn of(ty: TensorType) -> Self {
        match ty {
            TensorType::Q8_0
            | TensorType::Q4_0
            | TensorType::Q4_1
            | TensorType::Q5_0
            | TensorType::Q5_1
            | TensorType::Iq4Nl
            | TensorType::Mxfp4 => Self::Blocks32,
            TensorType::Q2K
            | TensorType::Q3K
            | TensorType::Q4K
            | TensorType::Q5K
            | TensorType::Q6K
            | TensorType::Iq4Xs => Self::Blocks256,
            _ => Self::Float,
        }
    }
}

/// One row of activations and where its products go.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// k values: i8 where the weights are quantised, f32 elsewhere.
    pub values: *const u8,
    /// A scale for each block of activations (quantised only).
    pub scales: *const f32,
    /// Sums of the quantised values: one a block of 32, or [`crate::kernel::quantise::SUMS_256`] a
    /// block of 256 (quantised only).
    pub sums: *const i16,
    /// The row of outputs; a panel writes sixteen of them.
    pub out: *mut f32,
}

/// `unsafe fn(panel, k, columns, offset)`: see [`matmul`].
pub type MatmulFn = unsafe fn(*const u8, usize, &[Column], usize);

/// The arithmetic of one storage type.
pub trait Format {
    /// Multiplies one panel with `N` columns.
    ///
    /// # Safety
    /// As [`matmul`].
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    );
}

/// Writes the sixteen products of a panel with each column to `out[offset..offset + 16]` of that
/// column.
///
/// # Safety
/// The processor has the features of `S`; `panel` holds a panel of `k` columns packed for `T`
/// ([`crate::pack`]); every column's pointers are good for `k` values, their scales and sums, and
/// sixteen outputs at `offset`.
#[inline(always)]
pub unsafe fn matmul<S: Simd, T: Format>(
    panel: *const u8,
    k: usize,
    columns: &[Column],
    offset: usize,
) {
    let mut rest = columns;
    // SAFETY: passed on from the caller.
    unsafe {
        if S::COLUMNS >= 8 {
            while let Some((tile, tail)) = rest.split_first_chunk::<8>() {
                T::tile::<S, 8>(panel, k, tile, offset);
                rest = tail;
            }
        }
        while let Some((tile, tail)) = rest.split_first_chunk::<4>() {
            T::tile::<S, 4>(panel, k, tile, offset);
            rest = tail;
        }
        while let Some((tile, tail)) = rest.split_first_chunk::<2>() {
            T::tile::<S::Wide, 2>(panel, k, tile, offset);
            rest = tail;
        }
        while let Some((tile, tail)) = rest.split_first_chunk::<1>() {
            T::tile::<S::Wide, 1>(panel, k, tile, offset);
            rest = tail;
        }
    }
}

/// Four quantised activations in every lane.
#[inline(always)]
unsafe fn splat4<S: Simd>(values: *const u8, at: usize) -> S::I {
    // SAFETY: the caller's column holds at least `at + 4` values.
    unsafe { S::i_splat(values.add(at).cast::<i32>().read_unaligned()) }
}

/// Every byte shifted left by `SHIFT` (right where negative), and `mask` of it.
#[inline(always)]
unsafe fn moved<S: Simd, const SHIFT: i32>(x: S::B, mask: u8) -> S::B {
    // SAFETY: arithmetic on values; the caller has the features of `S`.
    unsafe {
        match SHIFT {
            4 => S::b_shl::<4>(S::b_and(x, mask >> 4)),
            3 => S::b_shl::<3>(S::b_and(x, mask >> 3)),
            2 => S::b_shl::<2>(S::b_and(x, mask >> 2)),
            1 => S::b_shl::<1>(S::b_and(x, mask >> 1)),
            0 => S::b_and(x, mask),
            -1 => S::b_shr_and::<1>(x, mask),
            -2 => S::b_shr_and::<2>(x, mask),
            -3 => S::b_shr_and::<3>(x, mask),
            -4 => S::b_shr_and::<4>(x, mask),
            _ => S::b_shr_and::<5>(x, mask),
        }
    }
}

/// How far ahead of a load [`ahead`] and [`next_panel`] ask for weights, for a panel of so many bytes.
///
/// With many columns a panel's first tile is its only one to wait for memory: it asks for the same place
/// of the next panel, which the later tiles leave time to come.
#[inline(always)]
fn reach<const N: usize>(panel_bytes: usize) -> usize {
    const FAR: usize = 32 << 10;
    match N {
        8.. => panel_bytes.min(FAR),
        1 => NEXT_PAGE,
        _ => 1024,
    }
}

/// Asks for so many lines of the next panel, with so many columns that the first of several tiles
/// is the only one that would wait for them. With one column, for lines a page further on: types whose
/// kernels do more with a line keep too few of them in flight otherwise (Q6_K from memory on both cores of a
/// Zen 5: 40 to 61 GB/s, of 67 that it reads).
#[inline(always)]
unsafe fn next_panel<S: Simd, const N: usize>(p: *const u8, lines: usize, reach: usize) {
    if N == 1 || N >= 8 {
        for line in 0..lines {
            // SAFETY: the caller has the features of `S`; the address need not be readable.
            unsafe { S::prefetch(p.wrapping_add(line * 64 + reach)) }
        }
    }
}

/// Asks for the weights that come `reach` further on, where that pays: with several columns less is
/// in flight, and a long panel leaves the first-level cache before the next column. With one column
/// the processor fetches better by itself what is near (measured on a Zen 4), and Q4_K gains 5% by what
/// is a page further on (on a Zen 5).
#[inline(always)]
unsafe fn ahead<S: Simd, const N: usize>(p: *const u8, k: usize, reach: usize) {
    if N == 1 || N >= 8 || (N >= 2 && k >= 2048) {
        // SAFETY: the caller has the features of `S`; the address need not be readable.
        unsafe { S::prefetch(p.wrapping_add(reach)) }
    }
}

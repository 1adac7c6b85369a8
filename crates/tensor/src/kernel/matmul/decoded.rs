//! Every other storage type: decoded to f32 some elements at a time, then as F32 weights.

use super::{Column, PANEL};
use crate::kernel::simd::Simd;
use ingle_formats::TensorType;

/// Elements of each row that are decoded at a time: a multiple of every block length.
const STEP: usize = 256;
/// Elements of each row that are transposed at a time.
const PART: usize = 32;

/// As [`super::matmul`], for a panel that holds sixteen rows of `ty` as they stand in the file.
///
/// # Safety
/// As [`super::matmul`].
#[inline(always)]
pub unsafe fn decoded<S: Simd>(
    panel: &[u8],
    ty: TensorType,
    k: usize,
    columns: &[Column],
    offset: usize,
) {
    let (len, bytes) = (ty.block_len() as usize, ty.block_bytes() as usize);
    let row_bytes = k / len * bytes;
    let mut rows = [0.0f32; PANEL * STEP];
    for column in columns {
        // SAFETY: the column has sixteen outputs at `offset`.
        unsafe { std::slice::from_raw_parts_mut(column.out.add(offset), PANEL).fill(0.0) };
    }
    for start in (0..k).step_by(STEP) {
        let step = STEP.min(k - start);
        for (r, row) in rows.chunks_exact_mut(STEP).enumerate() {
            let blocks = &panel[r * row_bytes + start / len * bytes..][..step / len * bytes];
            // SAFETY: the processor has the features; `row[..step]` is what the blocks hold.
            unsafe { S::decode(ty, blocks, &mut row[..step]) };
        }
        // SAFETY: `rows` holds `step` elements a row; the columns are the caller's.
        unsafe { multiply::<S>(&rows, start, step, columns, offset) };
    }
}

/// Adds the products of elements `start..start + step` of each row to the outputs. `step` is a
/// multiple of [`PART`].
///
/// # Safety
/// As [`super::matmul`].
#[inline(always)]
unsafe fn multiply<S: Simd>(
    rows: &[f32; PANEL * STEP],
    start: usize,
    step: usize,
    columns: &[Column],
    offset: usize,
) {
    let mut tile = [0.0f32; PART * PANEL]; // [element, row]
    for part in (0..step).step_by(PART) {
        // SAFETY: eight elements from `part + i` lie in each row, and in the tile from `i`.
        unsafe {
            for i in (0..PART).step_by(8) {
                S::f_transpose(
                    rows.as_ptr().add(part + i),
                    STEP,
                    tile.as_mut_ptr().add(i * PANEL),
                );
            }
            let (fours, rest) = columns.as_chunks::<4>();
            for columns in fours {
                add_products::<S, 4>(&tile, start + part, columns, offset);
            }
            for column in rest {
                add_products::<S, 1>(&tile, start + part, &[*column], offset);
            }
        }
    }
}

/// Adds the products of a tile, whose first element is `start`, to the outputs of `N` columns.
///
/// # Safety
/// As [`super::matmul`].
#[inline(always)]
unsafe fn add_products<S: Simd, const N: usize>(
    tile: &[f32; PART * PANEL],
    start: usize,
    columns: &[Column; N],
    offset: usize,
) {
    for lane in (0..PANEL).step_by(S::LANES) {
        // SAFETY: the columns are good for `start + PART` values and sixteen outputs at `offset`.
        unsafe {
            let mut sums = columns.map(|column| S::f_load(column.out.add(offset + lane)));
            for i in 0..PART {
                let w = S::f_load(tile.as_ptr().add(i * PANEL + lane));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    let x = column.values.cast::<f32>().add(start + i);
                    *sum = S::f_fma(w, S::f_splat(x.read_unaligned()), *sum);
                }
            }
            for (sum, column) in sums.into_iter().zip(columns) {
                S::f_store(column.out.add(offset + lane), sum);
            }
        }
    }
}

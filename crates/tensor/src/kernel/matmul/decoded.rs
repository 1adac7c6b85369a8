//! Every other storage type: decoded to f32 a block at a time, then as F32 weights.

use super::{Column, PANEL};
use crate::kernel::simd::Simd;
use crate::quant;
use ingle_formats::TensorType;

/// The longest block.
const LONGEST: usize = 256;

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
    let mut row = [0.0f32; LONGEST];
    let mut tile = [0.0f32; LONGEST * PANEL]; // [element, row]
    // SAFETY: columns are good for k values and sixteen outputs at `offset`; the tile is ours.
    unsafe {
        for column in columns {
            std::slice::from_raw_parts_mut(column.out.add(offset), PANEL).fill(0.0);
        }
        for b in 0..k / len {
            for r in 0..PANEL {
                let at = r * row_bytes + b * bytes;
                // The lengths fit by construction, so that decoding cannot fail.
                let _ = quant::decode(ty, &panel[at..at + bytes], &mut row[..len]);
                for (i, x) in row[..len].iter().enumerate() {
                    tile[i * PANEL + r] = *x;
                }
            }
            for column in columns {
                let values = column.values.cast::<f32>().add(b * len);
                for part in 0..PANEL / S::LANES {
                    let lane = part * S::LANES;
                    let out = column.out.add(offset + lane);
                    let mut acc = S::f_load(out);
                    for i in 0..len {
                        let w = S::f_load(tile.as_ptr().add(i * PANEL + lane));
                        acc = S::f_fma(w, S::f_splat(values.add(i).read_unaligned()), acc);
                    }
                    S::f_store(out, acc);
                }
            }
        }
    }
}

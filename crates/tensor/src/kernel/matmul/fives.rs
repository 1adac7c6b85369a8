//! Blocks of 32 with a scale and a minimum, or with fifth bits: Q4_1, Q5_0 and Q5_1.
//!
//! Per block: the integer sum `s` of products, exact; then `acc = fma(d_w * d_a, f32(s), acc)`, and
//! for the minimum, with the sum `m` of the activations, `acc = fma(m_w * d_a, f32(m), acc)`.

use super::{Column, Format, PANEL, moved, next_panel, reach, splat4};
use crate::kernel::simd::Simd;
use crate::pack;

/// 4 bits and a minimum.
#[derive(Debug)]
pub enum Q4_1 {}
/// 5 bits less 16.
#[derive(Debug)]
pub enum Q5_0 {}
/// 5 bits and a minimum.
#[derive(Debug)]
pub enum Q5_1 {}

impl Format for Q4_1 {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::Q4_1.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q4_1.body(b));
                    let q = block.add(64 + lane * 4);
                    next_panel::<S, N>(q, 4, reach);
                    let mut sum = [S::i_zero(); N];
                    for j in 0..4 {
                        let w = S::b_load(q.add(j * 64));
                        let (low, high) = (S::b_and(w, 15), S::b_shr_and::<4>(w, 15));
                        for c in 0..N {
                            let (values, at) = (columns[c].values, b * 32 + j * 4);
                            sum[c] = S::dot_u7(sum[c], low, splat4::<S>(values, at));
                            sum[c] = S::dot_u7(sum[c], high, splat4::<S>(values, at + 16));
                        }
                    }
                    add_with_minimum::<S, N>(&mut acc, block.add(lane * 2), &sum, columns, b);
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

impl Format for Q5_0 {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::Q5_0.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let q = panel.add(pack::Q5_0.body(b) + lane * 4);
                    next_panel::<S, N>(q, 5, reach);
                    let sum = five_bits::<S, N>(q, columns, b);
                    let d = S::f_load_f16(panel.add(pack::Q5_0.scales(b) + lane * 2));
                    for c in 0..N {
                        // The weights are stored 16 too large.
                        let raised = 16 * i32::from(*columns[c].sums.add(b));
                        let s = S::i_sub(sum[c], S::i_splat(raised));
                        let d = S::f_mul(d, S::f_splat(*columns[c].scales.add(b)));
                        acc[c] = S::f_fma(d, S::f_from_i(s), acc[c]);
                    }
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

impl Format for Q5_1 {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::Q5_1.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q5_1.body(b));
                    next_panel::<S, N>(block, 6, reach);
                    let sum = five_bits::<S, N>(block.add(64 + lane * 4), columns, b);
                    add_with_minimum::<S, N>(&mut acc, block.add(lane * 2), &sum, columns, b);
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

/// The products of block `b`: a line of fifth bits (bit `j` of byte `t` is that of element `4 j + t`)
/// and four lines of lower bits.
#[inline(always)]
unsafe fn five_bits<S: Simd, const N: usize>(
    lines: *const u8,
    columns: &[Column; N],
    b: usize,
) -> [S::I; N] {
    // SAFETY: as the caller's.
    unsafe {
        let fifths = S::b_load(lines);
        let mut sum = [S::i_zero(); N];
        five_bit_line::<S, N, 4, 0>(&mut sum, lines, fifths, columns, b * 32);
        five_bit_line::<S, N, 3, -1>(&mut sum, lines.add(64), fifths, columns, b * 32 + 4);
        five_bit_line::<S, N, 2, -2>(&mut sum, lines.add(128), fifths, columns, b * 32 + 8);
        five_bit_line::<S, N, 1, -3>(&mut sum, lines.add(192), fifths, columns, b * 32 + 12);
        sum
    }
}

/// The line after `before`: four elements from `at` on and four from `at + 16` on, whose fifth bits
/// come to bit 4 by shifts of `A` and `B` to the left.
#[inline(always)]
unsafe fn five_bit_line<S: Simd, const N: usize, const A: i32, const B: i32>(
    sum: &mut [S::I; N],
    before: *const u8,
    fifths: S::B,
    columns: &[Column; N],
    at: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let w = S::b_load(before.add(64));
        let low = S::b_or(S::b_and(w, 15), moved::<S, A>(fifths, 16));
        let high = S::b_or(S::b_shr_and::<4>(w, 15), moved::<S, B>(fifths, 16));
        for c in 0..N {
            let values = columns[c].values;
            sum[c] = S::dot_u7(sum[c], low, splat4::<S>(values, at));
            sum[c] = S::dot_u7(sum[c], high, splat4::<S>(values, at + 16));
        }
    }
}

/// Adds a block's scaled sum and its minimum to the accumulators; the scales stand at `scales`, the
/// minimums 32 bytes further.
#[inline(always)]
unsafe fn add_with_minimum<S: Simd, const N: usize>(
    acc: &mut [S::F; N],
    scales: *const u8,
    sum: &[S::I; N],
    columns: &[Column; N],
    b: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let (d, m) = (S::f_load_f16(scales), S::f_load_f16(scales.add(32)));
        for c in 0..N {
            let d_a = S::f_splat(*columns[c].scales.add(b));
            let sum_a = S::f_splat(f32::from(*columns[c].sums.add(b)));
            acc[c] = S::f_fma(S::f_mul(d, d_a), S::f_from_i(sum[c]), acc[c]);
            acc[c] = S::f_fma(S::f_mul(m, d_a), sum_a, acc[c]);
        }
    }
}

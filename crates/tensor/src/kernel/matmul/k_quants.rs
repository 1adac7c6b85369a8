//! Super-blocks of 256 in sub-blocks of 32 with a minimum: Q4_K and Q5_K.
//!
//! Activations carry one scale every 256 values, so that a super-block's sum of
//! `sub-scale * product` is one exact integer `s`, that of the minimums `m`:
//! `acc = fma(d_w * d_a, f32(s), acc)`, then `acc = fma(-(dmin_w * d_a), f32(m), acc)`.

use super::{Column, Format, PANEL, ahead, moved, next_panel, reach, splat4};
use crate::kernel::quantise::SUMS_256;
use crate::kernel::simd::{Simd, in_order};
use crate::pack;

/// 4 bits, 8 sub-blocks of 32 with a scale and a minimum each.
#[derive(Debug)]
pub enum Q4K {}
/// 5 bits, 8 sub-blocks of 32 with a scale and a minimum each.
#[derive(Debug)]
pub enum Q5K {}

impl Format for Q4K {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
        let reach = reach::<N>(pack::Q4_K.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q4_K.body(b));
                    let sub = block.add(64 + lane * 2);
                    let mut sum = [S::i_zero(); N];
                    for chunk in 0..4 {
                        in_order();
                        let q = block.add(320 + chunk * 512 + lane * 4);
                        let (mut low, mut high) = ([S::i_zero(); N], [S::i_zero(); N]);
                        for j in 0..8 {
                            let w = S::b_load(q.add(j * 64));
                            ahead::<S, N>(q.add(j * 64), k, reach);
                            let (l, h) = (S::b_and(w, 15), S::b_shr_and::<4>(w, 15));
                            for c in 0..N {
                                let (values, at) =
                                    (columns[c].values, b * 256 + chunk * 64 + j * 4);
                                low[c] = S::part_dot(low[c], l, splat4::<S>(values, at));
                                high[c] = S::part_dot(high[c], h, splat4::<S>(values, at + 32));
                            }
                        }
                        // 32 * 15 * 127 fits 16 bits where products are added in two halves.
                        let scales = S::i_load_u8_pairs(sub.add(chunk * 32));
                        let first = S::scale_lanes(S::i_first(scales));
                        let second = S::scale_lanes(S::i_second(scales));
                        for c in 0..N {
                            sum[c] = S::part_weigh(sum[c], low[c], first);
                            sum[c] = S::part_weigh(sum[c], high[c], second);
                        }
                    }
                    finish_with_minimums::<S, N>(
                        &mut acc,
                        block.add(lane * 2),
                        sub,
                        &sum,
                        columns,
                        b,
                    );
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

impl Format for Q5K {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
        let reach = reach::<N>(pack::Q5_K.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q5_K.body(b));
                    let sub = block.add(64 + lane * 2);
                    let mut sum = [S::i_zero(); N];
                    for chunk in 0..4 {
                        in_order();
                        let lines = block.add(320 + chunk * 640 + lane * 4);
                        next_panel::<S, N>(lines, 10, reach);
                        let at = b * 256 + chunk * 64;
                        let (low, high) = five_bits::<S, N>(lines, columns, at);
                        let scales = S::i_load_u8_pairs(sub.add(chunk * 32));
                        weigh::<S, N>(&mut sum, scales, &low, &high);
                    }
                    finish_with_minimums::<S, N>(
                        &mut acc,
                        block.add(lane * 2),
                        sub,
                        &sum,
                        columns,
                        b,
                    );
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

/// The products of two sub-blocks, 64 elements from `at` on: a line of fifth bits for each (bit `j` of
/// byte `t` is that of element `4 j + t`), then eight lines of lower bits.
#[inline(always)]
unsafe fn five_bits<S: Simd, const N: usize>(
    lines: *const u8,
    columns: &[Column; N],
    at: usize,
) -> ([S::I; N], [S::I; N]) {
    // SAFETY: as the caller's.
    unsafe {
        let fifths = (S::b_load(lines), S::b_load(lines.add(64)));
        let q = lines.add(128);
        let mut sums = ([S::i_zero(); N], [S::i_zero(); N]);
        five_bit_line::<S, N, 4>(&mut sums, q, fifths, columns, at);
        five_bit_line::<S, N, 3>(&mut sums, q.add(64), fifths, columns, at + 4);
        five_bit_line::<S, N, 2>(&mut sums, q.add(128), fifths, columns, at + 8);
        five_bit_line::<S, N, 1>(&mut sums, q.add(192), fifths, columns, at + 12);
        five_bit_line::<S, N, 0>(&mut sums, q.add(256), fifths, columns, at + 16);
        five_bit_line::<S, N, -1>(&mut sums, q.add(320), fifths, columns, at + 20);
        five_bit_line::<S, N, -2>(&mut sums, q.add(384), fifths, columns, at + 24);
        five_bit_line::<S, N, -3>(&mut sums, q.add(448), fifths, columns, at + 28);
        sums
    }
}

/// A line: four elements from `at` on in its low halves and four from `at + 32` on in its high
/// halves, whose fifth bits come to bit 4 by a shift of `SHIFT` to the left.
#[inline(always)]
unsafe fn five_bit_line<S: Simd, const N: usize, const SHIFT: i32>(
    (low, high): &mut ([S::I; N], [S::I; N]),
    line: *const u8,
    fifths: (S::B, S::B),
    columns: &[Column; N],
    at: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let w = S::b_load(line);
        let l = S::b_or(S::b_and(w, 15), moved::<S, SHIFT>(fifths.0, 16));
        let h = S::b_or(S::b_shr_and::<4>(w, 15), moved::<S, SHIFT>(fifths.1, 16));
        for c in 0..N {
            let values = columns[c].values;
            low[c] = S::dot_u7(low[c], l, splat4::<S>(values, at));
            high[c] = S::dot_u7(high[c], h, splat4::<S>(values, at + 32));
        }
    }
}

/// `sum += low * first(scales) + high * second(scales)`
#[inline(always)]
unsafe fn weigh<S: Simd, const N: usize>(
    sum: &mut [S::I; N],
    scales: S::I,
    low: &[S::I; N],
    high: &[S::I; N],
) {
    // SAFETY: arithmetic on values; the caller has the features of `S`.
    unsafe {
        let (first, second) = (S::i_first(scales), S::i_second(scales));
        for c in 0..N {
            sum[c] = S::i_add(sum[c], S::i_mul(low[c], first));
            sum[c] = S::i_add(sum[c], S::i_mul(high[c], second));
        }
    }
}

/// Adds a super-block's scaled sum to the accumulators and takes its minimums off.
#[inline(always)]
unsafe fn finish_with_minimums<S: Simd, const N: usize>(
    acc: &mut [S::F; N],
    scales: *const u8,
    subs: *const u8,
    sum: &[S::I; N],
    columns: &[Column; N],
    b: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let mut minimums = [S::i_zero(); N];
        for pair in 0..4 {
            let m = S::i_load_u8_pairs(subs.add(128 + pair * 32));
            for c in 0..N {
                let sums = columns[c]
                    .sums
                    .add(b * SUMS_256 + 16 + pair * 2)
                    .cast::<u8>();
                minimums[c] = S::i_dot_pairs(minimums[c], m, splat4::<S>(sums, 0));
            }
        }
        let (d, dmin) = (S::f_load_f16(scales), S::f_load_f16(scales.add(32)));
        for c in 0..N {
            let d_a = S::f_splat(*columns[c].scales.add(b));
            acc[c] = S::f_fma(S::f_mul(d, d_a), S::f_from_i(sum[c]), acc[c]);
            acc[c] = S::f_fnma(S::f_mul(dmin, d_a), S::f_from_i(minimums[c]), acc[c]);
        }
    }
}

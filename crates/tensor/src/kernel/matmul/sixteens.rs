//! Super-blocks of 256 in sub-blocks of sixteen: Q2_K, Q3_K and Q6_K.
//!
//! Activations carry one scale every 256 values, so that a super-block's sum of
//! `sub-scale * product` is one exact integer `s` (and `m` for the minimums of Q2_K):
//! `acc = fma(d_w * d_a, f32(s), acc)`, then `acc = fma(-(dmin_w * d_a), f32(m), acc)`.

use super::{Column, Format, PANEL, moved, next_panel, reach, splat4};
use crate::kernel::quantise::SUMS_256;
use crate::kernel::simd::{Simd, in_order};
use crate::pack;

/// 2 bits, a scale and a minimum of 4 bits.
#[derive(Debug)]
pub enum Q2K {}
/// 3 bits less 4, a signed scale.
#[derive(Debug)]
pub enum Q3K {}
/// 6 bits less 32, a signed scale.
#[derive(Debug)]
pub enum Q6K {}

impl Format for Q2K {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
        let reach = reach::<N>(pack::Q2_K.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q2_K.body(b));
                    let (mut sum, mut least) = ([S::i_zero(); N], [S::i_zero(); N]);
                    for pair in 0..8 {
                        in_order();
                        let q = block.add(320 + pair * 128 + lane * 4);
                        next_panel::<S, N>(q, 2, reach);
                        let at = b * 256 + pair * 32;
                        let first = two_bits::<S, N>(q, columns, at);
                        let second = two_bits::<S, N>(q.add(64), columns, at + 16);
                        let subs = block.add(64 + pair * 32 + lane * 2);
                        let (scales, minimums) = S::i_load_nibble_pairs(subs);
                        for c in 0..N {
                            // 16 * 3 * 127 fits 16 bits.
                            let dots = S::i_join(first[c], second[c]);
                            sum[c] = S::i_dot_pairs(sum[c], dots, scales);
                            let sums = sums_of_pair::<S>(&columns[c], b, pair);
                            least[c] = S::i_dot_pairs(least[c], minimums, sums);
                        }
                    }
                    let d = S::f_load_f16(block.add(lane * 2));
                    let dmin = S::f_load_f16(block.add(32 + lane * 2));
                    for c in 0..N {
                        let d_a = S::f_splat(*columns[c].scales.add(b));
                        acc[c] = S::f_fma(S::f_mul(d, d_a), S::f_from_i(sum[c]), acc[c]);
                        acc[c] = S::f_fnma(S::f_mul(dmin, d_a), S::f_from_i(least[c]), acc[c]);
                    }
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

/// The products of a line: four fields of 2 bits a byte, sixteen elements from `at` on.
#[inline(always)]
unsafe fn two_bits<S: Simd, const N: usize>(
    line: *const u8,
    columns: &[Column; N],
    at: usize,
) -> [S::I; N] {
    // SAFETY: as the caller's.
    unsafe {
        let q = S::b_load(line);
        let w = [
            S::b_and(q, 3),
            S::b_shr_and::<2>(q, 3),
            S::b_shr_and::<4>(q, 3),
            S::b_shr_and::<6>(q, 3),
        ];
        dots::<S, N>(w, columns, at)
    }
}

impl Format for Q3K {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
        let reach = reach::<N>(pack::Q3_K.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q3_K.body(b));
                    let (mut sum, mut raised) = ([S::i_zero(); N], [S::i_zero(); N]);
                    for pair in 0..8 {
                        in_order();
                        let q = block.add(256 + pair * 192 + lane * 4);
                        next_panel::<S, N>(q, 3, reach);
                        let at = b * 256 + pair * 32;
                        let (first, second) = three_bits::<S, N>(q, columns, at);
                        let scales = S::i_load_i8_pairs(block.add(pair * 32 + lane * 2));
                        for c in 0..N {
                            // 16 * 7 * 127 fits 16 bits.
                            let dots = S::i_join(first[c], second[c]);
                            sum[c] = S::i_dot_pairs(sum[c], dots, scales);
                            let sums = sums_of_pair::<S>(&columns[c], b, pair);
                            raised[c] = S::i_dot_pairs(raised[c], scales, sums);
                        }
                    }
                    let d = S::f_load_f16(panel.add(pack::Q3_K.scales(b) + lane * 2));
                    add_lowered::<S, N, 4>(&mut acc, d, &sum, &raised, columns, b);
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

/// The products of two sub-blocks, 32 elements from `at` on: a line of third bits (bit `j` of byte
/// `t` is that of element `4 j + t`), then one of fields of 2 bits for each.
#[inline(always)]
unsafe fn three_bits<S: Simd, const N: usize>(
    lines: *const u8,
    columns: &[Column; N],
    at: usize,
) -> ([S::I; N], [S::I; N]) {
    // SAFETY: as the caller's.
    unsafe {
        let thirds = S::b_load(lines);
        let (p, q) = (S::b_load(lines.add(64)), S::b_load(lines.add(128)));
        let first = [
            S::b_or(S::b_and(p, 3), moved::<S, 2>(thirds, 4)),
            S::b_or(S::b_shr_and::<2>(p, 3), moved::<S, 1>(thirds, 4)),
            S::b_or(S::b_shr_and::<4>(p, 3), moved::<S, 0>(thirds, 4)),
            S::b_or(S::b_shr_and::<6>(p, 3), moved::<S, -1>(thirds, 4)),
        ];
        let second = [
            S::b_or(S::b_and(q, 3), moved::<S, -2>(thirds, 4)),
            S::b_or(S::b_shr_and::<2>(q, 3), moved::<S, -3>(thirds, 4)),
            S::b_or(S::b_shr_and::<4>(q, 3), moved::<S, -4>(thirds, 4)),
            S::b_or(S::b_shr_and::<6>(q, 3), moved::<S, -5>(thirds, 4)),
        ];
        (
            dots::<S, N>(first, columns, at),
            dots::<S, N>(second, columns, at + 16),
        )
    }
}

impl Format for Q6K {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
        let reach = reach::<N>(pack::Q6_K.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q6_K.body(b));
                    let (mut sum, mut raised) = ([S::i_zero(); N], [S::i_zero(); N]);
                    for pair in 0..8 {
                        in_order();
                        let q = block.add(256 + pair * 384 + lane * 4);
                        let at = b * 256 + pair * 32;
                        next_panel::<S, N>(q, 6, reach);
                        let first = six_bits::<S, N>(q, columns, at);
                        let second = six_bits::<S, N>(q.add(192), columns, at + 16);
                        let scales = S::i_load_i8_pairs(block.add(pair * 32 + lane * 2));
                        let (s, t) = (S::i_first(scales), S::i_second(scales));
                        for c in 0..N {
                            sum[c] = S::i_add(sum[c], S::i_mul(first[c], s));
                            sum[c] = S::i_add(sum[c], S::i_mul(second[c], t));
                            let sums = sums_of_pair::<S>(&columns[c], b, pair);
                            raised[c] = S::i_dot_pairs(raised[c], scales, sums);
                        }
                    }
                    let d = S::f_load_f16(panel.add(pack::Q6_K.scales(b) + lane * 2));
                    add_lowered::<S, N, 32>(&mut acc, d, &sum, &raised, columns, b);
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

/// The products of a sub-block, sixteen elements from `at` on: a line of upper bits, four fields of
/// 2 bits a byte, then two of lower bits, two halves a byte.
#[inline(always)]
unsafe fn six_bits<S: Simd, const N: usize>(
    lines: *const u8,
    columns: &[Column; N],
    at: usize,
) -> [S::I; N] {
    // SAFETY: as the caller's.
    unsafe {
        let upper = S::b_load(lines);
        let (p, q) = (S::b_load(lines.add(64)), S::b_load(lines.add(128)));
        let w = [
            S::b_or(S::b_and(p, 15), moved::<S, 4>(upper, 48)),
            S::b_or(S::b_shr_and::<4>(p, 15), moved::<S, 2>(upper, 48)),
            S::b_or(S::b_and(q, 15), moved::<S, 0>(upper, 48)),
            S::b_or(S::b_shr_and::<4>(q, 15), moved::<S, -2>(upper, 48)),
        ];
        dots::<S, N>(w, columns, at)
    }
}

/// The products of sixteen elements from `at` on.
#[inline(always)]
unsafe fn dots<S: Simd, const N: usize>(
    w: [S::B; 4],
    columns: &[Column; N],
    at: usize,
) -> [S::I; N] {
    // SAFETY: as the caller's.
    unsafe {
        let mut sum = [S::i_zero(); N];
        for (i, w) in w.into_iter().enumerate() {
            for c in 0..N {
                sum[c] = S::dot_u7(sum[c], w, splat4::<S>(columns[c].values, at + 4 * i));
            }
        }
        sum
    }
}

/// The sums of the activations of sub-blocks `2 pair` and `2 pair + 1` of block `b`.
#[inline(always)]
unsafe fn sums_of_pair<S: Simd>(column: &Column, b: usize, pair: usize) -> S::I {
    // SAFETY: as the caller's.
    unsafe { splat4::<S>(column.sums.add(b * SUMS_256 + pair * 2).cast(), 0) }
}

/// Adds a super-block's scaled sum to the accumulators, its weights being stored `RAISED` too large.
#[inline(always)]
unsafe fn add_lowered<S: Simd, const N: usize, const RAISED: i32>(
    acc: &mut [S::F; N],
    d: S::F,
    sum: &[S::I; N],
    raised: &[S::I; N],
    columns: &[Column; N],
    b: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        for c in 0..N {
            let raised = S::i_mul(raised[c], S::i_splat(RAISED));
            let s = S::i_sub(sum[c], raised);
            let d = S::f_mul(d, S::f_splat(*columns[c].scales.add(b)));
            acc[c] = S::f_fma(d, S::f_from_i(s), acc[c]);
        }
    }
}

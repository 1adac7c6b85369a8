//! Super-blocks of 256 with integer sub-scales: Q4_K, Q5_K and Q6_K.
//!
//! Activations carry one scale every 256 values, so that a super-block's sum of
//! `sub-scale * product` is one exact integer `s` (and `m` for the minimums):
//! `acc = fma(d_w * d_a, f32(s), acc)`, then `acc = fma(-(dmin_w * d_a), f32(m), acc)`.

use super::{Column, Format, PANEL, splat4};
use crate::kernel::quantise::SUMS_256;
use crate::kernel::simd::Simd;
use crate::pack;

/// 4 bits, 8 sub-blocks of 32 with a scale and a minimum each.
#[derive(Debug)]
pub enum Q4K {}
/// 5 bits, 8 sub-blocks of 32 with a scale and a minimum each.
#[derive(Debug)]
pub enum Q5K {}
/// 6 bits less 32, 16 sub-blocks of 16 with a signed scale each.
#[derive(Debug)]
pub enum Q6K {}

impl Format for Q4K {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
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
                        let q = block.add(320 + chunk * 512 + lane * 4);
                        let (mut low, mut high) = ([S::i_zero(); N], [S::i_zero(); N]);
                        for j in 0..8 {
                            let w = S::b_load(q.add(j * 64));
                            let (l, h) = (S::b_and(w, 15), S::b_shr_and::<4>(w, 15));
                            for c in 0..N {
                                let (values, at) =
                                    (columns[c].values, b * 256 + chunk * 64 + j * 4);
                                low[c] = S::dot_u7(low[c], l, splat4::<S>(values, at));
                                high[c] = S::dot_u7(high[c], h, splat4::<S>(values, at + 32));
                            }
                        }
                        weigh::<S, N>(
                            &mut sum,
                            S::i_load_u8_pairs(sub.add(chunk * 32)),
                            &low,
                            &high,
                        );
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
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q5_K.body(b));
                    let sub = block.add(64 + lane * 2);
                    // Read once: going back would hide from the processor that this is one stream.
                    let mut fifths = [S::b_load(block.add(320 + lane * 4)); 8];
                    for (j, f) in fifths.iter_mut().enumerate().skip(1) {
                        *f = S::b_load(block.add(320 + j * 64 + lane * 4));
                    }
                    let (q, f) = (block.add(832 + lane * 4), &fifths);
                    let mut sum = [S::i_zero(); N];
                    q5_chunk::<S, N, 4, 3>(&mut sum, q, f, sub, 0, columns, b);
                    q5_chunk::<S, N, 2, 1>(&mut sum, q, f, sub, 1, columns, b);
                    q5_chunk::<S, N, 0, -1>(&mut sum, q, f, sub, 2, columns, b);
                    q5_chunk::<S, N, -2, -3>(&mut sum, q, f, sub, 3, columns, b);
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

/// 64 elements of a Q5_K block; their fifth bits come to bit 4 by a shift of `A` and `B` to the
/// left (to the right where negative).
#[inline(always)]
unsafe fn q5_chunk<S: Simd, const N: usize, const A: i32, const B: i32>(
    sum: &mut [S::I; N],
    quants: *const u8,
    fifths: &[S::B; 8],
    subs: *const u8,
    chunk: usize,
    columns: &[Column; N],
    b: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let (mut low, mut high) = ([S::i_zero(); N], [S::i_zero(); N]);
        for (j, f) in fifths.iter().enumerate() {
            let w = S::b_load(quants.add(chunk * 512 + j * 64));
            let l = S::b_or(S::b_and(w, 15), bit4::<S, A>(*f));
            let h = S::b_or(S::b_shr_and::<4>(w, 15), bit4::<S, B>(*f));
            for c in 0..N {
                let (values, at) = (columns[c].values, b * 256 + chunk * 64 + j * 4);
                low[c] = S::dot_u7(low[c], l, splat4::<S>(values, at));
                high[c] = S::dot_u7(high[c], h, splat4::<S>(values, at + 32));
            }
        }
        weigh::<S, N>(sum, S::i_load_u8_pairs(subs.add(chunk * 32)), &low, &high);
    }
}

/// The bit `4 - SHIFT` of every byte, moved to bit 4.
#[inline(always)]
unsafe fn bit4<S: Simd, const SHIFT: i32>(x: S::B) -> S::B {
    // SAFETY: arithmetic on values; the caller has the features of `S`.
    unsafe {
        match SHIFT {
            4 => S::b_shl::<4>(S::b_and(x, 1)),
            3 => S::b_shl::<3>(S::b_and(x, 2)),
            2 => S::b_shl::<2>(S::b_and(x, 4)),
            1 => S::b_shl::<1>(S::b_and(x, 8)),
            0 => S::b_and(x, 16),
            -1 => S::b_shr_and::<1>(x, 16),
            -2 => S::b_shr_and::<2>(x, 16),
            _ => S::b_shr_and::<3>(x, 16),
        }
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
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::Q6_K.body(b));
                    let sub = block.add(lane * 2);
                    let mut sum = [S::i_zero(); N];
                    for half in 0..2 {
                        let q = block.add(256 + half * 1536 + lane * 4);
                        let at = b * 256 + half * 128;
                        q6_quarters::<S, N, 0>(&mut sum, q, sub.add(half * 128), columns, at);
                        q6_quarters::<S, N, 1>(&mut sum, q, sub.add(half * 128), columns, at);
                    }
                    // The weights are stored 32 too large.
                    let mut raised = [S::i_zero(); N];
                    for pair in 0..8 {
                        let s = S::i_load_i8_pairs(sub.add(pair * 32));
                        for c in 0..N {
                            let sums = columns[c].sums.add(b * SUMS_256 + pair * 2).cast::<u8>();
                            raised[c] = S::i_dot_pairs(raised[c], s, splat4::<S>(sums, 0));
                        }
                    }
                    let d = S::f_load_f16(panel.add(pack::Q6_K.scales(b) + lane * 2));
                    for c in 0..N {
                        let s = S::i_sub(sum[c], S::i_mul(raised[c], S::i_splat(32)));
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

/// Half of the 128 elements of half a Q6_K block: those whose lower bits stand in the low
/// (`NIBBLE` 0) or the high nibbles of the same bytes, two runs of 32 elements.
#[inline(always)]
unsafe fn q6_quarters<S: Simd, const N: usize, const NIBBLE: usize>(
    sum: &mut [S::I; N],
    quants: *const u8,
    subs: *const u8,
    columns: &[Column; N],
    at: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        for sixteen in 0..2 {
            let (mut first, mut second) = ([S::i_zero(); N], [S::i_zero(); N]);
            for j in sixteen * 4..sixteen * 4 + 4 {
                let line = quants.add(j * 192);
                let (a, b) = (S::b_load(line), S::b_load(line.add(64)));
                let u = S::b_load(line.add(128));
                let (a, b) = if NIBBLE == 0 {
                    let a = S::b_or(S::b_and(a, 15), S::b_shl::<4>(S::b_and(u, 3)));
                    (a, S::b_or(S::b_and(b, 15), S::b_shl::<2>(S::b_and(u, 12))))
                } else {
                    let a = S::b_or(S::b_shr_and::<4>(a, 15), S::b_and(u, 48));
                    (
                        a,
                        S::b_or(S::b_shr_and::<4>(b, 15), S::b_shr_and::<2>(u, 48)),
                    )
                };
                for c in 0..N {
                    let (values, at) = (columns[c].values, at + NIBBLE * 64 + j * 4);
                    first[c] = S::dot_u7(first[c], a, splat4::<S>(values, at));
                    second[c] = S::dot_u7(second[c], b, splat4::<S>(values, at + 32));
                }
            }
            // Scales stand in pairs of neighbouring runs of 16.
            let s1 = S::i_load_i8_pairs(subs.add(NIBBLE * 64));
            let s2 = S::i_load_i8_pairs(subs.add(NIBBLE * 64 + 32));
            let (s1, s2) = if sixteen == 0 {
                (S::i_first(s1), S::i_first(s2))
            } else {
                (S::i_second(s1), S::i_second(s2))
            };
            for c in 0..N {
                sum[c] = S::i_add(sum[c], S::i_mul(first[c], s1));
                sum[c] = S::i_add(sum[c], S::i_mul(second[c], s2));
            }
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

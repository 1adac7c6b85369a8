//! Codes of 4 bits that stand for uneven levels: IQ4_NL, IQ4_XS and MXFP4.
//!
//! A code becomes the integer of its level by a table, and then the arithmetic is that of its
//! neighbours: IQ4_NL and MXFP4 have a float scale a block of 32 as Q4_0, IQ4_XS integer sub-scales
//! and one exact sum a super-block of 256 as Q6_K.

use super::{Column, Format, PANEL, next_panel, reach, splat4};
use crate::kernel::quantise::SUMS_256;
use crate::kernel::simd::{Simd, in_order};
use crate::pack;
use crate::quant::{iq4, mxfp4};

/// Sixteen uneven levels from -127 to 113, a scale every 32.
#[derive(Debug)]
pub enum Iq4Nl {}
/// The same levels, 8 sub-blocks of 32 with a signed scale each.
#[derive(Debug)]
pub enum Iq4Xs {}
/// Floats of 4 bits with a power of two every 32.
#[derive(Debug)]
pub enum Mxfp4 {}

/// The levels of IQ4 as bytes.
static IQ4: [u8; 16] = raised(&iq4::LEVELS, 0);
/// The levels of MXFP4, made unsigned.
static E2M1: [u8; 16] = raised(&mxfp4::LEVELS, E2M1_RAISED);
/// By how much.
const E2M1_RAISED: i32 = 12;

const fn raised(levels: &[i8; 16], by: i32) -> [u8; 16] {
    let mut out = [0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = (levels[i] as i32 + by) as u8;
        i += 1;
    }
    out
}

impl Format for Iq4Nl {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::IQ4_NL.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let q = panel.add(pack::IQ4_NL.body(b) + lane * 4);
                    next_panel::<S, N>(q, 4, reach);
                    let sum = iq4_lines::<S, N>(q, columns, b * 32);
                    let d = S::f_load_f16(panel.add(pack::IQ4_NL.scales(b) + lane * 2));
                    add_lowered::<S, N>(&mut acc, d, &sum, S::I8_BIAS, columns, b);
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

impl Format for Mxfp4 {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::MXFP4.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let q = panel.add(pack::MXFP4.body(b) + lane * 4);
                    next_panel::<S, N>(q, 4, reach);
                    let mut sum = [S::i_zero(); N];
                    for j in 0..4 {
                        let w = S::b_load(q.add(j * 64));
                        let low = S::b_lookup(&E2M1, S::b_and(w, 15));
                        let high = S::b_lookup(&E2M1, S::b_shr_and::<4>(w, 15));
                        for c in 0..N {
                            let (values, at) = (columns[c].values, b * 32 + j * 4);
                            sum[c] = S::dot_u7(sum[c], low, splat4::<S>(values, at));
                            sum[c] = S::dot_u7(sum[c], high, splat4::<S>(values, at + 16));
                        }
                    }
                    let d = S::f_load_half_e8m0(panel.add(pack::MXFP4.scales(b) + lane));
                    add_lowered::<S, N>(&mut acc, d, &sum, E2M1_RAISED, columns, b);
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

impl Format for Iq4Xs {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 256;
        let reach = reach::<N>(pack::IQ4_XS.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let block = panel.add(pack::IQ4_XS.body(b));
                    let (mut sum, mut raised) = ([S::i_zero(); N], [S::i_zero(); N]);
                    for pair in 0..4 {
                        in_order();
                        let q = block.add(128 + pair * 512 + lane * 4);
                        next_panel::<S, N>(q, 8, reach);
                        let at = b * 256 + pair * 64;
                        let first = iq4_lines::<S, N>(q, columns, at);
                        let second = iq4_lines::<S, N>(q.add(256), columns, at + 32);
                        let scales = S::i_load_i8_pairs(block.add(pair * 32 + lane * 2));
                        let (s, t) = (S::i_first(scales), S::i_second(scales));
                        for c in 0..N {
                            sum[c] = S::i_add(sum[c], S::i_mul(first[c], s));
                            sum[c] = S::i_add(sum[c], S::i_mul(second[c], t));
                            if S::I8_BIAS != 0 {
                                let sums = columns[c].sums.add(b * SUMS_256 + 16 + pair * 2);
                                let sums = splat4::<S>(sums.cast(), 0);
                                raised[c] = S::i_dot_pairs(raised[c], scales, sums);
                            }
                        }
                    }
                    let d = S::f_load_f16(panel.add(pack::IQ4_XS.scales(b) + lane * 2));
                    for c in 0..N {
                        let raised = S::i_mul(raised[c], S::i_splat(S::I8_BIAS));
                        let s = S::i_sub(sum[c], raised);
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

/// The products of four lines of IQ4 codes, 32 elements from `at` on, each weight raised by
/// [`Simd::I8_BIAS`].
#[inline(always)]
unsafe fn iq4_lines<S: Simd, const N: usize>(
    quants: *const u8,
    columns: &[Column; N],
    at: usize,
) -> [S::I; N] {
    // SAFETY: as the caller's.
    unsafe {
        let mut sum = [S::i_zero(); N];
        for j in 0..4 {
            let w = S::b_load(quants.add(j * 64));
            let low = S::b_lookup(&IQ4, S::b_and(w, 15));
            let high = S::b_lookup(&IQ4, S::b_shr_and::<4>(w, 15));
            for c in 0..N {
                let (values, at) = (columns[c].values, at + j * 4);
                sum[c] = S::dot_i8(sum[c], low, splat4::<S>(values, at));
                sum[c] = S::dot_i8(sum[c], high, splat4::<S>(values, at + 16));
            }
        }
        sum
    }
}

/// `acc = fma(d * d_a, sum - raised * sum(a), acc)` for block `b` of 32.
#[inline(always)]
unsafe fn add_lowered<S: Simd, const N: usize>(
    acc: &mut [S::F; N],
    d: S::F,
    sum: &[S::I; N],
    raised: i32,
    columns: &[Column; N],
    b: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        for c in 0..N {
            let raised = raised * i32::from(*columns[c].sums.add(b));
            let s = S::i_sub(sum[c], S::i_splat(raised));
            let d = S::f_mul(d, S::f_splat(*columns[c].scales.add(b)));
            acc[c] = S::f_fma(d, S::f_from_i(s), acc[c]);
        }
    }
}

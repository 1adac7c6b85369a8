//! Blocks of 32 with one scale: Q8_0 and Q4_0.
//!
//! Per block: the integer sum `s` of products, exact; then
//! `acc = fma(d_w * d_a, f32(s), acc)`.

use super::many::{BlockFormat, Blocks, run};
use super::{Column, Format, PANEL, ahead, reach, splat4};
use crate::kernel::simd::Simd;
use crate::pack;

/// `s = sum(w * a)`
#[derive(Debug)]
pub enum Q8_0 {}
/// `s = sum(w * a) - 8 * sum(a)`, w being 0 to 15
#[derive(Debug)]
pub enum Q4_0 {}

impl Format for Q8_0 {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::Q8_0.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let q = panel.add(pack::Q8_0.body(b) + lane * 4);
                    let mut sum = [S::i_zero(); N];
                    for j in 0..8 {
                        let w = S::b_load(q.add(j * 64));
                        ahead::<S, N>(q.add(j * 64), k, reach);
                        for c in 0..N {
                            sum[c] = S::dot_i8(
                                sum[c],
                                w,
                                splat4::<S>(columns[c].values, b * 32 + j * 4),
                            );
                        }
                    }
                    let d = S::f_load_f16(panel.add(pack::Q8_0.scales(b) + lane * 2));
                    for c in 0..N {
                        let bias = S::I8_BIAS * i32::from(*columns[c].sums.add(b));
                        acc[c] = scaled::<S>(acc[c], d, *columns[c].scales.add(b), sum[c], bias);
                    }
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

impl Format for Q4_0 {
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize>(
        panel: *const u8,
        k: usize,
        columns: &[Column; N],
        offset: usize,
    ) {
        let blocks = k / 32;
        let reach = reach::<N>(pack::Q4_0.panel(blocks));
        // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
        unsafe {
            for part in 0..PANEL / S::LANES {
                let lane = part * S::LANES;
                let mut acc = [S::f_zero(); N];
                for b in 0..blocks {
                    let q = panel.add(pack::Q4_0.body(b) + lane * 4);
                    let mut sum = [S::i_zero(); N];
                    for j in 0..4 {
                        let w = S::b_load(q.add(j * 64));
                        ahead::<S, N>(q.add(j * 64), k, reach);
                        let (low, high) = (S::b_and(w, 15), S::b_shr_and::<4>(w, 15));
                        for c in 0..N {
                            let values = columns[c].values;
                            sum[c] = S::part_dot(sum[c], low, splat4::<S>(values, b * 32 + j * 4));
                            sum[c] =
                                S::part_dot(sum[c], high, splat4::<S>(values, b * 32 + 16 + j * 4));
                        }
                    }
                    const { assert!(run::<S>(15, 8) == 8) };
                    if S::NARROW {
                        sum = sum.map(|part| S::part_join(S::i_zero(), part));
                    }
                    let d = S::f_load_f16(panel.add(pack::Q4_0.scales(b) + lane * 2));
                    for c in 0..N {
                        let bias = 8 * i32::from(*columns[c].sums.add(b));
                        acc[c] = scaled::<S>(acc[c], d, *columns[c].scales.add(b), sum[c], bias);
                    }
                }
                for c in 0..N {
                    S::f_store(columns[c].out.add(offset + lane), acc[c]);
                }
            }
        }
    }
}

/// `fma(d_w * d_a, sum - bias, acc)`
#[inline(always)]
unsafe fn scaled<S: Simd>(acc: S::F, d_w: S::F, d_a: f32, sum: S::I, bias: i32) -> S::F {
    // SAFETY: arithmetic on values; the caller has the features of `S`.
    unsafe {
        let sum = S::i_sub(sum, S::i_splat(bias));
        S::f_fma(S::f_mul(d_w, S::f_splat(d_a)), S::f_from_i(sum), acc)
    }
}

impl BlockFormat for Q8_0 {
    const BYTES: usize = pack::Q8_0.body_bytes();
    const LARGEST: Option<usize> = None;
    const OFFSET: i32 = 0;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut Blocks, i: usize) {
        // SAFETY: the panel holds the block, and `to` room for it.
        unsafe {
            let quants = (&raw mut (*to).quants[i]).cast::<u8>();
            panel.add(pack::Q8_0.body(b)).copy_to(quants, 8 * 64);
            scales::<S>(panel.add(pack::Q8_0.scales(b)), to, i);
        }
    }
}

impl BlockFormat for Q4_0 {
    const BYTES: usize = pack::Q4_0.body_bytes();
    const LARGEST: Option<usize> = Some(15);
    const OFFSET: i32 = 8;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut Blocks, i: usize) {
        // SAFETY: the panel holds the block, and `to` room for it.
        unsafe {
            let from = panel.add(pack::Q4_0.body(b));
            let quants = (&raw mut (*to).quants[i]).cast::<u8>();
            for at in (0..4 * 64).step_by(4 * S::LANES) {
                let w = S::b_load(from.add(at));
                S::b_store(quants.add(at), S::b_and(w, 15));
                S::b_store(quants.add(4 * 64 + at), S::b_shr_and::<4>(w, 15));
            }
            scales::<S>(panel.add(pack::Q4_0.scales(b)), to, i);
        }
    }
}

/// Sixteen f16 scales as the scales of block `i`.
#[inline(always)]
pub(super) unsafe fn scales<S: Simd>(from: *const u8, to: *mut Blocks, i: usize) {
    // SAFETY: the caller gives 32 readable bytes; `to` has room for eight blocks.
    unsafe {
        let d = (&raw mut (*to).d[i]).cast::<f32>();
        for lane in (0..PANEL).step_by(S::LANES) {
            S::f_store(d.add(lane), S::f_load_f16(from.add(lane * 2)));
        }
    }
}

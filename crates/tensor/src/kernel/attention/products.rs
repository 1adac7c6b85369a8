//! The products of attention: queries with keys, and weights with values.
//!
//! Each is a block of accumulators in registers. A score is an FMA chain over the head, and an
//! output one over positions, so that the shape of the block changes no bits.

#![allow(
    clippy::needless_range_loop,
    reason = "c is a query and v a vector in every array"
)]

use super::layout::{GROUP, Layout};
use crate::kernel::simd::{NEXT_PAGE, Simd, in_order};
use crate::ops::{KvType, PAGE_LEN};
use std::ops::Range;

/// For each query the scores of a tile, or its weights. A vector never spans two cache lines.
#[repr(align(64))]
pub(super) struct Scores<const Q: usize>(pub [[f32; PAGE_LEN]; Q]);

/// `scores[query][position] = q . k`, for a whole tile.
///
/// # Safety
/// `head_dim` elements stand at each query, and the keys of a page at `keys`.
#[inline(always)]
pub(super) unsafe fn score<S: Simd, const Q: usize>(
    q: &[*const f32; Q],
    layout: &Layout,
    keys: *const u8,
    scores: &mut Scores<Q>,
) {
    // Four vectors of six queries fill 32 registers, two of them 16.
    // SAFETY: the caller's.
    unsafe {
        match (layout.kv, S::LANES == 8) {
            (KvType::F32, false) => score_floats::<S, Q, 4, 4>(q, layout, keys, scores),
            (KvType::F32, true) => score_floats::<S, Q, 2, 4>(q, layout, keys, scores),
            (_, false) => score_floats::<S, Q, 4, 2>(q, layout, keys, scores),
            (_, true) => score_floats::<S, Q, 2, 2>(q, layout, keys, scores),
        }
    }
}

/// So few queries do little with what they read, and wait for memory.
const FEW: usize = 3;

/// Asks for the lines of `bytes` bytes that come [`NEXT_PAGE`] later: keys, values and the next head's
/// keys lie one behind the other.
#[inline(always)]
unsafe fn ask_ahead<S: Simd>(p: *const u8, bytes: usize) {
    for line in 0..bytes.div_ceil(64) {
        // SAFETY: the caller has the features of `S`; the address need not be readable.
        unsafe { S::prefetch(p.wrapping_add(NEXT_PAGE + line * 64)) }
    }
}

/// Reads `V` vectors of floats of `BYTES` bytes each.
#[inline(always)]
unsafe fn vectors<S: Simd, const V: usize, const BYTES: usize>(p: *const u8) -> [S::F; V] {
    // SAFETY: the caller gives V * LANES numbers.
    unsafe {
        let mut out = [S::f_zero(); V];
        for (v, out) in out.iter_mut().enumerate() {
            let p = p.add(v * S::LANES * BYTES);
            *out = match BYTES {
                2 => S::f_load_f16(p),
                _ => S::f_load(p.cast()),
            };
        }
        out
    }
}

#[inline(always)]
unsafe fn score_floats<S: Simd, const Q: usize, const V: usize, const BYTES: usize>(
    q: &[*const f32; Q],
    layout: &Layout,
    keys: *const u8,
    scores: &mut Scores<Q>,
) {
    for lane in (0..PAGE_LEN).step_by(V * S::LANES) {
        // SAFETY: 64 positions of `head_dim` elements stand at `keys`; V * LANES divides 64.
        unsafe {
            let keys = keys.add(lane * BYTES);
            let mut acc = [[S::f_zero(); V]; Q];
            for d in 0..layout.head_dim {
                let k = keys.add(d * PAGE_LEN * BYTES);
                if Q <= FEW {
                    ask_ahead::<S>(k, V * S::LANES * BYTES);
                }
                let k = vectors::<S, V, BYTES>(k);
                for c in 0..Q {
                    let q = S::f_splat(*q[c].add(d));
                    for v in 0..V {
                        acc[c][v] = S::f_fma(k[v], q, acc[c][v]);
                    }
                }
            }
            for c in 0..Q {
                for v in 0..V {
                    S::f_store(scores.0[c].as_mut_ptr().add(lane + v * S::LANES), acc[c][v]);
                }
            }
        }
    }
}

/// Quantised queries, one after the other: see [`crate::kernel::quantise`].
pub(super) struct Quantised {
    /// `[queries, head_dim]`
    pub values: *const i8,
    /// `[queries, head_dim / 32]`
    pub scales: *const f32,
    /// `[queries, head_dim / 32]`
    pub sums: *const i16,
}

/// As [`score`], for quantised keys: by block of 32 the exact integer sum s, then
/// `score = fma(d_k * d_q, s, score)`.
///
/// # Safety
/// As [`score`].
#[inline(always)]
pub(super) unsafe fn score_quantised<S: Simd, const Q: usize>(
    q: &Quantised,
    layout: &Layout,
    keys: *const u8,
    scores: &mut Scores<Q>,
) {
    // SAFETY: the caller's.
    unsafe {
        match (layout.kv, S::LANES == 8) {
            (KvType::Q4_0, false) => score_blocks::<S, Q, 4, true>(q, layout, keys, scores),
            (KvType::Q4_0, true) => score_blocks::<S, Q, 2, true>(q, layout, keys, scores),
            (_, false) => score_blocks::<S, Q, 4, false>(q, layout, keys, scores),
            (_, true) => score_blocks::<S, Q, 2, false>(q, layout, keys, scores),
        }
    }
}

#[inline(always)]
unsafe fn score_blocks<S: Simd, const Q: usize, const V: usize, const HALVES: bool>(
    q: &Quantised,
    layout: &Layout,
    keys: *const u8,
    scores: &mut Scores<Q>,
) {
    let blocks = layout.head_dim / 32;
    let bias = if HALVES { 8 } else { S::I8_BIAS };
    for lane in (0..PAGE_LEN).step_by(V * S::LANES) {
        for block in 0..blocks {
            let (quants, scales) = layout.key_block(block);
            // SAFETY: the queries have `blocks` blocks, and so have the keys of 64 positions.
            unsafe {
                let mut sum = [[S::i_zero(); V]; Q];
                for c in 0..Q {
                    let bias = -bias * i32::from(*q.sums.add(c * blocks + block));
                    sum[c] = [S::i_splat(bias); V];
                }
                let four = |c: usize, i: usize| {
                    let at = q.values.add((c * blocks + block) * 32 + i * 4);
                    S::i_splat(at.cast::<i32>().read_unaligned())
                };
                for i in 0..if HALVES { 4 } else { 8 } {
                    let k = keys.add(quants + (i * PAGE_LEN + lane) * 4);
                    let mut keys = [S::b_load(k); V];
                    for (v, keys) in keys.iter_mut().enumerate().skip(1) {
                        *keys = S::b_load(k.add(v * S::LANES * 4));
                    }
                    let k = keys;
                    for c in 0..Q {
                        let low = four(c, i);
                        if HALVES {
                            let high = four(c, i + 4);
                            for v in 0..V {
                                sum[c][v] = S::dot_u7(sum[c][v], S::b_and(k[v], 15), low);
                                sum[c][v] = S::dot_u7(sum[c][v], S::b_shr_and::<4>(k[v], 15), high);
                            }
                        } else {
                            for v in 0..V {
                                sum[c][v] = S::dot_i8(sum[c][v], k[v], low);
                            }
                        }
                    }
                }
                let scales = keys.add(scales + lane * 2);
                for v in 0..V {
                    let d_k = S::f_load_f16(scales.add(v * S::LANES * 2));
                    for c in 0..Q {
                        let d = S::f_mul(d_k, S::f_splat(*q.scales.add(c * blocks + block)));
                        let to = scores.0[c].as_mut_ptr().add(lane + v * S::LANES);
                        let sum = S::f_from_i(sum[c][v]);
                        S::f_store(to, S::f_fma(d, sum, S::f_load(to)));
                    }
                }
            }
        }
    }
}

/// `acc[query] = acc[query] * correction[query]`, then `+= weight[query][position] * v[position]`
/// for the positions in `visible`.
///
/// # Safety
/// The values of a page stand at `values`, in the layout of floats; of quantised ones, decoded to
/// f32.
#[inline(always)]
pub(super) unsafe fn mix<S: Simd, const Q: usize>(
    acc: &mut [f32],
    weights: &Scores<Q>,
    corrections: &[f32; Q],
    visible: Range<usize>,
    layout: &Layout,
    values: *const u8,
) {
    // SAFETY: the caller's.
    unsafe {
        match layout.kv {
            KvType::F16 => mix_floats::<S, Q, 2>(acc, weights, corrections, visible, values),
            _ => mix_floats::<S, Q, 4>(acc, weights, corrections, visible, values),
        }
    }
}

#[inline(always)]
unsafe fn mix_floats<S: Simd, const Q: usize, const BYTES: usize>(
    acc: &mut [f32],
    weights: &Scores<Q>,
    corrections: &[f32; Q],
    visible: Range<usize>,
    values: *const u8,
) {
    let width = acc.len() / Q;
    let most = if S::LANES == 8 { 2 } else { 4 };
    for first in (0..width).step_by(GROUP) {
        let group = (width - first).min(GROUP);
        // SAFETY: groups of values lie one after the other, each of 64 positions.
        let values = unsafe { values.add(first * PAGE_LEN * BYTES) };
        let mut d = 0;
        while d < group {
            let part = Part {
                width,
                at: first + d,
                // SAFETY: element `d` of the group's first position.
                values: unsafe { values.add(d * BYTES) },
                stride: group * BYTES,
            };
            let left = (group - d) / S::LANES;
            let v = if left >= most { most } else { left.min(2) };
            // SAFETY: the part's vectors lie in the group and in the accumulators.
            unsafe {
                match v {
                    4 => part.run::<S, Q, 4, BYTES>(acc, weights, corrections, visible.clone()),
                    2 => part.run::<S, Q, 2, BYTES>(acc, weights, corrections, visible.clone()),
                    _ => part.run::<S, Q, 1, BYTES>(acc, weights, corrections, visible.clone()),
                }
            }
            d += v * S::LANES;
        }
    }
}

/// A few vectors of elements.
struct Part {
    /// Elements of an accumulator.
    width: usize,
    /// Which element of it is the first.
    at: usize,
    values: *const u8,
    /// Bytes from one position to the next.
    stride: usize,
}

impl Part {
    #[inline(always)]
    unsafe fn run<S: Simd, const Q: usize, const V: usize, const BYTES: usize>(
        &self,
        acc: &mut [f32],
        weights: &Scores<Q>,
        corrections: &[f32; Q],
        visible: Range<usize>,
    ) {
        let acc = acc.as_mut_ptr();
        assert!(visible.end <= PAGE_LEN);
        // SAFETY: the caller gives V vectors at `at` of each accumulator, and of each position; each query has
        // a weight for each position of a page.
        unsafe {
            let place = |c: usize, v: usize| acc.add(c * self.width + self.at + v * S::LANES);
            let mut sum = [[S::f_zero(); V]; Q];
            for c in 0..Q {
                let correction = S::f_splat(corrections[c]);
                for v in 0..V {
                    sum[c][v] = S::f_mul(S::f_load(place(c, v)), correction);
                }
            }
            // By address, the positions having been checked: with a check at each, the compiler loads all
            // weights behind it and has no registers left for the sums.
            let weight = weights.0.as_ptr().cast::<f32>();
            for position in visible {
                in_order();
                let at = self.values.add(position * self.stride);
                if Q <= FEW {
                    ask_ahead::<S>(at, V * S::LANES * BYTES);
                }
                let x = vectors::<S, V, BYTES>(at);
                for c in 0..Q {
                    let weight = S::f_splat(*weight.add(c * PAGE_LEN + position));
                    for v in 0..V {
                        sum[c][v] = S::f_fma(x[v], weight, sum[c][v]);
                    }
                }
            }
            for c in 0..Q {
                for v in 0..V {
                    S::f_store(place(c, v), sum[c][v]);
                }
            }
        }
    }
}

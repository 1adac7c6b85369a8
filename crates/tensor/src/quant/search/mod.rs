//! The search for the scales of the formats that leave a choice.
//!
//! The error that is made small is `sum of w (x - decoded)^2`. With an importance matrix `w` is the mean
//! square of the activation that the weight multiplies, times `rms + |x|`; without one it is `rms + |x|`, the
//! rms being the block's: large weights of a network matter more, small ones not nothing. In three steps:
//! each sub-block alone tries several step sizes and fits its scale (and minimum) by least
//! squares; the super-block's f16 scale follows from the largest of them, and each sub-block tries
//! its neighbouring integer scales; with the codes then fixed, the f16 scale is fitted by least
//! squares in turn. The last two are repeated, and the best is kept.
//!
//! All of it is inlined into its caller, so that each leaf has it compiled for its instruction set, and
//! every sum is kept in eight lanes that are joined in one order: the bits are the same on all leaves.

mod affine;
mod symmetric;

pub(super) use affine::{affine, fit_line};
pub(super) use symmetric::{Levels, fit_scale, symmetric};

use super::rounding::reciprocal;

/// Elements in a super-block.
const LEN: usize = 256;
/// Lanes in which sums are kept, so that they become vector sums.
const LANES: usize = 8;

/// How much each value matters: `rms + |x|`, times its importance where that is known.
#[inline(always)]
pub(super) fn weights<const N: usize>(
    values: &[f32; N],
    importance: Option<&[f32; N]>,
) -> [f32; N] {
    let [square] = sums::<N, 1>(|i| [values[i] * values[i]]);
    let rms = (square / N as f32).sqrt();
    let mut weights = [0.0; N];
    for (w, x) in weights.iter_mut().zip(values) {
        *w = rms + x.abs();
    }
    if let Some(importance) = importance {
        let mut most = 0.0_f32;
        for &importance in importance {
            most = most.max(importance);
        }
        // Only ratios count, and sums must not overflow; where nothing matters, all matters alike.
        let inverse = reciprocal(most);
        if inverse > 0.0 {
            for (w, importance) in weights.iter_mut().zip(importance) {
                *w *= importance * inverse;
            }
        }
    }
    weights
}

/// `K` sums of `term(i)` over `i` below `N`, a multiple of eight.
#[inline(always)]
fn sums<const N: usize, const K: usize>(term: impl Fn(usize) -> [f32; K]) -> [f32; K] {
    let mut lanes = [[0.0; LANES]; K];
    for i in (0..N).step_by(LANES) {
        let terms: [[f32; K]; LANES] = std::array::from_fn(|lane| term(i + lane));
        for (k, lanes) in lanes.iter_mut().enumerate() {
            for (lane, terms) in lanes.iter_mut().zip(&terms) {
                *lane += terms[k];
            }
        }
    }
    lanes.map(|l| {
        let four = [l[0] + l[4], l[1] + l[5], l[2] + l[6], l[3] + l[7]];
        (four[0] + four[2]) + (four[1] + four[3])
    })
}

/// The nearest integer, ties to even, for magnitudes below `2^22`; plain vector code.
#[inline(always)]
pub(super) fn nearest(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: one unit in the last place is one
    (value + SHIFT) - SHIFT
}

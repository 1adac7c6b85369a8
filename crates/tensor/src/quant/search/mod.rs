//! The search for the scales of the super-block formats.
//!
//! The error that is made small is `sum of w (x - decoded)^2` with `w = rms + |x|`, the rms being the
//! block's: large weights of a network matter more, small ones not nothing. In three steps:
//! each sub-block alone tries several step sizes and fits its scale (and minimum) by least
//! squares; the super-block's f16 scale follows from the largest of them, and each sub-block tries
//! its neighbouring integer scales; with the codes then fixed, the f16 scale is fitted by least
//! squares in turn. The last two are repeated, and the best is kept.

mod affine;
mod symmetric;

pub(super) use affine::affine;
pub(super) use symmetric::{Levels, fit_scale, symmetric};

/// Elements in a super-block.
const LEN: usize = 256;
/// Lanes in which sums are kept, so that they become vector sums.
const LANES: usize = 8;

/// `rms + |x|` for each value.
pub(super) fn weights<const N: usize>(values: &[f32; N]) -> [f32; N] {
    let [square] = sums::<N, 1>(|i| [values[i] * values[i]]);
    let rms = (square / N as f32).sqrt();
    values.map(|x| rms + x.abs())
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
    lanes.map(|lanes| lanes.iter().sum())
}

/// The nearest integer, ties to even, for magnitudes below `2^22`; plain vector code.
#[inline(always)]
pub(super) fn nearest(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: one unit in the last place is one
    (value + SHIFT) - SHIFT
}

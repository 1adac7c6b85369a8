//! Scales alone: `x = (d * scale) * level` for Q3_K, Q6_K, IQ4_NL and IQ4_XS.

use super::{LEN, nearest, sums, weights};
use crate::quant::rounding::reciprocal;
use half::f16;

/// The numbers that a code can mean.
pub(in crate::quant) trait Levels {
    /// The lowest level, which is also the one of largest magnitude.
    const LOW: f32;
    /// The highest level.
    const HIGH: f32;
    /// How far from the end levels the largest value is tried, as a share of them.
    const SPREAD: f32;
    /// The level nearest to `value`.
    fn level(value: f32) -> f32;
}

/// What the search found for a super-block.
pub(in crate::quant) struct Symmetric<const SUBS: usize> {
    /// The scale of the scales, a number that f16 holds.
    pub d: f32,
    /// A scale for each sub-block.
    pub scales: [i8; SUBS],
}

impl<const SUBS: usize> Symmetric<SUBS> {
    /// The level of each value, counted from the lowest, where levels are integers.
    #[inline(always)]
    pub(in crate::quant) fn codes<L: Levels>(&self, values: &[f32; LEN]) -> [u8; LEN] {
        let mut codes = [0; LEN];
        let subs = values.chunks_exact(LEN / SUBS).zip(&self.scales);
        for (codes, (values, &scale)) in codes.chunks_exact_mut(LEN / SUBS).zip(subs) {
            let inverse = reciprocal(self.d * f32::from(scale));
            for (code, x) in codes.iter_mut().zip(values) {
                *code = (L::level(x * inverse) - L::LOW) as u8;
            }
        }
        codes
    }
}

/// Rounds of choosing integers and fitting `d`.
const ROUNDS: usize = 3;
/// Scales tried on each side of the plain one.
const STEPS: i32 = 7;

/// Finds `d` and the scales, from `-scale_top` to `scale_top - 1`, for `SUBS` sub-blocks of `N`.
#[inline(always)]
pub(in crate::quant) fn symmetric<L: Levels, const SUBS: usize, const N: usize>(
    values: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    scale_top: f32,
) -> Symmetric<SUBS> {
    const { assert!(SUBS * N == LEN) };
    let weights = weights(values, importance);
    let (x, w) = (values.as_chunks::<N>().0, weights.as_chunks::<N>().0);
    let mut fits = [0.0; SUBS];
    let mut largest = 0.0_f32;
    for (s, fit) in fits.iter_mut().enumerate() {
        *fit = fit_scale::<L, N>(&x[s], &w[s]);
        if fit.abs() > largest.abs() {
            largest = *fit;
        }
    }
    let mut d = f16::from_f32(largest / -scale_top).to_f32();
    let mut best = (f32::INFINITY, d, [0.0; SUBS]);
    for _ in 0..ROUNDS {
        let mut total = [0.0; 3];
        let mut scales = [0.0; SUBS];
        for (s, scale) in scales.iter_mut().enumerate() {
            let (chosen, sums) = choose::<L, N>(&x[s], &w[s], fits[s], d, scale_top);
            *scale = chosen;
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        let [error, ax, aa] = total;
        if error < best.0 {
            best = (error, d, scales);
        }
        d = f16::from_f32(ax * reciprocal(aa)).to_f32();
    }
    Symmetric {
        d: best.1,
        scales: best.2.map(|scale| scale as i8),
    }
}

/// The scale that leaves the least weighted error over `x`.
#[inline(always)]
pub(in crate::quant) fn fit_scale<L: Levels, const N: usize>(x: &[f32; N], w: &[f32; N]) -> f32 {
    let mut largest = 0.0_f32;
    for &x in x {
        if x.abs() > largest.abs() {
            largest = x;
        }
    }
    let inverse = reciprocal(largest);
    let mut best = (0.0, 0.0);
    // From each end of the levels several steps, then from what was best.
    for step in -STEPS..=3 * STEPS + 2 {
        let inverse = if step <= STEPS {
            L::LOW * (1.0 + L::SPREAD * step as f32 / STEPS as f32) * inverse
        } else if step <= 3 * STEPS + 1 {
            let step = step - 2 * STEPS - 1;
            L::HIGH * (1.0 + L::SPREAD * step as f32 / STEPS as f32) * inverse
        } else {
            reciprocal(best.1)
        };
        // How much of the square sum the step explains, and the scale fitted to its codes.
        let [xq, qq] = sums::<N, 2>(|i| {
            let q = L::level(x[i] * inverse);
            let wq = w[i] * q;
            [wq * x[i], wq * q]
        });
        let scale = xq * reciprocal(qq);
        if scale * xq > best.0 {
            best = (scale * xq, scale);
        }
    }
    best.1
}

/// The integer scale near a fit that leaves the least error, with its error and the sums from which
/// `d` is fitted.
#[inline(always)]
fn choose<L: Levels, const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    fit: f32,
    d: f32,
    scale_top: f32,
) -> (f32, [f32; 3]) {
    let range = -scale_top..=scale_top - 1.0;
    let near = nearest((fit * reciprocal(d)).max(*range.start()).min(*range.end()));
    let mut best = (0.0, [f32::INFINITY, 0.0, 0.0]);
    for scale in [near - 1.0, near, near + 1.0] {
        if !range.contains(&scale) {
            continue;
        }
        let inverse_step = reciprocal(d * scale);
        let found = sums::<N, 3>(|i| {
            let a = scale * L::level(x[i] * inverse_step);
            let e = d * a - x[i];
            [w[i] * e * e, w[i] * a * x[i], w[i] * a * a]
        });
        if found[0] < best.1[0] {
            best = (scale, found);
        }
    }
    best
}

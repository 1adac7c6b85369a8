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

/// Rounds of choosing integers and fitting `d`.
const ROUNDS: usize = 3;
/// Scales tried on each side of the plain one.
const STEPS: i32 = 7;

/// Finds `d` and the scales, from `-scale_top` to `scale_top - 1`, for `SUBS` sub-blocks of `N`.
pub(in crate::quant) fn symmetric<L: Levels, const SUBS: usize, const N: usize>(
    values: &[f32; LEN],
    scale_top: f32,
) -> Symmetric<SUBS> {
    const { assert!(SUBS * N == LEN) };
    let weights = weights(values);
    let (x, w) = (values.as_chunks::<N>().0, weights.as_chunks::<N>().0);
    let fits: [f32; SUBS] = std::array::from_fn(|s| fit_scale::<L, N>(&x[s], &w[s]));
    let largest = fits.iter().fold(0.0_f32, |largest, &fit| {
        if fit.abs() > largest.abs() {
            fit
        } else {
            largest
        }
    });
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
pub(in crate::quant) fn fit_scale<L: Levels, const N: usize>(x: &[f32; N], w: &[f32; N]) -> f32 {
    let largest = x.iter().fold(
        0.0_f32,
        |largest, &x| {
            if x.abs() > largest.abs() { x } else { largest }
        },
    );
    // How much of the square sum a step explains, and the scale fitted to its codes.
    let try_step = |inverse: f32| {
        let [xq, qq] = sums::<N, 2>(|i| {
            let q = L::level(x[i] * inverse);
            let wq = w[i] * q;
            [wq * x[i], wq * q]
        });
        let scale = xq * reciprocal(qq);
        (scale * xq, scale)
    };
    let mut best = (0.0, 0.0);
    for end in [L::LOW, L::HIGH] {
        for step in -STEPS..=STEPS {
            let target = end * (1.0 + L::SPREAD * step as f32 / STEPS as f32);
            let found = try_step(target * reciprocal(largest));
            if found.0 > best.0 {
                best = found;
            }
        }
    }
    let found = try_step(reciprocal(best.1));
    if found.0 > best.0 { found.1 } else { best.1 }
}

/// The integer scale near a fit that leaves the least error, with its error and the sums from which
/// `d` is fitted.
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

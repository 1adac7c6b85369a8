//! Scales and minima: `x = (d * scale) * q - (dmin * min)` for Q2_K, Q4_K and Q5_K.

use super::{LEN, nearest, sums, weights};
use crate::quant::rounding::reciprocal;
use half::f16;

/// What the search found for a super-block.
pub(in crate::quant) struct Affine<const SUBS: usize> {
    /// The scale of the scales, a number that f16 holds.
    pub d: f32,
    /// The scale of the minima, a number that f16 holds.
    pub dmin: f32,
    /// A scale for each sub-block.
    pub scales: [u8; SUBS],
    /// A minimum for each sub-block.
    pub mins: [u8; SUBS],
    /// The code of each element.
    pub qs: [u8; LEN],
}

/// The largest codes of a format.
#[derive(Clone, Copy)]
struct Tops {
    q: f32,
    scale: f32,
}

/// A sub-block: values and weights, `N` of each.
struct Sub<'a, const N: usize> {
    x: &'a [f32; N],
    w: &'a [f32; N],
}

/// Rounds of choosing integers and fitting `d` and `dmin`.
const ROUNDS: usize = 3;
/// Step sizes tried on each side of the plain one.
const STEPS: i32 = 8;

/// Finds codes up to `top`, and scales and minima up to `scale_top`, for `SUBS` sub-blocks of `N`.
pub(in crate::quant) fn affine<const SUBS: usize, const N: usize>(
    values: &[f32; LEN],
    top: u8,
    scale_top: u8,
) -> Affine<SUBS> {
    const { assert!(SUBS * N == LEN) };
    let tops = Tops {
        q: f32::from(top),
        scale: f32::from(scale_top),
    };
    let weights = weights(values);
    let (x, w) = (values.as_chunks::<N>().0, weights.as_chunks::<N>().0);
    let subs: [Sub<N>; SUBS] = std::array::from_fn(|s| Sub { x: &x[s], w: &w[s] });
    let fits = subs.each_ref().map(|sub| sub.fit(tops.q));
    let largest = fits.iter().fold((0.0_f32, 0.0_f32), |(s, m), fit| {
        (s.max(fit.0), m.max(fit.1))
    });
    let mut d = half(largest.0 / tops.scale);
    let mut dmin = half(largest.1 / tops.scale);
    let mut best = (f32::INFINITY, d, dmin, [(0.0, 0.0); SUBS]);
    for _ in 0..ROUNDS {
        let mut error = 0.0;
        let mut chosen = [(0.0, 0.0); SUBS];
        for ((sub, fit), chosen) in subs.iter().zip(fits).zip(&mut chosen) {
            let choice = sub.choose(fit, d, dmin, tops);
            error += choice.0;
            *chosen = (choice.1, choice.2);
        }
        if error < best.0 {
            best = (error, d, dmin, chosen);
        }
        (d, dmin) = refit(&subs, d, dmin, &chosen, tops);
    }
    finish(values, best.1, best.2, &best.3, tops)
}

impl<const N: usize> Sub<'_, N> {
    /// The code of element `i` at a step of `1 / inverse` above `-min`.
    #[inline(always)]
    fn code(&self, i: usize, inverse: f32, min: f32, top: f32) -> f32 {
        nearest(((self.x[i] + min) * inverse).max(0.0).min(top))
    }

    /// The best scale and minimum for this sub-block alone, both not negative.
    fn fit(&self, top: f32) -> (f32, f32) {
        let low = self.x.iter().fold(0.0_f32, |low, &x| low.min(x));
        let high = self
            .x
            .iter()
            .fold(f32::NEG_INFINITY, |high, &x| high.max(x));
        if high <= low {
            return (0.0, -low);
        }
        let [sw, sx, sxx] = sums::<N, 3>(|i| {
            let (x, w) = (self.x[i], self.w[i]);
            [w, w * x, w * x * x]
        });
        let try_step = |inverse: f32, min: f32| {
            let [sq, sqq, sxq] = sums::<N, 3>(|i| {
                let q = self.code(i, inverse, min, top);
                let wq = self.w[i] * q;
                [wq, wq * q, wq * self.x[i]]
            });
            // x = scale * q - min: the normal equations, with min held at 0 where it would be negative.
            let det = sw * sqq - sq * sq;
            let (scale, min) = ((sw * sxq - sx * sq) / det, (sq * sxq - sqq * sx) / det);
            let (scale, min) = if det > 1e-6 * sw * sqq && min >= 0.0 {
                (scale, min)
            } else {
                (sxq * reciprocal(sqq), 0.0)
            };
            (sxx - scale * sxq + min * sx, scale.max(0.0), min)
        };
        let mut best = (f32::INFINITY, 0.0, -low);
        for step in -STEPS..=STEPS {
            let levels = top + 0.9 * step as f32 / STEPS as f32;
            let found = try_step(levels / (high - low), -low);
            if found.0 < best.0 {
                best = found;
            }
        }
        for _ in 0..2 {
            let found = try_step(reciprocal(best.1), best.2);
            if found.0 < best.0 {
                best = found;
            }
        }
        (best.1, best.2)
    }

    /// The integer scale and minimum near a fit that leave the least error: error, scale, minimum.
    fn choose(&self, fit: (f32, f32), d: f32, dmin: f32, tops: Tops) -> (f32, f32, f32) {
        let mut best = (f32::INFINITY, 0.0, 0.0);
        let near = nearest((fit.0 * reciprocal(d)).min(tops.scale));
        for scale in [near - 1.0, near, near + 1.0] {
            if !(0.0..=tops.scale).contains(&scale) {
                continue;
            }
            let step = d * scale;
            let inverse_step = reciprocal(step);
            // With the codes of the fitted minimum, the minimum that suits this scale.
            let [sw, sr] = sums::<N, 2>(|i| {
                let q = self.code(i, inverse_step, fit.1, tops.q);
                [self.w[i], self.w[i] * (step * q - self.x[i])]
            });
            let min = nearest(
                (sr * reciprocal(sw) * reciprocal(dmin))
                    .max(0.0)
                    .min(tops.scale),
            );
            let [error] = sums::<N, 1>(|i| {
                let q = self.code(i, inverse_step, dmin * min, tops.q);
                let e = step * q - dmin * min - self.x[i];
                [self.w[i] * e * e]
            });
            if error < best.0 {
                best = (error, scale, min);
            }
        }
        best
    }
}

/// `d` and `dmin` by least squares over the whole super-block, its integers being fixed.
fn refit<const SUBS: usize, const N: usize>(
    subs: &[Sub<N>; SUBS],
    d: f32,
    dmin: f32,
    chosen: &[(f32, f32); SUBS],
    tops: Tops,
) -> (f32, f32) {
    let mut total = [0.0; 5];
    for (sub, &(scale, min)) in subs.iter().zip(chosen) {
        let inverse_step = reciprocal(d * scale);
        let sums = sums::<N, 5>(|i| {
            let a = scale * sub.code(i, inverse_step, dmin * min, tops.q);
            let (x, w) = (sub.x[i], sub.w[i]);
            [
                w * a * a,
                w * a * min,
                w * min * min,
                w * a * x,
                w * min * x,
            ]
        });
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    let [aa, ab, bb, ax, bx] = total;
    let det = aa * bb - ab * ab;
    if det > 1e-6 * aa * bb {
        let (new_d, new_dmin) = ((ax * bb - bx * ab) / det, (ax * ab - bx * aa) / det);
        (half(new_d.max(0.0)), half(new_dmin.max(0.0)))
    } else {
        (half((ax * reciprocal(aa)).max(0.0)), dmin)
    }
}

/// The codes for scales and minima that are settled.
fn finish<const SUBS: usize>(
    values: &[f32; LEN],
    d: f32,
    dmin: f32,
    chosen: &[(f32, f32); SUBS],
    tops: Tops,
) -> Affine<SUBS> {
    let qs = std::array::from_fn(|i| {
        let (scale, min) = chosen[i / (LEN / SUBS)];
        let q = (values[i] + dmin * min) * reciprocal(d * scale);
        nearest(q.max(0.0).min(tops.q)) as u8
    });
    Affine {
        d,
        dmin,
        scales: chosen.map(|c| c.0 as u8),
        mins: chosen.map(|c| c.1 as u8),
        qs,
    }
}

/// The nearest number that f16 holds.
fn half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

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
#[inline(always)]
pub(in crate::quant) fn affine<const SUBS: usize, const N: usize>(
    values: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    top: u8,
    scale_top: u8,
) -> Affine<SUBS> {
    const { assert!(SUBS * N == LEN) };
    let tops = Tops {
        q: f32::from(top),
        scale: f32::from(scale_top),
    };
    let weights = weights(values, importance);
    let (x, w) = (values.as_chunks::<N>().0, weights.as_chunks::<N>().0);
    let sub = |s: usize| Sub { x: &x[s], w: &w[s] };
    let mut fits = [(0.0, 0.0); SUBS];
    let mut largest = (0.0_f32, 0.0_f32);
    for (s, fit) in fits.iter_mut().enumerate() {
        *fit = sub(s).fit(tops.q, false);
        largest = (largest.0.max(fit.0), largest.1.max(fit.1));
    }
    let mut d = half(largest.0 / tops.scale);
    let mut dmin = half(largest.1 / tops.scale);
    let mut best = (f32::INFINITY, d, dmin, [(0.0, 0.0); SUBS]);
    for _ in 0..ROUNDS {
        let mut error = 0.0;
        let mut chosen = [(0.0, 0.0); SUBS];
        for (s, chosen) in chosen.iter_mut().enumerate() {
            let choice = sub(s).choose(fits[s], d, dmin, tops);
            error += choice.0;
            *chosen = (choice.1, choice.2);
        }
        if error < best.0 {
            best = (error, d, dmin, chosen);
        }
        let mut total = [0.0; 5];
        for (s, &chosen) in chosen.iter().enumerate() {
            let sums = sub(s).products(chosen, d, dmin, tops);
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        (d, dmin) = refit(total, dmin);
    }
    finish(values, best.1, best.2, &best.3, tops)
}

/// The scale and the minimum, of any sign, that leave the least weighted error where `x` is
/// `scale * q - min` with codes up to `top`.
#[inline(always)]
pub(in crate::quant) fn fit_line<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    top: u8,
) -> (f32, f32) {
    Sub { x, w }.fit(f32::from(top), true)
}

impl<const N: usize> Sub<'_, N> {
    /// The code of element `i` at a step of `1 / inverse` above `-min`.
    #[inline(always)]
    fn code(&self, i: usize, inverse: f32, min: f32, top: f32) -> f32 {
        nearest(((self.x[i] + min) * inverse).max(0.0).min(top))
    }

    /// The best scale and minimum for this sub-block alone; the minimum is not negative unless it may
    /// have any sign.
    #[inline(always)]
    fn fit(&self, top: f32, any_sign: bool) -> (f32, f32) {
        let start = if any_sign { f32::INFINITY } else { 0.0 };
        let (mut low, mut high) = (start, f32::NEG_INFINITY);
        for &x in self.x {
            low = low.min(x);
            high = high.max(x);
        }
        if high <= low {
            return (0.0, -low);
        }
        let known = sums::<N, 3>(|i| {
            let (x, w) = (self.x[i], self.w[i]);
            [w, w * x, w * x * x]
        });
        let mut best = (f32::INFINITY, 0.0, -low);
        // First several steps above the lowest value, then from what was best, twice.
        for step in -STEPS..=STEPS + 2 {
            let (inverse, min) = if step <= STEPS {
                let levels = top + 0.9 * step as f32 / STEPS as f32;
                (levels / (high - low), -low)
            } else {
                (reciprocal(best.1), best.2)
            };
            let found = self.try_step(known, inverse, min, top, any_sign);
            if found.0 < best.0 {
                best = found;
            }
        }
        (best.1, best.2)
    }

    /// Error, scale and minimum by least squares for the codes at a step. `known` are the sums of the
    /// weights, of weight times value and of weight times square.
    #[inline(always)]
    fn try_step(
        &self,
        known: [f32; 3],
        inverse: f32,
        min: f32,
        top: f32,
        any_sign: bool,
    ) -> (f32, f32, f32) {
        let [sw, sx, sxx] = known;
        let [sq, sqq, sxq] = sums::<N, 3>(|i| {
            let q = self.code(i, inverse, min, top);
            let wq = self.w[i] * q;
            [wq, wq * q, wq * self.x[i]]
        });
        // x = scale * q - min: the normal equations, with min held at 0 where it would be negative.
        let det = sw * sqq - sq * sq;
        let (scale, min) = ((sw * sxq - sx * sq) / det, (sq * sxq - sqq * sx) / det);
        let (scale, min) = if det > 1e-6 * sw * sqq && (min >= 0.0 || any_sign) {
            (scale, min)
        } else {
            (sxq * reciprocal(sqq), 0.0)
        };
        (sxx - scale * sxq + min * sx, scale.max(0.0), min)
    }

    /// The sums from which `d` and `dmin` follow by least squares, the integers being fixed.
    #[inline(always)]
    fn products(&self, (scale, min): (f32, f32), d: f32, dmin: f32, tops: Tops) -> [f32; 5] {
        let inverse_step = reciprocal(d * scale);
        sums::<N, 5>(|i| {
            let a = scale * self.code(i, inverse_step, dmin * min, tops.q);
            let (x, w) = (self.x[i], self.w[i]);
            [
                w * a * a,
                w * a * min,
                w * min * min,
                w * a * x,
                w * min * x,
            ]
        })
    }

    /// The integer scale and minimum near a fit that leave the least error: error, scale, minimum.
    #[inline(always)]
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

/// `d` and `dmin` by least squares over the whole super-block.
#[inline(always)]
fn refit([aa, ab, bb, ax, bx]: [f32; 5], dmin: f32) -> (f32, f32) {
    let det = aa * bb - ab * ab;
    if det > 1e-6 * aa * bb {
        let (new_d, new_dmin) = ((ax * bb - bx * ab) / det, (ax * ab - bx * aa) / det);
        (half(new_d.max(0.0)), half(new_dmin.max(0.0)))
    } else {
        (half((ax * reciprocal(aa)).max(0.0)), dmin)
    }
}

/// The codes for scales and minima that are settled.
#[inline(always)]
fn finish<const SUBS: usize>(
    values: &[f32; LEN],
    d: f32,
    dmin: f32,
    chosen: &[(f32, f32); SUBS],
    tops: Tops,
) -> Affine<SUBS> {
    let mut qs = [0; LEN];
    let subs = values.chunks_exact(LEN / SUBS).zip(chosen);
    for (qs, (values, &(scale, min))) in qs.chunks_exact_mut(LEN / SUBS).zip(subs) {
        let inverse = reciprocal(d * scale);
        for (q, x) in qs.iter_mut().zip(values) {
            *q = nearest(((x + dmin * min) * inverse).max(0.0).min(tops.q)) as u8;
        }
    }
    Affine {
        d,
        dmin,
        scales: chosen.map(|c| c.0 as u8),
        mins: chosen.map(|c| c.1 as u8),
        qs,
    }
}

/// The nearest number that f16 holds.
#[inline(always)]
fn half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

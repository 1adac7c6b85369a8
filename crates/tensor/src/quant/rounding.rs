//! The rounding that the simple formats share, in gguf-py's order of operations.

/// The value of largest magnitude, with its sign; the first of equals.
#[inline(always)]
pub(super) fn largest<const N: usize>(values: &[f32; N]) -> f32 {
    let mut largest = values[0];
    for &value in values {
        if value.abs() > largest.abs() {
            largest = value;
        }
    }
    largest
}

/// The smallest and the largest of some values.
#[inline(always)]
pub(super) fn min_max(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &value| {
            (min.min(value), max.max(value))
        })
}

/// `1 / d`, and 0 where that is not finite: such a scale is far below what f16 holds, and is 0 there.
#[inline(always)]
pub(super) fn reciprocal(d: f32) -> f32 {
    let reciprocal = 1.0 / d;
    if reciprocal.is_finite() {
        reciprocal
    } else {
        0.0
    }
}

/// The integer part, from 0 to `top`.
#[inline(always)]
pub(super) fn cut(value: f32, top: u8) -> u8 {
    (value as u8).min(top)
}

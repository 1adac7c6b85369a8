//! Norms, activations and exponentials in plain Rust, compiled once for each leaf.
//!
//! Rust neither reorders nor fuses float operations, so the compiler may use any vector width and
//! the bits stay the same. Sums over a row run in sixteen lanes, joined as in [`join`].
//!
//! Inner loops count instead of zipping: where an iterator's function is not inlined (it may not be
//! into one compiled for other features), a loop over sixteen lanes is no vector operation.

use super::simd::Simd;

/// Sixteen partial sums into one: lane i takes lane i + 8, then + 4, + 2, + 1.
#[inline(always)]
pub fn join(mut lanes: [f32; 16]) -> f32 {
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `1 / sqrt(mean(x^2) + eps)`
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (chunks, tail) = x.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = chunk[i].mul_add(chunk[i], lanes[i]);
        }
    }
    for i in 0..tail.len().min(16) {
        lanes[i] = tail[i].mul_add(tail[i], lanes[i]);
    }
    1.0 / (join(lanes) / x.len() as f32 + eps).sqrt()
}

/// `out = x / rms(x) * weight`, all of one length.
#[inline(always)]
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let (r, n) = (inverse_rms(x, eps), x.len());
    let (weight, out) = (&weight[..n], &mut out[..n]);
    for i in 0..n {
        out[i] = (x[i] * r) * weight[i];
    }
}

/// As [`rms_norm`], in place.
#[inline(always)]
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
    let (r, n) = (inverse_rms(x, eps), x.len());
    let weight = &weight[..n];
    for i in 0..n {
        x[i] = (x[i] * r) * weight[i];
    }
}

/// `x = (x - mean) / sqrt(variance + eps) * weight + bias`, all of one length
/// (<https://arxiv.org/abs/1607.06450>). Mean and variance are sums in sixteen lanes.
#[inline(always)]
pub fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let (mut sums, mut squares) = ([0.0f32; 16], [0.0f32; 16]);
    let (chunks, tail) = x.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            sums[i] += chunk[i];
        }
    }
    for i in 0..tail.len().min(16) {
        sums[i] += tail[i];
    }
    let mean = join(sums) / x.len() as f32;
    for x in x.iter_mut() {
        *x -= mean;
    }
    let (chunks, tail) = x.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            squares[i] = chunk[i].mul_add(chunk[i], squares[i]);
        }
    }
    for i in 0..tail.len().min(16) {
        squares[i] = tail[i].mul_add(tail[i], squares[i]);
    }
    let r = 1.0 / (join(squares) / x.len() as f32 + eps).sqrt();
    for ((x, w), b) in x.iter_mut().zip(weight).zip(bias) {
        *x = (*x * r) * w + b;
    }
}

/// `x = x * Phi(x)` by [`normal_tail`]: GELU as it is defined (<https://arxiv.org/abs/1606.08415>).
#[inline(always)]
pub fn gelu(x: &mut [f32]) {
    for x in x {
        let tail = normal_tail(x.abs());
        *x *= if *x < 0.0 { tail } else { 1.0 - tail };
    }
}

/// `x = tanh(x)` by [`tanh`].
#[inline(always)]
pub fn tanh_all(x: &mut [f32]) {
    for x in x {
        *x = tanh(*x);
    }
}

/// The probability that a normal variable is above `x`, for x of at least 0: half of `erfc(x /
/// sqrt(2))` to about 2e-7, by Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub fn normal_tail(x: f32) -> f32 {
    let t = 1.0 / (0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2).mul_add(x, 1.0);
    let mut p = 1.061_405_4_f32;
    for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        p = p.mul_add(t, c);
    }
    0.5 * (p * t) * exp(-0.5 * (x * x))
}

/// `x += y`
#[inline(always)]
pub fn add(x: &mut [f32], y: &[f32]) {
    let n = x.len();
    let y = &y[..n];
    for i in 0..n {
        x[i] += y[i];
    }
}

/// `x += y * factor`, each rounded once.
#[inline(always)]
pub fn add_scaled(x: &mut [f32], y: &[f32], factor: f32) {
    let n = x.len();
    let y = &y[..n];
    for i in 0..n {
        x[i] = y[i].mul_add(factor, x[i]);
    }
}

/// `x *= factor`
#[inline(always)]
pub fn scale(x: &mut [f32], factor: f32) {
    for x in x {
        *x *= factor;
    }
}

/// `gate = gate / (1 + exp(-gate)) * up`
#[inline(always)]
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    let n = gate.len();
    let up = &up[..n];
    for i in 0..n {
        gate[i] = (gate[i] / (1.0 + exp(-gate[i]))) * up[i];
    }
}

/// `gate = gelu(gate) * up` by [`gelu_tanh`].
#[inline(always)]
pub fn gelu_tanh_mul(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = gelu_tanh(*g) * u;
    }
}

/// GELU as `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`
/// (<https://arxiv.org/abs/1606.08415>, section 2), written as `x / (1 + exp(-2 * ...))`, which
/// is the same number without the cancellation for negative x.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    const LINEAR: f32 = 1.595_769_2; // 2 * sqrt(2 / pi)
    const CUBIC: f32 = 0.071_354_814; // LINEAR * 0.044715
    let inner = x * (x * x).mul_add(CUBIC, LINEAR);
    x / (1.0 + exp(-inner))
}

/// `x = cap * tanh(x / cap)`
#[inline(always)]
pub fn soft_cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * tanh(*x / cap);
    }
}

/// The hyperbolic tangent to about 4 units in the last place.
///
/// Below 0.55 an odd polynomial of degree 13 (a Chebyshev fit of `(tanh(x) / x - 1) / x^2`), above
/// it `1 - 2 / (exp(2x) + 1)`; both are computed, so that lanes need no branch.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let far = 1.0 - 2.0 / (exp(size + size) + 1.0);
    let square = x * x;
    let mut p = 0.002_528_436_2_f32;
    for c in [
        -0.008_527_88,
        0.021_818_858,
        -0.053_964_745,
        0.133_333_25,
        -0.333_333_34,
    ] {
        p = p.mul_add(square, c);
    }
    let near = (p * square).mul_add(x, x);
    if size < 0.55 { near } else { far.copysign(x) }
}

/// e^x to about 2 units in the last place; 0 below -87, infinite above 88.7.
///
/// Cody and Waite's reduction and a polynomial of degree 6, every step one IEEE operation.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > 88.8 { 88.8 } else { x };
    let clamped = if clamped < -87.3 { -87.3 } else { clamped };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let mut p = 1.0 / 720.0f32;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p.mul_add(r, c);
    }
    // 2^n in two factors: n can be 128, which one exponent does not hold.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n.wrapping_add(127)) as u32) << 23);
    let y = p * power(half) * power(n.wrapping_sub(half));
    if x < -87.3 { 0.0 } else { y }
}

/// [`exp`] of what is not above 0, with fewer steps and the same bits: the result is 0 or no
/// smaller than e^-87.3, a normal number, so that its exponent can be added to.
#[inline(always)]
pub fn exp_down(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < -87.3 { -87.3 } else { x };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let mut p = 1.0 / 720.0f32;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p.mul_add(r, c);
    }
    let y = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < -87.3 { 0.0 } else { y }
}

/// `x[i] = exp(x[i] - largest)`; their sum in sixteen lanes, joined as in [`join`].
///
/// The length is a multiple of 16.
#[inline(always)]
pub fn exp_and_sum(x: &mut [f32], largest: f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (chunks, _) = x.as_chunks_mut::<16>();
    for chunk in chunks {
        for i in 0..16 {
            chunk[i] = exp_down(chunk[i] - largest);
            lanes[i] += chunk[i];
        }
    }
    join(lanes)
}

/// `x[i] = exp(x[i] - largest)`; their sum, in order.
#[inline(always)]
pub fn exponentials(x: &mut [f32]) -> f32 {
    let largest = largest(x);
    for x in x.iter_mut() {
        *x = exp(*x - largest);
    }
    let mut sum = 0.0;
    for x in x {
        sum += *x;
    }
    sum
}

/// The largest of `x`.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, tail) = x.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = greater(chunk[i], lanes[i]);
        }
    }
    for i in 0..tail.len().min(16) {
        lanes[i] = greater(tail[i], lanes[i]);
    }
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            lanes[i] = greater(lanes[i + half], lanes[i]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `a` where it is above `b`, else `b`: one instruction, which `max` with its rule for NaN is not.
#[inline(always)]
pub fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Turns the pairs of one head by `angles`: cosines, then sines, each half of `rotary` long.
#[inline(always)]
pub fn rope_halves(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let n = cos.len();
    let (first, second) = head.split_at_mut(n);
    let (second, sin) = (&mut second[..n], &sin[..n]);
    for i in 0..n {
        let (a, b) = (first[i], second[i]);
        first[i] = a * cos[i] - b * sin[i];
        second[i] = a * sin[i] + b * cos[i];
    }
}

/// As [`rope_halves`], for neighbouring pairs.
#[inline(always)]
pub fn rope_interleaved(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (pairs, _) = head.as_chunks_mut::<2>();
    for (([a, b], c), s) in pairs.iter_mut().zip(cos).zip(sin) {
        (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
    }
}

/// The sum of all 64-bit words of `bytes` (whole cache lines), wrapping, asking for lines 1 KiB
/// ahead: the fastest way found to read memory.
///
/// # Safety
/// The processor has the features of `S`.
#[inline(always)]
pub unsafe fn sum_words<S: Simd>(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<64>();
    let mut sums = [0u64; 8];
    for line in lines {
        // SAFETY: a prefetch may name any address.
        unsafe { S::prefetch(line.as_ptr().wrapping_add(1024)) }
        let (words, _) = line.as_chunks::<8>();
        for i in 0..8 {
            sums[i] = sums[i].wrapping_add(u64::from_le_bytes(words[i]));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

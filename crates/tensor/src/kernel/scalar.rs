//! The meaning of every vector operation, one lane after the other.

use super::simd::Simd;
use crate::quant;
use half::{bf16, f16};
use ingle_formats::TensorType;

/// Sixteen lanes in plain Rust.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

const L: usize = 16;

#[inline(always)]
fn lanes<T: Copy + Default>(f: impl Fn(usize) -> T) -> [T; L] {
    let mut out = [T::default(); L];
    for (i, o) in out.iter_mut().enumerate() {
        *o = f(i);
    }
    out
}

#[inline(always)]
fn pair(a: i32) -> (i32, i32) {
    (i32::from(a as i16), a >> 16)
}

#[inline(always)]
fn from_pair(a: i16, b: i16) -> i32 {
    i32::from(a as u16) | (i32::from(b) << 16)
}

// SAFETY: plain Rust needs no processor feature; every pointer is read as the trait says.
unsafe impl Simd for Scalar {
    const LANES: usize = L;
    const I8_BIAS: i32 = 0;
    const COLUMNS: usize = 4;
    type Wide = Self;
    type F = [f32; L];
    type I = [i32; L];
    type B = [[u8; 4]; L];

    unsafe fn f_zero() -> Self::F {
        [0.0; L]
    }
    unsafe fn f_splat(x: f32) -> Self::F {
        [x; L]
    }
    unsafe fn f_load(p: *const f32) -> Self::F {
        // SAFETY: the caller gives LANES readable f32.
        unsafe { p.cast::<[f32; L]>().read_unaligned() }
    }
    unsafe fn f_load_f16(p: *const u8) -> Self::F {
        // SAFETY: the caller gives LANES readable 16-bit numbers.
        let bits = unsafe { p.cast::<[u16; L]>().read_unaligned() };
        lanes(|i| f16::from_bits(bits[i]).to_f32())
    }
    unsafe fn f_load_bf16(p: *const u8) -> Self::F {
        // SAFETY: the caller gives LANES readable 16-bit numbers.
        let bits = unsafe { p.cast::<[u16; L]>().read_unaligned() };
        lanes(|i| bf16::from_bits(bits[i]).to_f32())
    }
    unsafe fn f_load_half_e8m0(p: *const u8) -> Self::F {
        // SAFETY: the caller gives LANES readable bytes.
        let e = unsafe { p.cast::<[u8; L]>().read_unaligned() };
        e.map(quant::mxfp4::half_scale)
    }
    unsafe fn f_store(p: *mut f32, x: Self::F) {
        // SAFETY: the caller gives LANES writable f32.
        unsafe { p.cast::<[f32; L]>().write_unaligned(x) }
    }
    unsafe fn f_store_f16(p: *mut u8, x: Self::F) {
        let bits = x.map(|x| f16::from_f32(x).to_bits());
        // SAFETY: the caller gives room for LANES 16-bit numbers.
        unsafe { p.cast::<[u16; L]>().write_unaligned(bits) }
    }
    unsafe fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
        quant::decode_whole(ty, blocks, out);
    }
    unsafe fn f_transpose(from: *const f32, stride: usize, to: *mut f32) {
        for r in 0..16 {
            for i in 0..8 {
                // SAFETY: the caller gives sixteen rows of eight, and room for as many.
                unsafe { to.add(16 * i + r).write(from.add(stride * r + i).read()) };
            }
        }
    }
    unsafe fn f_add(a: Self::F, b: Self::F) -> Self::F {
        lanes(|i| a[i] + b[i])
    }
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F {
        lanes(|i| a[i] * b[i])
    }
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        lanes(|i| a[i].mul_add(b[i], c[i]))
    }
    unsafe fn f_fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        lanes(|i| (-a[i]).mul_add(b[i], c[i]))
    }
    unsafe fn f_from_i(a: Self::I) -> Self::F {
        lanes(|i| a[i] as f32)
    }

    unsafe fn i_zero() -> Self::I {
        [0; L]
    }
    unsafe fn i_splat(x: i32) -> Self::I {
        [x; L]
    }
    unsafe fn i_add(a: Self::I, b: Self::I) -> Self::I {
        lanes(|i| a[i].wrapping_add(b[i]))
    }
    unsafe fn i_sub(a: Self::I, b: Self::I) -> Self::I {
        lanes(|i| a[i].wrapping_sub(b[i]))
    }
    unsafe fn i_mul(a: Self::I, b: Self::I) -> Self::I {
        lanes(|i| a[i].wrapping_mul(b[i]))
    }
    unsafe fn i_load_u8_pairs(p: *const u8) -> Self::I {
        // SAFETY: the caller gives 2 * LANES readable bytes.
        let b = unsafe { p.cast::<[[u8; 2]; L]>().read_unaligned() };
        lanes(|i| from_pair(i16::from(b[i][0]), i16::from(b[i][1])))
    }
    unsafe fn i_load_i8_pairs(p: *const u8) -> Self::I {
        // SAFETY: the caller gives 2 * LANES readable bytes.
        let b = unsafe { p.cast::<[[i8; 2]; L]>().read_unaligned() };
        lanes(|i| from_pair(i16::from(b[i][0]), i16::from(b[i][1])))
    }
    unsafe fn i_load_nibble_pairs(p: *const u8) -> (Self::I, Self::I) {
        // SAFETY: the caller gives 2 * LANES readable bytes.
        let b = unsafe { p.cast::<[[u8; 2]; L]>().read_unaligned() };
        let pairs =
            |f: fn(u8) -> u8| lanes(|i| from_pair(i16::from(f(b[i][0])), i16::from(f(b[i][1]))));
        (pairs(|b| b & 15), pairs(|b| b >> 4))
    }
    unsafe fn i_join(a: Self::I, b: Self::I) -> Self::I {
        lanes(|i| from_pair(a[i] as i16, b[i] as i16))
    }
    unsafe fn i_first(a: Self::I) -> Self::I {
        lanes(|i| pair(a[i]).0)
    }
    unsafe fn i_second(a: Self::I) -> Self::I {
        lanes(|i| pair(a[i]).1)
    }
    unsafe fn i_dot_pairs(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        lanes(|i| {
            let ((a0, a1), (b0, b1)) = (pair(a[i]), pair(b[i]));
            sum[i].wrapping_add(a0 * b0).wrapping_add(a1 * b1)
        })
    }

    unsafe fn b_load(p: *const u8) -> Self::B {
        // SAFETY: the caller gives 4 * LANES readable bytes.
        unsafe { p.cast::<[[u8; 4]; L]>().read_unaligned() }
    }
    unsafe fn b_and(a: Self::B, mask: u8) -> Self::B {
        a.map(|g| g.map(|b| b & mask))
    }
    unsafe fn b_or(a: Self::B, b: Self::B) -> Self::B {
        lanes(|i| std::array::from_fn(|j| a[i][j] | b[i][j]))
    }
    unsafe fn b_shr_and<const N: i32>(a: Self::B, mask: u8) -> Self::B {
        a.map(|g| g.map(|b| (b >> N) & mask))
    }
    unsafe fn b_shl<const N: i32>(a: Self::B) -> Self::B {
        a.map(|g| g.map(|b| b << N))
    }
    unsafe fn b_lookup(table: &'static [u8; 16], codes: Self::B) -> Self::B {
        codes.map(|g| g.map(|b| table[usize::from(b)]))
    }
    unsafe fn dot_u7(sum: Self::I, w: Self::B, a: Self::I) -> Self::I {
        lanes(|i| {
            let a = a[i].to_le_bytes();
            (0..4).fold(sum[i], |s, j| {
                s + i32::from(w[i][j]) * i32::from(a[j] as i8)
            })
        })
    }
    unsafe fn dot_i8(sum: Self::I, w: Self::B, a: Self::I) -> Self::I {
        lanes(|i| {
            let a = a[i].to_le_bytes();
            (0..4).fold(sum[i], |s, j| {
                s + i32::from(w[i][j] as i8) * i32::from(a[j] as i8)
            })
        })
    }

    unsafe fn prefetch(_: *const u8) {}
}

//! Two vectors as one, twice as wide.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is that of its name for each half, under the contract of the trait"
)]

use super::simd::Simd;
use ingle_formats::TensorType;
use std::marker::PhantomData;

/// Twice the lanes of `S`.
#[derive(Clone, Copy, Debug)]
pub struct Twice<S>(PhantomData<S>);

// SAFETY: the contract for twice the lanes is that of `S` for each half.
unsafe impl<S: Simd> Simd for Twice<S> {
    const LANES: usize = 2 * S::LANES;
    const I8_BIAS: i32 = S::I8_BIAS;
    const NARROW: bool = S::NARROW;
    const COLUMNS: usize = S::COLUMNS / 2;
    type Wide = Self;
    type F = [S::F; 2];
    type I = [S::I; 2];
    type B = [S::B; 2];

    #[inline(always)]
    unsafe fn f_zero() -> Self::F {
        [S::f_zero(); 2]
    }
    #[inline(always)]
    unsafe fn f_splat(x: f32) -> Self::F {
        [S::f_splat(x); 2]
    }
    #[inline(always)]
    unsafe fn f_load(p: *const f32) -> Self::F {
        [S::f_load(p), S::f_load(p.add(S::LANES))]
    }
    #[inline(always)]
    unsafe fn f_load_f16(p: *const u8) -> Self::F {
        [S::f_load_f16(p), S::f_load_f16(p.add(2 * S::LANES))]
    }
    #[inline(always)]
    unsafe fn f_load_bf16(p: *const u8) -> Self::F {
        [S::f_load_bf16(p), S::f_load_bf16(p.add(2 * S::LANES))]
    }
    #[inline(always)]
    unsafe fn f_load_half_e8m0(p: *const u8) -> Self::F {
        [S::f_load_half_e8m0(p), S::f_load_half_e8m0(p.add(S::LANES))]
    }
    #[inline(always)]
    unsafe fn f_store(p: *mut f32, x: Self::F) {
        S::f_store(p, x[0]);
        S::f_store(p.add(S::LANES), x[1]);
    }
    #[inline(always)]
    unsafe fn f_store_f16(p: *mut u8, x: Self::F) {
        S::f_store_f16(p, x[0]);
        S::f_store_f16(p.add(2 * S::LANES), x[1]);
    }
    #[inline(always)]
    unsafe fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
        S::decode(ty, blocks, out);
    }
    #[inline(always)]
    unsafe fn f_transpose(from: *const f32, stride: usize, to: *mut f32) {
        S::f_transpose(from, stride, to);
    }
    #[inline(always)]
    unsafe fn f_add(a: Self::F, b: Self::F) -> Self::F {
        [S::f_add(a[0], b[0]), S::f_add(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F {
        [S::f_mul(a[0], b[0]), S::f_mul(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        [S::f_fma(a[0], b[0], c[0]), S::f_fma(a[1], b[1], c[1])]
    }
    #[inline(always)]
    unsafe fn f_fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        [S::f_fnma(a[0], b[0], c[0]), S::f_fnma(a[1], b[1], c[1])]
    }
    #[inline(always)]
    unsafe fn f_from_i(a: Self::I) -> Self::F {
        [S::f_from_i(a[0]), S::f_from_i(a[1])]
    }

    #[inline(always)]
    unsafe fn i_zero() -> Self::I {
        [S::i_zero(); 2]
    }
    #[inline(always)]
    unsafe fn i_splat(x: i32) -> Self::I {
        [S::i_splat(x); 2]
    }
    #[inline(always)]
    unsafe fn i_add(a: Self::I, b: Self::I) -> Self::I {
        [S::i_add(a[0], b[0]), S::i_add(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn i_sub(a: Self::I, b: Self::I) -> Self::I {
        [S::i_sub(a[0], b[0]), S::i_sub(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn i_mul(a: Self::I, b: Self::I) -> Self::I {
        [S::i_mul(a[0], b[0]), S::i_mul(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn i_join(a: Self::I, b: Self::I) -> Self::I {
        [S::i_join(a[0], b[0]), S::i_join(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn i_load_u8_pairs(p: *const u8) -> Self::I {
        [
            S::i_load_u8_pairs(p),
            S::i_load_u8_pairs(p.add(2 * S::LANES)),
        ]
    }
    #[inline(always)]
    unsafe fn i_load_i8_pairs(p: *const u8) -> Self::I {
        [
            S::i_load_i8_pairs(p),
            S::i_load_i8_pairs(p.add(2 * S::LANES)),
        ]
    }
    #[inline(always)]
    unsafe fn i_load_nibble_pairs(p: *const u8) -> (Self::I, Self::I) {
        let (low, high) = S::i_load_nibble_pairs(p);
        let (low_2, high_2) = S::i_load_nibble_pairs(p.add(2 * S::LANES));
        ([low, low_2], [high, high_2])
    }
    #[inline(always)]
    unsafe fn i_first(a: Self::I) -> Self::I {
        [S::i_first(a[0]), S::i_first(a[1])]
    }
    #[inline(always)]
    unsafe fn i_second(a: Self::I) -> Self::I {
        [S::i_second(a[0]), S::i_second(a[1])]
    }
    #[inline(always)]
    unsafe fn i_dot_pairs(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        [
            S::i_dot_pairs(sum[0], a[0], b[0]),
            S::i_dot_pairs(sum[1], a[1], b[1]),
        ]
    }

    #[inline(always)]
    unsafe fn b_load(p: *const u8) -> Self::B {
        [S::b_load(p), S::b_load(p.add(4 * S::LANES))]
    }
    #[inline(always)]
    unsafe fn b_and(a: Self::B, mask: u8) -> Self::B {
        [S::b_and(a[0], mask), S::b_and(a[1], mask)]
    }
    #[inline(always)]
    unsafe fn b_or(a: Self::B, b: Self::B) -> Self::B {
        [S::b_or(a[0], b[0]), S::b_or(a[1], b[1])]
    }
    #[inline(always)]
    unsafe fn b_shr_and<const N: i32>(a: Self::B, mask: u8) -> Self::B {
        [S::b_shr_and::<N>(a[0], mask), S::b_shr_and::<N>(a[1], mask)]
    }
    #[inline(always)]
    unsafe fn b_shl<const N: i32>(a: Self::B) -> Self::B {
        [S::b_shl::<N>(a[0]), S::b_shl::<N>(a[1])]
    }
    #[inline(always)]
    unsafe fn b_lookup(table: &'static [u8; 16], codes: Self::B) -> Self::B {
        [S::b_lookup(table, codes[0]), S::b_lookup(table, codes[1])]
    }
    #[inline(always)]
    unsafe fn dot_u7(sum: Self::I, w: Self::B, a: Self::I) -> Self::I {
        [S::dot_u7(sum[0], w[0], a[0]), S::dot_u7(sum[1], w[1], a[1])]
    }
    #[inline(always)]
    unsafe fn dot_i8(sum: Self::I, w: Self::B, a: Self::I) -> Self::I {
        [S::dot_i8(sum[0], w[0], a[0]), S::dot_i8(sum[1], w[1], a[1])]
    }

    #[inline(always)]
    unsafe fn part_dot(part: Self::I, w: Self::B, a: Self::I) -> Self::I {
        [
            S::part_dot(part[0], w[0], a[0]),
            S::part_dot(part[1], w[1], a[1]),
        ]
    }
    #[inline(always)]
    unsafe fn part_join(sum: Self::I, part: Self::I) -> Self::I {
        [S::part_join(sum[0], part[0]), S::part_join(sum[1], part[1])]
    }
    #[inline(always)]
    unsafe fn part_weigh(sum: Self::I, part: Self::I, scale: Self::I) -> Self::I {
        [
            S::part_weigh(sum[0], part[0], scale[0]),
            S::part_weigh(sum[1], part[1], scale[1]),
        ]
    }
    #[inline(always)]
    unsafe fn scale_lanes(scale: Self::I) -> Self::I {
        [S::scale_lanes(scale[0]), S::scale_lanes(scale[1])]
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        S::prefetch(p);
    }
}

//! AVX-512 (F, BW, VL) with VNNI: sixteen lanes.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is one or two intrinsics under the contract of the trait"
)]

use crate::kernel::simd::Simd;
use ingle_formats::TensorType;
use std::arch::x86_64::*;

/// Sixteen lanes of AVX-512.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

/// Whether this processor and operating system can run the leaf.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
        && super::avx2::is_available()
}

// SAFETY: the functions are called only where `is_available` has answered yes (the trait's
// contract), and read or write exactly the bytes that the trait names.
unsafe impl Simd for Avx512 {
    const LANES: usize = 16;
    const I8_BIAS: i32 = 128;
    const COLUMNS: usize = 8;
    type Wide = Self;
    type F = __m512;
    type I = __m512i;
    type B = __m512i;

    #[inline(always)]
    unsafe fn f_zero() -> __m512 {
        _mm512_setzero_ps()
    }
    #[inline(always)]
    unsafe fn f_splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn f_load(p: *const f32) -> __m512 {
        _mm512_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn f_load_f16(p: *const u8) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(p.cast()))
    }
    #[inline(always)]
    unsafe fn f_load_bf16(p: *const u8) -> __m512 {
        let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
    }
    #[inline(always)]
    unsafe fn f_load_half_e8m0(p: *const u8) -> __m512 {
        let e = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(e, _mm512_set1_epi32(1)));
        let tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x0020_0000), e);
        let is_normal = _mm512_cmpgt_epi32_mask(e, _mm512_set1_epi32(1));
        _mm512_castsi512_ps(_mm512_mask_blend_epi32(is_normal, tiny, normal))
    }
    #[inline(always)]
    unsafe fn f_store(p: *mut f32, x: __m512) {
        _mm512_storeu_ps(p, x)
    }
    #[inline(always)]
    unsafe fn f_store_f16(p: *mut u8, x: __m512) {
        let bits = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
        _mm256_storeu_si256(p.cast(), bits)
    }
    #[inline(always)]
    unsafe fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
        // Compiled for AVX-512 some types take twice the time: loops go across sub-blocks.
        super::avx2::Avx2::decode(ty, blocks, out);
    }
    #[inline(always)]
    unsafe fn f_transpose(from: *const f32, stride: usize, to: *mut f32) {
        // Two squares of eight: the wider shuffles do not pay at this size.
        super::avx2::Avx2::f_transpose(from, stride, to);
    }
    #[inline(always)]
    unsafe fn f_add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn f_mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn f_fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn f_fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fnmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn f_from_i(a: __m512i) -> __m512 {
        _mm512_cvtepi32_ps(a)
    }

    #[inline(always)]
    unsafe fn i_zero() -> __m512i {
        _mm512_setzero_si512()
    }
    #[inline(always)]
    unsafe fn i_splat(x: i32) -> __m512i {
        _mm512_set1_epi32(x)
    }
    #[inline(always)]
    unsafe fn i_add(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn i_sub(a: __m512i, b: __m512i) -> __m512i {
        _mm512_sub_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn i_mul(a: __m512i, b: __m512i) -> __m512i {
        _mm512_mullo_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn i_load_u8_pairs(p: *const u8) -> __m512i {
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(p.cast()))
    }
    #[inline(always)]
    unsafe fn i_load_i8_pairs(p: *const u8) -> __m512i {
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast()))
    }
    #[inline(always)]
    unsafe fn i_load_nibble_pairs(p: *const u8) -> (__m512i, __m512i) {
        let bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(p.cast()));
        let low = _mm512_and_si512(bytes, _mm512_set1_epi16(15));
        (low, _mm512_srli_epi16::<4>(bytes))
    }
    #[inline(always)]
    unsafe fn i_join(a: __m512i, b: __m512i) -> __m512i {
        _mm512_mask_blend_epi16(0xaaaa_aaaa, a, _mm512_slli_epi32::<16>(b))
    }
    #[inline(always)]
    unsafe fn i_first(a: __m512i) -> __m512i {
        _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(a))
    }
    #[inline(always)]
    unsafe fn i_second(a: __m512i) -> __m512i {
        _mm512_srai_epi32::<16>(a)
    }
    #[inline(always)]
    unsafe fn i_dot_pairs(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        _mm512_dpwssd_epi32(sum, a, b)
    }

    #[inline(always)]
    unsafe fn b_load(p: *const u8) -> __m512i {
        _mm512_loadu_si512(p.cast())
    }
    #[inline(always)]
    unsafe fn b_and(a: __m512i, mask: u8) -> __m512i {
        _mm512_and_si512(a, _mm512_set1_epi8(mask as i8))
    }
    #[inline(always)]
    unsafe fn b_or(a: __m512i, b: __m512i) -> __m512i {
        _mm512_or_si512(a, b)
    }
    #[inline(always)]
    unsafe fn b_shr_and<const N: i32>(a: __m512i, mask: u8) -> __m512i {
        // The 16-bit shift drags bits of the upper byte in; they are above 8 - N and the caller's
        // mask has none of those.
        _mm512_and_si512(
            _mm512_srl_epi16(a, _mm_cvtsi32_si128(N)),
            _mm512_set1_epi8((mask & (0xff >> N)) as i8),
        )
    }
    #[inline(always)]
    unsafe fn b_shl<const N: i32>(a: __m512i) -> __m512i {
        _mm512_sll_epi16(a, _mm_cvtsi32_si128(N))
    }
    #[inline(always)]
    unsafe fn b_lookup(table: &'static [u8; 16], codes: __m512i) -> __m512i {
        let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
        _mm512_shuffle_epi8(table, codes)
    }
    #[inline(always)]
    unsafe fn dot_u7(sum: __m512i, w: __m512i, a: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, w, a)
    }
    #[inline(always)]
    unsafe fn dot_i8(sum: __m512i, w: __m512i, a: __m512i) -> __m512i {
        // The instruction wants unsigned weights: w + 128 is w with its top bit turned.
        _mm512_dpbusd_epi32(sum, _mm512_xor_si512(w, _mm512_set1_epi8(-128)), a)
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast())
    }
}

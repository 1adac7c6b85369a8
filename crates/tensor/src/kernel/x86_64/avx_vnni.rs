//! AVX2 with AVX-VNNI, as in laptops without AVX-512: eight lanes with dot products of bytes.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is one or two intrinsics under the contract of the trait"
)]

use super::avx2::{Dot, Eight};
use std::arch::x86_64::*;

/// Eight lanes of AVX2 with AVX-VNNI.
pub type AvxVnni = Eight<Vnni>;

/// Dot products by instructions of their own.
#[derive(Clone, Copy, Debug)]
pub struct Vnni;

/// Whether this processor and operating system can run the leaf.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avxvnni") && super::avx2::is_available()
}

// SAFETY: the functions are called only where `is_available` has answered yes.
unsafe impl Dot for Vnni {
    const I8_BIAS: i32 = 128;

    #[inline(always)]
    unsafe fn i_dot_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_dpwssd_avx_epi32(sum, a, b)
    }
    #[inline(always)]
    unsafe fn dot_u7(sum: __m256i, w: __m256i, a: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sum, w, a)
    }
    #[inline(always)]
    unsafe fn dot_i8(sum: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // The instruction wants unsigned weights: w + 128 is w with its top bit turned.
        _mm256_dpbusd_avx_epi32(sum, _mm256_xor_si256(w, _mm256_set1_epi8(-128)), a)
    }
}

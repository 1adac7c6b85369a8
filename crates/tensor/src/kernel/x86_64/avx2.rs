//! AVX2, FMA and F16C: eight lanes. Their dot products are left open: [`super::avx_vnni`] has
//! instructions for them.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is one or two intrinsics under the contract of the trait"
)]

use crate::kernel::simd::Simd;
use crate::kernel::twice::Twice;
use crate::quant;
use ingle_formats::TensorType;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// Eight lanes with the dot products of `D`.
#[derive(Clone, Copy, Debug)]
pub struct Eight<D>(PhantomData<D>);

/// Eight lanes of AVX2.
pub type Avx2 = Eight<Multiply>;

/// The dot products of eight lanes: see the functions of the same names in [`Simd`].
///
/// # Safety
/// As [`Simd`].
#[allow(
    missing_docs,
    clippy::missing_safety_doc,
    reason = "as the functions of those names in Simd"
)]
pub unsafe trait Dot: Copy + 'static {
    const I8_BIAS: i32;
    unsafe fn i_dot_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i;
    unsafe fn dot_u7(sum: __m256i, w: __m256i, a: __m256i) -> __m256i;
    unsafe fn dot_i8(sum: __m256i, w: __m256i, a: __m256i) -> __m256i;
    const NARROW: bool = false;
    #[inline(always)]
    unsafe fn part_dot(part: __m256i, w: __m256i, a: __m256i) -> __m256i {
        Self::dot_u7(part, w, a)
    }
    #[inline(always)]
    unsafe fn part_join(sum: __m256i, part: __m256i) -> __m256i {
        _mm256_add_epi32(sum, part)
    }
    #[inline(always)]
    unsafe fn part_weigh(sum: __m256i, part: __m256i, scale: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_mullo_epi32(part, scale))
    }
    #[inline(always)]
    unsafe fn scale_lanes(scale: __m256i) -> __m256i {
        scale
    }
}

/// Dot products by multiplications and additions of pairs.
#[derive(Clone, Copy, Debug)]
pub struct Multiply;

/// Whether this processor and operating system can run the leaf.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

// SAFETY: the functions are called only where `is_available` has answered yes (the trait's
// contract), and read or write exactly the bytes that the trait names.
unsafe impl<D: Dot> Simd for Eight<D> {
    const LANES: usize = 8;
    const I8_BIAS: i32 = D::I8_BIAS;
    const NARROW: bool = D::NARROW;
    const COLUMNS: usize = 4;
    type Wide = Twice<Self>;
    type F = __m256;
    type I = __m256i;
    type B = __m256i;

    #[inline(always)]
    unsafe fn f_zero() -> __m256 {
        _mm256_setzero_ps()
    }
    #[inline(always)]
    unsafe fn f_splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn f_load(p: *const f32) -> __m256 {
        _mm256_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn f_load_f16(p: *const u8) -> __m256 {
        _mm256_cvtph_ps(_mm_loadu_si128(p.cast()))
    }
    #[inline(always)]
    unsafe fn f_load_bf16(p: *const u8) -> __m256 {
        let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
    }
    #[inline(always)]
    unsafe fn f_load_half_e8m0(p: *const u8) -> __m256 {
        let e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()));
        let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(e, _mm256_set1_epi32(1)));
        let tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), e);
        let is_normal = _mm256_cmpgt_epi32(e, _mm256_set1_epi32(1));
        _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, is_normal))
    }
    #[inline(always)]
    unsafe fn f_store(p: *mut f32, x: __m256) {
        _mm256_storeu_ps(p, x)
    }
    #[inline(always)]
    unsafe fn f_store_f16(p: *mut u8, x: __m256) {
        let bits = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
        _mm_storeu_si128(p.cast(), bits)
    }
    #[inline(always)]
    unsafe fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
        decode(ty, blocks, out);
    }
    #[inline(always)]
    unsafe fn f_transpose(from: *const f32, stride: usize, to: *mut f32) {
        transpose_8(from, stride, to);
        transpose_8(from.add(8 * stride), stride, to.add(8));
    }
    #[inline(always)]
    unsafe fn f_add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn f_mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn f_fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn f_fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fnmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn f_from_i(a: __m256i) -> __m256 {
        _mm256_cvtepi32_ps(a)
    }

    #[inline(always)]
    unsafe fn i_zero() -> __m256i {
        _mm256_setzero_si256()
    }
    #[inline(always)]
    unsafe fn i_splat(x: i32) -> __m256i {
        _mm256_set1_epi32(x)
    }
    #[inline(always)]
    unsafe fn i_add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn i_sub(a: __m256i, b: __m256i) -> __m256i {
        _mm256_sub_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn i_mul(a: __m256i, b: __m256i) -> __m256i {
        _mm256_mullo_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn i_load_u8_pairs(p: *const u8) -> __m256i {
        _mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast()))
    }
    #[inline(always)]
    unsafe fn i_load_i8_pairs(p: *const u8) -> __m256i {
        _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast()))
    }
    #[inline(always)]
    unsafe fn i_load_nibble_pairs(p: *const u8) -> (__m256i, __m256i) {
        let bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast()));
        let low = _mm256_and_si256(bytes, _mm256_set1_epi16(15));
        (low, _mm256_srli_epi16::<4>(bytes))
    }
    #[inline(always)]
    unsafe fn i_join(a: __m256i, b: __m256i) -> __m256i {
        _mm256_blend_epi16::<0xaa>(a, _mm256_slli_epi32::<16>(b))
    }
    #[inline(always)]
    unsafe fn i_first(a: __m256i) -> __m256i {
        _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(a))
    }
    #[inline(always)]
    unsafe fn i_second(a: __m256i) -> __m256i {
        _mm256_srai_epi32::<16>(a)
    }
    #[inline(always)]
    unsafe fn i_dot_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        D::i_dot_pairs(sum, a, b)
    }

    #[inline(always)]
    unsafe fn b_load(p: *const u8) -> __m256i {
        _mm256_loadu_si256(p.cast())
    }
    #[inline(always)]
    unsafe fn b_and(a: __m256i, mask: u8) -> __m256i {
        _mm256_and_si256(a, _mm256_set1_epi8(mask as i8))
    }
    #[inline(always)]
    unsafe fn b_or(a: __m256i, b: __m256i) -> __m256i {
        _mm256_or_si256(a, b)
    }
    #[inline(always)]
    unsafe fn b_shr_and<const N: i32>(a: __m256i, mask: u8) -> __m256i {
        // The 16-bit shift drags bits of the upper byte in; they are above 8 - N and the caller's
        // mask has none of those.
        _mm256_and_si256(
            _mm256_srli_epi16::<N>(a),
            _mm256_set1_epi8((mask & (0xff >> N)) as i8),
        )
    }
    #[inline(always)]
    unsafe fn b_shl<const N: i32>(a: __m256i) -> __m256i {
        _mm256_slli_epi16::<N>(a)
    }
    #[inline(always)]
    unsafe fn b_lookup(table: &'static [u8; 16], codes: __m256i) -> __m256i {
        let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
        _mm256_shuffle_epi8(table, codes)
    }
    #[inline(always)]
    unsafe fn dot_u7(sum: __m256i, w: __m256i, a: __m256i) -> __m256i {
        D::dot_u7(sum, w, a)
    }
    #[inline(always)]
    unsafe fn dot_i8(sum: __m256i, w: __m256i, a: __m256i) -> __m256i {
        D::dot_i8(sum, w, a)
    }
    #[inline(always)]
    unsafe fn part_dot(part: __m256i, w: __m256i, a: __m256i) -> __m256i {
        D::part_dot(part, w, a)
    }
    #[inline(always)]
    unsafe fn part_join(sum: __m256i, part: __m256i) -> __m256i {
        D::part_join(sum, part)
    }
    #[inline(always)]
    unsafe fn part_weigh(sum: __m256i, part: __m256i, scale: __m256i) -> __m256i {
        D::part_weigh(sum, part, scale)
    }
    #[inline(always)]
    unsafe fn scale_lanes(scale: __m256i) -> __m256i {
        D::scale_lanes(scale)
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast())
    }
}

// SAFETY: the functions are called only where `is_available` has answered yes.
unsafe impl Dot for Multiply {
    const I8_BIAS: i32 = 0;

    #[inline(always)]
    unsafe fn i_dot_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
    }
    #[inline(always)]
    unsafe fn dot_u7(sum: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // 2 * 127 * 127 = 32258 does not saturate the 16-bit sums.
        let pairs = _mm256_maddubs_epi16(w, a);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
    #[inline(always)]
    unsafe fn dot_i8(sum: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // |w| times (a with the sign of w): |w| is 0 to 128 and |a| at most 127, so that the
        // 16-bit sums stay at or below 2 * 128 * 127 = 32512.
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    const NARROW: bool = true;
    #[inline(always)]
    unsafe fn part_dot(part: __m256i, w: __m256i, a: __m256i) -> __m256i {
        _mm256_add_epi16(part, _mm256_maddubs_epi16(w, a))
    }
    #[inline(always)]
    unsafe fn part_join(sum: __m256i, part: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)))
    }
    #[inline(always)]
    unsafe fn part_weigh(sum: __m256i, part: __m256i, scale: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(part, scale))
    }
    #[inline(always)]
    unsafe fn scale_lanes(scale: __m256i) -> __m256i {
        // The same number for both partial sums of a lane.
        _mm256_or_si256(
            _mm256_and_si256(scale, _mm256_set1_epi32(0xffff)),
            _mm256_slli_epi32::<16>(scale),
        )
    }
}

/// [`quant::decode_whole`], compiled for this instruction set.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
    quant::decode_whole(ty, blocks, out);
}

/// Transposes eight elements of eight rows, `stride` apart, into vectors sixteen apart. A vector
/// is read as four elements of a row and of the row four below; then pairs are joined, then fours.
#[inline(always)]
unsafe fn transpose_8(from: *const f32, stride: usize, to: *mut f32) {
    let rows = |r: usize, at: usize| {
        let low = _mm256_castps128_ps256(_mm_loadu_ps(from.add(stride * r + at)));
        _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add(stride * (4 + r) + at)))
    };
    for at in [0, 4] {
        let (a, b, c, d) = (rows(0, at), rows(1, at), rows(2, at), rows(3, at));
        let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let to = to.add(16 * at);
        _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(ab_low, cd_low));
        _mm256_storeu_ps(to.add(16), _mm256_shuffle_ps::<0xee>(ab_low, cd_low));
        _mm256_storeu_ps(to.add(32), _mm256_shuffle_ps::<0x44>(ab_high, cd_high));
        _mm256_storeu_ps(to.add(48), _mm256_shuffle_ps::<0xee>(ab_high, cd_high));
    }
}

//! NEON with dot products of bytes: four lanes, sixteen as four registers.
//!
//! The instructions for dot products and for half precision are written out: their intrinsics are not
//! stable.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is a few instructions under the contract of the trait"
)]

use crate::kernel::simd::Simd;
use crate::kernel::twice::Twice;
use crate::quant;
use ingle_formats::TensorType;
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// Four lanes of NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

/// Whether this processor and operating system can run the leaf.
pub fn is_available() -> bool {
    is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod")
}

/// Adds to each lane of `sum` the four products of its signed bytes in `a` and `b`.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    asm!(
        "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
        sum = inout(vreg) sum,
        a = in(vreg) a,
        b = in(vreg) b,
        options(pure, nomem, nostack, preserves_flags)
    );
    sum
}

// SAFETY: the functions are called only where `is_available` has answered yes (the trait's
// contract), and read or write exactly the bytes that the trait names.
unsafe impl Simd for Neon {
    const LANES: usize = 4;
    const I8_BIAS: i32 = 0;
    const COLUMNS: usize = 8;
    type Wide = Twice<Twice<Self>>;
    type F = float32x4_t;
    type I = int32x4_t;
    type B = uint8x16_t;

    #[inline(always)]
    unsafe fn f_zero() -> float32x4_t {
        vdupq_n_f32(0.0)
    }
    #[inline(always)]
    unsafe fn f_splat(x: f32) -> float32x4_t {
        vdupq_n_f32(x)
    }
    #[inline(always)]
    unsafe fn f_load(p: *const f32) -> float32x4_t {
        vld1q_f32(p)
    }
    #[inline(always)]
    unsafe fn f_load_f16(p: *const u8) -> float32x4_t {
        let bits = vld1_u16(p.cast());
        let out: float32x4_t;
        asm!(
            "fcvtl {out:v}.4s, {bits:v}.4h",
            out = lateout(vreg) out,
            bits = in(vreg) bits,
            options(pure, nomem, nostack, preserves_flags)
        );
        out
    }
    #[inline(always)]
    unsafe fn f_load_bf16(p: *const u8) -> float32x4_t {
        vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(p.cast()))))
    }
    #[inline(always)]
    unsafe fn f_load_half_e8m0(p: *const u8) -> float32x4_t {
        let four = p.cast::<u32>().read_unaligned();
        let e = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(four)))));
        let normal = vshlq_n_u32::<23>(vsubq_u32(e, vdupq_n_u32(1)));
        let tiny = vshlq_u32(vdupq_n_u32(0x0020_0000), vreinterpretq_s32_u32(e));
        let is_normal = vcgtq_u32(e, vdupq_n_u32(1));
        vreinterpretq_f32_u32(vbslq_u32(is_normal, normal, tiny))
    }
    #[inline(always)]
    unsafe fn f_store(p: *mut f32, x: float32x4_t) {
        vst1q_f32(p, x)
    }
    #[inline(always)]
    unsafe fn f_store_f16(p: *mut u8, x: float32x4_t) {
        let bits: uint16x4_t;
        asm!(
            "fcvtn {bits:v}.4h, {x:v}.4s",
            bits = lateout(vreg) bits,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
        vst1_u16(p.cast(), bits);
    }
    #[inline(always)]
    unsafe fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
        quant::decode_whole(ty, blocks, out);
    }
    #[inline(always)]
    unsafe fn f_transpose(from: *const f32, stride: usize, to: *mut f32) {
        for r in (0..16).step_by(4) {
            for at in [0, 4] {
                let row = |i: usize| vld1q_f32(from.add(stride * (r + i) + at));
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (ac, bd) = (vzip1q_f32(a, c), vzip1q_f32(b, d));
                let (ac_high, bd_high) = (vzip2q_f32(a, c), vzip2q_f32(b, d));
                let to = to.add(16 * at + r);
                vst1q_f32(to, vzip1q_f32(ac, bd));
                vst1q_f32(to.add(16), vzip2q_f32(ac, bd));
                vst1q_f32(to.add(32), vzip1q_f32(ac_high, bd_high));
                vst1q_f32(to.add(48), vzip2q_f32(ac_high, bd_high));
            }
        }
    }
    #[inline(always)]
    unsafe fn f_add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vaddq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn f_mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vmulq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn f_fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        vfmaq_f32(c, a, b)
    }
    #[inline(always)]
    unsafe fn f_fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        vfmsq_f32(c, a, b)
    }
    #[inline(always)]
    unsafe fn f_from_i(a: int32x4_t) -> float32x4_t {
        vcvtq_f32_s32(a)
    }

    #[inline(always)]
    unsafe fn i_zero() -> int32x4_t {
        vdupq_n_s32(0)
    }
    #[inline(always)]
    unsafe fn i_splat(x: i32) -> int32x4_t {
        vdupq_n_s32(x)
    }
    #[inline(always)]
    unsafe fn i_add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        vaddq_s32(a, b)
    }
    #[inline(always)]
    unsafe fn i_sub(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        vsubq_s32(a, b)
    }
    #[inline(always)]
    unsafe fn i_mul(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        vmulq_s32(a, b)
    }
    #[inline(always)]
    unsafe fn i_load_u8_pairs(p: *const u8) -> int32x4_t {
        vreinterpretq_s32_u16(vmovl_u8(vld1_u8(p)))
    }
    #[inline(always)]
    unsafe fn i_load_i8_pairs(p: *const u8) -> int32x4_t {
        vreinterpretq_s32_s16(vmovl_s8(vld1_s8(p.cast())))
    }
    #[inline(always)]
    unsafe fn i_load_nibble_pairs(p: *const u8) -> (int32x4_t, int32x4_t) {
        let bytes = vld1_u8(p);
        let pairs = |x| vreinterpretq_s32_u16(vmovl_u8(x));
        (
            pairs(vand_u8(bytes, vdup_n_u8(15))),
            pairs(vshr_n_u8::<4>(bytes)),
        )
    }
    #[inline(always)]
    unsafe fn i_join(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        vsliq_n_s32::<16>(a, b)
    }
    #[inline(always)]
    unsafe fn i_first(a: int32x4_t) -> int32x4_t {
        vshrq_n_s32::<16>(vshlq_n_s32::<16>(a))
    }
    #[inline(always)]
    unsafe fn i_second(a: int32x4_t) -> int32x4_t {
        vshrq_n_s32::<16>(a)
    }
    #[inline(always)]
    unsafe fn i_dot_pairs(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
        let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
        vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(a, b)))
    }

    #[inline(always)]
    unsafe fn b_load(p: *const u8) -> uint8x16_t {
        vld1q_u8(p)
    }
    #[inline(always)]
    unsafe fn b_and(a: uint8x16_t, mask: u8) -> uint8x16_t {
        vandq_u8(a, vdupq_n_u8(mask))
    }
    #[inline(always)]
    unsafe fn b_or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        vorrq_u8(a, b)
    }
    #[inline(always)]
    unsafe fn b_shr_and<const N: i32>(a: uint8x16_t, mask: u8) -> uint8x16_t {
        // A shift to the left by a negative number.
        vandq_u8(vshlq_u8(a, vdupq_n_s8(-N as i8)), vdupq_n_u8(mask))
    }
    #[inline(always)]
    unsafe fn b_shl<const N: i32>(a: uint8x16_t) -> uint8x16_t {
        vshlq_u8(a, vdupq_n_s8(N as i8))
    }
    #[inline(always)]
    unsafe fn b_lookup(table: &'static [u8; 16], codes: uint8x16_t) -> uint8x16_t {
        vqtbl1q_u8(vld1q_u8(table.as_ptr()), codes)
    }
    #[inline(always)]
    unsafe fn dot_u7(sum: int32x4_t, w: uint8x16_t, a: int32x4_t) -> int32x4_t {
        // 0 to 127 is the same with a sign.
        sdot(sum, vreinterpretq_s8_u8(w), vreinterpretq_s8_s32(a))
    }
    #[inline(always)]
    unsafe fn dot_i8(sum: int32x4_t, w: uint8x16_t, a: int32x4_t) -> int32x4_t {
        sdot(sum, vreinterpretq_s8_u8(w), vreinterpretq_s8_s32(a))
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(nostack, preserves_flags, readonly));
    }
}

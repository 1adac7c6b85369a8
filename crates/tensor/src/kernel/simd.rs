//! The vector trait over which the kernels are written once.

use ingle_formats::TensorType;

/// A vector unit whose lanes are rows of a weight panel (or elements of a head).
///
/// An algorithm written over it gives the same bits on every implementation: float operations are
/// single IEEE operations (FMA where it says so) on each lane by itself, integer operations are
/// exact, and no operation adds across lanes. [`super::scalar::Scalar`] is the meaning; the others
/// are leaves.
///
/// # Safety
/// Every function here may be called only where the processor has the features of the
/// implementation, and every pointer must be readable (or writable) for as many bytes as the
/// function names. Nothing needs to be aligned.
#[allow(clippy::missing_safety_doc, reason = "one contract for all, above")]
pub unsafe trait Simd: Copy + 'static {
    /// Lanes of a vector; divides 16.
    const LANES: usize;
    /// What [`Simd::dot_i8`] adds to each weight: its sums are too large by this times the sum of
    /// the activations, and the caller takes that off.
    const I8_BIAS: i32;
    /// Whether [`Simd::part_dot`] adds in 16 bits, so that few products fit.
    const NARROW: bool = false;
    /// Columns that a many-row kernel carries at once.
    const COLUMNS: usize;
    /// As wide as a panel where that is wider: with few columns there is room in the registers, and a
    /// panel is read once instead of in halves or quarters.
    type Wide: Simd;
    /// `LANES` f32.
    type F: Copy;
    /// `LANES` i32, or `LANES` pairs of i16.
    type I: Copy;
    /// `LANES` groups of four bytes.
    type B: Copy;

    /// Zeros.
    unsafe fn f_zero() -> Self::F;
    /// The same value in every lane.
    unsafe fn f_splat(x: f32) -> Self::F;
    /// Reads `LANES` f32.
    unsafe fn f_load(p: *const f32) -> Self::F;
    /// Reads `LANES` IEEE half-precision numbers.
    unsafe fn f_load_f16(p: *const u8) -> Self::F;
    /// Reads `LANES` bfloat16 numbers.
    unsafe fn f_load_bf16(p: *const u8) -> Self::F;
    /// Reads `LANES` bytes, each the exponent `e` of `2^(e - 128)`: half of what E8M0 means.
    unsafe fn f_load_half_e8m0(p: *const u8) -> Self::F;
    /// Writes `LANES` f32.
    unsafe fn f_store(p: *mut f32, x: Self::F);
    /// Writes `LANES` IEEE half-precision numbers, each rounded to the nearest, ties to even.
    unsafe fn f_store_f16(p: *mut u8, x: Self::F);
    /// Reads whole blocks of `ty` that hold exactly the elements of `out`.
    unsafe fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]);
    /// Transposes eight elements of sixteen rows: `to[16 i + r] = from[stride r + i]`.
    unsafe fn f_transpose(from: *const f32, stride: usize, to: *mut f32);
    /// `a + b`
    unsafe fn f_add(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a * b`, rounded once.
    unsafe fn f_fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The nearest f32 of each i32 (ties to even).
    unsafe fn f_from_i(a: Self::I) -> Self::F;

    /// Zeros.
    unsafe fn i_zero() -> Self::I;
    /// The same value in every lane.
    unsafe fn i_splat(x: i32) -> Self::I;
    /// `a + b`, wrapping.
    unsafe fn i_add(a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`, wrapping.
    unsafe fn i_sub(a: Self::I, b: Self::I) -> Self::I;
    /// The low 32 bits of `a * b`.
    unsafe fn i_mul(a: Self::I, b: Self::I) -> Self::I;
    /// Reads `2 * LANES` unsigned bytes as pairs of i16.
    unsafe fn i_load_u8_pairs(p: *const u8) -> Self::I;
    /// Reads `2 * LANES` signed bytes as pairs of i16.
    unsafe fn i_load_i8_pairs(p: *const u8) -> Self::I;
    /// Reads `2 * LANES` bytes: their low halves as pairs of i16, and their high halves.
    unsafe fn i_load_nibble_pairs(p: *const u8) -> (Self::I, Self::I);
    /// Pairs of the low 16 bits of `a` and of `b`.
    unsafe fn i_join(a: Self::I, b: Self::I) -> Self::I;
    /// The first i16 of each pair as i32.
    unsafe fn i_first(a: Self::I) -> Self::I;
    /// The second i16 of each pair as i32.
    unsafe fn i_second(a: Self::I) -> Self::I;
    /// Adds the products of two pairs of i16 to each lane of `sum`.
    unsafe fn i_dot_pairs(sum: Self::I, a: Self::I, b: Self::I) -> Self::I;

    /// Reads `4 * LANES` bytes.
    unsafe fn b_load(p: *const u8) -> Self::B;
    /// Every byte `& mask`.
    unsafe fn b_and(a: Self::B, mask: u8) -> Self::B;
    /// Bitwise or.
    unsafe fn b_or(a: Self::B, b: Self::B) -> Self::B;
    /// `(byte >> N) & mask` for every byte; N below 8.
    unsafe fn b_shr_and<const N: i32>(a: Self::B, mask: u8) -> Self::B;
    /// `byte << N` for every byte, where that does not overflow the byte.
    unsafe fn b_shl<const N: i32>(a: Self::B) -> Self::B;
    /// `table[code]` for every byte, each 0 to 15.
    unsafe fn b_lookup(table: &'static [u8; 16], codes: Self::B) -> Self::B;
    /// Adds to each lane of `sum` the four products of its bytes of `w` (0 to 127) with the four
    /// signed bytes in `a` (-127 to 127), `a` being the same in every lane.
    unsafe fn dot_u7(sum: Self::I, w: Self::B, a: Self::I) -> Self::I;
    /// The same for signed bytes `w`, each raised by [`Simd::I8_BIAS`].
    unsafe fn dot_i8(sum: Self::I, w: Self::B, a: Self::I) -> Self::I;

    /// Adds the products of [`Simd::dot_u7`] to a partial sum; where [`Simd::NARROW`], each pair of
    /// products to an i16 of its own, and no more may be added than fit.
    #[inline(always)]
    unsafe fn part_dot(part: Self::I, w: Self::B, a: Self::I) -> Self::I {
        // SAFETY: the contract is the same.
        unsafe { Self::dot_u7(part, w, a) }
    }
    /// Adds a partial sum to `sum`.
    #[inline(always)]
    unsafe fn part_join(sum: Self::I, part: Self::I) -> Self::I {
        // SAFETY: the contract is the same.
        unsafe { Self::i_add(sum, part) }
    }
    /// Adds a partial sum times `scale`, which [`Simd::scale_lanes`] made, to `sum`.
    #[inline(always)]
    unsafe fn part_weigh(sum: Self::I, part: Self::I, scale: Self::I) -> Self::I {
        // SAFETY: the contract is the same.
        unsafe { Self::i_add(sum, Self::i_mul(part, scale)) }
    }
    /// Numbers that fit i16 in the form in which [`Simd::part_weigh`] multiplies by them.
    #[inline(always)]
    unsafe fn scale_lanes(scale: Self::I) -> Self::I {
        scale
    }

    /// Reads what [`Simd::i_store`] wrote.
    #[inline(always)]
    unsafe fn i_load(p: *const u8) -> Self::I {
        // SAFETY: the caller gives `4 * LANES` readable bytes; every bit pattern is a number.
        unsafe { p.cast::<Self::I>().read_unaligned() }
    }
    /// Writes `4 * LANES` bytes.
    #[inline(always)]
    unsafe fn i_store(p: *mut u8, x: Self::I) {
        // SAFETY: the caller gives `4 * LANES` writable bytes.
        unsafe { p.cast::<Self::I>().write_unaligned(x) }
    }
    /// Writes `4 * LANES` bytes.
    #[inline(always)]
    unsafe fn b_store(p: *mut u8, x: Self::B) {
        // SAFETY: the caller gives `4 * LANES` writable bytes.
        unsafe { p.cast::<Self::B>().write_unaligned(x) }
    }

    /// Asks for the cache line at `p`, which need not be readable.
    unsafe fn prefetch(p: *const u8);
}

/// Bytes that lie so much further on are asked for now where few columns wait for memory: the processor
/// fetches ahead by itself, but stops where a page of the system ends.
pub const NEXT_PAGE: usize = 4 << 10;

/// Keeps loads in the order in which they are written, before and after this. A block is otherwise
/// unrolled as a whole and its loads sorted by the compiler's own lights, often backwards, and then
/// the processor no longer fetches ahead (measured on a Zen 4: 9 instead of 25 GB/s).
#[inline(always)]
pub fn in_order() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

//! From codes and the scales of sub-blocks to numbers.
//!
//! A super-block is decoded in two passes: its codes are unpacked to bytes, then all 256 are
//! multiplied in one loop, with the scales spread out to one a number. A loop over short
//! sub-blocks would be vectorised across them, which is several times slower.

/// Elements in a super-block.
const LEN: usize = 256;

/// The value of each sub-block, repeated for its elements.
#[inline(always)]
pub(super) fn spread<const SUBS: usize>(subs: &[f32; SUBS]) -> [f32; LEN] {
    let mut wide = [0.0; LEN];
    for (wide, &sub) in wide.chunks_exact_mut(LEN / SUBS).zip(subs) {
        wide.fill(sub);
    }
    wide
}

/// Each code, a signed byte, times the scale of its sub-block.
#[inline(always)]
pub(super) fn scale_codes<const SUBS: usize>(
    codes: &[u8; LEN],
    scales: &[f32; SUBS],
    out: &mut [f32; LEN],
) {
    let scales = &spread(scales);
    for ((value, &code), scale) in out.iter_mut().zip(codes).zip(scales) {
        *value = scale * f32::from(code as i8);
    }
}

/// Eight magnitudes, negated where the byte of `signs` is `0xff` and not where it is 0. No
/// magnitude is 0, so that no byte carries into the next.
#[inline(always)]
pub(super) fn negate(magnitudes: u64, signs: u64) -> u64 {
    (magnitudes ^ signs).wrapping_add(signs & 0x0101_0101_0101_0101)
}

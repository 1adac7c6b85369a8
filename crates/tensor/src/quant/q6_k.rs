//! Q6_K: 256 numbers of 6 bits in 16 sub-blocks of 16, each with an 8-bit scale.
//!
//! 210 bytes; a block is two halves of 128 elements, a half is four runs of 32:
//! - 0: `ql`, 128 bytes, 64 a half; runs 0 and 1 are the low four bits of bytes 0 to 31 and 32 to
//!   63, runs 2 and 3 the high four bits of the same
//! - 128: `qh`, 64 bytes, 32 a half; bits `2 r` and `2 r + 1` of byte `l` are the upper two bits of
//!   element `l` of run `r`
//! - 192: `scales`, 16 signed bytes, one for 16 elements
//! - 208: `d`, f16
//!
//! `x = (d * scale) * (q - 32)`.

use super::search::{Levels, nearest, symmetric};
use super::spread::scale_codes;
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block.
pub const BYTES: usize = 210;

const _: () = assert!(BYTES == LEN / 2 + LEN / 4 + LEN / 16 + 2);
const _: () = assert!(BYTES == TensorType::Q6K.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q6K.block_len() as usize);

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let ql = field::<0, 128, _>(block).as_chunks::<32>().0;
    let qh = field::<128, 64, _>(block).as_chunks::<32>().0;
    let scales = field::<192, 16, _>(block);
    let d = f16_at::<208, _>(block);
    let mut codes = [0; LEN];
    for (run, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (half, r) = (run / 4, run % 4);
        let (low, high) = (&ql[2 * half + r % 2], &qh[half]);
        for ((code, &low), &high) in codes.iter_mut().zip(low).zip(high) {
            let q = ((low >> (4 * (r / 2))) & 0xf) | (((high >> (2 * r)) & 3) << 4);
            *code = q.wrapping_sub(32);
        }
    }
    scale_codes(&codes, &scales.map(|scale| d * f32::from(scale as i8)), out);
}

/// The integers from -32 to 31.
struct Sixes;

impl Levels for Sixes {
    const LOW: f32 = -32.0;
    const HIGH: f32 = 31.0;
    const SPREAD: f32 = 0.03;

    #[inline(always)]
    fn level(value: f32) -> f32 {
        nearest(value.clamp(Self::LOW, Self::HIGH))
    }
}

/// Writes one block.
#[inline(always)]
pub fn encode_block(values: &[f32; LEN], importance: Option<&[f32; LEN]>, block: &mut [u8; BYTES]) {
    let found = symmetric::<Sixes, 16, 16>(values, importance, 128.0);
    let qs = found.codes::<Sixes>(values);
    // Element `l` of run `r` in a half.
    let at = |half: usize, r: usize, l: usize| qs[128 * half + 32 * r + l];
    let low = |i: usize| {
        let (half, r, l) = (i / 64, i / 32 % 2, i % 32);
        (at(half, r, l) & 0xf) | ((at(half, r + 2, l) & 0xf) << 4)
    };
    let high = |i: usize| (0..4).fold(0, |b, r| b | (at(i / 32, r, i % 32) >> 4) << (2 * r));
    put::<0, 128, _>(block, std::array::from_fn(low));
    put::<128, 64, _>(block, std::array::from_fn(high));
    put::<192, 16, _>(block, found.scales.map(|scale| scale as u8));
    put_f16::<208, _>(block, found.d);
}

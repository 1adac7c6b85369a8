//! Q2_K: 256 numbers of 2 bits in 16 sub-blocks of 16, each with a 4-bit scale and minimum.
//!
//! 84 bytes:
//! - 0: 16 bytes, one a sub-block: the scale in the low half, the minimum in the high half
//! - 16: `qs`, 64 bytes; a half of the block (128 elements) has 32 bytes, and bits `2 r` and
//!   `2 r + 1` of byte `l` are element `l` of the half's run `r` of 32
//! - 80: `d`, f16, the scale of the scales
//! - 82: `dmin`, f16, the scale of the minima
//!
//! `x = (d * scale) * q - (dmin * min)`.

use super::search::affine;
use super::spread::spread;
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block.
pub const BYTES: usize = 84;

const _: () = assert!(BYTES == LEN / 16 + LEN / 4 + 2 + 2);
const _: () = assert!(BYTES == TensorType::Q2K.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q2K.block_len() as usize);

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let scales = field::<0, 16, _>(block);
    let qs = field::<16, 64, _>(block).as_chunks::<32>().0;
    let d = f16_at::<80, _>(block);
    let dmin = f16_at::<82, _>(block);
    let mut codes = [0; LEN];
    for (run, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (code, &q) in codes.iter_mut().zip(&qs[run / 4]) {
            *code = (q >> (run % 4 * 2)) & 3;
        }
    }
    let mins = spread(&scales.map(|scale| dmin * f32::from(scale >> 4)));
    let scales = spread(&scales.map(|scale| d * f32::from(scale & 0xf)));
    for (((value, code), scale), min) in out.iter_mut().zip(&codes).zip(&scales).zip(&mins) {
        *value = scale * f32::from(*code) - min;
    }
}

/// Packs the low two bits of 256 numbers as `qs` has them.
#[inline(always)]
pub(super) fn pack_low_bits(qs: &[u8; LEN]) -> [u8; LEN / 4] {
    std::array::from_fn(|i| {
        let first = i / 32 * 128 + i % 32;
        (0..4).fold(0, |byte, r| byte | (qs[first + 32 * r] & 3) << (2 * r))
    })
}

/// Writes one block.
#[inline(always)]
pub fn encode_block(values: &[f32; LEN], importance: Option<&[f32; LEN]>, block: &mut [u8; BYTES]) {
    let found = affine::<16, 16>(values, importance, 3, 15);
    let scale = |s: usize| found.scales[s] | (found.mins[s] << 4);
    put::<0, 16, _>(block, std::array::from_fn(scale));
    put::<16, 64, _>(block, pack_low_bits(&found.qs));
    put_f16::<80, _>(block, found.d);
    put_f16::<82, _>(block, found.dmin);
}

//! Q5_K: 256 numbers of 5 bits in 8 sub-blocks of 32, each with a 6-bit scale and minimum.
//!
//! 176 bytes:
//! - 0: `d`, f16, the scale of the scales
//! - 2: `dmin`, f16, the scale of the minima
//! - 4: 12 bytes of 6-bit scales and minima, as in Q4_K ([`scales_and_mins`])
//! - 16: `qh`, 32 bytes; bit `s` of byte `l` is the fifth bit of element `l` of sub-block `s`
//! - 48: `qs`, 128 bytes, the low four bits, as in Q4_K
//!
//! `x = (d * scale) * q - (dmin * min)`.

use super::q4_k::{SCALE_BYTES, SUBS, pack_low_bits, pack_scales_and_mins, scales_and_mins};
use super::search::affine;
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block.
pub const BYTES: usize = 176;

const _: () = assert!(BYTES == 2 + 2 + SCALE_BYTES + LEN / 8 + LEN / 2);
const _: () = assert!(BYTES == TensorType::Q5K.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q5K.block_len() as usize);

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let dmin = f16_at::<2, _>(block);
    let (scales, mins) = scales_and_mins(field::<4, SCALE_BYTES, _>(block));
    let qh = field::<16, 32, _>(block);
    let qs = field::<48, 128, _>(block).as_chunks::<32>().0;
    for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[s]);
        let min = dmin * f32::from(mins[s]);
        let shift = 4 * (s & 1);
        for ((value, &low), &high) in out.iter_mut().zip(&qs[s / 2]).zip(qh) {
            let q = ((low >> shift) & 0xf) | (((high >> s) & 1) << 4);
            *value = scale * f32::from(q) - min;
        }
    }
}

/// Writes one block.
#[inline(always)]
pub fn encode_block(values: &[f32; LEN], importance: Option<&[f32; LEN]>, block: &mut [u8; BYTES]) {
    let found = affine::<SUBS, 32>(values, importance, 31, 63);
    let high = |l: usize| (0..SUBS).fold(0, |bits, s| bits | (found.qs[32 * s + l] >> 4) << s);
    put_f16::<0, _>(block, found.d);
    put_f16::<2, _>(block, found.dmin);
    put::<4, SCALE_BYTES, _>(block, pack_scales_and_mins(&found.scales, &found.mins));
    put::<16, 32, _>(block, std::array::from_fn(high));
    put::<48, 128, _>(block, pack_low_bits(&found.qs));
}

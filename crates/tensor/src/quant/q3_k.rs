//! Q3_K: 256 numbers of 3 bits in 16 sub-blocks of 16, each with a 6-bit scale.
//!
//! 110 bytes:
//! - 0: `hmask`, 32 bytes; bit `r` of byte `l` is the third bit of element `l` of run `r` of 32
//! - 32: `qs`, 64 bytes, the low two bits, as in Q2_K
//! - 96: 12 bytes of 6-bit scales, see [`scales`]
//! - 108: `d`, f16
//!
//! `x = (d * (scale - 32)) * (q - 4)`.

use super::q2_k::pack_low_bits;
use super::search::{Levels, nearest, symmetric};
use super::spread::scale_codes;
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block.
pub const BYTES: usize = 110;

const _: () = assert!(BYTES == LEN / 8 + LEN / 4 + 12 + 2);
const _: () = assert!(BYTES == TensorType::Q3K.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q3K.block_len() as usize);

/// The sixteen scales, 32 subtracted.
///
/// The low four bits of scale `s` are in byte `s % 8` (low half for 0 to 7, high half for 8 to 15);
/// its upper two are bits `2 (s / 4)` and the next of byte `8 + s % 4`.
#[inline(always)]
pub fn scales(packed: &[u8; 12]) -> [i8; 16] {
    let mut scales = [0; 16];
    for (s, scale) in scales.iter_mut().enumerate() {
        let low = (packed[s % 8] >> (s / 8 * 4)) & 0xf;
        let high = (packed[8 + s % 4] >> (s / 4 * 2)) & 3;
        *scale = (low | (high << 4)) as i8 - 32;
    }
    scales
}

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let hmask = field::<0, 32, _>(block);
    let qs = field::<32, 64, _>(block).as_chunks::<32>().0;
    let scales = scales(field::<96, 12, _>(block));
    let d = f16_at::<108, _>(block);
    let mut codes = [0; LEN];
    for (run, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for ((code, &low), &high) in codes.iter_mut().zip(&qs[run / 4]).zip(hmask) {
            let q = ((low >> (run % 4 * 2)) & 3) | (((high >> run) & 1) << 2);
            *code = q.wrapping_sub(4);
        }
    }
    scale_codes(&codes, &scales.map(|scale| d * f32::from(scale)), out);
}

/// The integers from -4 to 3.
struct Threes;

impl Levels for Threes {
    const LOW: f32 = -4.0;
    const HIGH: f32 = 3.0;
    const SPREAD: f32 = 0.3;

    #[inline(always)]
    fn level(value: f32) -> f32 {
        nearest(value.clamp(Self::LOW, Self::HIGH))
    }
}

/// Packs six-bit scales, the reverse of [`scales`].
#[inline(always)]
pub fn pack_scales(scales: &[i8; 16]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (s, &scale) in scales.iter().enumerate() {
        let scale = (scale + 32) as u8;
        packed[s % 8] |= (scale & 0xf) << (s / 8 * 4);
        packed[8 + s % 4] |= (scale >> 4) << (s / 4 * 2);
    }
    packed
}

/// Writes one block.
#[inline(always)]
pub fn encode_block(values: &[f32; LEN], importance: Option<&[f32; LEN]>, block: &mut [u8; BYTES]) {
    let found = symmetric::<Threes, 16, 16>(values, importance, 32.0);
    let qs = found.codes::<Threes>(values);
    let high = |l: usize| (0..8).fold(0, |bits, r| bits | (qs[32 * r + l] >> 2) << r);
    put::<0, 32, _>(block, std::array::from_fn(high));
    put::<32, 64, _>(block, pack_low_bits(&qs));
    put::<96, 12, _>(block, pack_scales(&found.scales));
    put_f16::<108, _>(block, found.d);
}

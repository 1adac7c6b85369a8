//! Q4_K: 256 numbers of 4 bits in 8 sub-blocks of 32, each with a 6-bit scale and minimum.
//!
//! 144 bytes:
//! - 0: `d`, f16, the scale of the scales
//! - 2: `dmin`, f16, the scale of the minima
//! - 4: 12 bytes of 6-bit scales and minima, see [`scales_and_mins`]
//! - 16: `qs`, 128 bytes; 32 bytes serve two sub-blocks: byte `32 g + l` holds element `l` of
//!   sub-block `2 g` in its low half and of sub-block `2 g + 1` in its high half
//!
//! `x = (d * scale) * q - (dmin * min)`.

use super::search::affine;
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block.
pub const BYTES: usize = 144;
/// Sub-blocks in a block.
pub const SUBS: usize = 8;
/// Bytes of packed scales and minima.
pub const SCALE_BYTES: usize = 12;

const _: () = assert!(BYTES == 2 + 2 + SCALE_BYTES + LEN / 2);
const _: () = assert!(BYTES == TensorType::Q4K.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q4K.block_len() as usize);

/// The eight 6-bit scales and the eight 6-bit minima of a Q4_K or Q5_K block.
///
/// For sub-blocks 0 to 3, byte `s` holds the scale and byte `4 + s` the minimum in the low six
/// bits. For sub-blocks 4 to 7, the low four bits of both are in byte `4 + s` (scale low, minimum
/// high), and the high two bits on top of bytes `s - 4` and `s`.
#[inline(always)]
pub fn scales_and_mins(packed: &[u8; SCALE_BYTES]) -> ([u8; SUBS], [u8; SUBS]) {
    let mut scales = [0; SUBS];
    let mut mins = [0; SUBS];
    for s in 0..4 {
        let (scale, min, low) = (packed[s], packed[4 + s], packed[8 + s]);
        scales[s] = scale & 0x3f;
        mins[s] = min & 0x3f;
        scales[4 + s] = (low & 0xf) | ((scale >> 2) & 0x30);
        mins[4 + s] = (low >> 4) | ((min >> 2) & 0x30);
    }
    (scales, mins)
}

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let dmin = f16_at::<2, _>(block);
    let (scales, mins) = scales_and_mins(field::<4, SCALE_BYTES, _>(block));
    let qs = field::<16, 128, _>(block).as_chunks::<32>().0;
    for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[s]);
        let min = dmin * f32::from(mins[s]);
        let shift = 4 * (s & 1);
        for (value, &q) in out.iter_mut().zip(&qs[s / 2]) {
            *value = scale * f32::from((q >> shift) & 0xf) - min;
        }
    }
}

/// Packs six-bit scales and minima, the reverse of [`scales_and_mins`].
#[inline(always)]
pub(super) fn pack_scales_and_mins(scales: &[u8; SUBS], mins: &[u8; SUBS]) -> [u8; SCALE_BYTES] {
    let mut packed = [0; SCALE_BYTES];
    for s in 0..4 {
        packed[s] = scales[s] | ((scales[4 + s] & 0x30) << 2);
        packed[4 + s] = mins[s] | ((mins[4 + s] & 0x30) << 2);
        packed[8 + s] = (scales[4 + s] & 0xf) | ((mins[4 + s] & 0xf) << 4);
    }
    packed
}

/// Packs the low four bits of 256 numbers as `qs` has them.
#[inline(always)]
pub(super) fn pack_low_bits(qs: &[u8; LEN]) -> [u8; LEN / 2] {
    std::array::from_fn(|i| {
        let first = i / 32 * 64 + i % 32;
        (qs[first] & 0xf) | ((qs[first + 32] & 0xf) << 4)
    })
}

/// Writes one block.
#[inline(always)]
pub fn encode_block(values: &[f32; LEN], importance: Option<&[f32; LEN]>, block: &mut [u8; BYTES]) {
    let found = affine::<SUBS, 32>(values, importance, 15, 63);
    put_f16::<0, _>(block, found.d);
    put_f16::<2, _>(block, found.dmin);
    put::<4, SCALE_BYTES, _>(block, pack_scales_and_mins(&found.scales, &found.mins));
    put::<16, 128, _>(block, pack_low_bits(&found.qs));
}

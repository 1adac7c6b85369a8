//! IQ1_S and IQ1_M: groups of 8 numbers from a grid of 2048 patterns of -1, 0 and 1, each number
//! shifted by plus or minus 1/8.
//!
//! IQ1_S, 50 bytes; a sub-block is 32 numbers, four groups:
//! - 0: `d`, f16
//! - 2: `qs`, 32 bytes, the low eight bits of each group's grid index
//! - 34: `qh`, 8 u16, one a sub-block: bits `3 g` to `3 g + 2` are the upper bits of the index of
//!   group `g`, bits 12 to 14 the scale, bit 15 set where the shift is negative
//!
//! IQ1_M, 56 bytes; a sub-block is 16 numbers, two groups:
//! - 0: `qs`, 32 bytes, as in IQ1_S
//! - 32: `qh`, 16 bytes, four bits a group, low half first: three upper bits of the index, then a
//!   bit that is set where the shift is negative
//! - 48: `scales`, 4 u16; bits `3 s` to `3 s + 2` of word `w` are the scale of sub-block `4 w + s`,
//!   and the top four bits of word `w` are bits `4 w` to `4 w + 3` of `d`, f16
//!
//! `x = (d * (2 scale + 1)) * (grid + shift)`.

use super::spread::spread;
use super::tables::IQ1;
use super::{f16_at, field};
use half::f16;
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block of IQ1_S.
pub const IQ1_S_BYTES: usize = 50;
/// Bytes in a block of IQ1_M.
pub const IQ1_M_BYTES: usize = 56;

const _: () = assert!(IQ1_S_BYTES == 2 + LEN / 8 + 2 * (LEN / 32));
const _: () = assert!(IQ1_M_BYTES == LEN / 8 + LEN / 16 + LEN / 32);
const _: () = assert!(IQ1_S_BYTES == TensorType::Iq1S.block_bytes() as usize);
const _: () = assert!(IQ1_M_BYTES == TensorType::Iq1M.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Iq1S.block_len() as usize);
const _: () = assert!(LEN == TensorType::Iq1M.block_len() as usize);

/// How far each number is from the grid's.
const SHIFT: f32 = 0.125;

/// Reads one block of IQ1_S.
#[inline(always)]
pub fn decode_iq1_s(block: &[u8; IQ1_S_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 32, _>(block);
    let qh = field::<34, 16, _>(block).as_chunks::<2>().0;
    let qh: [u16; 8] = std::array::from_fn(|sub| u16::from_le_bytes(qh[sub]));
    let scales = qh.map(|qh| d * f32::from(2 * ((qh >> 12) & 7) + 1));
    let shifts = qh.map(|qh| if qh & 0x8000 == 0 { SHIFT } else { -SHIFT });
    let high = |g: usize| usize::from((qh[g / 4] >> (3 * (g % 4))) & 7);
    let codes = codes(|g| usize::from(qs[g]) | high(g) << 8);
    shift_and_scale(&codes, &shifts, &scales, out);
}

/// Reads one block of IQ1_M.
#[inline(always)]
pub fn decode_iq1_m(block: &[u8; IQ1_M_BYTES], out: &mut [f32; LEN]) {
    let qs = field::<0, 32, _>(block);
    let qh = field::<32, 16, _>(block);
    let words = field::<48, 8, _>(block).as_chunks::<2>().0;
    let words: [u16; 4] = std::array::from_fn(|w| u16::from_le_bytes(words[w]));
    let d = (0..4).fold(0, |bits, w| bits | (words[w] >> 12) << (4 * w));
    let d = f16::from_bits(d).to_f32();
    let scales: [f32; 16] = std::array::from_fn(|sub| {
        let scale = (words[sub / 4] >> (3 * (sub % 4))) & 7;
        d * f32::from(2 * scale + 1)
    });
    let high = |g: usize| qh[g / 2] >> (4 * (g % 2));
    let shifts: [f32; 32] = std::array::from_fn(|g| if high(g) & 8 == 0 { SHIFT } else { -SHIFT });
    let codes = codes(|g| usize::from(qs[g]) | usize::from(high(g) & 7) << 8);
    shift_and_scale(&codes, &shifts, &scales, out);
}

/// The patterns of the 32 groups, whose grid indices are given.
#[inline(always)]
fn codes(index: impl Fn(usize) -> usize) -> [u8; LEN] {
    let mut codes = [0; LEN];
    for (g, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *codes = IQ1[index(g)].to_le_bytes();
    }
    codes
}

#[inline(always)]
fn shift_and_scale<const SHIFTS: usize, const SCALES: usize>(
    codes: &[u8; LEN],
    shifts: &[f32; SHIFTS],
    scales: &[f32; SCALES],
    out: &mut [f32; LEN],
) {
    let (shifts, scales) = (spread(shifts), spread(scales));
    for (((value, &code), shift), scale) in out.iter_mut().zip(codes).zip(&shifts).zip(&scales) {
        *value = scale * (f32::from(code as i8) + shift);
    }
}

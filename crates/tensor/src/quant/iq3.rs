//! IQ3_XXS and IQ3_S: groups of 4 magnitudes from a grid (of 256 and 512 patterns), with signs.
//!
//! IQ3_XXS, 98 bytes; a sub-block is 32 numbers, eight groups:
//! - 0: `d`, f16
//! - 2: `qs`, 64 bytes, one grid index a group
//! - 66: 8 u32, one a sub-block: seven signs for each pair of groups, first pair lowest, and the
//!   scale in the top four bits. The eighth sign makes the number of negative elements even
//!
//! `x = ((d * (0.5 + scale) * 0.5) * grid) * sign`.
//!
//! IQ3_S, 110 bytes; a sub-block is 32 numbers, eight groups:
//! - 0: `d`, f16
//! - 2: `qs`, 64 bytes, the low eight bits of each group's index
//! - 66: `qh`, 8 bytes, one a sub-block; bit `g` is the upper bit of the index of group `g`
//! - 74: `signs`, 32 bytes, one bit an element
//! - 106: `scales`, 4 bytes, four bits a sub-block, low half first
//!
//! `x = ((d * (1 + 2 scale)) * grid) * sign`.

use super::tables::{EVEN_SIGNS, IQ3_S, IQ3_XXS};
use super::{f16_at, field, signed};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block of IQ3_XXS.
pub const IQ3_XXS_BYTES: usize = 98;
/// Bytes in a block of IQ3_S.
pub const IQ3_S_BYTES: usize = 110;

const _: () = assert!(IQ3_XXS_BYTES == 2 + LEN / 4 + 4 * (LEN / 32));
const _: () = assert!(IQ3_S_BYTES == 2 + LEN / 4 + LEN / 32 + LEN / 8 + LEN / 64);
const _: () = assert!(IQ3_XXS_BYTES == TensorType::Iq3Xxs.block_bytes() as usize);
const _: () = assert!(IQ3_S_BYTES == TensorType::Iq3S.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Iq3Xxs.block_len() as usize);
const _: () = assert!(LEN == TensorType::Iq3S.block_len() as usize);

/// Reads one block of IQ3_XXS.
#[inline(always)]
pub fn decode_iq3_xxs(block: &[u8; IQ3_XXS_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 64, _>(block).as_chunks::<8>().0;
    let signs = field::<66, 32, _>(block).as_chunks::<4>().0;
    let subs = out.as_chunks_mut::<32>().0;
    for ((out, qs), signs) in subs.iter_mut().zip(qs).zip(signs) {
        let signs = u32::from_le_bytes(*signs);
        let scale = d * (0.5 + (signs >> 28) as f32) * 0.5;
        for (pair, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let first = IQ3_XXS[usize::from(qs[2 * pair])];
            let second = IQ3_XXS[usize::from(qs[2 * pair + 1])];
            let signs = EVEN_SIGNS[(signs >> (7 * pair) & 0x7f) as usize];
            decode_pair(first, second, signs, scale, out);
        }
    }
}

/// Reads one block of IQ3_S.
#[inline(always)]
pub fn decode_iq3_s(block: &[u8; IQ3_S_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 64, _>(block).as_chunks::<8>().0;
    let qh = field::<66, 8, _>(block);
    let signs = field::<74, 32, _>(block).as_chunks::<4>().0;
    let scales = field::<106, 4, _>(block);
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let scale = (scales[sub / 2] >> (4 * (sub % 2))) & 0xf;
        let scale = d * f32::from(1 + 2 * scale);
        let index = |g: usize| usize::from(qs[sub][g]) | usize::from(qh[sub] >> g & 1) << 8;
        for (pair, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (first, second) = (IQ3_S[index(2 * pair)], IQ3_S[index(2 * pair + 1)]);
            decode_pair(first, second, signs[sub][pair], scale, out);
        }
    }
}

#[inline(always)]
fn decode_pair(first: u32, second: u32, signs: u8, scale: f32, out: &mut [f32; 8]) {
    let grid = u64::from(first) | u64::from(second) << 32;
    signed(scale, grid.to_le_bytes(), signs, out);
}

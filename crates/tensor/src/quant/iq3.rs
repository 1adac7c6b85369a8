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

use super::spread::{negate, scale_codes};
use super::tables::{EVEN_SIGNS, IQ3_S, IQ3_XXS, SIGNS};
use super::{f16_at, field};
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
    let qs = field::<2, 64, _>(block).as_chunks::<2>().0;
    let signs = field::<66, 32, _>(block).as_chunks::<4>().0;
    let signs: [u32; 8] = std::array::from_fn(|sub| u32::from_le_bytes(signs[sub]));
    let scales = signs.map(|signs| d * (0.5 + (signs >> 28) as f32) * 0.5);
    let codes = codes(|pair| {
        let grid = qs[pair].map(|q| IQ3_XXS[usize::from(q)]);
        let signs = (signs[pair / 4] >> (7 * (pair % 4))) & 0x7f;
        (grid, EVEN_SIGNS[signs as usize])
    });
    scale_codes(&codes, &scales, out);
}

/// Reads one block of IQ3_S.
#[inline(always)]
pub fn decode_iq3_s(block: &[u8; IQ3_S_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 64, _>(block).as_chunks::<2>().0;
    let qh = field::<66, 8, _>(block);
    let signs = field::<74, 32, _>(block);
    let scales = field::<106, 4, _>(block);
    let scales: [f32; 8] = std::array::from_fn(|sub| {
        let scale = (scales[sub / 2] >> (4 * (sub % 2))) & 0xf;
        d * f32::from(1 + 2 * scale)
    });
    let codes = codes(|pair| {
        let high = usize::from(qh[pair / 4] >> (2 * (pair % 4)));
        let [first, second] = qs[pair].map(usize::from);
        let grid = [
            IQ3_S[first | (high & 1) << 8],
            IQ3_S[second | (high & 2) << 7],
        ];
        (grid, SIGNS[usize::from(signs[pair])])
    });
    scale_codes(&codes, &scales, out);
}

/// The signed magnitudes of the 32 pairs of groups, given their magnitudes and signs.
#[inline(always)]
fn codes(pair: impl Fn(usize) -> ([u32; 2], u64)) -> [u8; LEN] {
    let mut codes = [0; LEN];
    for (p, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let ([first, second], signs) = pair(p);
        let magnitudes = u64::from(first) | u64::from(second) << 32;
        *codes = negate(magnitudes, signs).to_le_bytes();
    }
    codes
}

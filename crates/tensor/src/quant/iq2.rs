//! IQ2_XXS, IQ2_XS and IQ2_S: groups of 8 magnitudes from a grid (of 256, 512 and 1024 patterns of
//! 8, 25 and 43), with signs.
//!
//! IQ2_XXS, 66 bytes; a sub-block is 32 numbers, four groups:
//! - 0: `d`, f16
//! - 2: for each sub-block 8 bytes: four grid indices, then a u32 with seven signs for each group,
//!   first group lowest, and the scale in the top four bits. The eighth sign makes the number of
//!   negative elements even
//!
//! IQ2_XS, 74 bytes; a sub-block is 16 numbers, two groups:
//! - 0: `d`, f16
//! - 2: `qs`, 32 u16, one a group: nine bits of index, then seven signs as above
//! - 66: `scales`, 8 bytes, four bits a sub-block, low half first
//!
//! IQ2_S, 82 bytes; a sub-block is 16 numbers, two groups:
//! - 0: `d`, f16
//! - 2: `qs`, 32 bytes, the low eight bits of each group's index
//! - 34: `signs`, 32 bytes, eight signs a group
//! - 66: `qh`, 8 bytes, two upper bits of the index a group, first group lowest
//! - 74: `scales`, 8 bytes, as in IQ2_XS
//!
//! `x = ((d * (0.5 + scale) * 0.25) * grid) * sign`.

use super::spread::{negate, scale_codes};
use super::tables::{EVEN_SIGNS, IQ2_S, IQ2_XS, IQ2_XXS, SIGNS};
use super::{f16_at, field};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block of IQ2_XXS.
pub const IQ2_XXS_BYTES: usize = 66;
/// Bytes in a block of IQ2_XS.
pub const IQ2_XS_BYTES: usize = 74;
/// Bytes in a block of IQ2_S.
pub const IQ2_S_BYTES: usize = 82;

const _: () = assert!(IQ2_XXS_BYTES == 2 + LEN / 4);
const _: () = assert!(IQ2_XS_BYTES == 2 + LEN / 4 + LEN / 32);
const _: () = assert!(IQ2_S_BYTES == 2 + LEN / 8 + LEN / 8 + LEN / 32 + LEN / 32);
const _: () = assert!(IQ2_XXS_BYTES == TensorType::Iq2Xxs.block_bytes() as usize);
const _: () = assert!(IQ2_XS_BYTES == TensorType::Iq2Xs.block_bytes() as usize);
const _: () = assert!(IQ2_S_BYTES == TensorType::Iq2S.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Iq2Xxs.block_len() as usize);
const _: () = assert!(LEN == TensorType::Iq2Xs.block_len() as usize);
const _: () = assert!(LEN == TensorType::Iq2S.block_len() as usize);

/// Reads one block of IQ2_XXS.
#[inline(always)]
pub fn decode_iq2_xxs(block: &[u8; IQ2_XXS_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let subs = field::<2, 64, _>(block).as_chunks::<8>().0;
    let signs = |sub: usize| u64::from_le_bytes(subs[sub]) >> 32;
    let scales: [f32; 8] = std::array::from_fn(|sub| d * (0.5 + (signs(sub) >> 28) as f32) * 0.25);
    let codes = codes(|g| {
        let signs = (signs(g / 4) >> (7 * (g % 4))) & 0x7f;
        let index = usize::from(subs[g / 4][g % 4]);
        negate(IQ2_XXS[index], EVEN_SIGNS[signs as usize])
    });
    scale_codes(&codes, &scales, out);
}

/// Reads one block of IQ2_XS.
#[inline(always)]
pub fn decode_iq2_xs(block: &[u8; IQ2_XS_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 64, _>(block).as_chunks::<2>().0;
    let codes = codes(|g| {
        let q = usize::from(u16::from_le_bytes(qs[g]));
        negate(IQ2_XS[q & 0x1ff], EVEN_SIGNS[q >> 9])
    });
    scale_codes(&codes, &scales(d, field::<66, 8, _>(block)), out);
}

/// Reads one block of IQ2_S.
#[inline(always)]
pub fn decode_iq2_s(block: &[u8; IQ2_S_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 32, _>(block);
    let signs = field::<34, 32, _>(block);
    let qh = field::<66, 8, _>(block);
    let codes = codes(|g| {
        let high = usize::from(qh[g / 4] >> (2 * (g % 4)) & 3);
        let index = usize::from(qs[g]) | high << 8;
        negate(IQ2_S[index], SIGNS[usize::from(signs[g])])
    });
    scale_codes(&codes, &scales(d, field::<74, 8, _>(block)), out);
}

/// The scales of sixteen sub-blocks, four bits each.
#[inline(always)]
fn scales(d: f32, packed: &[u8; 8]) -> [f32; 16] {
    std::array::from_fn(|sub| {
        let scale = (packed[sub / 2] >> (4 * (sub % 2))) & 0xf;
        d * (0.5 + f32::from(scale)) * 0.25
    })
}

/// The signed magnitudes of the 32 groups.
#[inline(always)]
fn codes(group: impl Fn(usize) -> u64) -> [u8; LEN] {
    let mut codes = [0; LEN];
    for (g, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *codes = group(g).to_le_bytes();
    }
    codes
}

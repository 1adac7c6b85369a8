//! IQ4_NL and IQ4_XS: numbers of 4 bits that index sixteen unevenly spaced levels.
//!
//! IQ4_NL, 32 numbers, 18 bytes:
//! - 0: `d`, f16
//! - 2: `qs`, 16 bytes; byte `j` holds element `j` in its low half and element `16 + j` in its
//!   high half
//!
//! `x = d * level[q]`.
//!
//! IQ4_XS, 256 numbers in 8 sub-blocks of 32, 136 bytes:
//! - 0: `d`, f16
//! - 2: `scales_h`, u16; bits `2 s` and `2 s + 1` are the upper bits of the scale of sub-block `s`
//! - 4: `scales_l`, 4 bytes, the low four bits of the scales, low half first
//! - 8: `qs`, 128 bytes, 16 a sub-block, each as in IQ4_NL
//!
//! `x = (d * (scale - 32)) * level[q]`.

use super::q4::pairs;
use super::rounding::reciprocal;
use super::search::{Levels, fit_scale, symmetric, weights};
use super::tables::{floats, scale_levels};
use super::{f16_at, field, put, put_f16};
use half::f16;
use ingle_formats::TensorType;

/// Elements in a block of IQ4_NL.
pub const IQ4_NL_LEN: usize = 32;
/// Bytes in a block of IQ4_NL.
pub const IQ4_NL_BYTES: usize = 18;
/// Elements in a block of IQ4_XS.
pub const IQ4_XS_LEN: usize = 256;
/// Bytes in a block of IQ4_XS.
pub const IQ4_XS_BYTES: usize = 136;

const _: () = assert!(IQ4_NL_BYTES == 2 + IQ4_NL_LEN / 2);
const _: () = assert!(IQ4_XS_BYTES == 2 + 2 + IQ4_XS_LEN / 64 + IQ4_XS_LEN / 2);
const _: () = assert!(IQ4_NL_BYTES == TensorType::Iq4Nl.block_bytes() as usize);
const _: () = assert!(IQ4_NL_LEN == TensorType::Iq4Nl.block_len() as usize);
const _: () = assert!(IQ4_XS_BYTES == TensorType::Iq4Xs.block_bytes() as usize);
const _: () = assert!(IQ4_XS_LEN == TensorType::Iq4Xs.block_len() as usize);

/// What the sixteen codes mean.
pub const LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

static FLOATS: [f32; 16] = floats(&LEVELS);

/// Reads one block of IQ4_NL.
#[inline(always)]
pub fn decode_iq4_nl(block: &[u8; IQ4_NL_BYTES], out: &mut [f32; IQ4_NL_LEN]) {
    let d = f16_at::<0, _>(block);
    scale_levels(d, &FLOATS, field::<2, 16, _>(block), out);
}

/// Reads one block of IQ4_XS.
#[inline(always)]
pub fn decode_iq4_xs(block: &[u8; IQ4_XS_BYTES], out: &mut [f32; IQ4_XS_LEN]) {
    let d = f16_at::<0, _>(block);
    let high = u16::from_le_bytes(*field::<2, 2, _>(block));
    let low = field::<4, 4, _>(block);
    let qs = field::<8, 128, _>(block).as_chunks::<16>().0;
    for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = (low[s / 2] >> (4 * (s % 2))) & 0xf;
        let scale = low | ((high >> (2 * s) & 3) << 4) as u8;
        scale_levels(d * f32::from(scale as i8 - 32), &FLOATS, &qs[s], out);
    }
}

/// How many of the midpoints between neighbouring levels lie below each value times `inverse`: its
/// code.
#[inline(always)]
fn codes(values: &[f32; 32], inverse: f32) -> [u8; 32] {
    let mut codes = [0; 32];
    for i in 1..LEVELS.len() {
        let middle = 0.5 * (f32::from(LEVELS[i - 1]) + f32::from(LEVELS[i]));
        for (code, x) in codes.iter_mut().zip(values) {
            *code += u8::from(x * inverse > middle);
        }
    }
    codes
}

/// The sixteen levels.
struct Uneven;

impl Levels for Uneven {
    const LOW: f32 = -127.0;
    const HIGH: f32 = 113.0;
    const SPREAD: f32 = 0.2;

    #[inline(always)]
    fn level(value: f32) -> f32 {
        let mut level = Self::LOW;
        for i in 1..LEVELS.len() {
            let (a, b) = (f32::from(LEVELS[i - 1]), f32::from(LEVELS[i]));
            level = if value > 0.5 * (a + b) { b } else { level };
        }
        level
    }
}

/// Writes one block of IQ4_NL.
#[inline(always)]
pub fn encode_iq4_nl(
    values: &[f32; IQ4_NL_LEN],
    importance: Option<&[f32; IQ4_NL_LEN]>,
    block: &mut [u8; IQ4_NL_BYTES],
) {
    let d = fit_scale::<Uneven, IQ4_NL_LEN>(values, &weights(values, importance));
    let d = f16::from_f32(d).to_f32();
    put_f16::<0, _>(block, d);
    put::<2, 16, _>(block, pairs(&codes(values, reciprocal(d))));
}

/// Writes one block of IQ4_XS.
#[inline(always)]
pub fn encode_iq4_xs(
    values: &[f32; IQ4_XS_LEN],
    importance: Option<&[f32; IQ4_XS_LEN]>,
    block: &mut [u8; IQ4_XS_BYTES],
) {
    let found = symmetric::<Uneven, 8, 32>(values, importance, 32.0);
    let mut high = 0_u16;
    let mut low = [0; 4];
    let mut qs = [0; 128];
    let subs = values.as_chunks::<32>().0.iter().zip(qs.as_chunks_mut().0);
    for (s, (values, qs)) in subs.enumerate() {
        let scale = (found.scales[s] + 32) as u8;
        high |= u16::from(scale >> 4) << (2 * s);
        low[s / 2] |= (scale & 0xf) << (4 * (s % 2));
        let inverse = reciprocal(found.d * f32::from(found.scales[s]));
        *qs = pairs(&codes(values, inverse));
    }
    put_f16::<0, _>(block, found.d);
    put::<2, 2, _>(block, high.to_le_bytes());
    put::<4, 4, _>(block, low);
    put::<8, 128, _>(block, qs);
}

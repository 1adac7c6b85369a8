//! MXFP4: 32 numbers of the 4-bit float E2M1 with an 8-bit power of two.
//!
//! 17 bytes:
//! - 0: `e`, the exponent, E8M0: `2^(e - 127)`
//! - 1: `qs`, 16 bytes; byte `j` holds element `j` in its low half and element `16 + j` in its
//!   high half. Bit 3 is the sign
//!
//! `x = 2^(e - 128) * level[q]`: the levels here are twice those of E2M1, hence the one less in the
//! exponent. An `e` of 255, NaN in the OCP specification, is read as a power of two like the others,
//! as ggml does. Source: OCP Microscaling Formats (MX) 1.0, sections 5.3.3 and 5.4.1.

use super::q4::pairs;
use super::rounding::largest;
use super::tables::{floats, scale_levels};
use super::{field, put};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 32;
/// Bytes in a block.
pub const BYTES: usize = 17;

const _: () = assert!(BYTES == 1 + LEN / 2);
const _: () = assert!(BYTES == TensorType::Mxfp4.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Mxfp4.block_len() as usize);

/// What the sixteen codes mean, doubled.
pub const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

static FLOATS: [f32; 16] = floats(&LEVELS);

/// `2^(e - 128)`; the lowest two are subnormal.
#[inline(always)]
pub fn half_scale(e: u8) -> f32 {
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        _ => (u32::from(e) - 1) << 23,
    })
}

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = half_scale(block[0]);
    let qs = field::<1, 16, _>(block);
    scale_levels(d, &FLOATS, qs, out);
}

/// Writes one block: the exponent is that of the largest magnitude less two, as the OCP
/// specification proposes, and each number takes the nearest level, the lower code in a tie.
pub fn encode_block(
    values: &[f32; LEN],
    _importance: Option<&[f32; LEN]>,
    block: &mut [u8; BYTES],
) {
    let max = largest(values).abs();
    // The logarithm is rounded to f32, as gguf-py has it: just below a power of two it is that power.
    let e = if max > 0.0 {
        (f64::from(max).log2() as f32).floor() + 125.0
    } else {
        0.0
    } as u8;
    let d = half_scale(e);
    let nearest = |x: f32| {
        let mut best = (f32::INFINITY, 0);
        for (code, &level) in LEVELS.iter().enumerate() {
            let error = (d * f32::from(level) - x).abs();
            if error < best.0 {
                best = (error, code as u8);
            }
        }
        best.1
    };
    put::<0, 1, _>(block, [e]);
    put::<1, 16, _>(block, pairs(&values.map(nearest)));
}

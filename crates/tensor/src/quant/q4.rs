//! Q4_0 and Q4_1: 32 numbers of 4 bits with a scale, Q4_1 with a minimum too.
//!
//! Q4_0, 18 bytes:
//! - 0: `d`, f16
//! - 2: `qs`, 16 bytes; byte `j` holds element `j` in its low half and element `16 + j` in its
//!   high half
//!
//! `x = d * (q - 8)`.
//!
//! Q4_1, 20 bytes:
//! - 0: `d`, f16
//! - 2: `m`, f16
//! - 4: `qs`, as in Q4_0
//!
//! `x = d * q + m`.

use super::rounding::{cut, largest, min_max, reciprocal};
use super::search::{Levels, fit_line, fit_scale, nearest, weights};
use super::{f16_at, field, put, put_f16};
use half::f16;
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 32;
/// Bytes in a block of Q4_0.
pub const Q4_0_BYTES: usize = 18;
/// Bytes in a block of Q4_1.
pub const Q4_1_BYTES: usize = 20;

const _: () = assert!(Q4_0_BYTES == 2 + LEN / 2);
const _: () = assert!(Q4_1_BYTES == 2 + 2 + LEN / 2);
const _: () = assert!(Q4_0_BYTES == TensorType::Q4_0.block_bytes() as usize);
const _: () = assert!(Q4_1_BYTES == TensorType::Q4_1.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q4_0.block_len() as usize);
const _: () = assert!(LEN == TensorType::Q4_1.block_len() as usize);

/// Reads one block of Q4_0.
#[inline(always)]
pub fn decode_q4_0(block: &[u8; Q4_0_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 16, _>(block);
    for (j, &q) in qs.iter().enumerate() {
        out[j] = d * f32::from((q & 0xf) as i8 - 8);
        out[16 + j] = d * f32::from((q >> 4) as i8 - 8);
    }
}

/// Reads one block of Q4_1.
#[inline(always)]
pub fn decode_q4_1(block: &[u8; Q4_1_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let m = f16_at::<2, _>(block);
    let qs = field::<4, 16, _>(block);
    for (j, &q) in qs.iter().enumerate() {
        out[j] = d * f32::from(q & 0xf) + m;
        out[16 + j] = d * f32::from(q >> 4) + m;
    }
}

/// The integers from -8 to 7.
struct Eights;

impl Levels for Eights {
    const LOW: f32 = -8.0;
    const HIGH: f32 = 7.0;
    const SPREAD: f32 = 0.15;

    #[inline(always)]
    fn level(value: f32) -> f32 {
        nearest(value.clamp(Self::LOW, Self::HIGH))
    }
}

/// Writes one block of Q4_0: the element of largest magnitude becomes -8 times the scale, or, where the
/// importance is known, the scale leaves the least weighted error.
#[inline(always)]
pub fn encode_q4_0(
    values: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    block: &mut [u8; Q4_0_BYTES],
) {
    let d = match importance {
        None => largest(values) / -8.0,
        Some(_) => round(fit_scale::<Eights, LEN>(
            values,
            &weights(values, importance),
        )),
    };
    let inverse = reciprocal(d);
    put_f16::<0, _>(block, d);
    let qs = values.map(|x| cut(x * inverse + 8.5, 15));
    put::<2, 16, _>(block, pairs(&qs));
}

/// Writes one block of Q4_1: the smallest element becomes 0 and the largest 15, or, where the importance
/// is known, scale and minimum leave the least weighted error.
#[inline(always)]
pub fn encode_q4_1(
    values: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    block: &mut [u8; Q4_1_BYTES],
) {
    let (d, min) = line(values, importance, 15);
    let inverse = reciprocal(d);
    put_f16::<0, _>(block, d);
    put_f16::<2, _>(block, min);
    let qs = values.map(|x| cut((x - min) * inverse + 0.5, 15));
    put::<4, 16, _>(block, pairs(&qs));
}

/// Scale and minimum of codes from 0 to `top`.
#[inline(always)]
pub(super) fn line(values: &[f32; LEN], importance: Option<&[f32; LEN]>, top: u8) -> (f32, f32) {
    match importance {
        None => {
            let (min, max) = min_max(values);
            ((max - min) / f32::from(top), min)
        }
        Some(_) => {
            let (d, min) = fit_line(values, &weights(values, importance), top);
            (round(d), round(-min))
        }
    }
}

/// The nearest number that f16 holds: codes are then chosen for the scale that is stored.
#[inline(always)]
pub(super) fn round(value: f32) -> f32 {
    let limit = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-limit, limit)).to_f32()
}

/// Packs the low four bits of 32 numbers as `qs` has them.
pub(super) fn pairs(qs: &[u8; LEN]) -> [u8; LEN / 2] {
    std::array::from_fn(|j| (qs[j] & 0xf) | (qs[16 + j] << 4))
}

//! Q5_0 and Q5_1: 32 numbers of 5 bits with a scale, Q5_1 with a minimum too.
//!
//! Q5_0, 22 bytes:
//! - 0: `d`, f16
//! - 2: `qh`, u32; bit `i` is the fifth bit of element `i`
//! - 6: `qs`, 16 bytes; byte `j` holds the low four bits of element `j` in its low half and of
//!   element `16 + j` in its high half
//!
//! `x = d * (q - 16)`.
//!
//! Q5_1, 24 bytes:
//! - 0: `d`, f16
//! - 2: `m`, f16
//! - 4: `qh`, as in Q5_0
//! - 8: `qs`, as in Q5_0
//!
//! `x = d * q + m`.

use super::q4::{line, pairs, round};
use super::rounding::{cut, largest, reciprocal};
use super::search::{Levels, fit_scale, nearest, weights};
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 32;
/// Bytes in a block of Q5_0.
pub const Q5_0_BYTES: usize = 22;
/// Bytes in a block of Q5_1.
pub const Q5_1_BYTES: usize = 24;

const _: () = assert!(Q5_0_BYTES == 2 + LEN / 8 + LEN / 2);
const _: () = assert!(Q5_1_BYTES == 2 + 2 + LEN / 8 + LEN / 2);
const _: () = assert!(Q5_0_BYTES == TensorType::Q5_0.block_bytes() as usize);
const _: () = assert!(Q5_1_BYTES == TensorType::Q5_1.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q5_0.block_len() as usize);
const _: () = assert!(LEN == TensorType::Q5_1.block_len() as usize);

/// Reads one block of Q5_0.
#[inline(always)]
pub fn decode_q5_0(block: &[u8; Q5_0_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = fives(field::<2, 4, _>(block), field::<6, 16, _>(block));
    for (value, q) in out.iter_mut().zip(&qs) {
        *value = d * (q - 16) as f32;
    }
}

/// Reads one block of Q5_1.
#[inline(always)]
pub fn decode_q5_1(block: &[u8; Q5_1_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let m = f16_at::<2, _>(block);
    let qs = fives(field::<4, 4, _>(block), field::<8, 16, _>(block));
    for (value, q) in out.iter_mut().zip(&qs) {
        *value = d * *q as f32 + m;
    }
}

/// Joins the fifth bits to the low four: 32 numbers from 0 to 31, as wide as the shifts that part the
/// bits.
#[inline(always)]
fn fives(high: &[u8; 4], low: &[u8; 16]) -> [i32; LEN] {
    let high = i32::from_le_bytes(*high);
    let mut qs = [0; LEN];
    for j in 0..16 {
        qs[j] = i32::from(low[j] & 0xf) | (high >> j & 1) << 4;
        qs[16 + j] = i32::from(low[j] >> 4) | (high >> (16 + j) & 1) << 4;
    }
    qs
}

/// The integers from -16 to 15.
struct Sixteens;

impl Levels for Sixteens {
    const LOW: f32 = -16.0;
    const HIGH: f32 = 15.0;
    const SPREAD: f32 = 0.08;

    #[inline(always)]
    fn level(value: f32) -> f32 {
        nearest(value.clamp(Self::LOW, Self::HIGH))
    }
}

/// Writes one block of Q5_0: the element of largest magnitude becomes -16 times the scale, or, where the
/// importance is known, the scale leaves the least weighted error.
#[inline(always)]
pub fn encode_q5_0(
    values: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    block: &mut [u8; Q5_0_BYTES],
) {
    let d = match importance {
        None => largest(values) / -16.0,
        Some(_) => round(fit_scale::<Sixteens, LEN>(
            values,
            &weights(values, importance),
        )),
    };
    let inverse = reciprocal(d);
    let qs = values.map(|x| cut(x * inverse + 16.5, 31));
    put_f16::<0, _>(block, d);
    put::<2, 4, _>(block, fifth_bits(&qs));
    put::<6, 16, _>(block, pairs(&qs));
}

/// Writes one block of Q5_1: the smallest element becomes 0 and the largest 31, or, where the importance
/// is known, scale and minimum leave the least weighted error.
#[inline(always)]
pub fn encode_q5_1(
    values: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    block: &mut [u8; Q5_1_BYTES],
) {
    let (d, min) = line(values, importance, 31);
    let inverse = reciprocal(d);
    let qs = values.map(|x| cut((x - min) * inverse + 0.5, 31));
    put_f16::<0, _>(block, d);
    put_f16::<2, _>(block, min);
    put::<4, 4, _>(block, fifth_bits(&qs));
    put::<8, 16, _>(block, pairs(&qs));
}

/// The fifth bits of 32 numbers as `qh` has them.
fn fifth_bits(qs: &[u8; LEN]) -> [u8; 4] {
    let bits = (0..LEN).fold(0, |bits, i| bits | u32::from(qs[i] >> 4) << i);
    bits.to_le_bytes()
}

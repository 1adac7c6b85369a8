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
use super::{f16_at, field, put, put_f16};
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

/// Writes one block of Q4_0: the element of largest magnitude becomes -8 times the scale.
pub fn encode_q4_0(values: &[f32; LEN], block: &mut [u8; Q4_0_BYTES]) {
    let d = largest(values) / -8.0;
    let inverse = reciprocal(d);
    put_f16::<0, _>(block, d);
    let qs = values.map(|x| cut(x * inverse + 8.5, 15));
    put::<2, 16, _>(block, pairs(&qs));
}

/// Writes one block of Q4_1: the smallest element becomes 0 and the largest 15.
pub fn encode_q4_1(values: &[f32; LEN], block: &mut [u8; Q4_1_BYTES]) {
    let (min, max) = min_max(values);
    let d = (max - min) / 15.0;
    let inverse = reciprocal(d);
    put_f16::<0, _>(block, d);
    put_f16::<2, _>(block, min);
    let qs = values.map(|x| cut((x - min) * inverse + 0.5, 15));
    put::<4, 16, _>(block, pairs(&qs));
}

/// Packs the low four bits of 32 numbers as `qs` has them.
pub(super) fn pairs(qs: &[u8; LEN]) -> [u8; LEN / 2] {
    std::array::from_fn(|j| (qs[j] & 0xf) | (qs[16 + j] << 4))
}

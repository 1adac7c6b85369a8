//! Q8_0: 32 numbers of 8 bits and one scale.
//!
//! 34 bytes:
//! - 0: `d`, f16
//! - 2: `qs`, 32 signed bytes
//!
//! `x = d * q`.

use super::rounding::{largest, reciprocal};
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 32;
/// Bytes in a block.
pub const BYTES: usize = 34;

const _: () = assert!(BYTES == 2 + LEN);
const _: () = assert!(BYTES == TensorType::Q8_0.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q8_0.block_len() as usize);

/// Reads one block.
#[inline(always)]
pub fn decode_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 32, _>(block);
    for (value, &q) in out.iter_mut().zip(qs) {
        *value = f32::from(q as i8) * d;
    }
}

/// Writes one block: the element of largest magnitude becomes 127 or -127.
#[inline(always)]
pub fn encode_block(
    values: &[f32; LEN],
    _importance: Option<&[f32; LEN]>,
    block: &mut [u8; BYTES],
) {
    let d = largest(values).abs() / 127.0;
    let inverse = reciprocal(d);
    put_f16::<0, _>(block, d);
    put::<2, 32, _>(block, values.map(|x| (x * inverse).round() as i8 as u8));
}

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

use super::{f16_at, field};
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
#[inline]
pub fn decode_q5_0(block: &[u8; Q5_0_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = fives(field::<2, 4, _>(block), field::<6, 16, _>(block));
    for (value, q) in out.iter_mut().zip(qs) {
        *value = d * f32::from(q as i8 - 16);
    }
}

/// Reads one block of Q5_1.
#[inline]
pub fn decode_q5_1(block: &[u8; Q5_1_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let m = f16_at::<2, _>(block);
    let qs = fives(field::<4, 4, _>(block), field::<8, 16, _>(block));
    for (value, q) in out.iter_mut().zip(qs) {
        *value = d * f32::from(q) + m;
    }
}

/// Joins the fifth bits to the low four: 32 numbers from 0 to 31.
#[inline]
fn fives(high: &[u8; 4], low: &[u8; 16]) -> [u8; LEN] {
    let high = u32::from_le_bytes(*high);
    let mut qs = [0; LEN];
    for (j, &low) in low.iter().enumerate() {
        qs[j] = (low & 0xf) | ((high >> j & 1) << 4) as u8;
        qs[16 + j] = (low >> 4) | ((high >> (16 + j) & 1) << 4) as u8;
    }
    qs
}

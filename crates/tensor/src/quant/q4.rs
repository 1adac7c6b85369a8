//! Q4_0: 32 numbers of 4 bits and one scale.
//!
//! Q4_0, 18 bytes:
//! - 0: `d`, f16
//! - 2: `qs`, 16 bytes; byte `j` holds element `j` in its low half and element `16 + j` in its
//!   high half
//!
//! `x = d * (q - 8)`.

use super::{f16_at, field};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 32;
/// Bytes in a block of Q4_0.
pub const Q4_0_BYTES: usize = 18;

const _: () = assert!(Q4_0_BYTES == 2 + LEN / 2);
const _: () = assert!(Q4_0_BYTES == TensorType::Q4_0.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Q4_0.block_len() as usize);

/// Reads one block of Q4_0.
#[inline]
pub fn decode_q4_0(block: &[u8; Q4_0_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<0, _>(block);
    let qs = field::<2, 16, _>(block);
    for (j, &q) in qs.iter().enumerate() {
        out[j] = d * f32::from((q & 0xf) as i8 - 8);
        out[16 + j] = d * f32::from((q >> 4) as i8 - 8);
    }
}

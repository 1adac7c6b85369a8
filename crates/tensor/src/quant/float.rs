//! F32, F16 and BF16: a block is one number, little-endian.
//!
//! BF16 is the upper half of a binary32. Reading either half-width type is exact.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Numbers converted at a time: enough for the vector conversion, small enough for the stack.
const STEP: usize = 256;

/// Reads binary32 numbers: `blocks` holds four bytes for each element of `out`.
pub fn decode_f32(blocks: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(blocks.as_chunks().0) {
        *value = f32::from_le_bytes(*bytes);
    }
}

/// Reads binary16 numbers: `blocks` holds two bytes for each element of `out`.
pub fn decode_f16(blocks: &[u8], out: &mut [f32]) {
    let mut halves = [f16::ZERO; STEP];
    for (out, bytes) in out.chunks_mut(STEP).zip(blocks.chunks(2 * STEP)) {
        let halves = &mut halves[..out.len()];
        for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(out);
    }
}

/// Reads bfloat16 numbers: `blocks` holds two bytes for each element of `out`.
pub fn decode_bf16(blocks: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(blocks.as_chunks().0) {
        // Not `half::bf16::to_f32`, which quiets a signalling NaN: a shift alone stays a plain vector loop.
        *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

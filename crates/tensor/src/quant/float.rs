//! F32, F16 and BF16: a block is one number, little-endian.
//!
//! BF16 is the upper half of a binary32. Reading either half-width type is exact; writing rounds to
//! the nearest, ties to even.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

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

/// Writes binary32 numbers: `out` holds four bytes for each of `values`.
pub fn encode_f32(values: &[f32], out: &mut [u8]) {
    for (value, bytes) in values.iter().zip(out.as_chunks_mut().0) {
        *bytes = value.to_le_bytes();
    }
}

/// Writes binary16 numbers: `out` holds two bytes for each of `values`. Beyond 65504 is infinite.
pub fn encode_f16(values: &[f32], out: &mut [u8]) {
    let mut halves = [f16::ZERO; STEP];
    for (values, bytes) in values.chunks(STEP).zip(out.chunks_mut(2 * STEP)) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        for (half, bytes) in halves.iter().zip(bytes.as_chunks_mut().0) {
            *bytes = half.to_le_bytes();
        }
    }
}

/// Writes bfloat16 numbers: `out` holds two bytes for each of `values`.
pub fn encode_bf16(values: &[f32], out: &mut [u8]) {
    for (value, bytes) in values.iter().zip(out.as_chunks_mut().0) {
        *bytes = bf16::from_f32(*value).to_le_bytes();
    }
}

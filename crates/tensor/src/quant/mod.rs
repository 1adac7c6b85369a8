//! Quantised blocks: how each storage type lays its numbers out in bytes.
//!
//! One file a family of formats. A file names the byte offsets of each field and holds
//! `decode_block` and, where the type can be made here, `encode_block`; both are scalar and are
//! the meaning that every kernel is tested against. Source of the layouts: the GGUF specification
//! and ggml's block structures (`ggml-common.h`). Decoding multiplies and adds in the order of
//! gguf-py's `gguf.quants`, so that results are equal to it bit for bit (a NaN is any NaN).
//!
//! All numbers are little-endian. "f16" is IEEE 754 binary16.

mod encoder;
mod error;
pub mod float;
pub mod iq1;
pub mod iq2;
pub mod iq3;
pub mod iq4;
pub mod mxfp4;
pub mod q2_k;
pub mod q3_k;
pub mod q4;
pub mod q4_k;
pub mod q5;
pub mod q5_k;
pub mod q6_k;
pub mod q8;
mod rounding;
mod search;
mod spread;
mod tables;
pub mod ternary;

pub use encoder::Encoder;
pub use error::QuantError;

use half::f16;
use ingle_formats::TensorType;

/// Reads `blocks` of type `ty` into `out`, in the order in which they are stored.
///
/// Every byte pattern has a meaning: a scale that is infinite or NaN gives such values, and
/// nothing else.
///
/// # Errors
/// [`QuantError::PartialBlock`] where `blocks` is not whole blocks and
/// [`QuantError::WrongLength`] where `out` does not hold exactly their elements; `out` is then
/// untouched.
pub fn decode(ty: TensorType, blocks: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    check_lengths(ty, blocks.len(), out.len())?;
    decode_whole(ty, blocks, out);
    Ok(())
}

/// As [`decode`], for lengths that are known to fit: `blocks` are whole and `out` holds exactly their
/// elements. Always inlined, so that a kernel gets it compiled for its own instruction set.
#[inline(always)]
pub fn decode_whole(ty: TensorType, blocks: &[u8], out: &mut [f32]) {
    // A macro, not a function that takes a function: what is called through `Fn` is compiled for the
    // baseline instruction set.
    macro_rules! each {
        ($decode:path) => {
            for (block, out) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                $decode(block, out);
            }
        };
    }
    match ty {
        TensorType::F32 => float::decode_f32(blocks, out),
        TensorType::F16 => float::decode_f16(blocks, out),
        TensorType::Bf16 => float::decode_bf16(blocks, out),
        TensorType::Q4_0 => each!(q4::decode_q4_0),
        TensorType::Q4_1 => each!(q4::decode_q4_1),
        TensorType::Q5_0 => each!(q5::decode_q5_0),
        TensorType::Q5_1 => each!(q5::decode_q5_1),
        TensorType::Q8_0 => each!(q8::decode_block),
        TensorType::Q2K => each!(q2_k::decode_block),
        TensorType::Q3K => each!(q3_k::decode_block),
        TensorType::Q4K => each!(q4_k::decode_block),
        TensorType::Q5K => each!(q5_k::decode_block),
        TensorType::Q6K => each!(q6_k::decode_block),
        TensorType::Iq1S => each!(iq1::decode_iq1_s),
        TensorType::Iq1M => each!(iq1::decode_iq1_m),
        TensorType::Iq2Xxs => each!(iq2::decode_iq2_xxs),
        TensorType::Iq2Xs => each!(iq2::decode_iq2_xs),
        TensorType::Iq2S => each!(iq2::decode_iq2_s),
        TensorType::Iq3Xxs => each!(iq3::decode_iq3_xxs),
        TensorType::Iq3S => each!(iq3::decode_iq3_s),
        TensorType::Iq4Nl => each!(iq4::decode_iq4_nl),
        TensorType::Iq4Xs => each!(iq4::decode_iq4_xs),
        TensorType::Tq1_0 => each!(ternary::decode_tq1_0),
        TensorType::Tq2_0 => each!(ternary::decode_tq2_0),
        TensorType::Mxfp4 => each!(mxfp4::decode_block),
    }
}

/// Writes `values` as blocks of type `ty` into `out`; [`Encoder`] does the same, faster.
///
/// F32 is exact; F16 and BF16 round to the nearest, ties to even. The simple types (Q4_0 to Q8_0,
/// TQ1_0, TQ2_0, MXFP4) are equal to gguf-py bit for bit. The others choose the scales that leave a
/// small weighted square error.
///
/// # Errors
/// [`QuantError::NoEncoder`] for the types that are only read,
/// [`QuantError::PartialBlock`] and [`QuantError::WrongLength`] as in [`decode`], and
/// [`QuantError::OutOfRange`] where a value is not finite or beyond f16, except in F32, F16 and
/// BF16, which hold infinities and NaN themselves. `out` is untouched on an error.
pub fn encode(ty: TensorType, values: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    check_encode(ty, values, None, out)?;
    encode_whole(ty, values, None, out);
    Ok(())
}

/// What is checked before blocks are made.
fn check_encode(
    ty: TensorType,
    values: &[f32],
    importance: Option<&[f32]>,
    out: &[u8],
) -> Result<(), QuantError> {
    check_lengths(ty, out.len(), values.len())?;
    if let Some(importance) = importance {
        check_lengths(ty, out.len(), importance.len())?;
    }
    if !can_encode(ty) {
        return Err(QuantError::NoEncoder { ty });
    }
    if ty.block_len() > 1 {
        check_values(ty, values)?;
    }
    Ok(())
}

/// Whether blocks of this type can be made here.
pub fn can_encode(ty: TensorType) -> bool {
    !matches!(
        ty,
        TensorType::Iq1S
            | TensorType::Iq1M
            | TensorType::Iq2Xxs
            | TensorType::Iq2Xs
            | TensorType::Iq2S
            | TensorType::Iq3Xxs
            | TensorType::Iq3S
    )
}

/// As [`encode`], for lengths and values that are known to fit. Always inlined, so that a leaf gets it
/// compiled for its own instruction set.
#[inline(always)]
pub(crate) fn encode_whole(
    ty: TensorType,
    values: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
) {
    macro_rules! each {
        ($encode:path) => {{
            let (values, out) = (values.as_chunks().0, out.as_chunks_mut().0);
            let importance = importance.map(|importance| importance.as_chunks().0);
            for (i, (values, block)) in values.iter().zip(out).enumerate() {
                $encode(values, importance.and_then(|w| w.get(i)), block);
            }
        }};
    }
    match ty {
        TensorType::F32 => float::encode_f32(values, out),
        TensorType::F16 => float::encode_f16(values, out),
        TensorType::Bf16 => float::encode_bf16(values, out),
        TensorType::Q4_0 => each!(q4::encode_q4_0),
        TensorType::Q4_1 => each!(q4::encode_q4_1),
        TensorType::Q5_0 => each!(q5::encode_q5_0),
        TensorType::Q5_1 => each!(q5::encode_q5_1),
        TensorType::Q8_0 => each!(q8::encode_block),
        TensorType::Tq1_0 => each!(ternary::encode_tq1_0),
        TensorType::Tq2_0 => each!(ternary::encode_tq2_0),
        TensorType::Mxfp4 => each!(mxfp4::encode_block),
        TensorType::Q2K => each!(q2_k::encode_block),
        TensorType::Q3K => each!(q3_k::encode_block),
        TensorType::Q4K => each!(q4_k::encode_block),
        TensorType::Q5K => each!(q5_k::encode_block),
        TensorType::Q6K => each!(q6_k::encode_block),
        TensorType::Iq4Nl => each!(iq4::encode_iq4_nl),
        TensorType::Iq4Xs => each!(iq4::encode_iq4_xs),
        _ => {} // refused before: see `can_encode`
    }
}

/// Whether every value fits the f16 scale of a block.
fn check_values(ty: TensorType, values: &[f32]) -> Result<(), QuantError> {
    let limit = f16::MAX.to_f32();
    match values.iter().position(|v| v.abs() > limit || v.is_nan()) {
        Some(index) => Err(QuantError::OutOfRange {
            ty,
            index,
            value: values[index],
        }),
        None => Ok(()),
    }
}

/// Whether `bytes` bytes are whole blocks that hold exactly `elements` elements.
fn check_lengths(ty: TensorType, bytes: usize, elements: usize) -> Result<(), QuantError> {
    let block_bytes = ty.block_bytes() as usize;
    if !bytes.is_multiple_of(block_bytes) {
        return Err(QuantError::PartialBlock { ty, bytes });
    }
    let expected = (bytes / block_bytes).checked_mul(ty.block_len() as usize);
    if expected != Some(elements) {
        return Err(QuantError::WrongLength {
            ty,
            bytes,
            elements,
        });
    }
    Ok(())
}

/// The `N` bytes of `block` that begin at `AT`. A field outside the block does not compile.
#[inline(always)]
fn field<const AT: usize, const N: usize, const B: usize>(block: &[u8; B]) -> &[u8; N] {
    const { assert!(AT + N <= B, "a field lies outside its block") };
    block[AT..].first_chunk().unwrap_or(&[0; N])
}

/// The f16 at byte `AT` of `block`.
#[inline(always)]
fn f16_at<const AT: usize, const B: usize>(block: &[u8; B]) -> f32 {
    f16::from_le_bytes(*field::<AT, 2, B>(block)).to_f32()
}

/// Writes `bytes` into `block` from byte `AT`. A field outside the block does not compile.
fn put<const AT: usize, const N: usize, const B: usize>(block: &mut [u8; B], bytes: [u8; N]) {
    const { assert!(AT + N <= B, "a field lies outside its block") };
    block[AT..AT + N].copy_from_slice(&bytes);
}

/// Writes `value` as f16, rounded to the nearest, at byte `AT` of `block`.
fn put_f16<const AT: usize, const B: usize>(block: &mut [u8; B], value: f32) {
    put::<AT, 2, B>(block, f16::from_f32(value).to_le_bytes());
}

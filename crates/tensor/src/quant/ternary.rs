//! TQ1_0 and TQ2_0: 256 numbers from -1, 0, 1 and one scale.
//!
//! TQ1_0, 54 bytes; a byte holds five digits to base 3 (the last four bytes hold four), as the
//! fraction `byte / 256`: multiplied by `3^n` modulo 256, the next digit is the integer part of three
//! times it.
//! - 0: 32 bytes; digit `n` of byte `l` is element `32 n + l`
//! - 32: 16 bytes; digit `n` of byte `l` is element `160 + 16 n + l`
//! - 48: `qh`, 4 bytes; digit `n` of byte `l` is element `240 + 4 n + l`
//! - 52: `d`, f16
//!
//! TQ2_0, 66 bytes:
//! - 0: `qs`, 64 bytes; a half of the block (128 elements) has 32 bytes, and bits `2 r` and
//!   `2 r + 1` of byte `l` are element `l` of the half's run `r` of 32
//! - 64: `d`, f16
//!
//! `x = d * (q - 1)`; in TQ2_0 a `q` of 3 is possible and means 2.

use super::rounding::{largest, reciprocal};
use super::{f16_at, field, put, put_f16};
use ingle_formats::TensorType;

/// Elements in a block.
pub const LEN: usize = 256;
/// Bytes in a block of TQ1_0.
pub const TQ1_0_BYTES: usize = 54;
/// Bytes in a block of TQ2_0.
pub const TQ2_0_BYTES: usize = 66;

const _: () = assert!(TQ1_0_BYTES == 32 + 16 + 4 + 2 && 5 * 32 + 5 * 16 + 4 * 4 == LEN);
const _: () = assert!(TQ2_0_BYTES == LEN / 4 + 2);
const _: () = assert!(TQ1_0_BYTES == TensorType::Tq1_0.block_bytes() as usize);
const _: () = assert!(TQ2_0_BYTES == TensorType::Tq2_0.block_bytes() as usize);
const _: () = assert!(LEN == TensorType::Tq1_0.block_len() as usize);
const _: () = assert!(LEN == TensorType::Tq2_0.block_len() as usize);

/// Reads one block of TQ1_0.
#[inline(always)]
pub fn decode_tq1_0(block: &[u8; TQ1_0_BYTES], out: &mut [f32; LEN]) {
    let d = f16_at::<52, _>(block);
    let (first, rest) = out.split_at_mut(160);
    let (second, third) = rest.split_at_mut(80);
    decode_digits(d, field::<0, 32, _>(block), first);
    decode_digits(d, field::<32, 16, _>(block), second);
    decode_digits(d, field::<48, 4, _>(block), third);
}

/// Digit `n` of byte `l` is element `N n + l` of `out`.
#[inline(always)]
fn decode_digits<const N: usize>(d: f32, bytes: &[u8; N], out: &mut [f32]) {
    let mut rest = *bytes;
    for out in out.as_chunks_mut::<N>().0 {
        for (value, rest) in out.iter_mut().zip(&mut rest) {
            let digit = (u16::from(*rest) * 3) >> 8;
            *value = d * f32::from(digit as i8 - 1);
            *rest = rest.wrapping_mul(3);
        }
    }
}

/// Reads one block of TQ2_0.
#[inline(always)]
pub fn decode_tq2_0(block: &[u8; TQ2_0_BYTES], out: &mut [f32; LEN]) {
    let qs = field::<0, 64, _>(block).as_chunks::<32>().0;
    let d = f16_at::<64, _>(block);
    for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let shift = run % 4 * 2;
        for (value, &q) in out.iter_mut().zip(&qs[run / 4]) {
            *value = d * f32::from(((q >> shift) & 3) as i8 - 1);
        }
    }
}

/// Writes one block of TQ1_0: the scale is the largest magnitude.
pub fn encode_tq1_0(
    values: &[f32; LEN],
    _importance: Option<&[f32; LEN]>,
    block: &mut [u8; TQ1_0_BYTES],
) {
    let (d, qs) = trits(values);
    put::<0, 32, _>(block, encode_digits::<32, 5>(&qs[..160]));
    put::<32, 16, _>(block, encode_digits::<16, 5>(&qs[160..240]));
    put::<48, 4, _>(block, encode_digits::<4, 4>(&qs[240..]));
    put_f16::<52, _>(block, d);
}

/// Writes one block of TQ2_0: the scale is the largest magnitude.
pub fn encode_tq2_0(
    values: &[f32; LEN],
    _importance: Option<&[f32; LEN]>,
    block: &mut [u8; TQ2_0_BYTES],
) {
    let (d, qs) = trits(values);
    let byte = |i: usize| {
        (0..4).fold(0, |byte, r| {
            byte | qs[i / 32 * 128 + r * 32 + i % 32] << (2 * r)
        })
    };
    put::<0, 64, _>(block, std::array::from_fn(byte));
    put_f16::<64, _>(block, d);
}

/// The scale and the numbers, 0 to 2.
fn trits(values: &[f32; LEN]) -> (f32, [u8; LEN]) {
    let d = largest(values).abs();
    let inverse = reciprocal(d);
    (d, values.map(|x| ((x * inverse).round() as i8 + 1) as u8))
}

/// The reverse of [`decode_digits`]: the fraction is rounded up, so that its digits come back.
fn encode_digits<const N: usize, const DIGITS: u32>(qs: &[u8]) -> [u8; N] {
    std::array::from_fn(|l| {
        let digits = qs[l..].iter().step_by(N).zip((0..5).rev());
        let number: u16 = digits
            .map(|(&q, power)| u16::from(q) * 3_u16.pow(power))
            .sum();
        (number * 256).div_ceil(243) as u8
    })
}

//! Activations to 8-bit integers.
//!
//! A block of 32 or 256 values becomes `q = round(x * (127 / max|x|))`, ties to even, with the
//! scale `max|x| / 127`. Sums of the integers go beside them, for weights that are stored with an
//! offset or a minimum.

use super::elementwise::greater;

/// Sums that a block of 256 carries: sixteen of 16 values, then eight of 32.
pub const SUMS_256: usize = 24;

/// Below this a block counts as zero: the inverse of its scale would overflow.
const SMALLEST: f32 = 1e-30;

/// Adding this to a number below 2^22 rounds it to an integer, ties to even.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// Quantises `x` (whole blocks of 32): one scale and one sum a block.
#[inline(always)]
pub fn blocks_of_32(x: &[f32], q: &mut [i8], scales: &mut [f32], sums: &mut [i16]) {
    let (x, _) = x.as_chunks::<32>();
    let (q, _) = q.as_chunks_mut::<32>();
    for (((x, q), scale), sum) in x.iter().zip(q).zip(scales).zip(sums) {
        *scale = block(x, q);
        *sum = sum_of(q);
    }
}

/// Quantises `x` (whole blocks of 256): one scale and [`SUMS_256`] sums a block.
#[inline(always)]
pub fn blocks_of_256(x: &[f32], q: &mut [i8], scales: &mut [f32], sums: &mut [i16]) {
    let (x, _) = x.as_chunks::<256>();
    let (q, _) = q.as_chunks_mut::<256>();
    let (sums, _) = sums.as_chunks_mut::<SUMS_256>();
    for (((x, q), scale), sums) in x.iter().zip(q).zip(scales).zip(sums) {
        *scale = block(x, q);
        let (sixteens, _) = q.as_chunks::<16>();
        for i in 0..16 {
            sums[i] = sum_of(&sixteens[i]);
        }
        for i in 0..8 {
            sums[16 + i] = sums[2 * i] + sums[2 * i + 1];
        }
    }
}

#[inline(always)]
fn sum_of<const N: usize>(q: &[i8; N]) -> i16 {
    let mut sum = 0;
    for q in q {
        sum += i16::from(*q);
    }
    sum
}

#[inline(always)]
fn block<const N: usize>(x: &[f32; N], q: &mut [i8; N]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (sixteens, _) = x.as_chunks::<16>();
    for x in sixteens {
        for i in 0..16 {
            lanes[i] = greater(x[i].abs(), lanes[i]);
        }
    }
    let mut largest = 0.0;
    for lane in lanes {
        largest = greater(lane, largest);
    }
    if largest < SMALLEST {
        q.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / largest;
    for i in 0..N {
        q[i] = (x[i] * inverse + ROUND).to_bits() as i8; // the integer stands in the low mantissa bits
    }
    largest / 127.0
}

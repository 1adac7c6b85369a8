//! The order of bits inside a block, as the kernels read them.
//!
//! In a file the fields of a block stand apart, and the bits of one sub-block lie across bytes that
//! belong to others too. Here a block becomes its sub-scales, one byte each, and then for each
//! sub-block in turn whatever bits its numbers have, so that a kernel goes over a block once, from
//! front to back, with one sum at a time. Nothing is lost: [`gather`] gives the file's bytes back.
//!
//! All of these are permutations of bits, done on whole words.

use crate::quant::q3_k::{pack_scales, scales};
use ingle_formats::TensorType;

/// The longest block in either order.
pub const LONGEST: usize = 256;

/// A block of `ty` in the kernels' order.
#[inline(always)]
pub fn spread<'a>(ty: TensorType, block: &'a [u8], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
    let to = &mut buffer[..];
    match ty {
        TensorType::Q5_0 => copy_fifths(to, block, 2, unshuffle),
        TensorType::Q5_1 => copy_fifths(to, block, 4, unshuffle),
        TensorType::Q2K => spread_q2_k(block, to),
        TensorType::Q3K => spread_q3_k(block, to),
        TensorType::Q4K => {
            spread_sub_scales(block, to);
            to[20..148].copy_from_slice(&block[16..144]);
        }
        TensorType::Q5K => spread_q5_k(block, to),
        TensorType::Q6K => spread_q6_k(block, to),
        TensorType::Iq4Xs => spread_iq4_xs(block, to),
        _ => return block,
    }
    &buffer[..]
}

/// The inverse of [`spread`].
#[inline(always)]
pub fn gather<'a>(
    ty: TensorType,
    from: &'a [u8; LONGEST],
    buffer: &'a mut [u8; LONGEST],
) -> &'a [u8] {
    let len = ty.block_bytes() as usize;
    let block = &mut buffer[..len];
    match ty {
        TensorType::Q5_0 => copy_fifths(block, &from[..len], 2, shuffle),
        TensorType::Q5_1 => copy_fifths(block, &from[..len], 4, shuffle),
        TensorType::Q2K => gather_q2_k(from, block),
        TensorType::Q3K => gather_q3_k(from, block),
        TensorType::Q4K => {
            gather_sub_scales(from, block);
            block[16..].copy_from_slice(&from[20..148]);
        }
        TensorType::Q5K => gather_q5_k(from, block),
        TensorType::Q6K => gather_q6_k(from, block),
        TensorType::Iq4Xs => gather_iq4_xs(from, block),
        _ => return &from[..len],
    }
    &buffer[..len]
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// Swaps the bits of `x` under `mask` with those `by` places above.
fn swap(x: u32, by: u32, mask: u32) -> u32 {
    let t = (x ^ (x >> by)) & mask;
    x ^ t ^ (t << by)
}

/// Bit `4 j + t` to bit `8 t + j`: a byte has the bits of every fourth element.
fn unshuffle(x: u32) -> u32 {
    let halve = |x| {
        let x = swap(swap(x, 1, 0x2222_2222), 2, 0x0c0c_0c0c);
        swap(swap(x, 4, 0x00f0_00f0), 8, 0x0000_ff00)
    };
    halve(halve(x))
}

/// The inverse of [`unshuffle`].
fn shuffle(x: u32) -> u32 {
    let join = |x| {
        let x = swap(swap(x, 8, 0x0000_ff00), 4, 0x00f0_00f0);
        swap(swap(x, 2, 0x0c0c_0c0c), 1, 0x2222_2222)
    };
    join(join(x))
}

/// A block of Q5_0 or Q5_1 whose fifth bits stand at `at`.
fn copy_fifths(to: &mut [u8], from: &[u8], at: usize, order: fn(u32) -> u32) {
    to[..from.len()].copy_from_slice(from);
    put(to, at, order(word(from, at)));
}

/// Bit `s` of byte `4 j + t` to bit `j` of byte `4 s + t`: the 32 bits of run `s` become a word. Its
/// own inverse.
fn transpose_bits(x: [u8; 32]) -> [u8; 32] {
    let mut out = [0; 32];
    for t in 0..4 {
        let rows = u64::from_le_bytes(std::array::from_fn(|j| x[4 * j + t]));
        let swap = |x: u64, by: u32, mask: u64| {
            let t = (x ^ (x >> by)) & mask;
            x ^ t ^ (t << by)
        };
        let rows = swap(rows, 7, 0x00aa_00aa_00aa_00aa);
        let rows = swap(rows, 14, 0x0000_cccc_0000_cccc);
        let rows = swap(rows, 28, 0x0000_0000_f0f0_f0f0);
        for (s, byte) in rows.to_le_bytes().into_iter().enumerate() {
            out[4 * s + t] = byte;
        }
    }
    out
}

/// Field `r` (2 bits) of byte `4 i + t` to field `i` of byte `4 r + t`: sixteen fields of run `r`
/// become a word. Its own inverse.
fn transpose_fields(mut w: [u32; 4]) -> [u32; 4] {
    let mut exchange = |a: usize, b: usize, by: u32, mask: u32| {
        let t = ((w[a] >> by) ^ w[b]) & mask;
        w[b] ^= t;
        w[a] ^= t << by;
    };
    exchange(0, 2, 4, 0x0f0f_0f0f);
    exchange(1, 3, 4, 0x0f0f_0f0f);
    exchange(0, 1, 2, 0x3333_3333);
    exchange(2, 3, 2, 0x3333_3333);
    w
}

/// Calls `copy(field words of four runs, sub-blocks they belong to)` for the 64 bytes in which
/// Q2_K, Q3_K and Q6_K keep two bits of each of 256 numbers.
fn fields(from: &[u8], mut put: impl FnMut(usize, u32)) {
    for (part, bytes) in from.as_chunks::<16>().0.iter().enumerate() {
        let words = transpose_fields(std::array::from_fn(|i| word(bytes, 4 * i)));
        for (run, word) in words.into_iter().enumerate() {
            put(part / 2 * 8 + run * 2 + part % 2, word);
        }
    }
}

/// The inverse of [`fields`]: `get` gives the word of a sub-block.
fn join_fields(to: &mut [u8], get: impl Fn(usize) -> u32) {
    for (part, bytes) in to.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let sub = |run| part / 2 * 8 + run * 2 + part % 2;
        let words = transpose_fields(std::array::from_fn(|run| get(sub(run))));
        for (i, word) in words.into_iter().enumerate() {
            put(bytes, 4 * i, word);
        }
    }
}

/// Scales with minimums as they are, a word a sub-block, the two scales of the block.
fn spread_q2_k(block: &[u8], to: &mut [u8]) {
    to[..16].copy_from_slice(&block[..16]);
    fields(&block[16..80], |sub, word| put(to, 16 + 4 * sub, word));
    to[80..84].copy_from_slice(&block[80..84]);
}

fn gather_q2_k(from: &[u8], block: &mut [u8]) {
    block.copy_from_slice(&from[..84]);
    join_fields(&mut block[16..80], |sub| word(from, 16 + 4 * sub));
}

/// Sixteen scales; for each run of 32 its third bits and the words of its two sub-blocks; the scale
/// of the block.
fn spread_q3_k(block: &[u8], to: &mut [u8]) {
    let signed = scales(&array(block, 96));
    to[..16].copy_from_slice(&signed.map(|scale| scale as u8));
    for (run, bits) in (transpose_bits(array(block, 0)).as_chunks::<4>().0.iter()).enumerate() {
        to[16 + 12 * run..20 + 12 * run].copy_from_slice(bits);
    }
    fields(&block[32..96], |sub, word| {
        put(to, 20 + sub / 2 * 12 + sub % 2 * 4, word);
    });
    to[112..114].copy_from_slice(&block[108..110]);
}

fn gather_q3_k(from: &[u8], block: &mut [u8]) {
    let runs = transpose_bits(std::array::from_fn(|i| from[16 + i / 4 * 12 + i % 4]));
    block[..32].copy_from_slice(&runs);
    join_fields(&mut block[32..96], |sub| {
        word(from, 20 + sub / 2 * 12 + sub % 2 * 4)
    });
    let signed = array::<16>(from, 0).map(|scale| scale as i8);
    block[96..108].copy_from_slice(&pack_scales(&signed));
    block[108..110].copy_from_slice(&from[112..114]);
}

const FOUR: u32 = 0x0f0f_0f0f;

/// The scales and minimums of Q4_K and Q5_K, a byte each.
fn spread_sub_scales(block: &[u8], to: &mut [u8]) {
    const SIX: u32 = 0x3f3f_3f3f;
    const UPPER: u32 = 0x3030_3030;
    let (low, low_min, high) = (word(block, 4), word(block, 8), word(block, 12));
    to[..4].copy_from_slice(&block[..4]);
    put(to, 4, low & SIX);
    put(to, 8, (high & FOUR) | ((low >> 2) & UPPER));
    put(to, 12, low_min & SIX);
    put(to, 16, ((high >> 4) & FOUR) | ((low_min >> 2) & UPPER));
}

fn gather_sub_scales(from: &[u8], block: &mut [u8]) {
    block[..4].copy_from_slice(&from[..4]);
    for i in 0..4 {
        let (low, high) = (from[4 + i], from[8 + i]);
        let (low_min, high_min) = (from[12 + i], from[16 + i]);
        block[4 + i] = low | (high >> 4) << 6;
        block[8 + i] = low_min | (high_min >> 4) << 6;
        block[12 + i] = (high & 15) | high_min << 4;
    }
}

/// Scales and minimums; for each 64 elements the fifth bits of two sub-blocks and their 32 bytes of
/// lower bits.
fn spread_q5_k(block: &[u8], to: &mut [u8]) {
    spread_sub_scales(block, to);
    let fifths = transpose_bits(array(block, 16));
    for (chunk, bits) in fifths.as_chunks::<8>().0.iter().enumerate() {
        let at = 20 + chunk * 40;
        to[at..at + 8].copy_from_slice(bits);
        to[at + 8..at + 40].copy_from_slice(&block[48 + chunk * 32..80 + chunk * 32]);
    }
}

fn gather_q5_k(from: &[u8], block: &mut [u8]) {
    gather_sub_scales(from, block);
    let fifths = std::array::from_fn(|i| from[20 + i / 8 * 40 + i % 8]);
    block[16..48].copy_from_slice(&transpose_bits(fifths));
    for chunk in 0..4 {
        let at = 28 + chunk * 40;
        block[48 + chunk * 32..80 + chunk * 32].copy_from_slice(&from[at..at + 32]);
    }
}

/// Sixteen scales; for each sub-block its upper bits and two words of lower bits; the scale of the
/// block.
fn spread_q6_k(block: &[u8], to: &mut [u8]) {
    to[..16].copy_from_slice(&block[192..208]);
    fields(&block[128..192], |sub, word| put(to, 16 + 12 * sub, word));
    for (i, bytes) in block[..128].as_chunks::<16>().0.iter().enumerate() {
        // Half, run (0 or 1) and half of the run.
        let sub = i / 4 * 8 + i % 4;
        let w: [u32; 4] = std::array::from_fn(|i| word(bytes, 4 * i));
        for pair in 0..2 {
            let (a, b, at) = (w[2 * pair], w[2 * pair + 1], 20 + 4 * pair);
            put(to, 12 * sub + at, (a & FOUR) | (b & FOUR) << 4);
            put(to, 12 * (sub + 4) + at, (a >> 4 & FOUR) | (b & !FOUR));
        }
    }
    to[208..210].copy_from_slice(&block[208..210]);
}

fn gather_q6_k(from: &[u8], block: &mut [u8]) {
    for (i, bytes) in block[..128].as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let sub = i / 4 * 8 + i % 4;
        for pair in 0..2 {
            let at = 20 + 4 * pair;
            let (low, high) = (word(from, 12 * sub + at), word(from, 12 * (sub + 4) + at));
            put(bytes, 8 * pair, (low & FOUR) | (high & FOUR) << 4);
            put(bytes, 8 * pair + 4, (low >> 4 & FOUR) | (high & !FOUR));
        }
    }
    join_fields(&mut block[128..192], |sub| word(from, 16 + 12 * sub));
    block[192..208].copy_from_slice(&from[..16]);
    block[208..210].copy_from_slice(&from[208..210]);
}

/// Eight signed scales, the quants as they are, the scale of the block.
fn spread_iq4_xs(block: &[u8], to: &mut [u8]) {
    let high = u16::from_le_bytes(array(block, 2));
    for s in 0..8 {
        let low = block[4 + s / 2] >> (4 * (s % 2)) & 15;
        let scale = low | ((high >> (2 * s) & 3) << 4) as u8;
        to[s] = scale.wrapping_sub(32);
    }
    to[8..136].copy_from_slice(&block[8..136]);
    to[136..138].copy_from_slice(&block[..2]);
}

fn gather_iq4_xs(from: &[u8], block: &mut [u8]) {
    block.copy_from_slice(&from[..136]);
    block[..2].copy_from_slice(&from[136..138]);
    let (mut high, mut low) = (0, [0; 4]);
    for s in 0..8 {
        let scale = from[s].wrapping_add(32);
        high |= u16::from(scale >> 4) << (2 * s);
        low[s / 2] |= (scale & 15) << (4 * (s % 2));
    }
    block[2..4].copy_from_slice(&high.to_le_bytes());
    block[4..8].copy_from_slice(&low);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TensorType; 8] = [
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q2K,
        TensorType::Q3K,
        TensorType::Q4K,
        TensorType::Q5K,
        TensorType::Q6K,
        TensorType::Iq4Xs,
    ];

    /// Every bit of a block comes back, alone and with its complement around it.
    #[test]
    fn gather_inverts_spread() {
        for ty in ALL {
            let len = ty.block_bytes() as usize;
            for bit in 0..len * 8 {
                for ground in [0u8, 0xff] {
                    let mut block = vec![ground; len];
                    block[bit / 8] ^= 1 << (bit % 8);
                    let (mut there, mut back) = ([0; LONGEST], [0; LONGEST]);
                    spread(ty, &block, &mut there);
                    assert_eq!(gather(ty, &there, &mut back), block, "{ty} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn bits_go_where_they_should() {
        for i in 0..32 {
            assert_eq!(unshuffle(1 << i), 1 << (i % 4 * 8 + i / 4), "bit {i}");
        }
        for (byte, bit) in (0..32).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut x = [0; 32];
            x[byte] = 1 << bit;
            let mut expected = [0; 32];
            expected[4 * bit + byte % 4] = 1 << (byte / 4);
            assert_eq!(transpose_bits(x), expected, "byte {byte} bit {bit}");
        }
        for (byte, field) in (0..16).flat_map(|byte| (0..4).map(move |field| (byte, field))) {
            let mut words = [0; 4];
            words[byte / 4] = 3 << (byte % 4 * 8 + 2 * field);
            let mut expected = [0; 4];
            expected[field] = 3 << (byte % 4 * 8 + byte / 4 * 2);
            assert_eq!(transpose_fields(words), expected);
        }
    }
}

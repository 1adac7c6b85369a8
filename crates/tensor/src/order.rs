//! The order of bits inside a block, as the kernels read them.
//!
//! In a file the fields of a block stand apart, and the bits of one sub-block lie across bytes that
//! belong to others too. Here a block becomes its sub-scales, one byte each, and then for each
//! sub-block in turn whatever bits its numbers have, so that a kernel goes over a block once, from
//! front to back, with one sum at a time. Nothing is lost: [`gather`] gives the file's bytes back.
//!
//! All of these are permutations of bits, done on whole words.

use crate::quant::q3_k::pack_scales;
use ingle_formats::TensorType;

/// The longest block in either order.
pub const LONGEST: usize = 256;

/// Words of the longest block.
pub const WORDS: usize = LONGEST / 4;

/// Four bytes of a block, or those of as many blocks side by side: each operation works on every one.
pub trait Word: Copy + Default {
    /// `op` of every word.
    fn each(self, op: impl Fn(u32) -> u32) -> Self;
    /// `op` of every word and its counterpart.
    fn with(self, other: Self, op: impl Fn(u32, u32) -> u32) -> Self;
}

impl Word for u32 {
    fn each(self, op: impl Fn(u32) -> u32) -> Self {
        op(self)
    }
    fn with(self, other: Self, op: impl Fn(u32, u32) -> u32) -> Self {
        op(self, other)
    }
}

impl Word for [u32; 16] {
    #[inline(always)]
    fn each(self, op: impl Fn(u32) -> u32) -> Self {
        std::array::from_fn(|i| op(self[i]))
    }
    #[inline(always)]
    fn with(self, other: Self, op: impl Fn(u32, u32) -> u32) -> Self {
        std::array::from_fn(|i| op(self[i], other[i]))
    }
}

/// Bytes at the beginning of a block that stand before its first word: a scale.
pub const fn base(ty: TensorType) -> usize {
    match ty {
        TensorType::Q8_0 | TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Iq4Nl => 2,
        TensorType::Mxfp4 => 1,
        _ => 0,
    }
}

/// The words of a block of `ty`, those after its [`base`], in the kernels' order. The scale of a block
/// that shares a line of them is left out.
#[inline(always)]
pub fn spread<'a, W: Word>(ty: TensorType, block: &'a [W], to: &'a mut [W; WORDS]) -> &'a [W] {
    match ty {
        TensorType::Q5_0 => spread_fifths(block, 0, to),
        TensorType::Q5_1 => spread_fifths(block, 1, to),
        TensorType::Q2K => spread_q2_k(block, to),
        TensorType::Q3K => spread_q3_k(block, to),
        TensorType::Q4K => {
            spread_sub_scales(block, to);
            to[5..37].copy_from_slice(&block[4..36]);
        }
        TensorType::Q5K => spread_q5_k(block, to),
        TensorType::Q6K => spread_q6_k(block, to),
        TensorType::Iq4Xs => spread_iq4_xs(block, to),
        _ => return block,
    }
    &to[..]
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
        TensorType::Q5_0 => gather_fifths(block, &from[..len], 2),
        TensorType::Q5_1 => gather_fifths(block, &from[..len], 4),
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

fn put_all(bytes: &mut [u8], words: [u32; 8]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
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

/// A block of Q5_0 or Q5_1 whose word `at` has the fifth bits.
#[inline(always)]
fn spread_fifths<W: Word>(block: &[W], at: usize, to: &mut [W; WORDS]) {
    to[..block.len()].copy_from_slice(block);
    to[at] = to[at].each(unshuffle);
}

/// The inverse, with the fifth bits at byte `at`.
fn gather_fifths(to: &mut [u8], from: &[u8], at: usize) {
    to.copy_from_slice(from);
    put(to, at, shuffle(word(from, at)));
}

/// Exchanges the bits of `w[a]` under `mask`, `by` places above it, with those of `w[b]` under it.
#[inline(always)]
fn exchange<W: Word>(w: &mut [W], (a, b): (usize, usize), by: u32, mask: u32) {
    let t = w[a].with(w[b], |a, b| ((a >> by) ^ b) & mask);
    w[b] = w[b].with(t, |b, t| b ^ t);
    w[a] = w[a].with(t, |a, t| a ^ (t << by));
}

/// Bit `s` of byte `4 j + t` to bit `j` of byte `4 s + t`: the 32 bits of run `s` become a word. Its
/// own inverse.
#[inline(always)]
fn transpose_bits<W: Word>(mut w: [W; 8]) -> [W; 8] {
    for (by, mask) in [(4, 0x0f0f_0f0f), (2, 0x3333_3333), (1, 0x5555_5555)] {
        for a in (0..8).filter(|a| a & by == 0) {
            exchange(&mut w, (a, a + by), by as u32, mask);
        }
    }
    w
}

/// Field `r` (2 bits) of byte `4 i + t` to field `i` of byte `4 r + t`: sixteen fields of run `r`
/// become a word. Its own inverse.
#[inline(always)]
fn transpose_fields<W: Word>(mut w: [W; 4]) -> [W; 4] {
    exchange(&mut w, (0, 2), 4, 0x0f0f_0f0f);
    exchange(&mut w, (1, 3), 4, 0x0f0f_0f0f);
    exchange(&mut w, (0, 1), 2, 0x3333_3333);
    exchange(&mut w, (2, 3), 2, 0x3333_3333);
    w
}

/// Calls `put(sub-block, its field word)` for the sixteen words in which Q2_K, Q3_K and Q6_K keep two
/// bits of each of 256 numbers.
#[inline(always)]
fn fields<W: Word>(from: &[W], mut put: impl FnMut(usize, W)) {
    for (part, words) in from.as_chunks::<4>().0.iter().enumerate() {
        for (run, word) in transpose_fields(*words).into_iter().enumerate() {
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
#[inline(always)]
fn spread_q2_k<W: Word>(block: &[W], to: &mut [W; WORDS]) {
    to[..4].copy_from_slice(&block[..4]);
    fields(&block[4..20], |sub, word| to[4 + sub] = word);
    to[20] = block[20];
}

fn gather_q2_k(from: &[u8], block: &mut [u8]) {
    block.copy_from_slice(&from[..84]);
    join_fields(&mut block[16..80], |sub| word(from, 16 + 4 * sub));
}

/// Sixteen scales; for each run of 32 its third bits and the words of its two sub-blocks; the scale
/// of the block.
#[inline(always)]
fn spread_q3_k<W: Word>(block: &[W], to: &mut [W; WORDS]) {
    let high = block[26];
    for (i, low) in [block[24], block[25], block[24], block[25]]
        .into_iter()
        .enumerate()
    {
        let low = low.each(|low| low >> (i / 2 * 4) & FOUR);
        let high = high.each(|high| (high >> (2 * i) & 0x0303_0303) << 4);
        to[i] = signed(low.with(high, |low, high| low | high));
    }
    let thirds: [W; 8] = std::array::from_fn(|i| block[i]);
    for (run, bits) in transpose_bits(thirds).into_iter().enumerate() {
        to[4 + 3 * run] = bits;
    }
    fields(&block[8..24], |sub, word| {
        to[5 + sub / 2 * 3 + sub % 2] = word;
    });
}

/// Four scales of 6 bits as signed bytes, 32 less.
#[inline(always)]
fn signed<W: Word>(scales: W) -> W {
    // No byte carries: 63 + 96 is the most.
    scales.each(|s| s.wrapping_add(0x6060_6060) ^ 0x8080_8080)
}

fn gather_q3_k(from: &[u8], block: &mut [u8]) {
    let runs = transpose_bits(std::array::from_fn(|run| word(from, 16 + 12 * run)));
    put_all(block, runs);
    join_fields(&mut block[32..96], |sub| {
        word(from, 20 + sub / 2 * 12 + sub % 2 * 4)
    });
    let signed = array::<16>(from, 0).map(|scale| scale as i8);
    block[96..108].copy_from_slice(&pack_scales(&signed));
    block[108..110].copy_from_slice(&from[112..114]);
}

const FOUR: u32 = 0x0f0f_0f0f;

/// The scales and minimums of Q4_K and Q5_K, a byte each.
#[inline(always)]
fn spread_sub_scales<W: Word>(block: &[W], to: &mut [W; WORDS]) {
    const SIX: u32 = 0x3f3f_3f3f;
    const UPPER: u32 = 0x3030_3030;
    let (low, low_min, high) = (block[1], block[2], block[3]);
    to[0] = block[0];
    to[1] = low.each(|low| low & SIX);
    to[2] = high.with(low, |high, low| (high & FOUR) | ((low >> 2) & UPPER));
    to[3] = low_min.each(|low| low & SIX);
    to[4] = high.with(low_min, |high, low| {
        ((high >> 4) & FOUR) | ((low >> 2) & UPPER)
    });
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
#[inline(always)]
fn spread_q5_k<W: Word>(block: &[W], to: &mut [W; WORDS]) {
    spread_sub_scales(block, to);
    let fifths: [W; 8] = std::array::from_fn(|i| block[4 + i]);
    for (chunk, bits) in transpose_bits(fifths).as_chunks::<2>().0.iter().enumerate() {
        let to = &mut to[5 + 10 * chunk..15 + 10 * chunk];
        to[..2].copy_from_slice(bits);
        to[2..].copy_from_slice(&block[12 + 8 * chunk..20 + 8 * chunk]);
    }
}

fn gather_q5_k(from: &[u8], block: &mut [u8]) {
    gather_sub_scales(from, block);
    let fifths = std::array::from_fn(|i| word(from, 20 + i / 2 * 40 + i % 2 * 4));
    put_all(&mut block[16..], transpose_bits(fifths));
    for chunk in 0..4 {
        let at = 28 + chunk * 40;
        block[48 + chunk * 32..80 + chunk * 32].copy_from_slice(&from[at..at + 32]);
    }
}

/// Sixteen scales; for each sub-block its upper bits and two words of lower bits.
#[inline(always)]
fn spread_q6_k<W: Word>(block: &[W], to: &mut [W; WORDS]) {
    to[..4].copy_from_slice(&block[48..52]);
    fields(&block[32..48], |sub, word| to[4 + 3 * sub] = word);
    for (i, w) in block[..32].as_chunks::<4>().0.iter().enumerate() {
        // Half, run (0 or 1) and half of the run.
        let sub = i / 4 * 8 + i % 4;
        for pair in 0..2 {
            let (a, b, at) = (w[2 * pair], w[2 * pair + 1], 5 + pair);
            to[3 * sub + at] = a.with(b, |a, b| (a & FOUR) | (b & FOUR) << 4);
            to[3 * (sub + 4) + at] = a.with(b, |a, b| (a >> 4 & FOUR) | (b & !FOUR));
        }
    }
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

/// Eight signed scales, the quants as they are.
#[inline(always)]
fn spread_iq4_xs<W: Word>(block: &[W], to: &mut [W; WORDS]) {
    for (i, to) in to[..2].iter_mut().enumerate() {
        // A byte for each half byte, and for each two bits.
        let low = block[1].each(|low| {
            let low = low >> (16 * i) & 0xffff;
            let low = (low | low << 8) & 0x00ff_00ff;
            (low | low << 4) & FOUR
        });
        let high = block[0].each(|high| {
            let high = high >> (16 + 8 * i) & 0xff;
            let high = (high | high << 12) & 0x000f_000f;
            (high | high << 6) & 0x0303_0303
        });
        *to = signed(low.with(high, |low, high| low | high << 4));
    }
    to[2..34].copy_from_slice(&block[2..34]);
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

    /// The spread block as `gather` takes it: what stands before the words first, and at its end the scale
    /// of a block that shares a line of them.
    fn spread_bytes(ty: TensorType, block: &[u8]) -> [u8; LONGEST] {
        let words = block[base(ty)..].as_chunks::<4>().0.iter();
        let words: Vec<u32> = words.map(|word| u32::from_le_bytes(*word)).collect();
        let mut bytes = [0; LONGEST];
        bytes[..base(ty)].copy_from_slice(&block[..base(ty)]);
        let mut to = [0; WORDS];
        for (i, word) in spread(ty, &words, &mut to).iter().enumerate().take(60) {
            put(&mut bytes, base(ty) + 4 * i, *word);
        }
        let scale = match ty {
            TensorType::Q3K => Some((108, 112)),
            TensorType::Q6K => Some((208, 208)),
            TensorType::Iq4Xs => Some((0, 136)),
            _ => None,
        };
        if let Some((from, to)) = scale {
            bytes[to..to + 2].copy_from_slice(&block[from..from + 2]);
        }
        bytes
    }

    /// Sixteen blocks side by side become what each becomes alone.
    #[test]
    fn blocks_side_by_side_are_spread_alike() {
        for ty in ALL {
            let len = (ty.block_bytes() as usize - base(ty)) / 4;
            let word =
                |row: u32, i: usize| (row * 977 + i as u32 * 31 + 7).wrapping_mul(2_654_435_761);
            let lines: Vec<[u32; 16]> = (0..len)
                .map(|i| std::array::from_fn(|row| word(row as u32, i)))
                .collect();
            let mut to = [[0; 16]; WORDS];
            let lines = spread(ty, &lines, &mut to);
            for row in 0..16 {
                let words: Vec<u32> = (0..len).map(|i| word(row as u32, i)).collect();
                let mut to = [0; WORDS];
                let alone = spread(ty, &words, &mut to);
                assert!(
                    lines.iter().map(|line| line[row]).eq(alone.iter().copied()),
                    "{ty}"
                );
            }
        }
    }

    /// Every bit of a block comes back, alone and with its complement around it.
    #[test]
    fn gather_inverts_spread() {
        for ty in ALL {
            let len = ty.block_bytes() as usize;
            for bit in 0..len * 8 {
                for ground in [0u8, 0xff] {
                    let mut block = vec![ground; len];
                    block[bit / 8] ^= 1 << (bit % 8);
                    let mut back = [0; LONGEST];
                    assert_eq!(
                        gather(ty, &spread_bytes(ty, &block), &mut back),
                        block,
                        "{ty} bit {bit}"
                    );
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
            let mut words = [0_u32; 8];
            words[byte / 4] = 1 << (byte % 4 * 8 + bit);
            let mut expected = [0; 8];
            expected[bit] = 1 << (byte % 4 * 8 + byte / 4);
            assert_eq!(transpose_bits(words), expected, "byte {byte} bit {bit}");
        }
        for (byte, field) in (0..16).flat_map(|byte| (0..4).map(move |field| (byte, field))) {
            let mut words = [0_u32; 4];
            words[byte / 4] = 3 << (byte % 4 * 8 + 2 * field);
            let mut expected = [0; 4];
            expected[field] = 3 << (byte % 4 * 8 + byte / 4 * 2);
            assert_eq!(transpose_fields(words), expected);
        }
    }
}

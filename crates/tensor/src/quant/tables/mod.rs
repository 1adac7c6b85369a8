//! The codebooks of the IQ types, expanded to bytes while compiling, and tables of levels.

mod grids;

/// Eight signed elements (-1, 0, 1) an entry, the first in the lowest byte.
pub(super) static IQ1: [u64; 2048] = eights(&grids::IQ1, [0xff, 0x00, 0x01, 0x00]);
/// Eight magnitudes an entry, the first in the lowest byte.
pub(super) static IQ2_XXS: [u64; 256] = eights(&grids::IQ2_XXS, IQ2_LEVELS);
/// Eight magnitudes an entry, the first in the lowest byte.
pub(super) static IQ2_XS: [u64; 512] = eights(&grids::IQ2_XS, IQ2_LEVELS);
/// Eight magnitudes an entry, the first in the lowest byte.
pub(super) static IQ2_S: [u64; 1024] = eights(&grids::IQ2_S, IQ2_LEVELS);
/// Four magnitudes an entry, the first in the lowest byte.
pub(super) static IQ3_XXS: [u32; 256] = fours(&grids::IQ3_XXS, [4, 12, 20, 28, 36, 44, 52, 62]);
/// Four magnitudes an entry, the first in the lowest byte.
pub(super) static IQ3_S: [u32; 512] = fours(&grids::IQ3_S, [1, 3, 5, 7, 9, 11, 13, 15]);
/// Eight signs, a bit each, as bytes: `0xff` for a set bit, the first in the lowest byte.
pub(super) static SIGNS: [u64; 256] = signs();
/// The same for seven stored signs; the eighth makes the number of negative elements even.
pub(super) static EVEN_SIGNS: [u64; 128] = even_signs();

const IQ2_LEVELS: [u8; 4] = [8, 25, 43, 0];

const fn eights<const N: usize>(packed: &[u16; N], levels: [u8; 4]) -> [u64; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 8 {
            let level = levels[(packed[i] >> (2 * j) & 3) as usize];
            out[i] |= (level as u64) << (8 * j);
            j += 1;
        }
        i += 1;
    }
    out
}

const fn fours<const N: usize>(packed: &[u16; N], levels: [u8; 8]) -> [u32; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 4 {
            let level = levels[(packed[i] >> (4 * j) & 7) as usize];
            out[i] |= (level as u32) << (8 * j);
            j += 1;
        }
        i += 1;
    }
    out
}

/// Sixteen levels as f32.
pub(super) const fn floats(levels: &[i8; 16]) -> [f32; 16] {
    let mut out = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = levels[i] as f32;
        i += 1;
    }
    out
}

/// `scale` times the levels of the low halves of sixteen bytes and then of their high halves.
#[inline(always)]
pub(super) fn scale_levels(scale: f32, levels: &[f32; 16], qs: &[u8; 16], out: &mut [f32; 32]) {
    for (j, &q) in qs.iter().enumerate() {
        out[j] = scale * levels[usize::from(q & 0xf)];
        out[16 + j] = scale * levels[usize::from(q >> 4)];
    }
}

const fn signs() -> [u64; 256] {
    let mut out = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut j = 0;
        while j < 8 {
            out[i] |= ((i >> j & 1) as u64 * 0xff) << (8 * j);
            j += 1;
        }
        i += 1;
    }
    out
}

const fn even_signs() -> [u64; 128] {
    let mut out = [0; 128];
    let mut i = 0_usize;
    while i < 128 {
        out[i] = SIGNS[i | (i.count_ones() as usize & 1) << 7];
        i += 1;
    }
    out
}

//! The codebooks of the IQ types, expanded to bytes while compiling.

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
/// Seven stored signs and the eighth, which makes the number of negative elements even.
pub(super) static EVEN_SIGNS: [u8; 128] = even_signs();

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

const fn even_signs() -> [u8; 128] {
    let mut out = [0; 128];
    let mut i = 0_u8;
    while i < 128 {
        out[i as usize] = i | ((i.count_ones() as u8 & 1) << 7);
        i += 1;
    }
    out
}

//! Q2_K to Q6_K unpacked for many columns.

use super::many::{Sums, SuperBlock, SuperFormat};
use super::{PANEL, Q2K, Q3K, Q4K, Q5K, Q6K, moved};
use crate::kernel::simd::Simd;
use crate::pack;

impl SuperFormat for Q4K {
    const BYTES: usize = pack::Q4_K.body_bytes();
    const SUB: usize = 32;
    const LARGEST: usize = 15;
    const OFFSET: usize = 0;
    const SUMS: Sums = Sums::Minimum;
    const SUMMED: usize = 32;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut SuperBlock) {
        // SAFETY: the panel holds the block, and `to` is one.
        unsafe {
            let block = panel.add(pack::Q4_K.body(b));
            affine_scales::<S>(block, to);
            let quants = (&raw mut (*to).quants).cast::<u8>();
            for chunk in 0..4 {
                for at in (0..8 * 64).step_by(4 * S::LANES) {
                    let w = S::b_load(block.add(320 + chunk * 512 + at));
                    let to = quants.add(chunk * 1024 + at);
                    S::b_store(to, S::b_and(w, 15));
                    S::b_store(to.add(512), S::b_shr_and::<4>(w, 15));
                }
            }
        }
    }
}

impl SuperFormat for Q5K {
    const BYTES: usize = pack::Q5_K.body_bytes();
    const SUB: usize = 32;
    const LARGEST: usize = 31;
    const OFFSET: usize = 0;
    const SUMS: Sums = Sums::Minimum;
    const SUMMED: usize = 32;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut SuperBlock) {
        // SAFETY: the panel holds the block, and `to` is one.
        unsafe {
            let block = panel.add(pack::Q5_K.body(b));
            affine_scales::<S>(block, to);
            let quants = (&raw mut (*to).quants).cast::<u8>();
            for chunk in 0..4 {
                for lane in (0..64).step_by(4 * S::LANES) {
                    let lines = block.add(320 + chunk * 640 + lane);
                    let to = quants.add(chunk * 1024 + lane);
                    five_bits::<S, 4>(lines, to, 0);
                    five_bits::<S, 3>(lines, to, 1);
                    five_bits::<S, 2>(lines, to, 2);
                    five_bits::<S, 1>(lines, to, 3);
                    five_bits::<S, 0>(lines, to, 4);
                    five_bits::<S, -1>(lines, to, 5);
                    five_bits::<S, -2>(lines, to, 6);
                    five_bits::<S, -3>(lines, to, 7);
                }
            }
        }
    }
}

/// Line `j` of eight of Q5_K, whose fifth bits come to bit 4 by a shift of `SHIFT` to the left.
#[inline(always)]
unsafe fn five_bits<S: Simd, const SHIFT: i32>(lines: *const u8, to: *mut u8, j: usize) {
    // SAFETY: as the caller's.
    unsafe {
        let fifths = (S::b_load(lines), S::b_load(lines.add(64)));
        let w = S::b_load(lines.add(128 + j * 64));
        let low = S::b_or(S::b_and(w, 15), moved::<S, SHIFT>(fifths.0, 16));
        let high = S::b_or(S::b_shr_and::<4>(w, 15), moved::<S, SHIFT>(fifths.1, 16));
        S::b_store(to.add(j * 64), low);
        S::b_store(to.add(512 + j * 64), high);
    }
}

/// The scales, sub-scales and minimums of Q4_K and Q5_K.
#[inline(always)]
unsafe fn affine_scales<S: Simd>(block: *const u8, to: *mut SuperBlock) {
    // SAFETY: as the caller's.
    unsafe {
        let scales = (&raw mut (*to).scales).cast::<u8>();
        let pairs = (&raw mut (*to).pairs).cast::<u8>();
        for lane in (0..PANEL).step_by(S::LANES) {
            let d = S::f_load_f16(block.add(lane * 2));
            S::f_store((&raw mut (*to).d).cast::<f32>().add(lane), d);
            let dmin = S::f_load_f16(block.add(32 + lane * 2));
            S::f_store((&raw mut (*to).dmin).cast::<f32>().add(lane), dmin);
            for pair in 0..4 {
                let s = S::i_load_u8_pairs(block.add(64 + pair * 32 + lane * 2));
                let at = scales.add(pair * 128 + lane * 4);
                S::i_store(at, S::scale_lanes(S::i_first(s)));
                S::i_store(at.add(64), S::scale_lanes(S::i_second(s)));
                let m = S::i_load_u8_pairs(block.add(192 + pair * 32 + lane * 2));
                S::i_store(pairs.add(pair * 64 + lane * 4), m);
            }
        }
    }
}

impl SuperFormat for Q6K {
    const BYTES: usize = pack::Q6_K.body_bytes();
    const SUB: usize = 16;
    const LARGEST: usize = 63;
    const OFFSET: usize = 32;
    const SUMS: Sums = Sums::Offset;
    const SUMMED: usize = 16;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut SuperBlock) {
        // SAFETY: the panel holds the block, and `to` is one.
        unsafe {
            let block = panel.add(pack::Q6_K.body(b));
            let quants = (&raw mut (*to).quants).cast::<u8>();
            for sub in 0..16 {
                for lane in (0..64).step_by(4 * S::LANES) {
                    let lines = block.add(256 + sub * 192 + lane);
                    let upper = S::b_load(lines);
                    let (p, q) = (S::b_load(lines.add(64)), S::b_load(lines.add(128)));
                    let w = [
                        S::b_or(S::b_and(p, 15), moved::<S, 4>(upper, 48)),
                        S::b_or(S::b_shr_and::<4>(p, 15), moved::<S, 2>(upper, 48)),
                        S::b_or(S::b_and(q, 15), moved::<S, 0>(upper, 48)),
                        S::b_or(S::b_shr_and::<4>(q, 15), moved::<S, -2>(upper, 48)),
                    ];
                    four_lines::<S>(quants.add(sub * 256 + lane), w);
                }
            }
            signed_scales::<S, 32>(block, panel.add(pack::Q6_K.scales(b)), to);
        }
    }
}

/// Sixteen signed sub-scales, in pairs, of weights that are `OFFSET` too large; and the scale.
#[inline(always)]
unsafe fn signed_scales<S: Simd, const OFFSET: i32>(
    subs: *const u8,
    d: *const u8,
    to: *mut SuperBlock,
) {
    // SAFETY: as the caller's.
    unsafe {
        let scales = (&raw mut (*to).scales).cast::<u8>();
        let pairs = (&raw mut (*to).pairs).cast::<u8>();
        for lane in (0..PANEL).step_by(S::LANES) {
            let d = S::f_load_f16(d.add(lane * 2));
            S::f_store((&raw mut (*to).d).cast::<f32>().add(lane), d);
            S::f_store((&raw mut (*to).dmin).cast::<f32>().add(lane), S::f_zero());
            for pair in 0..8 {
                let s = S::i_load_i8_pairs(subs.add(pair * 32 + lane * 2));
                let (first, second) = (S::i_first(s), S::i_second(s));
                let at = scales.add(pair * 128 + lane * 4);
                S::i_store(at, S::scale_lanes(first));
                S::i_store(at.add(64), S::scale_lanes(second));
                let factor = S::i_splat(-OFFSET);
                let (low, high) = (S::i_mul(first, factor), S::i_mul(second, factor));
                S::i_store(pairs.add(pair * 64 + lane * 4), S::i_join(low, high));
            }
        }
    }
}

impl SuperFormat for Q2K {
    const BYTES: usize = pack::Q2_K.body_bytes();
    const SUB: usize = 16;
    const LARGEST: usize = 3;
    const OFFSET: usize = 0;
    const SUMS: Sums = Sums::Minimum;
    const SUMMED: usize = 16;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut SuperBlock) {
        // SAFETY: the panel holds the block, and `to` is one.
        unsafe {
            let block = panel.add(pack::Q2_K.body(b));
            let quants = (&raw mut (*to).quants).cast::<u8>();
            for sub in 0..16 {
                for lane in (0..64).step_by(4 * S::LANES) {
                    let q = S::b_load(block.add(320 + sub * 64 + lane));
                    four_lines::<S>(quants.add(sub * 256 + lane), two_bits::<S>(q));
                }
            }
            let scales = (&raw mut (*to).scales).cast::<u8>();
            let pairs = (&raw mut (*to).pairs).cast::<u8>();
            for lane in (0..PANEL).step_by(S::LANES) {
                let d = S::f_load_f16(block.add(lane * 2));
                S::f_store((&raw mut (*to).d).cast::<f32>().add(lane), d);
                let dmin = S::f_load_f16(block.add(32 + lane * 2));
                S::f_store((&raw mut (*to).dmin).cast::<f32>().add(lane), dmin);
                for pair in 0..8 {
                    let subs = block.add(64 + pair * 32 + lane * 2);
                    let (s, m) = S::i_load_nibble_pairs(subs);
                    let at = scales.add(pair * 128 + lane * 4);
                    S::i_store(at, S::scale_lanes(S::i_first(s)));
                    S::i_store(at.add(64), S::scale_lanes(S::i_second(s)));
                    S::i_store(pairs.add(pair * 64 + lane * 4), m);
                }
            }
        }
    }
}

impl SuperFormat for Q3K {
    const BYTES: usize = pack::Q3_K.body_bytes();
    const SUB: usize = 16;
    const LARGEST: usize = 7;
    const OFFSET: usize = 4;
    const SUMS: Sums = Sums::Offset;
    const SUMMED: usize = 16;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(panel: *const u8, b: usize, to: *mut SuperBlock) {
        // SAFETY: the panel holds the block, and `to` is one.
        unsafe {
            let block = panel.add(pack::Q3_K.body(b));
            let quants = (&raw mut (*to).quants).cast::<u8>();
            for pair in 0..8 {
                for lane in (0..64).step_by(4 * S::LANES) {
                    let lines = block.add(256 + pair * 192 + lane);
                    let thirds = S::b_load(lines);
                    let p = two_bits::<S>(S::b_load(lines.add(64)));
                    let q = two_bits::<S>(S::b_load(lines.add(128)));
                    let first = [
                        S::b_or(p[0], moved::<S, 2>(thirds, 4)),
                        S::b_or(p[1], moved::<S, 1>(thirds, 4)),
                        S::b_or(p[2], moved::<S, 0>(thirds, 4)),
                        S::b_or(p[3], moved::<S, -1>(thirds, 4)),
                    ];
                    let second = [
                        S::b_or(q[0], moved::<S, -2>(thirds, 4)),
                        S::b_or(q[1], moved::<S, -3>(thirds, 4)),
                        S::b_or(q[2], moved::<S, -4>(thirds, 4)),
                        S::b_or(q[3], moved::<S, -5>(thirds, 4)),
                    ];
                    four_lines::<S>(quants.add(pair * 512 + lane), first);
                    four_lines::<S>(quants.add(pair * 512 + 256 + lane), second);
                }
            }
            signed_scales::<S, 4>(block, panel.add(pack::Q3_K.scales(b)), to);
        }
    }
}

/// The four fields of 2 bits of every byte.
#[inline(always)]
unsafe fn two_bits<S: Simd>(q: S::B) -> [S::B; 4] {
    // SAFETY: arithmetic on values; the caller has the features of `S`.
    unsafe {
        [
            S::b_and(q, 3),
            S::b_shr_and::<2>(q, 3),
            S::b_shr_and::<4>(q, 3),
            S::b_shr_and::<6>(q, 3),
        ]
    }
}

/// Writes one vector to each of four lines.
#[inline(always)]
unsafe fn four_lines<S: Simd>(to: *mut u8, w: [S::B; 4]) {
    // SAFETY: the caller gives four lines.
    unsafe {
        w.into_iter()
            .enumerate()
            .for_each(|(i, w)| S::b_store(to.add(i * 64), w))
    }
}

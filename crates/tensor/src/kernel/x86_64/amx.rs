//! AMX with 8-bit integers: tiles of sixteen rows of weights by sixteen columns of activations.
//!
//! A leaf for many columns only: everything else is that of AVX-512. A panel is the order that the
//! unit wants, so that unpacked weights ([`many`]) are loaded as they stand. The sub-scales of
//! super-blocks are folded in first: weight times sub-scale is a number of at most 16 bits, kept as
//! a signed upper and an unsigned lower byte, and both products are added over the whole
//! super-block, `s = low + 256 * high`: the exact integer that every other leaf computes.
//!
//! The instructions are `asm!`, as the intrinsics are not stable. Tiles are configured and released
//! by each call: no state of the unit is left behind.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "instructions under the contract of the kernel that is called"
)]

use super::avx512::Avx512;
use crate::kernel::matmul::many::{
    Accumulators, BlockFormat, Blocks, PART, Sums, SuperBlock, SuperFormat,
};
use crate::kernel::matmul::{Column, PANEL};
use crate::kernel::quantise::SUMS_256;
use crate::kernel::simd::Simd;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;

/// Columns that are multiplied by unpacked weights together: many, as a tile is done so soon that
/// unpacking would take as long.
pub const COLUMNS: usize = 512;

/// Rows of a tile.
const ROWS: usize = 16;

/// Whether this processor has the unit, the operating system saves its state, and the process was
/// given leave to use it, for which it asks once.
pub fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        super::avx512::is_available() && processor_has_it() && system_saves_it() && permitted()
    })
}

/// CPUID leaf 7: AMX-BF16, AMX-TILE and AMX-INT8; leaf 0x1d: eight tiles of sixteen rows of 64 bytes.
fn processor_has_it() -> bool {
    const FEATURES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    if __cpuid(0).eax < 0x1d || __cpuid_count(7, 0).edx & FEATURES != FEATURES {
        return false;
    }
    let palette = __cpuid_count(0x1d, 1);
    let (row_bytes, tiles) = (palette.ebx & 0xffff, palette.ebx >> 16);
    row_bytes >= 64 && tiles >= 8 && palette.ecx & 0xffff >= 16
}

/// XCR0: the state of the configuration (17) and of the tiles (18).
fn system_saves_it() -> bool {
    const STATES: u32 = 1 << 17 | 1 << 18;
    // OSXSAVE: without it XGETBV does not exist.
    if __cpuid(1).ecx & 1 << 27 == 0 {
        return false;
    }
    let enabled: u32;
    // SAFETY: the system has turned the instruction on; it reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack));
    }
    enabled & STATES == STATES
}

/// Asks the system for leave, which a process may be refused.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and changes what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row of each tile.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// Tiles 0 to 3 hold sums, 4 and 5 activations, 6 and 7 weights, `k` elements deep.
    const fn deep(k: usize) -> Self {
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            row_bytes[tile] = if tile == 4 || tile == 5 { k as u16 } else { 64 };
            rows[tile] = if tile >= 6 { (k / 4) as u8 } else { ROWS as u8 };
            tile += 1;
        }
        Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes,
            rows,
        }
    }
}

/// For 64 elements of super-blocks.
static DEEP_64: Config = Config::deep(64);
/// For a block of 32.
static DEEP_32: Config = Config::deep(32);

#[inline(always)]
unsafe fn configure(config: &Config) {
    asm!("ldtilecfg [{}]", in(reg) config, options(nostack, readonly, preserves_flags));
}

#[inline(always)]
unsafe fn release() {
    asm!("tilerelease", options(nostack, nomem, preserves_flags));
}

#[inline(always)]
unsafe fn zero<const T: u8>() {
    asm!("tilezero tmm{t}", t = const T, options(nostack, nomem, preserves_flags));
}

/// Loads a tile whose rows are `stride` bytes apart.
#[inline(always)]
unsafe fn load<const T: u8>(from: *const u8, stride: isize) {
    asm!("tileloadd tmm{t}, [{p} + {s}]", t = const T, p = in(reg) from, s = in(reg) stride,
        options(nostack, readonly, preserves_flags));
}

/// Stores sixteen rows of 64 bytes, side by side.
#[inline(always)]
unsafe fn store<const T: u8>(to: *mut Sum) {
    asm!("tilestored [{p} + {s}], tmm{t}", t = const T, p = in(reg) to, s = in(reg) 64usize,
        options(nostack, preserves_flags));
}

/// Adds products of signed activations and signed weights to tile `C`.
#[inline(always)]
unsafe fn signed<const C: u8, const A: u8, const W: u8>() {
    asm!("tdpbssd tmm{c}, tmm{a}, tmm{w}", c = const C, a = const A, w = const W,
        options(nostack, nomem, preserves_flags));
}

/// Adds products of signed activations and unsigned weights to tile `C`.
#[inline(always)]
unsafe fn unsigned<const C: u8, const A: u8, const W: u8>() {
    asm!("tdpbsud tmm{c}, tmm{a}, tmm{w}", c = const C, a = const A, w = const W,
        options(nostack, nomem, preserves_flags));
}

/// Sums of a tile: sixteen rows of weights for each of sixteen columns.
type Sum = [[i32; PANEL]; ROWS];

/// What stands in the first-level cache.
#[repr(C, align(64))]
struct Scratch {
    /// Lower bytes of weights times sub-scales, four elements of sixteen rows a line.
    low: [[u8; 64]; 64],
    /// Their upper bytes.
    high: [[u8; 64]; 64],
    /// Activations of columns that do not lie evenly apart.
    values: [[[u8; PART]; ROWS]; 2],
    sums: [Sum; 4],
}

impl Scratch {
    const NEW: Self = Self {
        low: [[0; 64]; 64],
        high: [[0; 64]; 64],
        values: [[[0; PART]; ROWS]; 2],
        sums: [[[0; PANEL]; ROWS]; 4],
    };
}

/// Where the activations of up to sixteen columns stand, from element `at` on, and how far apart: as
/// they are where that is even, else copied, `n` of each.
#[inline(always)]
unsafe fn rows(
    columns: &[Column],
    at: usize,
    n: usize,
    copy: &mut [[u8; PART]; ROWS],
) -> (*const u8, isize) {
    let address = |i: usize| columns[i].values as isize;
    if columns.len() == ROWS {
        let stride = address(1).wrapping_sub(address(0));
        if (2..ROWS).all(|i| address(i).wrapping_sub(address(i - 1)) == stride) {
            return (columns[0].values.add(at), stride);
        }
    }
    for (column, copy) in columns.iter().zip(copy.iter_mut()) {
        column.values.add(at).copy_to(copy.as_mut_ptr(), n);
    }
    (copy.as_ptr().cast(), PART as isize)
}

/// As [`many::super_blocks`].
///
/// # Safety
/// As there; [`is_available`] has answered yes.
#[inline(always)]
pub unsafe fn super_blocks<T: SuperFormat>(
    panel: *const u8,
    parts: Range<usize>,
    _k: usize,
    columns: &[Column],
    offset: usize,
) {
    let mut block = MaybeUninit::<SuperBlock>::uninit();
    let mut scratch = Scratch::NEW;
    let mut acc = Accumulators::<COLUMNS>::uninit();
    for columns in columns.chunks(COLUMNS) {
        acc.begin(columns, offset, parts.start == 0);
        configure(&DEEP_64);
        for b in parts.clone() {
            T::unpack::<Avx512>(panel, b, block.as_mut_ptr());
            let block = block.as_ptr();
            fold::<T>(block, &mut scratch);
            let mut acc = acc.as_mut_ptr();
            for columns in columns.chunks(2 * ROWS) {
                super_tiles(&mut scratch, b, columns);
                for (i, column) in columns.iter().enumerate() {
                    let sums = &scratch.sums[i / ROWS * 2..];
                    let (low, high) = (&sums[0][i % ROWS], &sums[1][i % ROWS]);
                    add_super::<T>(block, b, (low, high), column, acc.add(i).cast());
                }
                acc = acc.add(columns.len());
            }
        }
        release();
        acc.end(columns, offset);
    }
}

/// Weights times sub-scales as two planes of bytes.
#[inline(always)]
unsafe fn fold<T: SuperFormat>(block: *const SuperBlock, to: &mut Scratch) {
    let (even, odd) = (_mm512_set1_epi16(0xff), _mm512_set1_epi16(-256));
    let raised = _mm512_set1_epi16(T::OFFSET as i16);
    for sub in 0..256 / T::SUB {
        let scale = Avx512::i_load((*block).scales[sub].as_ptr());
        let scale = Avx512::i_join(scale, scale);
        for line in sub * T::SUB / 4..(sub + 1) * T::SUB / 4 {
            let w = _mm512_loadu_si512((*block).quants[line].as_ptr().cast());
            let first = _mm512_sub_epi16(_mm512_and_si512(w, even), raised);
            let second = _mm512_sub_epi16(_mm512_srli_epi16::<8>(w), raised);
            let first = _mm512_mullo_epi16(first, scale);
            let second = _mm512_mullo_epi16(second, scale);
            let low = _mm512_or_si512(
                _mm512_and_si512(first, even),
                _mm512_slli_epi16::<8>(second),
            );
            let high =
                _mm512_or_si512(_mm512_srli_epi16::<8>(first), _mm512_and_si512(second, odd));
            _mm512_storeu_si512(to.low[line].as_mut_ptr().cast(), low);
            _mm512_storeu_si512(to.high[line].as_mut_ptr().cast(), high);
        }
    }
}

/// The sums of super-block `b` for up to 32 columns: lower and upper bytes of the first sixteen, then
/// of the others.
#[inline(always)]
unsafe fn super_tiles(scratch: &mut Scratch, b: usize, columns: &[Column]) {
    let (first, second) = columns.split_at(columns.len().min(ROWS));
    let [copy, other] = &mut scratch.values;
    let (a, a_stride) = rows(first, b * PART, PART, copy);
    let other = (!second.is_empty()).then(|| rows(second, b * PART, PART, other));
    zero::<0>();
    zero::<1>();
    zero::<2>();
    zero::<3>();
    for step in 0..PART / 64 {
        load::<4>(a.add(step * 64), a_stride);
        load::<6>(scratch.low[step * 16].as_ptr(), 64);
        unsigned::<0, 4, 6>();
        load::<7>(scratch.high[step * 16].as_ptr(), 64);
        signed::<1, 4, 7>();
        if let Some((a, a_stride)) = other {
            load::<5>(a.add(step * 64), a_stride);
            unsigned::<2, 5, 6>();
            signed::<3, 5, 7>();
        }
    }
    let sums = scratch.sums.as_mut_ptr();
    store::<0>(sums);
    store::<1>(sums.add(1));
    if other.is_some() {
        store::<2>(sums.add(2));
        store::<3>(sums.add(3));
    }
}

/// Adds what a super-block gives one column to its accumulator.
#[inline(always)]
unsafe fn add_super<T: SuperFormat>(
    block: *const SuperBlock,
    b: usize,
    (low, high): (&[i32; PANEL], &[i32; PANEL]),
    column: &Column,
    acc: *mut f32,
) {
    let low = _mm512_loadu_si512(low.as_ptr().cast());
    let high = _mm512_loadu_si512(high.as_ptr().cast());
    let sum = _mm512_add_epi32(low, _mm512_slli_epi32::<8>(high));
    let d_a = _mm512_set1_ps(*column.scales.add(b));
    let d = _mm512_mul_ps(_mm512_loadu_ps((*block).d.as_ptr()), d_a);
    let mut out = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(sum), _mm512_loadu_ps(acc));
    if matches!(T::SUMS, Sums::Minimum) {
        let sums = column
            .sums
            .add(b * SUMS_256 + if T::SUMMED == 16 { 0 } else { 16 });
        let mut least = _mm512_setzero_si512();
        for pair in 0..128 / T::SUMMED {
            let factors = _mm512_loadu_si512((*block).pairs[pair].as_ptr().cast());
            let sums = sums.add(pair * 2).cast::<i32>().read_unaligned();
            least = Avx512::i_dot_pairs(least, factors, _mm512_set1_epi32(sums));
        }
        let dmin = _mm512_mul_ps(_mm512_loadu_ps((*block).dmin.as_ptr()), d_a);
        out = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(least), out);
    }
    _mm512_storeu_ps(acc, out);
}

/// As [`many::blocks`].
///
/// # Safety
/// As there; [`is_available`] has answered yes.
#[inline(always)]
pub unsafe fn blocks<T: BlockFormat>(
    panel: *const u8,
    parts: Range<usize>,
    k: usize,
    columns: &[Column],
    offset: usize,
) {
    let mut unpacked = MaybeUninit::<Blocks>::uninit();
    let mut scratch = Scratch::NEW;
    let mut acc = Accumulators::<COLUMNS>::uninit();
    for columns in columns.chunks(COLUMNS) {
        acc.begin(columns, offset, parts.start == 0);
        configure(&DEEP_32);
        for part in parts.clone() {
            let first = part * (PART / 32);
            let n = (k / 32 - first).min(PART / 32);
            for i in 0..n {
                T::unpack::<Avx512>(panel, first + i, unpacked.as_mut_ptr(), i);
            }
            let unpacked = unpacked.as_ptr();
            let mut acc = acc.as_mut_ptr();
            for columns in columns.chunks(ROWS) {
                let (a, stride) = rows(columns, first * 32, n * 32, &mut scratch.values[0]);
                for start in (0..n).step_by(4) {
                    let four = start..n.min(start + 4);
                    block_tiles::<T>(unpacked, four.clone(), (a, stride), &mut scratch.sums);
                    for (i, column) in columns.iter().enumerate() {
                        let of_column = |t: usize| &scratch.sums[t][i];
                        let acc = acc.add(i).cast::<f32>();
                        add_blocks::<T>(unpacked, first, four.clone(), of_column, column, acc);
                    }
                }
                acc = acc.add(columns.len());
            }
        }
        release();
        acc.end(columns, offset);
    }
}

/// The sums of up to four blocks for sixteen columns.
#[inline(always)]
unsafe fn block_tiles<T: BlockFormat>(
    blocks: *const Blocks,
    four: Range<usize>,
    (a, stride): (*const u8, isize),
    sums: &mut [Sum; 4],
) {
    let quants = |i: usize| (*blocks).quants[four.start + i].as_ptr().cast::<u8>();
    let a = |i: usize| a.add((four.start + i) * 32);
    block_tile::<T, 0, 4, 6>(a(0), stride, quants(0));
    if four.len() > 1 {
        block_tile::<T, 1, 5, 7>(a(1), stride, quants(1));
    }
    if four.len() > 2 {
        block_tile::<T, 2, 4, 6>(a(2), stride, quants(2));
    }
    if four.len() > 3 {
        block_tile::<T, 3, 5, 7>(a(3), stride, quants(3));
    }
    // Tiles that were not computed hold what they held: nobody reads their sums.
    store::<0>(&raw mut sums[0]);
    store::<1>(&raw mut sums[1]);
    store::<2>(&raw mut sums[2]);
    store::<3>(&raw mut sums[3]);
}

#[inline(always)]
unsafe fn block_tile<T: BlockFormat, const C: u8, const A: u8, const W: u8>(
    a: *const u8,
    stride: isize,
    quants: *const u8,
) {
    zero::<C>();
    load::<A>(a, stride);
    load::<W>(quants, 64);
    match T::LARGEST {
        Some(_) => unsigned::<C, A, W>(),
        None => signed::<C, A, W>(),
    }
}

/// Adds what up to four blocks give one column to its accumulator, in ascending order.
#[inline(always)]
unsafe fn add_blocks<'a, T: BlockFormat>(
    blocks: *const Blocks,
    first: usize,
    four: Range<usize>,
    sums: impl Fn(usize) -> &'a [i32; PANEL],
    column: &Column,
    acc: *mut f32,
) {
    let mut out = _mm512_loadu_ps(acc);
    for (t, i) in four.enumerate() {
        let raised = T::OFFSET * i32::from(*column.sums.add(first + i));
        let sum = _mm512_loadu_si512(sums(t).as_ptr().cast());
        let sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(raised));
        let d_a = _mm512_set1_ps(*column.scales.add(first + i));
        let d = _mm512_mul_ps(_mm512_loadu_ps((*blocks).d[i].as_ptr()), d_a);
        out = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(sum), out);
    }
    _mm512_storeu_ps(acc, out);
}

//! The most that a leaf can compute, with operands that lie in the first cache: what matrix kernels are
//! measured against.

use super::simd::Simd;

/// Weights of one turn: four vectors of a lane's four bytes (or floats), for up to sixteen lanes.
const WEIGHTS: usize = 4 * 64;
/// Turns before the operands repeat.
const CYCLE: usize = 8;

/// Accumulators of a tile: what fits in the leaf's registers.
#[inline(always)]
fn tile<S: Simd>() -> (usize, usize) {
    if S::COLUMNS >= 8 { (4, 3) } else { (2, 3) }
}

/// Multiplies and adds bytes, `turns` times a tile; returns the operations done, two a product.
///
/// # Safety
/// The processor has the features of `S`.
#[inline(always)]
pub unsafe fn products_i8<S: Simd>(turns: usize) -> u64 {
    // SAFETY: passed on; the buffer is read inside its bounds.
    unsafe {
        match tile::<S>() {
            (4, 3) => bytes::<S, 4>(turns),
            _ => bytes::<S, 2>(turns),
        }
    }
}

/// As [`products_i8`], of f32.
///
/// # Safety
/// The processor has the features of `S`.
#[inline(always)]
pub unsafe fn products_f32<S: Simd>(turns: usize) -> u64 {
    // SAFETY: passed on; the buffer is read inside its bounds.
    unsafe {
        match tile::<S>() {
            (4, 3) => floats::<S, 4>(turns),
            _ => floats::<S, 2>(turns),
        }
    }
}

/// Operands in the first cache; what the compiler cannot know.
fn operands<T: Copy>(value: T) -> [T; WEIGHTS * CYCLE] {
    std::hint::black_box([value; WEIGHTS * CYCLE])
}

#[inline(always)]
unsafe fn bytes<S: Simd, const W: usize>(turns: usize) -> u64 {
    let operands = operands(3u8);
    // SAFETY: every offset is below the length of `operands`, and the features are the caller's.
    unsafe {
        let mut sums = [[S::i_zero(); 3]; W];
        for turn in 0..turns {
            let at = operands.as_ptr().add(turn % CYCLE * WEIGHTS);
            let mut activations = [S::i_zero(); 3];
            for (j, a) in activations.iter_mut().enumerate() {
                *a = S::i_splat(at.add(4 * j).cast::<i32>().read_unaligned());
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let w = S::b_load(at.add(64 * i));
                for (sum, a) in sums.iter_mut().zip(activations) {
                    *sum = S::dot_u7(*sum, w, a);
                }
            }
        }
        let mut total = S::f_zero();
        for sum in sums.as_flattened() {
            total = S::f_add(total, S::f_from_i(*sum));
        }
        keep::<S>(total);
    }
    (turns * W * 3 * S::LANES * 4 * 2) as u64
}

#[inline(always)]
unsafe fn floats<S: Simd, const W: usize>(turns: usize) -> u64 {
    let operands = operands(0.5f32);
    // SAFETY: every offset is below the length of `operands`, and the features are the caller's.
    unsafe {
        let mut sums = [[S::f_zero(); 3]; W];
        for turn in 0..turns {
            let at = operands.as_ptr().add(turn % CYCLE * WEIGHTS);
            let mut activations = [S::f_zero(); 3];
            for (j, a) in activations.iter_mut().enumerate() {
                *a = S::f_splat(*at.add(j));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let w = S::f_load(at.add(16 * i));
                for (sum, a) in sums.iter_mut().zip(activations) {
                    *sum = S::f_fma(w, a, *sum);
                }
            }
        }
        let mut total = S::f_zero();
        for sum in sums.as_flattened() {
            total = S::f_add(total, *sum);
        }
        keep::<S>(total);
    }
    (turns * W * 3 * S::LANES * 2) as u64
}

/// Sums that are used, so that none is left out.
#[inline(always)]
unsafe fn keep<S: Simd>(total: S::F) {
    let mut out = [0.0f32; 16];
    // SAFETY: a vector has at most sixteen lanes.
    unsafe { S::f_store(out.as_mut_ptr(), total) };
    std::hint::black_box(out);
}

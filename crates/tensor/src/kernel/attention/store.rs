//! Keys and values into their page.

use super::MAX_HEAD_DIM;
use super::layout::{GROUP, Layout};
use crate::kernel::simd::Simd;
use crate::ops::{KvType, PAGE_LEN};
use crate::quant::{q4, q8};

/// Keys and values of one head, of consecutive positions in one page.
#[derive(Debug)]
pub struct Store {
    /// `[rows, k_stride]`, at the head's first element.
    pub k: *const f32,
    /// Elements from one row of keys to the next.
    pub k_stride: usize,
    /// `[rows, v_stride]`, at the head's first element.
    pub v: *const f32,
    /// Elements from one row of values to the next.
    pub v_stride: usize,
    /// Rows, at most as many as the page has left.
    pub rows: usize,
    /// Where in the page the first row goes.
    pub slot: usize,
    /// The page, at this head.
    pub to: *mut u8,
    /// How it lies there.
    pub layout: Layout,
}

/// The largest number of an F16. What is larger is cut to it, so that no infinity of a later
/// position, weighted by 0, becomes a NaN.
const LARGEST: f32 = 65_504.0;

/// Rows whose keys are turned together.
const TURNED: usize = 16;

/// Stores keys and values.
///
/// # Safety
/// The processor has the features of `S`; pointers are good for the shapes that [`Store`] names.
#[inline(always)]
pub unsafe fn store<S: Simd>(s: &Store) {
    let mut row = 0;
    // SAFETY: passed on from the caller; `row` stays below the rows.
    unsafe {
        if matches!(s.layout.kv, KvType::F16) {
            while row + TURNED <= s.rows {
                turned_keys::<S>(s, row);
                for row in row..row + TURNED {
                    f16_values::<S>(s, row);
                }
                row += TURNED;
            }
        }
        for row in row..s.rows {
            match s.layout.kv {
                KvType::F16 => {
                    f16_keys::<S>(s, row);
                    f16_values::<S>(s, row);
                }
                KvType::F32 => f32_row(s, row),
                KvType::Q8_0 => q8_0_row(s, row),
                KvType::Q4_0 => q4_0_row(s, row),
            }
        }
    }
}

/// A row of one head, cut to what F16 holds, with zeros up to the next sixteen.
#[inline(always)]
unsafe fn row(from: *const f32, len: usize) -> [f32; MAX_HEAD_DIM] {
    // SAFETY: the caller gives so many elements.
    let from = unsafe { std::slice::from_raw_parts(from, len) };
    let mut out = [0.0; MAX_HEAD_DIM];
    for (out, x) in out.iter_mut().zip(from) {
        *out = x.clamp(-LARGEST, LARGEST);
    }
    out
}

/// A row of one head as F16, with zeros up to the next sixteen.
#[inline(always)]
unsafe fn f16_row<S: Simd>(from: *const f32, len: usize) -> [u16; MAX_HEAD_DIM] {
    let mut out = [0; MAX_HEAD_DIM];
    // SAFETY: the caller's; whole vectors lie in both arrays.
    unsafe {
        let row = row(from, len);
        for d in (0..len).step_by(S::LANES) {
            let x = S::f_load(row.as_ptr().add(d));
            S::f_store_f16(out.as_mut_ptr().add(d).cast(), x);
        }
    }
    out
}

/// The keys of [`TURNED`] rows from `row` on.
#[inline(always)]
unsafe fn turned_keys<S: Simd>(s: &Store, row: usize) {
    let dim = s.layout.head_dim;
    let mut square = [0.0f32; 8 * TURNED];
    // SAFETY: the rows are the caller's, eight elements fit into the head, sixteen positions into
    // the page.
    unsafe {
        let from = s.k.add(row * s.k_stride);
        let to = s.to.cast::<u16>().add(s.slot + row);
        for d in (0..dim / 8 * 8).step_by(8) {
            S::f_transpose(from.add(d), s.k_stride, square.as_mut_ptr());
            for x in &mut square {
                *x = x.clamp(-LARGEST, LARGEST);
            }
            for (i, x) in square.chunks_exact(TURNED).enumerate() {
                for part in (0..TURNED).step_by(S::LANES) {
                    let to = to.add((d + i) * PAGE_LEN + part);
                    S::f_store_f16(to.cast(), S::f_load(x.as_ptr().add(part)));
                }
            }
        }
        if !dim.is_multiple_of(8) {
            for row in row..row + TURNED {
                f16_keys::<S>(s, row);
            }
        }
    }
}

#[inline(always)]
unsafe fn f16_keys<S: Simd>(s: &Store, row: usize) {
    // SAFETY: the row is the caller's, its slot in the page.
    unsafe {
        let keys = f16_row::<S>(s.k.add(row * s.k_stride), s.layout.head_dim);
        let to = s.to.cast::<u16>().add(s.slot + row);
        for (d, x) in keys[..s.layout.head_dim].iter().enumerate() {
            to.add(d * PAGE_LEN).write(*x);
        }
    }
}

#[inline(always)]
unsafe fn f16_values<S: Simd>(s: &Store, row: usize) {
    // SAFETY: the row is the caller's, its slot in the page.
    unsafe {
        let values = f16_row::<S>(s.v.add(row * s.v_stride), s.layout.head_dim);
        let to = s.to.add(s.layout.key_bytes()).cast();
        put_values(s, row, &values, to);
    }
}

/// Writes the values of a row into their groups.
#[inline(always)]
unsafe fn put_values<T>(s: &Store, row: usize, values: &[T; MAX_HEAD_DIM], to: *mut T) {
    let groups = values[..s.layout.value_width()].chunks(GROUP).enumerate();
    for (i, group) in groups {
        let at = i * GROUP * PAGE_LEN + (s.slot + row) * group.len();
        // SAFETY: groups lie one after the other, each of 64 positions.
        unsafe {
            to.add(at)
                .copy_from_nonoverlapping(group.as_ptr(), group.len())
        }
    }
}

#[inline(always)]
unsafe fn f32_row(s: &Store, row: usize) {
    let dim = s.layout.head_dim;
    // SAFETY: the row is the caller's, its slot in the page.
    unsafe {
        let k = std::slice::from_raw_parts(s.k.add(row * s.k_stride), dim);
        let to = s.to.cast::<f32>().add(s.slot + row);
        for (d, x) in k.iter().enumerate() {
            to.add(d * PAGE_LEN).write(*x);
        }
        let mut values = [0.0; MAX_HEAD_DIM];
        let v = std::slice::from_raw_parts(s.v.add(row * s.v_stride), dim);
        values[..dim].copy_from_slice(v);
        put_values(s, row, &values, s.to.add(s.layout.key_bytes()).cast());
    }
}

#[inline(always)]
unsafe fn q8_0_row(s: &Store, at: usize) {
    let (dim, slot) = (s.layout.head_dim, s.slot + at);
    let mut block = [0; q8::BYTES];
    // SAFETY: the row is the caller's, its slot in the page; blocks are whole.
    unsafe {
        let k = row(s.k.add(at * s.k_stride), dim);
        let v = row(s.v.add(at * s.v_stride), dim);
        let scales = s.to.add(s.layout.key_bytes());
        let values = scales.add(s.layout.value_scales());
        for (b, x) in k[..dim].as_chunks::<32>().0.iter().enumerate() {
            q8::encode_block(x, None, &mut block);
            let (quants, scales) = s.layout.key_block(b);
            put_scale(s.to.add(scales + slot * 2), &block);
            for (j, four) in block[2..].as_chunks::<4>().0.iter().enumerate() {
                let to = s.to.add(quants + (j * PAGE_LEN + slot) * 4);
                to.cast::<[u8; 4]>().write(*four);
            }
        }
        for (b, x) in v[..dim].as_chunks::<32>().0.iter().enumerate() {
            q8::encode_block(x, None, &mut block);
            put_scale(scales.add((b * PAGE_LEN + slot) * 2), &block);
            let to = values.add(slot * dim + b * 32);
            for i in 0..16 {
                to.add(2 * i).write(block[2 + i]);
                to.add(2 * i + 1).write(block[18 + i]);
            }
        }
    }
}

#[inline(always)]
unsafe fn q4_0_row(s: &Store, at: usize) {
    let (dim, slot) = (s.layout.head_dim, s.slot + at);
    let mut block = [0; q4::Q4_0_BYTES];
    // SAFETY: the row is the caller's, its slot in the page; blocks are whole.
    unsafe {
        let k = row(s.k.add(at * s.k_stride), dim);
        let v = row(s.v.add(at * s.v_stride), dim);
        let scales = s.to.add(s.layout.key_bytes());
        let values = scales.add(s.layout.value_scales());
        for (b, x) in k[..dim].as_chunks::<32>().0.iter().enumerate() {
            q4::encode_q4_0(x, None, &mut block);
            let (quants, scales) = s.layout.key_block(b);
            put_scale(s.to.add(scales + slot * 2), &block);
            for (j, four) in block[2..].as_chunks::<4>().0.iter().enumerate() {
                let to = s.to.add(quants + (j * PAGE_LEN + slot) * 4);
                to.cast::<[u8; 4]>().write(*four);
            }
        }
        for (b, x) in v[..dim].as_chunks::<32>().0.iter().enumerate() {
            q4::encode_q4_0(x, None, &mut block);
            put_scale(scales.add((b * PAGE_LEN + slot) * 2), &block);
            let to = values.add(slot * dim / 2 + b * 16);
            to.copy_from_nonoverlapping(block[2..].as_ptr(), 16);
        }
    }
}

/// Writes the scale of a block, its first two bytes.
#[inline(always)]
unsafe fn put_scale(to: *mut u8, block: &[u8]) {
    let [low, high, ..] = block else { return };
    // SAFETY: the caller gives the place of the scale.
    unsafe { to.cast::<[u8; 2]>().write([*low, *high]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isa, Leaf};

    #[test]
    fn numbers_too_large_for_f16_are_cut_not_infinite() {
        let leaf = Leaf::new(Isa::best()).unwrap();
        let layout = Layout::new(KvType::F16, 16);
        let mut page = vec![0u8; layout.head_bytes()];
        let x = [1e30f32; 16];
        let store = Store {
            k: x.as_ptr(),
            k_stride: 16,
            v: x.as_ptr(),
            v_stride: 16,
            rows: 1,
            slot: 5,
            to: page.as_mut_ptr(),
            layout,
        };
        // SAFETY: the page has room, and this machine has the leaf's instruction set.
        unsafe { (leaf.store)(&store) }
        let (stored, _) = page.as_chunks::<2>();
        let stored: Vec<u16> = stored.iter().map(|b| u16::from_le_bytes(*b)).collect();
        let stored: Vec<u16> = stored.into_iter().filter(|bits| *bits != 0).collect();
        assert_eq!(stored, [half::f16::MAX.to_bits(); 32]);
    }
}

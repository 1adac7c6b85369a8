//! Rows of activations, and their quantised forms.

use crate::kernel::Leaf;
use crate::kernel::matmul::{Activations, Column, PANEL};
use crate::kernel::quantise::SUMS_256;
use crate::memory::{Aligned, Shared};
use crate::team::Team;

/// f32 `[rows, width]`, each row at a multiple of sixteen elements; the elements between a row's
/// end and the next are zero.
#[derive(Debug)]
pub struct Buf {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
    pub(super) max_rows: usize,
    data: Aligned,
}

impl Buf {
    pub(super) fn new(max_rows: usize, width: usize) -> Self {
        let stride = width.next_multiple_of(PANEL);
        let data = Aligned::zeroed(max_rows * stride * 4);
        Self {
            rows: 0,
            width,
            stride,
            max_rows,
            data,
        }
    }

    /// Sets the number of rows; what they hold is left as it was.
    ///
    /// # Panics
    /// Where the buffer was made for fewer.
    pub(super) fn set_rows(&mut self, rows: usize) {
        assert!(
            rows <= self.max_rows,
            "{rows} rows in a buffer for {}",
            self.max_rows
        );
        self.rows = rows;
    }

    pub(super) fn row(&self, i: usize) -> &[f32] {
        &self.data.floats()[i * self.stride..][..self.width]
    }

    pub(super) fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data.floats_mut()[i * self.stride..][..self.width]
    }

    pub(super) fn shared(&mut self) -> Shared<f32> {
        Shared::new(self.data.floats_mut())
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.data.floats().as_ptr()
    }
}

/// Bytes of both quantised forms of a row, at most.
pub(super) fn form_bytes(width: usize) -> usize {
    let bytes = |form| {
        let (scales, sums) = blocks(form, width.next_multiple_of(256));
        stride(width) + 4 * scales + 2 * sums
    };
    bytes(Activations::Blocks32) + bytes(Activations::Blocks256)
}

/// Quantised rows.
#[derive(Debug, Default)]
struct Quantised {
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i16>,
}

/// The forms of one set of rows that its weights ask for; grows to the largest asked for and stays
/// there.
#[derive(Debug, Default)]
pub(super) struct Forms {
    blocks32: Quantised,
    blocks256: Quantised,
}

/// Bytes from one row of values to the next: an odd number of cache lines, so that the same place of
/// several rows, which a kernel reads together, does not stand in the same few lines of a cache.
fn stride(width: usize) -> usize {
    const LINE: usize = 64;
    (width.div_ceil(LINE) | 1) * LINE
}

fn blocks(form: Activations, width: usize) -> (usize, usize) {
    match form {
        Activations::Blocks32 => (width / 32, width / 32),
        _ => (width / 256, width / 256 * SUMS_256),
    }
}

impl Forms {
    /// Quantises the rows of `x` to the given form.
    pub(super) fn make(&mut self, form: Activations, x: &Buf, leaf: &Leaf, team: &Team) {
        self.make_each(form, x, x.rows, &|i| i, leaf, team);
    }

    /// Quantises some rows of `x`; those of others stay as they were.
    pub(super) fn make_some(
        &mut self,
        form: Activations,
        x: &Buf,
        rows: &[u32],
        leaf: &Leaf,
        team: &Team,
    ) {
        self.make_each(form, x, rows.len(), &|i| rows[i] as usize, leaf, team);
    }

    /// Quantises `n` rows, which `row` names, each once.
    fn make_each(
        &mut self,
        form: Activations,
        x: &Buf,
        n: usize,
        row: &(dyn Fn(usize) -> usize + Sync),
        leaf: &Leaf,
        team: &Team,
    ) {
        if n == 0 {
            return;
        }
        let (rows, width) = (x.rows, x.width);
        let (to, kernel) = match form {
            Activations::Float => return,
            Activations::Blocks32 => (&mut self.blocks32, leaf.quantise_32),
            Activations::Blocks256 => (&mut self.blocks256, leaf.quantise_256),
        };
        let (n_scales, n_sums) = blocks(form, width);
        grow(&mut to.values, rows * stride(width));
        grow(&mut to.scales, rows * n_scales);
        grow(&mut to.sums, rows * n_sums);
        let (values, scales, sums) = (
            Shared::new(&mut to.values),
            Shared::new(&mut to.scales),
            Shared::new(&mut to.sums),
        );
        team.share(n, grain(n), &|_, range| {
            for row in range.map(row) {
                // SAFETY: each row is quantised by one thread into places of its own, and the
                // processor has the leaf's features.
                unsafe {
                    kernel(
                        x.row(row),
                        values.slice(row * stride(width), width),
                        scales.slice(row * n_scales, n_scales),
                        sums.slice(row * n_sums, n_sums),
                    );
                }
            }
        });
    }

    /// Row `row` of `x` in the given form (made before), with its outputs.
    pub(super) fn column(&self, form: Activations, x: &Buf, row: usize, out: *mut f32) -> Column {
        let of = match form {
            Activations::Float => {
                let values = x.row(row).as_ptr().cast();
                return Column {
                    values,
                    scales: std::ptr::null(),
                    sums: std::ptr::null(),
                    out,
                };
            }
            Activations::Blocks32 => &self.blocks32,
            Activations::Blocks256 => &self.blocks256,
        };
        let (n_scales, n_sums) = blocks(form, x.width);
        Column {
            values: of.values[row * stride(x.width)..].as_ptr().cast(),
            scales: of.scales[row * n_scales..].as_ptr(),
            sums: of.sums[row * n_sums..].as_ptr(),
            out,
        }
    }
}

fn grow<T: Copy + Default>(to: &mut Vec<T>, len: usize) {
    if to.len() < len {
        to.resize(len, T::default());
    }
}

/// Rows that a member takes at once: few rows stay on one thread, where a fork would cost more.
pub(super) fn grain(rows: usize) -> usize {
    if rows < 8 { 8 } else { 4 }
}

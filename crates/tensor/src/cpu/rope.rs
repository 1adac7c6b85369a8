//! Cosines and sines for the positions of a batch, and the rotation.

use super::{Buf, Cpu};
use crate::ops::{Batch, Rope, RopePairs};

/// The angles of the latest batch, for each of the latest two [`Rope`]s: layers turn all by the
/// same, or some by one and some by another.
#[derive(Debug, Default)]
pub(super) struct Angles {
    /// The latest first.
    tables: [Table; 2],
}

impl Angles {
    /// Puts the table of this rope and this batch first, computed where it is not at hand.
    fn prepare(&mut self, rope: &Rope, batch: &Batch<'_>) {
        if !self.tables[0].turns_by(rope) {
            self.tables.swap(0, 1);
        }
        let table = &mut self.tables[0];
        let positions = batch.rows.iter().map(|row| row.position);
        if !table.turns_by(rope) || !table.positions.iter().copied().eq(positions) {
            table.compute(rope, batch);
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    frequencies: Vec<f32>,
    magnitude: f32,
    positions: Vec<u32>,
    /// `[rows, frequencies]`
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Table {
    fn turns_by(&self, rope: &Rope) -> bool {
        self.frequencies == rope.frequencies && self.magnitude == rope.magnitude
    }

    /// In f64 by `libm`, so that platforms agree, then rounded to f32.
    fn compute(&mut self, rope: &Rope, batch: &Batch<'_>) {
        self.frequencies.clone_from(&rope.frequencies);
        self.magnitude = rope.magnitude;
        self.positions.clear();
        self.positions
            .extend(batch.rows.iter().map(|row| row.position));
        self.cos.clear();
        self.sin.clear();
        for position in &self.positions {
            for frequency in &rope.frequencies {
                let (sin, cos) = libm::sincos(f64::from(*position) * f64::from(*frequency));
                self.cos.push(cos as f32 * rope.magnitude);
                self.sin.push(sin as f32 * rope.magnitude);
            }
        }
    }
}

impl Cpu {
    pub(super) fn rotate(&mut self, x: &mut Buf, rope: &Rope, head_dim: usize, batch: &Batch<'_>) {
        self.angles.prepare(rope, batch);
        let table = &self.angles.tables[0];
        let pairs = rope.frequencies.len();
        let turn = match rope.pairs {
            RopePairs::Halves => self.leaf.rope_halves,
            RopePairs::Interleaved => self.leaf.rope_interleaved,
        };
        let (rows, stride, width, shared) = (x.rows, x.stride, x.width, x.shared());
        self.each_row(rows, &|i| {
            let cos = &table.cos[i * pairs..][..pairs];
            let sin = &table.sin[i * pairs..][..pairs];
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe {
                for head in shared.slice(i * stride, width).chunks_exact_mut(head_dim) {
                    turn(&mut head[..2 * pairs], cos, sin);
                }
            }
        });
    }
}

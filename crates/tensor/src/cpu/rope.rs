//! Cosines and sines for the positions of a batch, and the rotation.

use super::{Buf, Cpu};
use crate::ops::{Batch, Rope, RopePairs};

/// The angles of the latest batch: every layer turns by the same ones.
#[derive(Debug, Default)]
pub(super) struct Angles {
    frequencies: Vec<f32>,
    magnitude: f32,
    positions: Vec<u32>,
    /// `[rows, frequencies]`
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// Computes the angles of the batch's rows where they are not those at hand.
    ///
    /// In f64 by `libm`, so that platforms agree, then rounded to f32.
    fn prepare(&mut self, rope: &Rope, batch: &Batch<'_>) {
        let positions = || batch.rows.iter().map(|row| row.position);
        let same_rope = self.frequencies == rope.frequencies && self.magnitude == rope.magnitude;
        if same_rope && self.positions.iter().copied().eq(positions()) {
            return;
        }
        self.frequencies.clone_from(&rope.frequencies);
        self.magnitude = rope.magnitude;
        self.positions.clear();
        self.positions.extend(positions());
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
        let pairs = rope.frequencies.len();
        let turn = match rope.pairs {
            RopePairs::Halves => self.leaf.rope_halves,
            RopePairs::Interleaved => self.leaf.rope_interleaved,
        };
        let (rows, stride, width, shared) = (x.rows, x.stride, x.width, x.shared());
        self.each_row(rows, &|i| {
            let cos = &self.angles.cos[i * pairs..][..pairs];
            let sin = &self.angles.sin[i * pairs..][..pairs];
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe {
                for head in shared.slice(i * stride, width).chunks_exact_mut(head_dim) {
                    turn(&mut head[..2 * pairs], cos, sin);
                }
            }
        });
    }
}

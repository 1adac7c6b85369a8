//! Which kernel for which number of columns.
//!
//! Two ways lead to the same bits: unpacking weights while they are multiplied, eight columns at a
//! time, or unpacking them first for all columns. Which is faster depends on the storage type and
//! the processor, so that it is measured where somebody has a clock, and what is usual elsewhere.

use super::matmul::{Column, PANEL, many};
use super::quantise::SUMS_256;
use super::{Isa, Leaf};
use crate::memory::Aligned;
use crate::pack::Layout;
use ingle_formats::TensorType;
use std::time::Duration;

/// Elements of a row of the panels that are measured with.
const K: usize = 2048;

/// Panels that few columns are measured with: more than the first-level cache holds, since weights come
/// from further away. With many columns that matters little, and they have as many panels less.
const PANELS: usize = 16;

/// Numbers of columns that are measured.
const COLUMNS: [usize; 5] = [8, 16, 32, 64, 256];

/// For each storage type that has both kernels: from how many columns on weights are unpacked
/// first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice(Vec<(TensorType, usize)>);

impl Choice {
    /// What was fastest where it was measured last: on a Zen 4.
    pub fn usual(leaf: &Leaf) -> Self {
        let from = |ty| match (leaf.isa(), ty) {
            (Isa::Avx512, TensorType::Q6K) => 64,
            (Isa::Amx, _) => 32, // not measured yet
            (Isa::Avx512, _) => usize::MAX,
            (_, TensorType::Q8_0 | TensorType::Q4_0) => usize::MAX,
            _ => 16,
        };
        Self::each(leaf, from)
    }

    /// The same number of columns for all types.
    pub fn from_columns(leaf: &Leaf, columns: usize) -> Self {
        Self::each(leaf, |_| columns)
    }

    /// Measures for some milliseconds by the clock `now`.
    pub fn measure(leaf: &Leaf, now: &dyn Fn() -> Duration) -> Self {
        if leaf.isa() == Isa::Scalar {
            return Self::usual(leaf); // it would take seconds, where speed does not matter
        }
        let bench = Bench::new(leaf);
        Self::each(leaf, |ty| {
            let pays = |n: &usize| bench.unpacking_pays(leaf, ty, *n, now);
            // The smallest number from which on it always pays.
            let from = COLUMNS.iter().rev().take_while(|n| pays(n)).last();
            from.copied().unwrap_or(usize::MAX)
        })
    }

    fn each(leaf: &Leaf, from: impl Fn(TensorType) -> usize) -> Self {
        let types = TensorType::ALL.iter().copied();
        let both = types.filter(|ty| leaf.many(*ty).is_some() && leaf.matmul(*ty).is_some());
        Self(both.map(|ty| (ty, from(ty))).collect())
    }

    /// From how many columns on weights of type `ty` are unpacked first; `usize::MAX` is never.
    pub fn unpack_from(&self, ty: TensorType) -> usize {
        let found = self.0.iter().find(|(t, _)| *t == ty);
        found.map_or(usize::MAX, |(_, from)| *from)
    }

    /// Every type that has both kernels, with what was chosen.
    pub fn iter(&self) -> impl Iterator<Item = (TensorType, usize)> + '_ {
        self.0.iter().copied()
    }
}

/// Weights and activations to measure with.
struct Bench {
    weights: Aligned,
    values: Vec<u8>,
    scales: Vec<f32>,
    sums: Vec<i16>,
}

impl Bench {
    fn new(leaf: &Leaf) -> Self {
        let most = TensorType::ALL
            .iter()
            .filter(|ty| leaf.many(**ty).is_some())
            .map(|ty| Layout::new(*ty).panel_bytes(K));
        let mut weights = Aligned::zeroed(PANELS * most.max().unwrap_or(0));
        weights.bytes_mut().fill(17);
        Self {
            weights,
            values: vec![1; COLUMNS[4] * Self::stride()],
            scales: vec![1.0; K / 32],
            sums: vec![1; (K / 256 * SUMS_256).max(K / 32)],
        }
    }

    /// Bytes from one column to the next: not a power of two, as in a product.
    fn stride() -> usize {
        K + 64
    }

    fn unpacking_pays(
        &self,
        leaf: &Leaf,
        ty: TensorType,
        n: usize,
        now: &dyn Fn() -> Duration,
    ) -> bool {
        let (Some(direct), Some(many)) = (leaf.matmul(ty), leaf.many(ty)) else {
            return false;
        };
        let mut out = vec![[0.0f32; PANEL]; n];
        let columns: Vec<Column> = (out.iter_mut().enumerate())
            .map(|(i, out)| Column {
                values: self.values[i * Self::stride()..].as_ptr(),
                scales: self.scales.as_ptr(),
                sums: self.sums.as_ptr(),
                out: out.as_mut_ptr(),
            })
            .collect();
        let panels = (PANELS * COLUMNS[0] / n).max(1);
        let panels = self
            .weights
            .bytes()
            .chunks_exact(Layout::new(ty).panel_bytes(K))
            .take(panels);
        let best = |run: &dyn Fn(*const u8)| {
            let time = |_| {
                let start = now();
                panels.clone().for_each(|panel| run(panel.as_ptr()));
                now().saturating_sub(start)
            };
            (0..4).map(time).min().unwrap_or_default()
        };
        // SAFETY: the processor has the leaf's features; there is a panel of `K` columns, and the
        // activations, sums and outputs that as many columns need.
        let direct = best(&|panel| unsafe { direct(panel, K, &columns, 0) });
        let parts = 0..K / many::PART;
        // SAFETY: as above.
        let unpacked = best(&|panel| unsafe { many(panel, parts.clone(), K, &columns, 0) });
        // By a few percent, so that chance does not choose.
        unpacked.saturating_mul(32) < direct.saturating_mul(31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_is_measured_is_remembered_for_each_type() {
        let leaf = Leaf::new(Isa::best()).unwrap();
        let time = Cell::new(0);
        // A clock that goes slower and slower: whatever comes later is faster, and pays.
        let slower = || {
            time.set(time.get() + 1);
            Duration::from_micros((f64::from(time.get()).ln() * 1e9) as u64)
        };
        let stopped = || Duration::ZERO;
        for (ty, from) in Choice::measure(leaf, &stopped).iter() {
            assert_eq!(from, usize::MAX, "{ty}");
        }
        let choice = Choice::measure(leaf, &slower);
        assert!(choice.iter().any(|(_, from)| from < usize::MAX));
        for (ty, from) in choice.iter() {
            assert_eq!(choice.unpack_from(ty), from);
        }
        assert_eq!(choice.unpack_from(TensorType::F32), usize::MAX);
    }
}

//! How much this machine computes at most: the limit of long prompts.

use crate::kernel::{Isa, Leaf};
use crate::team::Team;
use std::sync::atomic::{AtomicU64, Ordering};

/// Turns that a member does at once: some tens of microseconds.
const SHARE: usize = 4096;

/// What is multiplied and added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// 8-bit integers, summed in 32 bits.
    Int8,
    /// f32, by FMA.
    F32,
}

/// Products with operands in the first cache, by the vector unit of one leaf.
#[derive(Clone, Copy, Debug)]
pub struct PeakProbe {
    leaf: &'static Leaf,
}

impl PeakProbe {
    /// A probe of the leaf of `isa`; `None` where this machine cannot run it.
    pub fn new(isa: Isa) -> Option<Self> {
        let leaf = Leaf::new(isa)?;
        Some(Self { leaf })
    }

    /// Has every member of the team compute, `shares` parts together; the caller takes the time.
    /// Returns the operations done, two a product.
    pub fn run(&self, team: &Team, products: Products, shares: usize) -> u64 {
        let total = AtomicU64::new(0);
        let kernel = match products {
            Products::Int8 => self.leaf.products_i8,
            Products::F32 => self.leaf.products_f32,
        };
        team.share(shares, 1, &|_, range| {
            // SAFETY: the machine has the leaf's instruction set.
            let done = unsafe { kernel(range.len() * SHARE) };
            total.fetch_add(done, Ordering::Relaxed);
        });
        total.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_counts_what_it_did() {
        let team = Team::new(2);
        for isa in Isa::ALL {
            let Some(probe) = PeakProbe::new(isa) else {
                continue;
            };
            for products in [Products::Int8, Products::F32] {
                let one = probe.run(&team, products, 1);
                assert!(one > 0 && one.is_multiple_of(SHARE as u64), "{isa}");
                assert_eq!(probe.run(&team, products, 5), 5 * one, "{isa}");
            }
        }
    }
}

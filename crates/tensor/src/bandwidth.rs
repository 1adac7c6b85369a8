//! How fast this machine reads memory: the limit of generation.

use crate::kernel::{Isa, Leaf};
use crate::memory::Aligned;
use crate::team::Team;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a member reads at once.
const SHARE: usize = 1 << 20;

/// Memory to read, larger than the caches.
#[derive(Debug)]
pub struct ReadProbe {
    data: Aligned,
    leaf: &'static Leaf,
}

impl ReadProbe {
    /// A probe of `bytes` bytes, read by the leaf of `isa`; `None` where this machine cannot run it.
    pub fn new(isa: Isa, bytes: usize) -> Option<Self> {
        let mut data = Aligned::zeroed(bytes.next_multiple_of(SHARE));
        data.bytes_mut().fill(1); // pages that were never written are all one page of zeros
        Some(Self {
            data,
            leaf: Leaf::new(isa)?,
        })
    }

    /// Bytes that one run reads.
    pub fn bytes(&self) -> usize {
        self.data.bytes().len()
    }

    /// Reads all of it once, by every member of the team; the caller takes the time. Returns a
    /// sum, so that no read is left out.
    pub fn run(&self, team: &Team) -> u64 {
        let total = AtomicU64::new(0);
        let shares = self.bytes() / SHARE;
        team.share(shares, shares.div_ceil(team.threads() * 8), &|_, range| {
            let bytes = &self.data.bytes()[range.start * SHARE..range.end * SHARE];
            // SAFETY: the machine has the leaf's instruction set.
            let sum = unsafe { (self.leaf.sum_bytes)(bytes) };
            total.fetch_add(sum, Ordering::Relaxed);
        });
        total.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        for isa in Isa::ALL {
            let Some(probe) = ReadProbe::new(isa, 3 << 20) else {
                continue;
            };
            let words = 3 * (1u64 << 20) / 8;
            assert_eq!(
                probe.run(&Team::new(2)),
                words.wrapping_mul(0x0101_0101_0101_0101),
                "{isa}"
            );
        }
    }
}

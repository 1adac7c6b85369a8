//! What this machine can do at most, measured beside what a model reaches.

use crate::Usage;
use crate::machine::Memory;
use ingle::tensor::bandwidth::ReadProbe;
use ingle::tensor::kernel::Isa;
use ingle::tensor::peak::{PeakProbe, Products};
use ingle::tensor::team::Team;
use std::time::{Duration, Instant};

/// Times each limit is measured; the best counts, because work beside it only takes away.
const ROUNDS: usize = 5;

/// Of all threads together, in a second.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read from memory.
    pub read: f64,
    /// Operations on 8-bit integers (two a product) by the chosen leaf.
    pub int8: f64,
    /// Operations on f32 by the chosen leaf.
    pub f32: f64,
}

impl Limits {
    /// Takes `most` bytes at most for it, where there is a budget.
    ///
    /// # Errors
    /// This machine cannot run the leaf.
    pub fn measure(isa: Isa, team: &Team, most: Option<u64>) -> anyhow::Result<Self> {
        Ok(Self {
            read: read(isa, team, 1 << 30, most).ok_or_else(|| cannot(isa))?,
            int8: products(isa, team, Products::Int8).ok_or_else(|| cannot(isa))?,
            f32: products(isa, team, Products::F32).ok_or_else(|| cannot(isa))?,
        })
    }

    /// The better of two measurements of one machine.
    pub fn best(self, other: Self) -> Self {
        Self {
            read: self.read.max(other.read),
            int8: self.int8.max(other.int8),
            f32: self.f32.max(other.f32),
        }
    }

    /// Seconds that some work takes at least, and what takes so long.
    pub fn least(&self, work: Work) -> (f64, Bound) {
        let reading = work.bytes as f64 / self.read;
        let computing = work.int8 as f64 / self.int8 + work.f32 as f64 / self.f32;
        if reading >= computing {
            (reading, Bound::Reading)
        } else {
            (computing, Bound::Computing)
        }
    }
}

fn cannot(isa: Isa) -> anyhow::Error {
    Usage(format!("this machine cannot run the {isa} kernels")).into()
}

/// What has to be done, whoever does it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Bytes read from memory: weights once a batch, keys and values.
    pub bytes: u64,
    /// Operations of matrices whose activations are 8-bit integers.
    pub int8: u64,
    /// Operations in f32: other matrices, attention.
    pub f32: u64,
}

/// Which limit comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Reading,
    Computing,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reading => "memory",
            Self::Computing => "products",
        }
    }
}

/// The best of some runs, as a rate; `run` says how much it did.
fn best_rate(mut run: impl FnMut() -> u64) -> f64 {
    let rate = |run: &mut dyn FnMut() -> u64| {
        let start = Instant::now();
        let done = std::hint::black_box(run());
        done as f64 / start.elapsed().as_secs_f64().max(1e-9)
    };
    (0..ROUNDS).fold(0.0, |best, _| rate(&mut run).max(best))
}

/// Bytes that are read from memory in a second, measured on `bytes` of it, which should be much more than
/// caches hold, and are no more than `most`.
pub fn read(isa: Isa, team: &Team, bytes: u64, most: Option<u64>) -> Option<f64> {
    let free = Memory::measure().map_or(bytes, |m| m.available / 4);
    let bytes = bytes.min(free).min(most.unwrap_or(bytes));
    let probe = ReadProbe::new(isa, usize::try_from(bytes).ok()?)?;
    Some(best_rate(|| {
        std::hint::black_box(probe.run(team));
        probe.bytes() as u64
    }))
}

fn products(isa: Isa, team: &Team, products: Products) -> Option<f64> {
    /// Long enough to be measured well.
    const TIME: Duration = Duration::from_millis(20);
    let probe = PeakProbe::new(isa)?;
    let mut shares = 4 * team.threads();
    loop {
        let start = Instant::now();
        probe.run(team, products, shares);
        if start.elapsed() >= TIME || shares > 1 << 20 {
            break;
        }
        shares *= 2;
    }
    Some(best_rate(|| probe.run(team, products, shares)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longer_bounds() {
        let limits = Limits {
            read: 10.0,
            int8: 100.0,
            f32: 20.0,
        };
        let work = |bytes, int8, f32| Work { bytes, int8, f32 };
        assert_eq!(limits.least(work(50, 100, 0)), (5.0, Bound::Reading));
        assert_eq!(limits.least(work(50, 600, 40)), (8.0, Bound::Computing));
    }

    #[test]
    fn limits_are_measured_with_every_leaf() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let rate = products(isa, &Team::new(1), Products::Int8).unwrap();
            assert!(rate > 1e6, "{isa}: {rate}");
        }
    }
}

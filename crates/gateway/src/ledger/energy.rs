//! What this machine draws, where it says so, and each request's share of it.
//!
//! Linux tells through powercap (RAPL): a folder a domain, with a counter of microjoules that begins anew
//! at `max_energy_range_uj` (Documentation/power/powercap in the kernel's sources). Counted are the packages
//! and memory that is measured apart from them; parts of a package (`core`, `uncore`) are in it, `psys` is
//! the whole board, which has both, and what is told a second time through MMIO is left out. Since Linux
//! 5.10 only root may read the counters, unless an administrator lets others.
//!
//! Shares: whatever was drawn between two readings is divided evenly among the requests that ran in
//! between; while none runs, it is nobody's. It is the draw of the whole processor, other programs
//! included. A counter must be read at least once a turn (minutes): [`Energy::tick`] does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A counter of energy that only grows.
pub trait Meter: Send {
    /// What was drawn since the last call, in microjoules.
    ///
    /// # Errors
    /// It cannot be read any more.
    fn drawn(&mut self) -> io::Result<u64>;
}

/// The counters of powercap.
#[derive(Debug)]
pub struct Rapl {
    domains: Vec<Domain>,
}

#[derive(Debug)]
struct Domain {
    counter: PathBuf,
    /// The largest value; the next one is 0.
    range: u64,
    last: u64,
}

/// Why a machine's draw is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnergyError {
    /// There are no counters.
    #[error("{} has no counter of energy", .0.display())]
    None(PathBuf),
    /// They may not be read.
    #[error("{} cannot be read ({why}); only root may, unless the administrator lets others", path.display())]
    Closed {
        /// The counter.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

/// More domains than any machine has.
const MOST_DOMAINS: usize = 256;

fn text(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(256).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn number(path: &Path) -> io::Result<u64> {
    text(path)?.parse().map_err(io::Error::other)
}

/// Folders in `folder` whose names begin so, in order.
fn zones(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let rest = name.and_then(|name| name.strip_prefix(begin).map(str::to_owned));
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(fits)
        .take(MOST_DOMAINS)
        .collect();
    found.sort();
    found
}

impl Rapl {
    /// The counters below `folder`, which is `/sys/class/powercap` on a machine.
    ///
    /// # Errors
    /// There are none, or they may not be read.
    pub fn open(folder: &Path) -> Result<Self, EnergyError> {
        let mut domains = Vec::new();
        // AMD's counters have the same name.
        for package in zones(folder, "intel-rapl:") {
            if text(&package.join("name")).is_ok_and(|name| name.starts_with("package")) {
                domains.push(Domain::open(&package)?);
            }
            let Some(name) = package
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
            else {
                continue;
            };
            for part in zones(&package, &format!("{name}:")) {
                if text(&part.join("name")).is_ok_and(|name| name == "dram") {
                    domains.push(Domain::open(&part)?);
                }
            }
        }
        if domains.is_empty() {
            return Err(EnergyError::None(folder.to_owned()));
        }
        Ok(Self { domains })
    }
}

impl Domain {
    fn open(folder: &Path) -> Result<Self, EnergyError> {
        let counter = folder.join("energy_uj");
        let closed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| EnergyError::Closed {
                path,
                why: error.to_string(),
            }
        };
        let range = folder.join("max_energy_range_uj");
        Ok(Self {
            last: number(&counter).map_err(closed(&counter))?,
            range: number(&range).map_err(closed(&range))?,
            counter,
        })
    }

    fn drawn(&mut self) -> io::Result<u64> {
        let now = number(&self.counter)?;
        let drawn = match now.checked_sub(self.last) {
            Some(drawn) => drawn,
            // It began anew: the rest of the last turn, and this one.
            None => self.range.saturating_sub(self.last).saturating_add(now),
        };
        self.last = now;
        Ok(drawn)
    }
}

impl Meter for Rapl {
    fn drawn(&mut self) -> io::Result<u64> {
        let mut sum = 0_u64;
        for domain in &mut self.domains {
            sum = sum.saturating_add(domain.drawn()?);
        }
        Ok(sum)
    }
}

/// Shares of what a machine draws.
#[derive(Clone)]
pub struct Energy(Arc<Mutex<Meters>>);

struct Meters {
    meter: Box<dyn Meter>,
    running: u64,
    /// What one request that ran all the time would have drawn.
    each: u64,
    /// What could not be divided evenly, for the next time.
    rest: u64,
    failed: bool,
}

impl Meters {
    fn read(&mut self) {
        match self.meter.drawn() {
            Ok(drawn) if self.running > 0 => {
                let drawn = drawn.saturating_add(self.rest);
                self.each = self.each.saturating_add(drawn / self.running);
                self.rest = drawn % self.running;
            }
            Ok(_) => self.rest = 0,
            Err(_) => self.failed = true,
        }
    }
}

impl Energy {
    /// Shares of what `meter` counts.
    #[must_use]
    pub fn new(meter: Box<dyn Meter>) -> Self {
        Self(Arc::new(Mutex::new(Meters {
            meter,
            running: 0,
            each: 0,
            rest: 0,
            failed: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Meters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the counters, so that none makes a whole turn unseen: call it every minute or so.
    pub fn tick(&self) {
        self.lock().read();
    }

    /// A request begins on this machine.
    #[must_use]
    pub fn begin(&self) -> Share {
        let mut meters = self.lock();
        meters.read();
        meters.running += 1;
        Share {
            begin: meters.each,
            energy: self.clone(),
        }
    }
}

/// A request that runs. Dropped, it takes no share any more.
pub struct Share {
    begin: u64,
    energy: Energy,
}

impl Share {
    /// Its share up to now, in microjoules; none where a counter could not be read.
    #[must_use]
    pub fn drawn(&self) -> Option<u64> {
        let mut meters = self.energy.lock();
        meters.read();
        (!meters.failed).then(|| meters.each - self.begin)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut meters = self.energy.lock();
        meters.read();
        meters.running = meters.running.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A meter that is told what it counts.
    struct Told(Arc<AtomicU64>, u64);

    impl Meter for Told {
        fn drawn(&mut self) -> io::Result<u64> {
            let now = self.0.load(Ordering::Relaxed);
            Ok(now - std::mem::replace(&mut self.1, now))
        }
    }

    fn told() -> (Arc<AtomicU64>, Energy) {
        let counter = Arc::new(AtomicU64::new(0));
        (
            Arc::clone(&counter),
            Energy::new(Box::new(Told(counter, 0))),
        )
    }

    #[test]
    fn what_runs_together_shares_evenly() {
        let (counter, energy) = told();
        let draw = |n| counter.fetch_add(n, Ordering::Relaxed);
        draw(1000); // Nobody's.
        let first = energy.begin();
        draw(300);
        let second = energy.begin();
        draw(400);
        assert_eq!((first.drawn(), second.drawn()), (Some(500), Some(200)));
        drop(first);
        draw(50);
        assert_eq!(second.drawn(), Some(250));
    }

    proptest! {
        #[test]
        fn shares_never_sum_to_more_than_was_drawn(steps: Vec<(u8, u16)>) {
            let (counter, energy) = told();
            let (mut running, mut shared, mut drawn) = (Vec::new(), 0, 0);
            for (what, n) in steps {
                if !running.is_empty() {
                    drawn += u64::from(n);
                }
                counter.fetch_add(u64::from(n), Ordering::Relaxed);
                match what % 3 {
                    0 => running.push(energy.begin()),
                    1 => energy.tick(),
                    _ => shared += running.pop().and_then(|share| share.drawn()).unwrap_or(0),
                }
            }
            shared += running.iter().filter_map(Share::drawn).sum::<u64>();
            prop_assert!(shared <= drawn);
        }
    }
}

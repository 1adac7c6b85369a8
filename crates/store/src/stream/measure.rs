//! How a disk is best read: a short measurement, with the same code that streams weights afterwards, on the file that
//! it will read.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use ingle_tensor::fetch::{Sink, TensorRange, Urgency};
use ingle_tensor::{SourceError, WeightSource};

use super::{ReadSetup, Way};
use crate::{ModelFiles, StoreError};

/// The time since any fixed moment. Nothing here has a clock.
pub type Clock<'a> = dyn Fn() -> Duration + 'a;

/// About what an expert takes.
const UNIT: u64 = 2 << 20;
/// A file with less says nothing about its disk.
const LEAST_FILE: u64 = 64 << 20;
/// Bytes that a trial reads: a part of what a second brings, but no less and no more than this.
const TRIAL: std::ops::RangeInclusive<u64> = 8 << 20..=64 << 20;
const TRIAL_PART: u64 = 40;
/// Each is tried so often, in turn, and its fastest counts: what disturbs a disk makes it slower, never faster.
const ROUNDS: usize = 2;
/// Bytes of the last trial, whose speed is told.
const LAST: u64 = 128 << 20;
/// No trial begins later than this.
const TIME: Duration = Duration::from_millis(800);
/// A trial that takes longer is given up.
const TRIAL_TIME: Duration = Duration::from_millis(250);
/// Bytes in flight, at most: memory that the measurement takes.
const IN_FLIGHT: u64 = 16 << 20;
/// Reads in flight, in the order in which they are tried.
const DEPTHS: [u32; 6] = [8, 16, 4, 32, 2, 1];
/// Bytes of one read.
const SIZES: [u32; 5] = [512 << 10, 1 << 20, 256 << 10, 2 << 20, 128 << 10];
/// Parts of a hundred that others must be faster than what is usual to be taken: measurements are noisy.
const CLEARLY: u64 = 110;
/// Of those, parts of a hundred that smaller ones may be slower than the fastest: they take less memory, and what is
/// urgent waits for less.
const NEARLY: u64 = 94;
/// Parts of a hundred that the page cache must be faster to be used: it counts to the memory that a model may take.
const CACHED: u64 = 115;

/// What was found out about the disk of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How it is best read.
    pub setup: ReadSetup,
    /// How that was done.
    pub way: Way,
    /// Bytes in a second through the page cache, for comparison; 0 where that was not tried.
    pub cached_per_second: u64,
    /// The model was too small to be read from other places each time: something between here and the disk may have
    /// kept it, and the disk itself may be slower.
    pub repeated: bool,
}

/// Measures the disk that a model lies on, for about a second and by reading at most 1.5 GB, from places all over
/// the file. `None` for a model that is too small for it, or not in files of its own.
///
/// # Errors
/// [`StoreError`], as [`ModelFiles::fetcher`]. A read that fails is no error here: it ends the measurement, and
/// whoever reads the same place later hears of it.
pub fn measure(files: &Arc<ModelFiles>, clock: &Clock<'_>) -> Result<Option<Measured>, StoreError> {
    let units = units(files);
    let bytes: u64 = units.iter().map(|unit| unit.len as u64).sum();
    if bytes < LEAST_FILE || files.paths().next().is_none() {
        return Ok(None);
    }
    let mut trials = Trials {
        files,
        clock,
        begun: clock(),
        units,
        next: 0,
        best: 0,
    };
    trials.run().map(Some)
}

/// The trials of one measurement.
struct Trials<'a> {
    files: &'a Arc<ModelFiles>,
    clock: &'a Clock<'a>,
    begun: Duration,
    /// In the order in which they are read, each once before any is read again.
    units: Vec<TensorRange>,
    next: usize,
    /// Bytes in a second of the fastest trial so far.
    best: u64,
}

impl Trials<'_> {
    fn run(&mut self) -> Result<Measured, StoreError> {
        let mut setup = ReadSetup::default();
        // Not counted: the disk wakes up, and the length of the next trials is found.
        let mut way = self.trial(&setup)?.map_or(Way::Source, |(_, way)| way);
        setup.direct = way.is_direct();
        let cached_per_second = match setup.direct {
            true => self.cached(&setup)?,
            false => 0,
        };
        let depth = |depth| ReadSetup { depth, ..setup };
        setup.depth = self.best_of(&DEPTHS, depth)?.unwrap_or(setup.depth);
        if matches!(way, Way::IoUring { .. }) {
            let size = |read_size| ReadSetup { read_size, ..setup };
            setup.read_size = self.best_of(&SIZES, size)?.unwrap_or(setup.read_size);
        }
        let last = self.timed(&setup, LAST)?;
        setup.bytes_per_second = last.map_or(self.best, |(speed, _)| speed);
        if cached_per_second > setup.bytes_per_second / 100 * CACHED {
            setup.direct = false;
            setup.bytes_per_second = cached_per_second;
            way = way.cached();
        }
        Ok(Measured {
            setup,
            way,
            cached_per_second,
            repeated: self.next > self.units.len(),
        })
    }

    /// The first of some values of a setup, which is the usual one, or what is clearly faster.
    fn best_of(
        &mut self,
        values: &[u32],
        setup: impl Fn(u32) -> ReadSetup,
    ) -> Result<Option<u32>, StoreError> {
        let mut tried: Vec<(u32, u64)> = values.iter().map(|value| (*value, 0)).collect();
        for _ in 0..ROUNDS {
            for (value, best) in &mut tried {
                if let Some((speed, _)) = self.trial(&setup(*value))? {
                    *best = speed.max(*best);
                }
            }
        }
        Ok(choose(&tried))
    }

    /// The speed through the page cache, with nothing of the file in it.
    fn cached(&mut self, setup: &ReadSetup) -> Result<u64, StoreError> {
        let trial = ReadSetup {
            direct: false,
            ..*setup
        };
        Ok(self.trial(&trial)?.map_or(0, |(speed, _)| speed))
    }

    /// A short trial, if there is time for one.
    fn trial(&mut self, setup: &ReadSetup) -> Result<Option<(u64, Way)>, StoreError> {
        let bytes = (self.best / TRIAL_PART).clamp(*TRIAL.start(), *TRIAL.end());
        let late = (self.clock)().saturating_sub(self.begun) > TIME;
        // What is in flight is waited for: on a slow disk that takes longer than the trial.
        let in_flight = u64::from(setup.depth()) * setup.read_size() as u64;
        let slow = self.best > 0 && in_flight > self.best / 8;
        if late || slow || in_flight > IN_FLIGHT {
            return Ok(None);
        }
        self.timed(setup, bytes)
    }

    /// Bytes in a second with this setup, and how it was read. `None`: nothing could be read.
    fn timed(&mut self, setup: &ReadSetup, bytes: u64) -> Result<Option<(u64, Way)>, StoreError> {
        let units = self.take(bytes);
        drop_pages(self.files, &units);
        let (way, fetcher) = self.files.fetcher_and_way(setup, UNIT)?;
        let count = Arc::new(Count::default());
        let sink: Arc<dyn Sink> = Arc::<Count>::clone(&count);
        let begun = (self.clock)();
        for (ticket, unit) in units.iter().enumerate() {
            let unit = std::slice::from_ref(unit);
            fetcher.fetch(ticket as u64, unit, Urgency::Awaited, &sink);
        }
        let read = count.wait(units.len());
        let took = (self.clock)().saturating_sub(begun);
        drop(fetcher);
        if !setup.direct {
            drop_pages(self.files, &units);
        }
        let speed = speed(read, took);
        self.best = self.best.max(speed);
        Ok((read > 0).then_some((speed, way)))
    }

    /// The next units, of together about as many bytes.
    fn take(&mut self, bytes: u64) -> Vec<TensorRange> {
        let (mut taken, mut sum) = (Vec::new(), 0);
        while sum < bytes && taken.len() < self.units.len() {
            let unit = self.units.get(self.next % self.units.len());
            self.next += 1;
            sum += unit.map_or(0, |unit| unit.len as u64);
            taken.extend(unit.cloned());
        }
        taken
    }
}

/// Gives back the page cache of what is about to be read or was read, so that it is read from the disk.
fn drop_pages(files: &ModelFiles, units: &[TensorRange]) {
    for unit in units {
        if let Ok((file, start)) = files.place_of(&unit.name, unit.offset, unit.len)
            && let Some(part) = files.parts.get(file)
        {
            part.release(start, unit.len as u64);
        }
    }
}

/// The first of what was tried, with its speed, unless others are clearly faster: then the smallest of those.
fn choose(tried: &[(u32, u64)]) -> Option<u32> {
    let (usual, speed) = *tried.first()?;
    let best = tried.iter().map(|(_, speed)| *speed).max()?;
    if best <= speed / 100 * CLEARLY {
        return Some(usual);
    }
    let fast = |(_, speed): &&(u32, u64)| *speed >= best / 100 * NEARLY;
    tried.iter().filter(fast).map(|(value, _)| *value).min()
}

fn speed(bytes: u64, took: Duration) -> u64 {
    // A clock that stands still shall not make a disk infinitely fast.
    let nanoseconds = took.as_nanos().max(1_000);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX)
}

/// The tensors cut into units, in an order that goes all over the file again and again.
fn units(files: &ModelFiles) -> Vec<TensorRange> {
    let mut units = Vec::new();
    for tensor in files.tensors() {
        let name: Arc<str> = tensor.name.as_str().into();
        // What is left behind the last whole unit is not read, unless it is the whole tensor.
        let whole = (tensor.byte_len / UNIT).max(1);
        for unit in 0..whole {
            let len = tensor.byte_len.min(UNIT);
            units.push(TensorRange {
                name: Arc::clone(&name),
                offset: unit * UNIT,
                len: usize::try_from(len).unwrap_or(0),
            });
        }
    }
    // Steps of about the golden section: each falls into the largest gap of those before.
    let n = units.len();
    let step = (n * 618 / 1000..=n)
        .find(|step| gcd(*step, n) == 1)
        .unwrap_or(1);
    let order = (0..n).map(|i| i * step % n.max(1));
    order.filter_map(|i| units.get(i).cloned()).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

/// Counts what arrives.
#[derive(Default)]
struct Count {
    /// Requests, those that failed too, and bytes.
    arrived: Mutex<(usize, u64)>,
    more: Condvar,
}

impl Count {
    /// Bytes that have arrived when all `requests` have, or after [`TRIAL_TIME`].
    fn wait(&self, requests: usize) -> u64 {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |(done, _): &mut (usize, u64)| *done < requests;
        let waited = self.more.wait_timeout_while(arrived, TRIAL_TIME, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.1
    }
}

impl Sink for Count {
    fn arrived(&self, _: u64, outcome: Result<&[&[u8]], SourceError>) {
        let bytes = outcome.map_or(0, |ranges| ranges.iter().map(|r| r.len() as u64).sum());
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.0 += 1;
        arrived.1 += bytes;
        drop(arrived);
        self.more.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_stays_unless_others_are_clearly_faster() {
        let speeds = |speeds: [u64; 4]| {
            let values = [8, 16, 4, 32].into_iter();
            choose(
                &values
                    .zip(speeds.map(|s| s * 1_000_000))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(speeds([1000, 1090, 900, 1095]), Some(8));
        assert_eq!(speeds([1000, 1300, 900, 1350]), Some(16));
        assert_eq!(speeds([1000, 1000, 1200, 1210]), Some(4));
        assert_eq!(speeds([0, 0, 0, 0]), Some(8));
        assert_eq!(speeds([0, 0, 0, 5]), Some(32));
        assert_eq!(choose(&[]), None);
    }
}

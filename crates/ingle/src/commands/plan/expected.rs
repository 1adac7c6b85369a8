//! How fast a model will be, as far as can be told before it runs.

use crate::commands::bench::limits::{Bound, Limits, Work};
use crate::reads::Reads;
use crate::work::TokenWork;
use ingle::engine::StreamPlan;
use ingle::tensor::cpu::OnDisk;

/// What generation reaches of what memory and processor allow: between what `bench` measures on small models and
/// on large ones.
const EFFICIENCY: f64 = 0.8;

/// Of the shorter one of reading and computing so much is not hidden behind the longer one.
const NOT_HIDDEN: f64 = 0.25;

/// The share of uses that find their expert in memory, by the share of the experts that is there: a power below 1,
/// because texts keep to some experts. It lies between what was measured on a small trained model and on drawn
/// routers (`docs/performance.md`).
const SKEW: f64 = 0.55;

/// What came of a few tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Tokens that were generated.
    pub tokens: u32,
    /// How many a second.
    pub tps: f64,
    /// What they read from disk, where some weights are there.
    pub reads: Option<Reads>,
}

/// What one token of generation takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Share of the experts' uses that find theirs in memory; 1 where all is there.
    pub hit_rate: f64,
    /// Bytes read from disk.
    pub disk_bytes: f64,
    /// Seconds of reading, if nothing else were done; `None` where the disk's speed is not known.
    pub disk_seconds: Option<f64>,
    /// Seconds of computing, if everything were there, and what bounds that.
    pub seconds: f64,
    pub bound: Bound,
    /// Tokens a second; `None` where the disk's speed is not known and matters.
    pub tps: Option<f64>,
}

impl Expected {
    /// `disk`: bytes that the disk reads in a second.
    pub fn new(
        work: &TokenWork,
        streamed: Option<&StreamPlan>,
        limits: &Limits,
        disk: Option<f64>,
        trial: Option<&Trial>,
    ) -> Self {
        let once = Work {
            bytes: work.bytes(),
            int8: work.body.int8 + work.head.int8,
            f32: work.body.f32 + work.head.f32,
        };
        let (least, bound) = limits.least(once);
        let seconds = least / EFFICIENCY;
        let Some(streamed) = streamed else {
            return Self {
                hit_rate: 1.0,
                disk_bytes: 0.0,
                disk_seconds: Some(0.0),
                seconds,
                bound,
                tps: Some(trial.map_or(1.0 / seconds, |trial| trial.tps)),
            };
        };
        let share = streamed.cached_share().min(1.0);
        let guess = match streamed.on_disk {
            OnDisk::Experts => share.powf(SKEW),
            // Every token needs all of them.
            OnDisk::All => share,
        };
        let reads = trial.and_then(|trial| Some((trial, trial.reads?)));
        let (hit_rate, disk_bytes) = match reads {
            Some((trial, reads)) => (
                reads.hit_rate(),
                reads.bytes as f64 / f64::from(trial.tokens.max(1)),
            ),
            None => (guess, (1.0 - guess) * streamed.token_bytes as f64),
        };
        let disk_seconds = disk.map(|rate| disk_bytes / rate);
        let together = |reading: f64| {
            let (long, short) = (reading.max(seconds), reading.min(seconds));
            1.0 / (long + NOT_HIDDEN * short)
        };
        let tps = match trial {
            Some(trial) => Some(trial.tps),
            None => disk_seconds.map(together),
        };
        Self {
            hit_rate,
            disk_bytes,
            disk_seconds,
            seconds,
            bound,
            tps,
        }
    }

    /// What takes longest.
    pub fn bound(&self) -> &'static str {
        match self.disk_seconds {
            Some(disk) if disk <= self.seconds => self.bound.name(),
            _ => "disk",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Products;

    const LIMITS: Limits = Limits {
        read: 10e9,
        int8: 1e15,
        f32: 1e15,
    };

    fn work(bytes: u64) -> TokenWork {
        TokenWork {
            body: Products {
                bytes,
                ..Products::default()
            },
            ..TokenWork::default()
        }
    }

    fn half() -> StreamPlan {
        StreamPlan {
            resident_bytes: 1 << 30,
            cache_bytes: 8 << 30,
            streamed_bytes: 16 << 30,
            on_disk: OnDisk::Experts,
            largest_read: 3 << 20,
            read_bytes: 1 << 20,
            process_bytes: 1 << 20,
            n_experts: 6144,
            per_token: 384,
            token_bytes: 1_000_000_000,
        }
    }

    #[test]
    fn what_is_in_memory_is_bound_by_memory() {
        let expected = Expected::new(&work(1_000_000_000), None, &LIMITS, None, None);
        assert!((expected.tps.unwrap() - 8.0).abs() < 1e-9);
        assert_eq!(expected.bound(), "memory");
        assert_eq!(expected.disk_bytes, 0.0);
    }

    #[test]
    fn what_is_read_is_bound_by_the_disk() {
        let (work, plan) = (work(1_000_000_000), half());
        let expected = Expected::new(&work, Some(&plan), &LIMITS, Some(1e9), None);
        assert!(expected.hit_rate > 0.6 && expected.hit_rate < 0.8);
        assert_eq!(expected.bound(), "disk");
        let tps = expected.tps.unwrap();
        assert!(tps > 2.0 && tps < 4.0, "{tps}");
        let fast = Expected::new(&work, Some(&plan), &LIMITS, Some(1e12), None);
        assert_eq!(fast.bound(), "memory");
        assert_eq!(
            Expected::new(&work, Some(&plan), &LIMITS, None, None).tps,
            None
        );
    }

    #[test]
    fn a_trial_says_it_better() {
        let trial = Trial {
            tokens: 10,
            tps: 2.0,
            reads: Some(Reads {
                needed: 100,
                hits: 90,
                bytes: 1_000,
                ..Reads::default()
            }),
        };
        let expected = Expected::new(
            &work(1 << 30),
            Some(&half()),
            &LIMITS,
            Some(1e9),
            Some(&trial),
        );
        assert_eq!(
            (expected.hit_rate, expected.disk_bytes, expected.tps),
            (0.9, 100.0, Some(2.0))
        );
    }
}

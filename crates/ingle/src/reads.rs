//! What a run read from disk, where weights are read while they are used.

use crate::out;
use ingle::engine::{Engine, StreamPlan};
use ingle::tensor::cpu::{Cpu, OnDisk, Streamed};
use serde_json::{Value, json};
use std::time::Duration;

/// Reads of some passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reads {
    /// Weights that were needed (experts, or parts of matrices), and those of them that were in the cache.
    pub needed: u64,
    pub hits: u64,
    /// Those that were asked for before they were known to be needed, and then were.
    pub foreseen: u64,
    pub right: u64,
    /// Bytes that were read, and what the kernel says of it.
    pub bytes: u64,
    pub kernel_bytes: Option<u64>,
    /// Bytes of what was needed and not in the cache.
    pub missing_bytes: u64,
    /// Time in which nothing could be computed, of how much.
    pub waited: Duration,
    pub time: Duration,
}

impl Reads {
    /// Share of what was needed that was in the cache.
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 / self.needed.max(1) as f64
    }

    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            needed: self.needed + other.needed,
            hits: self.hits + other.hits,
            foreseen: self.foreseen + other.foreseen,
            right: self.right + other.right,
            bytes: self.bytes + other.bytes,
            kernel_bytes: self
                .kernel_bytes
                .zip(other.kernel_bytes)
                .map(|(a, b)| a + b),
            missing_bytes: self.missing_bytes + other.missing_bytes,
            waited: self.waited + other.waited,
            time: self.time + other.time,
        }
    }

    /// For people, of a run of so many tokens.
    pub fn line(&self, tokens: f64) -> String {
        let waited = self.waited.as_secs_f64() / self.time.as_secs_f64().max(1e-9);
        let guesses = match self.foreseen {
            0 => String::new(),
            n => format!(
                ", {:.0}% of guesses right",
                100.0 * self.right as f64 / n as f64
            ),
        };
        format!(
            "{:.1}% found in the cache, {} read from disk a token, {:.0}% of the time spent waiting for it{guesses}",
            100.0 * self.hit_rate(),
            out::bytes((self.bytes as f64 / tokens) as u64),
            100.0 * waited,
        )
    }

    /// For a run of so many tokens, together.
    pub fn json(&self, tokens: f64) -> Value {
        let share = |part: u64, of: u64| match of {
            0 => Value::Null,
            of => json!(part as f64 / of as f64),
        };
        let time = self.time.as_secs_f64().max(1e-9);
        json!({
            "hit_rate": share(self.hits, self.needed),
            "disk_bytes_per_token": self.bytes as f64 / tokens,
            "kernel_disk_bytes_per_token": self.kernel_bytes.map(|bytes| bytes as f64 / tokens),
            "missing_bytes_per_token": self.missing_bytes as f64 / tokens,
            "waiting_share": self.waited.as_secs_f64() / time,
            "foreseen": self.foreseen,
            "prediction_accuracy": share(self.right, self.foreseen),
            "read_gbps": self.bytes as f64 / time / 1e9,
        })
    }
}

/// Counters at some moment.
#[derive(Clone, Copy)]
pub struct Counted {
    counters: Streamed,
    kernel: Option<u64>,
}

/// The counters now; `None` where all weights are in memory.
pub fn now(engine: &Engine<Cpu>) -> Option<Counted> {
    Some(Counted {
        counters: engine.ops().streamed()?,
        kernel: kernel_bytes(),
    })
}

/// What was read since `then`, in so much time.
pub fn between(then: Option<Counted>, engine: &Engine<Cpu>, time: Duration) -> Option<Reads> {
    Some(now(engine)?.since(&then?, engine.plan().streamed.as_ref()?, time))
}

impl Counted {
    /// What was read from then until now, in so much time.
    pub fn since(&self, then: &Self, plan: &StreamPlan, time: Duration) -> Reads {
        let (now, past) = (&self.counters, &then.counters);
        let kernel = self.kernel.zip(then.kernel);
        let mut reads = Reads {
            needed: now.needed - past.needed,
            hits: now.hits - past.hits,
            foreseen: now.foreseen - past.foreseen,
            right: now.right - past.right,
            bytes: now.fetched.bytes - past.fetched.bytes,
            kernel_bytes: kernel.map(|(now, then)| now.saturating_sub(then)),
            missing_bytes: 0,
            waited: now.waited.saturating_sub(past.waited),
            time,
        };
        reads.missing_bytes = match plan.on_disk {
            OnDisk::Experts => {
                let each = plan.token_bytes as f64 / plan.per_token.max(1) as f64;
                ((reads.needed - reads.hits) as f64 * each) as u64
            }
            OnDisk::All => reads.bytes,
        };
        reads
    }
}

/// Bytes that this process has had read from disks, as the kernel counts them.
fn kernel_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_shares() {
        let one = Reads {
            needed: 10,
            hits: 9,
            foreseen: 4,
            right: 2,
            bytes: 1000,
            kernel_bytes: Some(1100),
            missing_bytes: 900,
            waited: Duration::from_millis(250),
            time: Duration::from_millis(1000),
        };
        let two = one.and(one);
        assert_eq!(two.hit_rate(), 0.9);
        let json = two.json(4.0);
        assert_eq!(json["disk_bytes_per_token"], 500.0);
        assert_eq!(json["kernel_disk_bytes_per_token"], 550.0);
        assert_eq!(json["prediction_accuracy"], 0.5);
        assert_eq!(json["waiting_share"], 0.25);
        assert!(Reads::default().json(1.0)["hit_rate"].is_null());
        let unknown = one.and(Reads::default());
        assert!(unknown.json(1.0)["kernel_disk_bytes_per_token"].is_null());
    }
}

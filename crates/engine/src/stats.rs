//! What an engine has done, in numbers.

use ingle_tensor::cpu::Streamed;
use std::time::Duration;

/// What an engine has done and has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches computed.
    pub steps: u64,
    /// Rows of them, guesses among them.
    pub rows: u64,
    /// Time in which batches were computed.
    pub busy: Duration,
    /// Guessed tokens that were computed.
    pub proposed: u64,
    /// Those that were right.
    pub accepted: u64,
    /// Requests that hold pages now.
    pub running: usize,
    /// Requests that wait for a place now.
    pub waiting: usize,
    /// Requests that are there now, those that run included.
    pub live: usize,
    /// Requests that were taken.
    pub taken: u64,
    /// Requests that were refused, for whatever reason.
    pub refused: u64,
    /// Requests that ended by themselves.
    pub completed: u64,
    /// Requests that somebody ended.
    pub cancelled: u64,
    /// Requests that could not go on.
    pub failed: u64,
    /// How often a request gave its place to another and began again.
    pub preemptions: u64,
    /// Tokens of the prompts of requests that are over.
    pub prompt_tokens: u64,
    /// How many of them had been computed before.
    pub cached_tokens: u64,
    /// How many of those came back from disk.
    pub disk_tokens: u64,
    /// Tokens generated, for all requests.
    pub generated_tokens: u64,
    /// Pages of keys and values.
    pub pages: usize,
    /// Those that hold nothing.
    pub free_pages: usize,
    /// Those that hold texts on which no request runs.
    pub kept_pages: usize,
    /// Time from a request to its first token.
    pub first_token: Histogram,
    /// Time from one token of an answer to the next.
    pub between_tokens: Histogram,
    /// Time in which requests waited for a place.
    pub queued: Histogram,
    /// What came of reading weights while they are used; `None`: all are in memory.
    pub streamed: Option<Streamed>,
}

/// How often something took how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How often it took at most [`Histogram::BOUNDS`], each by itself; the last: longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// All times together.
    pub sum: Duration,
}

impl Histogram {
    /// Milliseconds.
    pub const BOUNDS: [u64; 17] = [
        1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 15_000, 60_000,
    ];

    /// Once more, for so long.
    pub fn add(&mut self, time: Duration) {
        let fits = |ms: &u64| time <= Duration::from_millis(*ms);
        let class = Self::BOUNDS.iter().position(fits);
        self.counts[class.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum = self.sum.saturating_add(time);
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_the_bound_that_holds_them() {
        let mut histogram = Histogram::default();
        for ms in [0, 1, 2, 100, 101, 70_000] {
            histogram.add(Duration::from_millis(ms));
        }
        assert_eq!((histogram.count(), histogram.sum.as_millis()), (6, 70_204));
        let at = |ms| Histogram::BOUNDS.iter().position(|b| *b == ms).unwrap();
        let counts = [1, 2, 100, 150].map(|ms| histogram.counts[at(ms)]);
        assert_eq!((counts, histogram.counts.last()), ([2, 1, 1, 1], Some(&1)));
    }
}

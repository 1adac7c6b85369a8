//! How long to wait before a request is tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is tried again: only what was surely not answered, and never after a piece was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often, after the first try.
    pub times: u32,
    /// The longest wait before the second try; each further one may be twice as long.
    pub first: Duration,
    /// The longest wait before any. A server that wants to be left alone for longer is not asked again.
    pub most: Duration,
}

impl Default for Retries {
    /// Twice, after at most half a second and a second; never after more than 20 s.
    fn default() -> Self {
        Self {
            times: 2,
            first: Duration::from_millis(500),
            most: Duration::from_secs(20),
        }
    }
}

impl Retries {
    /// How long to wait before try `next` (1: the second one): full jitter, so that those who failed
    /// together do not come back together (M. Brooker, "Exponential Backoff and Jitter", 2015). `said` is
    /// what the server asked for: never less than that. None: not again.
    pub(super) fn wait(&self, next: u32, said: Option<Duration>, dice: &Dice) -> Option<Duration> {
        if next > self.times {
            return None;
        }
        let doubled = 2_u32.saturating_pow(next.saturating_sub(1));
        let most = self.first.saturating_mul(doubled).min(self.most);
        let jitter = most.mul_f64(dice.roll());
        let wait = said.unwrap_or_default().saturating_add(jitter);
        match said {
            Some(said) if said > self.most => None,
            _ => Some(wait),
        }
    }
}

/// Numbers that nobody needs to foresee or repeat, from a seed of the binary's (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// From 0 to 1.
    pub(super) fn roll(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits: all that a number between 0 and 1 holds.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_are_spread_over_a_growing_range() {
        let (retries, dice) = (
            Retries {
                times: 9,
                ..Retries::default()
            },
            Dice::new(7),
        );
        for next in 1..=9 {
            let most = Duration::from_millis(500 << (next - 1)).min(Duration::from_secs(20));
            let waits: Vec<_> = (0..500)
                .filter_map(|_| retries.wait(next, None, &dice))
                .collect();
            assert_eq!(waits.len(), 500);
            assert!(waits.iter().all(|wait| *wait <= most));
            // Full jitter: near both ends there is something.
            assert!(waits.iter().any(|wait| *wait < most / 10), "{next}");
            assert!(waits.iter().any(|wait| *wait > most * 9 / 10), "{next}");
        }
        assert_eq!(retries.wait(10, None, &dice), None);
        assert_eq!(retries.wait(u32::MAX, None, &dice), None);
    }

    #[test]
    fn what_the_server_asks_for_is_kept_or_not_tried() {
        let (retries, dice) = (Retries::default(), Dice::new(1));
        let said = Duration::from_secs(3);
        let wait = retries.wait(1, Some(said), &dice).unwrap();
        assert!(wait >= said && wait <= said + retries.first);
        assert_eq!(retries.wait(1, Some(Duration::from_secs(21)), &dice), None);
        assert_eq!(retries.wait(1, Some(Duration::MAX), &dice), None);
    }

    proptest! {
        #[test]
        fn rolls_lie_between_0_and_1(seed: u64) {
            let dice = Dice::new(seed);
            for _ in 0..20 {
                let roll = dice.roll();
                prop_assert!((0.0..1.0).contains(&roll));
            }
        }
    }
}

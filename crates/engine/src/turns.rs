//! Engines that compute with the same threads take turns.
//!
//! One computes at a time, for whole steps: two that alternate within their steps would push each
//! other's weights out of the caches, and who finds the threads free only now and then waits for ever.
//! Turns go round in the order in which engines come, and each lasts for as long as the one before it
//! did, or for one step: so a small model gets as much time as a large one, not as many steps.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The turns of engines that share threads. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Desk>);

#[derive(Debug, Default)]
struct Desk {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The number of who comes next.
    next: u64,
    /// Whose turn it is.
    serving: u64,
    /// How long the latest turn was that others waited for.
    latest: Duration,
}

impl Queue {
    /// How many wait for the end of this turn.
    fn waiting(&self) -> u64 {
        self.next.saturating_sub(self.serving + 1)
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change under this lock is complete before anything can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Waits for a turn.
    pub(crate) fn take(&self) -> Turn {
        let mut queue = self.0.lock();
        let number = queue.next;
        queue.next += 1;
        while queue.serving != number {
            queue = match self.0.changed.wait(queue) {
                Ok(queue) => queue,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
        drop(queue);
        Turn {
            desk: Arc::clone(&self.0),
            used: Duration::ZERO,
        }
    }
}

/// The right to compute; dropping it ends the turn.
#[derive(Debug)]
pub(crate) struct Turn {
    desk: Arc<Desk>,
    /// How long it has been while others waited.
    used: Duration,
}

impl Turn {
    /// How many others wait for its end.
    pub fn others(&self) -> u64 {
        self.desk.lock().waiting()
    }

    /// A step took so long; whether it was the last of this turn.
    pub fn is_over(&mut self, took: Duration) -> bool {
        let queue = self.desk.lock();
        if queue.waiting() == 0 {
            self.used = Duration::ZERO;
            return false;
        }
        self.used += took;
        self.used >= queue.latest
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.desk.lock();
        queue.serving += 1;
        queue.latest = self.used;
        drop(queue);
        self.desk.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const STEP: Duration = Duration::from_millis(10);

    /// Waits until so many wait for a turn.
    fn until_waiting(turn: &Turn, n: u64) {
        while turn.others() != n {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_is_alone_goes_on() {
        let turns = Turns::default();
        let mut turn = turns.take();
        for _ in 0..100 {
            assert!(!turn.is_over(STEP));
        }
    }

    #[test]
    fn a_turn_lasts_for_as_long_as_the_one_before_it() {
        let turns = Turns::default();
        let mut large = turns.take();
        std::thread::scope(|scope| {
            let small = scope.spawn(|| turns.take());
            until_waiting(&large, 1);
            // Nothing is known of others: one step.
            assert!(large.is_over(10 * STEP));
            drop(large);
            let mut small = small.join().unwrap();
            let again = scope.spawn(|| turns.take());
            until_waiting(&small, 1);
            let steps = (1..).find(|_| small.is_over(STEP));
            assert_eq!(steps, Some(10));
            drop(small);
            let mut large = again.join().unwrap();
            let waits = scope.spawn(|| drop(turns.take()));
            until_waiting(&large, 1);
            assert!(large.is_over(10 * STEP));
            drop(large);
            waits.join().unwrap();
        });
    }

    #[test]
    fn one_computes_at_a_time_and_all_come_round() {
        let (turns, inside) = (Turns::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for engine in 1..4_u32 {
                let (turns, inside) = (&turns, &inside);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let mut turn = turns.take();
                        loop {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            std::hint::spin_loop();
                            assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                            if turn.is_over(engine * STEP) || turn.others() == 0 {
                                break;
                            }
                        }
                    }
                });
            }
        });
        let queue = turns.0.lock();
        assert_eq!((queue.next, queue.serving), (600, 600));
    }

    #[test]
    fn who_panics_ends_his_turn() {
        let turns = Turns::default();
        let all = turns.clone();
        let thread = std::thread::spawn(move || {
            let _turn = all.take();
            panic!("in the middle of a step");
        });
        assert!(thread.join().is_err());
        assert_eq!(turns.take().others(), 0);
    }
}

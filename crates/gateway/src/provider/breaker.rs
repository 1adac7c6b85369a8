//! A provider that fails again and again is left alone for a while (M. Nygard, "Release It!", 2007).

use std::time::Duration;

/// When a provider is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row after which it is.
    pub failures: u32,
    /// For how long; twice as long after each trial that fails.
    pub rest: Duration,
    /// For how long at most.
    pub most_rest: Duration,
}

impl Default for BreakerSettings {
    /// After 5 failures in a row for 10 s, at most 5 minutes.
    fn default() -> Self {
        Self {
            failures: 5,
            rest: Duration::from_secs(10),
            most_rest: Duration::from_secs(300),
        }
    }
}

/// Closed: everything goes through. Open: nothing does. Half open: one request tries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, rest: Duration },
    HalfOpen { rest: Duration },
}

/// A circuit breaker. Times are since whenever the caller's clock began.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Counts changes of the state, so that a request that began before one says nothing after it.
    age: u64,
}

/// Leave for one request, to be given back with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    age: u64,
    trial: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The provider did its part.
    Well,
    /// It did not.
    Ill,
    /// It says nothing about the provider: given up, or refused for a reason of its own.
    Nothing,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
            age: 0,
        }
    }

    /// How long nothing goes through yet; `None`: a request may.
    pub(super) fn rests(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => until.checked_sub(now).filter(|left| !left.is_zero()),
            // Somebody tries it just now.
            State::HalfOpen { rest } => Some(rest),
        }
    }

    /// Leave for a request.
    ///
    /// # Errors
    /// How long there is none.
    pub(super) fn enter(&mut self, now: Duration) -> Result<Leave, Duration> {
        if let Some(left) = self.rests(now) {
            return Err(left);
        }
        let trial = match self.state {
            State::Open { rest, .. } => {
                self.turn(State::HalfOpen { rest });
                true
            }
            State::Closed { .. } | State::HalfOpen { .. } => false,
        };
        Ok(Leave {
            age: self.age,
            trial,
        })
    }

    /// Takes a leave back.
    pub(super) fn leave(&mut self, leave: Leave, verdict: Verdict, now: Duration) {
        if leave.age != self.age {
            return;
        }
        match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Well) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Ill) => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if failures >= self.settings.failures.max(1) {
                    self.open(now, self.settings.rest);
                }
            }
            (State::HalfOpen { .. }, Verdict::Well) => self.turn(State::Closed { failures: 0 }),
            (State::HalfOpen { rest }, Verdict::Ill) => self.open(now, rest.saturating_mul(2)),
            // The next one tries it.
            (State::HalfOpen { rest }, Verdict::Nothing) => {
                self.turn(State::Open { until: now, rest });
            }
            (State::Closed { .. }, Verdict::Nothing) | (State::Open { .. }, _) => {}
        }
    }

    /// A check from outside found it well: it may be tried at once.
    pub(super) fn is_well(&mut self, now: Duration) {
        if let State::Open { rest, .. } = self.state {
            self.state = State::Open { until: now, rest };
        }
    }

    fn open(&mut self, now: Duration, rest: Duration) {
        let rest = rest.min(self.settings.most_rest);
        self.turn(State::Open {
            until: now.saturating_add(rest),
            rest,
        });
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.age = self.age.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings {
            failures: 3,
            rest: 10 * S,
            most_rest: 25 * S,
        })
    }

    fn fail(breaker: &mut Breaker, now: Duration) {
        let leave = breaker.enter(now).unwrap();
        breaker.leave(leave, Verdict::Ill, now);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_good_trial() {
        let mut it = breaker();
        for _ in 0..2 {
            fail(&mut it, S);
        }
        let leave = it.enter(S).unwrap();
        it.leave(leave, Verdict::Well, S);
        // The row was broken: three more.
        for _ in 0..3 {
            assert_eq!(it.rests(S), None);
            fail(&mut it, S);
        }
        assert_eq!(it.enter(S), Err(10 * S));
        assert_eq!(it.enter(6 * S), Err(5 * S));
        let trial = it.enter(11 * S).unwrap();
        // One at a time.
        assert!(it.enter(11 * S).is_err());
        it.leave(trial, Verdict::Well, 12 * S);
        assert!(it.enter(12 * S).is_ok());
    }

    #[test]
    fn rests_grow_to_a_bound() {
        let mut it = breaker();
        for _ in 0..3 {
            fail(&mut it, Duration::ZERO);
        }
        let mut now = Duration::ZERO;
        for rest in [10, 20, 25, 25] {
            assert_eq!(it.rests(now), Some(rest * S));
            now += rest * S;
            fail(&mut it, now);
        }
    }

    #[test]
    fn a_trial_that_was_given_up_is_tried_by_the_next() {
        let mut it = breaker();
        for _ in 0..3 {
            fail(&mut it, S);
        }
        let trial = it.enter(11 * S).unwrap();
        it.leave(trial, Verdict::Nothing, 11 * S);
        assert!(it.enter(11 * S).is_ok());
    }

    #[test]
    fn what_began_before_says_nothing_after() {
        let mut it = breaker();
        let old: Vec<Leave> = (0..10).map(|_| it.enter(S).unwrap()).collect();
        for leave in &old[..3] {
            it.leave(*leave, Verdict::Ill, S);
        }
        let trial = it.enter(12 * S).unwrap();
        for leave in &old[3..] {
            it.leave(*leave, Verdict::Well, 12 * S);
        }
        assert!(it.enter(12 * S).is_err(), "an old success closed it");
        it.leave(trial, Verdict::Ill, 12 * S);
        assert_eq!(it.rests(12 * S), Some(20 * S));
        it.is_well(13 * S);
        assert!(it.enter(13 * S).is_ok());
    }

    proptest! {
        /// Whatever happens: it never stays shut for longer than its longest rest once trials are given back.
        #[test]
        fn it_always_opens_again(steps in proptest::collection::vec((0_u8..4, 0_u64..30), 0..60)) {
            let (mut it, mut now, mut out) = (breaker(), Duration::ZERO, Vec::new());
            for (step, time) in steps {
                now += Duration::from_secs(time);
                match step {
                    0 => out.extend(it.enter(now)),
                    n => if let Some(leave) = out.pop() {
                        let verdict = [Verdict::Well, Verdict::Ill, Verdict::Nothing][usize::from(n - 1)];
                        it.leave(leave, verdict, now);
                    }
                }
            }
            for leave in out {
                it.leave(leave, Verdict::Ill, now);
            }
            prop_assert!(it.rests(now).is_none_or(|left| left <= 25 * S));
            prop_assert!(it.enter(now + 25 * S).is_ok());
        }
    }
}

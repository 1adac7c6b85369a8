//! A provider as it is now: how busy, how well.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Breaker, Leave, Verdict};
use super::error::Fault;
use super::settings::{Key, Provider};

/// Time since whenever it began, from whoever may read a clock. It never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Checks in a row that must fail before an upstream is left out.
const FAILED_CHECKS: u32 = 2;

/// A provider and its state, shared by all its models.
pub(super) struct Site {
    pub(super) provider: Provider,
    pub(super) load: AtomicU32,
    state: Mutex<State>,
    clock: Clock,
}

struct State {
    breaker: Breaker,
    /// It asked to be left alone until then.
    alone: Duration,
    /// When it was last asked something.
    used: Option<Duration>,
    /// When its health was last looked at.
    checked: Option<Duration>,
    failed_checks: u32,
}

impl Site {
    pub(super) fn new(provider: Provider, clock: Clock) -> Self {
        let breaker = Breaker::new(provider.settings.breaker);
        Self {
            provider,
            load: AtomicU32::new(0),
            state: Mutex::new(State {
                breaker,
                alone: Duration::ZERO,
                used: None,
                checked: None,
                failed_checks: 0,
            }),
            clock,
        }
    }

    pub(super) fn now(&self) -> Duration {
        (self.clock)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may go there now.
    pub(super) fn is_ready(&self) -> bool {
        let (now, state) = (self.now(), self.state());
        !matches!(self.provider.settings.key, Key::Missing(_))
            && state.failed_checks < FAILED_CHECKS
            && state.alone <= now
            && state.breaker.rests(now).is_none()
            && self.load.load(Ordering::Relaxed) < self.provider.settings.concurrent
    }

    /// Takes a place for one request.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entry, Fault> {
        let most = self.provider.settings.concurrent;
        let now = self.now();
        let mut state = self.state();
        if let Some(left) = state.alone.checked_sub(now).filter(|left| !left.is_zero()) {
            return Err(Fault::Resting { left });
        }
        // Under the lock, so that two do not take the last place.
        if self.load.load(Ordering::Relaxed) >= most {
            return Err(Fault::Full { most });
        }
        let leave = state.breaker.enter(now);
        let leave = leave.map_err(|left| Fault::Resting { left })?;
        self.load.fetch_add(1, Ordering::Relaxed);
        state.used = Some(now);
        Ok(Entry {
            site: self.clone(),
            leave: Some(leave),
        })
    }

    /// It wants to be left alone for so long.
    pub(super) fn leave_alone(&self, time: Duration) {
        let until = self.now().saturating_add(time);
        let mut state = self.state();
        state.alone = state.alone.max(until);
    }

    /// Whether its health is to be looked at: every so often, but only while somebody uses it. A machine
    /// that sends nothing out does not ask either.
    pub(super) fn wants_check(&self, every: Duration) -> bool {
        /// Checks after the last use.
        const AFTER: u32 = 20;
        let now = self.now();
        let mut state = self.state();
        let since = |then: Duration| now.saturating_sub(then);
        let used = state
            .used
            .is_some_and(|used| since(used) <= every.saturating_mul(AFTER));
        let due = state.checked.is_none_or(|checked| since(checked) >= every);
        if used && due {
            state.checked = Some(now);
        }
        used && due
    }

    pub(super) fn checked(&self, well: bool) {
        let now = self.now();
        let mut state = self.state();
        if well {
            state.failed_checks = 0;
            state.breaker.is_well(now);
        } else {
            state.failed_checks = state.failed_checks.saturating_add(1);
        }
    }
}

/// A place at a provider, given back when it is dropped.
pub(super) struct Entry {
    site: Arc<Site>,
    leave: Option<Leave>,
}

impl Entry {
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// Says what became of the request. The first word counts.
    pub(super) fn tell(&mut self, verdict: Verdict) {
        if let Some(leave) = self.leave.take() {
            let now = self.site.now();
            self.site.state().breaker.leave(leave, verdict, now);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tell(Verdict::Nothing);
        self.site.load.fetch_sub(1, Ordering::Relaxed);
    }
}

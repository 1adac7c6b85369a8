//! Memory of empty slots, found before it is needed.
//!
//! The first write to fresh memory waits until the system has found and zeroed it: 0.26 ms for 2 MiB on the
//! machine where this was measured, and 2.2 ms where that machine, being a virtual one, had given the memory
//! back to its host. Somebody waits for each read of an expert, so that is a good part of the wait. A thread
//! that gives way to all others stays some slots ahead of those that are handed out.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::fetch::Workers;
use crate::memory::give_way;

/// What is touched.
pub(super) trait Untouched: Send + Sync + 'static {
    /// Touches one more slot where fewer than enough are ready. `None`: enough are. False: this system cannot.
    fn touch_one(&self) -> Option<bool>;
}

/// The thread. Dropped, it ends after the slot at hand.
pub(super) struct Touching {
    bell: Arc<Bell>,
    _worker: Workers,
}

/// Wakes the thread.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
    closed: AtomicBool,
}

impl Touching {
    /// Begins, or `None` where the system gives no thread: all goes on as it would, more slowly.
    pub(super) fn begin(untouched: Arc<impl Untouched>, bell: &Arc<Bell>) -> Option<Self> {
        let mut worker = Workers::default();
        let heard = Arc::clone(bell);
        worker.spawn(move || touch(&*untouched, &heard)).ok()?;
        Some(Self {
            bell: Arc::clone(bell),
            _worker: worker,
        })
    }
}

impl Drop for Touching {
    fn drop(&mut self) {
        self.bell.closed.store(true, Relaxed);
        self.bell.ring();
    }
}

impl std::fmt::Debug for Touching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Touching")
    }
}

impl Bell {
    /// A slot was handed out.
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_while(rung, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner) = false;
    }
}

fn touch(untouched: &impl Untouched, bell: &Bell) {
    give_way();
    while !bell.closed.load(Relaxed) {
        match untouched.touch_one() {
            Some(true) => {}
            Some(false) => return,
            None => bell.wait(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Two are to be touched for each that was asked for.
    #[derive(Default)]
    struct Counted {
        asked: AtomicU32,
        touched: AtomicU32,
    }

    impl Untouched for Counted {
        fn touch_one(&self) -> Option<bool> {
            let behind = self.touched.load(Relaxed) < 2 * self.asked.load(Relaxed);
            behind.then(|| self.touched.fetch_add(1, Relaxed) < 1000)
        }
    }

    fn until(done: impl Fn() -> bool) {
        while !done() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn stays_ahead_and_ends() {
        let counted = Arc::new(Counted::default());
        let bell = Arc::new(Bell::default());
        let touching = Touching::begin(Arc::clone(&counted), &bell);
        for asked in 1..=5 {
            counted.asked.store(asked, Relaxed);
            bell.ring();
            until(|| counted.touched.load(Relaxed) == 2 * asked);
        }
        drop(touching); // waits for the thread
        assert_eq!(Arc::strong_count(&counted), 1);
        assert_eq!(counted.touched.load(Relaxed), 10);
    }

    #[test]
    fn ends_where_the_system_cannot() {
        let counted = Arc::new(Counted::default());
        counted.asked.store(1, Relaxed);
        counted.touched.store(1, Relaxed);
        let bell = Arc::new(Bell::default());
        let touching = Touching::begin(Arc::clone(&counted), &bell);
        counted.touched.store(1000, Relaxed);
        counted.asked.store(1000, Relaxed);
        bell.ring();
        until(|| Arc::strong_count(&counted) == 1);
        assert!(touching.is_some());
        assert_eq!(counted.touched.load(Relaxed), 1001);
    }
}

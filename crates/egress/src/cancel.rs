//! A wish to stop, which wakes whoever waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// A wish to stop that is shared between who may wish it (a key press) and who works.
///
/// Copies are the same wish. A cancelled value stays cancelled.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    tasks: Notify,
    lock: Mutex<()>,
    threads: Condvar,
}

impl Cancel {
    /// A value that nobody has cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops everything that was given this value.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.tasks.notify_waiters();
        // Taken so that a thread between its look and its sleep cannot miss the news.
        drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.threads.notify_all();
    }

    /// Whether somebody has cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Sleeps for `time`, or less when cancelled meanwhile. Says whether it is cancelled.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.0
                .threads
                .wait_timeout_while(guard, time, |()| !self.is_cancelled()),
        );
        self.is_cancelled()
    }

    /// Comes back when somebody has cancelled.
    pub(crate) async fn cancelled(&self) {
        let mut news = std::pin::pin!(self.0.tasks.notified());
        loop {
            news.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            news.as_mut().await;
            news.set(self.0.tasks.notified());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(600)));
        cancel.cancel();
        assert!(sleeper.join().unwrap());
        assert!(cancel.is_cancelled());
        assert!(cancel.sleep(Duration::from_secs(600)));
    }

    #[test]
    fn an_undisturbed_sleep_ends() {
        assert!(!Cancel::new().sleep(Duration::from_millis(1)));
    }
}

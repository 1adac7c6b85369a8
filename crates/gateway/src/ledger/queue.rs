//! What waits for the writer: bounded, first come first served.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LedgerError;
use super::job::{Ack, Do, Job};
use super::writer::Work;

/// Things to do that may wait. Settlements come on top: each has a reservation that was let in.
const MOST: usize = 16_384;

/// The queue between all who ask and the one who writes.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<dyn Do>>,
    /// Taken by the writer and not finished.
    taken: usize,
    /// Rows that were not let in and that no row tells of yet.
    lost: u64,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job at the end. Where there is no room, or nobody writes any more, the answer says so.
    pub(super) fn post<R, V, T, W>(&self, job: Job<R, V, W>) -> Ack<T>
    where
        R: FnMut(&mut Work<'_>) -> Result<V, LedgerError> + Send + 'static,
        V: Send + 'static,
        W: FnOnce(V) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.put(job, false)
    }

    /// The same for what ends something that was let in: there is always room for it.
    pub(super) fn post_always<R, V, T, W>(&self, job: Job<R, V, W>) -> Ack<T>
    where
        R: FnMut(&mut Work<'_>) -> Result<V, LedgerError> + Send + 'static,
        V: Send + 'static,
        W: FnOnce(V) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.put(job, true)
    }

    fn put<R, V, T, W>(&self, job: Job<R, V, W>, always: bool) -> Ack<T>
    where
        R: FnMut(&mut Work<'_>) -> Result<V, LedgerError> + Send + 'static,
        V: Send + 'static,
        W: FnOnce(V) -> T + Send + 'static,
        T: Send + 'static,
    {
        let counted = job.is_counted();
        let (job, ack) = job.asked();
        let refused = {
            let mut state = self.lock();
            if state.closed {
                Some((job, LedgerError::Closed))
            } else if !always && state.waiting.len() + state.taken >= MOST {
                state.lost += u64::from(counted);
                Some((job, LedgerError::Busy))
            } else {
                state.waiting.push_back(job);
                None
            }
        };
        match refused {
            None => self.more.notify_one(),
            Some((job, why)) => job.finish(Err(why)),
        }
        ack
    }

    /// At most `most` jobs, when there are any, or after `patience`. `None` when the queue was closed and
    /// is empty.
    pub(super) fn take(&self, most: usize, patience: Option<Duration>) -> Option<Vec<Box<dyn Do>>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = match patience {
                None => self
                    .more
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.more.wait_timeout(state, patience);
                    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return Some(Vec::new());
                    }
                    state
                }
            };
        }
        let n = most.min(state.waiting.len());
        state.taken += n;
        Some(state.waiting.drain(..n).collect())
    }

    /// So many of the jobs that were taken are finished.
    pub(super) fn finished(&self, n: usize) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(n);
    }

    /// Rows that were not let in since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().lost)
    }

    /// They are still to be told of.
    pub(super) fn give_back_lost(&self, n: u64) {
        self.lock().lost += n;
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }
}

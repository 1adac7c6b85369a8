//! What a fetcher, the thread of its ring and the threads that deliver have in common.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ingle_tensor::SourceError;
use ingle_tensor::fetch::{Queue, Sink, TensorRange, deliver};

use super::layout::Layout;
use super::{Buffer, Opened};
use crate::direct::Bell;

/// A request as it was asked for.
pub(crate) struct Request {
    pub(crate) ranges: Vec<TensorRange>,
    pub(crate) sink: Arc<dyn Sink>,
}

/// A request that was read, or could not be.
pub(crate) struct Finished {
    pub(crate) ticket: u64,
    pub(crate) request: Request,
    /// What was read, in memory that is free again afterwards.
    pub(crate) outcome: Result<(Layout, Buffer), SourceError>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something was finished, or nothing will be any more.
    finished: Condvar,
    bell: Arc<Bell>,
    files: Arc<[Opened]>,
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

pub(crate) struct State {
    pub(crate) queue: Queue<Request>,
    /// Memory that nothing is read into.
    pub(crate) free: Vec<Buffer>,
    finished: VecDeque<Finished>,
    pub(crate) closed: bool,
    /// The thread of the ring has looked, and sleeps or is about to.
    pub(crate) asleep: bool,
}

impl Shared {
    pub(crate) fn new(bell: Arc<Bell>, files: Arc<[Opened]>, free: Vec<Buffer>) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Queue::default(),
                free,
                finished: VecDeque::new(),
                closed: false,
                asleep: false,
            }),
            finished: Condvar::new(),
            bell,
            files,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the lock, and wakes the thread of the ring if it sleeps.
    pub(crate) fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.bell.ring();
        }
    }

    /// Hands a request to the threads that deliver.
    pub(crate) fn finish(&self, finished: Finished) {
        self.state().finished.push_back(finished);
        self.finished.notify_one();
    }

    /// No request is begun any more, and none delivered; those that wait are dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        // Dropped without the lock: a sink may be the last of its owner.
        let unread = std::mem::take(&mut state.queue);
        let untold = std::mem::take(&mut state.finished);
        self.wake(state);
        self.finished.notify_all();
        drop((unread, untold));
    }

    /// What was finished first, as soon as there is something; `None` when there will be nothing.
    fn next(&self) -> Option<Finished> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.finished.pop_front() {
                return Some(next);
            }
            let waiting = self.finished.wait(state);
            state = waiting.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Delivers until there is nothing more to come.
    pub(crate) fn deliver(&self) {
        while let Some(finished) = self.next() {
            let Finished {
                ticket, request, ..
            } = finished;
            let (layout, buffer) = match finished.outcome {
                Ok(read) => read,
                Err(error) => {
                    deliver(&*request.sink, ticket, Err(error));
                    continue;
                }
            };
            match layout.check(&self.files, &request.ranges) {
                Ok(()) => deliver(&*request.sink, ticket, Ok(&layout.slices(&buffer))),
                Err(error) => deliver(&*request.sink, ticket, Err(error)),
            }
            layout.release(&self.files);
            self.give_back(buffer);
        }
    }

    /// Memory that nothing is read into any more.
    pub(crate) fn give_back(&self, buffer: Buffer) {
        let mut state = self.state();
        state.free.push(buffer);
        self.wake(state);
    }
}

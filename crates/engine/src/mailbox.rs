//! Where the events of one request wait for their reader.

use crate::request::{Event, Refusal};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Events that may wait. With as many the request is paused, until half of them are read.
pub(crate) const MAX_UNREAD: usize = 256;

/// Shared by the engine's thread, which writes, and one reader.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: Option<Result<(), Refusal>>,
    events: VecDeque<Event>,
    /// The engine does not work on the request because nobody reads.
    paused: bool,
    waker: Option<Waker>,
}

/// What the reader should tell the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// There is room again.
    Resume,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under this lock can leave it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether the request is taken.
    pub fn answer(&self, taken: Result<(), Refusal>) {
        let mut state = self.lock();
        state.taken.get_or_insert(taken);
        wake(state);
    }

    /// Delivers an event; whether the request is to be paused now.
    pub fn push(&self, event: Event) -> bool {
        let mut state = self.lock();
        state.events.push_back(event);
        let pause = !state.paused && state.events.len() >= MAX_UNREAD;
        state.paused |= pause;
        wake(state);
        pause
    }

    /// Waits for the word whether the request is taken.
    pub fn poll_taken(&self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let mut state = self.lock();
        match &state.taken {
            Some(taken) => Poll::Ready(taken.clone()),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Waits for the next event.
    pub fn poll_event(&self, context: &mut Context<'_>) -> Poll<(Event, Then)> {
        let mut state = self.lock();
        let Some(event) = state.events.pop_front() else {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let resume = state.paused && state.events.len() <= MAX_UNREAD / 2;
        state.paused &= !resume;
        let then = if resume { Then::Resume } else { Then::Nothing };
        Poll::Ready((event, then))
    }
}

/// Wakes the reader when the lock is free again.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

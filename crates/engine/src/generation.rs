//! One request at a time, as an iterator.

use crate::engine::Engine;
use crate::request::{Event, Refusal, Request, RequestId};
use ingle_tensor::ops::Ops;
use std::collections::VecDeque;
use std::time::Duration;

impl<O: Ops + 'static> Engine<O> {
    /// Works on one request until it is over; events of others are dropped, so this is for
    /// programs with one request at a time.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn generate(&mut self, request: Request) -> Result<Generation<'_, O>, Refusal> {
        let id = self.submit(request, Duration::ZERO)?;
        Ok(Generation {
            engine: self,
            id,
            events: VecDeque::new(),
            over: false,
            clock: Box::new(|| Duration::ZERO),
            stop: Box::new(|| false),
        })
    }
}

/// The events of one request, computed as they are asked for. Dropping it cancels the request.
pub struct Generation<'a, O: Ops + 'static> {
    engine: &'a mut Engine<O>,
    id: RequestId,
    events: VecDeque<Event>,
    over: bool,
    clock: Box<dyn Fn() -> Duration + 'a>,
    stop: Box<dyn Fn() -> bool + 'a>,
}

impl<'a, O: Ops + 'static> Generation<'a, O> {
    /// With a clock, the time since any fixed moment: how many guesses pay is learned by it.
    #[must_use]
    pub fn timed(mut self, clock: impl Fn() -> Duration + 'a) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Ended as soon as `stop` says so, without another event, also while its prompt is computed.
    #[must_use]
    pub fn until(mut self, stop: impl Fn() -> bool + 'a) -> Self {
        self.stop = Box::new(stop);
        self
    }

    /// The engine that works on it.
    pub fn engine(&self) -> &Engine<O> {
        self.engine
    }
}

impl<O: Ops + 'static> Iterator for Generation<'_, O> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.events.is_empty() && !self.over {
            if (self.stop)() {
                return None;
            }
            let id = self.id;
            let events = self.engine.step((self.clock)()).into_iter();
            self.events.extend(events.filter(|e| e.request() == id));
        }
        let event = self.events.pop_front()?;
        self.over |= matches!(event, Event::Finished { .. });
        Some(event)
    }
}

impl<O: Ops + 'static> Drop for Generation<'_, O> {
    fn drop(&mut self) {
        self.engine.cancel(self.id, Duration::ZERO);
    }
}

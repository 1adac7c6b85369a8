//! A fetcher for any source: threads that read one request after another. No call of an operating system but those
//! of the source.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::workers::caught;
use super::{Fetched, Fetcher, Queue, Sink, TensorRange, Urgency, Workers, deliver};
use crate::source::checked_start;
use crate::{SourceError, WeightSource};

/// Reads the ranges of one request at a time, into memory of its own.
pub trait ReadUnit: Send {
    /// Reads the ranges.
    ///
    /// # Errors
    /// [`SourceError`]; the next request may go well again.
    fn read(&mut self, ranges: &[TensorRange]) -> Result<Unit<'_>, SourceError>;
}

/// What a [`ReadUnit`] has read.
#[derive(Debug)]
pub struct Unit<'a> {
    /// The bytes of each range.
    pub ranges: Vec<&'a [u8]>,
    /// Bytes that came from the disk.
    pub bytes: u64,
}

/// Reads on threads, each with a [`ReadUnit`] of its own; each also delivers what it has read. Dropped, it waits
/// for the reads that are going on, and for no others.
pub struct Threads {
    shared: Arc<Shared>,
    /// Dropped after `drop` has closed the queue.
    workers: Workers,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    requests: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: Queue<Request>,
    closed: bool,
}

/// A request as it waits.
struct Request {
    ranges: Vec<TensorRange>,
    sink: Arc<dyn Sink>,
}

impl Threads {
    /// Reads from `source` by [`WeightSource::read`], on `threads` threads (at least one). Each keeps a buffer of
    /// the largest request that it has read.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn over(source: &Arc<dyn WeightSource>, threads: usize) -> io::Result<Self> {
        let reader = |_| {
            Box::new(FromSource {
                source: Arc::clone(source),
                buffer: Vec::new(),
            }) as Box<dyn ReadUnit>
        };
        Self::with((0..threads.max(1)).map(reader))
    }

    /// One thread for each of `readers`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn with(readers: impl IntoIterator<Item = Box<dyn ReadUnit>>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        // Made before the threads: where one of them cannot be had, dropping this ends the others.
        let mut threads = Self {
            shared: Arc::clone(&shared),
            workers: Workers::default(),
        };
        for reader in readers {
            let shared = Arc::clone(&shared);
            threads.workers.spawn(move || work(&shared, reader))?;
        }
        Ok(threads)
    }
}

impl Fetcher for Threads {
    fn fetch(&self, ticket: u64, ranges: &[TensorRange], urgency: Urgency, sink: &Arc<dyn Sink>) {
        let request = Request {
            ranges: ranges.to_vec(),
            sink: Arc::clone(sink),
        };
        self.shared.state().queue.push(ticket, urgency, request);
        self.shared.ready.notify_one();
    }

    fn hasten(&self, ticket: u64) {
        self.shared.state().queue.hasten(ticket);
    }

    fn withdraw(&self, ticket: u64) -> bool {
        // Dropped when the lock is free again: the sink may be the last of its owner.
        let taken = self.shared.state().queue.withdraw(ticket);
        taken.is_some()
    }

    fn fetched(&self) -> Fetched {
        Fetched {
            requests: self.shared.requests.load(Relaxed),
            bytes: self.shared.bytes.load(Relaxed),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        let unread = std::mem::take(&mut state.queue);
        drop(state);
        self.shared.ready.notify_all();
        drop(unread);
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads")
            .field("threads", &self.workers.len())
            .field("fetched", &self.fetched())
            .finish()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request, as soon as there is one; `None` when there will be none.
    fn next(&self) -> Option<(u64, Request)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.queue.pop() {
                return Some(next);
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Reads and delivers until there is nothing more to come.
fn work(shared: &Shared, mut reader: Box<dyn ReadUnit>) {
    while let Some((ticket, request)) = shared.next() {
        let (reader, ranges) = (&mut *reader, &request.ranges);
        let outcome = caught(move || reader.read(ranges));
        let outcome = outcome.unwrap_or_else(|_| Err(panicked(ranges)));
        if let Ok(unit) = &outcome {
            shared.requests.fetch_add(1, Relaxed);
            shared.bytes.fetch_add(unit.bytes, Relaxed);
        }
        match outcome {
            Ok(unit) => deliver(&*request.sink, ticket, Ok(&unit.ranges)),
            Err(error) => deliver(&*request.sink, ticket, Err(error)),
        }
    }
}

/// What a request hears whose reader came to an end by a panic: one that hears nothing waits for ever.
fn panicked(ranges: &[TensorRange]) -> SourceError {
    let first = ranges.first();
    SourceError::Read {
        name: first.map_or(String::new(), |range| range.name.to_string()),
        file: "the source of weights".to_owned(),
        offset: first.map_or(0, |range| range.offset),
        error: io::Error::other("it panicked"),
    }
}

/// Reads from a source, a request into one buffer.
struct FromSource {
    source: Arc<dyn WeightSource>,
    /// As long as the largest request so far.
    buffer: Vec<u8>,
}

impl ReadUnit for FromSource {
    fn read(&mut self, ranges: &[TensorRange]) -> Result<Unit<'_>, SourceError> {
        let mut bytes = 0_usize;
        for range in ranges {
            let tensor = self.source.tensor(&range.name);
            let tensor = tensor.ok_or_else(|| SourceError::Missing {
                name: range.name.to_string(),
            })?;
            // Before memory is taken for it.
            checked_start(tensor, range.offset, range.len)?;
            bytes = bytes.saturating_add(range.len);
        }
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        let mut rest = self.buffer.as_mut_slice();
        let mut read = Vec::with_capacity(ranges.len());
        for range in ranges {
            let (into, later) = rest.split_at_mut(range.len);
            self.source.read(&range.name, range.offset, into)?;
            read.push(&*into);
            rest = later;
        }
        Ok(Unit {
            ranges: read,
            bytes: bytes as u64,
        })
    }
}

//! The threads of a fetcher, and how they hand over what was read.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Builder, JoinHandle};

use super::Sink;
use crate::SourceError;

/// Threads that end soon after they were told to, and are waited for when this is dropped. Tell them before.
#[derive(Debug, Default)]
pub struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts one more.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn spawn(&mut self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let builder = Builder::new().name("ingle-read".to_owned());
        self.0.push(builder.spawn(work)?);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let me = thread::current().id();
        for worker in self.0.drain(..) {
            // A sink may hold the last handle of its fetcher, and let go of it while it is called: a thread cannot
            // wait for itself. It ends when the sink returns.
            if worker.thread().id() != me {
                // What it said by a panic has been printed, and concerns nobody else.
                let _ = worker.join();
            }
        }
    }
}

/// Tells a sink. Should it panic against its promise, that request alone is lost: the thread goes on.
pub fn deliver(sink: &dyn Sink, ticket: u64, outcome: Result<&[&[u8]], SourceError>) {
    let _ = caught(|| sink.arrived(ticket, outcome));
}

/// What `work` returns, or that it panicked. Nothing that it may have left half done is used afterwards.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
}

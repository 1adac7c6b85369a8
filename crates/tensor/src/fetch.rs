//! Reads that are asked for now and come later: how weights reach a network that does not hold them all.

mod queue;
mod threads;
mod workers;

use std::sync::Arc;

use crate::SourceError;

pub use queue::Queue;
pub use threads::{ReadUnit, Threads, Unit};
pub use workers::{Workers, deliver};

/// A range of a named tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorRange {
    /// The tensor.
    pub name: Arc<str>,
    /// Bytes from the tensor's start.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
}

/// How much a request matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// It may be used soon. It is read when nothing that is awaited is left to read.
    Likely,
    /// Somebody waits for it, or is about to.
    Awaited,
}

/// Reads ranges of tensors on threads of its own, several at the same time.
///
/// A request is named by the caller's ticket; there is never more than one with the same ticket.
/// Awaited requests are begun in the order in which they came, before all likely ones.
pub trait Fetcher: Send + Sync {
    /// Asks for `ranges`, which lie in the tensors of the source that this was made of.
    /// [`Sink::arrived`] is called once, on a thread of the fetcher, unless the request is withdrawn.
    /// The caller bounds how many requests there are.
    fn fetch(&self, ticket: u64, ranges: &[TensorRange], urgency: Urgency, sink: &Arc<dyn Sink>);

    /// Makes a likely request awaited, if it has not begun.
    fn hasten(&self, ticket: u64);

    /// Takes back a request. True: it had not begun, and its sink will not hear of it.
    fn withdraw(&self, ticket: u64) -> bool;

    /// What was read so far.
    fn fetched(&self) -> Fetched;
}

/// Where the bytes of a request go.
pub trait Sink: Send + Sync {
    /// The bytes of the ranges that `ticket` asked for, in their order, or why they could not be read.
    /// They may be used during the call only. It must not panic, and may ask for more.
    fn arrived(&self, ticket: u64, outcome: Result<&[&[u8]], SourceError>);
}

/// What a [`Fetcher`] has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Requests that were read.
    pub requests: u64,
    /// Bytes that came from the disk, those that alignment added among them.
    pub bytes: u64,
}

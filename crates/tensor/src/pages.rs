//! Pages of keys and values that outlive a process: what a store of them does.

use std::time::Duration;

/// Names a page by what it holds: the digest of all tokens up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// Whose it is: pages of one namespace are never given to another.
    pub namespace: u64,
    /// Pages of the text before it.
    pub index: u32,
    /// SHA-256 of the tokens of the text, page by page.
    pub digest: [u8; 32],
}

/// Keeps pages, somewhere slower than memory, for one model that is loaded in one way.
///
/// It works on a thread of its own: reads and writes are begun here, and [`PageStore::done`] says what
/// became of them. A buffer that is handed over comes back. The caller bounds how many are out.
pub trait PageStore: Send {
    /// Whether it has a page, as far as it knows without looking.
    fn contains(&self, page: &PageKey) -> bool;

    /// Reads a page into `buffer`, which is as long as a page.
    fn read(&mut self, page: PageKey, buffer: Vec<u8>);

    /// Keeps a page.
    fn write(&mut self, page: PageKey, buffer: Vec<u8>);

    /// What was done since; where nothing was, it waits for as long as that.
    fn done(&mut self, patience: Duration) -> Option<Done>;

    /// Bytes of pages that are read back in a second, if any have been.
    fn rate(&self) -> Option<f64>;
}

/// Something that a [`PageStore`] did.
#[derive(Debug)]
pub struct Done {
    /// With which page.
    pub page: PageKey,
    /// The buffer that was handed over.
    pub buffer: Vec<u8>,
    /// What.
    pub what: Outcome,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the buffer, byte for byte as it was written.
    Read,
    /// It is not there, or not as it was written. The buffer means nothing.
    Missing,
    /// It was written, or could not be.
    Written,
}

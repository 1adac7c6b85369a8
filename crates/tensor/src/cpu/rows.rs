//! Single rows of a matrix, read when they are needed: an embedding that stays on disk.

use super::shelf::Shelf;
use super::stream::Clock;
use crate::SourceError;
use crate::fetch::Sink;
use std::sync::{Condvar, Mutex, PoisonError};

/// The bytes of a row.
type Outcome = Result<Vec<u8>, SourceError>;

/// Rows that were asked for by themselves.
#[derive(Default)]
pub(super) struct Rows {
    came: Mutex<Vec<(u64, Outcome)>>,
    bell: Condvar,
}

impl Rows {
    /// Waits for `n` rows; answers them in order.
    pub(super) fn wait(
        &self,
        n: usize,
        clock: &Clock,
        shelf: &Shelf,
    ) -> Result<Vec<Vec<u8>>, SourceError> {
        let since = clock();
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        while came.len() < n {
            came = self.bell.wait(came).unwrap_or_else(PoisonError::into_inner);
        }
        let mut rows = std::mem::take(&mut *came);
        shelf.lock().stats.waited += clock().saturating_sub(since);
        rows.sort_unstable_by_key(|(ticket, _)| *ticket);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

impl Sink for Rows {
    fn arrived(&self, ticket: u64, outcome: Result<&[&[u8]], SourceError>) {
        let row = outcome.map(|parts| parts.concat());
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.push((ticket, row));
        drop(came);
        self.bell.notify_all();
    }
}

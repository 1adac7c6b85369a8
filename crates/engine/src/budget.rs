//! How much memory all models of a process may take together.

use std::sync::{Arc, Mutex, PoisonError};

/// A limit on bytes, made once and shared by all models. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct Budget {
    limit: u64,
    taken: Arc<Mutex<u64>>,
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Budget,
    bytes: u64,
}

/// There is not so much left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{wanted} bytes of memory are needed, and {free} of {limit} are free; unload another model or allow more memory"
)]
pub struct OverBudget {
    /// Bytes asked for.
    pub wanted: u64,
    /// Bytes left.
    pub free: u64,
    /// Bytes of the whole budget.
    pub limit: u64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            taken: Arc::default(),
        }
    }

    /// Bytes of all of it.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that nobody holds.
    pub fn free(&self) -> u64 {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.limit.saturating_sub(*taken)
    }

    /// Takes `bytes` until the lease is dropped.
    ///
    /// # Errors
    /// [`OverBudget`] where so much is not free; nothing is then taken.
    pub fn take(&self, bytes: u64) -> Result<Lease, OverBudget> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.limit.saturating_sub(*taken);
        if bytes > free {
            return Err(OverBudget {
                wanted: bytes,
                free,
                limit: self.limit,
            });
        }
        *taken += bytes;
        Ok(Lease {
            budget: self.clone(),
            bytes,
        })
    }
}

impl Lease {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let taken = self.budget.taken.lock();
        *taken.unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_comes_back_when_dropped() {
        let budget = Budget::new(100);
        let first = budget.clone().take(60).unwrap();
        assert_eq!((first.bytes(), budget.free()), (60, 40));
        let over = budget.take(41).unwrap_err();
        assert_eq!((over.wanted, over.free, over.limit), (41, 40, 100));
        let second = budget.take(40).unwrap();
        drop(first);
        assert_eq!(budget.free(), 60);
        drop(second);
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn no_sum_wraps() {
        let budget = Budget::new(u64::MAX);
        let _all = budget.take(u64::MAX).unwrap();
        assert!(budget.take(1).is_err());
    }
}

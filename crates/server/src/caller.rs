//! Who asks.

/// Whoever sends a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Only what was computed for requests of the same number is used again.
    pub namespace: u64,
}

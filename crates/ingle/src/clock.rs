//! The time, for templates that show it: the libraries below have no clock.

use ingle::LocalTime;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in UTC.
pub fn now() -> LocalTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    LocalTime::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

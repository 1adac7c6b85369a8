//! The time, for templates that show it: the libraries below have no clock.

use ingle::LocalTime;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in UTC.
pub fn now() -> LocalTime {
    LocalTime::from_unix(unix())
}

/// Seconds since 1970.
pub fn unix() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The day, in UTC, of a moment in seconds since 1970: `2026-11-18`.
pub fn day(unix: i64) -> String {
    let LocalTime {
        year, month, day, ..
    } = LocalTime::from_unix(unix);
    format!("{year}-{month:02}-{day:02}")
}

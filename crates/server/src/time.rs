//! Times as dialects write them.

use ingle_formats::template::LocalTime;

/// Seconds since 1970 as in RFC 3339, in UTC: `2026-11-21T14:03:00Z`.
pub(crate) fn rfc3339(unix: i64) -> String {
    let time = LocalTime::from_unix(unix);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_rfc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_269_780), "2026-11-21T14:03:00Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
    }
}

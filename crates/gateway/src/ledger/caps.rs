//! Spending caps, and when a day and a month begin.
//!
//! A day is a day of the calendar in one time zone: that of the machine's user unless ingle.toml names
//! another. On the days on which clocks change it has 23 or 25 hours; where midnight does not exist, it
//! begins with the first moment that does. A request belongs to the day on which its money was reserved.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Currency, Money};

/// A cap by day and one by month; none: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cap {
    /// In a day, in billionths of the caps' currency.
    pub day: Option<i64>,
    /// In a month.
    pub month: Option<i64>,
}

/// All caps. All of them hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// Of every amount here.
    pub currency: Currency,
    /// For everybody together.
    pub all: Cap,
    /// For each user who has none of his own, the machine's owner among them.
    pub each_user: Cap,
    /// For users by the name of their key.
    pub users: BTreeMap<String, Cap>,
    /// For a single request.
    pub request: Option<i64>,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            currency: Currency::USD,
            all: Cap::default(),
            each_user: Cap::default(),
            users: BTreeMap::new(),
            request: None,
        }
    }
}

impl Caps {
    /// Whether there is no cap at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let none = Cap::default();
        let users = self.users.values().all(|cap| *cap == none);
        self.all == none && self.each_user == none && users && self.request.is_none()
    }

    /// What holds for one user. A name of its own replaces only the bounds that it gives.
    pub(super) fn of_user(&self, user: &str) -> Cap {
        let own = self.users.get(user).copied().unwrap_or_default();
        Cap {
            day: own.day.or(self.each_user.day),
            month: own.month.or(self.each_user.month),
        }
    }

    pub(super) fn money(&self, nanos: i64) -> Money {
        Money {
            nanos,
            currency: self.currency,
        }
    }
}

/// Whose days and months they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// From whoever may read the machine's settings.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self(zone)
    }

    fn at(&self, at: u64) -> Zoned {
        let at = i64::try_from(at).ok();
        let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
        // What is beyond the calendar is at its end.
        at.unwrap_or(Timestamp::MAX).to_zoned(self.0.clone())
    }

    /// The day that `at` (milliseconds since 1970) lies in: its first moment and that of the next.
    #[must_use]
    pub fn day(&self, at: u64) -> Range<u64> {
        let here = self.at(at);
        let next = here.tomorrow().and_then(|day| day.start_of_day());
        range(here.start_of_day().ok(), next.ok())
    }

    /// The month that it lies in.
    #[must_use]
    pub fn month(&self, at: u64) -> Range<u64> {
        let here = self.at(at);
        let first = here.first_of_month().and_then(|day| day.start_of_day());
        let next = here
            .last_of_month()
            .and_then(|day| day.tomorrow())
            .and_then(|day| day.start_of_day());
        range(first.ok(), next.ok())
    }

    /// The day's name: `2026-11-21`.
    #[must_use]
    pub fn date(&self, at: u64) -> String {
        self.at(at).strftime("%Y-%m-%d").to_string()
    }

    /// The moment, to the second: `2026-11-21 17:40:27 +01:00`.
    #[must_use]
    pub fn moment(&self, at: u64) -> String {
        self.at(at).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// The first moment of a day that is given as `2026-11-21`; none where there is no such day.
    #[must_use]
    pub fn start_of(&self, date: &str) -> Option<u64> {
        let date: jiff::civil::Date = date.parse().ok()?;
        let start = date.to_zoned(self.0.clone()).ok()?.start_of_day().ok()?;
        u64::try_from(start.timestamp().as_millisecond()).ok()
    }
}

fn range(start: Option<Zoned>, end: Option<Zoned>) -> Range<u64> {
    let millis = |at: Zoned| u64::try_from(at.timestamp().as_millisecond()).unwrap_or(0);
    start.map_or(0, millis)..end.map_or(u64::MAX, millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;

    fn berlin() -> Zone {
        Zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
    }

    #[test]
    fn days_have_the_hours_that_clocks_say() {
        let zone = berlin();
        let hours = |date: &str| {
            let day = zone.day(zone.start_of(date).unwrap());
            assert_eq!(zone.date(day.start), date);
            (day.end - day.start) / HOUR
        };
        assert_eq!(hours("2026-11-21"), 24);
        assert_eq!(hours("2026-03-29"), 23);
        assert_eq!(hours("2026-10-25"), 25);
        let march = zone.month(zone.start_of("2026-03-15").unwrap());
        assert_eq!((march.end - march.start) / HOUR, 31 * 24 - 1);
        assert_eq!(zone.date(march.start), "2026-03-01");
        assert_eq!(zone.date(march.end), "2026-04-01");
    }

    #[test]
    fn a_day_begins_although_midnight_does_not_exist() {
        // Clocks go forward at midnight, as in Santiago.
        let zone = Zone(TimeZone::posix("<-04>4<-03>,M9.1.6/24,M4.1.6/24").unwrap());
        let at = zone.start_of("2026-09-06").unwrap();
        let day = zone.day(at);
        assert_eq!(day.start, at);
        assert_eq!((day.end - day.start) / HOUR, 23);
        assert_eq!(zone.moment(at), "2026-09-06 01:00:00 -03:00");
    }

    #[test]
    fn dates_that_do_not_exist_are_none() {
        for wrong in ["", "2026-02-30", "yesterday", "20261121x", "1969-12-30"] {
            assert_eq!(berlin().start_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_users_own_cap_replaces_only_what_it_gives() {
        let caps = Caps {
            each_user: Cap {
                day: Some(1),
                month: Some(10),
            },
            users: [(
                "anna".to_owned(),
                Cap {
                    day: Some(5),
                    month: None,
                },
            )]
            .into(),
            ..Caps::default()
        };
        assert_eq!(
            caps.of_user("anna"),
            Cap {
                day: Some(5),
                month: Some(10)
            }
        );
        assert_eq!(
            caps.of_user(""),
            Cap {
                day: Some(1),
                month: Some(10)
            }
        );
        assert!(!caps.is_empty() && Caps::default().is_empty());
    }

    proptest! {
        #[test]
        fn every_moment_is_in_its_day_and_its_month(at in 0..4_102_444_800_000_u64) {
            let zone = berlin();
            let (day, month) = (zone.day(at), zone.month(at));
            prop_assert!(day.contains(&at) && month.contains(&at));
            prop_assert!(month.start <= day.start && day.end <= month.end);
            prop_assert_eq!(zone.day(day.end).start, day.end);
        }

        #[test]
        fn no_moment_is_beyond_reach(at: u64) {
            let zone = berlin();
            let _ = (zone.day(at), zone.month(at), zone.date(at));
        }
    }
}

//! What is spent or reserved today and this month, by user: kept in memory and brought up to date from
//! the rows that were added, by whichever process, so that a reservation costs the same on any day of the
//! month.

use std::collections::HashMap;
use std::ops::Range;

use rusqlite::{Connection, params};

use super::writer::millis;
use super::{Options, Zone};

/// Sums in billionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) day: i128,
    pub(super) month: i128,
}

/// The sums of one day and the month that it is in.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// None: to be read from the beginning.
    of: Option<Period>,
    all: Taken,
    users: HashMap<String, Taken>,
    /// The last rows that were counted.
    reservation: i64,
    settlement: i64,
}

#[derive(Debug)]
struct Period {
    day: Range<u64>,
    month: Range<u64>,
}

impl Tallies {
    /// Counts what was added since the last call, or everything when another day has begun.
    pub(super) fn catch_up(
        &mut self,
        connection: &Connection,
        options: &Options,
        now: u64,
    ) -> rusqlite::Result<()> {
        let current = |period: &Period| period.day.contains(&now) && period.month.contains(&now);
        if !self.of.as_ref().is_some_and(current) {
            self.begin(&options.zone, now);
        }
        let Some(period) = self.of.take() else {
            return Ok(());
        };
        let counted = self.count(connection, options, &period);
        // What was counted by half is counted again.
        if counted.is_ok() {
            self.of = Some(period);
        }
        counted
    }

    fn begin(&mut self, zone: &Zone, now: u64) {
        *self = Self {
            of: Some(Period {
                day: zone.day(now),
                month: zone.month(now),
            }),
            ..Self::default()
        };
    }

    fn count(
        &mut self,
        connection: &Connection,
        options: &Options,
        period: &Period,
    ) -> rusqlite::Result<()> {
        // A day of a time zone never reaches beyond its month.
        let (from, to) = (millis(period.month.start), millis(period.month.end));
        let currency = options.caps.currency.code();
        // By number, not by time: what was added is at the end. The signs and the join say so to SQLite.
        let mut reserved = connection.prepare_cached(
            "SELECT id, at, user, most FROM reservation
             WHERE id > ?1 AND +at >= ?2 AND +at < ?3 AND currency = ?4",
        )?;
        let mut rows = reserved.query(params![self.reservation, from, to, currency])?;
        while let Some(row) = rows.next()? {
            let (id, at, user): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            self.add(period, at, user, row.get(3)?);
            self.reservation = self.reservation.max(id);
        }
        let mut settled = connection.prepare_cached(
            "SELECT s.id, r.at, r.user, s.charged - r.most
             FROM settlement s CROSS JOIN reservation r ON r.id = s.reservation
             WHERE s.id > ?1 AND +r.at >= ?2 AND +r.at < ?3 AND r.currency = ?4",
        )?;
        let mut rows = settled.query(params![self.settlement, from, to, currency])?;
        while let Some(row) = rows.next()? {
            let (id, at, user): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            self.add(period, at, user, row.get(3)?);
            self.settlement = self.settlement.max(id);
        }
        Ok(())
    }

    fn add(&mut self, period: &Period, at: i64, user: String, nanos: i64) {
        let at = u64::try_from(at).unwrap_or(0);
        let today = period.day.contains(&at);
        for taken in [&mut self.all, self.users.entry(user).or_default()] {
            taken.month += i128::from(nanos);
            taken.day += if today { i128::from(nanos) } else { 0 };
        }
    }

    /// Of everybody.
    pub(super) fn all(&self) -> Taken {
        self.all
    }

    /// Of one user.
    pub(super) fn user(&self, user: &str) -> Taken {
        self.users.get(user).copied().unwrap_or_default()
    }

    /// When the day and the month end.
    pub(super) fn ends(&self) -> (u64, u64) {
        self.of
            .as_ref()
            .map_or((0, 0), |period| (period.day.end, period.month.end))
    }

    /// To be counted anew: rows were removed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

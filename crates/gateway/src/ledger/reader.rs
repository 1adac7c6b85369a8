//! A ledger that is read, while somebody writes it or not.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::{LedgerError, schema};

/// A ledger that is read.
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows of answers.
    pub answers: u64,
    /// Texts of requests and answers.
    pub texts: u64,
    /// Calls of providers for which money was set aside.
    pub reservations: u64,
    /// Those that are not settled: calls that run now.
    pub open: u64,
    /// Uses of the door and refusals.
    pub uses: u64,
    /// The first answer, in milliseconds since 1970.
    pub first: Option<u64>,
    /// The last one.
    pub last: Option<u64>,
    /// Answers whose rows could not be kept because too many waited.
    pub lost: u64,
    /// What was erased.
    pub erasures: Vec<ErasureRow>,
}

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasureRow {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// `user`, `age` or `texts`.
    pub what: String,
    /// The first moment that was kept.
    pub before: Option<u64>,
    /// What was given as the reason.
    pub why: String,
    /// How many rows.
    pub answers: u64,
    /// How many texts.
    pub texts: u64,
    /// Reservations removed, or freed of a name.
    pub reservations: u64,
    /// Rows of the door removed, or freed of a name.
    pub passages: u64,
}

/// As it was kept.
pub(super) fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Reader {
    /// Opens the ledger at `path`.
    ///
    /// # Errors
    /// There is none; it is something else, newer, damaged, or cannot be used.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            path: path.to_owned(),
            connection: schema::open_reader(path)?,
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at every page for damage.
    ///
    /// # Errors
    /// The first damage that was found.
    pub fn check(&self) -> Result<(), LedgerError> {
        schema::check(&self.path, &self.connection, "integrity_check")
    }

    /// How much there is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn summary(&self) -> Result<Summary, LedgerError> {
        self.summed().map_err(|error| self.of(&error))
    }

    /// The names of one person's requests; none: the machine's owner's.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn requests(&self, user: Option<&str>) -> Result<Vec<String>, LedgerError> {
        let of = |error| self.of(&error);
        let sql = "SELECT request FROM answer WHERE user = ?1";
        let mut all = self.connection.prepare(sql).map_err(of)?;
        let all = all.query_map([user.unwrap_or_default()], |row| row.get(0));
        all.map_err(of)?.collect::<Result<_, _>>().map_err(of)
    }

    /// What SQLite's error means.
    pub(super) fn of(&self, error: &rusqlite::Error) -> LedgerError {
        LedgerError::of(&self.path, error)
    }

    fn summed(&self) -> rusqlite::Result<Summary> {
        let one = |sql: &str| {
            self.connection
                .query_row(sql, [], |row| row.get(0))
                .map(count)
        };
        let moment = |sql: &str| -> rusqlite::Result<Option<u64>> {
            let found: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0))?;
            Ok(found.map(count))
        };
        let mut erasures = self.connection.prepare(
            "SELECT at, what, before, why, answers, texts, reservations, passages
             FROM erasure ORDER BY id",
        )?;
        let erasures = erasures.query_map([], |row| {
            let n = |i: usize| row.get(i).map(count);
            Ok(ErasureRow {
                at: n(0)?,
                what: row.get(1)?,
                before: row.get::<_, Option<i64>>(2)?.map(count),
                why: row.get(3)?,
                answers: n(4)?,
                texts: n(5)?,
                reservations: n(6)?,
                passages: n(7)?,
            })
        })?;
        Ok(Summary {
            answers: one("SELECT count(*) FROM answer")?,
            texts: one("SELECT count(*) FROM content")?,
            reservations: one("SELECT count(*) FROM reservation")?,
            open: one("SELECT count(*) FROM reservation r LEFT JOIN settlement s
                       ON s.reservation = r.id WHERE s.id IS NULL")?,
            uses: one("SELECT count(*) FROM passage WHERE event IN ('asked', 'refused')")?,
            first: moment("SELECT min(at) FROM answer")?,
            last: moment("SELECT max(at) FROM answer")?,
            lost: one("SELECT coalesce(sum(answers), 0) FROM lost")?,
            erasures: erasures.collect::<rusqlite::Result<_>>()?,
        })
    }
}

//! Erasure: the one way in which rows go, and a row in itself.
//!
//! What remains of a person are amounts without a name: money that was spent stays spent, so that no
//! erasure makes room under the caps for everybody. What the door let out stays too, without the name of
//! the request: a host, bytes, a rule. SQLite overwrites what it removes (`secure_delete`), and the write-ahead log is emptied.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::LedgerError;
use super::writer::{Work, millis};

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    /// Every row of one person: answers and texts go, reservations lose the name.
    User {
        /// The name of the key; none: the machine's owner.
        user: Option<String>,
        /// For the record: a number of a letter, say. Not the person's name.
        why: String,
    },
    /// Every row that is older than `before`, in milliseconds since 1970: answers, texts, the door's, and
    /// reservations that count for no cap any more.
    Before {
        /// The first moment that is kept.
        before: u64,
        /// For the record.
        why: String,
    },
    /// Texts of requests and answers that are older; their rows stay.
    Texts {
        /// The first moment whose texts are kept.
        before: u64,
        /// For the record.
        why: String,
    },
}

/// How many rows were erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Rows of answers.
    pub answers: u64,
    /// Texts.
    pub texts: u64,
    /// Reservations: removed, or, for a person, without the name from now on.
    pub reservations: u64,
    /// Rows of the door: removed, or, for a person, without the request's name from now on.
    pub passages: u64,
}

/// Erases and writes down that it was done.
pub(super) fn erase(work: &mut Work<'_>, erase: &Erase) -> Result<Erased, LedgerError> {
    let month = work.options.zone.month(work.now).start;
    let erased = within(work.connection, work.now, month, erase);
    let erased = erased.map_err(|error| work.of(&error))?;
    work.tallies.forget();
    *work.empty_log = true;
    Ok(erased)
}

fn within(
    connection: &Connection,
    now: u64,
    month: u64,
    erase: &Erase,
) -> rusqlite::Result<Erased> {
    connection.execute("INSERT INTO erasing (id) VALUES (1)", [])?;
    let (what, before, why, erased) = match erase {
        Erase::User { user, why } => {
            let user = user.as_deref().unwrap_or_default();
            ("user", None, why, person(connection, user)?)
        }
        Erase::Before { before, why } => {
            let erased = older(connection, millis(*before), millis((*before).min(month)))?;
            ("age", Some(millis(*before)), why, erased)
        }
        Erase::Texts { before, why } => {
            let erased = Erased {
                texts: texts(connection, "at < ?1", millis(*before))?,
                ..Erased::default()
            };
            ("texts", Some(millis(*before)), why, erased)
        }
    };
    connection.execute("DELETE FROM erasing", [])?;
    connection.execute(
        "INSERT INTO erasure (at, what, before, why, answers, texts, reservations, passages)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            millis(now),
            what,
            before,
            why,
            millis(erased.answers),
            millis(erased.texts),
            millis(erased.reservations),
            millis(erased.passages),
        ],
    )?;
    Ok(erased)
}

fn many(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Texts of the answers for which `which` holds.
fn texts(
    connection: &Connection,
    which: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<u64> {
    let sql = format!("DELETE FROM content WHERE answer IN (SELECT id FROM answer WHERE {which})");
    connection.execute(&sql, [value]).map(many)
}

fn person(connection: &Connection, user: &str) -> rusqlite::Result<Erased> {
    // A client may have put a name into the request's own.
    let passages = connection.execute(
        "UPDATE passage SET request = NULL WHERE request IN (
            SELECT request FROM answer WHERE user = ?1
            UNION SELECT request FROM reservation WHERE user = ?1)",
        [user],
    )?;
    let texts = texts(connection, "user = ?1", user)?;
    let answers = connection.execute("DELETE FROM answer WHERE user = ?1", [user])?;
    // A name that no key can have: the amounts count for everybody together and for no person.
    let sql = "UPDATE reservation SET user = '(erased)', request = '' WHERE user = ?1";
    let reservations = connection.execute(sql, [user])?;
    Ok(Erased {
        answers: many(answers),
        texts,
        reservations: many(reservations),
        passages: many(passages),
    })
}

fn older(connection: &Connection, before: i64, spent: i64) -> rusqlite::Result<Erased> {
    let texts = texts(connection, "at < ?1", before)?;
    let answers = connection.execute("DELETE FROM answer WHERE at < ?1", [before])?;
    // A use of the door goes as a whole, once its last event is old enough.
    let passages = connection.execute(
        "DELETE FROM passage WHERE (door, use) IN (
            SELECT door, use FROM passage GROUP BY door, use HAVING max(at) < ?1)",
        [before],
    )?;
    // This month's count for its caps, and open ones are still to be settled.
    let old =
        "SELECT r.id FROM reservation r JOIN settlement s ON s.reservation = r.id WHERE r.at < ?1";
    let ids: Vec<i64> = connection
        .prepare(old)?
        .query_map([spent], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ids {
        connection.execute("DELETE FROM settlement WHERE reservation = ?1", [id])?;
        connection.execute("DELETE FROM reservation WHERE id = ?1", [id])?;
    }
    Ok(Erased {
        answers: many(answers),
        texts,
        reservations: many(ids.len()),
        passages: many(passages),
    })
}

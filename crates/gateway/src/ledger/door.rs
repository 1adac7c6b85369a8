//! What leaves, row by row: the ledger as the log of the door.

use std::io;

use ingle_egress::{Log, Row};
use rusqlite::params;
use serde_json::Value;

use super::job::Job;
use super::writer::{Work, millis};
use super::{Ledger, LedgerError};

/// The log of one door: each event is a row of the ledger, on the disk before the door goes on. Where it
/// cannot be written, nothing is sent.
pub struct DoorLog {
    id: i64,
    ledger: Ledger,
}

impl DoorLog {
    pub(super) fn new(id: i64, ledger: Ledger) -> Self {
        Self { id, ledger }
    }
}

impl Log for DoorLog {
    fn record(&self, row: &Row) -> io::Result<()> {
        let event = serde_json::to_value(&row.event).map_err(io::Error::other)?;
        let (door, number) = (self.id, row.id);
        let job = Job::new(move |work| pass(work, door, number, &event), |()| ());
        self.ledger
            .0
            .queue
            .post(job)
            .wait()
            .map_err(io::Error::other)
    }
}

/// A new door; its number.
pub(super) fn open(work: &mut Work<'_>) -> Result<i64, LedgerError> {
    let row = params![millis(work.now), std::process::id()];
    let sql = "INSERT INTO door (at, process) VALUES (?1, ?2)";
    let written = work.connection.execute(sql, row);
    written.map_err(|error| work.of(&error))?;
    Ok(work.connection.last_insert_rowid())
}

/// One event. Fields that an event does not have are NULL.
fn pass(work: &mut Work<'_>, door: i64, number: u64, event: &Value) -> Result<(), LedgerError> {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let count = |name: &str| event.get(name).and_then(Value::as_u64).map(millis);
    // A refusal's reason and an end's outcome are the same thing: how it went.
    let outcome = text("outcome").or_else(|| text("reason"));
    let row = params![
        millis(work.now),
        door,
        millis(number),
        text("event").unwrap_or("unknown"),
        text("request"),
        text("rule"),
        text("purpose"),
        text("method"),
        text("origin"),
        text("path"),
        event.get("token").and_then(Value::as_bool),
        count("body"),
        text("address"),
        text("proxy"),
        count("status"),
        count("up"),
        count("down"),
        outcome,
    ];
    let insert = work.connection.prepare_cached(
        "INSERT INTO passage (at, door, use, event, request, rule, purpose, method, origin, path,
             token, body, address, proxy, status, up, down, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    );
    let written = insert.and_then(|mut insert| insert.execute(row));
    written.map(drop).map_err(|error| work.of(&error))
}

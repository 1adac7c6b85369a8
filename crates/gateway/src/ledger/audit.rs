//! What left this machine, and how a request was decided.

use rusqlite::{OptionalExtension as _, Row as Line, params};
use serde::Serialize;

use super::reader::{Reader, count};
use super::rows::COLUMNS;
use super::writer::millis;
use super::{Currency, LedgerError, Money, Row, Span, rows};

/// One use of the door, or one that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Use {
    /// When it was asked for, in milliseconds since 1970.
    pub at: u64,
    /// Whether it was refused: then nothing left, not even a look-up of a name.
    pub refused: bool,
    /// What for: `pull`, `provider`.
    pub purpose: String,
    /// The rule that let it go, or would have.
    pub rule: Option<String>,
    /// The request for which it was made.
    pub request: Option<String>,
    /// Whose request that was; none: the machine's owner, or it was for none.
    pub user: Option<String>,
    /// Why that request went there, in words.
    pub reason: Option<String>,
    /// The method of HTTP.
    pub method: Option<String>,
    /// Scheme, host and port.
    pub origin: String,
    /// Without the query.
    pub path: Option<String>,
    /// Whether an access token went along.
    pub token: bool,
    /// Bytes of the body that went along.
    pub body: Option<u64>,
    /// The addresses that were dialled, in order.
    pub addresses: Vec<String>,
    /// The proxy, where there was one.
    pub proxy: Option<String>,
    /// The status of the answer.
    pub status: Option<u64>,
    /// Bytes sent on the connection, TLS and headers included; none: it never said that it was over.
    pub up: Option<u64>,
    /// Bytes received.
    pub down: Option<u64>,
    /// How it went: `done`, what went wrong, or why it was refused.
    pub outcome: Option<String>,
    /// The process that used the door.
    pub process: u64,
    /// Its door and the number of the use there.
    pub number: (u64, u64),
}

/// Money that was set aside for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reserved {
    /// Its number.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// For whom.
    pub provider: String,
    /// For which of its models.
    pub model: String,
    /// The most that the call could cost.
    pub most: Money,
    /// What was charged; none: the call runs.
    pub charged: Option<Money>,
    /// What the provider's figures, or ours, came to.
    pub claimed: Option<Money>,
    /// `settled`, `released` (nothing left), `dropped` or `died` (charged at its maximum).
    pub how: Option<String>,
}

/// One request, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The row's number.
    pub id: u64,
    /// The row, with texts where they were kept.
    pub row: Row,
    /// Money that was set aside.
    pub reserved: Vec<Reserved>,
    /// What left.
    pub uses: Vec<Use>,
}

const USES: &str = "SELECT p.at, p.event, p.purpose, p.rule, p.request, p.method, p.origin, p.path, \
    p.token, p.body, p.outcome, p.door, p.use, d.process FROM passage p JOIN door d ON d.id = p.door \
    WHERE p.event IN ('asked', 'refused')";

fn read_use(line: &Line<'_>) -> rusqlite::Result<Use> {
    let event: String = line.get(1)?;
    let text = |i: usize| line.get::<_, Option<String>>(i);
    let n = |i: usize| line.get(i).map(count);
    Ok(Use {
        at: n(0)?,
        refused: event == "refused",
        purpose: text(2)?.unwrap_or_default(),
        rule: text(3)?,
        request: text(4)?,
        method: text(5)?,
        origin: text(6)?.unwrap_or_default(),
        path: text(7)?,
        token: line.get::<_, Option<bool>>(8)?.unwrap_or(false),
        body: line.get::<_, Option<i64>>(9)?.map(count),
        outcome: text(10)?,
        number: (n(11)?, n(12)?),
        process: n(13)?,
        ..Use::default()
    })
}

impl Reader {
    /// Each use of the door that began in `span`, oldest first. `each` says whether to go on.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn audit(&self, span: Span, mut each: impl FnMut(Use) -> bool) -> Result<(), LedgerError> {
        let (from, to) = span.bounds();
        let sql = format!("{USES} AND p.at >= ?1 AND p.at < ?2 ORDER BY p.at, p.id");
        let mut walk = || {
            let mut uses = self.connection.prepare(&sql)?;
            let mut lines = uses.query(params![from, to])?;
            while let Some(line) = lines.next()? {
                let mut one = read_use(line)?;
                self.complete(&mut one)?;
                if !each(one) {
                    break;
                }
            }
            Ok(())
        };
        walk().map_err(|error: rusqlite::Error| self.of(&error))
    }

    /// What the door's other rows and the request's own say of it.
    fn complete(&self, one: &mut Use) -> rusqlite::Result<()> {
        let (door, number) = one.number;
        let mut events = self.connection.prepare_cached(
            "SELECT event, address, proxy, status, up, down, outcome FROM passage
             WHERE door = ?1 AND use = ?2 AND event IN ('dial', 'end') ORDER BY id",
        )?;
        let mut lines = events.query(params![millis(door), millis(number)])?;
        while let Some(line) = lines.next()? {
            let event: String = line.get(0)?;
            let n = |i: usize| line.get::<_, Option<i64>>(i).map(|n| n.map(count));
            if event == "dial" {
                one.addresses.extend(line.get::<_, Option<String>>(1)?);
                one.proxy = line.get(2)?;
            } else {
                (one.status, one.up, one.down) = (n(3)?, n(4)?, n(5)?);
                one.outcome = line.get(6)?;
            }
        }
        let Some(request) = &one.request else {
            return Ok(());
        };
        // Two requests may have the same name: the one that came last before the door was used.
        let mut asked = self.connection.prepare_cached(
            "SELECT user, reason FROM answer WHERE request = ?1
             ORDER BY at > ?2, abs(at - ?2) LIMIT 1",
        )?;
        let found = asked.query_row(params![request, millis(one.at)], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?))
        });
        if let Some((user, reason)) = found.optional()? {
            one.user = Some(user).filter(|user| !user.is_empty());
            one.reason = Some(reason);
        }
        Ok(())
    }

    /// The requests with this name, or the one with this number (`12` or `#12`), newest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn why(&self, name: &str) -> Result<Vec<Why>, LedgerError> {
        self.explain(name).map_err(|error| self.of(&error))
    }

    fn explain(&self, name: &str) -> rusqlite::Result<Vec<Why>> {
        let number: Option<i64> = name.strip_prefix('#').unwrap_or(name).parse().ok();
        let sql = format!(
            "SELECT {COLUMNS} FROM answer WHERE request = ?1 OR id = ?2 ORDER BY id DESC LIMIT 100"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let found = statement.query_map(params![name, number], rows::read)?;
        let found: Vec<(i64, Row)> = found.collect::<rusqlite::Result<_>>()?;
        let mut all = Vec::new();
        for (id, mut row) in found {
            let texts = self.connection.query_row(
                "SELECT prompt, reply FROM content WHERE answer = ?1",
                [id],
                |line| Ok((line.get(0)?, line.get(1)?)),
            );
            (row.prompt, row.answer) = texts.optional()?.unwrap_or_default();
            // Other requests of the same name lie before or after.
            let end = row.at.saturating_add(row.total_ms).saturating_add(SLACK_MS);
            let span = (millis(row.at), millis(end));
            all.push(Why {
                id: count(id),
                reserved: self.reserved(&row.request, row.reservation, span)?,
                uses: self.uses(&row.request, span)?,
                row,
            });
        }
        Ok(all)
    }

    /// Money that was set aside, and uses of the door, for requests of this name, whether they have a
    /// row or not: one whose process died has none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn traces(&self, name: &str) -> Result<(Vec<Reserved>, Vec<Use>), LedgerError> {
        let always = (0, i64::MAX);
        let found = self.reserved(name, None, always);
        let found = found.and_then(|reserved| Ok((reserved, self.uses(name, always)?)));
        found.map_err(|error| self.of(&error))
    }

    fn uses(&self, request: &str, (from, to): (i64, i64)) -> rusqlite::Result<Vec<Use>> {
        let sql = format!("{USES} AND p.request = ?1 AND p.at >= ?2 AND p.at <= ?3 ORDER BY p.id");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let span = params![request, from, to];
        let uses = statement.query_map(span, read_use)?;
        let mut uses: Vec<Use> = uses.collect::<rusqlite::Result<_>>()?;
        for one in &mut uses {
            self.complete(one)?;
        }
        Ok(uses)
    }

    fn reserved(
        &self,
        request: &str,
        own: Option<u64>,
        (from, to): (i64, i64),
    ) -> rusqlite::Result<Vec<Reserved>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT r.id, r.at, r.provider, r.model, r.currency, r.most, s.charged, s.claimed, s.how
             FROM reservation r LEFT JOIN settlement s ON s.reservation = r.id
             WHERE r.id = ?1 OR (r.request = ?2 AND r.at >= ?3 AND r.at <= ?4) ORDER BY r.id",
        )?;
        let which = params![own.map(millis), request, from, to];
        let reserved = statement.query_map(which, |line| {
            let currency: String = line.get(4)?;
            let currency = currency.parse().unwrap_or(Currency::USD);
            let money = |nanos| Money { nanos, currency };
            Ok(Reserved {
                id: count(line.get(0)?),
                at: count(line.get(1)?),
                provider: line.get(2)?,
                model: line.get(3)?,
                most: money(line.get(5)?),
                charged: line.get::<_, Option<i64>>(6)?.map(money),
                claimed: line.get::<_, Option<i64>>(7)?.map(money),
                how: line.get(8)?,
            })
        })?;
        reserved.collect()
    }
}

/// The clock of a row and that of the writer are read one after the other.
const SLACK_MS: u64 = 1000;

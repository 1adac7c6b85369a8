//! The one who writes: takes what waits, does it in one transaction, and answers when it is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingle_egress::Clock;
use rusqlite::{Connection, TransactionBehavior, params};

use super::job::{Do, Job};
use super::queue::Queue;
use super::session::{self, Fault, Session};
use super::tallies::Tallies;
use super::{Erase, LedgerError, Options, erase, schema};

/// Jobs in one transaction, at most.
const MOST: usize = 1024;
/// How soon what could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long what nobody waits for may be in the file and not on the disk.
const LATEST: Duration = Duration::from_secs(1);
/// How often at the end.
const LAST_TRIES: u32 = 3;

/// The writer of one process.
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    options: Options,
    clock: Clock,
    queue: Arc<Queue>,
    tallies: Tallies,
    session: Option<Session>,
    /// Jobs that a lock or a full disk kept from being done.
    held: Vec<Box<dyn Do>>,
    /// The day for which old rows were looked for.
    retained: Option<u64>,
    /// Whether each commit waits for the disk.
    waits: bool,
    /// Since when something is in the file of which it is not known that it is on the disk.
    unsynced: Option<Instant>,
}

/// What a job may use. It runs within a transaction.
pub(super) struct Work<'a> {
    pub(super) path: &'a Path,
    pub(super) connection: &'a Connection,
    pub(super) options: &'a Options,
    pub(super) tallies: &'a mut Tallies,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    session: &'a mut Option<Session>,
    began: &'a mut bool,
    /// Whether what was removed is to be taken out of the write-ahead log too.
    pub(super) empty_log: &'a mut bool,
}

impl Work<'_> {
    /// What SQLite's error means.
    pub(super) fn of(&self, error: &rusqlite::Error) -> LedgerError {
        LedgerError::of(self.path, error)
    }

    /// The number of this process, as one that reserves.
    pub(super) fn session(&mut self) -> Result<i64, LedgerError> {
        if let Some(session) = self.session.as_ref() {
            return Ok(session.id);
        }
        let begun = Session::begin(self.path, self.connection, millis(self.now));
        let session = begun.map_err(|fault| match fault {
            Fault::Io(error) => LedgerError::io(self.path, &error),
            Fault::Sqlite(error) => self.of(&error),
        })?;
        *self.began = true;
        Ok(self.session.insert(session).id)
    }
}

/// How one job went.
type Done = Result<(), LedgerError>;

/// A statement that comes with each job, and is read once.
fn said(connection: &Connection, sql: &str) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([])
}

/// As SQLite keeps it.
pub(super) fn millis(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

impl Writer {
    /// Opens the file and settles what dead processes left open.
    pub(super) fn open(
        path: &Path,
        options: Options,
        clock: Clock,
        queue: Arc<Queue>,
    ) -> Result<Self, LedgerError> {
        let mut connection = schema::open(path)?;
        let of = |error: rusqlite::Error| LedgerError::of(path, &error);
        let change = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(of)?;
        let dead = session::bury(path, &change, millis(clock())).map_err(of)?;
        change.commit().map_err(of)?;
        for file in dead {
            drop(std::fs::remove_file(file));
        }
        Ok(Self {
            path: path.to_owned(),
            connection,
            options,
            clock,
            queue,
            tallies: Tallies::default(),
            session: None,
            held: Vec::new(),
            retained: None,
            waits: true,
            unsynced: None,
        })
    }

    /// Until the ledger is closed and nothing waits.
    pub(super) fn run(mut self) {
        loop {
            self.retain();
            let again = (!self.held.is_empty()).then_some(AGAIN);
            let sync = self
                .unsynced
                .map(|since| LATEST.saturating_sub(since.elapsed()));
            let patience = again.into_iter().chain(sync).min();
            let Some(new) = self.queue.take(MOST, patience) else {
                break;
            };
            self.batch(new, true);
            if self.unsynced.is_some_and(|since| since.elapsed() >= LATEST) {
                self.sync();
            }
        }
        for _ in 0..LAST_TRIES {
            if !self.held.is_empty() {
                self.batch(Vec::new(), true);
            }
        }
        self.batch(Vec::new(), false);
        self.sync();
        if let Some(session) = self.session.take()
            && session
                .end(&self.connection, millis((self.clock)()))
                .is_ok()
        {
            session.remove();
        }
    }

    /// Once a day, erases what is older than it may be.
    fn retain(&mut self) {
        const DAY_MS: u64 = 86_400_000;
        let Some(days) = self.options.keep_days else {
            return;
        };
        let now = (self.clock)();
        let today = self.options.zone.day(now).start;
        if self.retained == Some(today) {
            return;
        }
        self.retained = Some(today);
        let before = today.saturating_sub(u64::from(days).saturating_mul(DAY_MS));
        let before = self.options.zone.day(before).start;
        let old = "SELECT EXISTS (SELECT 1 FROM answer WHERE at < ?1)
                       OR EXISTS (SELECT 1 FROM passage WHERE at < ?1)";
        let old = self
            .connection
            .query_row(old, [millis(before)], |row| row.get(0));
        if old.unwrap_or(false) {
            let why = format!("[ledger] keep_days = {days}");
            let erase = Erase::Before { before, why };
            // What cannot be erased now is tomorrow.
            let job = Job::new(move |work| erase::erase(work, &erase), |erased| erased);
            drop(self.queue.post(job));
        }
    }

    /// Whether commits from now on wait for the disk. What nobody waits for is in the file at once, where all
    /// can read it and no end of the process takes it away; the disk has it soon after.
    fn set_waits(&mut self, waits: bool) -> rusqlite::Result<()> {
        if self.waits != waits {
            let level = if waits { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.waits = waits;
        }
        Ok(())
    }

    /// Waits until the disk has what is in the file.
    fn sync(&mut self) {
        if self.unsynced.is_none() {
            return;
        }
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        // SQLite locks another file: closing this one lets nothing go.
        let log = std::fs::OpenOptions::new().write(true).open(log);
        self.unsynced = match log.and_then(|log| log.sync_data()) {
            Ok(()) => None,
            // Without a log all of it is in the file, which was synced before the log went.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => Some(Instant::now()),
        };
    }

    /// Does what was held back and what is new. What cannot be done now is held back, where it may be.
    fn batch(&mut self, new: Vec<Box<dyn Do>>, may_hold: bool) {
        let mut jobs = std::mem::take(&mut self.held);
        jobs.extend(new);
        if jobs.is_empty() {
            return;
        }
        match self.commit(&mut jobs) {
            Ok(done) => {
                self.unsynced = match self.waits {
                    // All that stands in the log before it is on the disk, too.
                    true => None,
                    false => self.unsynced.or_else(|| Some(Instant::now())),
                };
                let n = jobs.len();
                for (job, done) in jobs.into_iter().zip(done) {
                    job.finish(done);
                }
                self.queue.finished(n);
            }
            Err(error) => {
                let mut finished = 0;
                for job in jobs {
                    if may_hold && job.keeps() && error.passes() {
                        self.held.push(job);
                    } else {
                        job.finish(Err(error.clone()));
                        finished += 1;
                    }
                }
                self.queue.finished(finished);
            }
        }
    }

    /// One transaction. The outer error is of all jobs, an inner one of one alone.
    fn commit(&mut self, jobs: &mut [Box<dyn Do>]) -> Result<Vec<Done>, LedgerError> {
        let lost = self.queue.take_lost();
        let (mut began, mut empty_log) = (false, false);
        let done = self.transaction(jobs, lost, &mut began, &mut empty_log);
        if done.is_err() {
            // What it counted and began is undone.
            self.tallies = Tallies::default();
            self.queue.give_back_lost(lost);
            if began && let Some(session) = self.session.take() {
                session.remove();
            }
        }
        if empty_log && done.is_ok() {
            // A reader may be in the way; then the log is emptied when the last one closes the file.
            let emptied = "PRAGMA wal_checkpoint(TRUNCATE)";
            drop(self.connection.query_row(emptied, [], |_| Ok(())));
        }
        done
    }

    fn transaction(
        &mut self,
        jobs: &mut [Box<dyn Do>],
        lost: u64,
        began: &mut bool,
        empty_log: &mut bool,
    ) -> Result<Vec<Done>, LedgerError> {
        let waits = jobs.iter().any(|job| job.is_waited_for());
        let set = self.set_waits(waits);
        let path = self.path.as_path();
        let of = |error: rusqlite::Error| LedgerError::of(path, &error);
        set.map_err(of)?;
        let change = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(of)?;
        let mut work = Work {
            path,
            connection: &change,
            options: &self.options,
            tallies: &mut self.tallies,
            now: (self.clock)(),
            session: &mut self.session,
            began,
            empty_log,
        };
        if lost > 0 {
            let row = params![millis(work.now), millis(lost)];
            let sql = "INSERT INTO lost (at, answers) VALUES (?1, ?2)";
            change.execute(sql, row).map_err(of)?;
        }
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            said(&change, "SAVEPOINT job").map_err(of)?;
            let done = job.run(&mut work);
            if let Err(error) = &done {
                // A full disk or a fault of it undoes the whole transaction.
                if change.is_autocommit() || error.passes() {
                    return Err(error.clone());
                }
                said(&change, "ROLLBACK TO job").map_err(of)?;
            }
            said(&change, "RELEASE job").map_err(of)?;
            all.push(done);
        }
        change.commit().map_err(of)?;
        Ok(all)
    }
}

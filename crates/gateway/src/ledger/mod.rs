//! What was spent and what left: append-only rows, caps held by reservations, and what is read of them.
//!
//! ```text
//! reserve(most) -> call the provider -> settle(what it cost)   caps hold before, not after
//! append(row)                                                  one row an answer, local ones too
//! door() -> DoorLog                                            a row before the first byte leaves
//! Reader::open(path)                                           costs, audit, why
//! ```
//!
//! One SQLite file (WAL). Whoever writes has one writer thread, which puts all that waits into one
//! transaction and answers when it is on the disk; several processes may write to one ledger. No path,
//! clock or time zone is looked up here: they come as values.
//!
//! **Invariant:** what was acknowledged is on the disk.
//!
//! **Invariant:** rows are added. Nothing is changed or removed but by an erasure, which is a row too.
//!
//! **Invariant:** settled and reserved money together never pass a cap.
//!
//! **Invariant:** a reservation ends: by `settle`, by `release`, when it is dropped (at its maximum), or,
//! if its process died, when the ledger is opened next (at its maximum).

mod audit;
mod caps;
mod costs;
mod decision;
mod door;
mod energy;
mod erase;
mod error;
mod job;
mod money;
mod queue;
mod reader;
mod reservation;
mod row;
mod rows;
mod schema;
mod session;
mod spend;
mod tallies;
mod writer;

pub use audit::{Reserved, Use, Why};
pub use caps::{Cap, Caps, Zone};
pub use costs::{By, Compared, Costs, Reconciled, Span, Sums};
pub use decision::{Decision, Step};
pub use door::DoorLog;
pub use energy::{Energy, EnergyError, Meter, Rapl, Share};
pub use erase::{Erase, Erased};
pub use error::LedgerError;
pub use job::Ack;
pub use money::{Currency, Money, MoneyError, Prices, Tokens};
pub use reader::{ErasureRow, Reader, Summary};
pub use reservation::Reservation;
pub use row::{Outcome, Priced, Route, Row};
pub use spend::{Bound, Budget, Wanted};

/// What [`Zone::new`] is made from.
pub use jiff::tz::TimeZone;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ingle_egress::Clock;
use job::Job;
use queue::Queue;

/// How a ledger is written.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What may be spent.
    pub caps: Caps,
    /// Whose days and months the caps are of.
    pub zone: Zone,
    /// Whether texts of requests and answers are kept. They are not unless somebody asks for it.
    pub keep_texts: bool,
    /// After how many days rows are erased; none: never.
    pub keep_days: Option<u32>,
}

/// A ledger that is written. Clones share one writer.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    path: PathBuf,
    keeps_texts: bool,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the ledger at `path`, or begins one there; its folder must exist. Only its owner can read
    /// it. Reservations of processes that died are settled at their maximum before this comes back.
    ///
    /// # Errors
    /// The file is something else, newer, damaged, held by another program, or cannot be used.
    pub fn open(path: &Path, options: Options, clock: Clock) -> Result<Self, LedgerError> {
        let queue = Arc::new(Queue::default());
        let keeps_texts = options.keep_texts;
        let writer = writer::Writer::open(path, options, clock, Arc::clone(&queue))?;
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run())
            .map_err(|error| LedgerError::io(path, &error))?;
        Ok(Self(Arc::new(Shared {
            path: path.to_owned(),
            keeps_texts,
            queue,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether texts of requests and answers are kept.
    #[must_use]
    pub fn keeps_texts(&self) -> bool {
        self.0.keeps_texts
    }

    /// Keeps a row; the answer is its number. This never waits: nobody needs to wait for the [`Ack`]
    /// either, the row is written all the same. Where too much waits to be written, the row is not kept,
    /// and a row says how many were not.
    pub fn append(&self, row: Row) -> Ack<u64> {
        let job = Job::new(move |work| rows::append(work, &row), |id| id);
        self.0.queue.post(job.counted())
    }

    /// Reserves the most that a call can cost, against all caps at once. Every call of a provider has a
    /// reservation, whether there are caps or not: it is also what says what was spent.
    ///
    /// The answer is an error where a cap would be passed: [`LedgerError::Cap`],
    /// [`LedgerError::RequestCap`], [`LedgerError::Currency`].
    pub fn reserve(&self, wanted: Wanted) -> Ack<Reservation> {
        let queue = Arc::clone(&self.0.queue);
        let most = wanted.most;
        let job = Job::new(
            move |work| spend::reserve(work, &wanted),
            move |id| Reservation::new(id, most, queue),
        );
        self.0.queue.post(job).then(Reservation::handed)
    }

    /// What holds for one user now, and how much of it is taken.
    pub fn budget(&self, user: Option<&str>) -> Ack<Budget> {
        let user = user.unwrap_or_default().to_owned();
        let job = Job::new(move |work| spend::budget(work, &user), |budget| budget);
        self.0.queue.post(job)
    }

    /// Removes rows for good, and writes a row that says how many.
    pub fn erase(&self, erase: Erase) -> Ack<Erased> {
        let job = Job::new(move |work| erase::erase(work, &erase), |erased| erased);
        self.0.queue.post(job)
    }

    /// The log of a new door: each event is a row, on the disk before the door goes on.
    ///
    /// # Errors
    /// The ledger cannot be written: then there is no door.
    pub fn door(&self) -> Result<DoorLog, LedgerError> {
        let job = Job::new(door::open, |id| id);
        let id = self.0.queue.post(job).wait()?;
        Ok(DoorLog::new(id, self.clone()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // What it has taken is written before it ends.
            drop(thread.join());
        }
    }
}

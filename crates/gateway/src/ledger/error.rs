//! What can go wrong with the ledger. Nothing is removed or rewritten because of an error.

use std::path::{Path, PathBuf};

use super::Money;

/// Why a row was not kept, or a reservation not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// There is none yet.
    #[error("there is no ledger at {path}; the first request that is answered begins one")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{path} is no ledger of Ingle's ({why}); it was left as it is: give another path in [ledger] file"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// It was written by a newer Ingle.
    #[error(
        "the ledger {path} has schema {found} and this Ingle knows up to {known}; it was left as it is: use the newer Ingle"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is damaged.
    #[error(
        "the ledger {path} is damaged ({why}); it was left as it is: keep a copy of it and of {path}-wal, then restore a backup, or save what can be read with `sqlite3 {path} .recover`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// Somebody else holds it.
    #[error(
        "the ledger {path} is held by another program; end that program, or wait for it, and try again"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("the ledger {path} cannot be used ({why}); check the disk and who may write there")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// More is waiting to be written than there is room for.
    #[error("the ledger has too much waiting to be written; ask again in a moment")]
    Busy,
    /// It was closed before this was written.
    #[error("the ledger was closed before this was written down")]
    Closed,
    /// A cap would be passed.
    #[error(
        "{cap} of {limit} would be passed: {spent} of it are spent or reserved and this request may cost {wanted}; it begins anew on {until}"
    )]
    Cap {
        /// Which one, as `the cap by day for everybody`.
        cap: String,
        /// How much it is.
        limit: Money,
        /// How much of it is taken.
        spent: Money,
        /// What was to be reserved.
        wanted: Money,
        /// When it begins anew.
        until: String,
    },
    /// The cap on one request.
    #[error("this request may cost {wanted}, and one request may cost at most {limit}")]
    RequestCap {
        /// The cap.
        limit: Money,
        /// What was to be reserved.
        wanted: Money,
    },
    /// Caps and prices are in two currencies.
    #[error(
        "prices in {wanted} cannot be held to caps in {caps}; give [budget] currency = \"{wanted}\", or the provider's prices in {caps}"
    )]
    Currency {
        /// Of the caps.
        caps: String,
        /// Of the reservation.
        wanted: String,
    },
    /// An amount that is no amount.
    #[error("a reservation must be of 0 or more, not of {0}")]
    Negative(Money),
    /// It was settled before.
    #[error("reservation {0} was settled before; what was charged then stays")]
    Settled(u64),
    /// What was written there cannot be read back.
    #[error("row {row} of `{table}` in the ledger cannot be read ({why})")]
    Row {
        /// The table.
        table: &'static str,
        /// The row.
        row: i64,
        /// What is wrong.
        why: String,
    },
    /// Anything else that SQLite says.
    #[error("the ledger {path} says: {why}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        why: String,
    },
}

impl LedgerError {
    /// What SQLite's answer means for the ledger at `path`.
    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let (path, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(Code::NotADatabase) => Self::Foreign {
                path,
                why: "it is no SQLite database".into(),
            },
            Some(Code::DatabaseCorrupt) => Self::Damaged { path, why },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked { path },
            Some(
                Code::DiskFull
                | Code::SystemIoFailure
                | Code::ReadOnly
                | Code::CannotOpen
                | Code::PermissionDenied
                | Code::AuthorizationForStatementDenied,
            ) => Self::Io { path, why },
            _ => Self::Sqlite { path, why },
        }
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            why: error.to_string(),
        }
    }

    /// Whether the same may succeed later: what is to be written is kept for then.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Io { .. })
    }
}

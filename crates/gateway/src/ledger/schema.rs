//! The file: how it is begun, recognised and brought up to date.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::LedgerError;

/// `Ingl`, in the header of the file: SQLite's way of saying whose a database is.
const APPLICATION: i64 = 0x496e_676c;

/// Each step brings a file from its number to the next; a file without a schema begins at 0.
const STEPS: [fn(&Connection) -> rusqlite::Result<()>; 1] = [first];

/// How long another program may hold the file.
const PATIENCE: Duration = Duration::from_secs(3);

/// How soon a file is opened again that another program was making.
const AGAIN: Duration = Duration::from_millis(10);

/// A file up to this size is looked through when it is opened to be written.
const LOOKED_THROUGH: u64 = 16 << 20;

/// Tables whose rows are neither changed nor removed but by an erasure.
const KEPT: [&str; 10] = [
    "session",
    "session_end",
    "reservation",
    "settlement",
    "answer",
    "content",
    "door",
    "passage",
    "lost",
    "erasure",
];

fn first(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(include_str!("schema.sql"))?;
    for table in KEPT {
        // What erasures remove, and what they leave in any case.
        let always = matches!(
            table,
            "session" | "session_end" | "door" | "lost" | "erasure"
        );
        let when = if always {
            ""
        } else {
            "WHEN NOT EXISTS (SELECT 1 FROM erasing)"
        };
        for event in ["UPDATE", "DELETE"] {
            connection.execute_batch(&format!(
                "CREATE TRIGGER {table}_no_{event} BEFORE {event} ON {table} {when}
                 BEGIN SELECT RAISE(ABORT, 'rows of the ledger are only added'); END;"
            ))?;
        }
    }
    Ok(())
}

/// Opens the file for writing and makes it where it is not there.
///
/// Of two programs that make it at the same time SQLite tells one at once that it is locked, however
/// patient that is: neither could wait for the other to begin its log. So it is tried again.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let since = Instant::now();
    loop {
        match open_once(path) {
            Err(LedgerError::Locked { .. }) if since.elapsed() < PATIENCE => {
                std::thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
}

fn open_once(path: &Path) -> Result<Connection, LedgerError> {
    make(path).map_err(|error| LedgerError::io(path, &error))?;
    let of = |error: rusqlite::Error| LedgerError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(of)?;
    prepare(&connection).map_err(of)?;
    check_owner(path, &connection)?;
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(of)?;
    if mode != "wal" {
        return Err(LedgerError::Io {
            path: path.to_owned(),
            why: format!("its file system allows no write-ahead log, only `{mode}`"),
        });
    }
    migrate(path, &mut connection)?;
    look_through(path, &connection)?;
    Ok(connection)
}

/// Opens a file that is there for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Missing {
            path: path.to_owned(),
        });
    }
    let of = |error: rusqlite::Error| LedgerError::of(path, &error);
    // A log that a crash left is put in order by whoever opens the file, so that must be allowed.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(of)?;
    prepare(&connection).map_err(of)?;
    let found = check_owner(path, &connection)?;
    if found == 0 {
        return Err(LedgerError::Missing {
            path: path.to_owned(),
        });
    }
    migrate(path, &mut connection)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(of)?;
    Ok(connection)
}

/// The file, readable by its owner only; it and its name are on the disk.
fn make(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let new = !path.exists();
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Only a file that is ours to close: one that was opened by mistake stays as it was.
        if file.metadata()?.permissions().mode() & 0o077 != 0 && is_ledger(path) {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    if new {
        file.sync_all()?;
        #[cfg(unix)]
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::File::open(folder)?.sync_all()?;
        }
    }
    Ok(())
}

/// Whether the header says so, or there is nothing in the file.
#[cfg(unix)]
fn is_ledger(path: &Path) -> bool {
    use std::io::Read as _;
    const AT: usize = 68; // The application's number in SQLite's header.
    let mut header = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(100).read_to_end(&mut header));
    let number = header.get(AT..AT + 4).and_then(|n| n.try_into().ok());
    read.is_ok()
        && (header.is_empty() || number.map(u32::from_be_bytes).map(i64::from) == Some(APPLICATION))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // A row that was acknowledged survives a loss of power: the log is synced at each commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is replaced is deleted first: the triggers must see it.
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // What is erased is overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

/// Whether it is a ledger, or empty; its schema.
fn check_owner(path: &Path, connection: &Connection) -> Result<i64, LedgerError> {
    let of = |error: rusqlite::Error| LedgerError::of(path, &error);
    let application = number(connection, "application_id").map_err(of)?;
    let found = number(connection, "user_version").map_err(of)?;
    let things: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(of)?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let empty = application == 0 && found == 0 && things == 0;
    if application != APPLICATION && !empty {
        return Err(LedgerError::Foreign {
            path: path.to_owned(),
            why: "it is a database of another program".into(),
        });
    }
    if found > known {
        let path = path.to_owned();
        return Err(LedgerError::Newer { path, found, known });
    }
    if found < 0 {
        return Err(LedgerError::Foreign {
            path: path.to_owned(),
            why: format!("its schema is {found}"),
        });
    }
    Ok(found)
}

/// All steps that are missing, in one transaction: another process may be doing the same.
fn migrate(path: &Path, connection: &mut Connection) -> Result<(), LedgerError> {
    let of = |error: rusqlite::Error| LedgerError::of(path, &error);
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if number(connection, "user_version").map_err(of)? == known {
        return Ok(());
    }
    let change = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(of)?;
    let found = number(&change, "user_version").map_err(of)?;
    let done = usize::try_from(found).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        step(&change).map_err(of)?;
    }
    change
        .pragma_update(None, "application_id", APPLICATION)
        .map_err(of)?;
    change
        .pragma_update(None, "user_version", known)
        .map_err(of)?;
    change.commit().map_err(of)
}

/// Looks for damage where that takes no time.
fn look_through(path: &Path, connection: &Connection) -> Result<(), LedgerError> {
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    if size <= LOOKED_THROUGH {
        check(path, connection, "quick_check")?;
    }
    Ok(())
}

/// Looks for damage: `quick_check` or `integrity_check`.
pub(super) fn check(path: &Path, connection: &Connection, how: &str) -> Result<(), LedgerError> {
    let said: String = connection
        .query_row(&format!("PRAGMA {how}(1)"), [], |row| row.get(0))
        .map_err(|error| LedgerError::of(path, &error))?;
    if said == "ok" {
        return Ok(());
    }
    Err(LedgerError::Damaged {
        path: path.to_owned(),
        why: said.lines().next().unwrap_or_default().to_owned(),
    })
}

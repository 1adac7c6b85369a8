//! Which processes that reserved are alive. Each holds a lock on a file of its own beside the ledger;
//! the system takes the lock away when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::reservation::End;

/// This process, as one that reserves.
pub(super) struct Session {
    pub(super) id: i64,
    path: PathBuf,
    /// Locked until it is dropped.
    _lock: File,
}

/// The file whose lock says that a session lives.
fn lock_path(ledger: &Path, name: &str) -> PathBuf {
    let mut path = ledger.as_os_str().to_owned();
    path.push(format!("-{name}"));
    path.into()
}

impl Session {
    /// Begins one, within a transaction that writes: nobody looks for dead sessions meanwhile.
    pub(super) fn begin(ledger: &Path, connection: &Connection, at: i64) -> Result<Self, Fault> {
        let process = std::process::id();
        let mut n = 0_u32;
        let (name, path, file) = loop {
            let name = format!("session-{at}-{process}-{n}");
            let path = lock_path(ledger, &name);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt as _;
                options.mode(0o600);
            }
            match options.open(&path) {
                Ok(file) => break (name, path, file),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && n < 1000 => n += 1,
                Err(e) => return Err(Fault::Io(e)),
            }
        };
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => Fault::Io(error),
            TryLockError::WouldBlock => Fault::Io(std::io::ErrorKind::WouldBlock.into()),
        })?;
        connection.execute(
            "INSERT INTO session (at, lock) VALUES (?1, ?2)",
            params![at, name],
        )?;
        Ok(Self {
            id: connection.last_insert_rowid(),
            path,
            _lock: file,
        })
    }

    /// Ends it, if none of its reservations is open.
    pub(super) fn end(&self, connection: &Connection, at: i64) -> rusqlite::Result<()> {
        connection.execute(
            "INSERT INTO session_end (session, at, how) SELECT ?1, ?2, 'closed' WHERE NOT EXISTS (
                SELECT 1 FROM reservation r LEFT JOIN settlement s ON s.reservation = r.id
                WHERE r.session = ?1 AND s.id IS NULL)",
            params![self.id, at],
        )?;
        Ok(())
    }

    /// Removes its file. Where its end was not written, the next process finds it dead.
    pub(super) fn remove(self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// What keeps a session from beginning.
pub(super) enum Fault {
    Io(std::io::Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Settles, at their maximum, the reservations of processes that died, within a transaction that writes.
/// The answer is what can be removed once that is on the disk.
pub(super) fn bury(
    ledger: &Path,
    connection: &Connection,
    at: i64,
) -> rusqlite::Result<Vec<PathBuf>> {
    let open: Vec<(i64, String)> = connection
        .prepare("SELECT id, lock FROM session WHERE id NOT IN (SELECT session FROM session_end)")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut dead = Vec::new();
    for (session, name) in open {
        let path = lock_path(ledger, &name);
        if lives(&path) {
            continue;
        }
        connection.execute(
            "INSERT INTO settlement (reservation, at, charged, how)
             SELECT r.id, ?2, r.most, ?3 FROM reservation r
             LEFT JOIN settlement s ON s.reservation = r.id
             WHERE r.session = ?1 AND s.id IS NULL",
            params![session, at, End::Died.word()],
        )?;
        connection.execute(
            "INSERT INTO session_end (session, at, how) VALUES (?1, ?2, 'died')",
            params![session, at],
        )?;
        dead.push(path);
    }
    dead.extend(orphans(ledger, connection)?);
    Ok(dead)
}

/// Files of sessions that are over, or that were never written down.
fn orphans(ledger: &Path, connection: &Connection) -> rusqlite::Result<Vec<PathBuf>> {
    let folder = ledger.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let begin = lock_path(ledger, "session-");
    let (Some(begin), Ok(entries)) = (begin.file_name(), std::fs::read_dir(folder)) else {
        return Ok(Vec::new());
    };
    let begin = begin.to_string_lossy().into_owned();
    let mut found = Vec::new();
    let mut known = connection.prepare(
        "SELECT EXISTS (SELECT 1 FROM session WHERE lock = ?1
             AND id NOT IN (SELECT session FROM session_end))",
    )?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(&begin) else {
            continue;
        };
        let lives_on: bool = known.query_row([format!("session-{rest}")], |row| row.get(0))?;
        if !lives_on && !lives(&entry.path()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether somebody holds the lock.
fn lives(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        // What cannot be looked at may live.
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

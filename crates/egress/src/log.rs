//! Every use of the door is a row.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::Purpose;

/// Where rows go. A row is on the disk when `record` comes back: [`Event::Asked`] is recorded before
/// the first packet, and where that fails, nothing is sent.
pub trait Log: Send + Sync {
    /// Keeps one row.
    ///
    /// # Errors
    /// Whatever keeps the row from being kept.
    fn record(&self, row: &Row) -> io::Result<()>;
}

/// What happened to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The request, counted from 1 within one door. A redirect that is followed is a new request.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The moments in the life of a request. Secrets (tokens, queries of URLs) are in none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A rule refused it: nothing was sent, no name was looked up.
    Refused {
        /// What for.
        purpose: Purpose,
        /// Scheme, host and port, as far as they can be read.
        origin: String,
        /// Why.
        reason: String,
        /// The request for which it was asked, where it was for one.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        /// The rule that would have let it go.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// It is about to be made; the name may be looked up from here on.
    Asked {
        /// What for.
        purpose: Purpose,
        /// `GET`, `HEAD` or `POST`.
        method: &'static str,
        /// Scheme, host and port.
        origin: String,
        /// Without the query, and cut where it is long.
        path: String,
        /// Whether an access token goes along.
        token: bool,
        /// The request for which it is made, where it is for one.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        /// The rule that let it go.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Bytes of the body that goes along.
        #[serde(skip_serializing_if = "is_zero")]
        body: u64,
    },
    /// A connection is about to be made.
    Dial {
        /// Exactly this address.
        address: SocketAddr,
        /// The proxy, where there is one: then `address` is the proxy's.
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
    },
    /// It is over.
    End {
        /// The answer's status, where one came.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Bytes sent on the connection, TLS and headers included.
        up: u64,
        /// Bytes received on the connection.
        down: u64,
        /// `done`, `dropped` (the caller lost interest) or what went wrong.
        outcome: String,
    },
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Milliseconds since 1970, from whoever may read a clock.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A log in a file: one JSON object a line, appended, on the disk before `record` comes back.
///
/// Several processes may append to one file. The file can be read by its owner only. A last line that
/// a crash cut short stays as it is; the next row begins on a new line.
pub struct FileLog {
    path: PathBuf,
    file: Mutex<File>,
    clock: Clock,
    process: u32,
}

impl FileLog {
    /// Opens `path` for appending, and makes it where it is not there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: &Path, clock: Clock) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        file.sync_all()?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            clock,
            process: std::process::id(),
        })
    }

    /// Where the log lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Serialize)]
struct Line<'a> {
    when: u64,
    process: u32,
    #[serde(flatten)]
    row: &'a Row,
}

impl Log for FileLog {
    fn record(&self, row: &Row) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line {
            when: (self.clock)(),
            process: self.process,
            row,
        })?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write in append mode, so that lines of two processes do not mix.
        file.write_all(&line)?;
        file.sync_data()
    }
}

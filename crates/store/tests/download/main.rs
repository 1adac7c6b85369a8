//! Downloads from servers that do everything wrong, through processes that are killed, onto disks that
//! are full.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod disk;
mod hostile;
mod kill;
mod messages;
mod plain;
mod server;
mod together;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingle_egress::{
    Door, DoorOptions, Endpoint, Limits, Log, Origin, Purpose, Redirects, Row, Slowest,
};
use ingle_store::Digest;
use ingle_store::download::Patience;
use sha2::Digest as _;

/// Rows in memory: the file behind the log is tried elsewhere.
#[derive(Default)]
pub(crate) struct Rows(pub(crate) Mutex<Vec<Row>>);

impl Log for Rows {
    fn record(&self, row: &Row) -> io::Result<()> {
        self.0.lock().unwrap().push(row.clone());
        Ok(())
    }
}

/// A door to `endpoint`.
pub(crate) fn door(endpoint: Origin, log: Arc<dyn Log>) -> Door {
    impatient_door(endpoint, Redirects::none(), Duration::from_secs(10), log)
}

/// A door to `endpoint` that bears a stall of so long, and less than 1000 bytes for twice that time.
pub(crate) fn impatient_door(
    endpoint: Origin,
    redirects: Redirects,
    stall: Duration,
    log: Arc<dyn Log>,
) -> Door {
    let limits = Limits {
        between_bytes: stall,
        slowest: Some(Slowest {
            bytes: 1000,
            window: stall * 2,
        }),
        ..Limits::default()
    };
    let options = DoorOptions {
        endpoints: vec![Endpoint::named(Purpose::Pull, endpoint, redirects)],
        limits,
        ..DoorOptions::default()
    };
    Door::new(options, log)
}

/// Patience without pauses.
pub(crate) fn hasty(tries: u32) -> Patience {
    Patience {
        tries,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(1),
        longest_asked: Duration::from_secs(1),
        progress: 1,
        margin: 0,
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

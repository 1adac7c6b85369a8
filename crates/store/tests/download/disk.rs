//! Disks that are full, or become so.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ingle_egress::Cancel;
use ingle_store::download::{Disk, DownloadError, Fetch, PortableDisk, SystemDisk, fetch_file};

use crate::server::{Dice, Server, honest};
use crate::{Rows, door, hasty, names, sha256};

/// A disk with little room.
struct Small {
    room: AtomicU64,
    /// Whether it says so before it is too late.
    tells: bool,
}

impl Disk for Small {
    fn free(&self, _folder: &Path) -> Option<u64> {
        self.tells.then(|| self.room.load(Ordering::SeqCst))
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        let fits = bytes.len().min(room as usize);
        file.write_all(&bytes[..fits])?;
        self.room.fetch_sub(fits as u64, Ordering::SeqCst);
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

struct Setting {
    bytes: Vec<u8>,
    server: Server,
    folder: tempfile::TempDir,
    fetch: Fetch,
    disk: Arc<Small>,
}

fn setting(room: u64, tells: bool) -> Setting {
    let bytes = Dice(room).bytes(200_000);
    let hosted = bytes.clone();
    let server = Server::start(move |seen, stream| honest(seen, stream, &hosted, "\"one\""));
    let folder = tempfile::tempdir().unwrap();
    let mut fetch = Fetch::new(server.at("/file"), folder.path().join("file.gguf"));
    fetch.sha256 = Some(sha256(&bytes));
    fetch.size = Some(bytes.len() as u64);
    fetch.patience = hasty(4);
    let disk = Arc::new(Small {
        room: room.into(),
        tells,
    });
    fetch.disk = disk.clone();
    Setting {
        bytes,
        server,
        folder,
        fetch,
        disk,
    }
}

impl Setting {
    fn fetch(&self) -> Result<(), DownloadError> {
        let door = door(self.server.origin(), Arc::new(Rows::default()));
        fetch_file(&door, &self.fetch, &mut |_| {}, &Cancel::new()).map(drop)
    }

    fn missing(&self) -> u64 {
        match self.fetch() {
            Err(DownloadError::DiskFull { missing, .. }) => missing,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let mut s = setting(150_000, true);
    assert_eq!(s.missing(), 50_000);
    s.fetch.patience.margin = 1000;
    assert_eq!(s.missing(), 51_000);
    assert_eq!(s.server.connections(), 0);
    assert!(names(s.folder.path()).is_empty());
    // Where only the server knows the size, it is asked, and nothing more.
    s.fetch.size = None;
    assert_eq!(s.missing(), 51_000);
    assert_eq!(s.server.connections(), 1);
    assert!(names(s.folder.path()).is_empty());
}

#[test]
fn a_disk_that_runs_full_keeps_what_it_has() {
    let s = setting(120_000, false);
    let missing = s.missing();
    assert!((80_000..=200_000).contains(&missing), "{missing}");
    assert_eq!(
        names(s.folder.path()),
        [".file.gguf.partial", ".file.gguf.partial.json"]
    );
    assert!(!s.fetch.into.exists());
    s.disk.room.store(1 << 20, Ordering::SeqCst);
    s.fetch().unwrap();
    assert_eq!(std::fs::read(&s.fetch.into).unwrap(), s.bytes);
    let from = s.server.seen.lock().unwrap()[1].from();
    assert_eq!(
        from,
        Some((200_000 - missing) as usize).filter(|from| *from > 0)
    );
    assert_eq!(names(s.folder.path()), ["file.gguf"]);
}

#[test]
fn what_is_there_already_counts() {
    let s = setting(120_000, false);
    let missing = s.missing();
    // Exactly the rest fits now.
    let exact = Small {
        room: missing.into(),
        tells: true,
    };
    let mut fetch = s.fetch.clone();
    fetch.disk = Arc::new(exact);
    let s = Setting { fetch, ..s };
    s.fetch().unwrap();
    assert_eq!(std::fs::read(&s.fetch.into).unwrap(), s.bytes);
}

#[test]
fn the_systems_disk_says_something_where_it_can() {
    let folder = tempfile::tempdir().unwrap();
    if cfg!(target_os = "linux") {
        assert!(SystemDisk.free(folder.path()).is_some_and(|free| free > 0));
        assert_eq!(SystemDisk.free(Path::new("/does/not/exist")), None);
    }
    assert_eq!(PortableDisk.free(folder.path()), None);
}

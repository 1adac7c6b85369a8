//! The disks of this machine: what was measured of them once, and is remembered in a small file.

use crate::clock;
use crate::environment::Environment;
use ingle::ModelFiles;
use ingle::store::{Disk, Io, Measured, ReadSetup, Way, measure};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Another one when what is measured, or how, is no longer what it was: then it is measured again.
const VERSION: u32 = 2;
/// Disks that are remembered; the one measured longest ago is forgotten first.
const MOST: usize = 64;
/// A file of [`MOST`] disks is much shorter.
const MOST_BYTES: u64 = 1 << 20;
/// Bytes of a model that is not read more than once when its disk is measured.
const LARGE: u64 = 3 << 29;
/// What was measured earlier is measured again: disks fill up, systems are updated.
const STALE_SECONDS: i64 = 90 * 24 * 3600;

/// A disk that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDisk {
    /// Which disk, and with which kind of reads.
    id: String,
    /// What people know it by.
    pub name: String,
    /// How it was read: io_uring or threads, direct or through the page cache.
    pub way: String,
    /// Bytes in a second through the page cache; 0 where that was not tried.
    pub cached_per_second: u64,
    /// Seconds since 1970.
    pub measured_at: i64,
    /// It was measured with a small model, parts of which were read more than once.
    repeated: bool,
    #[serde(flatten)]
    pub setup: ReadSetup,
}

/// The remembered disks.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disks {
    version: u32,
    pub disks: Vec<KnownDisk>,
}

/// How the disk is best read that a model lies on: as was measured before, else it is measured now, for about a
/// second. What people do without a file of their own, or with a very small one, is what is usual.
///
/// # Errors
/// The model's files are not there any more.
pub fn setup_for(files: &Arc<ModelFiles>) -> anyhow::Result<ReadSetup> {
    let environment = Environment::of_process();
    let kept = environment.disks_file();
    let Some(disk) = files.paths().next().and_then(Disk::of) else {
        return Ok(measured(files)?.map_or_else(ReadSetup::default, |measured| measured.setup));
    };
    let id = format!("{} {:?}", disk.id, environment.io());
    let mut disks = kept.as_deref().map(Disks::read).unwrap_or_default();
    let large = files.weight_bytes() >= LARGE;
    if let Some(known) = disks.find(&id, clock::unix(), large) {
        return Ok(known.setup);
    }
    let Some(measured) = measured(files)? else {
        return Ok(ReadSetup::default());
    };
    if measured.way == Way::Source && environment.io() != Io::Portable {
        // Weights that are made while they are read say little about the disk.
        return Ok(measured.setup);
    }
    disks.remember(KnownDisk {
        id,
        name: disk.name,
        way: measured.way.to_string(),
        cached_per_second: measured.cached_per_second,
        measured_at: clock::unix(),
        repeated: measured.repeated,
        setup: measured.setup,
    });
    if let Some(path) = kept {
        // Where it cannot be written, it is measured again the next time.
        let _ = disks.write(&path);
    }
    Ok(measured.setup)
}

fn measured(files: &Arc<ModelFiles>) -> anyhow::Result<Option<Measured>> {
    let begun = Instant::now();
    Ok(measure(files, &|| begun.elapsed())?)
}

impl Disks {
    /// What a file says; nothing where there is none, or it is damaged or of another version.
    pub fn read(path: &Path) -> Self {
        let short = std::fs::metadata(path).is_ok_and(|f| f.is_file() && f.len() <= MOST_BYTES);
        let text = short.then(|| std::fs::read(path).ok()).flatten();
        let disks = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        disks
            .filter(|disks| disks.version == VERSION)
            .unwrap_or_default()
    }

    /// `large`: for a model large enough to measure better with it than with a small one.
    fn find(&self, id: &str, now: i64, large: bool) -> Option<&KnownDisk> {
        let fresh = |disk: &&KnownDisk| {
            // One measured in the future was measured by a clock that was wrong.
            let age = now.saturating_sub(disk.measured_at);
            disk.id == id && (0..STALE_SECONDS).contains(&age) && !(disk.repeated && large)
        };
        self.disks.iter().find(fresh)
    }

    fn remember(&mut self, disk: KnownDisk) {
        self.version = VERSION;
        self.disks.retain(|other| other.id != disk.id);
        self.disks.push(disk);
        self.disks.sort_by_key(|disk| disk.measured_at);
        let old = self.disks.len().saturating_sub(MOST);
        self.disks.drain(..old);
    }

    /// Whole or not at all: another process may read at the same time. Should two write, the file may be damaged, and
    /// the disks are measured again.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let draft = path.with_extension("json.new");
        std::fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        Ok(std::fs::rename(&draft, path)?)
    }
}

impl KnownDisk {
    /// One line for people.
    pub fn line(&self) -> String {
        let day = clock::day(self.measured_at);
        format!(
            "{}: {} MB/s ({}, {} reads of {} KiB at a time; measured {day})",
            self.name,
            self.setup.bytes_per_second / 1_000_000,
            self.way,
            self.setup.depth,
            self.setup.read_size >> 10,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn known(id: &str, measured_at: i64) -> KnownDisk {
        KnownDisk {
            id: id.into(),
            name: "/dev/abacus (ext4)".into(),
            way: "io_uring, direct".into(),
            cached_per_second: 900_000_000,
            measured_at,
            repeated: false,
            setup: ReadSetup {
                bytes_per_second: 1_500_000_000,
                ..ReadSetup::default()
            },
        }
    }

    #[test]
    fn what_was_measured_is_found_again_until_it_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ingle").join("disks.json");
        assert_eq!(Disks::read(&path), Disks::default());
        let mut disks = Disks::default();
        disks.remember(known("a", 1_000));
        disks.remember(known("b", 2_000));
        disks.remember(known("a", 3_000));
        disks.write(&path).unwrap();
        let read = Disks::read(&path);
        assert_eq!(read, disks);
        assert_eq!(read.disks.len(), 2);
        assert_eq!(read.find("a", 3_000, true), Some(&known("a", 3_000)));
        assert_eq!(read.find("a", 2_999, true), None);
        assert_eq!(read.find("a", 3_000 + STALE_SECONDS, true), None);
        assert_eq!(read.find("c", 3_000, true), None);
        let mut small = known("d", 3_000);
        small.repeated = true;
        disks.remember(small.clone());
        assert_eq!(disks.find("d", 3_000, true), None);
        assert_eq!(disks.find("d", 3_000, false), Some(&small));
    }

    #[test]
    fn what_is_damaged_is_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disks.json");
        for damaged in [
            "",
            "{",
            "[]",
            r#"{"version":2}"#,
            r#"{"version":2,"disks":[{"id":"a"}]}"#,
            r#"{"version":2,"disks":[{"id":"a","name":"b","way":"","cached_per_second":0,"measured_at":0,"repeated":false,"direct":true,"depth":-1,"read_size":1,"bytes_per_second":1}]}"#,
            r#"{"version":1,"disks":[]}"#,
        ] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(Disks::read(&path), Disks::default(), "{damaged}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut disks = Disks::default();
        for at in 0..100 {
            disks.remember(known(&at.to_string(), at));
        }
        assert_eq!(disks.disks.len(), MOST);
        assert_eq!(disks.disks.first().unwrap().id, "36");
    }

    #[test]
    fn a_line() {
        insta::assert_snapshot!(known("a", 1_795_000_000).line(), @"/dev/abacus (ext4): 1500 MB/s (io_uring, direct, 8 reads of 512 KiB at a time; measured 2026-11-18)");
    }
}

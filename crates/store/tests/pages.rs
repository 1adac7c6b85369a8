//! Pages on disk: what was written comes back, and nothing else does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use ingle_store::pages::{
    PageFolder, PageLimits, PageSecret, PagesSummary, clear_pages, pages_summary,
};
use ingle_tensor::pages::{Outcome, PageKey, PageStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PAGE: usize = 5000;
const IDENTITY: [u8; 32] = [3; 32];

/// A folder, the secret beside it, and a clock that runs ahead by so many seconds.
struct Place {
    folder: tempfile::TempDir,
    ahead: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            ahead: Arc::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache/prefix")
    }

    fn secret(&self) -> PageSecret {
        PageSecret::of_file(&self.folder.path().join("state/prefix.key")).unwrap()
    }

    fn open_with(&self, identity: [u8; 32], limits: PageLimits) -> PageFolder {
        let ahead = Arc::clone(&self.ahead);
        let clock = move || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now + Duration::from_secs(ahead.load(Ordering::Relaxed))
        };
        let secret = self.secret();
        PageFolder::open(&self.path(), &secret, identity, limits, Arc::new(clock)).unwrap()
    }

    fn open(&self) -> PageFolder {
        self.open_with(IDENTITY, PageLimits::default())
    }

    /// All files, relative to the folder.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(path: &Path, all: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, all),
                    path => all.push(path),
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.path(), &mut all);
        all.sort();
        all
    }
}

fn key(namespace: u64, index: u32) -> PageKey {
    PageKey {
        namespace,
        index,
        digest: [index as u8 + 1; 32],
    }
}

fn bytes(seed: u32) -> Vec<u8> {
    let byte = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 11) as u8;
    (0..PAGE as u32).map(byte).collect()
}

fn wait(store: &mut PageFolder) -> (Vec<u8>, Outcome) {
    let done = store.done(Duration::from_secs(60)).unwrap();
    (done.buffer, done.what)
}

fn write(store: &mut PageFolder, key: PageKey, bytes: Vec<u8>) {
    store.write(key, bytes);
    assert_eq!(wait(store).1, Outcome::Written);
}

fn read(store: &mut PageFolder, key: PageKey) -> Option<Vec<u8>> {
    store.read(key, vec![0; PAGE]);
    let (bytes, what) = wait(store);
    (what == Outcome::Read).then_some(bytes)
}

#[test]
fn what_was_written_comes_back_after_a_restart_and_lies_nowhere_in_the_clear() {
    let place = Place::new();
    let mut store = place.open();
    assert!(!store.contains(&key(0, 0)) && store.rate().is_none());
    let marked = [bytes(1), b"a marked prompt of somebody".to_vec()].concat()[27..].to_vec();
    write(&mut store, key(0, 0), marked.clone());
    write(&mut store, key(0, 1), bytes(2));
    write(&mut store, key(7, 0), bytes(3));
    assert!(store.rate().is_some_and(|rate| rate > 0.0));
    drop(store);
    for file in place.files() {
        let content = fs::read(&file).unwrap();
        let window = |w: &[u8]| w == b"marked prompt" || w == &bytes(2)[100..113];
        assert!(!content.windows(13).any(window));
        assert!(!file.to_string_lossy().contains("0101"), "{file:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&file), 0o600);
            assert_eq!(mode(file.parent().unwrap()), 0o700);
        }
    }
    let mut store = place.open();
    assert!(store.contains(&key(0, 0)) && !store.contains(&key(0, 2)));
    assert_eq!(read(&mut store, key(0, 0)), Some(marked));
    assert_eq!(read(&mut store, key(0, 1)), Some(bytes(2)));
    assert_eq!(read(&mut store, key(7, 0)), Some(bytes(3)));
    // Another tenant, another model, another text.
    assert!(!store.contains(&key(1, 0)));
    assert_eq!(read(&mut store, key(1, 0)), None);
    assert_eq!(read(&mut store, key(0, 5)), None);
    drop(store);
    assert!(
        !place
            .open_with([4; 32], PageLimits::default())
            .contains(&key(0, 0))
    );
    assert_eq!(place.files().len(), 3, "another's pages are left alone");
}

#[test]
fn what_is_torn_changed_or_moved_does_not_open_and_is_removed() {
    let damage: [fn(&mut Vec<u8>); 6] = [
        |file| file.truncate(100),
        |file| file.truncate(file.len() - 1),
        |file| file.push(0),
        |file| file.clear(),
        |file| file[2000] ^= 4,
        |file| file[0] ^= 1,
    ];
    for damage in damage {
        let place = Place::new();
        write(&mut place.open(), key(0, 0), bytes(1));
        let path = place.files().remove(0);
        let mut file = fs::read(&path).unwrap();
        damage(&mut file);
        fs::write(&path, file).unwrap();
        let mut store = place.open();
        assert_eq!(read(&mut store, key(0, 0)), None);
        assert!(!store.contains(&key(0, 0)) && place.files().is_empty());
        // It is written again.
        write(&mut store, key(0, 0), bytes(1));
        assert_eq!(read(&mut store, key(0, 0)), Some(bytes(1)));
    }
    // A file in the place of another.
    let place = Place::new();
    let mut store = place.open();
    write(&mut store, key(0, 0), bytes(1));
    let first = place.files().remove(0);
    let file = fs::read(&first).unwrap();
    write(&mut store, key(0, 1), bytes(2));
    for path in place.files() {
        fs::write(path, &file).unwrap();
    }
    assert_eq!(read(&mut store, key(0, 1)), None);
    assert_eq!(read(&mut store, key(0, 0)), Some(bytes(1)));
    // Another secret opens nothing.
    fs::write(place.folder.path().join("state/prefix.key"), [9; 32]).unwrap();
    let mut store = place.open();
    assert_eq!(read(&mut store, key(0, 0)), None);
}

#[test]
fn bytes_and_age_are_bounded() {
    let place = Place::new();
    let limits = PageLimits {
        bytes: 4 * (PAGE as u64 + 48),
        age: Duration::from_secs(1000),
    };
    let mut store = place.open_with(IDENTITY, limits);
    for index in 0..3 {
        write(&mut store, key(0, index), bytes(index));
    }
    place.ahead.store(120, Ordering::Relaxed);
    for index in 0..3 {
        write(&mut store, key(1, index), bytes(index));
    }
    let there = |store: &PageFolder, of| {
        (0..3)
            .map(|i| store.contains(&key(of, i)))
            .collect::<Vec<_>>()
    };
    // Of the older text the end has gone first.
    assert_eq!(there(&store, 0), [true, false, false]);
    assert_eq!(there(&store, 1), [true, true, true]);
    let summary = pages_summary(&place.path(), None);
    assert_eq!((summary.files, summary.bytes), (4, limits.bytes));
    // What is used stays.
    place.ahead.store(240, Ordering::Relaxed);
    assert!(read(&mut store, key(0, 0)).is_some());
    write(&mut store, key(2, 0), bytes(9));
    assert_eq!(there(&store, 0), [true, false, false]);
    assert_eq!(there(&store, 1), [true, true, false]);
    // Nothing is used that is too old, however often it was; the next start removes it.
    place.ahead.store(1100, Ordering::Relaxed);
    assert_eq!(read(&mut store, key(0, 0)), None);
    drop(store);
    place.open_with(IDENTITY, limits);
    assert_eq!(pages_summary(&place.path(), None).files, 0);
    // A page that is larger than all that may be kept is not written.
    let tiny = PageLimits {
        bytes: 1000,
        ..limits
    };
    let mut store = place.open_with(IDENTITY, tiny);
    write(&mut store, key(0, 0), bytes(0));
    assert!(!store.contains(&key(0, 0)) && place.files().is_empty());
}

#[test]
fn what_a_dead_process_left_and_foreign_files() {
    let place = Place::new();
    let mut store = place.open();
    write(&mut store, key(0, 0), bytes(1));
    let model = place.files()[0].parent().unwrap().to_owned();
    fs::write(model.join("unfinished-1-1"), b"torn").unwrap();
    let living = fs::File::create(model.join("unfinished-2-2")).unwrap();
    living.lock().unwrap();
    fs::write(model.join("notes.txt"), b"somebody else's").unwrap();
    fs::create_dir_all(place.path().join("0/of an old version")).unwrap();
    fs::write(place.path().join("README"), b"somebody else's").unwrap();
    drop(store);
    let mut store = place.open();
    let left = |name: &str| model.join(name).exists();
    assert!(!left("unfinished-1-1") && left("unfinished-2-2") && left("notes.txt"));
    assert!(!place.path().join("0").exists() && place.path().join("README").exists());
    assert_eq!(read(&mut store, key(0, 0)), Some(bytes(1)));
}

#[test]
fn pages_are_counted_and_cleared_by_tenant() {
    let place = Place::new();
    assert_eq!(pages_summary(&place.path(), None), PagesSummary::default());
    let mut store = place.open();
    for (namespace, n) in [(0, 3), (5, 2)] {
        (0..n).for_each(|i| write(&mut store, key(namespace, i), bytes(i)));
    }
    let secret = place.secret();
    let of = |namespace| pages_summary(&place.path(), Some((&secret, namespace))).files;
    assert_eq!((of(0), of(5), of(6)), (3, 2, 0));
    let cleared = clear_pages(&place.path(), Some((&secret, 5))).unwrap();
    assert_eq!((cleared.files, of(0), of(5)), (2, 3, 0));
    assert!(cleared.oldest.is_some_and(|oldest| oldest > 1_600_000_000));
    // A store that is open finds out when it looks.
    assert_eq!(read(&mut store, key(5, 0)), None);
    assert_eq!(clear_pages(&place.path(), None).unwrap().files, 3);
    assert_eq!(place.files(), Vec::<PathBuf>::new());
    write(&mut store, key(0, 0), bytes(1));
    assert_eq!(read(&mut store, key(0, 0)), Some(bytes(1)));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let secret = PageSecret::of_file(&folder.path().join("key")).unwrap();
    let clock = Arc::new(|| Duration::from_secs(1 << 30));
    let error = PageFolder::open(
        &file.join("x"),
        &secret,
        IDENTITY,
        PageLimits::default(),
        clock,
    );
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("could not be made") && text.contains("--prefix-store 0"),
        "{text}"
    );
    assert!(PageSecret::of_file(&file.join("key")).is_err());
}

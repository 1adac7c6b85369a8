//! Which files there are, who leaves when there are too many bytes, and what people may know of them.

use super::PagesError;
use super::seal::{Name, tenant_name};
use super::secret::PageSecret;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The folder of this version of the format; those of others are removed.
const VERSION: &str = "1";
/// More files than this are not kept.
const MOST_FILES: usize = 65_536;
/// What a file is called before it is whole.
pub(super) const UNFINISHED: &str = "unfinished-";

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub tenant: Name,
    pub model: Name,
    pub page: Name,
    pub index: u32,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u64,
    /// Since 1970; as far as is known.
    used: Duration,
}

/// The files.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Place, Entry>,
    bytes: u64,
}

fn hex(name: &Name) -> String {
    name.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Name> {
    let mut name = [0; 16];
    if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (i, byte) in name.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(name)
}

/// Options for files that only their owner may read.
pub(super) fn private() -> OpenOptions {
    #[allow(unused_mut, reason = "there is no mode elsewhere")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a folder that only its owner may look into, and those above it.
pub(super) fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

impl Place {
    /// Its folder, in that of all pages.
    pub fn folder(&self, all: &Path) -> PathBuf {
        let path = all.join(VERSION).join(hex(&self.tenant));
        path.join(hex(&self.model))
    }

    pub fn path(&self, all: &Path) -> PathBuf {
        let name = format!("{}.{}", hex(&self.page), self.index);
        self.folder(all).join(name)
    }

    fn of_file(tenant: Name, model: Name, name: &str) -> Option<Self> {
        let (page, index) = name.split_once('.')?;
        Some(Self {
            tenant,
            model,
            page: unhex(page)?,
            index: index
                .parse()
                .ok()
                .filter(|i: &u32| i.to_string() == index)?,
        })
    }
}

/// Entries of a folder, with their names; none where it is not there.
fn entries(path: &Path) -> impl Iterator<Item = (String, PathBuf, fs::Metadata)> {
    let all = fs::read_dir(path).into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // Of a link, what is said is of the link itself.
        Some((name, entry.path(), entry.metadata().ok()?))
    })
}

fn since_1970(time: std::io::Result<SystemTime>) -> Duration {
    let since = time.map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default());
    since.unwrap_or_default()
}

/// Whether nobody is writing it.
fn is_abandoned(path: &Path) -> bool {
    let file = OpenOptions::new().read(true).open(path);
    file.is_ok_and(|file| file.try_lock().is_ok())
}

impl Index {
    /// What lies in `all`. What is older than `age` at `now`, of another version, or left over of a dead
    /// process, is removed.
    pub fn scan(all: &Path, now: Duration, age: Duration) -> Self {
        let mut index = Self::default();
        let folder = |m: &fs::Metadata| m.is_dir();
        for (name, path, is) in entries(all) {
            if name != VERSION && folder(&is) && name.bytes().all(|b| b.is_ascii_digit()) {
                let _ = fs::remove_dir_all(path);
            }
        }
        for (name, path, _) in entries(&all.join(VERSION)).filter(|(_, _, m)| folder(m)) {
            let Some(tenant) = unhex(&name) else { continue };
            for (name, path, _) in entries(&path).filter(|(_, _, m)| folder(m)) {
                let Some(model) = unhex(&name) else { continue };
                index.scan_model((tenant, model), &path, now, age);
            }
            // Only an empty one goes.
            let _ = fs::remove_dir(path);
        }
        index
    }

    fn scan_model(&mut self, of: (Name, Name), path: &Path, now: Duration, age: Duration) {
        for (name, path, file) in entries(path).filter(|(_, _, m)| m.is_file()) {
            let written = since_1970(file.modified());
            let remove = match Place::of_file(of.0, of.1, &name) {
                Some(place) if now.saturating_sub(written) <= age => {
                    self.insert(place, file.len(), written);
                    self.entries.len() > MOST_FILES
                }
                Some(_) => true,
                None => name.starts_with(UNFINISHED) && is_abandoned(&path),
            };
            if remove
                && fs::remove_file(&path).is_ok()
                && let Some(place) = Place::of_file(of.0, of.1, &name)
            {
                self.forget(&place);
            }
        }
        let _ = fs::remove_dir(path); // only an empty one goes
    }

    pub fn contains(&self, place: &Place) -> bool {
        self.entries.contains_key(place)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// There is a file, used or written at `used`.
    pub fn insert(&mut self, place: Place, bytes: u64, used: Duration) {
        self.forget(&place);
        self.bytes += bytes;
        self.entries.insert(place, Entry { bytes, used });
    }

    /// A file is used at `now`.
    pub fn used(&mut self, place: &Place, now: Duration) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.used = now;
        }
    }

    /// There is no such file any more.
    pub fn forget(&mut self, place: &Place) {
        if let Some(entry) = self.entries.remove(place) {
            self.bytes -= entry.bytes;
        }
    }

    /// The one to leave: of those that were used longest ago, to the minute, the last of its text, because
    /// what comes behind a page is of no use without it.
    pub fn first_to_leave(&self) -> Option<Place> {
        let order =
            |(place, e): &(&Place, &Entry)| (e.used.as_secs() / 60, std::cmp::Reverse(place.index));
        self.entries
            .iter()
            .min_by_key(order)
            .map(|(place, _)| *place)
    }

    /// What remembers how its files were used forgets those that are gone, and learns of others.
    pub fn renew(&mut self, scanned: Self) {
        let before = std::mem::replace(self, scanned);
        for (place, entry) in before.entries {
            if let Some(same) = self.entries.get_mut(&place) {
                same.used = same.used.max(entry.used);
            }
        }
    }
}

/// What a folder of pages holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PagesSummary {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was written: seconds since 1970.
    pub oldest: Option<u64>,
}

impl PagesSummary {
    fn add(&mut self, file: &fs::Metadata) {
        self.files += 1;
        self.bytes += file.len();
        let written = since_1970(file.modified()).as_secs();
        self.oldest = Some(self.oldest.map_or(written, |oldest| oldest.min(written)));
    }
}

/// The folders of tenants in `all`, or the one of a tenant.
fn tenants(all: &Path, of: Option<(&PageSecret, u64)>) -> Vec<PathBuf> {
    let Ok(versions) = fs::read_dir(all) else {
        return Vec::new();
    };
    let versions = versions.flatten().map(|entry| entry.path());
    match of {
        Some((secret, namespace)) => {
            let name = hex(&tenant_name(secret, namespace));
            versions
                .map(|v| v.join(&name))
                .filter(|t| t.is_dir())
                .collect()
        }
        None => {
            let all = versions.flat_map(|v| entries(&v).collect::<Vec<_>>());
            let folders = all.filter(|(name, _, m)| m.is_dir() && unhex(name).is_some());
            folders.map(|(_, path, _)| path).collect()
        }
    }
}

/// What lies in `folder`, of all tenants or of one.
pub fn pages_summary(folder: &Path, of: Option<(&PageSecret, u64)>) -> PagesSummary {
    let mut summary = PagesSummary::default();
    for tenant in tenants(folder, of) {
        for (_, model, _) in entries(&tenant).filter(|(_, _, m)| m.is_dir()) {
            for (_, _, file) in entries(&model).filter(|(_, _, m)| m.is_file()) {
                summary.add(&file);
            }
        }
    }
    summary
}

/// Removes the pages in `folder`, of all tenants or of one, and says what was removed.
///
/// # Errors
/// [`PagesError`]: something could not be removed.
pub fn clear_pages(
    folder: &Path,
    of: Option<(&PageSecret, u64)>,
) -> Result<PagesSummary, PagesError> {
    let summary = pages_summary(folder, of);
    for tenant in tenants(folder, of) {
        match fs::remove_dir_all(&tenant) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(PagesError::io(&tenant, "removed")(error));
            }
            _ => {}
        }
    }
    Ok(summary)
}

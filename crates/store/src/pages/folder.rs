//! A folder of pages as a [`PageStore`]: one thread reads and writes, reads first.

use super::PagesError;
use super::index::{Index, Place, UNFINISHED, private, private_folder};
use super::seal::{HEAD, Keys, Name, TAIL, model_name};
use super::secret::PageSecret;
use ingle_tensor::pages::{Done, Outcome, PageKey, PageStore};
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time since 1970. Nothing here has a clock.
pub type UnixClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// A page is not used or kept any longer after it was written.
    pub age: Duration,
}

impl Default for PageLimits {
    /// 8 GiB and 7 days.
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// After a write that failed, nothing is written for so long.
const PAUSE: Duration = Duration::from_secs(60);
/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// Tenants whose keys are at hand.
const TENANTS: usize = 256;

/// A folder in which the pages of one loaded model are kept.
pub struct PageFolder {
    shared: Arc<Shared>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for PageFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let folder = &self.shared.folder;
        f.debug_struct("PageFolder")
            .field("folder", folder)
            .finish_non_exhaustive()
    }
}

/// What both threads see.
struct Shared {
    folder: PathBuf,
    secret: PageSecret,
    identity: [u8; 32],
    model: Name,
    limits: PageLimits,
    clock: UnixClock,
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    reads: VecDeque<(PageKey, Vec<u8>)>,
    writes: VecDeque<(PageKey, Vec<u8>)>,
    index: Index,
    keys: HashMap<u64, Arc<Keys>>,
    /// Bytes read back in a second.
    rate: Option<f64>,
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self, state: &mut State, namespace: u64) -> Arc<Keys> {
        if state.keys.len() >= TENANTS {
            state.keys.clear();
        }
        let keys = state.keys.entry(namespace);
        let keys = keys.or_insert_with(|| Arc::new(Keys::new(&self.secret, namespace)));
        Arc::clone(keys)
    }

    fn place(&self, keys: &Keys, page: &PageKey) -> Place {
        Place {
            tenant: keys.tenant,
            model: self.model,
            page: keys.name(page, &self.identity),
            index: page.index,
        }
    }

    fn find(&self, page: &PageKey) -> (Arc<Keys>, Place) {
        let keys = self.keys(&mut self.lock(), page.namespace);
        let place = self.place(&keys, page);
        (keys, place)
    }
}

impl PageFolder {
    /// Keeps pages in `folder`, which is made where it is not there: those of a model that is told by
    /// `identity`. `clock` is the time since 1970.
    ///
    /// # Errors
    /// [`PagesError`]: the folder cannot be made, or the system starts no thread.
    pub fn open(
        folder: &Path,
        secret: &PageSecret,
        identity: [u8; 32],
        limits: PageLimits,
        clock: UnixClock,
    ) -> Result<Self, PagesError> {
        private_folder(folder).map_err(PagesError::io(folder, "made"))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                index: Index::scan(folder, clock(), limits.age),
                ..State::default()
            }),
            folder: folder.to_owned(),
            model: model_name(secret, &identity),
            secret: secret.clone(),
            identity,
            limits,
            clock,
            asked: Condvar::new(),
        });
        let (sender, done) = channel();
        let worker = Worker {
            shared: Arc::clone(&shared),
            done: sender,
            written: 0,
            swept: (shared.clock)(),
            pause: None,
            n_files: 0,
        };
        let thread = std::thread::Builder::new()
            .name("pages".into())
            .spawn(move || worker.run())
            .map_err(PagesError::io(folder, "looked after"))?;
        Ok(Self {
            shared,
            done,
            thread: Some(thread),
        })
    }
}

impl PageStore for PageFolder {
    fn contains(&self, page: &PageKey) -> bool {
        let (_, place) = self.shared.find(page);
        self.shared.lock().index.contains(&place)
    }

    fn read(&mut self, page: PageKey, buffer: Vec<u8>) {
        self.shared.lock().reads.push_back((page, buffer));
        self.shared.asked.notify_one();
    }

    fn write(&mut self, page: PageKey, buffer: Vec<u8>) {
        self.shared.lock().writes.push_back((page, buffer));
        self.shared.asked.notify_one();
    }

    fn done(&mut self, patience: Duration) -> Option<Done> {
        if patience.is_zero() {
            return self.done.try_recv().ok();
        }
        self.done.recv_timeout(patience).ok()
    }

    fn rate(&self) -> Option<f64> {
        self.shared.lock().rate
    }
}

impl Drop for PageFolder {
    /// What has begun is finished, and nothing else.
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.asked.notify_one();
        // What it panicked with was printed.
        self.thread.take().map(JoinHandle::join);
    }
}

struct Worker {
    shared: Arc<Shared>,
    done: Sender<Done>,
    /// Bytes since the folder was looked through.
    written: u64,
    /// When it was.
    swept: Duration,
    /// Nothing is written until then.
    pause: Option<Duration>,
    n_files: u64,
}

enum Job {
    Read(PageKey, Vec<u8>),
    Write(PageKey, Vec<u8>),
}

impl Worker {
    fn run(mut self) {
        while let Some(job) = self.next() {
            let done = match job {
                Job::Read(page, mut buffer) => Done {
                    page,
                    what: self.read(&page, &mut buffer),
                    buffer,
                },
                Job::Write(page, mut buffer) => {
                    self.write(&page, &mut buffer);
                    Done {
                        page,
                        what: Outcome::Written,
                        buffer,
                    }
                }
            };
            if self.done.send(done).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.shared.lock();
        loop {
            if state.over {
                return None;
            }
            if let Some((page, buffer)) = state.reads.pop_front() {
                return Some(Job::Read(page, buffer));
            }
            if let Some((page, buffer)) = state.writes.pop_front() {
                return Some(Job::Write(page, buffer));
            }
            let woken = self.shared.asked.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn read(&self, page: &PageKey, buffer: &mut [u8]) -> Outcome {
        let shared = &self.shared;
        let (keys, place) = shared.find(page);
        let (path, began) = (place.path(&shared.folder), (shared.clock)());
        let whole = read_file(&path, buffer, began, shared.limits.age)
            .is_ok_and(|(head, tail)| keys.open(page, &shared.identity, &head, &tail, buffer));
        if !whole {
            // Torn, too old, or written by somebody else: it is of no use to anybody.
            let _ = fs::remove_file(&path);
            shared.lock().index.forget(&place);
            return Outcome::Missing;
        }
        let now = (shared.clock)();
        let took = now.saturating_sub(began).as_secs_f64().max(1e-6);
        let rate = buffer.len() as f64 / took;
        let mut state = shared.lock();
        state.rate = Some(
            state
                .rate
                .map_or(rate, |before| (3.0 * before + rate) / 4.0),
        );
        state.index.used(&place, now);
        Outcome::Read
    }

    fn write(&mut self, page: &PageKey, buffer: &mut [u8]) {
        let shared = Arc::clone(&self.shared);
        let now = (shared.clock)();
        let bytes = (buffer.len() + HEAD + TAIL) as u64;
        if self.pause.is_some_and(|until| now < until) || bytes > shared.limits.bytes {
            return;
        }
        self.pause = None;
        self.sweep(now);
        self.make_room(bytes);
        let (keys, place) = shared.find(page);
        let mut nonce = [0; 24];
        let sealed = getrandom::fill(&mut nonce)
            .ok()
            .and_then(|()| keys.seal(page, &shared.identity, nonce, buffer));
        let Some((head, tail)) = sealed else { return };
        self.n_files += 1;
        let name = format!("{UNFINISHED}{}-{}", std::process::id(), self.n_files);
        let unfinished = place.folder(&shared.folder).join(name);
        let path = place.path(&shared.folder);
        if write_file(&unfinished, &path, [&head, buffer, &tail]).is_err() {
            // The disk is full, perhaps; others need it more.
            let _ = fs::remove_file(&unfinished);
            self.pause = Some(now + PAUSE);
            return;
        }
        self.written += bytes;
        let first = {
            let mut state = shared.lock();
            state.index.insert(place, bytes, now);
            state.rate.is_none()
        };
        if first {
            // What was written is read back once, so that it is known how long that takes.
            self.read(page, buffer);
        }
    }

    /// Removes what is too old. Other processes may use the folder too: now and then it is looked through
    /// again.
    fn sweep(&mut self, now: Duration) {
        let limits = self.shared.limits;
        if now.saturating_sub(self.swept) < SWEEP && self.written < limits.bytes / 8 {
            return;
        }
        (self.swept, self.written) = (now, 0);
        let scanned = Index::scan(&self.shared.folder, now, limits.age);
        self.shared.lock().index.renew(scanned);
    }

    /// Removes pages until so many bytes more are not too many.
    fn make_room(&self, bytes: u64) {
        let shared = &self.shared;
        loop {
            let mut state = shared.lock();
            if state.index.bytes() + bytes <= shared.limits.bytes {
                return;
            }
            let Some(place) = state.index.first_to_leave() else {
                return;
            };
            state.index.forget(&place);
            drop(state);
            let _ = fs::remove_file(place.path(&shared.folder));
        }
    }
}

/// Reads a file that is as long as it must be and not too old.
fn read_file(
    path: &Path,
    buffer: &mut [u8],
    now: Duration,
    age: Duration,
) -> io::Result<([u8; HEAD], [u8; TAIL])> {
    let mut file = File::open(path)?;
    let is = file.metadata()?;
    let written = is.modified()?.duration_since(std::time::UNIX_EPOCH);
    let old = now.saturating_sub(written.unwrap_or_default()) > age;
    if !is.is_file() || old || is.len() != (HEAD + buffer.len() + TAIL) as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (mut head, mut tail) = ([0; HEAD], [0; TAIL]);
    file.read_exact(&mut head)?;
    file.read_exact(buffer)?;
    file.read_exact(&mut tail)?;
    leave_no_copy(&file);
    Ok((head, tail))
}

fn write_file(unfinished: &Path, path: &Path, parts: [&[u8]; 3]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    let mut file = private().create_new(true).write(true).open(unfinished)?;
    file.lock()?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    leave_no_copy(&file);
    fs::rename(unfinished, path)
}

/// The system needs no copy in its page cache: a budget would count it.
#[cfg(target_os = "linux")]
fn leave_no_copy(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn leave_no_copy(_: &File) {}

//! One download, from the first look at the target to its rename.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf as _;
use ingle_egress::{BlockingResponse, Cancel, Door, EgressError, Follow, Origin, Purpose, Request};

use super::answer::{Answer, Asked, Said};
use super::lock::Lock;
use super::partial::{Partial, digest_of, git_oid};
use super::{DownloadError, Fault, Fetch, Fetched, Progress};

/// What is on the way.
struct Run<'a> {
    door: &'a Door,
    fetch: &'a Fetch,
    progress: &'a mut dyn FnMut(Progress),
    cancel: &'a Cancel,
    partial: Partial,
    /// The most bytes there ever were.
    reached: u64,
    /// Tries in a row that brought nothing new.
    vain: u32,
    /// Whether a whole file has turned out wrong before.
    restarted: bool,
}

/// How a try ended.
enum Tried {
    /// All bytes are there.
    Whole,
    /// Another try may do better.
    Failed(Fault),
}

pub(super) fn fetch_file(
    door: &Door,
    fetch: &Fetch,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Fetched, DownloadError> {
    let names = Names::of(&fetch.into)?;
    // A lock that lies there is somebody's who is at work, or who was killed and left things behind.
    if !names.lock.exists()
        && let Some(there) = in_place(fetch, progress, cancel)?
    {
        return Ok(there);
    }
    // What would be refused anyway is refused before anything is made or read.
    door.permit(Purpose::Pull, &fetch.url)?;
    fs::create_dir_all(&names.folder)
        .map_err(|error| DownloadError::io(&names.folder, "made", error))?;
    let lock = Lock::take(names.lock, progress, cancel)?;
    if let Some(there) = in_place(fetch, progress, cancel)? {
        drop(fs::remove_file(&names.partial));
        drop(fs::remove_file(&names.note));
        return Ok(there);
    }
    let partial = Partial::open((names.partial, names.note), fetch, progress, cancel)?;
    let mut run = Run {
        door,
        fetch,
        progress,
        cancel,
        reached: partial.have(),
        partial,
        vain: 0,
        restarted: false,
    };
    let done = run.until_whole().map_err(|error| run.tell_full(error));
    let partial = run.partial;
    if let Err(error) = done {
        partial.leave();
        return Err(error);
    }
    let (bytes, digest) = (partial.have(), partial.digest());
    partial.finish(&fetch.into)?;
    drop(lock);
    Ok(Fetched {
        path: fetch.into.clone(),
        bytes,
        sha256: Some(digest),
        verified: fetch.has_digest(),
        already: false,
    })
}

/// The file, if it is there already and is the one that is wanted.
fn in_place(
    fetch: &Fetch,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Option<Fetched>, DownloadError> {
    let Ok(there) = fs::metadata(&fetch.into) else {
        return Ok(None);
    };
    if !there.is_file() || fetch.size.is_some_and(|size| size != there.len()) {
        return Ok(None);
    }
    let found = |sha256| Fetched {
        path: fetch.into.clone(),
        bytes: there.len(),
        verified: fetch.has_digest(),
        sha256,
        already: true,
    };
    if let Some(wanted) = &fetch.git {
        let oid = fs::File::open(&fetch.into).and_then(|file| git_oid(&file, there.len()));
        let oid = oid.map_err(|error| DownloadError::io(&fetch.into, "read", error))?;
        if oid != wanted.as_str() {
            return Ok(None);
        }
    }
    match (
        fetch.sha256,
        fetch.size.or(fetch.git.as_ref().map(|_| there.len())),
    ) {
        (Some(wanted), _) => {
            let (digest, _) = digest_of(&fetch.into, progress, cancel)?;
            Ok((digest == wanted).then(|| found(Some(digest))))
        }
        (None, Some(_)) => Ok(Some(found(None))),
        (None, None) => Ok(None),
    }
}

impl Run<'_> {
    /// Tries until all bytes are there and right.
    fn until_whole(&mut self) -> Result<(), DownloadError> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(self.stopped());
            }
            match self.attempt() {
                Ok(Tried::Whole) => {
                    if self.is_right()? {
                        return Ok(());
                    }
                }
                Ok(Tried::Failed(fault)) => self.pause(fault)?,
                Err(DownloadError::Egress(EgressError::Cancelled)) => return Err(self.stopped()),
                Err(error) => return Err(error),
            }
        }
    }

    /// One request, and as much of its body as comes.
    fn attempt(&mut self) -> Result<Tried, DownloadError> {
        match self.size() {
            Some(size) if self.partial.have() == size => return Ok(Tried::Whole),
            Some(size) if self.partial.have() > size => self.partial.clear()?,
            _ => {}
        }
        self.look_at_the_disk()?;
        // Without a digest only a version says that old bytes and new ones are of one file.
        if !self.fetch.has_digest() && self.partial.note.etag.is_none() {
            self.partial.clear()?;
        }
        let response = match self.door.send_blocking(self.request()?) {
            Ok(response) => response,
            Err(error) => return self.failed(error),
        };
        let home = Origin::of(&self.fetch.url)?;
        let head = response.head();
        let said = Said::of(head, *head.origin() == home);
        let (size, known) = match said.judge(self.asked()) {
            Answer::Rest { size } => (size, 0),
            Answer::Whole { size: Some(size) } => {
                if !self.goes_on(&said, size) {
                    self.partial.clear()?;
                }
                (size, self.partial.have())
            }
            Answer::Whole { size: None } => {
                return Err(DownloadError::NoLength {
                    host: said.host,
                    file: self.file(),
                });
            }
            Answer::Anew(fault) => {
                self.partial.clear()?;
                self.partial.note.etag = None;
                return Ok(Tried::Failed(fault));
            }
            Answer::Fault(fault) => return Ok(Tried::Failed(fault)),
            Answer::Final => return Err(self.refused(&response)),
        };
        let etag = said.strong_etag().map(str::to_owned);
        if self.partial.have() == 0 {
            self.partial.note.etag = etag;
            self.partial.note.size = Some(size);
            self.partial.write_note()?;
        }
        self.look_at_the_disk()?;
        self.read_body(response, size, known)
    }

    /// Whether an answer that begins with the first byte, though a later one was asked for, is still of
    /// the file whose beginning is there. Then what is there stays, and is passed over in the answer: a
    /// cut cannot take it away.
    fn goes_on(&self, said: &Said<'_>, size: u64) -> bool {
        let note = &self.partial.note;
        let same = match self.fetch.has_digest() {
            true => true,
            false => note.etag.is_some() && said.strong_etag() == note.etag.as_deref(),
        };
        same && note.size == Some(size) && self.partial.have() <= size
    }

    /// Reads the body of a file of `size` bytes, of which the first `known` are there already.
    fn read_body(
        &mut self,
        mut response: BlockingResponse,
        size: u64,
        known: u64,
    ) -> Result<Tried, DownloadError> {
        let host = response.head().origin().host();
        let mut known = known;
        self.tell();
        loop {
            let mut piece = match response.chunk() {
                Ok(Some(piece)) => piece,
                Ok(None) if self.partial.have() == size => return Ok(Tried::Whole),
                Ok(None) => {
                    let have = self.partial.have();
                    return Ok(Tried::Failed(Fault::Short { host, have, size }));
                }
                // All bytes are there: what the connection does afterwards is no matter.
                Err(EgressError::Cut { .. }) if self.partial.have() == size => {
                    return Ok(Tried::Whole);
                }
                Err(error) => return self.failed(error),
            };
            let passed = known.min(piece.len() as u64);
            known = known.saturating_sub(passed);
            piece.advance(usize::try_from(passed).unwrap_or(piece.len()));
            let room = size.saturating_sub(self.partial.have());
            let fits =
                usize::try_from(room).map_or(&*piece, |room| piece.get(..room).unwrap_or(&piece));
            // What is too long may be right as far as it goes: with a digest the whole tells.
            let too_long = fits.len() < piece.len();
            if too_long && !self.fetch.has_digest() {
                // What is there may have the right length, and is still not the file that was promised: the
                // next attempt must not take it for whole.
                self.partial.clear()?;
                return Ok(Tried::Failed(Fault::TooLong { host, size }));
            }
            if let Err(error) = self.partial.append(fits, self.fetch.disk.as_ref()) {
                return Err(DownloadError::io(&self.fetch.into, "written", error));
            }
            self.tell();
            if too_long {
                return Ok(Tried::Whole);
            }
        }
    }

    fn request(&self) -> Result<Request, EgressError> {
        let permit = self.door.permit(Purpose::Pull, &self.fetch.url)?;
        let mut request = Request::get(permit)
            .token(self.fetch.token.as_ref())
            .follow(Follow::Allowed)
            .cancel(self.cancel);
        let have = self.partial.have();
        if have > 0 {
            request = request.header("range", &format!("bytes={have}-"))?;
            if let Some(etag) = self.asked().etag {
                request = request.header("if-range", etag)?;
            }
        }
        Ok(request)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            have: self.partial.have(),
            size: self.fetch.size,
            noted: self.size(),
            // With a digest the bytes decide, and copies with other tags may serve the rest.
            etag: match self.fetch.has_digest() {
                true => None,
                false => self.partial.note.etag.as_deref(),
            },
        }
    }

    /// Bytes of the whole, as far as known.
    fn size(&self) -> Option<u64> {
        self.fetch.size.or(match self.partial.have() {
            0 => None,
            _ => self.partial.note.size,
        })
    }

    /// What an error of the door means for the download.
    fn failed(&self, error: EgressError) -> Result<Tried, DownloadError> {
        match error.is_transient() {
            true => Ok(Tried::Failed(Fault::Net(error))),
            false => Err(error.into()),
        }
    }

    /// Whether the bytes are the ones that were asked for. A first time they may not be.
    fn is_right(&mut self) -> Result<bool, DownloadError> {
        let Some((kind, wanted, got)) = self.mismatch()? else {
            return Ok(true);
        };
        self.partial.clear()?;
        if self.restarted {
            return Err(DownloadError::WrongDigest {
                name: self.fetch.name.clone(),
                host: Origin::of(&self.fetch.url)?.host(),
                kind,
                wanted,
                got,
            });
        }
        self.restarted = true;
        self.reached = 0;
        self.vain = 0;
        (self.progress)(Progress::Restarting);
        Ok(false)
    }

    /// What digest is not the one that was asked for: its kind, that one, and the one of the bytes.
    fn mismatch(&mut self) -> Result<Option<(&'static str, String, String)>, DownloadError> {
        let got = self.partial.digest();
        if let Some(wanted) = self.fetch.sha256.filter(|wanted| *wanted != got) {
            return Ok(Some(("SHA-256", wanted.to_string(), got.to_string())));
        }
        let Some(wanted) = &self.fetch.git else {
            return Ok(None);
        };
        let got = self.partial.git_oid()?;
        let wrong = got != wanted.as_str();
        Ok(wrong.then(|| ("git digest", wanted.as_str().to_owned(), got)))
    }

    /// Waits before the next try, or gives up.
    fn pause(&mut self, fault: Fault) -> Result<(), DownloadError> {
        let patience = self.fetch.patience;
        let have = self.partial.have();
        match have >= self.reached.saturating_add(patience.progress) {
            true => self.vain = 0,
            false => self.vain = self.vain.saturating_add(1),
        }
        if self.vain == 0 {
            self.reached = have;
        }
        let fault = Arc::new(fault);
        if self.vain >= patience.tries {
            return Err(DownloadError::GaveUp {
                name: self.fetch.name.clone(),
                fault,
                tries: self.vain,
                have,
                size: self.size(),
            });
        }
        // After a try that brought something the next begins at once.
        let mut pause = match self.vain.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => patience
                .pause
                .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(patience.longest_pause),
        };
        if let Fault::Busy {
            host,
            retry_after: Some(asked),
            ..
        } = fault.as_ref()
        {
            if *asked > patience.longest_asked {
                return Err(DownloadError::Later {
                    host: host.clone(),
                    asked: *asked,
                });
            }
            pause = pause.max(*asked);
        }
        (self.progress)(Progress::Retrying {
            fault,
            pause,
            left: patience.tries.saturating_sub(self.vain),
        });
        match self.cancel.sleep(pause) {
            true => Err(self.stopped()),
            false => Ok(()),
        }
    }

    /// Refuses to begin what cannot end.
    fn look_at_the_disk(&self) -> Result<(), DownloadError> {
        let folder = folder(&self.fetch.into);
        let (Some(size), Some(free)) = (self.size_or_noted(), self.fetch.disk.free(folder)) else {
            return Ok(());
        };
        let rest = size.saturating_sub(self.partial.have());
        let margin = self.fetch.patience.margin.min(rest);
        let wanted = rest.saturating_add(margin);
        match wanted > free {
            true => Err(self.disk_full(wanted.saturating_sub(free))),
            false => Ok(()),
        }
    }

    fn size_or_noted(&self) -> Option<u64> {
        self.fetch.size.or(self.partial.note.size)
    }

    /// Says of a disk that ran full how much it lacks.
    fn tell_full(&self, error: DownloadError) -> DownloadError {
        let DownloadError::Io { error: cause, .. } = &error else {
            return error;
        };
        match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                let size = self.size_or_noted().unwrap_or_default();
                self.disk_full(size.saturating_sub(self.partial.have()).max(1))
            }
            _ => error,
        }
    }

    fn disk_full(&self, missing: u64) -> DownloadError {
        DownloadError::DiskFull {
            folder: folder(&self.fetch.into).to_owned(),
            name: self.fetch.name.clone(),
            missing,
        }
    }

    fn refused(&self, response: &BlockingResponse) -> DownloadError {
        let head = response.head();
        let (host, file, status) = (head.origin().host(), self.file(), head.status());
        match status {
            401 | 403 => DownloadError::Denied {
                host,
                file,
                status,
                token_sent: head.token_sent(),
            },
            404 | 410 => DownloadError::NotFound { host, file },
            _ => DownloadError::Refused { host, file, status },
        }
    }

    /// The path of the URL, for messages.
    fn file(&self) -> String {
        self.fetch.url.path().chars().take(200).collect()
    }

    fn stopped(&self) -> DownloadError {
        DownloadError::Cancelled {
            have: self.partial.have(),
            size: self.size(),
        }
    }

    fn tell(&mut self) {
        let (done, of) = (self.partial.have(), self.size_or_noted());
        (self.progress)(Progress::Fetching { done, of });
    }
}

/// The files beside the target.
struct Names {
    folder: PathBuf,
    partial: PathBuf,
    note: PathBuf,
    lock: PathBuf,
}

impl Names {
    fn of(into: &Path) -> Result<Self, DownloadError> {
        let bad = || DownloadError::BadTarget {
            path: into.to_owned(),
        };
        let name = into.file_name().ok_or_else(bad)?;
        if into.is_dir() {
            return Err(bad());
        }
        let folder = folder(into).to_owned();
        let beside = |end: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(end);
            folder.join(hidden)
        };
        Ok(Self {
            partial: beside(".partial"),
            note: beside(".partial.json"),
            lock: beside(".lock"),
            folder,
        })
    }
}

/// The folder of a file; the current one where the path is a bare name.
fn folder(into: &Path) -> &Path {
    match into.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

//! Reads on io_uring. One thread begins them and hears of their ends, and does nothing else, so that the disk always
//! has work; what is whole goes to a few threads that deliver.
//!
//! One request is begun at a time, and all of its reads before those of the next: the first is whole when the disk
//! has read its bytes, and not when it has read those of all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ingle_tensor::SourceError;
use ingle_tensor::fetch::{Fetched, Fetcher, Sink, TensorRange, Urgency, Workers};

use super::layout::Layout;
use super::shared::{Finished, Request, Shared};
use super::{Buffer, Opened, ReadSetup};
use crate::ModelFiles;
use crate::direct::{Ended, Ring};

/// How often a read is begun again of which the system said that it would go better later.
const PATIENCE: u32 = 1000;
/// How long requests may wait for the answer that the ring is broken.
const BROKEN_PAUSE: Duration = Duration::from_millis(10);

/// The fetcher.
pub(crate) struct RingFetcher {
    shared: Arc<Shared>,
    /// Dropped, and so waited for, after `drop` has closed what they share.
    workers: Workers,
}

impl RingFetcher {
    /// A ring that reads `files` as `setup` says, with buffers for requests of `largest` bytes.
    ///
    /// # Errors
    /// This system has no io_uring, does not let us use it, or gives no thread.
    pub(crate) fn new(
        model: &Arc<ModelFiles>,
        files: &Arc<[Opened]>,
        setup: &ReadSetup,
        largest: u64,
    ) -> io::Result<Self> {
        let ring = Ring::new(setup.depth(), Arc::clone(files))?;
        let buffer = |_| Buffer::new(ReadSetup::capacity(largest));
        let free = (0..setup.buffers(largest)).map(buffer).collect();
        let shared = Arc::new(Shared::new(ring.bell(), Arc::clone(files), free));
        // Made before the threads: where one of them cannot be had, dropping this ends the others.
        let mut fetcher = Self {
            shared: Arc::clone(&shared),
            workers: Workers::default(),
        };
        for _ in 0..setup.deliverers() {
            let shared = Arc::clone(&shared);
            fetcher.workers.spawn(move || shared.deliver())?;
        }
        let align = files.iter().map(|file| file.align()).max();
        let align = align
            .and_then(|align| usize::try_from(align).ok())
            .unwrap_or(1);
        let reader = Reader {
            shared,
            model: Arc::clone(model),
            files: Arc::clone(files),
            ring,
            read_size: setup.read_size().next_multiple_of(align.max(1)),
            begun: Vec::new(),
            current: None,
            reads: (0..setup.depth()).map(|_| None).collect(),
        };
        fetcher.workers.spawn(move || reader.run())?;
        Ok(fetcher)
    }
}

impl Fetcher for RingFetcher {
    fn fetch(&self, ticket: u64, ranges: &[TensorRange], urgency: Urgency, sink: &Arc<dyn Sink>) {
        let request = Request {
            ranges: ranges.to_vec(),
            sink: Arc::clone(sink),
        };
        let mut state = self.shared.state();
        state.queue.push(ticket, urgency, request);
        self.shared.wake(state);
    }

    fn hasten(&self, ticket: u64) {
        let mut state = self.shared.state();
        state.queue.hasten(ticket);
        // A likely request may have waited for a buffer that an awaited one gets.
        self.shared.wake(state);
    }

    fn withdraw(&self, ticket: u64) -> bool {
        // Dropped when the lock is free again: the sink may be the last of its owner.
        let taken = self.shared.state().queue.withdraw(ticket);
        taken.is_some()
    }

    fn fetched(&self) -> Fetched {
        Fetched {
            requests: self.shared.requests.load(Relaxed),
            bytes: self.shared.bytes.load(Relaxed),
        }
    }
}

impl Drop for RingFetcher {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl std::fmt::Debug for RingFetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingFetcher")
            .field("threads", &self.workers.len())
            .field("fetched", &self.fetched())
            .finish()
    }
}

/// The thread of the ring.
struct Reader {
    shared: Arc<Shared>,
    model: Arc<ModelFiles>,
    files: Arc<[Opened]>,
    ring: Ring,
    read_size: usize,
    /// Requests of which something was begun.
    begun: Vec<Option<Begun>>,
    /// The one of them that has reads left to begin.
    current: Option<usize>,
    /// Reads that have not ended; as many places as there may be.
    reads: Vec<Option<Read>>,
}

/// A request of which something was begun.
struct Begun {
    ticket: u64,
    request: Request,
    layout: Layout,
    /// Its memory, lent to the ring.
    lent: usize,
    /// The range that is to be begun next, and how many of its bytes were.
    next: (usize, usize),
    /// Reads that have not ended.
    reads: u32,
    error: Option<SourceError>,
}

/// A read that has not ended: a piece of one range.
#[derive(Debug, Clone, Copy)]
struct Read {
    /// Index in `begun`.
    request: usize,
    range: usize,
    /// From the first byte of the range that is read.
    offset: usize,
    len: usize,
    /// How often it was begun in vain.
    vain: u32,
}

/// What there is to do next.
enum Next {
    /// The request with this index has reads to begin.
    Begun(usize),
    /// A request could not be begun, and hears why.
    Lost,
    /// There is none, or no memory for it: whoever brings either wakes the thread.
    Nothing,
    /// Nobody asks any more.
    Closed,
}

impl Reader {
    fn run(mut self) {
        loop {
            let open = self.fill();
            if !open && self.ring.pending() == 0 {
                return;
            }
            if let Err(error) = self.ring.wait() {
                return self.broken(&error);
            }
            self.shared.state().asleep = false;
            while let Some(ended) = self.ring.ended() {
                self.ended(ended);
            }
        }
    }

    /// Begins reads until there are as many as may be, or nothing is left to begin. False: the fetcher is closed.
    fn fill(&mut self) -> bool {
        if self.shared.state().closed {
            return false;
        }
        while let Some(place) = self.reads.iter().position(Option::is_none) {
            let index = match self.current.map_or_else(|| self.begin(), Next::Begun) {
                Next::Begun(index) => index,
                Next::Lost => continue,
                Next::Nothing => break,
                Next::Closed => return false,
            };
            match self.next_piece(index) {
                Some(read) => self.submit(place, read),
                None => {
                    self.current = None;
                    self.finish_if_whole(index);
                }
            }
        }
        true
    }

    /// Takes the next request out of the queue.
    fn begin(&mut self) -> Next {
        let mut state = self.shared.state();
        if state.closed {
            return Next::Closed;
        }
        // The last buffer is kept for what somebody waits for.
        let spare = match state.queue.next() {
            Some(Urgency::Likely) => 1,
            _ => 0,
        };
        let room = state.free.len() > spare;
        let Some((ticket, request)) = room.then(|| state.queue.pop()).flatten() else {
            state.asleep = true;
            return Next::Nothing;
        };
        let buffer = state.free.pop();
        drop(state);
        let layout = Layout::of(&self.model, &self.files, &request.ranges);
        let (layout, mut buffer) = match (layout, buffer) {
            (Ok(layout), Some(buffer)) => (layout, buffer),
            (outcome, buffer) => {
                self.lost(ticket, request, outcome.err(), buffer);
                return Next::Lost;
            }
        };
        buffer.make_room(layout.bytes);
        let begun = Begun {
            ticket,
            request,
            layout,
            lent: self.ring.lend(buffer),
            next: (0, 0),
            reads: 0,
            error: None,
        };
        let free = self.begun.iter().position(Option::is_none);
        let index = free.unwrap_or(self.begun.len());
        if free.is_none() {
            self.begun.push(None);
        }
        if let Some(place) = self.begun.get_mut(index) {
            *place = Some(begun);
        }
        self.current = Some(index);
        Next::Begun(index)
    }

    /// The piece of a request that is to be begun next.
    fn next_piece(&mut self, index: usize) -> Option<Read> {
        let begun = self.begun.get_mut(index)?.as_mut()?;
        if begun.error.is_some() {
            return None;
        }
        loop {
            let (range, offset) = begun.next;
            let placed = begun.layout.ranges.get(range)?;
            let len = placed.len.saturating_sub(offset).min(self.read_size);
            if len == 0 {
                begun.next = (range + 1, 0);
                continue;
            }
            begun.next.1 = offset.saturating_add(len);
            return Some(Read {
                request: index,
                range,
                offset,
                len,
                vain: 0,
            });
        }
    }

    /// Begins a read, which takes a place among those that have not ended.
    fn submit(&mut self, place: usize, read: Read) {
        let Some(begun) = self.begun.get_mut(read.request).and_then(Option::as_mut) else {
            return;
        };
        let Some(placed) = begun.layout.ranges.get(read.range) else {
            return;
        };
        let from = placed.start.saturating_add(read.offset as u64);
        let at = placed.at.saturating_add(read.offset);
        let into = at..at.saturating_add(read.len);
        let token = u32::try_from(place).unwrap_or(u32::MAX);
        match self.ring.read(placed.file, from, begun.lent, into, token) {
            Ok(()) => {
                begun.reads += 1;
                if let Some(place) = self.reads.get_mut(place) {
                    *place = Some(read);
                }
            }
            Err(error) => begun.fail(&self.files, read, error),
        }
    }

    /// A read has ended: it was whole, goes on, or has failed.
    fn ended(&mut self, ended: Ended) {
        let place = ended.token as usize;
        let Some(read) = self.reads.get_mut(place).and_then(Option::take) else {
            return;
        };
        let Some(begun) = self.begun.get_mut(read.request).and_then(Option::as_mut) else {
            return;
        };
        begun.reads = begun.reads.saturating_sub(1);
        if let Ok(got) = ended.outcome {
            self.shared.bytes.fetch_add(got as u64, Relaxed);
        }
        match begun.rest(&self.files, read, ended.outcome) {
            Ok(None) => {}
            Ok(Some(rest)) => self.submit(place, rest),
            Err(error) => begun.fail(&self.files, read, error),
        }
        self.finish_if_whole(read.request);
    }

    /// Hands a request over if nothing of it is left to begin or to wait for.
    fn finish_if_whole(&mut self, index: usize) {
        let Some(place) = self.begun.get_mut(index) else {
            return;
        };
        let whole = self.current != Some(index);
        let Some(begun) = place.take_if(|begun| whole && begun.reads == 0) else {
            return;
        };
        match (begun.error, self.ring.take_back(begun.lent)) {
            (None, Some(buffer)) => {
                self.shared.requests.fetch_add(1, Relaxed);
                self.shared.finish(Finished {
                    ticket: begun.ticket,
                    request: begun.request,
                    outcome: Ok((begun.layout, buffer)),
                });
            }
            (error, buffer) => self.lost(begun.ticket, begun.request, error, buffer),
        }
    }

    /// A request that could not be read.
    fn lost(
        &self,
        ticket: u64,
        request: Request,
        error: Option<SourceError>,
        buffer: Option<Buffer>,
    ) {
        let name = || request.ranges.first().map_or("", |range| &*range.name);
        let error = error.unwrap_or_else(|| SourceError::Missing {
            name: name().to_owned(),
        });
        if let Some(buffer) = buffer {
            self.shared.give_back(buffer);
        }
        self.shared.finish(Finished {
            ticket,
            request,
            outcome: Err(error),
        });
    }

    /// The ring does not work any more: whoever asks hears it, until nobody does.
    fn broken(mut self, error: &io::Error) {
        let again = || io::Error::new(error.kind(), error.to_string());
        for begun in std::mem::take(&mut self.begun).into_iter().flatten() {
            let error = begun.failure(&self.files, (0, 0), again());
            self.lost(begun.ticket, begun.request, Some(error), None);
        }
        loop {
            let mut state = self.shared.state();
            if state.closed {
                return;
            }
            let next = state.queue.pop();
            drop(state);
            let Some((ticket, request)) = next else {
                // The bell may be a part of what does not work.
                std::thread::sleep(BROKEN_PAUSE);
                continue;
            };
            let first = request.ranges.first();
            let error = first.and_then(|first| {
                let (file, at) = self
                    .model
                    .place_of(&first.name, first.offset, first.len)
                    .ok()?;
                Some(self.files.get(file)?.failed(&first.name, at, again()))
            });
            self.lost(ticket, request, error, None);
        }
    }
}

impl Begun {
    /// What is left of a read after it has ended once; `None` where it is whole.
    ///
    /// # Errors
    /// It failed, or the file ends.
    fn rest(
        &self,
        files: &[Opened],
        read: Read,
        outcome: io::Result<usize>,
    ) -> io::Result<Option<Read>> {
        use io::ErrorKind::{Interrupted, WouldBlock};
        let Some(placed) = self.layout.ranges.get(read.range) else {
            return Ok(None);
        };
        // A request that failed elsewhere needs no more reads.
        if self.error.is_some() {
            return Ok(None);
        }
        let got = match outcome {
            Ok(got) => got,
            Err(error)
                if matches!(error.kind(), Interrupted | WouldBlock) && read.vain < PATIENCE =>
            {
                let vain = read.vain + 1;
                return Ok(Some(Read { vain, ..read }));
            }
            Err(error) => return Err(error),
        };
        if got >= placed.needed(read.offset, read.len) {
            return Ok(None);
        }
        let beyond = files.get(placed.file).map_or(0, |file| file.beyond(got));
        match got - beyond {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            step => Ok(Some(Read {
                offset: read.offset.saturating_add(step),
                len: read.len.saturating_sub(step),
                vain: 0,
                ..read
            })),
        }
    }

    fn fail(&mut self, files: &[Opened], read: Read, error: io::Error) {
        if self.error.is_none() {
            self.error = Some(self.failure(files, (read.range, read.offset), error));
        }
    }

    /// A failed read of a range, at an offset in it, as the caller hears of it.
    fn failure(
        &self,
        files: &[Opened],
        (range, offset): (usize, usize),
        error: io::Error,
    ) -> SourceError {
        let name = self.request.ranges.get(range);
        let name = name.map_or(String::new(), |range| range.name.to_string());
        let placed = self.layout.ranges.get(range);
        let at = placed
            .map_or(0, |placed| placed.start)
            .saturating_add(offset as u64);
        match placed.and_then(|placed| files.get(placed.file)) {
            Some(file) => file.failed(&name, at, error),
            None => SourceError::Missing { name },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl Sink for Deaf {
        fn arrived(&self, _: u64, _: Result<&[&[u8]], SourceError>) {}
    }

    /// A request for bytes 5000 to 25000 of the only tensor of a model in a file, and the file.
    fn begun(folder: &std::path::Path, direct: bool) -> Option<(Begun, Arc<[Opened]>)> {
        let path = folder.join("m.gguf");
        let writer =
            ingle_formats::gguf::Writer::new().tensor("a", &[8000], ingle_formats::TensorType::F32);
        std::fs::write(&path, writer.file([[1_u8; 32_000]]).unwrap()).unwrap();
        let model = ModelFiles::open(&path).unwrap();
        let files = model.opened(direct).unwrap();
        if files.first()?.direct() != direct {
            println!("skipped: no direct reads here");
            return None;
        }
        let ranges = vec![TensorRange {
            name: "a".into(),
            offset: 5000,
            len: 20_000,
        }];
        let begun = Begun {
            ticket: 1,
            layout: Layout::of(&model, &files, &ranges).unwrap(),
            request: Request {
                ranges,
                sink: Arc::new(Deaf),
            },
            lent: 0,
            next: (0, 0),
            reads: 0,
            error: None,
        };
        Some((begun, files))
    }

    const READ: Read = Read {
        request: 0,
        range: 0,
        offset: 4096,
        len: 8192,
        vain: 0,
    };

    #[test]
    fn a_read_that_was_cut_short_goes_on_where_it_may() {
        let folder = tempfile::tempdir().unwrap();
        for direct in [true, false] {
            let Some((begun, files)) = begun(folder.path(), direct) else {
                continue;
            };
            let rest = |outcome| begun.rest(&files, READ, outcome);
            let place = |outcome| {
                let read = rest(outcome).unwrap().unwrap();
                (read.offset, read.len)
            };
            assert!(rest(Ok(8192)).unwrap().is_none());
            assert_eq!(place(Ok(4096)), (8192, 4096));
            let odd = if direct { (8192, 4096) } else { (9096, 3192) };
            assert_eq!(place(Ok(5000)), odd);
            assert_eq!(
                rest(Ok(0)).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof
            );
            // What was read of a block at the end of a file is all that will come.
            assert_eq!(rest(Ok(100)).is_err(), direct);
        }
    }

    #[test]
    fn what_goes_better_later_is_tried_again_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (mut begun, files) = begun(folder.path(), false).unwrap();
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let again = begun.rest(&files, READ, interrupted()).unwrap().unwrap();
        assert_eq!((again.offset, again.len, again.vain), (4096, 8192, 1));
        let tired = Read {
            vain: PATIENCE,
            ..READ
        };
        assert!(begun.rest(&files, tired, interrupted()).is_err());
        let broken = || Err(io::Error::from_raw_os_error(5));
        let error = begun.rest(&files, READ, broken()).unwrap_err();
        begun.fail(&files, READ, error);
        let first = begun.layout.ranges.first().unwrap().start;
        let message = begun.error.as_ref().unwrap().to_string();
        assert!(
            message.contains("m.gguf") && message.contains("tensor `a`"),
            "{message}"
        );
        assert!(
            message.contains(&format!("at byte {}", first + 4096)),
            "{message}"
        );
        // The others of its reads end, however they do.
        assert!(begun.rest(&files, READ, Ok(17)).unwrap().is_none());
        assert!(begun.rest(&files, READ, broken()).unwrap().is_none());
    }
}

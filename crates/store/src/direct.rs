//! io_uring, made safe: memory that the kernel writes to cannot be looked at, moved or freed before it is done.
//!
//! Every `unsafe` of this crate stands here.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::event::{EventfdFlags, PollFlags, eventfd};

use crate::stream::{Buffer, Opened};

/// Marks the completion that only says that somebody called.
const CALL: u64 = u64::MAX;

/// A ring, the files that it reads and the memory that it reads into.
pub(crate) struct Ring {
    ring: IoUring,
    files: Arc<[Opened]>,
    lent: Vec<Option<Lent>>,
    /// Reads that have not ended.
    pending: u32,
    bell: Arc<Bell>,
    /// Whether the kernel listens for the bell.
    listening: bool,
    /// Why the bell cannot be heard.
    deaf: Option<io::Error>,
}

/// Memory that the kernel writes to.
struct Lent {
    buffer: Buffer,
    /// Its first byte and its length, found out before the kernel got any of it.
    start: *mut u8,
    len: usize,
    /// Reads into it that have not ended.
    reads: u32,
}

// SAFETY: the pointer leads into the buffer beside it, which may be sent.
unsafe impl Send for Lent {}

/// Wakes the thread that waits for a ring.
pub(crate) struct Bell(OwnedFd);

impl Bell {
    /// Wakes the thread that waits, or that waits next.
    pub(crate) fn ring(&self) {
        // It fails only where the count is full, and then the thread wakes anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Forgets that it was rung.
    fn quiet(&self) {
        // It fails only where it was not.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

/// A read that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As it was given to [`Ring::read`].
    pub(crate) token: u32,
    /// Bytes read, or why not.
    pub(crate) outcome: io::Result<usize>,
}

impl Ring {
    /// A ring for `reads` reads at the same time.
    ///
    /// # Errors
    /// This system has no io_uring, or does not let us use it.
    pub(crate) fn new(reads: u32, files: Arc<[Opened]>) -> io::Result<Self> {
        // One more for the bell.
        let entries = reads.saturating_add(1).next_power_of_two();
        let mut builder = IoUring::builder();
        builder.setup_coop_taskrun();
        // Kernels before 5.19 do not know the flag.
        let ring = builder.build(entries).or_else(|_| IoUring::new(entries))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Read::CODE, opcode::PollAdd::CODE];
        if !needed.into_iter().all(|code| probe.is_supported(code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            ring,
            files,
            lent: Vec::new(),
            pending: 0,
            bell: Arc::new(Bell(eventfd(
                0,
                EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
            )?)),
            listening: false,
            deaf: None,
        })
    }

    /// What wakes [`Ring::wait`].
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Reads that have not ended.
    pub(crate) fn pending(&self) -> u32 {
        self.pending
    }

    /// Takes memory to read into; the number names it.
    pub(crate) fn lend(&mut self, mut buffer: Buffer) -> usize {
        let bytes = buffer.bytes_mut();
        let (start, len) = (bytes.as_mut_ptr(), bytes.len());
        let lent = Some(Lent {
            buffer,
            start,
            len,
            reads: 0,
        });
        match self.lent.iter().position(Option::is_none) {
            Some(free) => {
                if let Some(place) = self.lent.get_mut(free) {
                    *place = lent;
                }
                free
            }
            None => {
                self.lent.push(lent);
                self.lent.len() - 1
            }
        }
    }

    /// Gives memory back; `None` while a read into it has not ended.
    pub(crate) fn take_back(&mut self, lent: usize) -> Option<Buffer> {
        let place = self.lent.get_mut(lent)?;
        Some(place.take_if(|lent| lent.reads == 0)?.buffer)
    }

    /// Begins to read into `range` of lent memory from `offset` of a file on. Where ranges overlap whose reads
    /// have not ended, it is not said whose bytes stay.
    ///
    /// # Errors
    /// There is no such file, memory or range, or the kernel takes no more reads.
    pub(crate) fn read(
        &mut self,
        file: usize,
        offset: u64,
        lent: usize,
        range: Range<usize>,
        token: u32,
    ) -> io::Result<()> {
        let wrong = io::ErrorKind::InvalidInput;
        let file = self.files.get(file).ok_or(wrong)?.fd().as_raw_fd();
        let index = u32::try_from(lent).map_err(|_| wrong)?;
        let lent = self.lent.get_mut(lent).and_then(Option::as_mut);
        let lent = lent.ok_or(wrong)?;
        let len = range.end.checked_sub(range.start).ok_or(wrong)?;
        let len = u32::try_from(len).map_err(|_| wrong)?;
        if range.end > lent.len {
            return Err(wrong.into());
        }
        // SAFETY: the range begins inside the memory, or at its end.
        let into = unsafe { lent.start.add(range.start) };
        let entry = opcode::Read::new(types::Fd(file), into, len)
            .offset(offset)
            .build()
            .user_data(u64::from(token) << 32 | u64::from(index));
        // SAFETY: `into` has `len` bytes, owned by `self.lent`, which gives them back or drops them only when
        // `reads` is zero again, and until then lets nobody look; a dropped ring waits for that, or leaks them.
        // The file is open as long as `self.files`.
        unsafe { push(&mut self.ring, &entry)? };
        lent.reads += 1;
        self.pending += 1;
        Ok(())
    }

    /// Submits what was begun and sleeps until something has ended or the bell was rung.
    ///
    /// # Errors
    /// The ring is broken: no read may ever end.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        if let Some(error) = self.deaf.take() {
            return Err(error);
        }
        if !self.listening {
            let bell = types::Fd(self.bell.0.as_raw_fd());
            let entry = opcode::PollAdd::new(bell, u32::from(PollFlags::IN.bits()))
                .build()
                .user_data(CALL);
            // SAFETY: the entry points to nothing.
            unsafe { push(&mut self.ring, &entry)? };
            self.listening = true;
        }
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel lacks memory, or wants its completions fetched first.
                Err(error) if passes(&error) => {
                    if !self.ring.completion().is_empty() {
                        return Ok(());
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A read that has ended, if there is one.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        loop {
            let entry = self.ring.completion().next()?;
            let outcome = entry.result();
            if entry.user_data() == CALL {
                self.listening = false;
                self.bell.quiet();
                let error = io::Error::from_raw_os_error(outcome.saturating_neg());
                self.deaf = (outcome < 0 && !passes(&error)).then_some(error);
                continue;
            }
            let (token, lent) = (entry.user_data() >> 32, entry.user_data() & 0xffff_ffff);
            self.pending = self.pending.saturating_sub(1);
            let lent = self.lent.get_mut(lent as usize);
            if let Some(lent) = lent.and_then(Option::as_mut) {
                lent.reads = lent.reads.saturating_sub(1);
            }
            return Some(Ended {
                token: token as u32,
                outcome: usize::try_from(outcome)
                    .map_err(|_| io::Error::from_raw_os_error(outcome.saturating_neg())),
            });
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.pending > 0 {
            if self.ring.submit_and_wait(1).is_err_and(|e| !passes(&e)) {
                // Whoever waits for a broken ring waits for ever; and the kernel may still write.
                std::mem::forget(std::mem::take(&mut self.lent));
                return;
            }
            while self.ended().is_some() {}
        }
    }
}

/// Whether the kernel will take the same call later.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, ResourceBusy, WouldBlock};
    matches!(
        error.kind(),
        Interrupted | OutOfMemory | ResourceBusy | WouldBlock
    )
}

/// Puts an entry into the ring's queue, which is submitted first where it is full.
///
/// # Safety
/// What the entry points to lives, and is used by nobody else, until it has ended.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: as the caller promises.
    if unsafe { ring.submission().push(entry) }.is_ok() {
        return Ok(());
    }
    ring.submit()?;
    // SAFETY: as the caller promises.
    unsafe { ring.submission().push(entry) }.map_err(|_| io::ErrorKind::ResourceBusy.into())
}

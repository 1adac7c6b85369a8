//! How a disk is read: what was measured, and what follows from it.

use serde::{Deserialize, Serialize};

/// Reads in flight, at most: more than any disk gets faster by.
const MOST_DEPTH: u32 = 256;
/// Bytes of one read.
const READ_SIZES: std::ops::RangeInclusive<u32> = 4096..=16 << 20;
/// What each request may take beyond its own bytes, because reads begin and end at multiples of a page.
const SLACK: u64 = 64 << 10;
/// Bytes in a second that one thread delivers, as a rule: packed into the order of the kernels.
const DELIVERED: u64 = 2_000_000_000;

/// How a disk is read, and how fast it then is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSetup {
    /// Past the page cache, where the file system offers that.
    pub direct: bool,
    /// Reads in flight at the same time.
    pub depth: u32,
    /// Bytes of one read; larger requests are several.
    pub read_size: u32,
    /// What large requests in any order then bring, together; 0 where it was not measured.
    pub bytes_per_second: u64,
}

impl Default for ReadSetup {
    /// For a disk that was not measured: what most are fast with.
    fn default() -> Self {
        Self {
            direct: true,
            depth: 8,
            read_size: 512 << 10,
            bytes_per_second: 0,
        }
    }
}

/// How a fetcher reads, as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// io_uring.
    IoUring {
        /// Past the page cache.
        direct: bool,
    },
    /// Positioned reads on threads.
    Positioned {
        /// Past the page cache.
        direct: bool,
    },
    /// Whatever the source does, on threads: weights that are put together or quantised while they are read, a
    /// model in memory, or a system without the other two.
    Source,
}

impl Way {
    /// Whether it is past the page cache.
    pub fn is_direct(self) -> bool {
        let (Self::IoUring { direct } | Self::Positioned { direct }) = self else {
            return false;
        };
        direct
    }

    /// The same through the page cache.
    pub(crate) fn cached(self) -> Self {
        match self {
            Self::IoUring { .. } => Self::IoUring { direct: false },
            Self::Positioned { .. } => Self::Positioned { direct: false },
            Self::Source => Self::Source,
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (how, direct) = match self {
            Self::IoUring { direct } => ("io_uring", direct),
            Self::Positioned { direct } => ("threads", direct),
            Self::Source => return f.write_str("threads"),
        };
        let cache = match direct {
            true => "direct",
            false => "page cache",
        };
        write!(f, "{how}, {cache}")
    }
}

impl ReadSetup {
    /// Bytes of memory that a fetcher made with this takes for requests of at most `largest` bytes.
    pub fn buffer_bytes(&self, largest: u64) -> u64 {
        let one = largest.saturating_add(SLACK);
        one.saturating_mul(self.buffers(largest) as u64)
    }

    /// With at most so many bytes in flight (but at least one page): where memory is short, the memory of reads is
    /// better used otherwise.
    #[must_use]
    pub fn within(mut self, bytes: u64) -> Self {
        let size = bytes.clamp(u64::from(*READ_SIZES.start()), self.read_size() as u64);
        self.read_size = u32::try_from(size).unwrap_or(*READ_SIZES.start());
        let depth = bytes / self.read_size().max(1) as u64;
        self.depth = u32::try_from(depth)
            .unwrap_or(MOST_DEPTH)
            .clamp(1, self.depth());
        self
    }

    /// Bytes of reads in flight.
    pub fn in_flight_bytes(&self) -> u64 {
        u64::from(self.depth()) * self.read_size() as u64
    }

    /// Requests in memory at most beside those that [`Self::in_flight_bytes`] are part of: one begun, one that is
    /// next, and those that are delivered.
    pub fn requests(&self) -> u64 {
        2 + self.deliverers() as u64
    }

    /// Bytes of one buffer.
    #[cfg(target_os = "linux")]
    pub(crate) fn capacity(largest: u64) -> usize {
        usize::try_from(largest.saturating_add(SLACK)).unwrap_or(usize::MAX)
    }

    /// Requests that are in memory: those that are read, one that is next, and those that are delivered.
    pub(crate) fn buffers(&self, largest: u64) -> usize {
        let requests = self.in_flight_bytes().div_ceil(largest.max(1));
        let requests = requests.min(u64::from(self.depth()));
        // At most 256: it fits.
        requests as usize + 1 + self.deliverers()
    }

    /// Threads that deliver.
    pub(crate) fn deliverers(&self) -> usize {
        match self.bytes_per_second / DELIVERED {
            0 => 2,
            1 => 3,
            _ => 4,
        }
    }

    /// Reads in flight; what comes from a file is not believed.
    pub(crate) fn depth(&self) -> u32 {
        self.depth.clamp(1, MOST_DEPTH)
    }

    /// Bytes of one read, whole pages.
    pub(crate) fn read_size(&self) -> usize {
        let size = self.read_size.clamp(*READ_SIZES.start(), *READ_SIZES.end());
        (size - size % READ_SIZES.start()) as usize
    }
}

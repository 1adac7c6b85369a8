//! Reads that come later, from the files of a model: how weights are streamed that do not fit memory.
//!
//! [`ModelFiles::fetcher`] chooses: io_uring on Linux ([`ring`]), threads with positioned reads where that is refused
//! ([`positioned`]), and threads over [`WeightSource::read`] for what is not simply a range of a file, and elsewhere.

#[cfg(target_os = "linux")]
mod buffer;
mod disk;
#[cfg(target_os = "linux")]
mod layout;
mod measure;
#[cfg(target_os = "linux")]
mod opened;
#[cfg(target_os = "linux")]
mod positioned;
#[cfg(target_os = "linux")]
mod ring;
mod setup;
#[cfg(target_os = "linux")]
mod shared;

use std::sync::Arc;

use ingle_tensor::WeightSource;
use ingle_tensor::fetch::{Fetcher, Threads};

use crate::{ModelFiles, StoreError};

#[cfg(target_os = "linux")]
pub(crate) use buffer::Buffer;
pub use disk::Disk;
pub use measure::{Clock, Measured, measure};
#[cfg(target_os = "linux")]
pub(crate) use opened::Opened;
pub use setup::{ReadSetup, Way};

/// Threads where reads are positioned, at most.
const MOST_THREADS: usize = 8;

impl ModelFiles {
    /// Reads ranges of this model's tensors on threads of its own, as `setup` says. `largest` is how many bytes the
    /// largest request will have; a larger one is read too, and takes more memory than
    /// [`ReadSetup::buffer_bytes`] says.
    ///
    /// # Errors
    /// [`StoreError`]: a file is not there any more, or another; the system gives no threads.
    pub fn fetcher(
        self: &Arc<Self>,
        setup: &ReadSetup,
        largest: u64,
    ) -> Result<Arc<dyn Fetcher>, StoreError> {
        let (_, fetcher) = self.fetcher_and_way(setup, largest)?;
        Ok(fetcher)
    }

    /// [`ModelFiles::fetcher`], and how it reads.
    ///
    /// # Errors
    /// As [`ModelFiles::fetcher`].
    pub fn fetcher_and_way(
        self: &Arc<Self>,
        setup: &ReadSetup,
        largest: u64,
    ) -> Result<(Way, Arc<dyn Fetcher>), StoreError> {
        #[cfg(target_os = "linux")]
        if self.options.io != crate::Io::Portable && self.lies_in_files() {
            return self.native(setup, largest);
        }
        let source: Arc<dyn WeightSource> = Arc::<Self>::clone(self);
        let threads = Threads::over(&source, setup.buffers(largest).min(MOST_THREADS));
        let threads = threads.map_err(|error| StoreError::io(self.name(), error))?;
        Ok((Way::Source, Arc::new(threads)))
    }
}

#[cfg(target_os = "linux")]
impl ModelFiles {
    /// io_uring, or positioned reads where that is refused.
    fn native(
        self: &Arc<Self>,
        setup: &ReadSetup,
        largest: u64,
    ) -> Result<(Way, Arc<dyn Fetcher>), StoreError> {
        let files = self.opened(setup.direct)?;
        let direct = files.iter().all(Opened::direct);
        if self.options.io == crate::Io::Native
            && let Ok(fetcher) = ring::RingFetcher::new(self, &files, setup, largest)
        {
            return Ok((Way::IoUring { direct }, Arc::new(fetcher)));
        }
        let reader = |_| {
            Box::new(positioned::Positioned {
                model: Arc::clone(self),
                files: Arc::clone(&files),
                buffer: Buffer::new(ReadSetup::capacity(largest)),
                layout: layout::Layout::default(),
            }) as Box<dyn ingle_tensor::fetch::ReadUnit>
        };
        let threads = setup.buffers(largest).min(MOST_THREADS);
        let threads = Threads::with((0..threads).map(reader));
        let threads = threads.map_err(|error| StoreError::io(self.name(), error))?;
        Ok((Way::Positioned { direct }, Arc::new(threads)))
    }

    /// The files, opened once more.
    fn opened(&self, direct: bool) -> Result<Arc<[Opened]>, StoreError> {
        let open = |part: &crate::part::Part| {
            let path = part.path.as_deref().unwrap_or(std::path::Path::new(""));
            Opened::open(part, path, direct, self.options.cache)
        };
        self.parts.iter().map(open).collect()
    }
}

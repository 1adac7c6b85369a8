//! Positioned reads, for threads that each read one request at a time.

use std::io;
use std::sync::Arc;

use ingle_tensor::SourceError;
use ingle_tensor::fetch::{ReadUnit, TensorRange, Unit};

use super::layout::{Layout, Placed};
use super::{Buffer, Opened};
use crate::ModelFiles;

/// Reads requests into a buffer of its own.
pub(crate) struct Positioned {
    pub(crate) model: Arc<ModelFiles>,
    pub(crate) files: Arc<[Opened]>,
    pub(crate) buffer: Buffer,
    /// The bytes of the request before lie behind this.
    pub(crate) layout: Layout,
}

impl ReadUnit for Positioned {
    fn read(&mut self, ranges: &[TensorRange]) -> Result<Unit<'_>, SourceError> {
        self.layout = Layout::of(&self.model, &self.files, ranges)?;
        self.buffer.make_room(self.layout.bytes);
        let mut bytes = 0;
        for (placed, range) in self.layout.ranges.iter().zip(ranges) {
            let Some(file) = self.files.get(placed.file) else {
                continue;
            };
            let end = placed.at.saturating_add(placed.len);
            let into = self.buffer.bytes_mut().get_mut(placed.at..end);
            let read = read(file, placed, into.unwrap_or_default());
            let (at, outcome) = match read {
                Ok(read) => (0, Ok(read)),
                Err((at, error)) => (at as u64, Err(error)),
            };
            let at = placed.start.saturating_add(at);
            let read = outcome.map_err(|error| file.failed(&range.name, at, error))?;
            bytes += read as u64;
        }
        self.layout.check(&self.files, ranges)?;
        self.layout.release(&self.files);
        Ok(Unit {
            ranges: self.layout.slices(&self.buffer),
            bytes,
        })
    }
}

/// Reads one range, in as many reads as the system makes of it.
///
/// # Errors
/// What the system said, and how many bytes were read before.
fn read(file: &Opened, placed: &Placed, into: &mut [u8]) -> Result<usize, (usize, io::Error)> {
    let (mut done, mut total) = (0, 0);
    while placed.needed(done, usize::MAX) > 0 {
        let rest = into.get_mut(done..).unwrap_or_default();
        match file.read_at(rest, placed.start.saturating_add(done as u64)) {
            Ok(got) => {
                let whole = got >= placed.needed(done, usize::MAX);
                let step = got - file.beyond(got);
                total += got;
                if whole {
                    break;
                }
                if step == 0 {
                    return Err((done, io::ErrorKind::UnexpectedEof.into()));
                }
                done += step;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((done, error)),
        }
    }
    Ok(total)
}

//! Tensors that are put together from stored ones while they are read: another order of rows, another
//! type, several matrices in one. Any range can be read; what is stored in order and as wanted goes
//! straight into the caller's memory.

use ingle_formats::TensorType;
use ingle_formats::huggingface::{Order, Part as Piece};
use ingle_formats::safetensors::Tensor;
use ingle_tensor::{SourceError, quant};

use crate::part::Part;
use crate::read_at::CachePolicy;

/// About how many elements are converted at once.
const UNIT: u64 = 1 << 16;

/// A tensor's pieces, end to end.
pub(crate) struct Assembled {
    ty: TensorType,
    pieces: Vec<Placed>,
}

/// A piece and the bytes of the whole that it makes.
struct Placed {
    /// The first byte in the whole.
    start: u64,
    /// How many bytes of the whole.
    len: u64,
    source: Source,
}

enum Source {
    Made(Vec<u8>),
    Stored(Stored),
}

/// Elements of a file.
struct Stored {
    /// Index of the file.
    part: usize,
    /// The first byte in the file.
    offset: u64,
    ty: TensorType,
    elements: u64,
    order: Order,
    add_one: bool,
}

impl Assembled {
    /// From the pieces of a recipe. `file_of` says in which file a stored tensor lies. `None` where
    /// the pieces are not what the description of the tensors says, which a recipe never is.
    pub(crate) fn new(
        ty: TensorType,
        pieces: Vec<Piece>,
        tensors: &[Tensor],
        file_of: &[usize],
    ) -> Option<Self> {
        let mut placed = Vec::with_capacity(pieces.len());
        let mut start = 0_u64;
        for piece in pieces {
            let (len, source) = match piece {
                Piece::Made(bytes) => (bytes.len() as u64, Source::Made(bytes)),
                Piece::Stored {
                    tensor,
                    ty: stored,
                    first,
                    elements,
                    order,
                    add_one,
                } => {
                    let described = tensors.get(tensor)?;
                    let end = stored.byte_len(first.checked_add(elements)?)?;
                    if end > described.byte_len {
                        return None;
                    }
                    let source = Stored {
                        part: *file_of.get(tensor)?,
                        offset: described.offset.checked_add(stored.byte_len(first)?)?,
                        ty: stored,
                        elements,
                        order,
                        add_one,
                    };
                    (ty.byte_len(elements)?, Source::Stored(source))
                }
            };
            placed.push(Placed { start, len, source });
            start = start.checked_add(len)?;
        }
        Some(Self { ty, pieces: placed })
    }

    /// Bytes of the whole.
    pub(crate) fn byte_len(&self) -> u64 {
        let last = self.pieces.last();
        last.map_or(0, |piece| piece.start.saturating_add(piece.len))
    }

    /// Fills `into` with the bytes from `offset` on. The range lies inside the tensor.
    pub(crate) fn read(
        &self,
        name: &str,
        parts: &[Part],
        cache: CachePolicy,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), SourceError> {
        let first = self
            .pieces
            .partition_point(|piece| piece.start + piece.len <= offset);
        let mut at = offset;
        let mut rest = into;
        for piece in self.pieces.iter().skip(first) {
            if rest.is_empty() {
                break;
            }
            let inner = at - piece.start;
            let count = usize::try_from(piece.len - inner)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            match &piece.source {
                Source::Made(bytes) => {
                    let bytes = usize::try_from(inner)
                        .ok()
                        .and_then(|start| bytes.get(start..)?.get(..count));
                    now.copy_from_slice(bytes.unwrap_or_default());
                }
                Source::Stored(stored) => {
                    let reader = Reader {
                        name,
                        cache,
                        part: parts.get(stored.part),
                        to: self.ty,
                    };
                    reader.read(stored, inner, now)?;
                }
            }
            rest = later;
            at += count as u64;
        }
        Ok(())
    }
}

/// One read of one piece.
struct Reader<'a> {
    name: &'a str,
    cache: CachePolicy,
    part: Option<&'a Part>,
    to: TensorType,
}

impl Reader<'_> {
    fn bytes(&self, at: u64, into: &mut [u8]) -> Result<(), SourceError> {
        match self.part {
            Some(part) => part.read(self.name, at, into, self.cache),
            None => Ok(()),
        }
    }

    /// Fills `into` with the piece's bytes from `inner` on.
    fn read(&self, stored: &Stored, inner: u64, into: &mut [u8]) -> Result<(), SourceError> {
        if stored.order == Order::Same && stored.ty == self.to && !stored.add_one {
            return self.bytes(stored.offset + inner, into);
        }
        // Units are converted whole: a head whose rows change places, or any number of elements.
        let unit = match stored.order {
            Order::Same => UNIT,
            Order::Interleaved { row, head } => row.saturating_mul(head).max(1),
        };
        let (from, to) = (
            u64::from(stored.ty.block_bytes()),
            u64::from(self.to.block_bytes()),
        );
        let mut done = 0;
        while done < into.len() {
            let at = inner + done as u64;
            let index = at / (unit * to);
            let elements = unit.min(stored.elements - index * unit);
            let mut raw = vec![0; bytes_of(elements * from)];
            self.bytes(stored.offset + index * unit * from, &mut raw)?;
            let ready = self.convert(stored, raw);
            let skip = bytes_of(at - index * unit * to);
            let ready = ready.get(skip..).unwrap_or_default();
            let rest = into.get_mut(done..).unwrap_or_default();
            let count = ready.len().min(rest.len());
            for (out, byte) in rest.iter_mut().zip(ready) {
                *out = *byte;
            }
            done += count.max(1);
        }
        Ok(())
    }

    /// A unit in the order and the type of the whole.
    fn convert(&self, stored: &Stored, raw: Vec<u8>) -> Vec<u8> {
        let raw = match stored.order {
            Order::Same => raw,
            Order::Interleaved { row, .. } => {
                let row_bytes = bytes_of(row * u64::from(stored.ty.block_bytes()));
                interleave(&raw, row_bytes)
            }
        };
        if stored.ty == self.to && !stored.add_one {
            return raw;
        }
        // Floats, one an element: the lengths fit and every value can be written.
        let elements = raw.len() / stored.ty.block_bytes() as usize;
        let mut values = vec![0.0; elements];
        let _ = quant::decode(stored.ty, &raw, &mut values);
        if stored.add_one {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        let mut out = vec![0; elements * self.to.block_bytes() as usize];
        let _ = quant::encode(self.to, &values, &mut out);
        out
    }
}

/// A length that was checked against a file.
fn bytes_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The rows of the second half between those of the first.
fn interleave(rows: &[u8], row_bytes: usize) -> Vec<u8> {
    let half = rows.len() / row_bytes.max(1) / 2 * row_bytes;
    let (first, second) = rows.split_at_checked(half).unwrap_or((rows, &[]));
    let mut out = Vec::with_capacity(rows.len());
    let pairs = first
        .chunks(row_bytes.max(1))
        .zip(second.chunks(row_bytes.max(1)));
    for (a, b) in pairs {
        out.extend_from_slice(a);
        out.extend_from_slice(b);
    }
    out
}

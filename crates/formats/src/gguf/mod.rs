//! GGUF headers, versions 2 and 3: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
//!
//! A GGUF file is, in little-endian order: the bytes `GGUF`, a version, the numbers of tensors and of
//! key-value pairs, the pairs, a description of each tensor, padding, and the tensors' data. Version
//! 3 differs from 2 only in that it may be big-endian, which is refused here.
//!
//! [`Header::read`] checks every count against what is left of the file before it allocates, and every
//! tensor's place against the length of the file. [`Writer`] is the way back.

mod cursor;
mod error;
mod header;
mod metadata;
mod value;
pub mod writer;

pub use error::{GgufError, Place};
pub use metadata::Metadata;
pub use value::{Array, Kind, StringArray, Value, ValueType};
pub use writer::Writer;

use crate::TensorType;

/// The four bytes that a GGUF file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The key whose value is the alignment of tensor data, in bytes.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// The alignment where the file does not say.
pub const DEFAULT_ALIGNMENT: u32 = 32;

/// What a GGUF file says of itself before its tensor data begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Format version, 2 or 3.
    pub version: u32,
    /// The key-value pairs.
    pub metadata: Metadata,
    /// The tensors, in file order; each lies wholly inside the file. No name is there twice.
    pub tensors: Vec<TensorInfo>,
    /// Where tensor data begin, in bytes from the start of the file. In a file without tensors this
    /// may lie past its end, because nobody pads such a file.
    pub data_start: u64,
}

/// Where a tensor lies and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name, as `blk.0.attn_q.weight`.
    pub name: String,
    /// Elements along each of 1 to 4 axes, the contiguous axis first (GGUF order): `[columns, rows,
    /// experts]`. None is zero, and their product fits in 63 bits.
    pub shape: Vec<u64>,
    /// How elements are stored.
    pub ty: TensorType,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes of the whole tensor.
    pub byte_len: u64,
}

/// `value`, or the next multiple of `alignment` (a power of two) above it.
fn align_up(value: u64, alignment: u64) -> Option<u64> {
    let below = alignment.checked_sub(1)?;
    Some(value.checked_add(below)? & !below)
}

/// The indices below `count`, sorted by name; the name, where one is there twice.
///
/// Sorted indices rather than a hash map: no list longer than the file, and no keys chosen to
/// collide.
fn sorted_by_name<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Result<Vec<usize>, String> {
    let mut sorted: Vec<usize> = (0..count).collect();
    sorted.sort_unstable_by(|&a, &b| name(a).cmp(name(b)));
    for pair in sorted.windows(2) {
        if let &[a, b] = pair
            && name(a) == name(b)
        {
            return Err(name(a).to_owned());
        }
    }
    Ok(sorted)
}

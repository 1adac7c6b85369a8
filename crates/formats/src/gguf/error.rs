//! What can be wrong with a GGUF file, said so that a person knows what to do next.

use super::Kind;
use crate::{Bytes, TensorType};

/// Where in the header a fault was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The fixed fields at the start of the file.
    Start,
    /// The name of the key with this index.
    KeyName(u64),
    /// The value under this key.
    Value(String),
    /// The name of the tensor with this index.
    TensorName(u64),
    /// The description of this tensor.
    Tensor(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => f.write_str("the start of the file"),
            Self::KeyName(index) => write!(f, "the name of key {index}"),
            Self::Value(key) => write!(f, "the value of `{}`", key.escape_debug()),
            Self::TensorName(index) => write!(f, "the name of tensor {index}"),
            Self::Tensor(name) => write!(f, "tensor `{}`", name.escape_debug()),
        }
    }
}

/// Why bytes are not a GGUF file that can be used. Positions (`at`) count bytes from the start of
/// the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum GgufError {
    #[error(
        "this is not a GGUF file: it begins with \"{}\", not \"GGUF\"; give a model in the GGUF format",
        found.escape_ascii()
    )]
    NotGguf { found: [u8; 4] },
    #[error(
        "this GGUF file has version {version}, and versions 2 and 3 are read; convert the model again with a current converter"
    )]
    Version { version: u32 },
    #[error(
        "this GGUF file is written for big-endian machines (version {version}); get the little-endian file, or convert it"
    )]
    BigEndian { version: u32 },
    #[error("{place} could not be read (byte {at}): {error}; check the disk, and start again")]
    Read {
        place: Place,
        at: u64,
        error: std::io::Error,
    },
    #[error(
        "this file is cut short: {place} needs {needed} bytes at byte {at}, and the file has {file_len} bytes; get the file again"
    )]
    CutShort {
        place: Place,
        at: u64,
        needed: u64,
        file_len: u64,
    },
    #[error(
        "the header does not end within {limit} bytes ({place}, byte {at}); the file is damaged: get it again"
    )]
    HeaderTooLong { place: Place, at: u64, limit: u64 },
    #[error(
        "{place} claims {count} {what} (byte {at}), more than a file of {file_len} bytes can hold; the file is damaged: get it again"
    )]
    Count {
        place: Place,
        at: u64,
        what: &'static str,
        count: u64,
        file_len: u64,
    },
    #[error(
        "{place} is {len} bytes long (byte {at}), and at most {limit} are allowed; the file is damaged: get it again"
    )]
    TooLong {
        place: Place,
        at: u64,
        len: u64,
        limit: u64,
    },
    #[error("{place} is empty (byte {at}); the file is damaged: convert the model again")]
    Empty { place: Place, at: u64 },
    #[error("{place} is not UTF-8 text (byte {at}); the file is damaged: get it again")]
    Utf8 { place: Place, at: u64 },
    #[error(
        "{place} has the unknown value type {number} (byte {at}); the file is damaged, or newer than this program: get it again, or update the program"
    )]
    UnknownValueType { place: Place, at: u64, number: u32 },
    #[error(
        "{place} is neither true nor false: {byte} (byte {at}); the file is damaged: get it again"
    )]
    Bool { place: Place, at: u64, byte: u8 },
    #[error(
        "{place} holds arrays inside arrays more than {limit} deep (byte {at}); no known model has such a value: convert the model again without it"
    )]
    Depth { place: Place, at: u64, limit: usize },
    #[error("the key `{}` is there twice; the file is damaged: convert the model again", key.escape_debug())]
    DuplicateKey { key: String },
    #[error("the tensor `{}` is there twice; the file is damaged: convert the model again", name.escape_debug())]
    DuplicateTensor { name: String },
    #[error(
        "`general.alignment` is {found}, and it must be a 32-bit unsigned power of two; convert the model again"
    )]
    Alignment { found: String },
    #[error(
        "tensor `{}` has {n_dims} dimensions (byte {at}), and at most 4 are allowed; the file is damaged: get it again",
        name.escape_debug()
    )]
    Dimensions { name: String, at: u64, n_dims: u32 },
    #[error(
        "dimension {axis} of tensor `{}` is {size} (byte {at}); a dimension is at least 1: the file is damaged, get it again",
        name.escape_debug()
    )]
    Dimension {
        name: String,
        at: u64,
        axis: usize,
        size: i64,
    },
    #[error(
        "tensor `{}` of shape {shape:?} has more bytes than 64 bits can count (byte {at}); the file is damaged: get it again",
        name.escape_debug()
    )]
    TooManyElements {
        name: String,
        at: u64,
        shape: Vec<u64>,
    },
    #[error(
        "tensor `{}` has the unknown type number {number} (byte {at}); the file is damaged, or quantised in a way that this program does not know: get the model in another quantisation, such as Q4_K_M",
        name.escape_debug()
    )]
    UnknownTensorType { name: String, at: u64, number: u32 },
    #[error(
        "tensor `{}` has rows of {columns} elements (byte {at}), not whole {ty} blocks of {}; convert the model again",
        name.escape_debug(),
        ty.block_len()
    )]
    PartBlock {
        name: String,
        at: u64,
        columns: u64,
        ty: TensorType,
    },
    #[error(
        "the data of tensor `{}` begin at offset {offset} (byte {at}), not a multiple of the alignment {alignment}; the file is damaged: get it again",
        name.escape_debug()
    )]
    Misaligned {
        name: String,
        at: u64,
        offset: u64,
        alignment: u64,
    },
    #[error(
        "the data of tensor `{}` lie outside any file: {byte_len} bytes at offset {offset} of the data, which begin at byte {data_start}; the file is damaged: get it again",
        name.escape_debug()
    )]
    OffsetOverflow {
        name: String,
        offset: u64,
        byte_len: u64,
        data_start: u64,
    },
    #[error(
        "this file is cut short: {} of {} (tensor `{}` ends at byte {end}, the file at byte {file_len}); get the file again",
        Bytes(*.file_len),
        Bytes(*.whole),
        name.escape_debug()
    )]
    DataCutShort {
        /// The first tensor that is not wholly there.
        name: String,
        end: u64,
        file_len: u64,
        /// Bytes of the whole file, by its own account.
        whole: u64,
    },
    #[error(
        "the key `{}` is missing; this file does not say what the model needs: convert it again with a current converter",
        key.escape_debug()
    )]
    MissingKey { key: String },
    #[error(
        "the key `{}` holds {found}, and {wanted} is needed; convert the model again with a current converter",
        key.escape_debug()
    )]
    WrongType {
        key: String,
        wanted: &'static str,
        found: Kind,
    },
    #[error(
        "the key `{}` holds {value}, which is not {wanted}; convert the model again with a current converter",
        key.escape_debug()
    )]
    OutOfRange {
        key: String,
        wanted: &'static str,
        value: i128,
    },
    #[error(
        "the key `{}` holds {found} values, and {wanted} are needed; convert the model again with a current converter",
        key.escape_debug()
    )]
    Length {
        key: String,
        wanted: usize,
        found: usize,
    },
}

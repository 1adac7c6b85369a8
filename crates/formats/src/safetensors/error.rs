//! What can be wrong with a safetensors file.

use super::Dtype;
use crate::Bytes;

/// Why bytes are not a safetensors file that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum SafetensorsError {
    #[error("the header could not be read: {error}; check the disk, and start again")]
    Read { error: std::io::Error },
    #[error(
        "this is not a safetensors file: its first eight bytes stand for a header of {len} bytes, and at most {limit} are allowed; get the file again"
    )]
    HeaderTooLong { len: u64, limit: u64 },
    #[error(
        "this file is cut short: its header needs {} and the file has {}; get the file again",
        Bytes(*.needed),
        Bytes(*.file_len)
    )]
    HeaderCutShort { needed: u64, file_len: u64 },
    #[error("the header is not a JSON object that describes tensors: {reason}; get the file again")]
    Json { reason: String },
    #[error("the tensor `{}` is there twice; the file is damaged: get it again", name.escape_debug())]
    DuplicateTensor { name: String },
    #[error(
        "tensor `{}` has the unknown type `{}`; the file is newer than this program: get the model in another precision, such as BF16",
        name.escape_debug(),
        dtype.escape_debug()
    )]
    UnknownDtype { name: String, dtype: String },
    #[error(
        "tensor `{}` has {n_dims} dimensions, and at most {limit} are allowed; the file is damaged: get it again",
        name.escape_debug()
    )]
    Dimensions {
        name: String,
        n_dims: usize,
        limit: usize,
    },
    #[error(
        "tensor `{}` of type {dtype} and shape {shape:?} has more bytes than 64 bits can count, or no whole number of them; the file is damaged: get it again",
        name.escape_debug()
    )]
    TooManyElements {
        name: String,
        dtype: Dtype,
        shape: Vec<u64>,
    },
    #[error(
        "tensor `{}` of type {dtype} and shape {shape:?} takes {wanted} bytes, and the header gives it those from {start} to {end}; the file is damaged: get it again",
        name.escape_debug()
    )]
    Length {
        name: String,
        dtype: Dtype,
        shape: Vec<u64>,
        wanted: u64,
        start: u64,
        end: u64,
    },
    #[error(
        "the data of tensor `{}` begin at byte {start}, and those before it end at byte {before}: there is {}; the file is damaged: get it again",
        name.escape_debug(),
        if start < before { "an overlap" } else { "a hole" }
    )]
    Place {
        name: String,
        start: u64,
        before: u64,
    },
    #[error(
        "this file is cut short: {} of {} (tensor `{}` ends at byte {end}); get the file again",
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
        "this file has {extra} bytes behind its last tensor; the file is damaged: get it again"
    )]
    Trailing { extra: u64 },
}

//! GGUF headers, versions 2 and 3: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use crate::TensorType;

/// What a GGUF file says of itself before its tensor data begin.
#[derive(Debug, Clone)]
pub struct Header {
    /// Format version, 2 or 3.
    pub version: u32,
    /// The key-value pairs.
    pub metadata: Metadata,
    /// The tensors, in file order; each lies wholly inside the file.
    pub tensors: Vec<TensorInfo>,
    /// Where tensor data begin, in bytes from the start of the file.
    pub data_start: u64,
}

/// Where a tensor lies and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name, as `blk.0.attn_q.weight`.
    pub name: String,
    /// Elements along each axis, the contiguous axis first (GGUF order): `[columns, rows, experts]`.
    pub shape: Vec<u64>,
    /// How elements are stored.
    pub ty: TensorType,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes of the whole tensor.
    pub byte_len: u64,
}

/// The key-value pairs of a file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {}

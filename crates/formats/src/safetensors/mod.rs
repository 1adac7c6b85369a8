//! Safetensors headers: <https://github.com/huggingface/safetensors#format>.
//!
//! A file is eight bytes of little-endian length, a JSON object of that length that names each
//! tensor with its type, shape and place, and the tensors' data. [`Header::read`] takes the header
//! alone from a reader: the data stay where they are.
//!
//! The places must fill the data from its first byte to its last, without a hole and without an
//! overlap; so says the specification, and a file that lies cannot make one tensor out of another.

mod error;
mod header;
mod json;

pub use error::SafetensorsError;

/// The longest header that is read; the reference implementation has the same bound.
pub const MAX_HEADER: u64 = 100_000_000;

/// What a safetensors file says of itself before its data begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order of their data; no name is there twice.
    pub tensors: Vec<Tensor>,
    /// The texts under `__metadata__`, in file order.
    pub metadata: Vec<(String, String)>,
    /// Where data begin, in bytes from the start of the file.
    pub data_start: u64,
}

/// Where a tensor lies and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The tensor's name, as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// How elements are stored.
    pub dtype: Dtype,
    /// Elements along each axis, the contiguous axis last; empty for a single number. An axis may
    /// have no elements.
    pub shape: Vec<u64>,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes of the whole tensor.
    pub byte_len: u64,
}

/// The types of elements that the format names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the specification")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    F8E4M3,
    F8E5M2,
    F8E8M0,
    F8E4M3Fnuz,
    F8E5M2Fnuz,
    F6E2M3,
    F6E3M2,
    F4,
    C64,
}

impl Dtype {
    /// Every type with its name in files and the bits of an element.
    const ALL: [(Self, &'static str, u64); 22] = [
        (Self::Bool, "BOOL", 8),
        (Self::U8, "U8", 8),
        (Self::I8, "I8", 8),
        (Self::U16, "U16", 16),
        (Self::I16, "I16", 16),
        (Self::U32, "U32", 32),
        (Self::I32, "I32", 32),
        (Self::U64, "U64", 64),
        (Self::I64, "I64", 64),
        (Self::F16, "F16", 16),
        (Self::Bf16, "BF16", 16),
        (Self::F32, "F32", 32),
        (Self::F64, "F64", 64),
        (Self::F8E4M3, "F8_E4M3", 8),
        (Self::F8E5M2, "F8_E5M2", 8),
        (Self::F8E8M0, "F8_E8M0", 8),
        (Self::F8E4M3Fnuz, "F8_E4M3FNUZ", 8),
        (Self::F8E5M2Fnuz, "F8_E5M2FNUZ", 8),
        (Self::F6E2M3, "F6_E2M3", 6),
        (Self::F6E3M2, "F6_E3M2", 6),
        (Self::F4, "F4", 4),
        (Self::C64, "C64", 64),
    ];

    /// The type with this name in files.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|&(dtype, _, _)| dtype)
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(dtype, _, _)| *dtype == self);
        found.map_or("?", |&(_, name, _)| name)
    }

    /// Bytes of so many elements; `None` where they are not whole bytes or too many to count.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        let found = Self::ALL.iter().find(|(dtype, _, _)| *dtype == self);
        let bits = elements.checked_mul(found.map_or(8, |&(_, _, bits)| bits))?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

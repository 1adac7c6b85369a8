//! Where weights come from: the one road from a file, a binary or a test to a network.

use std::borrow::Cow;

use ingle_formats::gguf::TensorInfo;
use ingle_formats::{Bytes, TensorType};

/// Reads a range of a named tensor into memory that the caller owns, now or later.
///
/// What lies behind may be one file, a set of files or a part of this program; a network does not
/// know. Reads from several threads may run at once.
pub trait WeightSource: Send + Sync {
    /// All tensors, in file order; no name is there twice.
    fn tensors(&self) -> &[TensorInfo];

    /// The tensor of this name.
    fn tensor(&self, name: &str) -> Option<&TensorInfo>;

    /// Fills `into` with the bytes of the tensor from `offset` (bytes from the tensor's start) on.
    ///
    /// # Errors
    /// [`SourceError`]; `into` then holds nothing that may be used.
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError>;
}

/// Why a range of a tensor could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No tensor has this name.
    #[error("there is no tensor `{name}` in this model; it is incomplete: get the file again")]
    Missing {
        /// The name asked for.
        name: String,
    },
    /// The range does not lie inside the tensor.
    #[error("bytes {offset} to {offset} + {len} do not lie in tensor `{name}` of {byte_len} bytes")]
    Range {
        /// The tensor.
        name: String,
        /// The first byte asked for.
        offset: u64,
        /// How many bytes were asked for.
        len: usize,
        /// Bytes of the tensor.
        byte_len: u64,
    },
    /// The file has been written to, or cut short, since it was opened.
    #[error(
        "{file} has changed since it was opened ({} then, {} now), seen when byte {offset} was read; let no other program write to it, and start again",
        Bytes(*.then),
        Bytes(*.now)
    )]
    Changed {
        /// The file.
        file: String,
        /// Where in the file was read.
        offset: u64,
        /// Bytes when it was opened.
        then: u64,
        /// Bytes now.
        now: u64,
    },
    /// The operating system could not read.
    #[error(
        "tensor `{name}` could not be read from {file} at byte {offset}: {error}; check the disk, and start again"
    )]
    Read {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
        /// Where in the file was read.
        offset: u64,
        /// What the operating system said.
        error: std::io::Error,
    },
}

/// The checked start of the range `[offset, offset + len)` of `tensor`, in bytes from the start of
/// the file that holds it.
///
/// # Errors
/// [`SourceError::Range`].
pub fn checked_start(tensor: &TensorInfo, offset: u64, len: usize) -> Result<u64, SourceError> {
    let end = u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len));
    match (end, tensor.offset.checked_add(offset)) {
        (Some(end), Some(start)) if end <= tensor.byte_len => Ok(start),
        _ => Err(SourceError::Range {
            name: tensor.name.clone(),
            offset,
            len,
            byte_len: tensor.byte_len,
        }),
    }
}

/// Tensors in memory: a built-in model in the program's own bytes, or one made by a test.
#[derive(Debug, Clone)]
pub struct MemorySource {
    tensors: Vec<TensorInfo>,
    /// The bytes that the tensors' offsets count in.
    bytes: Cow<'static, [u8]>,
}

impl MemorySource {
    /// Tensors whose offsets count in `bytes`, which is a whole file or anything like it.
    ///
    /// # Errors
    /// [`SourceError::Range`] where a tensor does not lie in `bytes`.
    pub fn new(
        tensors: Vec<TensorInfo>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, SourceError> {
        let bytes = bytes.into();
        for tensor in &tensors {
            let end = tensor.offset.checked_add(tensor.byte_len);
            if end.is_none_or(|end| end > bytes.len() as u64) {
                return Err(SourceError::Range {
                    name: tensor.name.clone(),
                    offset: tensor.offset,
                    len: bytes.len(),
                    byte_len: tensor.byte_len,
                });
            }
        }
        Ok(Self { tensors, bytes })
    }

    /// Tensors given as name, shape (the contiguous axis first), type and bytes.
    ///
    /// # Errors
    /// [`SourceError::Range`] where the bytes are not what shape and type take.
    pub fn from_parts<N: Into<String>>(
        parts: impl IntoIterator<Item = (N, Vec<u64>, TensorType, Vec<u8>)>,
    ) -> Result<Self, SourceError> {
        let mut tensors = Vec::new();
        let mut bytes = Vec::new();
        for (name, shape, ty, data) in parts {
            let (name, offset) = (name.into(), bytes.len() as u64);
            let elements = shape.iter().try_fold(1_u64, |n, &axis| n.checked_mul(axis));
            let byte_len = elements.and_then(|n| ty.byte_len(n)).unwrap_or(u64::MAX);
            if byte_len != data.len() as u64 {
                let len = data.len();
                return Err(SourceError::Range {
                    name,
                    offset,
                    len,
                    byte_len,
                });
            }
            bytes.extend(data);
            tensors.push(TensorInfo {
                name,
                shape,
                ty,
                offset,
                byte_len,
            });
        }
        Self::new(tensors, bytes)
    }
}

impl WeightSource for MemorySource {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let tensor = self.tensor(name).ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })?;
        let start = checked_start(tensor, offset, into.len())? as usize;
        // Checked above and in `new`: the range lies in the tensor, and the tensor in the bytes.
        into.copy_from_slice(&self.bytes[start..start + into.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> MemorySource {
        let parts = [
            ("a", vec![4], TensorType::F32, (0..16).collect()),
            ("b", vec![32, 2], TensorType::Q8_0, (100..168).collect()),
        ];
        MemorySource::from_parts(parts).unwrap()
    }

    #[test]
    fn ranges_are_read_by_name() {
        let source = two();
        let mut into = [0; 5];
        source.read("b", 60, &mut into).unwrap();
        assert_eq!(into, [160, 161, 162, 163, 164]);
        source.read("a", 16, &mut []).unwrap();
        assert_eq!(source.tensors().len(), 2);
        assert_eq!(source.tensor("b").map(|tensor| tensor.byte_len), Some(68));
    }

    #[test]
    fn ranges_that_leave_a_tensor_are_refused() {
        for (offset, len) in [(0, 17), (16, 1), (17, 0), (u64::MAX, 1), (u64::MAX - 3, 8)] {
            let outcome = two().read("a", offset, &mut vec![0; len]);
            assert!(
                matches!(outcome, Err(SourceError::Range { .. })),
                "{offset}"
            );
        }
        let outcome = two().read("c", 0, &mut []);
        assert!(matches!(outcome, Err(SourceError::Missing { .. })));
    }

    #[test]
    fn tensors_that_do_not_lie_in_the_bytes_are_refused() {
        let tensors = two().tensors().to_vec();
        assert!(MemorySource::new(tensors.clone(), vec![0; 83]).is_err());
        assert!(MemorySource::new(tensors, vec![0; 84]).is_ok());
        let short = [("a", vec![4], TensorType::F32, vec![0; 15])];
        assert!(MemorySource::from_parts(short).is_err());
    }
}

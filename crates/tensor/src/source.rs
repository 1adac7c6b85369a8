//! Where weights come from.
use ingle_formats::gguf::TensorInfo;

/// Reads ranges of named tensors.
pub trait WeightSource: Send + Sync {
    /// Shape, type and place of a tensor.
    fn tensor(&self, name: &str) -> Option<&TensorInfo>;
    /// Reads `into.len()` bytes of the tensor, from byte `offset` of it.
    ///
    /// # Errors
    /// The tensor is absent, the range leaves it, or reading failed.
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError>;
}

/// Why a range of a tensor could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading tensor `{tensor}`: {problem}")]
pub struct SourceError {
    /// Which tensor.
    pub tensor: String,
    /// What went wrong and what to do.
    pub problem: String,
}

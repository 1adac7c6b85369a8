//! Floor 1: quantised blocks, the kernels, the thread team.
pub use ingle_formats::TensorType;

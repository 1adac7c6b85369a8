//! Floor 1: quantised blocks, the kernels, the thread team.
//!
//! The reference is scalar; each instruction set is a leaf beside it. Nothing here knows a model
//! or a disk.

pub mod ops;
pub mod quant;
#[doc(hidden)]
pub mod reference;
pub mod source;
pub use source::{MemorySource, SourceError, WeightSource};

//! Floor 1: quantised blocks, the kernels, the thread team.
//!
//! The reference is scalar; each instruction set is a leaf beside it. Nothing here knows a model
//! or a disk.

#[allow(unsafe_code, reason = "calls a kernel")]
pub mod bandwidth;
#[allow(unsafe_code, reason = "kernels, and rows that several threads write")]
pub mod cpu;
pub mod fetch;
pub mod importance;
#[allow(unsafe_code, reason = "the kernels")]
pub mod kernel;
#[allow(unsafe_code, reason = "owned aligned memory")]
mod memory;
pub mod ops;
mod order;
pub mod pack;
pub mod pages;
#[allow(unsafe_code, reason = "calls a kernel")]
pub mod peak;
pub mod policy;
pub mod quant;
#[doc(hidden)]
pub mod reference;
pub mod source;
#[allow(unsafe_code, reason = "a closure lent to other threads")]
pub mod team;
pub use memory::Aligned;
pub use source::{MemorySource, SourceError, WeightSource};

/// The name of the arithmetic written down in ARCHITECTURE.md under "Numerics class": the same
/// input gives the same tokens within one class.
pub const NUMERICS_CLASS: &str = "ingle-2";

//! What this machine offers. Nothing below the binary asks: the values are handed down.

pub mod advice;
mod args;
pub mod disks;
pub mod memory;
pub mod peak;
pub mod processors;

pub use args::MachineArgs;
pub use disks::{Disks, KnownDisk};
pub use memory::Memory;
pub use processors::Processors;

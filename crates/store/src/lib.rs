//! Floor 2: models on disk.
//!
//! [`ModelFiles`] opens a GGUF file, a set of split files, a Hugging Face folder or a model in memory,
//! checks every header and hands out tensors as a [`WeightSource`](ingle_tensor::WeightSource). [`list`] says which models
//! lie in some folders. Nothing here copies, maps or changes a file.
//!
//! # The page cache
//! Weights are read into memory that the caller owns, so after a load the system holds a second copy
//! of what was read in its page cache. By default it stays ([`CachePolicy::Keep`]): it costs nobody
//! anything, because the system reuses such pages before it refuses memory to a program, and the next
//! `ingle run` of the same model starts without the disk. Under a memory budget the caller chooses
//! [`CachePolicy::Release`], because a budget counts the page cache: in a control group it is charged
//! to the process.
#![deny(clippy::indexing_slicing)]

mod aliases;
mod assembled;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the kernel writes to memory that is lent to it")]
mod direct;
pub mod download;
mod encoded;
mod error;
mod files;
mod folder;
mod hub_cache;
mod identity;
mod inside;
mod inventory;
mod list;
mod names;
mod near;
mod ollama;
pub mod pages;
mod part;
mod pick;
mod place_error;
mod places;
pub mod pull;
pub mod quantize;
mod read_at;
mod reference;
mod split;
mod stream;
mod summary;

pub use aliases::{Alias, Use, alias, aliases};
pub use error::StoreError;
pub use files::{Format, ModelFiles, OpenOptions};
pub use hub_cache::{HubCache, Snapshot};
pub use inventory::Here;
pub use list::{Listed, Listing, list};
pub use names::{Commit, Digest, ModelName, NameError, Quant, RepoFile, RepoId, Why};
pub use ollama::{Layers, OllamaModel, OllamaStore};
pub use pick::{NoPick, Variant, pick, variants};
pub use place_error::PlaceError;
pub use places::{Found, Place, Places};
pub use read_at::{CachePolicy, Io};
pub use reference::{HubName, Name, Reference};
pub use stream::{Clock, Disk, Measured, ReadSetup, Way, measure};
pub use summary::Summary;

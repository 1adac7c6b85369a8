//! Ingle as a library.
#![forbid(unsafe_code)]

pub use ingle_formats::TokenId;

/// Floor 3: tokens in, tokens out.
pub use ingle_engine as engine;
/// Floor 0: files, vocabularies, chat templates.
pub use ingle_formats as formats;
/// Floor 2: the networks.
pub use ingle_model as networks;
/// Floor 2: models on disk.
pub use ingle_store as store;
/// Floor 1: kernels and threads.
pub use ingle_tensor as tensor;

//! Ingle as a library: load a GGUF file, stream an answer, in this process.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut model = ingle::Model::open("model.gguf", &ingle::Options::default())?;
//! let request = ingle::Request::new(model.encode("Once upon a time"));
//! for event in model.generate(request)? {
//!     print!("{}", event.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Model`] is the short way. The crates below are re-exported whole for what it does not do: an
//! [`engine::Engine`] works on many requests at once and is driven step by step.
//!
//! Nothing here reads the environment, writes to a terminal or opens a connection, and there is no
//! built-in model: that is in the program `ingle`.
#![forbid(unsafe_code)]

mod chat;
mod model;
pub mod trial;

pub use chat::Chat;
pub use ingle_engine::sampler::{Sampling, SamplingError};
pub use ingle_engine::{Event, FinishReason, LoadOptions, Plan, Refusal, Request, Usage};
pub use ingle_formats::TokenId;
pub use ingle_formats::template::LocalTime;
pub use ingle_store::ModelFiles;
pub use ingle_tensor::ops::KvType;
pub use model::{Error, Generation, Loader, Model, Options, Shared};

/// Floor 3: tokens in, tokens out.
pub use ingle_engine as engine;
/// Floor 0: files, vocabularies, chat templates.
pub use ingle_formats as formats;
/// Floor 4: here or there.
pub use ingle_gateway as gateway;
/// Floor 2: the networks.
pub use ingle_model as networks;
/// Floor 2: models on disk.
pub use ingle_store as store;
/// Floor 1: kernels and threads.
pub use ingle_tensor as tensor;

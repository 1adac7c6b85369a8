//! Floor 0: every untrusted byte becomes a checked value.
//!
//! GGUF headers, vocabularies and chat templates come in as bytes and leave as typed values whose
//! sizes, counts and offsets have been checked. Nothing here opens a file or a socket.
#![forbid(unsafe_code)]
#![deny(clippy::as_conversions, clippy::indexing_slicing)]

mod bytes;
pub mod gguf;
pub mod huggingface;
pub mod prompt;
pub mod safetensors;
pub mod template;
mod tensor_type;
mod token;
pub mod vocabulary;

pub use bytes::Bytes;
pub use tensor_type::TensorType;
pub use token::TokenId;

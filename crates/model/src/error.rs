//! Why a file cannot be run as a network.

use ingle_formats::gguf::GgufError;
use ingle_tensor::ops::LoadError;

/// Why a file cannot be run as a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No network here has this architecture.
    #[error(
        "this file's architecture is `{}`, which this version cannot run; it runs {supported}",
        found.escape_debug()
    )]
    Architecture {
        /// `general.architecture` of the file.
        found: String,
        /// Those that can be run.
        supported: String,
    },
    /// There is nothing to compute with.
    #[error(
        "this file holds no weights: it may be a vocabulary only, for `ingle tokenize`, or one part of a split model; give a model's file"
    )]
    NoWeights,
    /// The metadata ask for something that this version does not do.
    #[error("the key `{key}` is {value}: {what}; this file cannot be run yet")]
    Unsupported {
        /// The metadata key.
        key: String,
        /// Its value.
        value: String,
        /// What is not supported.
        what: &'static str,
    },
    /// A value in the metadata makes no sense.
    #[error(
        "the key `{key}` is {value}, and {rule}; the file is damaged or badly converted: get it again"
    )]
    Value {
        /// The metadata key.
        key: String,
        /// Its value.
        value: String,
        /// What must hold.
        rule: &'static str,
    },
    /// The file has tensors that this network would not use, so that its answers would be wrong.
    #[error(
        "this version would not use some tensors of the file ({some}; {count} in all), so its answers would not be the model's; this file cannot be run yet"
    )]
    Unused {
        /// How many.
        count: usize,
        /// The first few names.
        some: String,
    },
    /// A key is missing or has another type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A weight could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

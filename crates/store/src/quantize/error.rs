//! Why a model cannot be written in another precision.

use ingle_formats::gguf::writer::WriteError;
use ingle_formats::{Bytes, TensorType};
use ingle_tensor::SourceError;
use ingle_tensor::quant::QuantError;
use std::path::{Path, PathBuf};

/// Why a model cannot be written in another precision. Nothing is then under the name of the new file
/// that was not there before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The new file would take the place of one that is there.
    #[error("{} is there already; say --force to replace it, or give another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The new file is the old one.
    #[error(
        "{} is a file of the model that is read, and would be lost; give the new file another name",
        path.display()
    )]
    Same {
        /// The file.
        path: PathBuf,
    },
    /// A folder has the name of the new file.
    #[error("{} is a folder; give the name of the file to write, as {}", path.display(), path.join("model.gguf").display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of the new file is not there.
    #[error("{} cannot be written: there is no folder {}; make it first", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// The disk is too full, before anything was written.
    #[error(
        "{} will take {}, and the disk has {} free; free some of it, or write to another disk",
        path.display(), Bytes(*.bytes), Bytes(*.free)
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes that it will take.
        bytes: u64,
        /// Bytes free.
        free: u64,
    },
    /// The system refused a write.
    #[error("{} could not be written: {error}; check that the disk has room and that you may write there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// What was read is quantised already.
    #[error(
        "tensor `{}` is {ty} already, and quantising it again would lose twice; start from a file in F32, F16 or BF16, \
         or say --allow-requantize",
        name.escape_debug()
    )]
    Quantised {
        /// The first such tensor.
        name: String,
        /// Its type.
        ty: TensorType,
    },
    /// A number that the new type cannot hold, or that is no number at all.
    #[error(
        "tensor `{}` holds {value} (element {index}), which {ty} cannot hold; the model is damaged, or needs a wider type, as bf16",
        name.escape_debug()
    )]
    Value {
        /// The tensor.
        name: String,
        /// Which of its elements.
        index: u64,
        /// The element.
        value: f32,
        /// The type asked for.
        ty: TensorType,
    },
    /// The recipe is of no use without knowing which columns matter.
    #[error(
        "{recipe} is too coarse without an importance matrix; give a text with --imatrix-text, or choose another type, as q2_k"
    )]
    NeedsImportance {
        /// The recipe's name.
        recipe: &'static str,
    },
    /// The importance matrix is of another model.
    #[error(
        "the importance matrix has {found} columns for tensor `{}` where {wanted} are needed; make one from this model",
        name.escape_debug()
    )]
    ImportanceShape {
        /// The tensor.
        name: String,
        /// Numbers there.
        found: usize,
        /// Numbers needed.
        wanted: u64,
    },
    /// There is nothing to write.
    #[error("this file holds no weights; give a model")]
    NoWeights,
    /// Somebody asked to stop.
    #[error("stopped; nothing was written")]
    Stopped,
    /// Reading failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A block could not be made or read.
    #[error("tensor `{}`: {error}", name.escape_debug())]
    Blocks {
        /// The tensor.
        name: String,
        /// What is wrong.
        error: QuantError,
    },
    /// The header of the new file cannot be made.
    #[error(transparent)]
    Header(#[from] WriteError),
}

impl QuantizeError {
    pub(super) fn write(path: &Path, error: std::io::Error) -> Self {
        Self::Write {
            path: path.into(),
            error,
        }
    }
}

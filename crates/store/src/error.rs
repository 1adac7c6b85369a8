//! What can go wrong with a model on disk, with the file's name and a remedy.

use std::path::PathBuf;

use ingle_formats::Bytes;
use ingle_formats::gguf::GgufError;
use ingle_formats::huggingface::HuggingFaceError;
use ingle_formats::safetensors::SafetensorsError;

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing is there.
    #[error(
        "there is no file {}; give the path of a .gguf file, or list what is there with `ingle list`",
        path.display()
    )]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// A directory or a device where a file was wanted.
    #[error("{} is not a file; give the path of a .gguf file", path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{} could not be read: {error}; check that you may read it", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// A file is not the one any more whose header was read.
    #[error("{} was replaced or written to while it was being opened; start again when that is done", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The header is not one that can be used.
    #[error("{file}: {error}")]
    Gguf {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: Box<GgufError>,
    },
    /// The header of a safetensors file is not one that can be used.
    #[error("{file}: {error}")]
    Safetensors {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: Box<SafetensorsError>,
    },
    /// What a folder says of its model cannot be used.
    #[error("{}: {error}", path.display())]
    HuggingFace {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<HuggingFaceError>,
    },
    /// A folder that is no model.
    #[error(
        "{} is a folder without config.json, so it is not a model; give a .gguf file in it, or the folder of a model (`ingle list {}` shows them)",
        path.display(),
        path.display()
    )]
    NoConfig {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with config.json, and no weights that are read.
    #[error(
        "{} has no model.safetensors and no model.safetensors.index.json{}; get the model in the safetensors format, or as a .gguf file",
        path.display(),
        if *pickled {
            ": its weights are in PyTorch's own format, which can run programs and is not read"
        } else {
            ""
        }
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// Whether weights of PyTorch are there.
        pickled: bool,
    },
    /// The list of files of a model does not fit the files.
    #[error("{}: {what}; get all files of this model again", path.display())]
    Index {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A small file that is large.
    #[error(
        "{} has {}, and at most {} are read of such a file; get it again",
        path.display(),
        Bytes(*len),
        Bytes(*limit)
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes of the file.
        len: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A split model lacks some of its files.
    #[error(
        "this model lies in {count} files, and {} missing: {}; put {} beside the others",
        if missing.len() == 1 { "one is".to_owned() } else { format!("{} are", missing.len()) },
        names(missing),
        if missing.len() == 1 { "it" } else { "them" },
    )]
    MissingParts {
        /// How many files there should be.
        count: u32,
        /// The files that are not there.
        missing: Vec<PathBuf>,
    },
    /// One file of a split model has a name that does not lead to the others.
    #[error(
        "{} is file {} of {count} of a split model, so its name must end in -{:05}-of-{count:05}.gguf; give it its name back",
        path.display(),
        index + 1,
        index + 1,
    )]
    PartName {
        /// The file.
        path: PathBuf,
        /// Which part it says it is, from 0.
        index: u32,
        /// How many parts it says there are.
        count: u32,
    },
    /// A file of a split model says it is another part, or of another model.
    #[error(
        "{} says it is file {} of {}, and file {} of {wanted_count} was expected; get all files of this model again",
        path.display(),
        index + 1,
        count,
        wanted_index + 1
    )]
    PartMismatch {
        /// The file.
        path: PathBuf,
        /// Which part it says it is, from 0.
        index: u32,
        /// How many parts it says there are.
        count: u32,
        /// Which part its name says it is, from 0.
        wanted_index: u32,
        /// How many parts the first file says there are.
        wanted_count: u32,
    },
    /// More parts than are opened at once.
    #[error("{} says that the model lies in {count} files, and at most {limit} are opened; join the files first", path.display())]
    TooManyParts {
        /// The file.
        path: PathBuf,
        /// Parts claimed.
        count: u32,
        /// Parts allowed.
        limit: u32,
    },
    /// Two files of a split model hold a tensor of the same name.
    #[error(
        "tensor `{}` is in {first} and in {second}; get all files of this model again",
        name.escape_debug()
    )]
    DuplicateTensor {
        /// The tensor.
        name: String,
        /// A file that holds it.
        first: String,
        /// Another.
        second: String,
    },
    /// The files of a split model hold more or fewer tensors than the first one says.
    #[error(
        "the {count} files of {} hold {found} tensors, and {wanted} should be there; get all files of this model again",
        path.display()
    )]
    TensorCount {
        /// The first file.
        path: PathBuf,
        /// How many files there are.
        count: u32,
        /// Tensors there.
        found: usize,
        /// Tensors promised.
        wanted: u64,
    },
    /// A walk was ended at its bound.
    #[error("{} has more than {limit} files and folders below it; only the first were looked at: name a smaller folder", path.display())]
    TooManyFiles {
        /// The folder.
        path: PathBuf,
        /// How many entries are looked at.
        limit: usize,
    },
}

impl StoreError {
    /// What the operating system said of `path`, with the common cases told apart.
    pub(crate) fn io(path: impl Into<PathBuf>, error: std::io::Error) -> Self {
        let path = path.into();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound { path },
            _ => Self::Io { path, error },
        }
    }
}

/// The first few paths, and how many more there are.
fn names(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = paths
        .iter()
        .take(SHOWN)
        .map(|path| path.display().to_string())
        .collect();
    let more = paths.len().saturating_sub(SHOWN);
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

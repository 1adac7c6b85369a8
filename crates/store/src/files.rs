//! An opened model: one file, several, or a part of this program.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use ingle_formats::gguf::{Header, Metadata, TensorInfo};
use ingle_tensor::source::checked_start;
use ingle_tensor::{SourceError, WeightSource};

use crate::StoreError;
use crate::assembled::Assembled;
use crate::encoded::Encoded;
use crate::folder;
use crate::part::Part;
use crate::read_at::{CachePolicy, Io};
use crate::split;

/// How a model's files are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Which reads are used.
    pub io: Io,
    /// What happens to the page cache behind a read.
    pub cache: CachePolicy,
}

/// The form in which a model lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// GGUF files of this version of the format.
    Gguf {
        /// 2 or 3.
        version: u32,
    },
    /// A Hugging Face folder of safetensors files, whose tensors and entries appear under the names
    /// and in the form that a GGUF file would have.
    Safetensors,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gguf { version } => write!(f, "GGUF {version}"),
            Self::Safetensors => f.write_str("safetensors"),
        }
    }
}

/// A model whose headers have been read and checked, and whose tensors can be read by name.
///
/// The files lie where they lay; nothing is copied or mapped. Reading a range of a tensor is one
/// positioned read, and several threads may read at once.
pub struct ModelFiles {
    pub(crate) parts: Vec<Part>,
    format: Format,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorInfo>,
    /// For each tensor, where its bytes come from.
    origins: Vec<Origin>,
    /// Index into `tensors`.
    by_name: HashMap<String, usize>,
    pub(crate) options: OpenOptions,
    /// Where weights are quantised while they are read.
    pub(crate) encoded: Option<Encoded>,
}

/// Where the bytes of a tensor come from.
pub(crate) enum Origin {
    /// They lie in one file, at the place that the tensor's description says: its index in `parts`.
    InFile(usize),
    /// They are put together as they are read.
    Assembled(Assembled),
}

impl ModelFiles {
    /// Opens the model at `path`: a .gguf file, any one of the files of a split model, or a Hugging
    /// Face folder (also by its config.json or one of its .safetensors files).
    ///
    /// # Errors
    /// [`StoreError`], which names the file, what is wrong and what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, OpenOptions::default())
    }

    /// [`ModelFiles::open`], with a choice of how files are read.
    ///
    /// # Errors
    /// As [`ModelFiles::open`].
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if let Some(folder) = folder::of(path) {
            return folder::open(folder, options);
        }
        split::open(path, options)
    }

    /// A model that lies in memory as a file would, as one that is built into the program. `name`
    /// stands in messages where a path would.
    ///
    /// # Errors
    /// [`StoreError::Gguf`].
    pub fn from_bytes(
        name: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, StoreError> {
        let part = Part::in_memory(name.into(), bytes.into());
        let header = part.read_header()?;
        Self::build(vec![(part, header)], OpenOptions::default())
    }

    /// Joins the parts; the metadata are those of the first.
    pub(crate) fn build(
        opened: Vec<(Part, Header)>,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let mut files = Self::empty(options);
        for (index, (part, header)) in opened.into_iter().enumerate() {
            files.parts.push(part);
            if index == 0 {
                files.format = Format::Gguf {
                    version: header.version,
                };
                files.metadata = header.metadata;
            }
            for tensor in header.tensors {
                files.add(tensor, Origin::InFile(index))?;
            }
        }
        Ok(files)
    }

    /// A folder's files, and what its tensors become.
    pub(crate) fn from_folder(
        parts: Vec<Part>,
        metadata: Metadata,
        tensors: Vec<(TensorInfo, Assembled)>,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let mut files = Self {
            parts,
            metadata,
            format: Format::Safetensors,
            ..Self::empty(options)
        };
        for (info, assembled) in tensors {
            files.add(info, Origin::Assembled(assembled))?;
        }
        Ok(files)
    }

    fn empty(options: OpenOptions) -> Self {
        Self {
            parts: Vec::new(),
            format: Format::Gguf { version: 0 },
            metadata: Metadata::default(),
            tensors: Vec::new(),
            origins: Vec::new(),
            by_name: HashMap::new(),
            options,
            encoded: None,
        }
    }

    fn add(&mut self, tensor: TensorInfo, origin: Origin) -> Result<(), StoreError> {
        let place = self.tensors.len();
        if let Some(before) = self.by_name.insert(tensor.name.clone(), place) {
            return Err(StoreError::DuplicateTensor {
                name: tensor.name,
                first: self.file_of(self.origins.get(before)),
                second: self.file_of(Some(&origin)),
            });
        }
        self.tensors.push(tensor);
        self.origins.push(origin);
        Ok(())
    }

    /// The name of the file that holds a tensor, for messages.
    fn file_of(&self, origin: Option<&Origin>) -> String {
        let part = match origin {
            Some(Origin::InFile(index)) => self.parts.get(*index),
            _ => self.parts.first(),
        };
        part.map_or(String::new(), |part| part.name.clone())
    }

    /// The key-value pairs of the model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same model with another value under a key of its metadata; the files stay as they are.
    #[must_use]
    pub fn with_value(mut self, key: &str, value: u32) -> Self {
        self.metadata = std::mem::take(&mut self.metadata).with(key, value);
        self
    }

    /// The form of the files.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The first file, or the name given to a model in memory.
    pub fn name(&self) -> &str {
        self.parts.first().map_or("", |part| &part.name)
    }

    /// The files, first to last; none for a model in memory.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().filter_map(|part| part.path.as_deref())
    }

    /// Bytes of all files together.
    pub fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.stamp.len).sum()
    }

    /// Bytes of all tensors together.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = self.tensors.iter().map(|tensor| tensor.byte_len);
        bytes.fold(0, u64::saturating_add)
    }

    /// Elements of all tensors together.
    pub fn parameters(&self) -> u64 {
        let elements = self.tensors.iter().map(|t| t.shape.iter().product::<u64>());
        elements.fold(0, u64::saturating_add)
    }
}

impl WeightSource for ModelFiles {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(*self.by_name.get(name)?)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let found = self.by_name.get(name).copied();
        let found = found.and_then(|index| Some((index, self.tensors.get(index)?)));
        let (index, tensor) = found.ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })?;
        let encoded = self.encoded.as_ref();
        match encoded.and_then(|encoded| Some((encoded, encoded.stored(index)?))) {
            Some((encoded, stored)) if stored.ty != tensor.ty => {
                checked_start(tensor, offset, into.len())?;
                let read = |at: u64, into: &mut [u8]| self.read_stored(index, stored, at, into);
                encoded.read(stored, tensor, offset, into, &read)
            }
            _ => self.read_stored(index, tensor, offset, into),
        }
    }
}

impl ModelFiles {
    /// Where `len` bytes from `offset` of a tensor on lie: the index of the file, and the first byte in it.
    ///
    /// # Errors
    /// [`SourceError::Missing`] also where a tensor does not lie in one file as it is.
    pub(crate) fn place_of(
        &self,
        name: &str,
        offset: u64,
        len: usize,
    ) -> Result<(usize, u64), SourceError> {
        let missing = || SourceError::Missing {
            name: name.to_owned(),
        };
        let index = *self.by_name.get(name).ok_or_else(missing)?;
        let tensor = self.tensors.get(index).ok_or_else(missing)?;
        let start = checked_start(tensor, offset, len)?;
        match self.origins.get(index) {
            Some(Origin::InFile(file)) => Ok((*file, start)),
            _ => Err(missing()),
        }
    }

    /// Whether every tensor lies in a file as it is.
    #[cfg(target_os = "linux")]
    pub(crate) fn lies_in_files(&self) -> bool {
        let in_file = |origin: &Origin| matches!(origin, Origin::InFile(_));
        self.encoded.is_none()
            && self.origins.iter().all(in_file)
            && self.parts.iter().all(|part| part.path.is_some())
    }

    /// Reads a tensor as it is stored.
    fn read_stored(
        &self,
        index: usize,
        tensor: &TensorInfo,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), SourceError> {
        let start = checked_start(tensor, offset, into.len())?;
        let part = |index: &usize| self.parts.get(*index);
        match self.origins.get(index) {
            Some(Origin::Assembled(assembled)) => {
                assembled.read(&tensor.name, &self.parts, self.options.cache, offset, into)
            }
            Some(Origin::InFile(index)) if let Some(part) = part(index) => {
                part.read(&tensor.name, start, into, self.options.cache)
            }
            _ => Err(SourceError::Missing {
                name: tensor.name.clone(),
            }),
        }
    }
}

impl std::fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelFiles")
            .field("name", &self.name())
            .field("parts", &self.parts.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

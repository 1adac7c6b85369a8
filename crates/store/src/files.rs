//! An opened model: one file, several, or a part of this program.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ingle_formats::gguf::{Header, Metadata, TensorInfo};
use ingle_tensor::source::checked_start;
use ingle_tensor::{SourceError, WeightSource};

use crate::StoreError;
use crate::read_at::{self, CachePolicy, FromStart, InMemory, Io, ReadAt, Stamp};
use crate::split::{Claim, PartName};

/// Files that are kept open for one model.
const MAX_PARTS: u32 = 512;

/// How a model's files are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Which reads are used.
    pub io: Io,
    /// What happens to the page cache behind a read.
    pub cache: CachePolicy,
}

/// A model whose headers have been read and checked, and whose tensors can be read by name.
///
/// The files lie where they lay; nothing is copied or mapped. Reading a range of a tensor is one
/// positioned read, and several threads may read at once.
pub struct ModelFiles {
    parts: Vec<Part>,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// For each tensor, the index of its file in `parts`.
    part_of: Vec<usize>,
    /// Index into `tensors`.
    by_name: HashMap<String, usize>,
    cache: CachePolicy,
}

/// One file of a model.
struct Part {
    file: Box<dyn ReadAt>,
    /// For messages.
    name: String,
    /// `None` for a model in memory.
    path: Option<PathBuf>,
    /// As it was when opened.
    stamp: Stamp,
}

impl ModelFiles {
    /// Opens the model at `path`: a file, or any one of the files of a split model.
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
        let (part, header) = open_part(path, options.io)?;
        match claim(&part, &header.metadata)? {
            Some(claim) => open_split(path, claim, options),
            None => Self::build(vec![(part, header)], options.cache),
        }
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
        let bytes = bytes.into();
        let stamp = Stamp {
            len: bytes.len() as u64,
            modified: None,
        };
        let part = Part {
            file: Box::new(InMemory(bytes)),
            name: name.into(),
            path: None,
            stamp,
        };
        let header = part.read_header()?;
        Self::build(vec![(part, header)], CachePolicy::Keep)
    }

    /// Joins the parts; the metadata are those of the first.
    fn build(opened: Vec<(Part, Header)>, cache: CachePolicy) -> Result<Self, StoreError> {
        let mut files = Self {
            parts: Vec::new(),
            version: 0,
            metadata: Metadata::default(),
            tensors: Vec::new(),
            part_of: Vec::new(),
            by_name: HashMap::new(),
            cache,
        };
        for (index, (part, header)) in opened.into_iter().enumerate() {
            files.parts.push(part);
            if index == 0 {
                files.version = header.version;
                files.metadata = header.metadata;
            }
            for tensor in header.tensors {
                files.add(tensor, index)?;
            }
        }
        Ok(files)
    }

    fn add(&mut self, tensor: TensorInfo, part: usize) -> Result<(), StoreError> {
        let place = self.tensors.len();
        if let Some(before) = self.by_name.insert(tensor.name.clone(), place) {
            let name_of = |part: Option<&Part>| part.map_or(String::new(), |p| p.name.clone());
            let first = self
                .part_of
                .get(before)
                .and_then(|&index| self.parts.get(index));
            return Err(StoreError::DuplicateTensor {
                name: tensor.name,
                first: name_of(first),
                second: name_of(self.parts.get(part)),
            });
        }
        self.tensors.push(tensor);
        self.part_of.push(part);
        Ok(())
    }

    /// The key-value pairs of the model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The version of the file format.
    pub fn version(&self) -> u32 {
        self.version
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
        let found = self.by_name.get(name).copied().and_then(|index| {
            let part = self.parts.get(*self.part_of.get(index)?)?;
            Some((self.tensors.get(index)?, part))
        });
        let (tensor, part) = found.ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })?;
        let start = checked_start(tensor, offset, into.len())?;
        let outcome = part.file.read_exact_at(into, start);
        // A file that changed under us explains a failed read, and spoils one that did not fail.
        let now = part.file.stamp();
        let failed = |error| SourceError::Read {
            name: name.to_owned(),
            file: part.name.clone(),
            error,
        };
        match now {
            Ok(now) if now != part.stamp => Err(SourceError::Changed {
                file: part.name.clone(),
                then: part.stamp.len,
                now: now.len,
            }),
            Ok(_) => outcome.map_err(failed),
            Err(error) => Err(failed(error)),
        }?;
        if self.cache == CachePolicy::Release {
            part.file.release(start, into.len() as u64);
        }
        Ok(())
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

impl Part {
    fn read_header(&self) -> Result<Header, StoreError> {
        let len = self.stamp.len;
        let mut reader = FromStart {
            file: self.file.as_ref(),
            at: 0,
            len,
        };
        Header::read(&mut reader, len).map_err(|error| StoreError::Gguf {
            file: self.name.clone(),
            error: Box::new(error),
        })
    }
}

fn open_part(path: &Path, io: Io) -> Result<(Part, Header), StoreError> {
    let failed = |error| StoreError::io(path, error);
    // Asked before opening: opening a pipe waits for somebody to write.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(StoreError::NotAFile { path: path.into() });
    }
    let file = read_at::open(path, io).map_err(failed)?;
    let stamp = file.stamp().map_err(failed)?;
    let part = Part {
        file,
        name: path.display().to_string(),
        path: Some(path.into()),
        stamp,
    };
    let header = part.read_header()?;
    Ok((part, header))
}

fn claim(part: &Part, metadata: &Metadata) -> Result<Option<Claim>, StoreError> {
    Claim::of(metadata).map_err(|error| StoreError::Gguf {
        file: part.name.clone(),
        error: Box::new(error),
    })
}

/// Opens all files of the model that `path` is one part of, and says so.
fn open_split(path: &Path, given: Claim, options: OpenOptions) -> Result<ModelFiles, StoreError> {
    let (path, count) = (path.to_path_buf(), given.count);
    if count > MAX_PARTS {
        let limit = MAX_PARTS;
        return Err(StoreError::TooManyParts { path, count, limit });
    }
    let Some(name) =
        PartName::parse(&path).filter(|name| name.count == count && name.index == given.index)
    else {
        let index = given.index;
        return Err(StoreError::PartName { path, index, count });
    };
    let paths: Vec<PathBuf> = (0..count).map(|index| name.sibling(&path, index)).collect();
    let missing: Vec<PathBuf> = paths
        .iter()
        .filter(|path| !path.exists())
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(StoreError::MissingParts { count, missing });
    }
    let mut opened = Vec::new();
    let mut wanted = given.n_tensors;
    for (index, path) in (0..count).zip(&paths) {
        let (part, header) = open_part(path, options.io)?;
        let said = claim(&part, &header.metadata)?;
        let (said_index, said_count) = said.map_or((0, 1), |claim| (claim.index, claim.count));
        if (said_index, said_count) != (index, count) {
            return Err(StoreError::PartMismatch {
                path: path.clone(),
                index: said_index,
                count: said_count,
                wanted_index: index,
                wanted_count: count,
            });
        }
        wanted = wanted.or(said.and_then(|claim| claim.n_tensors));
        opened.push((part, header));
    }
    let files = ModelFiles::build(opened, options.cache)?;
    let found = files.tensors.len();
    match wanted {
        Some(wanted) if wanted != found as u64 => Err(StoreError::TensorCount {
            path: paths.into_iter().next().unwrap_or(path),
            count,
            found,
            wanted,
        }),
        _ => Ok(files),
    }
}

//! Models in several files: `NAME-00001-of-00003.gguf` and so on.
//!
//! Each file says in `split.no` (from 0) and `split.count` which part it is; the first holds the
//! model's metadata, and each holds some of its tensors.

use std::path::{Path, PathBuf};

use ingle_formats::gguf::{GgufError, Header, Metadata};
use ingle_tensor::WeightSource;

use crate::files::OpenOptions;
use crate::part::Part;
use crate::read_at::Io;
use crate::{ModelFiles, StoreError};

/// Files that are kept open for one model.
const MAX_PARTS: u32 = 512;

/// The name of a part, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    /// What comes before `-00001-of-00003.gguf`.
    pub stem: String,
    /// Which part, from 0.
    pub index: u32,
    /// How many parts.
    pub count: u32,
}

impl PartName {
    /// The parts of a file name, if it has the form of one of several.
    pub fn parse(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let (number, count) = (five_digits(number)?, five_digits(count)?);
        (1..=count).contains(&number).then(|| Self {
            stem: stem.to_owned(),
            index: number - 1,
            count,
        })
    }

    /// Where the part with this index lies, beside `path`.
    pub fn sibling(&self, path: &Path, index: u32) -> PathBuf {
        let (stem, number, count) = (&self.stem, index + 1, self.count);
        path.with_file_name(format!("{stem}-{number:05}-of-{count:05}.gguf"))
    }
}

fn five_digits(text: &str) -> Option<u32> {
    let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// What a file says of itself as a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Which part, from 0.
    pub index: u32,
    /// How many parts.
    pub count: u32,
    /// Tensors in all parts together.
    pub n_tensors: Option<u64>,
}

impl Claim {
    /// `None` where the file does not say that it is one of several.
    pub fn of(metadata: &Metadata) -> Result<Option<Self>, GgufError> {
        let count = metadata.u32("split.count")?.unwrap_or(0);
        if count < 2 {
            return Ok(None);
        }
        Ok(Some(Self {
            index: metadata.require_u32("split.no")?,
            count,
            n_tensors: metadata.u64("split.tensors.count")?,
        }))
    }
}

/// Opens a GGUF file, and where it is one of several the others too.
pub(crate) fn open(path: &Path, options: OpenOptions) -> Result<ModelFiles, StoreError> {
    let (part, header) = open_part(path, options.io)?;
    match claim(&part, &header.metadata)? {
        Some(claim) => open_split(path, claim, options),
        None => ModelFiles::build(vec![(part, header)], options),
    }
}

fn open_part(path: &Path, io: Io) -> Result<(Part, Header), StoreError> {
    let part = Part::open(path, io)?;
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
    let files = ModelFiles::build(opened, options)?;
    let found = files.tensors().len();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_name() {
        let part = PartName::parse(Path::new("/m/a-b-00002-of-00003.gguf"));
        let wanted = PartName {
            stem: "a-b".into(),
            index: 1,
            count: 3,
        };
        assert_eq!(part, Some(wanted.clone()));
        let third = wanted.sibling(Path::new("/m/a-b-00002-of-00003.gguf"), 2);
        assert_eq!(third, Path::new("/m/a-b-00003-of-00003.gguf"));
    }

    #[test]
    fn other_names_are_not_parts() {
        for name in [
            "a.gguf",
            "a-1-of-3.gguf",
            "a-00000-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-+0001-of-00003.gguf",
            "a-00001-of-00003.bin",
            "00001-of-00003.gguf",
        ] {
            assert_eq!(PartName::parse(Path::new(name)), None, "{name}");
        }
    }
}

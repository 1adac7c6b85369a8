//! Reading a store that somebody else wrote: nothing outside it, nothing endless.

use crate::StoreError;
use crate::place_error::PlaceError;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files and folders that are looked at in one folder of a store.
pub(crate) const MOST_ENTRIES: usize = 10_000;

/// Whether `path` and every link on it stay below `root`. Links inside are how the Hugging Face cache
/// is made; one that leads elsewhere was made by somebody who wants another file read.
///
/// # Errors
/// [`PlaceError::LeadsOut`], or what the system says.
pub(crate) fn check_inside(root: &Path, path: &Path) -> Result<(), PlaceError> {
    let real = |path: &Path| {
        path.canonicalize()
            .map_err(|error| StoreError::io(path, error))
    };
    let (root, target) = (real(root)?, real(path)?);
    if target.starts_with(&root) {
        return Ok(());
    }
    Err(PlaceError::LeadsOut {
        path: path.to_path_buf(),
        target,
    })
}

/// The text of a small file; `None` where there is none.
///
/// # Errors
/// The system's words, and what is larger than `most` or no text.
pub(crate) fn small_text(path: &Path, most: u64) -> Result<Option<String>, std::io::Error> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!(
            "it is larger than {most} bytes"
        )));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(std::io::Error::other("it is not text")),
    }
}

/// A file is not there, nor is the folder it would be in.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

/// The names in a folder that are text, sorted; none where there is no such folder.
pub(crate) fn names_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let named =
        |entry: std::fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.path()));
    let mut names: Vec<_> = entries
        .take(MOST_ENTRIES)
        .filter_map(|e| named(e.ok()?))
        .collect();
    names.sort();
    names
}

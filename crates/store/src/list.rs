//! Which models lie in some folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::folder;
use crate::split::PartName;
use crate::{ModelFiles, StoreError, Summary};

/// How deep folders are looked into below a given one.
const MAX_DEPTH: usize = 6;
/// How many files and folders are looked at below a given one.
const MAX_ENTRIES: usize = 20_000;

/// What was found.
#[derive(Debug)]
pub struct Listing {
    /// The models, sorted by path.
    pub models: Vec<Listed>,
    /// Folders that could not be read, or not to the end.
    pub problems: Vec<StoreError>,
}

/// One model found.
#[derive(Debug)]
pub struct Listed {
    /// The file name without its ending and without the number of the part.
    pub name: String,
    /// The file or folder; of a split model, the first of its files that is there.
    pub path: PathBuf,
    /// The facts, or why the file cannot be used.
    pub summary: Result<Summary, StoreError>,
}

/// The models in these folders and the folders below them, some levels deep. A split model is there
/// once; a file that cannot be used is there with the reason. Folders whose names begin with a dot
/// are left out, as are folders behind symbolic links; files behind them are not.
pub fn list<P: AsRef<Path>>(folders: impl IntoIterator<Item = P>) -> Listing {
    let mut files = BTreeSet::new();
    let mut problems = Vec::new();
    for folder in folders {
        let mut walk = Walk {
            files: &mut files,
            problems: &mut problems,
            left: MAX_ENTRIES,
        };
        walk.folder(folder.as_ref(), MAX_DEPTH);
        if walk.left == 0 {
            problems.push(StoreError::TooManyFiles {
                path: folder.as_ref().to_path_buf(),
                limit: MAX_ENTRIES,
            });
        }
    }
    let models = one_a_model(files).map(|(name, path)| Listed {
        summary: ModelFiles::open(&path).map(|files| files.summary()),
        name,
        path,
    });
    Listing {
        models: models.collect(),
        problems,
    }
}

/// For each model its name and first file, from a sorted set of files.
fn one_a_model(files: BTreeSet<PathBuf>) -> impl Iterator<Item = (String, PathBuf)> {
    let mut models: BTreeMap<(PathBuf, Option<u32>), (String, PathBuf)> = BTreeMap::new();
    for path in files {
        let (name, count) = match PartName::parse(&path) {
            Some(part) => (part.stem, Some(part.count)),
            // A folder is called by its own name.
            None if path.ends_with("config.json") => {
                let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
                (folder.to_string_lossy().into_owned(), None)
            }
            None => {
                let stem = path.file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), None)
            }
        };
        let key = (path.with_file_name(&name), count);
        let path = match path.ends_with("config.json") {
            true => path.with_file_name(""),
            false => path,
        };
        models.entry(key).or_insert((name, path));
    }
    models.into_values()
}

struct Walk<'a> {
    files: &'a mut BTreeSet<PathBuf>,
    problems: &'a mut Vec<StoreError>,
    left: usize,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.problem(folder, error),
        };
        for entry in entries {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            match entry {
                Ok(entry) => self.entry(&entry, depth),
                Err(error) => self.problem(folder, error),
            }
        }
    }

    fn problem(&mut self, folder: &Path, error: std::io::Error) {
        let path = folder.to_path_buf();
        self.problems.push(StoreError::Io { path, error });
    }

    fn entry(&mut self, entry: &std::fs::DirEntry, depth: usize) {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder {
            if depth > 0 && !hidden {
                self.folder(&path, depth - 1);
            }
        } else {
            let is_gguf = path
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
            let is_folder =
                path.ends_with("config.json") && path.parent().is_some_and(folder::is_model);
            if is_gguf || is_folder {
                self.files.insert(path);
            }
        }
    }
}

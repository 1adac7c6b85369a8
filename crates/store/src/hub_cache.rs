//! The Hugging Face cache: `models--ORG--REPO/{refs,snapshots,blobs}`.
//!
//! `refs/main` names a commit, `snapshots/COMMIT/FILE` is a link to `blobs/DIGEST` (on Windows perhaps
//! the file itself). Described at <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>.

use crate::StoreError;
use crate::inside::{MOST_ENTRIES, check_inside, names_in, small_text};
use crate::names::{Commit, RepoFile, RepoId};
use crate::pick::{Variant, variants};
use crate::place_error::PlaceError;
use std::path::{Path, PathBuf};

/// The branch that is read.
pub(crate) const BRANCH: &str = "main";
/// How deep files lie in a snapshot.
const MAX_DEPTH: usize = 8;

/// A Hugging Face cache, as the folder that holds `models--...`.
#[derive(Debug, Clone)]
pub struct HubCache {
    root: PathBuf,
}

/// The files of one commit of a repository that are here.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The repository.
    pub repo: RepoId,
    /// The folder of the files.
    pub folder: PathBuf,
    /// The files, in order of their names.
    pub files: Vec<RepoFile>,
    cache: PathBuf,
}

impl HubCache {
    /// The cache in this folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The repositories in it.
    pub fn repos(&self) -> Vec<RepoId> {
        let names = names_in(&self.root).into_iter();
        names
            .filter_map(|(name, _)| RepoId::from_folder(&name))
            .collect()
    }

    /// The folder of a repository, written as it is here.
    fn folder(&self, repo: &RepoId) -> Option<(RepoId, PathBuf)> {
        let folder = self.root.join(repo.folder());
        if folder.is_dir() {
            return Some((repo.clone(), folder));
        }
        let alike = self.repos().into_iter().find(|here| here.is(repo))?;
        let folder = self.root.join(alike.folder());
        Some((alike, folder))
    }

    /// The snapshots of a repository: that of `main` first, then the others, the newest first. None
    /// where the repository is not here.
    ///
    /// # Errors
    /// [`PlaceError::Damaged`]: `refs/main` is no commit.
    pub fn snapshots(&self, repo: &RepoId) -> Result<Vec<Snapshot>, PlaceError> {
        let Some((repo, folder)) = self.folder(repo) else {
            return Ok(Vec::new());
        };
        let main = main_commit(&repo, &folder)?;
        let mut commits: Vec<(bool, std::time::SystemTime, PathBuf)> =
            names_in(&folder.join("snapshots"))
                .into_iter()
                .filter_map(|(name, path)| {
                    let commit = Commit::parse(&name).ok()?;
                    let changed = path.metadata().and_then(|m| m.modified()).ok()?;
                    Some((main.as_ref() == Some(&commit), changed, path))
                })
                .collect();
        commits.sort_by(|a, b| b.cmp(a));
        let snapshots = commits.into_iter().map(|(_, _, folder)| Snapshot {
            repo: repo.clone(),
            files: files_below(&folder),
            folder,
            cache: self.root.clone(),
        });
        Ok(snapshots.collect())
    }
}

/// The commit that `refs/main` names, if there is one.
fn main_commit(repo: &RepoId, folder: &Path) -> Result<Option<Commit>, PlaceError> {
    const MOST: u64 = 256;
    let path = folder.join("refs").join(BRANCH);
    let damaged = |why: String| PlaceError::Damaged {
        path: path.clone(),
        why,
        name: repo.to_string(),
    };
    let text = small_text(&path, MOST).map_err(|error| damaged(error.to_string()))?;
    let commit = text.map(|text| Commit::parse(text.trim()));
    commit
        .transpose()
        .map_err(|error| damaged(error.to_string()))
}

/// Plain files below a folder, also behind links. What has a name that no model file has is left out.
fn files_below(root: &Path) -> Vec<RepoFile> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), root.to_path_buf(), 0)];
    let mut seen = 0;
    while let Some((prefix, folder, depth)) = folders.pop() {
        for (name, path) in names_in(&folder) {
            seen += 1;
            if seen > MOST_ENTRIES {
                return files;
            }
            let name = format!("{prefix}{name}");
            let is_link = path.is_symlink();
            if path.is_dir() && !is_link && depth < MAX_DEPTH {
                folders.push((format!("{name}/"), path, depth + 1));
            } else if path.is_file()
                && let Ok(file) = RepoFile::parse(&name)
            {
                files.push(file);
            }
        }
    }
    files.sort();
    files
}

impl Snapshot {
    /// The GGUF models in it.
    pub fn variants(&self) -> Vec<Variant> {
        variants(&self.files)
    }

    /// Whether it is a folder of safetensors that can be opened as a model.
    pub fn is_safetensors(&self) -> bool {
        let has = |ending: &str| {
            self.files
                .iter()
                .any(|f| f.depth() == 0 && f.as_str().ends_with(ending))
        };
        has("config.json") && has(".safetensors")
    }

    /// Where a file lies, having checked that its link leads to the cache and not elsewhere.
    ///
    /// # Errors
    /// [`PlaceError::LeadsOut`].
    pub fn path(&self, file: &RepoFile) -> Result<PathBuf, PlaceError> {
        let path = self.folder.join(file.path());
        check_inside(&self.cache, &path)?;
        Ok(path)
    }

    /// The first file of a model, having checked all of them.
    ///
    /// # Errors
    /// [`PlaceError::LeadsOut`], [`PlaceError::Incomplete`].
    pub fn open_path(&self, variant: &Variant) -> Result<PathBuf, PlaceError> {
        let name = format!("{}:{}", self.repo, variant.label());
        let incomplete = || PlaceError::Incomplete {
            name: name.clone(),
            have: variant.files.len(),
            wanted: variant.n_files,
        };
        if !variant.is_complete() {
            return Err(incomplete());
        }
        let mut paths = variant.files.iter().map(|file| self.path(file));
        let first = paths.next().ok_or_else(incomplete)??;
        paths.try_for_each(|path| path.map(drop))?;
        Ok(first)
    }

    /// The folder, having checked every file in it.
    ///
    /// # Errors
    /// [`PlaceError::LeadsOut`]; [`PlaceError::Damaged`] where the index of the shards names a file that
    /// cannot be one.
    pub fn safetensors_path(&self) -> Result<PathBuf, PlaceError> {
        self.files
            .iter()
            .try_for_each(|file| self.path(file).map(drop))?;
        check_index(&self.repo, &self.folder)?;
        Ok(self.folder.clone())
    }
}

/// The names of shards in an index: each is the name of a file beside it.
fn check_index(repo: &RepoId, folder: &Path) -> Result<(), PlaceError> {
    const MOST: u64 = 64 << 20;
    const INDEX: &str = "model.safetensors.index.json";
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let damaged = |why: String| PlaceError::Damaged {
        path: path.clone(),
        why,
        name: repo.to_string(),
    };
    let Some(text) = small_text(&path, MOST).map_err(|error| StoreError::io(&path, error))? else {
        return Ok(());
    };
    let index: Index = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    for file in index.weight_map.values() {
        RepoFile::parse(file).map_err(|error| damaged(error.to_string()))?;
    }
    Ok(())
}

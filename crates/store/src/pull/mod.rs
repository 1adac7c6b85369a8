//! A model got from the hub into the Hugging Face cache, where every other program finds it too.
//!
//! [`Plan::new`] asks the hub what there is and picks the files; [`Plan::pull`] fetches those that are
//! not here. Order: blobs, each whole and checked under its digest; then the links of the snapshot; then
//! `refs/main`. A cut at any time leaves nothing that looks like a model and is none.

mod error;
mod hub;
mod write;

pub use error::PullError;
pub use hub::{Check, Hub, RemoteFile, Repository};

use crate::download::{Disk, Fetch, Progress, SystemDisk, fetch_file};
use crate::inside::check_inside;
use crate::names::{Quant, RepoFile};
use crate::pick::{NoPick, Variant, pick, variants};
use crate::reference::HubName;
use std::path::{Path, PathBuf};
use write::Folder;

/// Bytes that stay free on the disk.
const MARGIN: u64 = 512 << 20;

/// What will be got.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to type to run it.
    pub name: String,
    /// The commit and all its files.
    pub repository: Repository,
    /// The files that make the model, the first one first.
    pub files: Vec<RemoteFile>,
    /// Whether it is a folder of safetensors.
    pub is_folder: bool,
}

/// What happens during a pull.
#[derive(Debug)]
#[non_exhaustive]
pub enum PullEvent<'p> {
    /// A file begins: its place among the files, from 0.
    File(usize, &'p RemoteFile),
    /// It goes on.
    Progress(Progress),
    /// It is here and right; `true` where it was before.
    Done(bool),
}

/// A model that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What [`ModelFiles::open`](crate::ModelFiles::open) takes.
    pub path: PathBuf,
    /// Whether it was here already, and nothing was fetched.
    pub already: bool,
}

impl Plan {
    /// Asks the hub and picks the files of one model: the quantisation that is asked for, else the
    /// usual one, with all its parts; where there is no GGUF file, the folder of safetensors.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn new(hub: &Hub, wanted: &HubName) -> Result<Self, PullError> {
        let repository = hub
            .repository(&wanted.repo)
            .map_err(|error| with_near(hub, wanted, error))?;
        let names: Vec<RepoFile> = repository
            .files
            .iter()
            .map(|file| file.file.clone())
            .collect();
        let variants = variants(&names);
        let repo = repository.repo.to_string();
        match pick(&variants, wanted.quant.as_ref()) {
            Ok(variant) if !variant.is_complete() => Err(PullError::MissingParts {
                repo,
                quant: variant.label().to_owned(),
                have: variant.files.len(),
                wanted: variant.n_files,
            }),
            Ok(variant) => Ok(Self {
                name: format!("{repo}:{}", variant.label()),
                files: only(&repository, |file| variant.files.contains(file)),
                repository,
                is_folder: false,
            }),
            Err(NoPick::Several(files)) => Err(PullError::Several {
                repo,
                meant: files
                    .iter()
                    .map(|file| file.file_name().to_owned())
                    .collect(),
            }),
            Err(NoPick::NotThere) => Err(no_quant(&repository, &variants, wanted.quant.as_ref())),
            Err(NoPick::NoGguf) => match &wanted.quant {
                Some(quant) => Err(PullError::NoGguf {
                    repo,
                    quant: quant.to_string(),
                }),
                None => Self::folder(repository),
            },
        }
    }

    fn folder(repository: Repository) -> Result<Self, PullError> {
        let files = only(&repository, |file| belongs_to_folder(&repository, file));
        let has = |ending: &str| {
            files
                .iter()
                .any(|file| file.file.as_str().ends_with(ending))
        };
        let name = repository.repo.to_string();
        if !has("config.json") || !has(".safetensors") {
            return Err(PullError::NoModel { repo: name });
        }
        Ok(Self {
            name,
            repository,
            files,
            is_folder: true,
        })
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Gets what is not here into the cache at `root`.
    ///
    /// # Errors
    /// [`PullError`]: what has come is kept, and the same call goes on from there.
    pub fn pull(
        &self,
        hub: &Hub,
        root: &Path,
        tell: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<Pulled, PullError> {
        let folder = Folder::new(root, &self.repository);
        let path = folder.model(self);
        if self.files.iter().all(|file| folder.has(file)) && folder.is_current() {
            return Ok(Pulled {
                path,
                already: true,
            });
        }
        self.check_room(&folder)?;
        folder.make()?;
        check_inside(root, &folder.blobs)?;
        check_inside(root, &folder.snapshot)?;
        for (index, file) in self.files.iter().enumerate() {
            tell(PullEvent::File(index, file));
            let already = self.fetch(hub, &folder, file, tell)?;
            tell(PullEvent::Done(already));
        }
        for file in &self.files {
            folder.link(file)?;
        }
        folder.write_ref()?;
        Ok(Pulled {
            path,
            already: false,
        })
    }

    fn check_room(&self, folder: &Folder) -> Result<(), PullError> {
        let missing = self.files.iter().filter(|file| !folder.has_blob(file));
        let missing = missing.fold(0, |sum: u64, file| {
            sum.saturating_add(file.size.saturating_sub(folder.partial_bytes(file)))
        });
        let existing = folder
            .root
            .ancestors()
            .find(|path| path.is_dir())
            .unwrap_or(&folder.root);
        match SystemDisk.free(existing) {
            Some(free) if missing > 0 && free < missing.saturating_add(MARGIN) => {
                Err(PullError::NoRoom {
                    folder: folder.root.clone(),
                    free: size_text(free),
                    needed: size_text(missing.saturating_add(MARGIN)),
                })
            }
            _ => Ok(()),
        }
    }

    /// Brings one blob; whether it was here.
    fn fetch(
        &self,
        hub: &Hub,
        folder: &Folder,
        file: &RemoteFile,
        tell: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<bool, PullError> {
        let blob = folder.blob(file);
        let fetch = Fetch {
            token: hub.token.clone(),
            size: Some(file.size),
            sha256: file.check.sha256(),
            git: file.check.git(),
            name: file.file.to_string(),
            ..Fetch::new(hub.file_url(&self.repository, &file.file)?, blob)
        };
        let fetched = fetch_file(
            &hub.door,
            &fetch,
            &mut |p| tell(PullEvent::Progress(p)),
            &hub.cancel,
        )?;
        Ok(fetched.already)
    }
}

/// A repository that is not there, with others that have a name like it.
fn with_near(hub: &Hub, wanted: &HubName, error: PullError) -> PullError {
    let mut error = error;
    if let PullError::NoRepository { near, .. } | PullError::NoRepositoryOrNoToken { near, .. } =
        &mut error
    {
        *near = hub.near(&wanted.repo);
    }
    error
}

/// The files that are wanted, in order of their names.
fn only(repository: &Repository, wanted: impl Fn(&RepoFile) -> bool) -> Vec<RemoteFile> {
    let mut files: Vec<RemoteFile> = repository
        .files
        .iter()
        .filter(|file| wanted(&file.file))
        .cloned()
        .collect();
    files.sort_by(|a, b| a.file.cmp(&b.file));
    files.dedup_by(|a, b| a.file == b.file);
    files
}

/// Weights, configuration and vocabulary. Where the weights lie in two forms, the one that the hub's own
/// library reads: `model*.safetensors`.
fn belongs_to_folder(repository: &Repository, file: &RepoFile) -> bool {
    const BESIDE: &[&str] = &[
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "model.safetensors.index.json",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
    ];
    let usual = |file: &RepoFile| file.as_str().starts_with("model");
    let weights = |file: &RepoFile| file.depth() == 0 && file.as_str().ends_with(".safetensors");
    if weights(file) {
        let any_usual = repository
            .files
            .iter()
            .any(|other| weights(&other.file) && usual(&other.file));
        return usual(file) || !any_usual;
    }
    BESIDE.contains(&file.as_str())
}

fn no_quant(repository: &Repository, variants: &[Variant], wanted: Option<&Quant>) -> PullError {
    let size = |variant: &Variant| {
        let files = repository
            .files
            .iter()
            .filter(|file| variant.files.contains(&file.file));
        files.fold(0, |sum: u64, file| sum.saturating_add(file.size))
    };
    let mut sized: Vec<(u64, &str)> = variants
        .iter()
        .map(|variant| (size(variant), variant.label()))
        .collect();
    sized.sort_unstable();
    let usual = pick(variants, None).map(Variant::label).ok();
    PullError::NoQuant {
        repo: repository.repo.to_string(),
        quant: wanted.map_or_else(String::new, ToString::to_string),
        first: usual
            .or(sized.first().map(|(_, label)| *label))
            .unwrap_or_default()
            .to_owned(),
        have: sized
            .iter()
            .map(|(size, label)| format!("  {label:<12} {}", size_text(*size)))
            .collect(),
    }
}

/// A size as people say it.
fn size_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

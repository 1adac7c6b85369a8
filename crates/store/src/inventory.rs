//! Every model in the stores of other programs.

use crate::aliases::aliases;
use crate::hub_cache::{HubCache, Snapshot};
use crate::names::RepoId;
use crate::ollama::OllamaStore;
use crate::place_error::PlaceError;
use crate::places::{Found, Place, Places};
use crate::{ModelFiles, Summary};
use std::path::PathBuf;

/// Models that are looked at in one store.
const MOST_MODELS: usize = 2_000;

/// A model in a store.
#[derive(Debug)]
pub struct Here {
    /// What to type.
    pub name: String,
    /// A shorter name, where there is one.
    pub alias: Option<&'static str>,
    /// Which store.
    pub place: Place,
    /// The file or folder, and the facts; or why it cannot be used.
    pub facts: Result<(PathBuf, Summary), PlaceError>,
}

impl Places {
    /// Every model in the stores, by name. One that cannot be used is there with the reason.
    pub fn models(&self) -> Vec<Here> {
        let hub = self.hub().into_iter().flat_map(|cache| {
            let repos = cache.repos().into_iter();
            repos
                .flat_map(|repo| in_repo(cache, &repo))
                .take(MOST_MODELS)
        });
        let ollama = self
            .ollama()
            .iter()
            .flat_map(|store| in_ollama(store).take(MOST_MODELS));
        let mut models: Vec<Here> = hub.chain(ollama).collect();
        models.sort_by(|a, b| (a.place, &a.name).cmp(&(b.place, &b.name)));
        models
    }
}

fn in_ollama(store: &OllamaStore) -> impl Iterator<Item = Here> {
    store.names().into_iter().map(|name| {
        let found = store.model(&name).map(|model| model.map(Found::from));
        Here {
            name: name.to_string(),
            alias: None,
            place: Place::Ollama,
            facts: facts(found.transpose().unwrap_or_else(|| {
                Err(PlaceError::Unsupported {
                    name: name.to_string(),
                    why: "it is gone".into(),
                })
            })),
        }
    })
}

/// The models of a repository: those of the newest snapshot that has any.
fn in_repo(cache: &HubCache, repo: &RepoId) -> Vec<Here> {
    let snapshots = match cache.snapshots(repo) {
        Ok(snapshots) => snapshots,
        Err(error) => return vec![here(repo.to_string(), None, Err(error))],
    };
    let mut models = snapshots.iter().map(in_snapshot);
    models.find(|models| !models.is_empty()).unwrap_or_default()
}

fn in_snapshot(snapshot: &Snapshot) -> Vec<Here> {
    let variants = snapshot.variants();
    if variants.is_empty() && snapshot.is_safetensors() {
        let name = snapshot.repo.to_string();
        let found = snapshot.safetensors_path().map(|path| Found {
            name: name.clone(),
            place: Place::Hub,
            path,
            layers: None,
        });
        return vec![here(name, None, found)];
    }
    let models = variants.iter().map(|variant| {
        let several = variants
            .iter()
            .filter(|other| other.quant == variant.quant)
            .count()
            > 1;
        let label = match variant.first() {
            Some(file) if several => file.file_name(),
            _ => variant.label(),
        };
        let alias = variant.first().and_then(|file| {
            let is = |repo: &str, name: &str| {
                repo.eq_ignore_ascii_case(&snapshot.repo.to_string()) && name == file.as_str()
            };
            aliases().iter().find(|alias| is(alias.repo, alias.file))
        });
        here(
            format!("{}:{label}", snapshot.repo),
            alias.map(|alias| alias.name),
            Found::of(snapshot, variant),
        )
    });
    models.collect()
}

fn here(name: String, alias: Option<&'static str>, found: Result<Found, PlaceError>) -> Here {
    Here {
        name,
        alias,
        place: Place::Hub,
        facts: facts(found),
    }
}

fn facts(found: Result<Found, PlaceError>) -> Result<(PathBuf, Summary), PlaceError> {
    let path = found?.path;
    let summary = ModelFiles::open(&path)?.summary();
    Ok((path, summary))
}

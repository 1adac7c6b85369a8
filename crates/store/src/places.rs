//! From a name to a file that lies on this machine, wherever another program put it.

use crate::aliases::{self, Alias, alias};
use crate::hub_cache::{HubCache, Snapshot};
use crate::names::{ModelName, Quant, RepoId};
use crate::near::nearest;
use crate::ollama::{Layers, OllamaModel, OllamaStore};
use crate::pick::{NoPick, Variant, pick};
use crate::place_error::PlaceError;
use crate::reference::{HubName, Name, Reference};
use std::path::{Path, PathBuf};

/// Where models of other programs lie on this machine. Nothing in them is ever changed.
#[derive(Debug, Clone, Default)]
pub struct Places {
    hub: Option<HubCache>,
    ollama: Vec<OllamaStore>,
}

/// Which place a model was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A path was given.
    Path,
    /// The Hugging Face cache.
    Hub,
    /// Ollama's store.
    Ollama,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Path => "a file",
            Self::Hub => "the Hugging Face cache",
            Self::Ollama => "Ollama's store",
        })
    }
}

/// A model on this machine.
#[derive(Debug, Clone)]
pub struct Found {
    /// What to type to get it again.
    pub name: String,
    /// Where it was found.
    pub place: Place,
    /// What [`ModelFiles::open`](crate::ModelFiles::open) takes: a file where it lies, or a folder.
    pub path: PathBuf,
    /// What Ollama keeps beside the weights.
    pub layers: Option<Layers>,
}

impl Places {
    /// The Hugging Face cache and the stores of Ollama in these folders, which need not exist.
    pub fn new(hub: Option<PathBuf>, ollama: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            hub: hub.map(HubCache::new),
            ollama: ollama.into_iter().map(OllamaStore::new).collect(),
        }
    }

    /// The Hugging Face cache.
    pub fn hub(&self) -> Option<&HubCache> {
        self.hub.as_ref()
    }

    /// Ollama's stores.
    pub fn ollama(&self) -> &[OllamaStore] {
        &self.ollama
    }

    /// The model that a reference names.
    ///
    /// # Errors
    /// [`PlaceError`]: it is not here, several are meant, or what is here cannot be used.
    pub fn locate(&self, reference: &Reference) -> Result<Found, PlaceError> {
        match reference {
            Reference::Path(path) => Ok(at_path(path)),
            Reference::Hub(hub) => match self.on_the_hub(hub)? {
                Some(found) => Ok(found),
                None => Err(self.not_here(&hub.to_string())),
            },
            Reference::Name(name) => self.named(name),
        }
    }

    fn named(&self, name: &Name) -> Result<Found, PlaceError> {
        let known = alias(&name.text);
        if let Some((alias, hub)) = &known
            && let Some(found) = self.alias_in_cache(alias, hub)?
        {
            return Ok(Found {
                name: name.text.clone(),
                ..found
            });
        }
        if let Some(model) = &name.ollama
            && let Some(found) = self.in_ollama(model)?
        {
            return Ok(found);
        }
        if let Some(hub) = &name.hub
            && let Some(found) = self.on_the_hub(hub)?
        {
            return Ok(found);
        }
        if let Some((alias, hub)) = known {
            return Err(not_pulled(&name.text, alias, &hub));
        }
        match self.bare(&name.text)? {
            Some(found) => Ok(found),
            None if name.hub.is_some() => Err(self.not_here(&name.text)),
            None => Err(self.unknown(&name.text)),
        }
    }

    /// What an alias stands for, by its file or, where that has another name, by its quantisation.
    /// Another quantisation in the cache is another model: no error here.
    fn alias_in_cache(&self, alias: &Alias, hub: &HubName) -> Result<Option<Found>, PlaceError> {
        let its_file = hub.quant.as_ref().is_some_and(|quant| quant.is(alias.file));
        let by_quant = its_file.then(|| alias.by_quant()).flatten();
        for hub in [Some(hub), by_quant.as_ref()].into_iter().flatten() {
            match self.in_cache(hub) {
                Ok(None) | Err(PlaceError::QuantNotHere { .. }) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    /// In the Hugging Face cache, or got from the hub by Ollama.
    fn on_the_hub(&self, hub: &HubName) -> Result<Option<Found>, PlaceError> {
        let cached = self.in_cache(hub);
        if let Ok(None) | Err(PlaceError::QuantNotHere { .. }) = cached
            && let Ok(model) = ModelName::parse(&hub.to_string())
            && let Some(found) = self.in_ollama(&model)?
        {
            return Ok(Some(found));
        }
        cached
    }

    fn in_cache(&self, hub: &HubName) -> Result<Option<Found>, PlaceError> {
        let Some(cache) = &self.hub else {
            return Ok(None);
        };
        let snapshots = cache.snapshots(&hub.repo)?;
        for snapshot in &snapshots {
            if let Some(found) = in_snapshot(snapshot, hub.quant.as_ref())? {
                return Ok(Some(found));
            }
        }
        let labels = |snapshot: &Snapshot| {
            let variants = snapshot.variants();
            variants
                .iter()
                .map(|variant| variant.label().to_owned())
                .collect::<Vec<_>>()
        };
        let have: Vec<String> = snapshots.iter().flat_map(labels).collect();
        match &hub.quant {
            Some(quant) if !have.is_empty() => Err(PlaceError::QuantNotHere {
                repo: hub.repo.to_string(),
                quant: quant.to_string(),
                have,
            }),
            _ => Ok(None),
        }
    }

    fn in_ollama(&self, name: &ModelName) -> Result<Option<Found>, PlaceError> {
        for store in &self.ollama {
            if let Some(model) = store.model(name)? {
                return Ok(Some(Found::from(model)));
            }
        }
        Ok(None)
    }

    /// A repository in the cache by what stands behind its slash.
    fn bare(&self, text: &str) -> Result<Option<Found>, PlaceError> {
        let (wanted, quant) = match text.split_once(':') {
            Some((wanted, quant)) => (wanted, Quant::parse(quant).ok()),
            None => (text, None),
        };
        let repos = self.hub.iter().flat_map(HubCache::repos);
        let meant: Vec<RepoId> = repos
            .filter(|repo| repo.name().eq_ignore_ascii_case(wanted))
            .collect();
        match meant.as_slice() {
            [] => Ok(None),
            [repo] => self.in_cache(&HubName {
                repo: repo.clone(),
                quant,
            }),
            several => Err(PlaceError::Ambiguous {
                name: text.to_owned(),
                meant: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// Where was looked, for messages.
    fn tried(&self) -> Vec<String> {
        let hub = self.hub.iter().map(|cache| (Place::Hub, cache.root()));
        let ollama = self
            .ollama
            .iter()
            .map(|store| (Place::Ollama, store.root()));
        let line = |(place, root): (Place, &Path)| {
            let absent = if root.is_dir() {
                ""
            } else {
                " (there is no such folder)"
            };
            format!("{place}, {}{absent}", root.display())
        };
        hub.chain(ollama).map(line).collect()
    }

    /// Names on this machine and aliases like this one.
    fn near(&self, name: &str) -> Vec<String> {
        let hub = self
            .hub
            .iter()
            .flat_map(HubCache::repos)
            .map(|repo| repo.to_string());
        let ollama = self
            .ollama
            .iter()
            .flat_map(OllamaStore::names)
            .map(|name| name.to_string());
        let here: Vec<String> = hub.chain(ollama).collect();
        let mut near = nearest(name, here.iter().map(String::as_str));
        near.extend(aliases::near(name));
        near.dedup();
        near.truncate(5);
        near
    }

    fn not_here(&self, name: &str) -> PlaceError {
        PlaceError::NotHere {
            name: name.to_owned(),
            tried: self.tried(),
            near: self.near(name.strip_prefix("hf.co/").unwrap_or(name)),
        }
    }

    fn unknown(&self, name: &str) -> PlaceError {
        PlaceError::Unknown {
            name: name.to_owned(),
            tried: self.tried(),
            near: self.near(name),
        }
    }
}

fn at_path(path: &Path) -> Found {
    Found {
        name: path.display().to_string(),
        place: Place::Path,
        path: path.to_path_buf(),
        layers: None,
    }
}

fn not_pulled(name: &str, alias: &Alias, hub: &HubName) -> PlaceError {
    let other = hub.quant.as_ref().map(Quant::as_str) != Some(alias.file);
    let what = if other {
        hub.to_string()
    } else {
        format!("{} by {}, {}", alias.title(), alias.repo, size(alias))
    };
    PlaceError::NotPulled {
        name: name.to_owned(),
        what,
    }
}

/// Its size as `ingle list` shows it.
fn size(alias: &Alias) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    let about = if alias.exact { "" } else { "about " };
    match alias.bytes {
        bytes if bytes < 1 << 30 => format!("{about}{} MiB", bytes >> 20),
        bytes => format!("{about}{:.1} GiB", bytes as f64 / GIB),
    }
}

/// The model in a snapshot; `None` where it is another one that is meant, or none is there.
fn in_snapshot(snapshot: &Snapshot, quant: Option<&Quant>) -> Result<Option<Found>, PlaceError> {
    let variants = snapshot.variants();
    match pick(&variants, quant) {
        Ok(variant) => Ok(Some(Found::of(snapshot, variant)?)),
        Err(NoPick::Several(files)) => Err(PlaceError::Ambiguous {
            name: snapshot.repo.to_string(),
            meant: files
                .iter()
                .map(|file| format!("{}:{}", snapshot.repo, file.file_name()))
                .collect(),
        }),
        Err(NoPick::NoGguf) if quant.is_none() && snapshot.is_safetensors() => Ok(Some(Found {
            name: snapshot.repo.to_string(),
            place: Place::Hub,
            path: snapshot.safetensors_path()?,
            layers: None,
        })),
        Err(NoPick::NoGguf | NoPick::NotThere) => Ok(None),
    }
}

impl Found {
    /// A model in a snapshot.
    ///
    /// # Errors
    /// [`PlaceError`]: it is not whole, or leads out of the cache.
    pub(crate) fn of(snapshot: &Snapshot, variant: &Variant) -> Result<Self, PlaceError> {
        Ok(Self {
            name: format!("{}:{}", snapshot.repo, variant.label()),
            place: Place::Hub,
            path: snapshot.open_path(variant)?,
            layers: None,
        })
    }
}

impl From<OllamaModel> for Found {
    fn from(model: OllamaModel) -> Self {
        Self {
            name: model.name.to_string(),
            place: Place::Ollama,
            path: model.path,
            layers: Some(model.layers),
        }
    }
}

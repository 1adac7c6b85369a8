//! Which models can be asked for, under which names.

use super::Status;
use crate::environment::Environment;
use crate::keys::write_private;
use crate::load::{LoadArgs, another, built_in_files};
use crate::model_file;
use ingle::ModelFiles;
use ingle::Shared;
use ingle::engine::Budget;
use ingle::store::{Found, Place, PlaceError, Reference, Summary};
use ingle_server::{ApiError, Details, Offer, Preset, Progress, Watcher, not_found};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How a model is loaded.
#[derive(Clone)]
pub struct Spec {
    /// What answers call it.
    pub id: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// What `ingle run` would be given; none: the one that is built in.
    pub model: Option<String>,
    pub load: LoadArgs,
    pub parallel: Option<u32>,
    pub keep_alive: Option<Duration>,
    pub preset: Preset,
    /// The name of what it is a preset of.
    pub base: Option<String>,
}

/// All models that can be asked for.
pub struct Catalog {
    first: Spec,
    /// Those with a name of their own in ingle.toml, and the built-in one.
    named: Vec<Spec>,
    /// Any other: how it is loaded; none: there is no other.
    any: Option<Spec>,
    shared: Shared,
    /// Bytes that this machine reads from memory in a second.
    read_rate: Option<f64>,
    /// Downloads that requests ask for; none: they are refused.
    puller: Option<Puller>,
    /// Where names are kept that [`Self::copy`] gave.
    names_file: Option<PathBuf>,
    /// What names were found to stand for, and when.
    found: Mutex<HashMap<String, (Option<String>, Instant)>>,
}

/// Downloads a model; tells the watcher.
pub type Puller = Box<dyn Fn(&str, Watcher) -> anyhow::Result<()> + Send + Sync>;

/// How long it is believed what a name was found to stand for.
const FRESH: Duration = Duration::from_secs(5);
/// More names than this are not remembered.
const MOST_NAMES: usize = 4096;

impl Catalog {
    pub fn new(first: Spec, named: Vec<Spec>, any: Option<Spec>, shared: Shared) -> Self {
        Self {
            first,
            named,
            any,
            shared,
            read_rate: None,
            puller: None,
            names_file: Environment::of_process().names_file(),
            found: Mutex::default(),
        }
    }

    /// With downloads.
    pub fn pulling(mut self, puller: Option<Puller>) -> Self {
        self.puller = puller;
        self
    }

    /// On a machine that reads so many bytes from memory in a second.
    pub fn on_machine(mut self, read_rate: Option<f64>) -> Self {
        self.read_rate = read_rate;
        self
    }

    pub fn read_rate(&self) -> Option<f64> {
        self.read_rate
    }

    pub fn first(&self) -> &Spec {
        &self.first
    }

    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    fn specs(&self) -> impl Iterator<Item = &Spec> {
        std::iter::once(&self.first).chain(&self.named)
    }

    fn configured(&self, name: &str) -> Option<&Spec> {
        let mut specs = self.specs();
        specs.find(|spec| spec.id == name || spec.aliases.iter().any(|alias| alias == name))
    }

    /// What a name stands for. It is never a path.
    pub fn id_of(&self, name: Option<&str>) -> Result<String, ApiError> {
        let Some(name) = name else {
            return Ok(self.first.id.clone());
        };
        if let Some(spec) = self.configured(name) {
            return Ok(spec.id.clone());
        }
        if self.any.is_some()
            && name.len() <= 512
            && let Some(id) = self.found_as(name)
        {
            return Ok(id);
        }
        let names = self.names();
        if let Some(target) = names.get(name).filter(|target| *target != name) {
            return self.id_of(Some(target));
        }
        Err(self.unknown())
    }

    fn unknown(&self) -> ApiError {
        not_found(self.specs().map(|spec| spec.id.as_str()))
    }

    /// What a model in the stores of this machine is called there.
    fn found_as(&self, name: &str) -> Option<String> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, when)) = found.get(name)
            && when.elapsed() < FRESH
        {
            return id.clone();
        }
        if found.len() >= MOST_NAMES {
            found.clear();
        }
        let here = locate(name).ok().map(|found| found.name);
        found.insert(name.to_owned(), (here.clone(), Instant::now()));
        here
    }

    /// How the model of that id is loaded.
    pub fn spec(&self, id: &str) -> Result<Spec, ApiError> {
        if let Some(spec) = self.configured(id) {
            return Ok(spec.clone());
        }
        match &self.any {
            Some(any) if self.found_as(id).is_some() => Ok(Spec {
                id: id.to_owned(),
                model: Some(id.to_owned()),
                ..any.clone()
            }),
            _ => Err(self.unknown()),
        }
    }

    pub fn has_presets(&self) -> bool {
        let any = self.any.as_ref().is_some_and(|any| !any.preset.is_empty());
        any || self.specs().any(|spec| !spec.preset.is_empty())
    }

    pub fn preset(&self, id: &str) -> Option<Preset> {
        let spec = self.configured(id).or(self.any.as_ref())?;
        Some(spec.preset.clone()).filter(|preset| !preset.is_empty())
    }

    /// All that can be asked for.
    pub fn offers(&self) -> Vec<Offer> {
        let mut offers: Vec<Offer> = Vec::new();
        for spec in self.specs() {
            if !offers.iter().any(|offer| offer.id == spec.id) {
                offers.push(self.offer(spec));
            }
        }
        if self.any.is_none() {
            return offers;
        }
        let places = Environment::of_process().places();
        for here in places.models() {
            let Ok((path, summary)) = here.facts else {
                continue;
            };
            if offers.iter().any(|offer| offer.id == here.name) {
                continue;
            }
            offers.push(Offer {
                id: here.name,
                aliases: here.alias.map(str::to_owned).into_iter().collect(),
                modified: modified(&path),
                ..of_summary(&summary, path.is_dir())
            });
        }
        for (name, target) in self.names() {
            if let Some(offer) = offers.iter().find(|offer| offer.id == target).cloned() {
                offers.push(Offer {
                    id: name,
                    base: Some(target),
                    aliases: Vec::new(),
                    ..offer
                });
            }
        }
        offers
    }

    fn offer(&self, spec: &Spec) -> Offer {
        let facts = match files(spec) {
            Ok((files, path)) => Offer {
                modified: path.as_deref().map_or(0, modified),
                ..of_summary(&files.summary(), path.is_some_and(|path| path.is_dir()))
            },
            Err(_) => Offer::default(),
        };
        Offer {
            id: spec.id.clone(),
            aliases: spec.aliases.clone(),
            base: spec.base.clone(),
            ..facts
        }
    }

    /// What the file says of itself.
    pub fn details(&self, id: &str) -> Result<Details, ApiError> {
        let spec = self.spec(id)?;
        let (files, path) = files(&spec).map_err(|error| super::wanted::refusal(&error))?;
        let metadata = files.metadata();
        let text = |key: &str| metadata.str(key).ok().flatten().map(str::to_owned);
        let template = spec
            .load
            .template_of(&files)
            .or_else(|| text("tokenizer.chat_template"));
        let pairs = metadata
            .iter()
            .filter(|(key, _)| !key.starts_with("tokenizer.chat_template"));
        let parameters = spec.preset.parameters.iter();
        let parameters = parameters.map(|(k, v)| (k.clone(), v.to_string()));
        let context = spec.load.context();
        let shown = template.clone().unwrap_or_default();
        let mut capabilities = vec!["completion"];
        if shown.contains("tools") {
            capabilities.push("tools");
        }
        if shown.contains("think") {
            capabilities.push("thinking");
        }
        Ok(Details {
            offer: Offer {
                id: spec.id.clone(),
                modified: path.as_deref().map_or(0, modified),
                base: spec.base.clone(),
                ..of_summary(&files.summary(), path.is_some_and(|path| path.is_dir()))
            },
            template,
            system: spec.preset.system.clone(),
            parameters: parameters
                .chain(context.map(|n| ("num_ctx".to_owned(), n.to_string())))
                .collect(),
            license: text("general.license"),
            metadata: pairs
                .map(|(key, value)| (key.to_owned(), crate::metadata_view::json(value)))
                .collect(),
            capabilities,
        })
    }

    /// Downloads a model.
    pub fn pull(&self, name: &str, watcher: Watcher) -> Result<(), ApiError> {
        let Some(pull) = &self.puller else {
            let message = "this server does not download models; run `ingle pull NAME` on its machine, or start it with --allow-pull";
            return Err(ApiError::new(
                Status::FORBIDDEN,
                "pull_not_allowed",
                message,
            ));
        };
        pull(name, watcher).map_err(|error| {
            let message = format!("{error:#}");
            ApiError::new(Status::BAD_GATEWAY, "pull_failed", message)
        })?;
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }

    /// Names that were given to models.
    fn names(&self) -> BTreeMap<String, String> {
        const MOST_BYTES: u64 = 1 << 20;
        let read = || {
            let path = self.names_file.as_ref()?;
            let small = std::fs::metadata(path).ok()?.len() <= MOST_BYTES;
            let text = small
                .then(|| std::fs::read_to_string(path).ok())
                .flatten()?;
            serde_json::from_str(&text).ok()
        };
        read().unwrap_or_default()
    }

    fn keep_names(&self, names: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let kept = || -> anyhow::Result<()> {
            let path = self.names_file.as_ref();
            let path = path.ok_or_else(|| anyhow::anyhow!("there is no place for names"))?;
            write_private(path, serde_json::to_string_pretty(names)?.as_bytes())
        };
        kept().map_err(|error| ApiError::internal(format!("{error:#}")))
    }

    /// Gives a model another name.
    pub fn copy(&self, from: &str, to: &str) -> Result<(), ApiError> {
        const MOST: usize = 1000;
        let id = self.id_of(Some(from))?;
        let plain = |c: char| c.is_alphanumeric() || "-_.:/@+".contains(c);
        if to.is_empty() || to.len() > 128 || !to.chars().all(plain) {
            let message = "`destination`: a name has 1 to 128 letters, digits or any of -_.:/@+";
            return Err(ApiError::invalid("destination", message));
        }
        let mut names = self.names();
        let taken = !names.contains_key(to) && self.id_of(Some(to)).is_ok();
        if taken || names.len() >= MOST {
            let message = "another model has that name already";
            return Err(ApiError::new(Status::CONFLICT, "name_taken", message));
        }
        names.insert(to.to_owned(), id);
        self.keep_names(&names)
    }

    /// Forgets a name that [`Self::copy`] gave.
    pub fn delete(&self, name: &str) -> Result<(), ApiError> {
        let mut names = self.names();
        if names.remove(name).is_some() {
            return self.keep_names(&names);
        }
        self.id_of(Some(name))?;
        let message = "the file of this model lies in another program's store, or was named by whoever started the server; delete it there";
        Err(ApiError::new(
            Status::FORBIDDEN,
            "not_ours_to_delete",
            message,
        ))
    }
}

/// Where the model of a name lies that is no path.
fn locate(name: &str) -> Result<Found, PlaceError> {
    let reference = Reference::parse(name).map_err(PlaceError::from)?;
    if matches!(reference, Reference::Path(_)) {
        return Err(PlaceError::Unsupported {
            name: String::new(),
            why: "it is a path".into(),
        });
    }
    let found = Environment::of_process().places().locate(&reference)?;
    match found.place {
        Place::Path => Err(PlaceError::Unsupported {
            name: String::new(),
            why: "it is a path".into(),
        }),
        _ => Ok(found),
    }
}

fn files(spec: &Spec) -> anyhow::Result<(ModelFiles, Option<PathBuf>)> {
    match another(spec.model.as_deref()) {
        None => Ok((built_in_files()?, None)),
        Some(model) => {
            let found = model_file::find(model)?;
            let files = model_file::open(model)?;
            Ok((files, Some(found.path)))
        }
    }
}

fn modified(path: &std::path::Path) -> i64 {
    let time = std::fs::metadata(path).and_then(|file| file.modified());
    let since = time
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

fn of_summary(summary: &Summary, is_folder: bool) -> Offer {
    let context = summary.context_length.and_then(|n| u32::try_from(n).ok());
    Offer {
        bytes: summary.file_bytes,
        format: if is_folder { "safetensors" } else { "gguf" },
        family: summary.architecture.clone(),
        parameters: summary.parameters,
        quantization: summary.quantisation.clone(),
        trained_context: context.unwrap_or(0),
        generates: !summary.architecture.contains("bert"),
        ..Offer::default()
    }
}

/// How far a download is, in Ollama's words.
pub fn progress(status: &str, file: Option<&str>, done: Option<(u64, u64)>) -> Progress {
    Progress {
        status: status.to_owned(),
        file: file.map(str::to_owned),
        total: done.map(|(_, total)| total),
        completed: done.map(|(done, _)| done),
    }
}

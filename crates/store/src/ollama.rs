//! Ollama's store: `manifests/HOST/NAMESPACE/MODEL/TAG` names layers, `blobs/sha256-...` are they.
//!
//! Layout and media types as in Ollama's sources, `manifest/` and `types/model/` (read 2026-11): newer
//! versions keep manifests in `manifests-v2`, as links to blobs, and may list several builds of a model
//! in one manifest.

use crate::inside::{check_inside, names_in, small_text};
use crate::names::{Digest, ModelName};
use crate::place_error::PlaceError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Larger than any manifest.
const MOST_MANIFEST: u64 = 4 << 20;
/// Larger than any licence, template or system prompt.
const MOST_TEXT: u64 = 1 << 20;
/// Where manifests lie, the newer place first.
const MANIFESTS: [&str; 2] = ["manifests-v2", "manifests"];
const LIST: &str = "application/vnd.ollama.manifest.list.v2+json";
/// In front of what a layer is.
const LAYER: &str = "application/vnd.ollama.image.";

/// A store of Ollama, as the folder that holds `manifests` and `blobs`.
#[derive(Debug, Clone)]
pub struct OllamaStore {
    root: PathBuf,
}

/// A model in it.
#[derive(Debug, Clone)]
pub struct OllamaModel {
    /// Its name.
    pub name: ModelName,
    /// The blob that is its GGUF file.
    pub path: PathBuf,
    /// What else belongs to it.
    pub layers: Layers,
}

/// What stands beside the weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers {
    /// What the model is told before anything else.
    pub system: Option<String>,
    /// Sampling and stop texts, by Ollama's names.
    pub parameters: Map<String, Value>,
    /// A template in Go's language, which is not run: the one in the GGUF file is.
    pub template: Option<String>,
    /// The first lines of each licence.
    pub licences: Vec<String>,
    /// Layers that are not used: `adapter`, `projector`, `messages` and others.
    pub unused: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    layers: Vec<Layer>,
    #[serde(default)]
    manifests: Vec<Child>,
}

/// One build of a model in a list of them: in place, or by its digest.
#[derive(Deserialize)]
struct Child {
    #[serde(default)]
    runner: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
}

/// One model being read: what messages need.
struct Reader<'s> {
    store: &'s OllamaStore,
    name: &'s ModelName,
    manifest: PathBuf,
}

impl OllamaStore {
    /// The store in this folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the models in it. Folders that cannot be names are left out.
    pub fn names(&self) -> Vec<ModelName> {
        let mut names = Vec::new();
        for manifests in MANIFESTS {
            for (host, path) in names_in(&self.root.join(manifests)) {
                for (namespace, path) in names_in(&path) {
                    for (model, path) in names_in(&path) {
                        for (tag, _) in names_in(&path) {
                            names.extend(ModelName::from_parts([&host, &namespace, &model, &tag]));
                        }
                    }
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// The model of this name; `None` where there is none.
    ///
    /// # Errors
    /// [`PlaceError`]: the manifest is damaged, or what it names is not there.
    pub fn model(&self, name: &ModelName) -> Result<Option<OllamaModel>, PlaceError> {
        let Some((name, manifest)) = self.find(name) else {
            return Ok(None);
        };
        let reader = Reader {
            store: self,
            name: &name,
            manifest,
        };
        let (path, layers) = reader.read()?;
        Ok(Some(OllamaModel { name, path, layers }))
    }

    /// The name as it is written here, and its manifest.
    fn find(&self, name: &ModelName) -> Option<(ModelName, PathBuf)> {
        let manifest = |name: &ModelName| {
            let mut paths = MANIFESTS
                .iter()
                .map(|folder| self.root.join(folder).join(name.path()));
            paths.find(|path| path.is_file() || path.is_symlink())
        };
        if let Some(path) = manifest(name) {
            return Some((name.clone(), path));
        }
        let alike = self.names().into_iter().find(|here| here.is(name))?;
        let path = manifest(&alike)?;
        Some((alike, path))
    }
}

impl Reader<'_> {
    fn wrong(&self, why: impl ToString) -> PlaceError {
        PlaceError::Manifest {
            path: self.manifest.clone(),
            why: why.to_string(),
            name: self.name.to_string(),
        }
    }

    fn read(&self) -> Result<(PathBuf, Layers), PlaceError> {
        let manifest = self.parse(&self.manifest)?;
        let layers = if manifest.media_type == LIST {
            self.one_of(manifest.manifests)?
        } else {
            manifest.layers
        };
        self.gather(&layers)
    }

    fn parse(&self, path: &Path) -> Result<Manifest, PlaceError> {
        check_inside(&self.store.root, path).map_err(|error| match error {
            PlaceError::Store(error) => self.wrong(error),
            other => other,
        })?;
        let text = small_text(path, MOST_MANIFEST).map_err(|error| self.wrong(error))?;
        let text = text.ok_or_else(|| self.wrong("it is not there"))?;
        serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("it is not a manifest ({error})")))
    }

    /// The build that is one GGUF file.
    fn one_of(&self, children: Vec<Child>) -> Result<Vec<Layer>, PlaceError> {
        let ours = |child: &Child| matches!(child.runner.as_str(), "ollama" | "llamacpp" | "");
        let Some(child) = children.into_iter().find(ours) else {
            return Err(self.wrong("it lists no build of the model that is a GGUF file"));
        };
        if child.digest.is_empty() {
            return Ok(child.layers);
        }
        let digest = Digest::parse(&child.digest).map_err(|error| self.wrong(error))?;
        Ok(self.parse(&self.blob(digest)?)?.layers)
    }

    /// Where a blob lies. Versions of 2023 wrote a colon into its name.
    fn blob(&self, digest: Digest) -> Result<PathBuf, PlaceError> {
        let blobs = self.store.root.join("blobs");
        let old = blobs.join(digest.to_string());
        let path = blobs.join(digest.blob_name());
        let path = if !path.exists() && old.exists() {
            old
        } else {
            path
        };
        if !path.exists() {
            return Err(self.wrong(format!("its blob {} is not there", digest.blob_name())));
        }
        check_inside(&self.store.root, &path)?;
        Ok(path)
    }

    fn gather(&self, layers: &[Layer]) -> Result<(PathBuf, Layers), PlaceError> {
        let mut model = None;
        let mut found = Layers::default();
        let mut tensors = false;
        for layer in layers {
            // Every digest is checked, also of layers that are not used.
            let digest = Digest::parse(&layer.digest).map_err(|error| self.wrong(error))?;
            let Some(kind) = layer.media_type.strip_prefix(LAYER) else {
                continue;
            };
            match kind {
                "model" if model.is_none() => model = Some(self.weights(digest, layer.size)?),
                "model" => return Err(self.unsupported("its weights lie in several blobs")),
                "system" => found.system = Some(self.text(digest)?),
                "template" => found.template = Some(self.text(digest)?),
                "params" => found.parameters = self.parameters(digest)?,
                "license" => found.licences.push(first_lines(&self.text(digest)?)),
                "tensor" => tensors = true,
                other if !found.unused.iter().any(|kind| kind == other) => {
                    found.unused.push(other.into())
                }
                _ => {}
            }
        }
        match model {
            Some(path) => Ok((path, found)),
            None if tensors => {
                Err(self.unsupported("it is stored tensor by tensor, not as a GGUF file"))
            }
            None => Err(self.unsupported(
                "its manifest names no weights; it may run elsewhere than on this machine",
            )),
        }
    }

    fn unsupported(&self, why: &str) -> PlaceError {
        PlaceError::Unsupported {
            name: self.name.to_string(),
            why: why.to_owned(),
        }
    }

    fn weights(&self, digest: Digest, size: u64) -> Result<PathBuf, PlaceError> {
        let path = self.blob(digest)?;
        let have = path
            .metadata()
            .map_err(|error| crate::StoreError::io(&path, error))?
            .len();
        // A manifest may not say how long a layer is.
        if have != size && size != 0 {
            return Err(PlaceError::CutShort {
                path,
                have,
                wanted: size,
                name: self.name.to_string(),
            });
        }
        Ok(path)
    }

    fn text(&self, digest: Digest) -> Result<String, PlaceError> {
        let path = self.blob(digest)?;
        let text = small_text(&path, MOST_TEXT)
            .map_err(|error| self.wrong(format!("its blob {}: {error}", digest.blob_name())))?;
        Ok(text.unwrap_or_default())
    }

    fn parameters(&self, digest: Digest) -> Result<Map<String, Value>, PlaceError> {
        let text = self.text(digest)?;
        serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("its parameters are not JSON ({error})")))
    }
}

/// Enough of a licence to know which one it is.
fn first_lines(text: &str) -> String {
    const LINES: usize = 2;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first: Vec<String> = lines
        .take(LINES)
        .map(|line| line.chars().take(100).collect())
        .collect();
    first.join(", ")
}

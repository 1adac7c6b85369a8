//! Hugging Face folders: config.json, a tokenizer, and weights in one safetensors file or several.
//!
//! What the folder's files mean is for `formats` to say; here they are found and read. Weights stay
//! where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use ingle_formats::huggingface::{self, Texts};
use ingle_formats::safetensors::{Header, Tensor};

use crate::assembled::Assembled;
use crate::files::OpenOptions;
use crate::part::Part;
use crate::{ModelFiles, StoreError};

/// The file that says what a folder holds.
const CONFIG: &str = "config.json";
/// Weights in one file.
const SINGLE: &str = "model.safetensors";
/// Which of several files holds which tensor.
const INDEX: &str = "model.safetensors.index.json";
/// The largest file that is read whole; the largest vocabularies have about 40 MB.
const MAX_TEXT: u64 = 256 << 20;
/// Files that are kept open for one model.
const MAX_SHARDS: usize = 512;

/// The folder that a path means: a directory, or one of the files of a model in it.
pub(crate) fn of(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.into());
    }
    let name = path.file_name()?.to_str()?;
    let is_part = name == CONFIG || name == INDEX || name.ends_with(".safetensors");
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or_else(|| Path::new("."));
    (is_part && path.is_file()).then(|| folder.into())
}

/// Whether a folder holds a model of this kind.
pub(crate) fn is_model(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has(CONFIG) && (has(SINGLE) || has(INDEX))
}

/// Opens the model in a folder.
pub(crate) fn open(folder: PathBuf, options: OpenOptions) -> Result<ModelFiles, StoreError> {
    let Some(config) = read(&folder.join(CONFIG))? else {
        return Err(StoreError::NoConfig { path: folder });
    };
    let texts = texts(&folder, config)?;
    let mut parts = Vec::new();
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut file_of: Vec<usize> = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (path, wanted) in weight_files(&folder)? {
        let part = Part::open(&path, options.io)?;
        let header = read_header(&part)?;
        for tensor in header.tensors {
            if let Some(&first) = names.get(&tensor.name) {
                return Err(StoreError::DuplicateTensor {
                    name: tensor.name,
                    first: parts
                        .get(first)
                        .map_or(String::new(), |part: &Part| part.name.clone()),
                    second: part.name,
                });
            }
            names.insert(tensor.name.clone(), parts.len());
            tensors.push(tensor);
            file_of.push(parts.len());
        }
        if let Some(name) = wanted
            .into_iter()
            .find(|name| names.get(name) != Some(&parts.len()))
        {
            let what = format!(
                "it places tensor `{}` in {}, which has none of this name",
                name.escape_debug(),
                part.name
            );
            return Err(StoreError::Index {
                path: folder.join(INDEX),
                what,
            });
        }
        parts.push(part);
    }
    let failed = |error| StoreError::HuggingFace {
        path: folder.clone(),
        error: Box::new(error),
    };
    let converted = huggingface::convert(&name_of(&folder), &texts, &tensors).map_err(failed)?;
    let mut assembled = Vec::with_capacity(converted.tensors.len());
    for recipe in converted.tensors {
        let info = recipe.info;
        let made = Assembled::new(info.ty, recipe.parts, &tensors, &file_of)
            .filter(|made| made.byte_len() == info.byte_len);
        let Some(made) = made else {
            return Err(StoreError::Index {
                path: folder,
                what: format!("tensor `{}` cannot be put together", info.name),
            });
        };
        assembled.push((info, made));
    }
    ModelFiles::from_folder(parts, converted.metadata, assembled, options)
}

fn read_header(part: &Part) -> Result<Header, StoreError> {
    Header::read(&mut part.reader(), part.stamp.len).map_err(|error| StoreError::Safetensors {
        file: part.name.clone(),
        error: Box::new(error),
    })
}

/// A small file; `None` where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |error| StoreError::io(path, error);
    let len = match path.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(StoreError::NotAFile { path: path.into() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if len > MAX_TEXT {
        let limit = MAX_TEXT;
        return Err(StoreError::TooLong {
            path: path.into(),
            len,
            limit,
        });
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_TEXT)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Some(bytes))
}

fn texts(folder: &Path, config: Vec<u8>) -> Result<Texts, StoreError> {
    let get = |name: &str| read(&folder.join(name));
    let tokenizer = get("tokenizer.json")?;
    // Each is large, and the first that there is holds all of it.
    let sentencepiece = match &tokenizer {
        None => get("tokenizer.model")?,
        Some(_) => None,
    };
    Ok(Texts {
        config,
        generation_config: get("generation_config.json")?,
        tokenizer_config: get("tokenizer_config.json")?,
        special_tokens_map: get("special_tokens_map.json")?,
        vocab: get("vocab.txt")?,
        chat_template: get("chat_template.jinja")?,
        modules: get("modules.json")?,
        pooling: get("1_Pooling/config.json")?,
        tokenizer,
        sentencepiece,
    })
}

/// The files that hold weights, each with the tensors that the index places there.
fn weight_files(folder: &Path) -> Result<Vec<(PathBuf, Vec<String>)>, StoreError> {
    let single = folder.join(SINGLE);
    if single.is_file() {
        return Ok(vec![(single, Vec::new())]);
    }
    let path = folder.join(INDEX);
    let Some(text) = read(&path)? else {
        let pickled = folder.join("pytorch_model.bin").is_file()
            || folder.join("pytorch_model.bin.index.json").is_file();
        return Err(StoreError::NoWeights {
            path: folder.into(),
            pickled,
        });
    };
    let wrong = |what: String| StoreError::Index {
        path: path.clone(),
        what,
    };
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in index.weight_map {
        files.entry(file).or_default().push(tensor);
    }
    if files.is_empty() || files.len() > MAX_SHARDS {
        return Err(wrong(format!(
            "it names {} files, and 1 to {MAX_SHARDS} are opened",
            files.len()
        )));
    }
    if let Some(name) = files.keys().find(|name| !is_file_name(name)) {
        return Err(wrong(format!(
            "`{}` is not the name of a safetensors file beside it",
            name.escape_debug()
        )));
    }
    let missing: BTreeSet<PathBuf> = files
        .keys()
        .map(|name| folder.join(name))
        .filter(|path| !path.exists())
        .collect();
    if !missing.is_empty() {
        return Err(StoreError::MissingParts {
            count: files.len() as u32,
            missing: missing.into_iter().collect(),
        });
    }
    Ok(files
        .into_iter()
        .map(|(name, tensors)| (folder.join(name), tensors))
        .collect())
}

/// A name that leads to no other folder.
fn is_file_name(name: &str) -> bool {
    name.ends_with(".safetensors")
        && !name.starts_with('.')
        && !name.contains(['/', '\\', ':', '\0'])
}

/// The folder's own name; in the cache of Hugging Face, where folders are named by commits, that of the
/// repository.
fn name_of(folder: &Path) -> String {
    let full = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let parent = full.parent();
    if parent.and_then(name).as_deref() == Some("snapshots")
        && let Some(cached) = parent.and_then(Path::parent).and_then(name)
        && let Some((_, repository)) = cached.rsplit_once("--")
    {
        return repository.to_owned();
    }
    name(&full).unwrap_or_else(|| "model".to_owned())
}

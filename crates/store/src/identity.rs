//! What tells a model from every other one without reading all of it.

use crate::ModelFiles;
use ingle_formats::gguf::{Array, Value};
use ingle_tensor::WeightSource;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Bytes of each end of a tensor that are looked at.
const SAMPLE: u64 = 256;
/// Of what is longer than this only that is told, or the beginning: a vocabulary or a template is not what
/// keys and values depend on.
const LONG: usize = 4096;

impl ModelFiles {
    /// A digest that another one has if anything that is computed with the model may be different: of its
    /// metadata, the names, types and shapes of its tensors, both ends of each, and of its files who they
    /// are and when they were last changed. Reading all of a large model would take longer than what it is
    /// for ([`crate::pages`]) may save; so a copy of a file is another model.
    pub fn identity(&self) -> [u8; 32] {
        self.digest(true)
    }

    /// The same without its files: a copy is the same model. For what may be wrong where somebody has changed
    /// a weight and nothing else about a model.
    pub fn likeness(&self) -> [u8; 32] {
        self.digest(false)
    }

    fn digest(&self, files: bool) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for (key, value) in self.metadata().iter() {
            text(key);
            text(&short(value));
        }
        let quantised = self.quantised_to().map(|q| q.to_string());
        text(&quantised.unwrap_or_default());
        for path in self.paths().filter(|_| files) {
            text(&who(path));
        }
        for tensor in self.tensors() {
            let (name, shape) = (&tensor.name, &tensor.shape);
            text(&format!(
                "{name} {shape:?} {:?} {}",
                tensor.ty, tensor.byte_len
            ));
        }
        if self.quantised_to().is_none() {
            self.sample(&mut hash);
        }
        hash.finalize().into()
    }

    /// Both ends of each tensor. What cannot be read says nothing, and loading will say why.
    fn sample(&self, hash: &mut Sha256) {
        let mut bytes = [0; SAMPLE as usize];
        for tensor in self.tensors() {
            let n = tensor.byte_len.min(SAMPLE);
            for offset in [0, tensor.byte_len - n] {
                let Some(bytes) = usize::try_from(n).ok().and_then(|n| bytes.get_mut(..n)) else {
                    continue;
                };
                if self.read(&tensor.name, offset, bytes).is_ok() {
                    hash.update(&*bytes);
                }
            }
        }
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Array(Array::Strings(_)) => "texts".into(),
        Value::Array(Array::F32(values)) if values.len() > LONG => {
            format!("{} numbers", values.len())
        }
        Value::Array(Array::I32(values)) if values.len() > LONG => {
            format!("{} numbers", values.len())
        }
        Value::String(text) => text.chars().take(LONG).collect(),
        value => format!("{value:?}"),
    }
}

#[cfg(unix)]
fn who(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(is) = std::fs::metadata(path) else {
        return String::new();
    };
    let (changed, modified) = ((is.ctime(), is.ctime_nsec()), (is.mtime(), is.mtime_nsec()));
    format!(
        "{} {} {} {modified:?} {changed:?}",
        is.dev(),
        is.ino(),
        is.size()
    )
}

#[cfg(not(unix))]
fn who(path: &Path) -> String {
    let is = std::fs::metadata(path);
    is.map_or(String::new(), |is| {
        format!("{} {:?}", is.len(), is.modified().ok())
    })
}

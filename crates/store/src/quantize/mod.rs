//! A model written in another precision: one GGUF file, made without ever holding the model in memory.
//!
//! [`Conversion::plan`] decides what becomes of each tensor and reads no weight; [`Conversion::write`]
//! does it, a few rows at a time on all threads of a pool. The file is whole or not there.
//!
//! The bytes written depend on the model, the recipe and the importance matrix, never on the number of
//! threads or the instruction set.

mod convert;
mod draft;
mod error;
mod mix;
mod recipe;

pub use error::QuantizeError;
pub use recipe::Recipe;

use crate::ModelFiles;
use convert::Worker;
use draft::Draft;
use ingle_formats::TensorType;
use ingle_formats::gguf::{Metadata, TensorInfo, Value, Writer};
use ingle_tensor::WeightSource;
use rayon::ThreadPool;
use std::ops::ControlFlow;
use std::path::Path;

/// `general.quantization_version`: the block layouts that `quant` has.
const QUANTIZATION_VERSION: u32 = 2;

/// What becomes of each tensor of a model.
pub struct Conversion<'a> {
    files: &'a ModelFiles,
    recipe: Recipe,
    /// For each tensor, in file order.
    types: Vec<TensorType>,
    fallbacks: usize,
}

impl<'a> Conversion<'a> {
    /// Decides. `requantise` allows weights that are quantised already to be quantised again.
    ///
    /// # Errors
    /// [`QuantizeError::NoWeights`], and [`QuantizeError::Quantised`] unless allowed; to F32 anything may
    /// go, because that loses nothing.
    pub fn plan(
        files: &'a ModelFiles,
        recipe: Recipe,
        requantise: bool,
    ) -> Result<Self, QuantizeError> {
        let tensors = files.tensors();
        if tensors.is_empty() {
            return Err(QuantizeError::NoWeights);
        }
        if recipe.needs_importance() {
            let recipe = recipe.name();
            return Err(QuantizeError::NeedsImportance { recipe });
        }
        let (types, fallbacks) = mix::assign(recipe, files.metadata(), tensors, false);
        let twice = |(tensor, ty): &(&TensorInfo, &TensorType)| {
            tensor.ty != **ty && tensor.ty.block_len() > 1 && **ty != TensorType::F32
        };
        let twice = tensors.iter().zip(&types).find(twice);
        if let Some((tensor, _)) = twice.filter(|_| !requantise) {
            return Err(QuantizeError::Quantised {
                name: tensor.name.clone(),
                ty: tensor.ty,
            });
        }
        Ok(Self {
            files,
            recipe,
            types,
            fallbacks,
        })
    }

    /// Each tensor with the type that it will have.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorInfo, TensorType)> {
        self.files.tensors().iter().zip(self.types.iter().copied())
    }

    /// How many tensors take another type than the recipe has for them, because their rows are not whole
    /// blocks of it.
    pub fn fallbacks(&self) -> usize {
        self.fallbacks
    }

    /// Bytes of all tensors when written.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = self.tensors().map(|(tensor, ty)| bytes_as(tensor, ty));
        bytes.fold(0, u64::saturating_add)
    }

    /// Writes the file; answers its bytes. `go_on` is told the bytes of tensors read so far and may stop
    /// the work.
    ///
    /// # Errors
    /// [`QuantizeError`]; there is then no new file.
    pub fn write(
        &self,
        out: &Path,
        replace: bool,
        pool: &ThreadPool,
        go_on: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64, QuantizeError> {
        if let Some(path) = self.files.paths().find(|path| same_file(path, out)) {
            return Err(QuantizeError::Same { path: path.into() });
        }
        let writer = self.tensors().fold(self.writer(), |writer, (tensor, ty)| {
            writer.tensor(&tensor.name, &tensor.shape, ty)
        });
        let header = writer.header()?;
        let mut bytes = header.len() as u64;
        for (tensor, ty) in self.tensors() {
            let len = bytes_as(tensor, ty);
            let padded = len.saturating_add(writer.padding(len)?);
            bytes = bytes.saturating_add(padded);
        }
        let mut draft = Draft::new(out, bytes, replace)?;
        draft.write(&header)?;
        let mut worker = Worker::new(self.files, pool, go_on);
        for (tensor, ty) in self.tensors() {
            worker.convert(tensor, ty, &mut draft)?;
            let padding = writer.padding(bytes_as(tensor, ty))?;
            draft.write(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
        }
        draft.publish()?;
        Ok(bytes)
    }

    /// The metadata of the new file: those of the old one, with its new type, and not the parts in which
    /// the old one lay.
    fn writer(&self) -> Writer {
        let new = [
            ("general.quantization_version", QUANTIZATION_VERSION),
            ("general.file_type", self.recipe.file_type()),
        ];
        let metadata: &Metadata = self.files.metadata();
        let kept = metadata
            .iter()
            .filter(|(key, _)| !key.starts_with("split."));
        let mut writer = kept.fold(Writer::new(), |writer, (key, value)| {
            let changed = new.iter().find(|(name, _)| *name == key);
            match changed {
                Some((_, number)) => writer.pair(key, *number),
                None => writer.pair(key, Value::clone(value)),
            }
        });
        for (key, number) in new {
            if metadata.get(key).is_none() {
                writer = writer.pair(key, number);
            }
        }
        writer
    }
}

/// Bytes of a tensor stored as `ty`; [`mix`] gives only types that fit its rows.
fn bytes_as(tensor: &TensorInfo, ty: TensorType) -> u64 {
    let elements = tensor.shape.iter().product();
    ty.byte_len(elements).unwrap_or(u64::MAX)
}

/// Whether two names lead to one file.
fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (a.metadata(), b.metadata()) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

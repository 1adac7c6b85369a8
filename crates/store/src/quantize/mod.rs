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
mod imatrix;
mod mix;
mod recipe;

pub use error::QuantizeError;
pub use imatrix::{ImatrixError, read_imatrix, write_imatrix};
pub use recipe::Recipe;

use crate::ModelFiles;
use convert::Worker;
use draft::Draft;
use ingle_formats::TensorType;
use ingle_formats::gguf::{Metadata, TensorInfo, Value, Writer};
use ingle_tensor::WeightSource;
use ingle_tensor::importance::{ColumnSums, Importance};
use ingle_tensor::quant::Encoder;
use rayon::ThreadPool;
use std::ops::ControlFlow;
use std::path::Path;

/// `general.quantization_version`: the block layouts that `quant` has.
const QUANTIZATION_VERSION: u32 = 2;

/// What the work is done with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The threads.
    pub pool: &'a ThreadPool,
    /// Makes the blocks.
    pub encoder: Encoder,
}

/// What becomes of each tensor of a model.
pub struct Conversion<'a> {
    files: &'a ModelFiles,
    recipe: Recipe,
    importance: Option<&'a Importance>,
    /// For each tensor, in file order.
    types: Vec<TensorType>,
    fallbacks: usize,
}

impl<'a> Conversion<'a> {
    /// Decides. `requantise` allows weights that are quantised already to be quantised again;
    /// `importance` is what is known of the columns of some or all matrices.
    ///
    /// # Errors
    /// [`QuantizeError::NoWeights`], [`QuantizeError::NeedsImportance`], [`QuantizeError::ImportanceShape`],
    /// and [`QuantizeError::Quantised`] unless allowed; to F32 anything may go, because that loses nothing.
    pub fn plan(
        files: &'a ModelFiles,
        recipe: Recipe,
        requantise: bool,
        importance: Option<&'a Importance>,
    ) -> Result<Self, QuantizeError> {
        let tensors = files.tensors();
        if tensors.is_empty() {
            return Err(QuantizeError::NoWeights);
        }
        if recipe.needs_importance() && importance.is_none() {
            let recipe = recipe.name();
            return Err(QuantizeError::NeedsImportance { recipe });
        }
        let (types, fallbacks) =
            mix::assign(recipe, files.metadata(), tensors, importance.is_some());
        for tensor in tensors {
            if let Some(sums) = importance.and_then(|all| all.get(&tensor.name)) {
                check_shape(tensor, sums)?;
            }
        }
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
            importance,
            types,
            fallbacks,
        })
    }

    /// The recipe.
    pub fn recipe(&self) -> Recipe {
        self.recipe
    }

    /// Whether something is known of the columns.
    pub fn has_importance(&self) -> bool {
        self.importance.is_some()
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

    /// How many tensors will be stored with their columns' importance in view.
    pub fn weighted(&self) -> usize {
        let known = |(tensor, ty): &(&TensorInfo, TensorType)| {
            let sums = self.importance.and_then(|all| all.get(&tensor.name));
            ty.block_len() > 1 && *ty != tensor.ty && sums.is_some()
        };
        self.tensors().filter(known).count()
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
        tools: Tools<'_>,
        go_on: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64, QuantizeError> {
        self.check_target(out, replace)?;
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
        let mut worker = Worker::new(self.files, tools, go_on);
        for (tensor, ty) in self.tensors() {
            let sums = self.importance.and_then(|all| all.get(&tensor.name));
            worker.convert(tensor, ty, sums, &mut draft)?;
            let padding = writer.padding(bytes_as(tensor, ty))?;
            draft.write(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
        }
        draft.publish()?;
        Ok(bytes)
    }

    /// Whether [`Self::write`] may write there: to be asked before long work.
    ///
    /// # Errors
    /// [`QuantizeError`]: it is a file of this model, or is there and not to be replaced, or cannot be made.
    pub fn check_target(&self, out: &Path, replace: bool) -> Result<(), QuantizeError> {
        if let Some(path) = self.files.paths().find(|path| same_file(path, out)) {
            return Err(QuantizeError::Same { path: path.into() });
        }
        Draft::new(out, 0, replace).map(drop)
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

/// Whether importance is of a tensor of this shape.
fn check_shape(tensor: &TensorInfo, sums: &ColumnSums) -> Result<(), QuantizeError> {
    let columns = tensor.shape.first().copied().unwrap_or(1);
    let matrices: u64 = tensor.shape.iter().skip(2).product();
    let found = (sums.columns() as u64, sums.counts().len() as u64);
    if found == (columns, matrices) {
        return Ok(());
    }
    Err(QuantizeError::ImportanceShape {
        name: tensor.name.clone(),
        found: sums.sums().len(),
        wanted: columns.saturating_mul(matrices),
    })
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

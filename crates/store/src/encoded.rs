//! Weights that are quantised while they are read: what is asked for is made of what is stored, a piece at a
//! time, and neither is kept.

use ingle_formats::TensorType;
use ingle_formats::gguf::{Metadata, TensorInfo, Value};
use ingle_tensor::{SourceError, quant};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::ModelFiles;
use crate::quantize::{Conversion, QuantizeError, Recipe};

/// Elements that are in memory at once, as stored and as f32.
const CHUNK: u64 = 1 << 20;
/// Elements that a thread takes at once; a multiple of every block length.
const PIECE: usize = 1 << 14;

/// The tensors as they are stored, and the threads that convert.
pub(crate) struct Encoded {
    /// For each tensor of the model.
    stored: Vec<TensorInfo>,
    /// Absent where the system gives no threads: then the reader's own works alone.
    pool: Option<ThreadPool>,
    recipe: Recipe,
}

impl ModelFiles {
    /// The same model, whose tensors appear quantised as `recipe` says: each range is made of the stored
    /// weights when it is read, by `threads` threads. The bytes are those that a file quantised so has.
    ///
    /// # Errors
    /// [`QuantizeError`] where the weights are quantised already, or the recipe needs more than weights.
    pub fn quantised(mut self, recipe: Recipe, threads: usize) -> Result<Self, QuantizeError> {
        let types: Vec<TensorType> = {
            let plan = Conversion::plan(&self, recipe, false, None)?;
            plan.tensors().map(|(_, ty)| ty).collect()
        };
        let stored = self.tensors.clone();
        for (tensor, ty) in self.tensors.iter_mut().zip(types) {
            let elements = tensor.shape.iter().product();
            if let Some(byte_len) = ty.byte_len(elements) {
                (tensor.ty, tensor.byte_len) = (ty, byte_len);
            }
        }
        let named = |metadata: &Metadata| {
            let pairs = metadata.iter().map(|(key, value)| match key {
                "general.file_type" => (key.to_owned(), Value::U32(recipe.file_type())),
                _ => (key.to_owned(), value.clone()),
            });
            Metadata::from_pairs(pairs).ok()
        };
        if let Some(metadata) = named(&self.metadata) {
            self.metadata = metadata;
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
        self.encoded = Some(Encoded {
            stored,
            pool: pool.ok(),
            recipe,
        });
        Ok(self)
    }

    /// What the weights are quantised to while they are read, where that was asked for.
    pub fn quantised_to(&self) -> Option<Recipe> {
        self.encoded.as_ref().map(|encoded| encoded.recipe)
    }
}

/// Reads bytes of a stored tensor from an offset on.
type Read<'a> = dyn Fn(u64, &mut [u8]) -> Result<(), SourceError> + 'a;

impl Encoded {
    /// The tensor with this index as it is stored.
    pub(crate) fn stored(&self, index: usize) -> Option<&TensorInfo> {
        self.stored.get(index)
    }

    /// Fills `into` with the bytes of `tensor` from `offset` on. The range lies in the tensor.
    pub(crate) fn read(
        &self,
        stored: &TensorInfo,
        tensor: &TensorInfo,
        offset: u64,
        into: &mut [u8],
        read: &Read<'_>,
    ) -> Result<(), SourceError> {
        let (block_len, block_bytes) = (
            u64::from(tensor.ty.block_len()),
            u64::from(tensor.ty.block_bytes()),
        );
        let elements: u64 = tensor.shape.iter().product();
        let mut done = 0_usize;
        while done < into.len() {
            let at = offset + done as u64;
            let first = at / block_bytes * block_len;
            let end = offset + into.len() as u64;
            let wanted = end.div_ceil(block_bytes).saturating_mul(block_len) - first;
            let n = wanted.min(CHUNK).min(elements - first);
            let bytes = |n| usize::try_from(stored.ty.byte_len(n).unwrap_or(0)).unwrap_or(0);
            let mut raw = vec![0; bytes(n)];
            read(stored.ty.byte_len(first).unwrap_or(0), &mut raw)?;
            let made = self.convert(stored, tensor.ty, &raw, n)?;
            let skip = usize::try_from(at % block_bytes).unwrap_or(0);
            let rest = into.get_mut(done..).unwrap_or_default();
            let made = made.get(skip..).unwrap_or_default();
            rest.iter_mut()
                .zip(made)
                .for_each(|(out, byte)| *out = *byte);
            done = done.saturating_add(made.len().max(1));
        }
        Ok(())
    }

    fn convert(
        &self,
        stored: &TensorInfo,
        ty: TensorType,
        raw: &[u8],
        n: u64,
    ) -> Result<Vec<u8>, SourceError> {
        let bytes =
            |ty: TensorType, n: u64| usize::try_from(ty.byte_len(n).unwrap_or(0)).unwrap_or(0);
        let mut made = vec![0; bytes(ty, n)];
        let piece = |(from, to): (&[u8], &mut [u8])| {
            let n = from.len() / stored.ty.block_bytes() as usize * stored.ty.block_len() as usize;
            let mut values = vec![0.0; n];
            quant::decode(stored.ty, from, &mut values)?;
            quant::encode(ty, &values, to)
        };
        let from = raw.par_chunks(bytes(stored.ty, PIECE as u64).max(1));
        let to = made.par_chunks_mut(bytes(ty, PIECE as u64).max(1));
        let outcome = match &self.pool {
            Some(pool) => pool.install(|| from.zip(to).try_for_each(piece)),
            None => piece((raw, &mut made)),
        };
        match outcome {
            Ok(()) => Ok(made),
            Err(error) => Err(SourceError::Read {
                name: stored.name.clone(),
                file: "the stored weights".to_owned(),
                offset: stored.offset,
                error: std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()),
            }),
        }
    }
}

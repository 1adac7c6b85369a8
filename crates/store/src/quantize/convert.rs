//! One tensor after the other, a few rows at a time.

use super::QuantizeError;
use super::draft::Draft;
use crate::ModelFiles;
use ingle_formats::TensorType;
use ingle_formats::gguf::TensorInfo;
use ingle_tensor::{WeightSource, quant};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::ops::ControlFlow;

/// Elements that are in memory at once, about.
const CHUNK: usize = 1 << 22;
/// Elements that a thread takes at once, about; longer rows are cut. A multiple of every block length.
const PIECE: usize = 1 << 14;

/// Reads, converts and writes tensors; holds the buffers for that.
pub(super) struct Worker<'a> {
    files: &'a ModelFiles,
    pool: &'a ThreadPool,
    go_on: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    /// Bytes read so far.
    done: u64,
    read: Vec<u8>,
    made: Vec<u8>,
}

/// A part of a row, or some whole rows.
struct Piece<'a> {
    /// Its first element in the tensor.
    start: u64,
    from: &'a [u8],
    to: &'a mut [u8],
    elements: usize,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        files: &'a ModelFiles,
        pool: &'a ThreadPool,
        go_on: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Self {
        Self {
            files,
            pool,
            go_on,
            done: 0,
            read: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Appends `tensor` to `draft` as `ty`.
    pub(super) fn convert(
        &mut self,
        tensor: &TensorInfo,
        ty: TensorType,
        draft: &mut Draft,
    ) -> Result<(), QuantizeError> {
        let elements: u64 = tensor.shape.iter().product();
        let mut start = 0_u64;
        while start < elements {
            let n = elements.saturating_sub(start).min(CHUNK as u64);
            let (from, bytes) = (bytes(tensor.ty, start), bytes(tensor.ty, n));
            self.read.resize(bytes as usize, 0);
            self.files.read(&tensor.name, from, &mut self.read)?;
            if tensor.ty == ty && ty.block_len() > 1 {
                draft.write(&self.read)?;
            } else {
                self.chunk(tensor, ty, start, n as usize)?;
                draft.write(&self.made)?;
            }
            start = start.saturating_add(n);
            self.done = self.done.saturating_add(bytes);
            if (self.go_on)(self.done).is_break() {
                return Err(QuantizeError::Stopped);
            }
        }
        Ok(())
    }

    /// Converts what was read: `n` elements from `start` on.
    fn chunk(
        &mut self,
        tensor: &TensorInfo,
        ty: TensorType,
        start: u64,
        n: usize,
    ) -> Result<(), QuantizeError> {
        self.made.resize(bytes(ty, n as u64) as usize, 0);
        let step = |ty: TensorType| bytes(ty, PIECE as u64) as usize;
        let pieces = self.read.par_chunks(step(tensor.ty));
        let pieces = pieces.zip(self.made.par_chunks_mut(step(ty)));
        let pieces = pieces.enumerate().map(|(i, (from, to))| Piece {
            start: start.saturating_add((i * PIECE) as u64),
            elements: n.saturating_sub(i * PIECE).min(PIECE),
            from,
            to,
        });
        let each = |values: &mut Vec<f32>, piece| piece_as(tensor, ty, values, piece);
        self.pool
            .install(|| pieces.map_init(Vec::new, each).collect())
    }
}

/// Bytes of the first `n` elements of a row of `ty`, which are whole blocks.
fn bytes(ty: TensorType, n: u64) -> u64 {
    ty.byte_len(n).unwrap_or(0)
}

fn piece_as(
    tensor: &TensorInfo,
    ty: TensorType,
    values: &mut Vec<f32>,
    piece: Piece<'_>,
) -> Result<(), QuantizeError> {
    let blocks = |error| QuantizeError::Blocks {
        name: tensor.name.clone(),
        error,
    };
    values.resize(piece.elements, 0.0);
    quant::decode(tensor.ty, piece.from, values).map_err(blocks)?;
    let limit = match ty {
        TensorType::F32 | TensorType::Bf16 => f32::MAX,
        _ => half::f16::MAX.to_f32(),
    };
    let beyond = |value: &f32| value.is_nan() || value.abs() > limit;
    if let Some(i) = values.iter().position(beyond) {
        return Err(QuantizeError::Value {
            name: tensor.name.clone(),
            index: piece.start.saturating_add(i as u64),
            value: values.get(i).copied().unwrap_or(f32::NAN),
            ty,
        });
    }
    quant::encode(ty, values, piece.to).map_err(blocks)
}

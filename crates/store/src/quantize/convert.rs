//! One tensor after the other, a few rows at a time.

use super::draft::Draft;
use super::{QuantizeError, Tools};
use crate::ModelFiles;
use ingle_formats::TensorType;
use ingle_formats::gguf::TensorInfo;
use ingle_tensor::importance::ColumnSums;
use ingle_tensor::quant::Encoder;
use ingle_tensor::{WeightSource, quant};
use rayon::prelude::*;
use std::ops::ControlFlow;

/// Elements that are in memory at once, about.
const CHUNK: usize = 1 << 22;
/// Elements that a thread takes at once, about; longer rows are cut. A multiple of every block length.
const PIECE: usize = 1 << 14;

/// Reads, converts and writes tensors; holds the buffers for that.
pub(super) struct Worker<'a> {
    files: &'a ModelFiles,
    tools: Tools<'a>,
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
        tools: Tools<'a>,
        go_on: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Self {
        Self {
            files,
            tools,
            go_on,
            done: 0,
            read: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Appends `tensor` to `draft` as `ty`; `sums` are what is known of its columns.
    pub(super) fn convert(
        &mut self,
        tensor: &TensorInfo,
        ty: TensorType,
        sums: Option<&ColumnSums>,
        draft: &mut Draft,
    ) -> Result<(), QuantizeError> {
        let elements: u64 = tensor.shape.iter().product();
        let job = Job {
            tensor,
            ty,
            columns: sums.map(|sums| Columns::new(tensor, sums)),
        };
        let mut start = 0_u64;
        while start < elements {
            let n = elements.saturating_sub(start).min(CHUNK as u64);
            let (from, bytes) = (bytes(tensor.ty, start), bytes(tensor.ty, n));
            self.read.resize(bytes as usize, 0);
            self.files.read(&tensor.name, from, &mut self.read)?;
            if tensor.ty == ty && ty.block_len() > 1 {
                draft.write(&self.read)?;
            } else {
                self.chunk(&job, start, n as usize)?;
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
    fn chunk(&mut self, job: &Job<'_>, start: u64, n: usize) -> Result<(), QuantizeError> {
        let (tensor, ty) = (job.tensor, job.ty);
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
        let encoder = self.tools.encoder;
        let each = |scratch: &mut Scratch, piece| job.piece(encoder, scratch, piece);
        self.tools
            .pool
            .install(|| pieces.map_init(Scratch::default, each).collect())
    }
}

/// Bytes of the first `n` elements of a row of `ty`, which are whole blocks.
fn bytes(ty: TensorType, n: u64) -> u64 {
    ty.byte_len(n).unwrap_or(0)
}

/// What becomes of one tensor.
struct Job<'a> {
    tensor: &'a TensorInfo,
    ty: TensorType,
    columns: Option<Columns>,
}

/// Numbers of a thread.
#[derive(Default)]
struct Scratch {
    values: Vec<f32>,
    importance: Vec<f32>,
}

impl Job<'_> {
    fn piece(
        &self,
        encoder: Encoder,
        scratch: &mut Scratch,
        piece: Piece<'_>,
    ) -> Result<(), QuantizeError> {
        let (tensor, ty) = (self.tensor, self.ty);
        let blocks = |error| QuantizeError::Blocks {
            name: tensor.name.clone(),
            error,
        };
        let values = &mut scratch.values;
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
        let importance = self.columns.as_ref().map(|columns| {
            columns.spread(piece.start, piece.elements, &mut scratch.importance);
            scratch.importance.as_slice()
        });
        encoder
            .encode(ty, values, importance, piece.to)
            .map_err(blocks)
    }
}

/// How much each column of the matrices of a tensor matters.
struct Columns {
    columns: usize,
    /// Elements of one matrix.
    matrix: u64,
    /// For each matrix; `None` where nothing is known.
    weights: Vec<Option<Vec<f32>>>,
}

impl Columns {
    fn new(tensor: &TensorInfo, sums: &ColumnSums) -> Self {
        Self {
            columns: sums.columns(),
            matrix: tensor.shape.iter().take(2).product(),
            weights: (0..sums.counts().len()).map(|i| sums.weights(i)).collect(),
        }
    }

    /// The importance of `n` elements from `start` on: that of a row, again and again.
    fn spread(&self, start: u64, n: usize, out: &mut Vec<f32>) {
        out.clear();
        while out.len() < n {
            let at = start.saturating_add(out.len() as u64);
            let column = (at % self.columns as u64) as usize;
            let len = self.columns.saturating_sub(column).min(n - out.len());
            let matrix = usize::try_from(at / self.matrix.max(1)).unwrap_or(usize::MAX);
            let weights = self.weights.get(matrix).and_then(Option::as_ref);
            match weights.and_then(|weights| weights.get(column..column.saturating_add(len))) {
                Some(weights) => out.extend_from_slice(weights),
                None => out.resize(out.len().saturating_add(len.max(1)), 1.0),
            }
        }
    }
}

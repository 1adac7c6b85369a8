//! Floor 2: the networks.
//!
//! One network, one file, written once against [`Ops`]. A network takes its weights from a
//! [`WeightSource`] and its shape from metadata; it knows no file, no text and no request.
//!
//! ```text
//! inspect(metadata, source, ops, rows) -> Needs      what it will take, before anything is read
//! load(metadata, source, ops, rows, context, progress)  -> Box<dyn Network<O>>
//! network.forward(ops, memory, batch, logits)
//! ```
#![forbid(unsafe_code)]

mod bert;
mod config;
mod encoder;
mod error;
mod gemma;
mod keys;
mod last_rows;
mod llama;
mod loader;
mod measure;
mod moe;
mod nomic_bert;
mod pass;
mod pooling;
mod qwen3;
mod qwen3_moe;
mod rope;

pub use error::ModelError;
pub use pass::{Lane, Part, Rows};
pub use pooling::Pooling;

use ingle_formats::gguf::Metadata;
use ingle_tensor::ops::{Batch, KvType, Ops, PagedLayer, RopePairs, Workload};
use ingle_tensor::{SourceError, WeightSource};
use keys::Keys;
use loader::Loader;
use measure::Measure;

/// The architectures that can be run, as `general.architecture` names them.
pub const ARCHITECTURES: &[&str] = &[
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3moe",
    "phi3",
    "granite",
    "smollm3",
    "gemma",
    "gemma2",
    "gemma3",
    "bert",
    "nomic-bert",
];

/// A network that is ready to run.
pub trait Network<O: Ops>: Send {
    /// Its outer shape.
    fn shape(&self) -> Shape;

    /// What each layer keeps for a position, in the order in which `forward` numbers layers.
    fn layers(&self) -> Vec<PagedLayer>;

    /// What the operations need beside the buffers, for batches of `max_rows` rows.
    fn workload(&self, max_rows: usize) -> Workload;

    /// Computes the batch's rows, stores their keys and values in `memory`, and replaces `logits`
    /// by those of the rows that the batch wants: `[outputs, n_vocab]`.
    ///
    /// The batch has at most as many rows as the network was loaded for, and its tokens lie in
    /// the vocabulary.
    ///
    /// # Errors
    /// As [`Self::forward_part`].
    fn forward(
        &mut self,
        ops: &mut O,
        memory: &mut O::Memory,
        batch: &Batch<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let whole = Part::whole(self.shape().n_layers);
        self.forward_part(ops, memory, batch, &whole, logits)
    }

    /// [`Self::forward`] for some of the layers. `batch` stays the same in all parts of a pass, but for
    /// rows that have left ([`Part::kept`]). There are logits behind the last part, none before. The
    /// bits are the same however a pass is cut.
    ///
    /// A network that is not causal computes all its layers whatever is asked for.
    ///
    /// # Errors
    /// Weights that are not held in memory could not be read. The pass is over, and nothing of the
    /// batch's rows may be used, neither `logits` nor what `memory` holds of them; earlier rows are as
    /// they were.
    fn forward_part(
        &mut self,
        ops: &mut O,
        memory: &mut O::Memory,
        batch: &Batch<'_>,
        part: &Part<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError>;

    /// What the output head reads, for all rows of the latest batch: `[rows, width]`. Only for a batch
    /// that asked for it ([`Batch::hidden`]).
    fn hidden(&self) -> &O::Buf;

    /// What the rows that a batch wants give; `logits` has as many numbers for each.
    fn head(&self) -> Head {
        Head::Vocabulary
    }

    /// Whether a row sees only those before it. Where it does not (encoders), all rows of a
    /// sequence must be in one batch, and nothing in `memory` outlasts that batch.
    fn is_causal(&self) -> bool {
        true
    }
}

/// What a network gives for a row that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A logit for each token of the vocabulary: it can write.
    Vocabulary,
    /// A logit for each of so many labels: a classifier, or a reranker.
    Labels(usize),
    /// Nothing but hidden rows.
    None,
}

/// The outer shape of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Tokens of the vocabulary.
    pub n_vocab: usize,
    /// Positions that the model was trained for.
    pub context_len: u32,
}

/// What a model will take, known before any weight is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// `general.architecture`.
    pub architecture: String,
    /// Its outer shape.
    pub shape: Shape,
    /// What each layer keeps for a position.
    pub layers: Vec<PagedLayer>,
    /// Positions up to which the model is as it was first trained. It is less than
    /// [`Shape::context_len`] where a longer context changes how all positions are turned
    /// (longrope), short texts included: a longer one should be asked for, not assumed.
    pub native_len: u32,
    /// Bytes of all weights once packed, those of experts included.
    pub weight_bytes: u64,
    /// Bytes of vectors once read, which are always held.
    pub vector_bytes: u64,
    /// Bytes once packed of tables of which single rows are taken, and which may stay on disk.
    pub table_bytes: u64,
    /// The mixtures of experts, which may stay on disk.
    pub mixtures: Vec<MixtureNeeds>,
    /// Bytes of the tensors in the file that will be read: the total of `load`'s progress.
    pub file_bytes: u64,
    /// Bytes of the buffers for a batch of the given size, and of what the operations keep.
    pub buffer_bytes: u64,
    /// What it gives for a row that is wanted.
    pub head: Head,
    /// Whether a row sees only those before it: see [`Network::is_causal`].
    pub causal: bool,
    /// How the file says that rows become one vector, if it does.
    pub pooling: Option<Pooling>,
    /// What a person should know before trusting the answers.
    pub warnings: Vec<String>,
}

/// What the experts of a layer take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixtureNeeds {
    /// Experts for a row.
    pub top_k: usize,
    /// Of each expert: its bytes in the file, and once packed.
    pub experts: Vec<ExpertNeeds>,
}

/// What an expert takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertNeeds {
    /// Bytes in the file.
    pub file_bytes: u64,
    /// Bytes once packed.
    pub packed_bytes: u64,
}

impl Needs {
    /// Every expert of every layer.
    pub fn experts(&self) -> impl Iterator<Item = ExpertNeeds> + '_ {
        self.mixtures.iter().flat_map(|m| &m.experts).copied()
    }

    /// Bytes of all weights once packed but those of experts and tables.
    pub fn resident_bytes(&self) -> u64 {
        let experts = self.experts().map(|expert| expert.packed_bytes);
        let on_disk = experts.fold(self.table_bytes, u64::saturating_add);
        self.weight_bytes.saturating_sub(on_disk)
    }

    /// Bytes of keys and values of one position, all layers.
    pub fn position_bytes(&self, kv: KvType) -> u64 {
        let rows = self.layers.iter().map(|layer| layer.row_bytes(kv) as u64);
        rows.fold(0, u64::saturating_add)
    }
}

/// Checks that the file can be run and says what that will take. Reads no weights.
///
/// # Errors
/// [`ModelError`]: there are no weights, the architecture is unknown, metadata are missing or make no sense, a tensor is
/// missing, has another shape than the metadata imply, or would not be used.
pub fn inspect<O: Ops>(
    metadata: &Metadata,
    source: &dyn WeightSource,
    ops: &O,
    rows: impl Into<Rows>,
) -> Result<Needs, ModelError> {
    let keys = Keys::new(metadata, source, 0)?;
    if source.tensors().is_empty() {
        return Err(ModelError::NoWeights);
    }
    let (rows, measure) = (rows.into(), Measure::default());
    let mut ignore = |_| {};
    let mut loader = Loader::new(&measure, &keys, rows, &mut ignore);
    let network = build(&mut loader)?;
    loader.refuse_unused()?;
    let file_bytes = loader.used_bytes();
    let matrices = measure.matrices.borrow();
    let matrices = matrices
        .iter()
        .map(|&(ty, r, c)| ops.matrix_bytes(ty, r, c));
    let workload = network.workload(rows.main.max(rows.side));
    let scratch_bytes = ops.scratch_bytes(&workload);
    let top_k = workload.experts.map_or(0, |experts| experts.top_k);
    let mixtures = measure.experts.borrow();
    let mixtures = mixtures.iter().map(|layer| MixtureNeeds {
        top_k,
        experts: layer
            .iter()
            .map(|expert| expert_needs(ops, expert))
            .collect(),
    });
    let mixtures: Vec<MixtureNeeds> = mixtures.collect();
    let experts = mixtures.iter().flat_map(|m| &m.experts);
    let tables = measure.tables.borrow();
    let tables = tables.iter().map(|&(ty, r, c)| ops.matrix_bytes(ty, r, c));
    let table_bytes = tables.fold(0, u64::saturating_add);
    let expert_bytes = experts.fold(0_u64, |sum, e| sum.saturating_add(e.packed_bytes));
    let context_len = network.shape().context_len;
    let native_len = rope::native_len(&keys)?.unwrap_or(context_len);
    Ok(Needs {
        architecture: keys.arch().to_owned(),
        shape: network.shape(),
        layers: network.layers(),
        native_len: native_len.min(context_len),
        weight_bytes: matrices
            .fold(measure.vector_bytes.get(), u64::saturating_add)
            .saturating_add(expert_bytes)
            .saturating_add(table_bytes),
        vector_bytes: measure.vector_bytes.get(),
        table_bytes,
        mixtures,
        file_bytes,
        buffer_bytes: measure.buffer_bytes.get().saturating_add(scratch_bytes),
        head: network.head(),
        causal: network.is_causal(),
        pooling: Pooling::read(&keys)?,
        warnings: keys.warnings(),
    })
}

fn expert_needs<O: Ops>(ops: &O, matrices: &[measure::Shape; 3]) -> ExpertNeeds {
    let packed = |&(ty, rows, columns): &measure::Shape| ops.matrix_bytes(ty, rows, columns);
    let stored = |&(ty, rows, columns): &measure::Shape| {
        let elements = (rows as u64).saturating_mul(columns as u64);
        ty.byte_len(elements).unwrap_or(0)
    };
    ExpertNeeds {
        file_bytes: matrices.iter().map(stored).fold(0, u64::saturating_add),
        packed_bytes: matrices.iter().map(packed).fold(0, u64::saturating_add),
    }
}

/// Loads the network that `general.architecture` names.
///
/// `rows` is the most rows that a batch will have, `context` the most positions that a
/// sequence will have (a few models turn positions differently beyond [`Needs::native_len`]); `progress` is told the bytes of
/// tensors loaded so far, out of [`Needs::file_bytes`].
///
/// # Errors
/// As [`inspect`], and where reading fails.
pub fn load<O: Ops + 'static>(
    metadata: &Metadata,
    source: &dyn WeightSource,
    ops: &O,
    rows: impl Into<Rows>,
    context: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<Box<dyn Network<O>>, ModelError> {
    let rows = rows.into();
    inspect(metadata, source, ops, rows)?; // all that can be wrong, before a long load
    let keys = Keys::new(metadata, source, context)?;
    build(&mut Loader::new(ops, &keys, rows, progress))
}

fn build<O: Ops + 'static>(loader: &mut Loader<'_, O>) -> Result<Box<dyn Network<O>>, ModelError> {
    Ok(match loader.keys.arch() {
        "llama" | "mistral" | "granite" | "smollm3" => {
            Box::new(llama::Llama::load(loader, RopePairs::Interleaved)?)
        }
        "qwen2" | "phi3" => Box::new(llama::Llama::load(loader, RopePairs::Halves)?),
        "qwen3" => Box::new(qwen3::Qwen3::load(loader)?),
        "qwen3moe" => Box::new(qwen3_moe::Qwen3Moe::load(loader)?),
        "gemma" | "gemma2" | "gemma3" => Box::new(gemma::Gemma::load(loader)?),
        "bert" => Box::new(bert::Bert::load(loader)?),
        "nomic-bert" => Box::new(nomic_bert::NomicBert::load(loader)?),
        other => {
            return Err(ModelError::Architecture {
                found: other.to_owned(),
                supported: ARCHITECTURES.join(", "),
            });
        }
    })
}

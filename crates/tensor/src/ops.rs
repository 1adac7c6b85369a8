//! The operations that a network is written in.
//!
//! A network is written once, against [`Ops`]; the CPU is one implementation of it ([`crate::cpu`]).
//! A network never sees the numbers of a [`Ops::Buf`]: only logits come back.

use crate::quant::QuantError;
use crate::{SourceError, WeightSource};
use ingle_formats::{TensorType, TokenId};

/// What a row of a batch stands for.
///
/// Embeddings with a digest (images, audio) will be another variant: prefix keys hash items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A token of the vocabulary.
    Token(TokenId),
    /// A token of the second text of a pair, which some encoders mark ("token type 1").
    Second(TokenId),
}

impl Item {
    /// The token of the vocabulary.
    pub const fn token(self) -> TokenId {
        match self {
            Self::Token(token) | Self::Second(token) => token,
        }
    }
}

/// One row of a batch: an item at a position of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the row stands for.
    pub item: Item,
    /// Position in the sequence, from 0.
    pub position: u32,
    /// Index into [`Batch::sequences`].
    pub sequence: u32,
}

/// A page of cached positions: [`PAGE_LEN`] positions of every paged layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

/// Positions in a page, and in a tile of attention (see the numerics class in ARCHITECTURE.md).
pub const PAGE_LEN: usize = 64;

/// The rows of one forward pass.
///
/// Rows of one sequence stand together, in ascending consecutive positions, and every earlier
/// position of that sequence is already in the cache.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// For each sequence its pages, in order of position; enough for the rows of this batch too.
    pub sequences: &'a [&'a [PageId]],
    /// Indices into `rows`, ascending, whose logits are wanted.
    pub outputs: &'a [u32],
    /// Whether the hidden rows of all rows are wanted, and not only the logits of `outputs`.
    pub hidden: bool,
}

/// A linear layer: `y = W x + b`. (Adapters will stand here beside the base.)
#[derive(Debug)]
pub struct Linear<O: Ops + ?Sized> {
    /// `[out, in]`
    pub weight: O::Matrix,
    /// `[out]`
    pub bias: Option<O::Vector>,
}

/// How positions turn the pairs of a head (RoPE, <https://arxiv.org/abs/2104.09864>).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which elements make a pair.
    pub pairs: RopePairs,
    /// Angle per position for each pair, radians: `[rotary_dim / 2]`, scaling already applied.
    pub frequencies: Vec<f32>,
    /// Factor on cosine and sine (YaRN's attention factor; 1 elsewhere).
    pub magnitude: f32,
}

/// Which two elements of a head a rotation turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// `(2i, 2i + 1)`: the `llama` files.
    Interleaved,
    /// `(i, i + rotary_dim / 2)`: NeoX, the Qwen files.
    Halves,
}

/// What an attention layer needs to know beside its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Factor on every score, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// A score becomes `cap * tanh(score / cap)` (Gemma 2, <https://arxiv.org/abs/2408.00118>,
    /// section 2).
    pub soft_cap: Option<f32>,
    /// A row at position p sees positions p - window + 1 to p; `None`: all up to p.
    pub window: Option<u32>,
    /// Where this is false a row sees as far ahead as it sees back, p + window - 1 or all; the
    /// batch then holds all rows of a sequence.
    pub causal: bool,
}

/// The function of a gate (<https://arxiv.org/abs/2002.05202>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`
    GeluTanh,
}

/// How a router's logits become experts and weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    /// Experts per row.
    pub top_k: usize,
    /// Divide the chosen experts' probabilities by their sum.
    pub renormalise: bool,
}

/// Where the experts of a layer lie: gated feed-forward networks.
#[derive(Clone, Debug)]
pub struct ExpertTensors {
    /// How many there are.
    pub n_experts: usize,
    /// Hidden width of each.
    pub ffn: usize,
    /// Width of what goes in and comes out.
    pub width: usize,
    /// `n_experts` matrices `[ffn, width]`
    pub gate: ExpertStack,
    /// `n_experts` matrices `[ffn, width]`
    pub up: ExpertStack,
    /// `n_experts` matrices `[width, ffn]`
    pub down: ExpertStack,
}

/// One matrix of each expert of a layer.
#[derive(Clone, Debug)]
pub enum ExpertStack {
    /// All in one tensor of shape `[columns, rows, n_experts]`.
    One(String),
    /// A tensor each, as files of early 2024 have them.
    Each(Vec<String>),
}

impl ExpertTensors {
    /// Gate, up and down, with the rows and the columns of each matrix.
    pub fn stacks(&self) -> [(&ExpertStack, usize, usize); 3] {
        [
            (&self.gate, self.ffn, self.width),
            (&self.up, self.ffn, self.width),
            (&self.down, self.width, self.ffn),
        ]
    }
}

/// How cached keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvType {
    /// IEEE half precision: 2 bytes an element.
    F16,
    /// 4 bytes an element.
    F32,
    /// Blocks of 32 elements of a head: 8 bits each and an f16 scale, 34 bytes.
    Q8_0,
    /// Blocks of 32 elements of a head: 4 bits each and an f16 scale, 18 bytes.
    Q4_0,
}

impl KvType {
    /// All of them, the usual one first.
    pub const ALL: [Self; 4] = [Self::F16, Self::F32, Self::Q8_0, Self::Q4_0];

    /// Its name, as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Elements that share a scale: a head is a multiple of that.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F16 | Self::F32 => 1,
            Self::Q8_0 | Self::Q4_0 => 32,
        }
    }

    /// Whether heads of so many elements can be stored in it.
    pub const fn holds(self, head_dim: usize) -> bool {
        head_dim.is_multiple_of(self.block_len())
    }

    /// Bytes of so many elements (whole blocks).
    pub const fn row_bytes(self, elements: usize) -> usize {
        match self {
            Self::F16 => 2 * elements,
            Self::F32 => 4 * elements,
            Self::Q8_0 => elements / 32 * 34,
            Self::Q4_0 => elements / 32 * 18,
        }
    }
}

impl std::fmt::Display for KvType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The keys and values that one layer keeps for each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagedLayer {
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl PagedLayer {
    /// Bytes of keys and values for one position.
    pub const fn row_bytes(self, kv: KvType) -> usize {
        let layout = crate::kernel::attention::Layout::new(kv, self.head_dim);
        self.n_kv_heads * (layout.head_bytes() / PAGE_LEN)
    }
}

/// The largest [`Attention::head_dim`].
pub use crate::kernel::attention::MAX_HEAD_DIM;

/// What the operations of a network need beside its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Rows of the largest batch.
    pub max_rows: usize,
    /// Elements of the widest row that a linear layer reads.
    pub widest: usize,
    /// Elements of a head that are turned by position, added up over the [`Rope`]s in use.
    pub rotary_dim: usize,
    /// The widest mixture of experts.
    pub experts: Option<ExpertWorkload>,
}

/// What a mixture of experts needs beside its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertWorkload {
    /// Experts of a layer.
    pub n_experts: usize,
    /// Experts per row.
    pub top_k: usize,
    /// Hidden width of an expert.
    pub ffn: usize,
    /// Width of what goes in and comes out.
    pub width: usize,
}

/// Why weights could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The tensor is not there.
    #[error(
        "the file has no tensor `{0}`, which this architecture needs; it may be incomplete: download it again"
    )]
    Missing(String),
    /// The tensor has another shape than the network's configuration says.
    #[error(
        "tensor `{name}` has shape {found:?} (columns first) where the metadata imply {expected:?}; the file is inconsistent: download it again"
    )]
    Shape {
        /// Which tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<u64>,
        /// The shape that the metadata imply.
        expected: Vec<u64>,
    },
    /// The blocks of the tensor could not be read.
    #[error("tensor `{name}`: {error}")]
    Blocks {
        /// Which tensor.
        name: String,
        /// What is wrong with them.
        error: QuantError,
    },
    /// Reading failed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// The operations that a network is written in.
///
/// A buffer holds as many rows as its maker allowed; each operation sets the number of rows of
/// its output to that of its input. Shapes are the caller's duty: they come from a checked
/// configuration.
///
/// Those that use matrices fail where these are not held in memory and could not be read; what they
/// were to compute is then not to be used, and everything else is as it was.
pub trait Ops: Send {
    /// Activations: f32 `[rows, width]`.
    type Buf: Send;
    /// A weight matrix `[out, in]`, packed as the leaf wants it; never changed.
    type Matrix: Send + Sync;
    /// A vector of f32 weights.
    type Vector: Send + Sync;
    /// The experts of a layer, held in memory or read while they are used.
    type Experts: Send + Sync;
    /// Pages of cached positions, all layers.
    type Memory: Send;

    /// A buffer for up to `max_rows` rows of `width` elements.
    fn buf(&self, max_rows: usize, width: usize) -> Self::Buf;
    /// `n_pages` pages of the given layers.
    fn memory(&self, layers: &[PagedLayer], kv: KvType, n_pages: usize) -> Self::Memory;
    /// All layers' keys and values of page `to` become those of page `from`.
    fn copy_page(&mut self, memory: &mut Self::Memory, from: PageId, to: PageId);
    /// Bytes of the keys and values of a page, all layers; 0 where pages cannot be taken out.
    fn page_bytes(&self, _memory: &Self::Memory) -> usize {
        0
    }
    /// The keys and values of a full page, layer after layer, into `bytes`, of which there are
    /// [`Ops::page_bytes`].
    fn take_page(&self, _memory: &Self::Memory, _page: PageId, _bytes: &mut [u8]) {}
    /// A page becomes what [`Ops::take_page`] took out of another.
    fn put_page(&mut self, _memory: &mut Self::Memory, _page: PageId, _bytes: &[u8]) {}
    /// What came of reading weights while they are used; `None` where all weights are in memory.
    fn reads(&self) -> Option<crate::cpu::Streamed> {
        None
    }

    /// Reads and packs the tensor `name` of shape `[columns, rows]`.
    fn load_matrix(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self::Matrix, LoadError>;
    /// As [`Ops::load_matrix`], for one that [`Ops::embed`] and [`Ops::rows`] alone take rows of: it may
    /// stay on disk.
    fn load_table(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self::Matrix, LoadError> {
        self.load_matrix(source, name, rows, columns)
    }
    /// Makes the experts of a layer ready: reads and packs them, or remembers where they lie.
    fn load_experts(
        &self,
        source: &dyn WeightSource,
        tensors: &ExpertTensors,
    ) -> Result<Self::Experts, LoadError>;
    /// Reads and packs a tensor of shape `[columns, sum of rows]` as matrices of so many rows,
    /// one after the other.
    fn load_parts(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: &[usize],
        columns: usize,
    ) -> Result<Vec<Self::Matrix>, LoadError>;
    /// Reads the tensor `name` of `len` elements as f32.
    fn load_vector(
        &self,
        source: &dyn WeightSource,
        name: &str,
        len: usize,
    ) -> Result<Self::Vector, LoadError>;
    /// Bytes at most that the operations keep for themselves while a network runs.
    fn scratch_bytes(&self, workload: &Workload) -> u64;
    /// Bytes that a matrix of this type and shape takes once packed.
    fn matrix_bytes(&self, ty: TensorType, rows: usize, columns: usize) -> u64;

    /// `out = table[index]` for each index.
    fn rows(
        &mut self,
        table: &Self::Matrix,
        indices: &[u32],
        out: &mut Self::Buf,
    ) -> Result<(), SourceError>;
    /// `out = x[index]` for each index.
    fn select(&mut self, x: &Self::Buf, indices: &[u32], out: &mut Self::Buf);
    /// The rows of `table` that the batch's items name.
    fn embed(
        &mut self,
        table: &Self::Matrix,
        batch: &Batch<'_>,
        out: &mut Self::Buf,
    ) -> Result<(), SourceError>;
    /// `out = x / rms(x) * weight` by row (<https://arxiv.org/abs/1910.07467>).
    fn rms_norm(&mut self, x: &Self::Buf, weight: &Self::Vector, eps: f32, out: &mut Self::Buf);
    /// `x = (x - mean) / sqrt(variance + eps) * weight + bias` by row
    /// (<https://arxiv.org/abs/1607.06450>).
    fn layer_norm(
        &mut self,
        x: &mut Self::Buf,
        weight: &Self::Vector,
        bias: &Self::Vector,
        eps: f32,
    );
    /// RMS norm of each head of `head_dim` elements by itself, in place.
    fn rms_norm_heads(
        &mut self,
        x: &mut Self::Buf,
        weight: &Self::Vector,
        eps: f32,
        head_dim: usize,
    );
    /// Several linear layers on one input: each pair's buffer gets `W x + b`.
    fn linear(
        &mut self,
        x: &Self::Buf,
        layers: &mut [(&Linear<Self>, &mut Self::Buf)],
    ) -> Result<(), SourceError>;
    /// `x *= factor`
    fn scale(&mut self, x: &mut Self::Buf, factor: f32);
    /// `x += y`
    fn add(&mut self, x: &mut Self::Buf, y: &Self::Buf);
    /// Turns every head of `x` by its row's position.
    fn rope(&mut self, x: &mut Self::Buf, rope: &Rope, head_dim: usize, batch: &Batch<'_>);
    /// Stores `k` and `v` of the batch's rows in `layer`, then attends from `q` to all that each
    /// row may see, as stored.
    #[allow(clippy::too_many_arguments, reason = "the operands of attention")]
    fn attention(
        &mut self,
        spec: &Attention,
        layer: usize,
        memory: &mut Self::Memory,
        q: &Self::Buf,
        k: &Self::Buf,
        v: &Self::Buf,
        batch: &Batch<'_>,
        out: &mut Self::Buf,
    );
    /// `x = x * Phi(x)`, with the exact normal distribution (<https://arxiv.org/abs/1606.08415>).
    fn gelu(&mut self, x: &mut Self::Buf);
    /// `x = tanh(x)`
    fn tanh(&mut self, x: &mut Self::Buf);
    /// `gate = activation(gate) * up`
    fn gate(&mut self, activation: Activation, gate: &mut Self::Buf, up: &Self::Buf);
    /// Says that `experts`, routed to by `router`, come next, for rows that will be like those of `x`
    /// after the norm: what lies on disk may be read meanwhile. It changes no result.
    fn foresee(
        &mut self,
        routing: &Routing,
        router: &Self::Matrix,
        experts: &Self::Experts,
        x: &Self::Buf,
        norm: (&Self::Vector, f32),
    );
    /// Routes each row by `router` (`[n_experts, width]`) and adds the chosen experts' outputs to
    /// `out`, weighted, in router order.
    fn experts(
        &mut self,
        routing: &Routing,
        router: &Self::Matrix,
        experts: &Self::Experts,
        x: &Self::Buf,
        out: &mut Self::Buf,
    ) -> Result<(), SourceError>;
    /// Logits of the rows that `batch.outputs` names: `[outputs, n_vocab]` into `out`, replaced;
    /// each then `cap * tanh(logit / cap)` where there is a soft cap.
    fn logits(
        &mut self,
        head: &Linear<Self>,
        soft_cap: Option<f32>,
        x: &Self::Buf,
        batch: &Batch<'_>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError>;
    /// Appends the rows of `x` in `rows` to `out`: embeddings, on their way out of a network.
    fn read(&mut self, x: &Self::Buf, rows: std::ops::Range<usize>, out: &mut Vec<f32>);
    /// Runs `work(i)` for each `i` below `n`, by as many processors as there are.
    fn each(&self, n: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..n).for_each(work);
    }
}

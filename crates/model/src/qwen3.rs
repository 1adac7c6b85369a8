//! Qwen3 dense: queries and keys of each head are normed before they are turned.
//!
//! <https://arxiv.org/abs/2505.09388>

use crate::config::{Config, Family};
use crate::last_rows::LastRows;
use crate::loader::{Embedding, Loader};
use crate::pass::{Lanes, Part};
use crate::{Head, ModelError, Network, Shape};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Activation, Batch, Linear, Ops, PagedLayer, RopePairs, Workload};

/// A Qwen3 with its weights and its scratch.
pub(crate) struct Qwen3<O: Ops> {
    config: Config,
    weights: Weights<O>,
    states: Lanes<State<O>>,
}

/// Never changed after loading.
struct Weights<O: Ops> {
    embedding: Embedding<O>, // [n_vocab, width]
    layers: Vec<Layer<O>>,   // [n_layers]
    output_norm: O::Vector,  // [width]
    /// `[n_labels, width]`: in files of Qwen3-Reranker, the rows of the head for yes and no.
    labels: Option<(Linear<O>, usize)>,
}

struct Layer<O: Ops> {
    attn_norm: O::Vector, // [width]
    q: Linear<O>,         // [n_heads * head_dim, width]
    k: Linear<O>,         // [n_kv_heads * head_dim, width]
    v: Linear<O>,         // [n_kv_heads * head_dim, width]
    q_norm: O::Vector,    // [head_dim]
    k_norm: O::Vector,    // [head_dim]
    o: Linear<O>,         // [width, n_heads * head_dim]
    ffn_norm: O::Vector,  // [width]
    gate: Linear<O>,      // [ffn, width]
    up: Linear<O>,        // [ffn, width]
    down: Linear<O>,      // [width, ffn]
}

/// Scratch for the rows of one batch.
struct State<O: Ops> {
    x: O::Buf, // [rows, width], the residual stream
    h: O::Buf, // [rows, width], what a block reads, and what it adds
    q: O::Buf, // [rows, n_heads * head_dim]
    k: O::Buf, // [rows, n_kv_heads * head_dim]
    v: O::Buf, // [rows, n_kv_heads * head_dim]
    a: O::Buf, // [rows, n_heads * head_dim], what attention gives
    last_rows: LastRows,
    gate: O::Buf, // [rows, ffn]
    up: O::Buf,   // [rows, ffn]
}

impl<O: Ops> Qwen3<O> {
    pub fn load(loader: &mut Loader<'_, O>) -> Result<Self, ModelError> {
        let config = Config::read_dense(loader.keys, &Family::plain(RopePairs::Halves))?;
        Ok(Self {
            weights: Weights::load(loader, &config)?,
            states: Lanes::new(loader, |loader| State::new(loader, &config)),
            config,
        })
    }
}

impl<O: Ops> Weights<O> {
    fn load(loader: &mut Loader<'_, O>, c: &Config) -> Result<Self, ModelError> {
        let embedding = loader.embedding_and_head(c.n_vocab, c.width)?;
        let layer = |i| Layer::load(loader, c, &format!("blk.{i}"));
        let layers = (0..c.n_layers).map(layer).collect::<Result<_, _>>()?;
        Ok(Self {
            embedding,
            layers,
            output_norm: loader.vector("output_norm.weight", c.width)?,
            labels: loader.labels(c.width)?,
        })
    }
}

impl<O: Ops> Layer<O> {
    fn load(loader: &mut Loader<'_, O>, c: &Config, b: &str) -> Result<Self, ModelError> {
        Ok(Self {
            attn_norm: loader.vector(&format!("{b}.attn_norm.weight"), c.width)?,
            q: loader.linear(&format!("{b}.attn_q"), c.q_width(), c.width)?,
            k: loader.linear(&format!("{b}.attn_k"), c.kv_width(), c.width)?,
            v: loader.linear(&format!("{b}.attn_v"), c.kv_width(), c.width)?,
            q_norm: loader.vector(&format!("{b}.attn_q_norm.weight"), c.head_dim)?,
            k_norm: loader.vector(&format!("{b}.attn_k_norm.weight"), c.head_dim)?,
            o: loader.linear(&format!("{b}.attn_output"), c.width, c.q_width())?,
            ffn_norm: loader.vector(&format!("{b}.ffn_norm.weight"), c.width)?,
            gate: loader.linear(&format!("{b}.ffn_gate"), c.ffn, c.width)?,
            up: loader.linear(&format!("{b}.ffn_up"), c.ffn, c.width)?,
            down: loader.linear(&format!("{b}.ffn_down"), c.width, c.ffn)?,
        })
    }
}

impl<O: Ops> State<O> {
    fn new(loader: &Loader<'_, O>, c: &Config) -> Self {
        Self {
            x: loader.buf(c.width),
            h: loader.buf(c.width),
            q: loader.buf(c.q_width()),
            k: loader.buf(c.kv_width()),
            v: loader.buf(c.kv_width()),
            a: loader.buf(c.q_width()),
            last_rows: LastRows::new(loader.max_batch_rows),
            gate: loader.buf(c.ffn),
            up: loader.buf(c.ffn),
        }
    }
}

impl<O: Ops> Network<O> for Qwen3<O> {
    fn shape(&self) -> Shape {
        self.config.shape()
    }

    fn layers(&self) -> Vec<PagedLayer> {
        self.config.paged_layers()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        self.config.workload(max_rows)
    }

    fn forward_part(
        &mut self,
        ops: &mut O,
        memory: &mut O::Memory,
        batch: &Batch<'_>,
        part: &Part<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let (c, w) = (&self.config, &self.weights);
        let s = self.states.of(part.lane);
        let mut wanted = *batch;
        logits.clear();
        if part.begins() {
            ops.embed(w.embedding.table(), batch, &mut s.x)?;
        } else {
            part.resume(ops, &mut s.x, &mut s.h);
        }

        for i in part.layers.clone() {
            let l = &w.layers[i];
            ops.rms_norm(&s.x, &l.attn_norm, c.rms_eps, &mut s.h);
            ops.linear(
                &s.h,
                &mut [(&l.q, &mut s.q), (&l.k, &mut s.k), (&l.v, &mut s.v)],
            )?;
            ops.rms_norm_heads(&mut s.q, &l.q_norm, c.rms_eps, c.head_dim);
            ops.rms_norm_heads(&mut s.k, &l.k_norm, c.rms_eps, c.head_dim);
            ops.rope(&mut s.q, &c.rope, c.head_dim, batch);
            ops.rope(&mut s.k, &c.rope, c.head_dim, batch);
            let spec = c.attention(i);
            ops.attention(&spec, i, memory, &s.q, &s.k, &s.v, batch, &mut s.a);
            if i + 1 == w.layers.len() {
                let buffers = [(&mut s.x, &mut s.h), (&mut s.a, &mut s.q)];
                let Some(kept) = s.last_rows.keep(ops, batch, buffers) else {
                    return Ok(());
                };
                wanted = kept;
            }
            ops.linear(&s.a, &mut [(&l.o, &mut s.h)])?;
            ops.add(&mut s.x, &s.h);

            ops.rms_norm(&s.x, &l.ffn_norm, c.rms_eps, &mut s.h);
            ops.linear(&s.h, &mut [(&l.gate, &mut s.gate), (&l.up, &mut s.up)])?;
            ops.gate(Activation::Silu, &mut s.gate, &s.up);
            ops.linear(&s.gate, &mut [(&l.down, &mut s.h)])?;
            ops.add(&mut s.x, &s.h);
        }
        if part.layers.end < w.layers.len() {
            return Ok(());
        }

        ops.rms_norm(&s.x, &w.output_norm, c.rms_eps, &mut s.h);
        let head = match &w.labels {
            Some((labels, _)) => labels,
            None => &w.embedding.head,
        };
        ops.logits(head, None, &s.h, &wanted, logits)
    }

    fn hidden(&self) -> &O::Buf {
        &self.states.latest().h
    }

    fn head(&self) -> Head {
        match &self.weights.labels {
            Some((_, n)) => Head::Labels(*n),
            None => Head::Vocabulary,
        }
    }
}

//! Qwen3 mixture of experts: Qwen3 whose feed-forward networks are many, a few of them chosen by a
//! router for each row.
//!
//! <https://arxiv.org/abs/2505.09388>

use crate::config::{Config as Base, Family};
use crate::keys::Keys;
use crate::last_rows::LastRows;
use crate::loader::{Embedding, Loader};
use crate::moe::Mixture;
use crate::pass::{Lanes, Part};
use crate::{ModelError, Network, Shape};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Batch, Linear, Ops, PagedLayer, RopePairs, Workload};

/// A Qwen3 mixture of experts with its weights and its scratch.
pub(crate) struct Qwen3Moe<O: Ops> {
    config: Config,
    weights: Weights<O>,
    states: Lanes<State<O>>,
}

/// The shape of the network.
struct Config {
    /// All but the feed-forward networks.
    base: Base,
    /// The feed-forward networks.
    mixture: Mixture,
}

/// Never changed after loading.
struct Weights<O: Ops> {
    embedding: Embedding<O>, // [n_vocab, width]
    layers: Vec<Layer<O>>,   // [n_layers]
    output_norm: O::Vector,  // [width]
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
    router: O::Matrix,    // [n_experts, width]
    experts: O::Experts,  // [n_experts], each [ffn, width] twice and [width, ffn]
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
}

impl<O: Ops> Qwen3Moe<O> {
    pub fn load(loader: &mut Loader<'_, O>) -> Result<Self, ModelError> {
        let config = Config::read(loader.keys)?;
        Ok(Self {
            weights: Weights::load(loader, &config)?,
            states: Lanes::new(loader, |loader| State::new(loader, &config.base)),
            config,
        })
    }
}

impl Config {
    fn read(keys: &Keys<'_>) -> Result<Self, ModelError> {
        let base = Base::read(keys, &Family::plain(RopePairs::Halves))?;
        // Early converters left the width out where the dense one is that of the chosen together.
        let mixture = Mixture::read(keys, base.width, |dense, top_k| dense / top_k)?;
        Ok(Self { base, mixture })
    }
}

impl<O: Ops> Weights<O> {
    fn load(loader: &mut Loader<'_, O>, c: &Config) -> Result<Self, ModelError> {
        let (n_vocab, width) = (c.base.n_vocab, c.base.width);
        let embedding = loader.embedding_and_head(n_vocab, width)?;
        let layer = |i| Layer::load(loader, c, &format!("blk.{i}"));
        let layers = (0..c.base.n_layers).map(layer).collect::<Result<_, _>>()?;
        Ok(Self {
            embedding,
            layers,
            output_norm: loader.vector("output_norm.weight", width)?,
        })
    }
}

impl<O: Ops> Layer<O> {
    fn load(loader: &mut Loader<'_, O>, config: &Config, b: &str) -> Result<Self, ModelError> {
        let c = &config.base;
        let (router, experts) = config.mixture.load(loader, b)?;
        Ok(Self {
            attn_norm: loader.vector(&format!("{b}.attn_norm.weight"), c.width)?,
            q: loader.linear(&format!("{b}.attn_q"), c.q_width(), c.width)?,
            k: loader.linear(&format!("{b}.attn_k"), c.kv_width(), c.width)?,
            v: loader.linear(&format!("{b}.attn_v"), c.kv_width(), c.width)?,
            q_norm: loader.vector(&format!("{b}.attn_q_norm.weight"), c.head_dim)?,
            k_norm: loader.vector(&format!("{b}.attn_k_norm.weight"), c.head_dim)?,
            o: loader.linear(&format!("{b}.attn_output"), c.width, c.q_width())?,
            ffn_norm: loader.vector(&format!("{b}.ffn_norm.weight"), c.width)?,
            router,
            experts,
        })
    }
}

impl<O: Ops> State<O> {
    fn new(loader: &Loader<'_, O>, c: &Base) -> Self {
        Self {
            x: loader.buf(c.width),
            h: loader.buf(c.width),
            q: loader.buf(c.q_width()),
            k: loader.buf(c.kv_width()),
            v: loader.buf(c.kv_width()),
            a: loader.buf(c.q_width()),
            last_rows: LastRows::new(loader.max_batch_rows),
        }
    }
}

impl<O: Ops> Network<O> for Qwen3Moe<O> {
    fn shape(&self) -> Shape {
        self.config.base.shape()
    }

    fn layers(&self) -> Vec<PagedLayer> {
        self.config.base.paged_layers()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        Workload {
            experts: Some(self.config.mixture.workload()),
            ..self.config.base.workload(max_rows)
        }
    }

    fn forward_part(
        &mut self,
        ops: &mut O,
        memory: &mut O::Memory,
        batch: &Batch<'_>,
        part: &Part<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let (c, w) = (&self.config.base, &self.weights);
        let s = self.states.of(part.lane);
        let routing = &self.config.mixture.routing;
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
            if let Some(next) = w.layers.get(i + 1) {
                let norm = (&next.ffn_norm, c.rms_eps);
                ops.foresee(routing, &next.router, &next.experts, &s.x, norm);
            }
            ops.experts(routing, &l.router, &l.experts, &s.h, &mut s.x)?;
        }
        if part.layers.end < w.layers.len() {
            return Ok(());
        }

        ops.rms_norm(&s.x, &w.output_norm, c.rms_eps, &mut s.h);
        ops.logits(&w.embedding.head, None, &s.h, &wanted, logits)
    }

    fn hidden(&self) -> &O::Buf {
        &self.states.latest().h
    }
}

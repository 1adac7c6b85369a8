//! nomic-bert: a BERT with rotary positions, a gated feed-forward network, and no biases but in
//! its norms.
//!
//! <https://arxiv.org/abs/2402.01613>

use crate::encoder::{EncoderConfig, Norm};
use crate::loader::Loader;
use crate::pass::Part;
use crate::{Head, ModelError, Network, Shape, rope};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Activation, Batch, Linear, Ops, PagedLayer, Rope, RopePairs, Workload};

/// A nomic-bert with its weights and its scratch.
pub(crate) struct NomicBert<O: Ops> {
    config: EncoderConfig,
    rope: Rope,
    weights: Weights<O>,
    state: State<O>,
}

/// Never changed after loading.
struct Weights<O: Ops> {
    tokens: O::Matrix,        // [n_vocab, width]
    types: Option<O::Matrix>, // [n_types, width]
    norm: Norm<O>,            // [width]
    layers: Vec<Layer<O>>,    // [n_layers]
}

struct Layer<O: Ops> {
    qkv: [Linear<O>; 3], // [width, width] each
    o: Linear<O>,        // [width, width]
    attn_norm: Norm<O>,  // [width]
    gate: Linear<O>,     // [ffn, width]
    up: Linear<O>,       // [ffn, width]
    down: Linear<O>,     // [width, ffn]
    ffn_norm: Norm<O>,   // [width]
}

/// Scratch for the rows of one batch.
struct State<O: Ops> {
    x: O::Buf,    // [rows, width], the residual stream
    h: O::Buf,    // [rows, width], what a block adds
    q: O::Buf,    // [rows, width]
    k: O::Buf,    // [rows, width]
    v: O::Buf,    // [rows, width]
    a: O::Buf,    // [rows, width], what attention gives
    gate: O::Buf, // [rows, ffn]
    up: O::Buf,   // [rows, ffn]
    indices: Vec<u32>,
}

impl<O: Ops> NomicBert<O> {
    pub fn load(loader: &mut Loader<'_, O>) -> Result<Self, ModelError> {
        let config = EncoderConfig::read(loader.keys)?;
        let (head_dim, context) = (config.head_dim(), config.context_len);
        Ok(Self {
            rope: rope::read(loader.keys, RopePairs::Halves, head_dim, context)?,
            weights: Weights::load(loader, &config)?,
            state: State::new(loader, &config),
            config,
        })
    }
}

impl<O: Ops> Weights<O> {
    fn load(loader: &mut Loader<'_, O>, c: &EncoderConfig) -> Result<Self, ModelError> {
        let layer = |i| Layer::load(loader, c, &format!("blk.{i}"));
        let layers = (0..c.n_layers).map(layer).collect::<Result<_, _>>()?;
        let types = match c.n_types {
            0 => None,
            n => Some(loader.matrix("token_types.weight", n, c.width)?),
        };
        Ok(Self {
            tokens: loader.matrix("token_embd.weight", c.n_vocab, c.width)?,
            types,
            norm: Norm::load(loader, c, "token_embd_norm")?,
            layers,
        })
    }
}

impl<O: Ops> Layer<O> {
    fn load(loader: &mut Loader<'_, O>, c: &EncoderConfig, b: &str) -> Result<Self, ModelError> {
        let names = ["attn_q", "attn_k", "attn_v"].map(|name| format!("{b}.{name}"));
        let parts = names.each_ref().map(|name| (name.as_str(), c.width));
        Ok(Self {
            qkv: loader.linears(&format!("{b}.attn_qkv"), parts, c.width)?,
            o: loader.linear(&format!("{b}.attn_output"), c.width, c.width)?,
            attn_norm: Norm::load(loader, c, &format!("{b}.attn_output_norm"))?,
            gate: loader.linear(&format!("{b}.ffn_gate"), c.ffn, c.width)?,
            up: loader.linear(&format!("{b}.ffn_up"), c.ffn, c.width)?,
            down: loader.linear(&format!("{b}.ffn_down"), c.width, c.ffn)?,
            ffn_norm: Norm::load(loader, c, &format!("{b}.layer_output_norm"))?,
        })
    }
}

impl<O: Ops> State<O> {
    fn new(loader: &Loader<'_, O>, c: &EncoderConfig) -> Self {
        Self {
            x: loader.buf(c.width),
            h: loader.buf(c.width),
            q: loader.buf(c.width),
            k: loader.buf(c.width),
            v: loader.buf(c.width),
            a: loader.buf(c.width),
            gate: loader.buf(c.ffn),
            up: loader.buf(c.ffn),
            indices: Vec::with_capacity(loader.max_batch_rows),
        }
    }
}

impl<O: Ops> Network<O> for NomicBert<O> {
    fn shape(&self) -> Shape {
        self.config.shape()
    }

    fn layers(&self) -> Vec<PagedLayer> {
        self.config.paged_layers()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        self.config
            .workload(max_rows, 2 * self.rope.frequencies.len())
    }

    fn forward_part(
        &mut self,
        ops: &mut O,
        memory: &mut O::Memory,
        batch: &Batch<'_>,
        _: &Part<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let (c, w, s) = (&self.config, &self.weights, &mut self.state);
        ops.embed(&w.tokens, batch, &mut s.x)?;
        if let Some(types) = &w.types {
            c.types(batch, &mut s.indices);
            ops.rows(types, &s.indices, &mut s.h)?;
            ops.add(&mut s.x, &s.h);
        }
        w.norm.apply(ops, &mut s.x, c);

        let spec = c.attention();
        for l in &w.layers {
            let [q, k, v] = &l.qkv;
            ops.linear(&s.x, &mut [(q, &mut s.q), (k, &mut s.k), (v, &mut s.v)])?;
            ops.rope(&mut s.q, &self.rope, spec.head_dim, batch);
            ops.rope(&mut s.k, &self.rope, spec.head_dim, batch);
            ops.attention(&spec, 0, memory, &s.q, &s.k, &s.v, batch, &mut s.a);
            ops.linear(&s.a, &mut [(&l.o, &mut s.h)])?;
            ops.add(&mut s.x, &s.h);
            l.attn_norm.apply(ops, &mut s.x, c);

            ops.linear(&s.x, &mut [(&l.gate, &mut s.gate), (&l.up, &mut s.up)])?;
            ops.gate(Activation::Silu, &mut s.gate, &s.up);
            ops.linear(&s.gate, &mut [(&l.down, &mut s.h)])?;
            ops.add(&mut s.x, &s.h);
            l.ffn_norm.apply(ops, &mut s.x, c);
        }
        logits.clear(); // it has no head
        Ok(())
    }

    fn hidden(&self) -> &O::Buf {
        &self.state.x
    }

    fn head(&self) -> Head {
        Head::None
    }

    fn is_causal(&self) -> bool {
        false
    }
}

//! Llama 2 and 3, and what has their shape: Mistral, SmolLM, TinyLlama, the distilled Llamas;
//! Mixtral, whose feed-forward networks are mixtures of experts; Qwen2 and 2.5, which turn other
//! pairs and have biases on queries, keys and values; Granite, which scales what it adds; SmolLM3,
//! some of whose layers know no positions; Phi-3 and 4, whose files hold queries, keys
//! and values in one tensor, gate and up in another.
//!
//! <https://arxiv.org/abs/2307.09288>, <https://arxiv.org/abs/2407.21783>,
//! <https://arxiv.org/abs/2401.04088>, <https://arxiv.org/abs/2407.10671>,
//! <https://arxiv.org/abs/2404.14219>

use crate::config::{Config, Family};
use crate::keys::Keys;
use crate::last_rows::LastRows;
use crate::loader::{Embedding, Loader};
use crate::moe::Mixture;
use crate::pass::{Lanes, Part};
use crate::{ModelError, Network, Shape};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Activation, Batch, Linear, Ops, PagedLayer, RopePairs, Workload};

/// A Llama with its weights and its scratch.
pub(crate) struct Llama<O: Ops> {
    config: Config,
    mixture: Option<Mixture>,
    habits: Habits,
    weights: Weights<O>,
    states: Lanes<State<O>>,
}

/// What some of the family do and Llama does not.
struct Habits {
    /// Factor on embeddings.
    embedding_scale: Option<f32>,
    /// Factor on what a block adds to the residual stream.
    residual_scale: Option<f32>,
    /// Factor on what the output head reads.
    output_scale: Option<f32>,
    /// One layer in so many, the last of them, turns nothing by its position; 0: all turn.
    unturned_period: usize,
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
    o: Linear<O>,         // [width, n_heads * head_dim]
    ffn_norm: O::Vector,  // [width]
    ffn: FeedForward<O>,
}

enum FeedForward<O: Ops> {
    Dense {
        gate: Linear<O>, // [ffn, width]
        up: Linear<O>,   // [ffn, width]
        down: Linear<O>, // [width, ffn]
    },
    Mixture {
        mixture: Mixture,
        router: O::Matrix,   // [n_experts, width]
        experts: O::Experts, // [n_experts], each [ffn, width] twice and [width, ffn]
    },
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
    gate: O::Buf, // [rows, ffn]; ffn is 0 where every layer has experts
    up: O::Buf,   // [rows, ffn]
}

impl<O: Ops> Llama<O> {
    /// `pairs` is what the architecture's files turn: neighbours in `llama`, halves in `qwen2` and `phi3`.
    pub fn load(loader: &mut Loader<'_, O>, pairs: RopePairs) -> Result<Self, ModelError> {
        let keys = loader.keys;
        let family = Family {
            reads: match keys.arch() {
                "granite" => &["embedding_scale", "residual_scale", "logit_scale"],
                _ => &[],
            },
            ..Family::plain(pairs)
        };
        let habits = Habits::read(keys)?;
        let (config, mixture) = match keys.u32("expert_count")? {
            None | Some(0) => (Config::read_dense(keys, &family)?, None),
            Some(_) => {
                let config = Config::read(keys, &family)?;
                let mixture = Mixture::read(keys, config.width, |dense, _| dense)?;
                (config, Some(mixture))
            }
        };
        Ok(Self {
            weights: Weights::load(loader, &config, mixture.as_ref())?,
            states: Lanes::new(loader, |loader| State::new(loader, &config)),
            config,
            mixture,
            habits,
        })
    }
}

impl Habits {
    /// Keys that are not this architecture's have been refused, unless they change nothing.
    fn read(keys: &Keys<'_>) -> Result<Self, ModelError> {
        let scale = |key| match keys.f32(key)? {
            None | Some(0.0 | 1.0) => Ok(None),
            Some(scale) if scale.is_finite() && scale > 0.0 => Ok(Some(scale)),
            Some(scale) => Err(keys.bad_value(key, scale, "it must be above 0")),
        };
        Ok(Self {
            embedding_scale: scale("embedding_scale")?,
            residual_scale: scale("residual_scale")?,
            output_scale: scale("logit_scale")?.map(|scale| 1.0 / scale), // logits are divided
            unturned_period: if keys.arch() == "smollm3" { 4 } else { 0 },
        })
    }

    fn turns(&self, layer: usize) -> bool {
        self.unturned_period == 0 || !(layer + 1).is_multiple_of(self.unturned_period)
    }
}

impl<O: Ops> Weights<O> {
    fn load(
        loader: &mut Loader<'_, O>,
        c: &Config,
        mixture: Option<&Mixture>,
    ) -> Result<Self, ModelError> {
        let embedding = loader.embedding_and_head(c.n_vocab, c.width)?;
        let layer = |i| Layer::load(loader, c, mixture, &format!("blk.{i}"));
        let layers = (0..c.n_layers).map(layer).collect::<Result<_, _>>()?;
        Ok(Self {
            embedding,
            layers,
            output_norm: loader.vector("output_norm.weight", c.width)?,
        })
    }
}

impl<O: Ops> Layer<O> {
    fn load(
        loader: &mut Loader<'_, O>,
        c: &Config,
        mixture: Option<&Mixture>,
        b: &str,
    ) -> Result<Self, ModelError> {
        let names = ["q", "k", "v"].map(|name| format!("{b}.attn_{name}"));
        let [q_name, k_name, v_name] = names.each_ref().map(String::as_str);
        let parts = [
            (q_name, c.q_width()),
            (k_name, c.kv_width()),
            (v_name, c.kv_width()),
        ];
        let [q, k, v] = loader.linears(&format!("{b}.attn_qkv"), parts, c.width)?;
        Ok(Self {
            attn_norm: loader.vector(&format!("{b}.attn_norm.weight"), c.width)?,
            q,
            k,
            v,
            o: loader.linear(&format!("{b}.attn_output"), c.width, c.q_width())?,
            ffn_norm: loader.vector(&format!("{b}.ffn_norm.weight"), c.width)?,
            ffn: FeedForward::load(loader, c, mixture, b)?,
        })
    }
}

impl<O: Ops> Layer<O> {
    /// Says that this layer's experts come next, for rows like those of `x`.
    fn foresee(&self, ops: &mut O, x: &O::Buf, rms_eps: f32) {
        if let FeedForward::Mixture {
            mixture,
            router,
            experts,
        } = &self.ffn
        {
            ops.foresee(
                &mixture.routing,
                router,
                experts,
                x,
                (&self.ffn_norm, rms_eps),
            );
        }
    }
}

impl<O: Ops> FeedForward<O> {
    fn load(
        loader: &mut Loader<'_, O>,
        c: &Config,
        mixture: Option<&Mixture>,
        b: &str,
    ) -> Result<Self, ModelError> {
        if let Some(mixture) = mixture {
            let (router, experts) = mixture.load(loader, b)?;
            return Ok(Self::Mixture {
                mixture: *mixture,
                router,
                experts,
            });
        }
        // In Phi-3 files `ffn_up` holds both, the gate first.
        let (gate, up) = (format!("{b}.ffn_gate"), format!("{b}.ffn_up"));
        let parts = [(gate.as_str(), c.ffn), (up.as_str(), c.ffn)];
        let [gate, up] = loader.linears(&up, parts, c.width)?;
        Ok(Self::Dense {
            gate,
            up,
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

impl<O: Ops> Network<O> for Llama<O> {
    fn shape(&self) -> Shape {
        self.config.shape()
    }

    fn layers(&self) -> Vec<PagedLayer> {
        self.config.paged_layers()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        Workload {
            experts: self.mixture.as_ref().map(Mixture::workload),
            ..self.config.workload(max_rows)
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
        let (c, w) = (&self.config, &self.weights);
        let s = self.states.of(part.lane);
        let scale = |ops: &mut O, x: &mut O::Buf, factor: Option<f32>| {
            if let Some(factor) = factor {
                ops.scale(x, factor);
            }
        };
        let habits = &self.habits;
        let mut wanted = *batch;
        logits.clear();
        if part.begins() {
            ops.embed(w.embedding.table(), batch, &mut s.x)?;
            scale(ops, &mut s.x, habits.embedding_scale);
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
            if habits.turns(i) {
                ops.rope(&mut s.q, &c.rope, c.head_dim, batch);
                ops.rope(&mut s.k, &c.rope, c.head_dim, batch);
            }
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
            scale(ops, &mut s.h, habits.residual_scale);
            ops.add(&mut s.x, &s.h);

            ops.rms_norm(&s.x, &l.ffn_norm, c.rms_eps, &mut s.h);
            match &l.ffn {
                FeedForward::Dense { gate, up, down } => {
                    ops.linear(&s.h, &mut [(gate, &mut s.gate), (up, &mut s.up)])?;
                    ops.gate(Activation::Silu, &mut s.gate, &s.up);
                    ops.linear(&s.gate, &mut [(down, &mut s.h)])?;
                    scale(ops, &mut s.h, habits.residual_scale);
                    ops.add(&mut s.x, &s.h);
                }
                FeedForward::Mixture {
                    mixture,
                    router,
                    experts,
                } => {
                    if let Some(next) = w.layers.get(i + 1) {
                        next.foresee(ops, &s.x, c.rms_eps);
                    }
                    ops.experts(&mixture.routing, router, experts, &s.h, &mut s.x)?;
                }
            }
        }
        if part.layers.end < w.layers.len() {
            return Ok(());
        }

        ops.rms_norm(&s.x, &w.output_norm, c.rms_eps, &mut s.h);
        scale(ops, &mut s.h, habits.output_scale);
        ops.logits(&w.embedding.head, None, &s.h, &wanted, logits)
    }

    fn hidden(&self) -> &O::Buf {
        &self.states.latest().h
    }
}

//! Gemma 1, 2 and 3 (text): Llamas whose embedding is scaled by the root of its width, whose gates
//! are GELU, and
//! - Gemma 2: norms also after each block, soft caps on scores and logits, every other layer sees
//!   a window only;
//! - Gemma 3: norms on queries and keys instead of the soft caps, five layers with a window and a
//!   RoPE of their own to one without.
//!
//! Norm weights lie in the file with the 1 that the papers add already added.
//!
//! <https://arxiv.org/abs/2403.08295>, <https://arxiv.org/abs/2408.00118>,
//! <https://arxiv.org/abs/2503.19786>

use crate::config::{Config as Base, Family};
use crate::keys::Keys;
use crate::last_rows::LastRows;
use crate::loader::{Embedding, Loader};
use crate::pass::{Lanes, Part};
use crate::{ModelError, Network, Shape, rope};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{
    Activation, Attention, Batch, Linear, Ops, PagedLayer, Rope, RopePairs, Workload,
};

/// What one generation has that another has not.
struct Generation {
    /// Norms after attention and after the feed-forward network.
    post_norms: bool,
    /// Norms on the heads of queries and keys.
    head_norms: bool,
    /// Soft caps where the file gives none: on scores and on logits.
    soft_caps: [Option<f32>; 2],
    /// Whether layers with a window turn positions by a frequency of their own.
    local_rope: bool,
    /// Layers of the published model whose scores are scaled by `width / n_heads`, not `head_dim`
    /// (the 27B ones); files have no key for it.
    wide_scale_layers: usize,
}

const GEMMA: Generation = Generation {
    post_norms: false,
    head_norms: false,
    soft_caps: [None, None],
    local_rope: false,
    wide_scale_layers: 0,
};

const GEMMA2: Generation = Generation {
    post_norms: true,
    soft_caps: [Some(50.0), Some(30.0)],
    wide_scale_layers: 46,
    ..GEMMA
};

const GEMMA3: Generation = Generation {
    post_norms: true,
    head_norms: true,
    local_rope: true,
    wide_scale_layers: 62,
    ..GEMMA
};

/// A Gemma with its weights and its scratch.
pub(crate) struct Gemma<O: Ops> {
    config: Config,
    weights: Weights<O>,
    states: Lanes<State<O>>,
}

struct Config {
    base: Base,
    /// Factor on embeddings.
    embedding_scale: f32,
    /// Of attention scores.
    score_cap: Option<f32>,
    logit_cap: Option<f32>,
    /// How layers with a window turn heads; `None`: as the others.
    local_rope: Option<Rope>,
}

/// Never changed after loading.
struct Weights<O: Ops> {
    embedding: Embedding<O>, // [n_vocab, width]
    layers: Vec<Layer<O>>,   // [n_layers]
    output_norm: O::Vector,  // [width]
}

struct Layer<O: Ops> {
    attn_norm: O::Vector,              // [width]
    q: Linear<O>,                      // [n_heads * head_dim, width]
    k: Linear<O>,                      // [n_kv_heads * head_dim, width]
    v: Linear<O>,                      // [n_kv_heads * head_dim, width]
    q_norm: Option<O::Vector>,         // [head_dim]
    k_norm: Option<O::Vector>,         // [head_dim]
    o: Linear<O>,                      // [width, n_heads * head_dim]
    post_attention: Option<O::Vector>, // [width]
    ffn_norm: O::Vector,               // [width]
    gate: Linear<O>,                   // [ffn, width]
    up: Linear<O>,                     // [ffn, width]
    down: Linear<O>,                   // [width, ffn]
    post_ffn: Option<O::Vector>,       // [width]
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

impl<O: Ops> Gemma<O> {
    pub fn load(loader: &mut Loader<'_, O>) -> Result<Self, ModelError> {
        let generation = match loader.keys.arch() {
            "gemma3" => &GEMMA3,
            "gemma2" => &GEMMA2,
            _ => &GEMMA,
        };
        let config = Config::read(loader.keys, generation)?;
        Ok(Self {
            weights: Weights::load(loader, &config.base, generation)?,
            states: Lanes::new(loader, |loader| State::new(loader, &config.base)),
            config,
        })
    }
}

impl Config {
    fn read(keys: &Keys<'_>, generation: &Generation) -> Result<Self, ModelError> {
        let family = Family {
            pairs: RopePairs::Halves,
            reads: &["attn_logit_softcapping", "final_logit_softcapping"],
            // One in two layers sees everything, or one in six; in Gemma 2 files there is no key
            // for it, and old ones do not give the window's length either.
            window_period: if generation.local_rope { 6 } else { 2 },
            window: generation.soft_caps[0].map(|_| 4096),
        };
        let mut base = Base::read_dense(keys, &family)?;
        if keys.f32("attention.scale")?.is_none() && base.n_layers == generation.wide_scale_layers {
            base.attention_scale = 1.0 / (base.width as f32 / base.n_heads as f32).sqrt();
        }
        let [score_cap, logit_cap] = generation.soft_caps;
        let slides = base.windows.iter().any(Option::is_some);
        let local_rope = match generation.local_rope && slides {
            true => Some(rope::read_local(keys, RopePairs::Halves, base.head_dim)?),
            false => None,
        };
        Ok(Self {
            embedding_scale: (base.width as f32).sqrt(),
            score_cap: soft_cap(keys, "attn_logit_softcapping", score_cap)?,
            logit_cap: soft_cap(keys, "final_logit_softcapping", logit_cap)?,
            local_rope,
            base,
        })
    }

    fn rope(&self, layer: usize) -> &Rope {
        match &self.local_rope {
            Some(rope) if self.base.windows[layer].is_some() => rope,
            _ => &self.base.rope,
        }
    }

    fn attention(&self, layer: usize) -> Attention {
        Attention {
            soft_cap: self.score_cap,
            ..self.base.attention(layer)
        }
    }
}

/// A cap above 0; a file says 0 where there is none.
fn soft_cap(keys: &Keys<'_>, key: &str, absent: Option<f32>) -> Result<Option<f32>, ModelError> {
    match keys.f32(key)? {
        None => Ok(absent),
        Some(0.0) => Ok(None),
        Some(cap) if cap.is_finite() && cap > 0.0 => Ok(Some(cap)),
        Some(cap) => Err(keys.bad_value(key, cap, "it must be above 0")),
    }
}

impl<O: Ops> Weights<O> {
    fn load(
        loader: &mut Loader<'_, O>,
        c: &Base,
        generation: &Generation,
    ) -> Result<Self, ModelError> {
        let embedding = loader.embedding_and_head(c.n_vocab, c.width)?;
        let layer = |i| Layer::load(loader, c, generation, &format!("blk.{i}"));
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
        c: &Base,
        generation: &Generation,
        b: &str,
    ) -> Result<Self, ModelError> {
        let (heads, post) = (generation.head_norms, generation.post_norms);
        let mut norm = |wanted: bool, name: &str, len| match wanted {
            true => loader.vector(&format!("{b}.{name}.weight"), len).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            q_norm: norm(heads, "attn_q_norm", c.head_dim)?,
            k_norm: norm(heads, "attn_k_norm", c.head_dim)?,
            post_attention: norm(post, "post_attention_norm", c.width)?,
            post_ffn: norm(post, "post_ffw_norm", c.width)?,
            attn_norm: loader.vector(&format!("{b}.attn_norm.weight"), c.width)?,
            q: loader.linear(&format!("{b}.attn_q"), c.q_width(), c.width)?,
            k: loader.linear(&format!("{b}.attn_k"), c.kv_width(), c.width)?,
            v: loader.linear(&format!("{b}.attn_v"), c.kv_width(), c.width)?,
            o: loader.linear(&format!("{b}.attn_output"), c.width, c.q_width())?,
            ffn_norm: loader.vector(&format!("{b}.ffn_norm.weight"), c.width)?,
            gate: loader.linear(&format!("{b}.ffn_gate"), c.ffn, c.width)?,
            up: loader.linear(&format!("{b}.ffn_up"), c.ffn, c.width)?,
            down: loader.linear(&format!("{b}.ffn_down"), c.width, c.ffn)?,
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
            gate: loader.buf(c.ffn),
            up: loader.buf(c.ffn),
        }
    }
}

impl<O: Ops> Network<O> for Gemma<O> {
    fn shape(&self) -> Shape {
        self.config.base.shape()
    }

    fn layers(&self) -> Vec<PagedLayer> {
        self.config.base.paged_layers()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        let mut workload = self.config.base.workload(max_rows);
        let local = self.config.local_rope.as_ref();
        workload.rotary_dim += local.map_or(0, |rope| 2 * rope.frequencies.len());
        workload
    }

    fn hidden(&self) -> &O::Buf {
        &self.states.latest().h
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
        let mut wanted = *batch;
        logits.clear();
        if part.begins() {
            ops.embed(w.embedding.table(), batch, &mut s.x)?;
            ops.scale(&mut s.x, self.config.embedding_scale);
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
            for (x, norm) in [(&mut s.q, &l.q_norm), (&mut s.k, &l.k_norm)] {
                if let Some(norm) = norm {
                    ops.rms_norm_heads(x, norm, c.rms_eps, c.head_dim);
                }
                ops.rope(x, self.config.rope(i), c.head_dim, batch);
            }
            let spec = self.config.attention(i);
            ops.attention(&spec, i, memory, &s.q, &s.k, &s.v, batch, &mut s.a);
            if i + 1 == w.layers.len() {
                let buffers = [(&mut s.x, &mut s.h), (&mut s.a, &mut s.q)];
                let Some(kept) = s.last_rows.keep(ops, batch, buffers) else {
                    return Ok(());
                };
                wanted = kept;
            }
            ops.linear(&s.a, &mut [(&l.o, &mut s.h)])?;
            if let Some(norm) = &l.post_attention {
                ops.rms_norm_heads(&mut s.h, norm, c.rms_eps, c.width);
            }
            ops.add(&mut s.x, &s.h);

            ops.rms_norm(&s.x, &l.ffn_norm, c.rms_eps, &mut s.h);
            ops.linear(&s.h, &mut [(&l.gate, &mut s.gate), (&l.up, &mut s.up)])?;
            ops.gate(Activation::GeluTanh, &mut s.gate, &s.up);
            ops.linear(&s.gate, &mut [(&l.down, &mut s.h)])?;
            if let Some(norm) = &l.post_ffn {
                ops.rms_norm_heads(&mut s.h, norm, c.rms_eps, c.width);
            }
            ops.add(&mut s.x, &s.h);
        }
        if part.layers.end < w.layers.len() {
            return Ok(());
        }

        ops.rms_norm(&s.x, &w.output_norm, c.rms_eps, &mut s.h);
        let cap = self.config.logit_cap;
        ops.logits(&w.embedding.head, cap, &s.h, &wanted, logits)
    }
}

//! BERT, and RoBERTa and XLM-RoBERTa, whose files have the same form: absolute positions, norms
//! behind each block, GELU. With a classification head it scores texts and pairs of texts.
//!
//! <https://arxiv.org/abs/1810.04805>, <https://arxiv.org/abs/1911.02116>

use crate::encoder::{EncoderConfig, Norm, rows};
use crate::loader::Loader;
use crate::pass::Part;
use crate::{Head, ModelError, Network, Shape};
use ingle_tensor::SourceError;
use ingle_tensor::ops::{Batch, Linear, Ops, PagedLayer, Workload};

/// A BERT with its weights and its scratch.
pub(crate) struct Bert<O: Ops> {
    config: EncoderConfig,
    weights: Weights<O>,
    state: State<O>,
}

/// Never changed after loading.
struct Weights<O: Ops> {
    tokens: O::Matrix,        // [n_vocab, width]
    types: Option<O::Matrix>, // [n_types, width]
    positions: O::Matrix,     // [context, width]
    norm: Norm<O>,            // [width]
    layers: Vec<Layer<O>>,    // [n_layers]
    classifier: Option<Classifier<O>>,
}

struct Layer<O: Ops> {
    q: Linear<O>,       // [width, width]
    k: Linear<O>,       // [width, width]
    v: Linear<O>,       // [width, width]
    o: Linear<O>,       // [width, width]
    attn_norm: Norm<O>, // [width]
    up: Linear<O>,      // [ffn, width]
    down: Linear<O>,    // [width, ffn]
    ffn_norm: Norm<O>,  // [width]
}

/// Reads the first row of a text.
struct Classifier<O: Ops> {
    dense: Option<Linear<O>>, // [width, width]
    output: Linear<O>,        // [n_labels, width]
    n_labels: usize,
}

/// Scratch for the rows of one batch.
struct State<O: Ops> {
    x: O::Buf,  // [rows, width], the residual stream
    h: O::Buf,  // [rows, width], what a block adds
    q: O::Buf,  // [rows, width]
    k: O::Buf,  // [rows, width]
    v: O::Buf,  // [rows, width]
    a: O::Buf,  // [rows, width], what attention gives
    up: O::Buf, // [rows, ffn]
    indices: Vec<u32>,
}

impl<O: Ops> Bert<O> {
    pub fn load(loader: &mut Loader<'_, O>) -> Result<Self, ModelError> {
        let mut config = EncoderConfig::read(loader.keys)?;
        let n_positions = rows(loader.keys, "position_embd.weight", config.width)?;
        // Files of RoBERTa count two positions that their table does not have.
        config.context_len = config.context_len.min(n_positions as u32);
        Ok(Self {
            weights: Weights::load(loader, &config, n_positions)?,
            state: State::new(loader, &config),
            config,
        })
    }
}

impl<O: Ops> Weights<O> {
    fn load(
        loader: &mut Loader<'_, O>,
        c: &EncoderConfig,
        n_positions: usize,
    ) -> Result<Self, ModelError> {
        let layer = |i| Layer::load(loader, c, &format!("blk.{i}"));
        let layers = (0..c.n_layers).map(layer).collect::<Result<_, _>>()?;
        let types = match c.n_types {
            0 => None,
            n => Some(loader.matrix("token_types.weight", n, c.width)?),
        };
        Ok(Self {
            tokens: loader.matrix("token_embd.weight", c.n_vocab, c.width)?,
            types,
            positions: loader.matrix("position_embd.weight", n_positions, c.width)?,
            norm: Norm::load(loader, c, "token_embd_norm")?,
            layers,
            classifier: Classifier::load(loader, c)?,
        })
    }
}

impl<O: Ops> Layer<O> {
    fn load(loader: &mut Loader<'_, O>, c: &EncoderConfig, b: &str) -> Result<Self, ModelError> {
        Ok(Self {
            q: loader.linear(&format!("{b}.attn_q"), c.width, c.width)?,
            k: loader.linear(&format!("{b}.attn_k"), c.width, c.width)?,
            v: loader.linear(&format!("{b}.attn_v"), c.width, c.width)?,
            o: loader.linear(&format!("{b}.attn_output"), c.width, c.width)?,
            attn_norm: Norm::load(loader, c, &format!("{b}.attn_output_norm"))?,
            up: loader.linear(&format!("{b}.ffn_up"), c.ffn, c.width)?,
            down: loader.linear(&format!("{b}.ffn_down"), c.width, c.ffn)?,
            ffn_norm: Norm::load(loader, c, &format!("{b}.layer_output_norm"))?,
        })
    }
}

impl<O: Ops> Classifier<O> {
    fn load(loader: &mut Loader<'_, O>, c: &EncoderConfig) -> Result<Option<Self>, ModelError> {
        let Some((output, n_labels)) = loader.labels(c.width)? else {
            return Ok(None);
        };
        let dense = match loader.keys.source.tensor("cls.weight") {
            Some(_) => Some(loader.linear("cls", c.width, c.width)?),
            None => None,
        };
        Ok(Some(Self {
            dense,
            output,
            n_labels,
        }))
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
            up: loader.buf(c.ffn),
            indices: Vec::with_capacity(loader.max_batch_rows),
        }
    }

    /// Logits of the labels, from the rows that the batch wants.
    fn classify(
        &mut self,
        ops: &mut O,
        classifier: &Classifier<O>,
        batch: &Batch<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        ops.select(&self.x, batch.outputs, &mut self.h);
        if let Some(dense) = &classifier.dense {
            ops.linear(&self.h, &mut [(dense, &mut self.a)])?;
            ops.tanh(&mut self.a);
            std::mem::swap(&mut self.h, &mut self.a);
        }
        self.indices.clear();
        self.indices.extend(0..batch.outputs.len() as u32);
        let selected = Batch {
            outputs: &self.indices,
            ..*batch
        };
        ops.logits(&classifier.output, None, &self.h, &selected, logits)
    }
}

impl<O: Ops> Network<O> for Bert<O> {
    fn shape(&self) -> Shape {
        self.config.shape()
    }

    fn layers(&self) -> Vec<PagedLayer> {
        self.config.paged_layers()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        self.config.workload(max_rows, 0)
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
        s.indices.clear();
        s.indices.extend(batch.rows.iter().map(|row| row.position));
        ops.rows(&w.positions, &s.indices, &mut s.h)?;
        ops.add(&mut s.x, &s.h);
        w.norm.apply(ops, &mut s.x, c);

        let spec = c.attention();
        for l in &w.layers {
            ops.linear(
                &s.x,
                &mut [(&l.q, &mut s.q), (&l.k, &mut s.k), (&l.v, &mut s.v)],
            )?;
            ops.attention(&spec, 0, memory, &s.q, &s.k, &s.v, batch, &mut s.a);
            ops.linear(&s.a, &mut [(&l.o, &mut s.h)])?;
            ops.add(&mut s.x, &s.h);
            l.attn_norm.apply(ops, &mut s.x, c);

            ops.linear(&s.x, &mut [(&l.up, &mut s.up)])?;
            ops.gelu(&mut s.up);
            ops.linear(&s.up, &mut [(&l.down, &mut s.h)])?;
            ops.add(&mut s.x, &s.h);
            l.ffn_norm.apply(ops, &mut s.x, c);
        }

        logits.clear();
        if let Some(classifier) = &w.classifier
            && !batch.outputs.is_empty()
        {
            s.classify(ops, classifier, batch, logits)?;
        }
        Ok(())
    }

    fn hidden(&self) -> &O::Buf {
        &self.state.x
    }

    fn head(&self) -> Head {
        let classifier = self.weights.classifier.as_ref();
        classifier.map_or(Head::None, |c| Head::Labels(c.n_labels))
    }

    fn is_causal(&self) -> bool {
        false
    }
}

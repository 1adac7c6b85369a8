//! A network without arithmetic: its logits are a hash of the tokens that it finds in the pages.
//!
//! So a sequence with a page too few, a page of another text, or a page that somebody has written
//! over, gets other tokens than the oracle says.

use ingle_formats::{TensorType, TokenId};
use ingle_model::{Lane, Network, Part, Shape};
use ingle_tensor::ops::{
    Activation, Attention, Batch, ExpertTensors, KvType, Linear, LoadError, Ops, PAGE_LEN, PageId,
    PagedLayer, Rope, Routing, Row, Workload,
};
use ingle_tensor::{SourceError, WeightSource};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const N_VOCAB: usize = 16;

/// The hash of a text with one more token.
pub fn hash(before: u64, token: TokenId) -> u64 {
    let x = (before ^ u64::from(token.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

/// What follows a text with this hash.
pub fn logits(hash: u64) -> impl Iterator<Item = f32> {
    (0..N_VOCAB as u64).map(move |token| {
        let x = (hash ^ token).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 56) as f32 / 32.0
    })
}

/// The hidden row of a token: [`Network::hidden`] has one number a row.
pub fn hidden(token: TokenId, position: u32) -> f32 {
    (token.0 * 31 + position) as f32
}

/// Layers of the network.
pub const N_LAYERS: usize = 4;

/// What goes wrong in a network, and what went wrong last.
#[derive(Default)]
pub struct Faults {
    /// A part of a pass in so many cannot be computed, whatever is in it; 0: all can.
    pub one_in: u64,
    /// Batches with these tokens cannot be computed.
    pub tokens: Vec<TokenId>,
    /// Parts of passes so far.
    parts: u64,
    /// Batches that failed.
    pub failed: u64,
    /// Sequences, and outputs, of the latest that failed.
    pub latest: (usize, usize),
    /// Batches that went through all layers between the parts of another.
    pub beside: u64,
    /// How long all that was computed took.
    pub took: Duration,
}

impl Faults {
    /// Whether the weights for these rows cannot be read.
    fn strike(&mut self, batch: &Batch<'_>) -> bool {
        self.parts += 1;
        let x = hash(self.parts, TokenId(7)) >> 8;
        let bad = |row: &Row| self.tokens.contains(&row.item.token());
        let strikes =
            self.one_in > 0 && x.is_multiple_of(self.one_in) || batch.rows.iter().any(bad);
        if strikes {
            let sequences: BTreeSet<u32> = batch.rows.iter().map(|row| row.sequence).collect();
            self.failed += 1;
            self.latest = (sequences.len(), batch.outputs.len());
        }
        strikes
    }
}

/// What goes from layer to layer: a row's token and, where it is an output, what it has seen.
#[derive(Clone, Copy)]
pub struct Stream {
    token: TokenId,
    seen: Option<u64>,
}

#[derive(Default)]
pub struct FakeNetwork {
    pub faults: Arc<Mutex<Faults>>,
    hidden: Vec<f32>,
    lanes: [Vec<Stream>; 2],
}

impl FakeNetwork {
    /// The rows of a part, as they come out of the part before.
    fn rows(&mut self, batch: &Batch<'_>, part: &Part<'_>) -> &mut Vec<Stream> {
        let x = &mut self.lanes[usize::from(part.lane == Lane::Side)];
        if part.begins() {
            x.clear();
            x.extend(batch.rows.iter().map(|row| Stream {
                token: row.item.token(),
                seen: None,
            }));
        } else if let Some(kept) = part.kept {
            *x = kept.iter().map(|&i| x[i as usize]).collect();
        }
        let same = x.iter().map(|x| x.token);
        assert!(same.eq(batch.rows.iter().map(|row| row.item.token())));
        x
    }
}

impl Network<FakeOps> for FakeNetwork {
    fn shape(&self) -> Shape {
        Shape {
            n_layers: N_LAYERS,
            width: 1,
            n_vocab: N_VOCAB,
            context_len: 1 << 20,
        }
    }

    fn layers(&self) -> Vec<PagedLayer> {
        let layer = PagedLayer {
            n_kv_heads: 1,
            head_dim: 1,
        };
        vec![layer; N_LAYERS]
    }

    fn workload(&self, max_rows: usize) -> Workload {
        Workload {
            max_rows,
            widest: 1,
            rotary_dim: 0,
            experts: None,
        }
    }

    fn forward_part(
        &mut self,
        _: &mut FakeOps,
        memory: &mut FakePages,
        batch: &Batch<'_>,
        part: &Part<'_>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let faults = Arc::clone(&self.faults);
        let mut faults = faults.lock().unwrap();
        let strikes = faults.strike(batch);
        faults.beside += u64::from(part.lane == Lane::Side);
        out.clear();
        let x = self.rows(batch, part);
        for layer in part.layers.clone() {
            faults.took += Duration::from_millis(10 + batch.rows.len() as u64);
            for row in batch.rows {
                let page = batch.sequences[row.sequence as usize][row.position as usize / PAGE_LEN];
                let slot = &mut memory.0[layer][page.0 as usize][row.position as usize % PAGE_LEN];
                // What a pass that fails leaves behind means nothing.
                *slot = if strikes {
                    TokenId(1 << 20)
                } else {
                    row.item.token()
                };
            }
            for &i in batch.outputs {
                let row = &batch.rows[i as usize];
                let pages = batch.sequences[row.sequence as usize].iter();
                let tokens = pages.flat_map(|page| memory.0[layer][page.0 as usize]);
                let seen = tokens.take(row.position as usize + 1).fold(0, hash);
                let before = x[i as usize].seen.replace(seen);
                assert!(strikes || before.is_none_or(|before| before == seen));
            }
        }
        if strikes {
            return Err(SourceError::Missing {
                name: "unreadable".into(),
            });
        }
        if part.layers.end == N_LAYERS {
            let seen = |&i: &u32| x[i as usize].seen.unwrap();
            out.extend(batch.outputs.iter().map(seen).flat_map(logits));
            let rows = batch.rows.iter();
            let hidden = rows.map(|row| hidden(row.item.token(), row.position));
            self.hidden = hidden.collect();
        }
        Ok(())
    }

    fn hidden(&self) -> &Vec<f32> {
        &self.hidden
    }
}

/// The tokens whose keys and values would be there, in each layer.
pub struct FakePages([Vec<[TokenId; PAGE_LEN]>; N_LAYERS]);

/// What a network without arithmetic needs: pages, and its hidden rows.
pub struct FakeOps;

impl Ops for FakeOps {
    type Buf = Vec<f32>;
    type Matrix = ();
    type Vector = ();
    type Experts = ();
    type Memory = FakePages;

    fn memory(&self, _: &[PagedLayer], _: KvType, n_pages: usize) -> FakePages {
        FakePages(std::array::from_fn(|_| {
            vec![[TokenId(u32::MAX); PAGE_LEN]; n_pages]
        }))
    }
    fn copy_page(&mut self, memory: &mut FakePages, from: PageId, to: PageId) {
        for layer in &mut memory.0 {
            layer[to.0 as usize] = layer[from.0 as usize];
        }
    }
    fn page_bytes(&self, memory: &FakePages) -> usize {
        memory.0.len() * PAGE_LEN * 4
    }
    fn take_page(&self, memory: &FakePages, page: PageId, bytes: &mut [u8]) {
        let tokens = memory.0.iter().flat_map(|layer| &layer[page.0 as usize]);
        for (bytes, token) in bytes.chunks_exact_mut(4).zip(tokens) {
            bytes.copy_from_slice(&token.0.to_le_bytes());
        }
    }
    fn put_page(&mut self, memory: &mut FakePages, page: PageId, bytes: &[u8]) {
        let tokens = memory
            .0
            .iter_mut()
            .flat_map(|layer| &mut layer[page.0 as usize]);
        for (bytes, token) in bytes.chunks_exact(4).zip(tokens) {
            *token = TokenId(u32::from_le_bytes(bytes.try_into().unwrap()));
        }
    }
    fn read(&mut self, x: &Vec<f32>, rows: std::ops::Range<usize>, out: &mut Vec<f32>) {
        out.extend_from_slice(&x[rows]);
    }

    // Nothing below is ever asked for.

    fn buf(&self, _: usize, _: usize) -> Vec<f32> {
        unreachable!()
    }
    fn load_matrix(
        &self,
        _: &dyn WeightSource,
        _: &str,
        _: usize,
        _: usize,
    ) -> Result<(), LoadError> {
        unreachable!()
    }
    fn load_experts(&self, _: &dyn WeightSource, _: &ExpertTensors) -> Result<(), LoadError> {
        unreachable!()
    }
    fn load_parts(
        &self,
        _: &dyn WeightSource,
        _: &str,
        _: &[usize],
        _: usize,
    ) -> Result<Vec<()>, LoadError> {
        unreachable!()
    }
    fn load_vector(&self, _: &dyn WeightSource, _: &str, _: usize) -> Result<(), LoadError> {
        unreachable!()
    }
    fn scratch_bytes(&self, _: &Workload) -> u64 {
        0
    }
    fn matrix_bytes(&self, _: TensorType, _: usize, _: usize) -> u64 {
        0
    }
    fn rows(&mut self, (): &(), _: &[u32], _: &mut Vec<f32>) -> Result<(), SourceError> {
        Ok(())
    }
    fn select(&mut self, _: &Vec<f32>, _: &[u32], _: &mut Vec<f32>) {}
    fn embed(&mut self, (): &(), _: &Batch<'_>, _: &mut Vec<f32>) -> Result<(), SourceError> {
        Ok(())
    }
    fn rms_norm(&mut self, _: &Vec<f32>, (): &(), _: f32, _: &mut Vec<f32>) {}
    fn layer_norm(&mut self, _: &mut Vec<f32>, (): &(), (): &(), _: f32) {}
    fn rms_norm_heads(&mut self, _: &mut Vec<f32>, (): &(), _: f32, _: usize) {}
    fn linear(
        &mut self,
        _: &Vec<f32>,
        _: &mut [(&Linear<Self>, &mut Vec<f32>)],
    ) -> Result<(), SourceError> {
        Ok(())
    }
    fn scale(&mut self, _: &mut Vec<f32>, _: f32) {}
    fn add(&mut self, _: &mut Vec<f32>, _: &Vec<f32>) {}
    fn rope(&mut self, _: &mut Vec<f32>, _: &Rope, _: usize, _: &Batch<'_>) {}
    #[allow(clippy::too_many_arguments, reason = "the operands of attention")]
    fn attention(
        &mut self,
        _: &Attention,
        _: usize,
        _: &mut FakePages,
        _: &Vec<f32>,
        _: &Vec<f32>,
        _: &Vec<f32>,
        _: &Batch<'_>,
        _: &mut Vec<f32>,
    ) {
    }
    fn foresee(&mut self, _: &Routing, (): &(), (): &(), _: &Vec<f32>, _: (&(), f32)) {}
    fn gelu(&mut self, _: &mut Vec<f32>) {}
    fn tanh(&mut self, _: &mut Vec<f32>) {}
    fn gate(&mut self, _: Activation, _: &mut Vec<f32>, _: &Vec<f32>) {}
    fn experts(
        &mut self,
        _: &Routing,
        (): &(),
        (): &(),
        _: &Vec<f32>,
        _: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        Ok(())
    }
    fn logits(
        &mut self,
        _: &Linear<Self>,
        _: Option<f32>,
        _: &Vec<f32>,
        _: &Batch<'_>,
        _: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        Ok(())
    }
}

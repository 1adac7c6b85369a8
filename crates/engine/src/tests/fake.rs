//! A network without arithmetic: its logits are a hash of the tokens that it finds in the pages.
//!
//! So a sequence with a page too few, a page of another text, or a page that somebody has written
//! over, gets other tokens than the oracle says.

use ingle_formats::{TensorType, TokenId};
use ingle_model::{Network, Shape};
use ingle_tensor::ops::{
    Activation, Attention, Batch, Experts, KvType, Linear, LoadError, Ops, PAGE_LEN, PageId,
    PagedLayer, Rope, Routing, Workload,
};
use ingle_tensor::{SourceError, WeightSource};

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

#[derive(Default)]
pub struct FakeNetwork {
    hidden: Vec<f32>,
}

impl Network<FakeOps> for FakeNetwork {
    fn shape(&self) -> Shape {
        Shape {
            n_layers: 1,
            width: 1,
            n_vocab: N_VOCAB,
            context_len: 1 << 20,
        }
    }

    fn layers(&self) -> Vec<PagedLayer> {
        Vec::new()
    }

    fn workload(&self, max_rows: usize) -> Workload {
        Workload {
            max_rows,
            widest: 1,
            rotary_dim: 0,
            experts: None,
        }
    }

    fn forward(
        &mut self,
        _: &mut FakeOps,
        memory: &mut FakePages,
        batch: &Batch<'_>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        self.hidden.clear();
        for row in batch.rows {
            let page = batch.sequences[row.sequence as usize][row.position as usize / PAGE_LEN];
            let token = row.item.token();
            memory.0[page.0 as usize][row.position as usize % PAGE_LEN] = token;
            self.hidden.push(hidden(token, row.position));
        }
        out.clear();
        for &i in batch.outputs {
            let row = &batch.rows[i as usize];
            let pages = batch.sequences[row.sequence as usize].iter();
            let tokens = pages.flat_map(|page| memory.0[page.0 as usize]);
            let seen = tokens.take(row.position as usize + 1);
            out.extend(logits(seen.fold(0, hash)));
        }
        Ok(())
    }

    fn hidden(&self) -> &Vec<f32> {
        &self.hidden
    }
}

/// The tokens whose keys and values would be there.
pub struct FakePages(Vec<[TokenId; PAGE_LEN]>);

/// What a network without arithmetic needs: pages, and its hidden rows.
pub struct FakeOps;

impl Ops for FakeOps {
    type Buf = Vec<f32>;
    type Matrix = ();
    type Vector = ();
    type Memory = FakePages;

    fn memory(&self, _: &[PagedLayer], _: KvType, n_pages: usize) -> FakePages {
        FakePages(vec![[TokenId(u32::MAX); PAGE_LEN]; n_pages])
    }
    fn copy_page(&mut self, memory: &mut FakePages, from: PageId, to: PageId) {
        memory.0[to.0 as usize] = memory.0[from.0 as usize];
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
    fn load_stack(
        &self,
        _: &dyn WeightSource,
        _: &str,
        _: usize,
        _: usize,
        _: usize,
    ) -> Result<Vec<()>, LoadError> {
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
    fn rows(&mut self, (): &(), _: &[u32], _: &mut Vec<f32>) {}
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
    fn gelu(&mut self, _: &mut Vec<f32>) {}
    fn tanh(&mut self, _: &mut Vec<f32>) {}
    fn gate(&mut self, _: Activation, _: &mut Vec<f32>, _: &Vec<f32>) {}
    fn experts(
        &mut self,
        _: &Routing,
        (): &(),
        _: &Experts<Self>,
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

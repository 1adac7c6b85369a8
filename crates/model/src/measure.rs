//! [`Ops`] that compute nothing and count: a network built with them says what it needs.
//!
//! So the plan that is shown before a load goes through the very code that loads.

use ingle_formats::TensorType;
use ingle_tensor::ops::{
    Activation, Attention, Batch, ExpertStack, ExpertTensors, KvType, Linear, LoadError, Ops,
    PageId, PagedLayer, Rope, Routing, Workload,
};
use ingle_tensor::{SourceError, WeightSource};
use std::cell::{Cell, RefCell};

/// Type, rows and columns of a matrix.
pub(crate) type Shape = (TensorType, usize, usize);

/// Counts what a network asks for.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    /// Every matrix but those of experts.
    pub matrices: RefCell<Vec<Shape>>,
    /// For each mixture, and each of its experts: gate, up and down.
    pub experts: RefCell<Vec<Vec<[Shape; 3]>>>,
    /// Every table of which single rows are taken, and nothing else.
    pub tables: RefCell<Vec<Shape>>,
    /// Bytes of all vectors.
    pub vector_bytes: Cell<u64>,
    /// Bytes of all buffers.
    pub buffer_bytes: Cell<u64>,
}

fn add(cell: &Cell<u64>, n: usize, size: usize) {
    let bytes = (n as u64).saturating_mul(size as u64);
    cell.set(cell.get().saturating_add(bytes));
}

impl Measure {
    fn count_matrix(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<(), LoadError> {
        let info = source
            .tensor(name)
            .ok_or_else(|| LoadError::Missing(name.to_owned()))?;
        self.matrices.borrow_mut().push((info.ty, rows, columns));
        Ok(())
    }
}

impl Ops for Measure {
    type Buf = ();
    type Matrix = ();
    type Vector = ();
    type Experts = ();
    type Memory = ();

    fn buf(&self, max_rows: usize, width: usize) {
        add(&self.buffer_bytes, max_rows, width.saturating_mul(4));
    }

    fn memory(&self, _: &[PagedLayer], _: KvType, _: usize) {}
    fn copy_page(&mut self, (): &mut (), _: PageId, _: PageId) {}

    fn load_matrix(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<(), LoadError> {
        self.count_matrix(source, name, rows, columns)
    }

    fn load_experts(
        &self,
        source: &dyn WeightSource,
        tensors: &ExpertTensors,
    ) -> Result<(), LoadError> {
        let mut layer = Vec::new();
        for expert in 0..tensors.n_experts {
            let mut matrices = [(TensorType::F32, 0, 0); 3];
            for (to, (stack, rows, columns)) in matrices.iter_mut().zip(tensors.stacks()) {
                let name = match stack {
                    ExpertStack::One(name) => Some(name),
                    ExpertStack::Each(names) => names.get(expert),
                };
                let info = name.and_then(|name| source.tensor(name)).ok_or_else(|| {
                    LoadError::Missing(name.map_or_else(String::new, Clone::clone))
                })?;
                *to = (info.ty, rows, columns);
            }
            layer.push(matrices);
        }
        self.experts.borrow_mut().push(layer);
        Ok(())
    }

    fn load_table(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<(), LoadError> {
        let info = source
            .tensor(name)
            .ok_or_else(|| LoadError::Missing(name.to_owned()))?;
        self.tables.borrow_mut().push((info.ty, rows, columns));
        Ok(())
    }

    fn load_parts(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: &[usize],
        columns: usize,
    ) -> Result<Vec<()>, LoadError> {
        let count = |&rows: &usize| self.count_matrix(source, name, rows, columns);
        rows.iter().map(count).collect()
    }

    fn load_vector(&self, _: &dyn WeightSource, _: &str, len: usize) -> Result<(), LoadError> {
        add(&self.vector_bytes, len, 4);
        Ok(())
    }

    fn scratch_bytes(&self, _: &Workload) -> u64 {
        0
    }

    fn matrix_bytes(&self, _: TensorType, _: usize, _: usize) -> u64 {
        0
    }

    fn rows(&mut self, (): &(), _: &[u32], (): &mut ()) -> Result<(), SourceError> {
        Ok(())
    }
    fn select(&mut self, (): &(), _: &[u32], (): &mut ()) {}
    fn layer_norm(&mut self, (): &mut (), (): &(), (): &(), _: f32) {}
    fn foresee(&mut self, _: &Routing, (): &(), (): &(), (): &(), _: (&(), f32)) {}
    fn gelu(&mut self, (): &mut ()) {}
    fn tanh(&mut self, (): &mut ()) {}
    fn embed(&mut self, (): &(), _: &Batch<'_>, (): &mut ()) -> Result<(), SourceError> {
        Ok(())
    }
    fn rms_norm(&mut self, (): &(), (): &(), _: f32, (): &mut ()) {}
    fn rms_norm_heads(&mut self, (): &mut (), (): &(), _: f32, _: usize) {}
    fn linear(&mut self, (): &(), _: &mut [(&Linear<Self>, &mut ())]) -> Result<(), SourceError> {
        Ok(())
    }
    fn scale(&mut self, (): &mut (), _: f32) {}
    fn add(&mut self, (): &mut (), (): &()) {}
    fn rope(&mut self, (): &mut (), _: &Rope, _: usize, _: &Batch<'_>) {}
    fn attention(
        &mut self,
        _: &Attention,
        _: usize,
        (): &mut (),
        (): &(),
        (): &(),
        (): &(),
        _: &Batch<'_>,
        (): &mut (),
    ) {
    }
    fn gate(&mut self, _: Activation, (): &mut (), (): &()) {}
    fn experts(
        &mut self,
        _: &Routing,
        (): &(),
        (): &(),
        (): &(),
        (): &mut (),
    ) -> Result<(), SourceError> {
        Ok(())
    }
    fn logits(
        &mut self,
        _: &Linear<Self>,
        _: Option<f32>,
        (): &(),
        _: &Batch<'_>,
        _: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        Ok(())
    }
    fn read(&mut self, (): &(), _: std::ops::Range<usize>, _: &mut Vec<f32>) {}
}

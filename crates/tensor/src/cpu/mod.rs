//! [`Ops`] on the CPU: packed weights, a leaf of kernels, a team of threads.

mod activations;
mod ahead;
mod attention;
mod cache;
mod experts;
mod foresight;
mod matrix;
mod rope;
mod rows;
mod shelf;
mod stream;
mod touch;

pub use activations::Buf;
pub use cache::Memory;
pub use experts::Experts;
pub use matrix::Matrix;
pub use stream::{Clock, OnDisk, Streamed, Streaming};

use crate::importance::{Place, Recorder};
use crate::kernel::choice::Choice;
use crate::kernel::matmul::{Activations, Column, PANEL};
use crate::kernel::{Isa, Leaf};
use crate::memory::{Arena, Shared};
use crate::ops::{
    Activation, Attention, Batch, ExpertTensors, KvType, Linear, LoadError, Ops, PageId,
    PagedLayer, Rope, Routing, Workload,
};
use crate::quant;
use crate::team::Team;
use crate::{SourceError, WeightSource};
use activations::{Forms, grain};
use ingle_formats::TensorType;
use matrix::Spot;
use std::sync::Arc;

/// Bytes of weights, times columns, that one thread multiplies sooner than a second one comes.
const ALONE: usize = 32 << 10;

/// The operations on the CPU.
#[derive(Debug)]
pub struct Cpu {
    leaf: &'static Leaf,
    choice: Choice,
    team: Arc<Team>,
    /// Where weights lie.
    arena: Arena,
    forms: Forms,
    columns: Vec<Column>,
    angles: rope::Angles,
    experts: experts::Scratch,
    /// Where weights come from that are not held in memory.
    stream: Option<stream::Stream>,
    attention: attention::Scratch,
    /// Rows whose logits are wanted.
    outputs: Option<Buf>,
    /// Tokens of a batch.
    tokens: Vec<u32>,
    /// Is told what each matrix is multiplied by.
    recorder: Option<Recorder>,
    /// Is told of each operation.
    observer: Observer,
}

// SAFETY: the raw pointers in `columns` are made and used within one operation.
unsafe impl Send for Cpu {}

/// What is called after each operation.
#[derive(Default)]
struct Observer(Option<Box<dyn FnMut(&'static str) + Send>>);

impl Observer {
    fn done(&mut self, operation: &'static str) {
        if let Some(observer) = &mut self.0 {
            observer(operation);
        }
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

/// A vector of f32 weights.
#[derive(Debug)]
pub struct Vector(Vec<f32>);

impl Cpu {
    /// Operations on a team, by the leaf of `isa`; `None` where this machine cannot run it.
    pub fn new(isa: Isa, team: Arc<Team>) -> Option<Self> {
        let leaf = Leaf::new(isa)?;
        Some(Self {
            leaf,
            choice: Choice::usual(leaf),
            team,
            arena: Arena::default(),
            forms: Forms::default(),
            columns: Vec::new(),
            angles: rope::Angles::default(),
            experts: experts::Scratch::default(),
            stream: None,
            attention: attention::Scratch::default(),
            outputs: None,
            tokens: Vec::new(),
            recorder: None,
            observer: Observer::default(),
        })
    }

    /// Tells `recorder` from now on what each matrix is multiplied by. What is computed stays the same.
    #[must_use]
    pub fn recording(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Calls `observer` with its name when an operation is done, for those who hold a clock.
    #[must_use]
    pub fn observed(mut self, observer: impl FnMut(&'static str) + Send + 'static) -> Self {
        self.observer = Observer(Some(Box::new(observer)));
        self
    }

    /// Takes kernels from now on, for matrices that are loaded, as `choice` says. What is computed stays
    /// the same.
    #[must_use]
    pub fn choosing(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// Which kernels are taken for matrices.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Measures which kernels are fastest here, for some milliseconds by the clock `now`, and takes them.
    #[must_use]
    pub fn measuring(self, now: &dyn Fn() -> std::time::Duration) -> Self {
        let choice = Choice::measure(self.leaf, now);
        self.choosing(choice)
    }

    /// Reads weights while they are used, from now on, for models that are loaded. What is computed
    /// stays the same. Kernels have been chosen before.
    #[must_use]
    pub fn streaming(mut self, streaming: Streaming) -> Self {
        self.stream = Some(stream::Stream::new(streaming, self.choice.clone()));
        self
    }

    /// What came of reading weights while they are used; `None` where all weights are in memory.
    pub fn streamed(&self) -> Option<Streamed> {
        self.stream.as_ref().map(stream::Stream::stats)
    }

    /// The instruction set of the leaf.
    pub fn isa(&self) -> Isa {
        self.leaf.isa()
    }

    /// Matrices of so many rows each, which lie one after the other in a tensor, at these places.
    fn load_each(
        &self,
        source: &dyn WeightSource,
        ty: TensorType,
        rows: &[(Place, usize)],
        columns: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let mut first = 0; // row
        let load = |(place, n): &(Place, usize)| {
            let offset = ty.byte_len((first * columns) as u64).unwrap_or(0);
            first += n;
            let (place, rows) = (place.clone(), *n);
            self.load_spot(
                source,
                Spot {
                    place,
                    ty,
                    offset,
                    rows,
                    columns,
                },
            )
        };
        rows.iter().map(load).collect()
    }

    /// A matrix, held in memory or read while it is used.
    fn load_spot(&self, source: &dyn WeightSource, spot: Spot) -> Result<Matrix, LoadError> {
        match &self.stream {
            Some(stream) if stream.on_disk() == OnDisk::All => {
                Ok(Matrix::on_disk(spot, stream, false, &self.arena))
            }
            _ => {
                let matrix = Matrix::load(source, spot, (&self.arena, &self.team))?;
                Ok(matrix.choosing(&self.choice))
            }
        }
    }

    /// Computes `n` products, shared among the team by panels; those of matrices that are not held as
    /// their parts come.
    fn multiply<'a>(
        &self,
        n: usize,
        product: &(dyn Fn(usize) -> Product<'a> + Sync),
        columns: &Columns<'_>,
    ) -> Result<(), SourceError> {
        let Some(stream) = self.stream.as_ref().filter(|s| s.on_disk() == OnDisk::All) else {
            multiply_all(self.leaf, &self.team, n, product, columns);
            return Ok(());
        };
        for Product {
            matrix,
            columns: of,
        } in (0..n).map(product)
        {
            let parts = matrix.on_disk.as_ref();
            if let Some((group, rows)) = parts.and_then(|p| Some((p.group.as_ref()?, p.rows))) {
                self.multiply_parts(stream, group, rows, columns.get(of))?;
            }
        }
        Ok(())
    }

    /// Multiplies the parts of a matrix, of so many rows each, as they come.
    fn multiply_parts(
        &self,
        stream: &stream::Stream,
        group: &stream::Group,
        rows: usize,
        columns: &[Column],
    ) -> Result<(), SourceError> {
        let all: Vec<(u32, u32)> = (0..group.0.len() as u32).map(|i| (i, i + 1)).collect();
        let (mut units, mut own) = (stream::Units::default(), Vec::new());
        stream.begin(group, &all, &mut units);
        let mut asked = false;
        loop {
            let ready = stream.ready(&mut units)?.to_vec();
            if ready.is_empty() {
                return Ok(());
            }
            if !asked {
                stream.ahead(group);
                asked = true;
            }
            own.clear();
            for part in &ready {
                let first = *part as usize * rows;
                // SAFETY: a part's outputs lie in those of the matrix.
                let moved = |c: &Column| unsafe {
                    Column {
                        out: c.out.add(first),
                        ..*c
                    }
                };
                own.extend(columns.iter().map(moved));
            }
            let n = columns.len();
            let product = |i: usize| Product {
                matrix: &stream.matrices(&units, ready[i])[0],
                columns: i * n..(i + 1) * n,
            };
            multiply_all(self.leaf, &self.team, ready.len(), &product, &Columns(&own));
            stream.done(&mut units);
        }
    }

    /// Rows of a table that is not held: read, each once, and decoded into the rows of `out`.
    fn read_rows(
        &self,
        stream: &stream::Stream,
        spot: &Spot,
        indices: &[u32],
        out: &mut Buf,
    ) -> Result<(), SourceError> {
        let mut once = indices.to_vec();
        once.sort_unstable();
        once.dedup();
        let rows = stream.rows(spot, &once)?;
        for (i, index) in indices.iter().enumerate() {
            let row = once.binary_search(index).ok().and_then(|at| rows.get(at));
            // The lengths fit by construction, so that decoding cannot fail.
            let _ = row.map(|row| quant::decode(spot.ty, row, out.row_mut(i)));
        }
        Ok(())
    }

    /// Row `indices[i]` of a table to row `i` of `out`.
    fn take_rows(&self, table: &Matrix, indices: &[u32], out: &mut Buf) -> Result<(), SourceError> {
        out.set_rows(indices.len());
        if let (Some(parts), Some(stream)) = (&table.on_disk, &self.stream) {
            return self.read_rows(stream, &parts.spot, indices, out);
        }
        let (stride, shared) = (out.stride, out.shared());
        self.each_row(indices.len(), &|i| {
            // SAFETY: each row is written by one member.
            let row = unsafe { shared.slice(i * stride, table.columns) };
            table.decode_row(indices[i] as usize, row);
        });
        Ok(())
    }

    /// Changes every row of `x` by `f`, shared among the team.
    fn each_in_place(&self, x: &mut Buf, f: &(dyn Fn(&mut [f32]) + Sync)) {
        let (rows, stride, width, shared) = (x.rows, x.stride, x.width, x.shared());
        self.each_row(rows, &|i| {
            // SAFETY: each row is written by one member.
            f(unsafe { shared.slice(i * stride, width) });
        });
    }

    /// Runs `f(row)` for every row, shared among the team.
    fn each_row(&self, rows: usize, f: &(dyn Fn(usize) + Sync)) {
        self.team
            .share(rows, grain(rows), &|_, range| range.for_each(f));
    }
}

/// One product to compute: a matrix, and its columns as a range of all columns.
struct Product<'a> {
    matrix: &'a Matrix,
    columns: std::ops::Range<usize>,
}

/// Computes `n` products, shared among the team by panels.
fn multiply_all<'a>(
    leaf: &Leaf,
    team: &Team,
    n: usize,
    product: &(dyn Fn(usize) -> Product<'a> + Sync),
    columns: &Columns<'_>,
) {
    let total: usize = (0..n).map(|i| product(i).matrix.panels()).sum();
    let many = (0..n).any(|i| product(i).columns.len() > 1);
    // Enough shares for the members to finish together, few enough that neighbouring panels stay
    // with one member.
    let shares = team.threads() * if many { 16 } else { 8 };
    let work = |p: Product<'_>| p.matrix.packed_bytes() * p.columns.len();
    let grain = match (0..n).map(|i| work(product(i))).sum::<usize>() <= ALONE {
        true => total,
        false => total.div_ceil(shares).clamp(1, if many { 8 } else { 64 }),
    };
    team.share(total, grain, &|_, range| {
        let mut first = 0;
        for product in (0..n).map(product) {
            let panels = product.matrix.panels();
            let from = range.start.clamp(first, first + panels) - first;
            let to = range.end.clamp(first, first + panels) - first;
            first += panels;
            if from == to {
                continue;
            }
            let columns = columns.get(product.columns);
            // SAFETY: columns were made for this matrix; a panel belongs to one member.
            unsafe { product.matrix.multiply_panels(leaf, from..to, columns) }
        }
    });
}

/// Columns that the members of a team read.
struct Columns<'a>(&'a [Column]);
// SAFETY: columns are only read; what they point to is written by one member each.
unsafe impl Sync for Columns<'_> {}

impl Columns<'_> {
    fn get(&self, range: std::ops::Range<usize>) -> &[Column] {
        &self.0[range]
    }
}

impl Ops for Cpu {
    type Buf = Buf;
    type Matrix = Matrix;
    type Vector = Vector;
    type Experts = Experts;
    type Memory = Memory;

    fn buf(&self, max_rows: usize, width: usize) -> Buf {
        Buf::new(max_rows, width)
    }

    fn memory(&self, layers: &[PagedLayer], kv: KvType, n_pages: usize) -> Memory {
        Memory::new(layers, kv, n_pages)
    }

    fn copy_page(&mut self, memory: &mut Memory, from: PageId, to: PageId) {
        memory.copy_page(from, to);
    }

    fn page_bytes(&self, memory: &Memory) -> usize {
        memory.page_bytes()
    }

    fn take_page(&self, memory: &Memory, page: PageId, bytes: &mut [u8]) {
        memory.take_page(page, bytes);
    }

    fn put_page(&mut self, memory: &mut Memory, page: PageId, bytes: &[u8]) {
        memory.put_page(page, bytes);
    }

    fn reads(&self) -> Option<Streamed> {
        self.streamed()
    }

    fn load_matrix(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, LoadError> {
        let ty = matrix::checked(source, name, &[columns, rows])?;
        let place = Place::whole(name);
        let spot = Spot {
            place,
            ty,
            offset: 0,
            rows,
            columns,
        };
        self.load_spot(source, spot)
    }

    fn load_table(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, LoadError> {
        let Some(stream) = &self.stream else {
            return self.load_matrix(source, name, rows, columns);
        };
        let ty = matrix::checked(source, name, &[columns, rows])?;
        let spot = Spot {
            place: Place::whole(name),
            ty,
            offset: 0,
            rows,
            columns,
        };
        Ok(Matrix::on_disk(spot, stream, true, &self.arena))
    }

    fn load_experts(
        &self,
        source: &dyn WeightSource,
        tensors: &ExpertTensors,
    ) -> Result<Experts, LoadError> {
        self.load_layer(source, tensors)
    }

    fn load_parts(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: &[usize],
        columns: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let ty = matrix::checked(source, name, &[columns, rows.iter().sum()])?;
        let place = Place::whole(name);
        let parts = rows.iter().map(|&n| (place.clone(), n));
        self.load_each(source, ty, &parts.collect::<Vec<_>>(), columns)
    }

    fn load_vector(
        &self,
        source: &dyn WeightSource,
        name: &str,
        len: usize,
    ) -> Result<Vector, LoadError> {
        let ty = matrix::checked(source, name, &[len])?;
        let mut blocks =
            vec![0; usize::try_from(ty.byte_len(len as u64).unwrap_or(0)).unwrap_or(0)];
        source.read(name, 0, &mut blocks)?;
        let mut out = vec![0.0; len];
        // The shape was checked, so that the lengths fit.
        let _ = quant::decode(ty, &blocks, &mut out);
        Ok(Vector(out))
    }

    fn scratch_bytes(&self, workload: &Workload) -> u64 {
        let columns = 3 * size_of::<Column>();
        let angles = 4 * workload.rotary_dim + 4;
        let experts = workload
            .experts
            .map_or(0, |e| experts::Scratch::row_bytes(&e));
        let row = activations::form_bytes(workload.widest) + columns + angles + experts;
        let attention = attention::Scratch::bytes(self.team.threads()) as u64;
        row as u64 * workload.max_rows as u64 + attention
    }

    fn matrix_bytes(&self, ty: TensorType, rows: usize, columns: usize) -> u64 {
        Matrix::bytes(ty, rows, columns) as u64
    }

    fn rows(&mut self, table: &Matrix, indices: &[u32], out: &mut Buf) -> Result<(), SourceError> {
        self.take_rows(table, indices, out)?;
        self.observer.done("rows");
        Ok(())
    }

    fn select(&mut self, x: &Buf, indices: &[u32], out: &mut Buf) {
        out.set_rows(indices.len());
        for (i, &index) in indices.iter().enumerate() {
            out.row_mut(i).copy_from_slice(x.row(index as usize));
        }
        self.observer.done("select");
    }

    fn embed(
        &mut self,
        table: &Matrix,
        batch: &Batch<'_>,
        out: &mut Buf,
    ) -> Result<(), SourceError> {
        let mut tokens = std::mem::take(&mut self.tokens);
        tokens.clear();
        tokens.extend(batch.rows.iter().map(|row| row.item.token().0));
        let taken = self.take_rows(table, &tokens, out);
        self.tokens = tokens;
        taken?;
        self.observer.done("embed");
        Ok(())
    }

    fn rms_norm(&mut self, x: &Buf, weight: &Vector, eps: f32, out: &mut Buf) {
        out.set_rows(x.rows);
        let (stride, shared) = (out.stride, out.shared());
        self.each_row(x.rows, &|i| {
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe {
                (self.leaf.rms_norm)(x.row(i), &weight.0, eps, shared.slice(i * stride, x.width))
            }
        });
        self.observer.done("rms_norm");
    }

    fn layer_norm(&mut self, x: &mut Buf, weight: &Vector, bias: &Vector, eps: f32) {
        let norm = self.leaf.layer_norm;
        // SAFETY: the leaf's features are there.
        self.each_in_place(x, &|row| unsafe { norm(row, &weight.0, &bias.0, eps) });
        self.observer.done("layer_norm");
    }

    fn gelu(&mut self, x: &mut Buf) {
        let gelu = self.leaf.gelu;
        // SAFETY: the leaf's features are there.
        self.each_in_place(x, &|row| unsafe { gelu(row) });
        self.observer.done("gelu");
    }

    fn tanh(&mut self, x: &mut Buf) {
        let tanh = self.leaf.tanh;
        // SAFETY: the leaf's features are there.
        self.each_in_place(x, &|row| unsafe { tanh(row) });
        self.observer.done("tanh");
    }

    fn rms_norm_heads(&mut self, x: &mut Buf, weight: &Vector, eps: f32, head_dim: usize) {
        let (rows, stride, width, shared) = (x.rows, x.stride, x.width, x.shared());
        self.each_row(rows, &|i| {
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe {
                for head in shared.slice(i * stride, width).chunks_exact_mut(head_dim) {
                    (self.leaf.rms_norm_in_place)(head, &weight.0, eps);
                }
            }
        });
        self.observer.done("rms_norm_heads");
    }

    fn linear(
        &mut self,
        x: &Buf,
        layers: &mut [(&Linear<Self>, &mut Buf)],
    ) -> Result<(), SourceError> {
        if let Some(recorder) = &mut self.recorder {
            let places = layers.iter().map(|(layer, _)| &layer.weight.place);
            let places: Vec<&Place> = places.collect();
            recorder.add(&places, x.width, (0..x.rows).map(|i| x.row(i)));
        }
        for form in [Activations::Blocks32, Activations::Blocks256] {
            if layers
                .iter()
                .any(|(layer, _)| layer.weight.activations() == form)
            {
                self.forms.make(form, x, self.leaf, &self.team);
            }
        }
        self.columns.clear();
        for (layer, out) in layers.iter_mut() {
            out.set_rows(x.rows);
            let (form, stride, shared) = (layer.weight.activations(), out.stride, out.shared());
            for row in 0..x.rows {
                // SAFETY: the row lies in the buffer.
                let out = unsafe { shared.ptr().add(row * stride) };
                self.columns.push(self.forms.column(form, x, row, out));
            }
        }
        let product = |i: usize| Product {
            matrix: &layers[i].0.weight,
            columns: i * x.rows..(i + 1) * x.rows,
        };
        self.multiply(layers.len(), &product, &Columns(&self.columns))?;
        for (layer, out) in layers.iter_mut() {
            if let Some(bias) = &layer.bias {
                let (stride, shared) = (out.stride, out.shared());
                self.each_row(x.rows, &|i| {
                    // SAFETY: each row is written by one member; the leaf's features are there.
                    unsafe { (self.leaf.add)(shared.slice(i * stride, bias.0.len()), &bias.0) }
                });
            }
        }
        self.observer.done("linear");
        Ok(())
    }

    fn scale(&mut self, x: &mut Buf, factor: f32) {
        let (rows, stride, width, shared) = (x.rows, x.stride, x.width, x.shared());
        self.each_row(rows, &|i| {
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe { (self.leaf.scale)(shared.slice(i * stride, width), factor) }
        });
        self.observer.done("scale");
    }

    fn add(&mut self, x: &mut Buf, y: &Buf) {
        let (rows, stride, width, shared) = (x.rows, x.stride, x.width, x.shared());
        self.each_row(rows, &|i| {
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe { (self.leaf.add)(shared.slice(i * stride, width), y.row(i)) }
        });
        self.observer.done("add");
    }

    fn rope(&mut self, x: &mut Buf, rope: &Rope, head_dim: usize, batch: &Batch<'_>) {
        self.rotate(x, rope, head_dim, batch);
        self.observer.done("rope");
    }

    fn attention(
        &mut self,
        spec: &Attention,
        layer: usize,
        memory: &mut Memory,
        q: &Buf,
        k: &Buf,
        v: &Buf,
        batch: &Batch<'_>,
        out: &mut Buf,
    ) {
        if layer == 0 {
            memory.writes(cache::pages(batch));
        }
        let cache = &mut memory.layers[layer];
        cache::store(&self.team, self.leaf, cache, k, v, batch);
        let scratch = &mut self.attention;
        attention::attend(&self.team, self.leaf, scratch, spec, cache, q, batch, out);
        self.observer.done("attention");
    }

    fn gate(&mut self, activation: Activation, gate: &mut Buf, up: &Buf) {
        let apply = match activation {
            Activation::Silu => self.leaf.silu_mul,
            Activation::GeluTanh => self.leaf.gelu_tanh_mul,
        };
        let (rows, stride, width, shared) = (gate.rows, gate.stride, gate.width, gate.shared());
        self.each_row(rows, &|i| {
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe { apply(shared.slice(i * stride, width), up.row(i)) }
        });
        self.observer.done("gate");
    }

    fn foresee(
        &mut self,
        routing: &Routing,
        router: &Matrix,
        experts: &Experts,
        x: &Buf,
        norm: (&Vector, f32),
    ) {
        self.look_ahead(routing, router, experts, x, norm);
        self.observer.done("foresee");
    }

    fn experts(
        &mut self,
        routing: &Routing,
        router: &Matrix,
        experts: &Experts,
        x: &Buf,
        out: &mut Buf,
    ) -> Result<(), SourceError> {
        self.run_experts(routing, router, experts, x, out)?;
        self.observer.done("experts");
        Ok(())
    }

    fn logits(
        &mut self,
        head: &Linear<Self>,
        soft_cap: Option<f32>,
        x: &Buf,
        batch: &Batch<'_>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let (n, n_vocab) = (batch.outputs.len(), head.weight.rows);
        if self
            .outputs
            .as_ref()
            .is_none_or(|b| b.max_rows < n || b.width != x.width)
        {
            self.outputs = Some(Buf::new(n, x.width));
        }
        let Some(rows) = &mut self.outputs else {
            return Ok(());
        };
        rows.set_rows(n);
        for (i, row) in batch.outputs.iter().enumerate() {
            rows.row_mut(i).copy_from_slice(x.row(*row as usize));
        }
        if let Some(recorder) = &mut self.recorder {
            let rows = (0..n).map(|i| rows.row(i));
            recorder.add(&[&head.weight.place], x.width, rows);
        }
        let form = head.weight.activations();
        self.forms.make(form, rows, self.leaf, &self.team);
        // Panels write sixteen outputs each, also where the vocabulary ends earlier. What `out` holds
        // stays there until they do: it is too much to be cleared for nothing.
        let stride = n_vocab.next_multiple_of(PANEL);
        out.resize(n * stride, 0.0);
        let shared = Shared::new(out);
        self.columns.clear();
        for i in 0..n {
            // SAFETY: the row lies in `out`.
            let row = unsafe { shared.ptr().add(i * stride) };
            self.columns.push(self.forms.column(form, rows, i, row));
        }
        let product = |_: usize| Product {
            matrix: &head.weight,
            columns: 0..n,
        };
        self.multiply(1, &product, &Columns(&self.columns))?;
        if stride != n_vocab {
            for i in 0..n {
                out.copy_within(i * stride..i * stride + n_vocab, i * n_vocab);
            }
            out.truncate(n * n_vocab);
        }
        if let Some(bias) = &head.bias {
            for row in out.chunks_exact_mut(n_vocab) {
                // SAFETY: the leaf's features are there.
                unsafe { (self.leaf.add)(row, &bias.0) }
            }
        }
        if let Some(cap) = soft_cap {
            let shared = Shared::new(out);
            self.each_row(n, &|i| {
                // SAFETY: each row is written by one member; the leaf's features are there.
                unsafe { (self.leaf.soft_cap)(shared.slice(i * n_vocab, n_vocab), cap) }
            });
        }
        self.observer.done("logits");
        Ok(())
    }

    fn read(&mut self, x: &Buf, rows: std::ops::Range<usize>, out: &mut Vec<f32>) {
        rows.for_each(|i| out.extend_from_slice(x.row(i)));
        self.observer.done("read");
    }

    fn each(&self, n: usize, work: &(dyn Fn(usize) + Sync)) {
        self.team.share(n, 1, &|_, range| range.for_each(work));
    }
}

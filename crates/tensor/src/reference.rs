//! [`Ops`] in the plainest way: every weight decoded to f32, every sum in f64, one row after another.
//!
//! It is the meaning of the operations, and what the CPU implementation is tested against within
//! a tolerance; it is far too slow to answer with.

use crate::ops::{
    Activation, Attention, Batch, ExpertStack, ExpertTensors, KvType, Linear, LoadError, Ops,
    PAGE_LEN, PageId, PagedLayer, Rope, RopePairs, Routing, Workload,
};
use crate::{SourceError, WeightSource, quant};
use ingle_formats::TensorType;

/// The plain implementation of [`Ops`].
#[derive(Debug, Default, Clone, Copy)]
pub struct Reference;

/// Activations `[rows, width]`.
#[derive(Debug, Clone)]
pub struct Buf {
    max_rows: usize,
    width: usize,
    data: Vec<f32>,
}

impl Buf {
    fn rows(&self) -> usize {
        self.data.len() / self.width
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.width..(i + 1) * self.width]
    }

    /// All numbers, row by row, for tests that look inside.
    pub fn numbers(&self) -> &[f32] {
        &self.data
    }

    fn set(&mut self, data: Vec<f32>) {
        assert!(
            data.len() <= self.max_rows * self.width,
            "more rows than the buffer was made for"
        );
        self.data = data;
    }
}

/// A matrix `[rows, columns]`, decoded.
#[derive(Debug, Clone)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f32>,
}

impl Matrix {
    fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.columns..(i + 1) * self.columns]
    }

    fn times(&self, x: &[f32]) -> Vec<f32> {
        assert_eq!(x.len(), self.columns, "the input is as wide as the matrix");
        (0..self.rows).map(|i| dot(self.row(i), x) as f32).collect()
    }
}

/// Keys and values of every position of all pages, already rounded to the type that they are
/// stored in.
#[derive(Debug, Clone)]
pub struct Memory {
    kv: KvType,
    /// `[layers][pages * PAGE_LEN]`, each a key and a value `[n_kv_heads * head_dim]`.
    cached: Vec<Vec<(Vec<f32>, Vec<f32>)>>,
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

fn silu(x: f32) -> f32 {
    let x = f64::from(x);
    (x / (1.0 + (-x).exp())) as f32
}

fn gelu_tanh(x: f32) -> f32 {
    let x = f64::from(x);
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    (x / 2.0 * (1.0 + inner.tanh())) as f32
}

fn soft_capped(x: f64, cap: Option<f32>) -> f64 {
    cap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh())
}

fn norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mean = dot(x, x) / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(eps)).sqrt();
    let scaled = x.iter().zip(weight);
    scaled
        .map(|(&x, &w)| (f64::from(x) * scale) as f32 * w)
        .collect()
}

/// Probabilities of scores.
fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

/// Where a position of a sequence lies among the positions of all pages.
fn slot(pages: &[PageId], position: u32) -> usize {
    let position = position as usize;
    pages[position / PAGE_LEN].0 as usize * PAGE_LEN + position % PAGE_LEN
}

fn rotate(head: &mut [f32], rope: &Rope, position: u32) {
    let half = rope.frequencies.len();
    for (i, &frequency) in rope.frequencies.iter().enumerate() {
        let (a, b) = match rope.pairs {
            RopePairs::Interleaved => (2 * i, 2 * i + 1),
            RopePairs::Halves => (i, i + half),
        };
        let (sin, cos) = (f64::from(position) * f64::from(frequency)).sin_cos();
        let (sin, cos) = (
            sin * f64::from(rope.magnitude),
            cos * f64::from(rope.magnitude),
        );
        let (x, y) = (f64::from(head[a]), f64::from(head[b]));
        head[a] = (x * cos - y * sin) as f32;
        head[b] = (x * sin + y * cos) as f32;
    }
}

fn load(source: &dyn WeightSource, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
    let info = source
        .tensor(name)
        .ok_or_else(|| LoadError::Missing(name.to_owned()))?;
    let expected: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    if info.shape != expected {
        return Err(LoadError::Shape {
            name: name.to_owned(),
            found: info.shape.clone(),
            expected,
        });
    }
    let mut bytes = vec![0; info.byte_len as usize];
    source.read(name, 0, &mut bytes)?;
    let mut out = vec![0.0; shape.iter().product()];
    quant::decode(info.ty, &bytes, &mut out).map_err(|error| LoadError::Blocks {
        name: name.to_owned(),
        error,
    })?;
    Ok(out)
}

impl Memory {
    fn stored(&self, x: &[f32]) -> Vec<f32> {
        let ty = match self.kv {
            KvType::F32 => return x.to_vec(),
            KvType::F16 => TensorType::F16,
            KvType::Q8_0 => TensorType::Q8_0,
            KvType::Q4_0 => TensorType::Q4_0,
        };
        let mut blocks = vec![0; ty.byte_len(x.len() as u64).unwrap_or(0) as usize];
        let mut out = vec![0.0; x.len()];
        let coded = quant::encode(ty, x, &mut blocks);
        let decoded = coded.and_then(|()| quant::decode(ty, &blocks, &mut out));
        assert!(decoded.is_ok(), "rows of whole blocks: {decoded:?}");
        out
    }
}

/// What one query head makes of the positions in `slots`.
fn attend(
    spec: &Attention,
    cached: &[(Vec<f32>, Vec<f32>)],
    slots: &[usize],
    query: &[f32],
    kv_head: usize,
) -> Vec<f32> {
    let part = kv_head * spec.head_dim..(kv_head + 1) * spec.head_dim;
    let score = |&slot: &usize| {
        let score = dot(query, &cached[slot].0[part.clone()]) * f64::from(spec.scale);
        soft_capped(score, spec.soft_cap)
    };
    let weights = softmax(&slots.iter().map(score).collect::<Vec<_>>());
    let mut out = vec![0.0; spec.head_dim];
    for (&slot, weight) in slots.iter().zip(weights) {
        for (out, &v) in out.iter_mut().zip(&cached[slot].1[part.clone()]) {
            *out += weight * f64::from(v);
        }
    }
    out.into_iter().map(|x| x as f32).collect()
}

/// The `top_k` experts of greatest probability and their weights; the lower index wins a tie.
fn route(routing: &Routing, logits: &[f32]) -> Vec<(usize, f64)> {
    let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
    let mut chosen: Vec<(usize, f64)> = softmax(&logits).into_iter().enumerate().collect();
    chosen.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    chosen.truncate(routing.top_k);
    if routing.renormalise {
        let sum: f64 = chosen.iter().map(|c| c.1).sum();
        chosen.iter_mut().for_each(|c| c.1 /= sum);
    }
    chosen
}

/// Gate, up and down matrices of every expert of a layer.
#[derive(Debug)]
pub struct Experts {
    gate: Vec<Matrix>,
    up: Vec<Matrix>,
    down: Vec<Matrix>,
}

impl Ops for Reference {
    type Buf = Buf;
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Experts = Experts;
    type Memory = Memory;

    fn buf(&self, max_rows: usize, width: usize) -> Buf {
        Buf {
            max_rows,
            width,
            data: Vec::new(),
        }
    }

    fn memory(&self, layers: &[PagedLayer], kv: KvType, n_pages: usize) -> Memory {
        let row = |l: &PagedLayer| vec![0.0; l.n_kv_heads * l.head_dim];
        let layer = |l: &PagedLayer| vec![(row(l), row(l)); n_pages * PAGE_LEN];
        Memory {
            kv,
            cached: layers.iter().map(layer).collect(),
        }
    }

    fn copy_page(&mut self, memory: &mut Memory, from: PageId, to: PageId) {
        for layer in &mut memory.cached {
            for slot in 0..PAGE_LEN {
                let [from, to] = [from, to].map(|page| page.0 as usize * PAGE_LEN + slot);
                layer[to] = layer[from].clone();
            }
        }
    }

    fn load_matrix(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, LoadError> {
        Ok(Matrix {
            rows,
            columns,
            data: load(source, name, &[columns, rows])?,
        })
    }

    fn load_experts(
        &self,
        source: &dyn WeightSource,
        tensors: &ExpertTensors,
    ) -> Result<Experts, LoadError> {
        let stack = |(stack, rows, columns): (&ExpertStack, usize, usize)| {
            let all = match stack {
                ExpertStack::One(name) => load(source, name, &[columns, rows, tensors.n_experts])?,
                ExpertStack::Each(names) => {
                    let each = names
                        .iter()
                        .map(|name| load(source, name, &[columns, rows]));
                    each.collect::<Result<Vec<_>, _>>()?.concat()
                }
            };
            let matrix = |data: &[f32]| Matrix {
                rows,
                columns,
                data: data.to_vec(),
            };
            Ok::<_, LoadError>(all.chunks(rows * columns).map(matrix).collect())
        };
        let [gate, up, down] = tensors.stacks().map(stack);
        Ok(Experts {
            gate: gate?,
            up: up?,
            down: down?,
        })
    }

    fn load_parts(
        &self,
        source: &dyn WeightSource,
        name: &str,
        rows: &[usize],
        columns: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let mut rest = load(source, name, &[columns, rows.iter().sum()])?;
        let matrix = |&rows: &usize| Matrix {
            rows,
            columns,
            data: rest.drain(..rows * columns).collect(),
        };
        Ok(rows.iter().map(matrix).collect())
    }

    fn load_vector(
        &self,
        source: &dyn WeightSource,
        name: &str,
        len: usize,
    ) -> Result<Vec<f32>, LoadError> {
        load(source, name, &[len])
    }

    fn scratch_bytes(&self, _: &Workload) -> u64 {
        0 // nothing is kept
    }

    fn matrix_bytes(&self, _: TensorType, rows: usize, columns: usize) -> u64 {
        rows as u64 * columns as u64 * 4
    }

    fn rows(&mut self, table: &Matrix, indices: &[u32], out: &mut Buf) -> Result<(), SourceError> {
        let rows = indices.iter().flat_map(|&i| table.row(i as usize).to_vec());
        out.set(rows.collect());
        Ok(())
    }

    fn select(&mut self, x: &Buf, indices: &[u32], out: &mut Buf) {
        let rows = indices.iter().flat_map(|&i| x.row(i as usize).to_vec());
        out.set(rows.collect());
    }

    fn layer_norm(&mut self, x: &mut Buf, weight: &Vec<f32>, bias: &Vec<f32>, eps: f32) {
        for row in x.data.chunks_mut(x.width) {
            let wide = || row.iter().copied().map(f64::from);
            let mean = wide().sum::<f64>() / row.len() as f64;
            let variance = wide().map(|x| (x - mean) * (x - mean)).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (variance + f64::from(eps)).sqrt();
            for ((x, &w), &b) in row.iter_mut().zip(weight).zip(bias) {
                *x = ((f64::from(*x) - mean) * scale * f64::from(w) + f64::from(b)) as f32;
            }
        }
    }

    fn gelu(&mut self, x: &mut Buf) {
        for x in &mut x.data {
            let wide = f64::from(*x);
            *x = (wide * 0.5 * libm::erfc(-wide / std::f64::consts::SQRT_2)) as f32;
        }
    }

    fn tanh(&mut self, x: &mut Buf) {
        x.data
            .iter_mut()
            .for_each(|x| *x = f64::from(*x).tanh() as f32);
    }

    fn embed(
        &mut self,
        table: &Matrix,
        batch: &Batch<'_>,
        out: &mut Buf,
    ) -> Result<(), SourceError> {
        let row = |r: &crate::ops::Row| table.row(r.item.token().0 as usize).to_vec();
        out.set(batch.rows.iter().flat_map(row).collect());
        Ok(())
    }

    fn rms_norm(&mut self, x: &Buf, weight: &Vec<f32>, eps: f32, out: &mut Buf) {
        let rows = (0..x.rows()).flat_map(|i| norm(x.row(i), weight, eps));
        out.set(rows.collect());
    }

    fn rms_norm_heads(&mut self, x: &mut Buf, weight: &Vec<f32>, eps: f32, head_dim: usize) {
        for head in x.data.chunks_mut(head_dim) {
            let normed = norm(head, weight, eps);
            head.copy_from_slice(&normed);
        }
    }

    fn linear(
        &mut self,
        x: &Buf,
        layers: &mut [(&Linear<Self>, &mut Buf)],
    ) -> Result<(), SourceError> {
        for (layer, out) in layers {
            let mut data = Vec::new();
            for i in 0..x.rows() {
                let mut y = layer.weight.times(x.row(i));
                if let Some(bias) = &layer.bias {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                data.append(&mut y);
            }
            out.set(data);
        }
        Ok(())
    }

    fn scale(&mut self, x: &mut Buf, factor: f32) {
        x.data.iter_mut().for_each(|x| *x *= factor);
    }

    fn add(&mut self, x: &mut Buf, y: &Buf) {
        x.data.iter_mut().zip(&y.data).for_each(|(x, y)| *x += y);
    }

    fn rope(&mut self, x: &mut Buf, rope: &Rope, head_dim: usize, batch: &Batch<'_>) {
        for (row, x) in batch.rows.iter().zip(x.data.chunks_mut(x.width)) {
            for head in x.chunks_mut(head_dim) {
                rotate(head, rope, row.position);
            }
        }
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
        for (i, row) in batch.rows.iter().enumerate() {
            let pages = batch.sequences[row.sequence as usize];
            let stored = (memory.stored(k.row(i)), memory.stored(v.row(i)));
            memory.cached[layer][slot(pages, row.position)] = stored;
        }
        let mut data = Vec::new();
        for (i, row) in batch.rows.iter().enumerate() {
            let pages = batch.sequences[row.sequence as usize];
            let window = spec.window.unwrap_or(u32::MAX);
            let first = (row.position + 1).saturating_sub(window);
            let own = batch.rows.iter().filter(|r| r.sequence == row.sequence);
            let end = own.map(|r| r.position).max().unwrap_or(0);
            let last = match spec.causal {
                true => row.position,
                false => row.position.saturating_add(window - 1).min(end),
            };
            let slots: Vec<usize> = (first..=last).map(|p| slot(pages, p)).collect();
            for (h, query) in q.row(i).chunks(spec.head_dim).enumerate() {
                let kv_head = h * spec.n_kv_heads / spec.n_heads;
                data.extend(attend(spec, &memory.cached[layer], &slots, query, kv_head));
            }
        }
        out.set(data);
    }

    fn gate(&mut self, activation: Activation, gate: &mut Buf, up: &Buf) {
        for (gate, &up) in gate.data.iter_mut().zip(&up.data) {
            let open = match activation {
                Activation::Silu => silu(*gate),
                Activation::GeluTanh => gelu_tanh(*gate),
            };
            *gate = open * up;
        }
    }

    fn foresee(&mut self, _: &Routing, _: &Matrix, _: &Experts, _: &Buf, _: (&Vec<f32>, f32)) {}

    fn experts(
        &mut self,
        routing: &Routing,
        router: &Matrix,
        experts: &Experts,
        x: &Buf,
        out: &mut Buf,
    ) -> Result<(), SourceError> {
        for i in 0..x.rows() {
            for (expert, weight) in route(routing, &router.times(x.row(i))) {
                let gate = experts.gate[expert].times(x.row(i));
                let up = experts.up[expert].times(x.row(i));
                let hidden: Vec<f32> = gate.iter().zip(&up).map(|(&g, &u)| silu(g) * u).collect();
                let y = experts.down[expert].times(&hidden);
                let row = &mut out.data[i * out.width..(i + 1) * out.width];
                for (out, y) in row.iter_mut().zip(y) {
                    *out += (weight * f64::from(y)) as f32;
                }
            }
        }
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
        out.clear();
        for &i in batch.outputs {
            let mut y = head.weight.times(x.row(i as usize));
            if let Some(bias) = &head.bias {
                y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
            out.extend(
                y.iter()
                    .map(|&y| soft_capped(f64::from(y), soft_cap) as f32),
            );
        }
        Ok(())
    }

    fn read(&mut self, x: &Buf, rows: std::ops::Range<usize>, out: &mut Vec<f32>) {
        rows.for_each(|i| out.extend_from_slice(x.row(i)));
    }
}

//! Attention over paged keys and values that reads the cache once.
//!
//! A row's result is made of fixed pieces: tiles of [`PAGE_LEN`] positions and chunks of
//! [`CHUNK`], both counted from position 0. Within a chunk the online softmax
//! (<https://arxiv.org/abs/2205.14135>) goes from tile to tile: with the new maximum m,
//! `c = exp(m_old - m)`, `p = exp(score - m)`, `l = fma(l, c, sum(p))`, `acc = acc * c`, then
//! `acc = fma(v, p, acc)` by position. Chunks are joined in ascending order ([`join`]). So the bits
//! depend neither on how a prompt was cut, nor on what else is in the batch, nor on which thread
//! did which chunk.
//!
//! All queries of a [`Job`] use a tile while it is in the caches: up to six share each vector of
//! keys or values that is loaded (`products.rs`). `layout.rs` says how a tile lies in memory.

mod layout;
mod products;
mod store;

pub use layout::Layout;
pub use store::{Store, store};

use super::simd::Simd;
use super::{elementwise, quantise};
use crate::memory::Aligned;
use crate::ops::{KvType, PAGE_LEN};
use products::{Scores, mix, score};
use std::ops::Range;

/// The longest head.
pub const MAX_HEAD_DIM: usize = 512;

/// Positions of a chunk: the part of a row's attention that one thread does alone.
pub const CHUNK: usize = 512;

const TILES: usize = CHUNK / PAGE_LEN;

/// Queries of consecutive rows of one sequence, for neighbouring key heads.
#[derive(Debug)]
pub struct Job<'a> {
    /// `[rows, q_stride]`, at the first query head of the first key head.
    pub q: *const f32,
    /// Elements from one row of queries to the next.
    pub q_stride: usize,
    /// `[rows, out_stride]`, at the first query head of the first key head.
    pub out: *mut f32,
    /// Elements from one row of outputs to the next.
    pub out_stride: usize,
    /// Rows.
    pub rows: usize,
    /// Key heads.
    pub heads: usize,
    /// Query heads that share a key head.
    pub group: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Position of the first row.
    pub position: usize,
    /// Rows see this many positions, their own included.
    pub window: usize,
    /// Rows see so many positions after their own, as far as there are any.
    pub ahead: usize,
    /// Positions that are stored.
    pub len: usize,
    /// Factor on scores.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`, after the scale.
    pub soft_cap: Option<f32>,
    /// How keys and values are stored.
    pub kv: KvType,
    /// The chunks to do.
    pub chunks: Range<usize>,
    /// Where the keys of the first key head begin, for each tile of these chunks: see [`Layout`].
    pub tiles: &'a [*const u8],
    /// Where partial results go, where the job does not do all chunks: `[heads, rows, group,
    /// partial_stride]`, each the chunks of the query that are asked for, in their order,
    /// [`partial_len`] elements each; `None`: the job does all, and writes outputs.
    pub partials: Option<*mut f32>,
    /// Elements from the partial results of one query to those of the next.
    pub partial_stride: usize,
}

impl Job<'_> {
    /// Queries of a key head.
    fn queries(&self) -> usize {
        self.rows * self.group
    }

    /// The positions that the query `i` of a key head sees.
    fn sees(&self, i: usize) -> Range<usize> {
        let end = self.position + i / self.group + 1;
        let seen = end.saturating_add(self.ahead).min(self.len);
        end.saturating_sub(self.window)..seen
    }

    /// Where a query, or its output, lies in rows of this stride.
    fn place(&self, head: usize, i: usize, stride: usize) -> usize {
        let (row, query_head) = (i / self.group, head * self.group + i % self.group);
        row * stride + query_head * self.head_dim
    }
}

/// Elements of a partial result: the largest score, the sum, two that are unused, and the
/// weighted values.
pub const fn partial_len(layout: &Layout) -> usize {
    4 + layout.value_width()
}

/// What a member of the team works in; it grows to the largest job and stays there.
#[derive(Debug, Default)]
pub struct Scratch {
    /// `[heads * queries, value_width]` of the chunk that is being done, and of those before.
    chunk: Floats,
    total: Floats,
    /// `[heads * queries]`
    running: Vec<Running>,
    totals: Vec<Running>,
    /// Quantised queries: `[heads * queries, head_dim]`, and scales and sums of blocks of 32.
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i16>,
    /// The decoded values of a tile.
    decoded: Floats,
}

/// f32 that begin at a cache line.
#[derive(Debug)]
struct Floats(Aligned);

impl Default for Floats {
    fn default() -> Self {
        Self(Aligned::zeroed(0))
    }
}

impl Floats {
    fn grow(&mut self, len: usize) {
        if self.0.floats().len() < len {
            self.0 = Aligned::zeroed(len * size_of::<f32>());
        }
    }

    fn all(&self) -> &[f32] {
        self.0.floats()
    }

    fn all_mut(&mut self) -> &mut [f32] {
        self.0.floats_mut()
    }
}

impl Scratch {
    /// Bytes that jobs of so many elements (queries times `head_dim`) make it take, at most.
    pub const fn bytes(elements: usize) -> usize {
        let running = 2 * size_of::<Running>() * (elements / 16 + 1);
        elements * (2 * 4 + 1 + 1) + running + PAGE_LEN * MAX_HEAD_DIM * 4
    }

    fn prepare(&mut self, job: &Job<'_>, layout: &Layout) {
        let n = job.heads * job.queries();
        self.chunk.grow(n * layout.value_width());
        self.total.grow(n * layout.value_width());
        grow(&mut self.running, n);
        grow(&mut self.totals, n);
        if layout.quantised() {
            grow(&mut self.values, n * job.head_dim);
            grow(&mut self.scales, n * job.head_dim / 32);
            grow(&mut self.sums, n * job.head_dim / 32);
            self.decoded.grow(PAGE_LEN * layout.value_width());
        }
    }
}

fn grow<T: Copy + Default>(to: &mut Vec<T>, len: usize) {
    if to.len() < len {
        to.resize(len, T::default());
    }
}

/// What one query has summed so far.
#[derive(Clone, Copy, Debug)]
struct Running {
    largest: f32,
    /// 0 where the query has seen nothing, else at least 1.
    sum: f32,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            largest: f32::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

/// Runs a job.
///
/// # Safety
/// The processor has the features of `S`; pointers are good for the shapes that [`Job`] names,
/// what they see of the tiles is stored, and `head_dim` is at most [`MAX_HEAD_DIM`], in whole
/// blocks of the type of the cache.
#[inline(always)]
pub unsafe fn attend<S: Simd>(job: &Job<'_>, scratch: &mut Scratch) {
    let layout = Layout::new(job.kv, job.head_dim);
    scratch.prepare(job, &layout);
    let n = job.heads * job.queries();
    scratch.totals[..n].fill(Running::default());
    // SAFETY: passed on from the caller.
    unsafe {
        if layout.quantised() {
            quantise_queries(job, scratch);
        }
        let first = job.chunks.start * TILES;
        for chunk in job.chunks.clone() {
            scratch.running[..n].fill(Running::default());
            scratch.chunk.all_mut()[..n * layout.value_width()].fill(0.0);
            let tiles = job.tiles.len().min((chunk + 1) * TILES - first);
            for tile in chunk * TILES - first..tiles {
                one_tile::<S>(job, &layout, scratch, (tile, (first + tile) * PAGE_LEN));
            }
            match job.partials {
                Some(partials) => {
                    let at = (chunk - job.chunks.start) * partial_len(&layout);
                    write_partials(job, &layout, scratch, partials.add(at));
                }
                None => add_to_totals(&layout, scratch, n),
            }
        }
        if job.partials.is_none() {
            write_outputs(job, &layout, scratch);
        }
    }
}

unsafe fn quantise_queries(job: &Job<'_>, scratch: &mut Scratch) {
    let (dim, blocks) = (job.head_dim, job.head_dim / 32);
    for head in 0..job.heads {
        for i in 0..job.queries() {
            let n = head * job.queries() + i;
            // SAFETY: the query is one of the job's.
            let q = unsafe {
                std::slice::from_raw_parts(job.q.add(job.place(head, i, job.q_stride)), dim)
            };
            quantise::blocks_of_32(
                q,
                &mut scratch.values[n * dim..][..dim],
                &mut scratch.scales[n * blocks..][..blocks],
                &mut scratch.sums[n * blocks..][..blocks],
            );
        }
    }
}

/// All queries of a job over one tile, whose first position is `base`.
#[inline(always)]
unsafe fn one_tile<S: Simd>(
    job: &Job<'_>,
    layout: &Layout,
    scratch: &mut Scratch,
    (tile, base): (usize, usize),
) {
    for head in 0..job.heads {
        // Where no row sees the tile, this is nowhere.
        let tile = job.tiles[tile].wrapping_add(head * layout.head_bytes());
        let mut decoded = false;
        let mut at = 0;
        while at < job.queries() {
            let take = match job.queries() - at {
                9.. | 6 => 6,
                4 | 7 | 8 => 4,
                3 | 5 => 3,
                left => left,
            };
            let end = job.sees(at + take - 1).end; // rows ascend
            if job.sees(at).start < base + PAGE_LEN && end > base {
                if layout.quantised() && !decoded {
                    // SAFETY: the tile holds this head's values.
                    unsafe {
                        layout.decode_values::<S>(tile, job.heads > 1, scratch.decoded.all_mut())
                    };
                    decoded = true;
                }
                let block = Block {
                    job,
                    layout,
                    head,
                    first: at,
                    base,
                    tile,
                };
                // SAFETY: the queries from `at` on are the job's, and the caller's promise.
                unsafe {
                    match take {
                        6 => block.run::<S, 6>(scratch),
                        4 => block.run::<S, 4>(scratch),
                        3 => block.run::<S, 3>(scratch),
                        2 => block.run::<S, 2>(scratch),
                        _ => block.run::<S, 1>(scratch),
                    }
                }
            }
            at += take;
        }
    }
}

/// Some queries of a key head, over one tile.
struct Block<'a> {
    job: &'a Job<'a>,
    layout: &'a Layout,
    head: usize,
    first: usize,
    /// Position at which the tile begins.
    base: usize,
    tile: *const u8,
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const Q: usize>(&self, scratch: &mut Scratch) {
        let (job, layout) = (self.job, self.layout);
        let n = self.head * job.queries() + self.first;
        let sees: [Range<usize>; Q] = std::array::from_fn(|c| job.sees(self.first + c));
        let mut scores = Scores([[0.0; PAGE_LEN]; Q]);
        // SAFETY: the queries are the job's, the tile is whole, and the caller's promise.
        unsafe {
            if layout.quantised() {
                let q = products::Quantised {
                    values: scratch.values[n * job.head_dim..].as_ptr(),
                    scales: scratch.scales[n * job.head_dim / 32..].as_ptr(),
                    sums: scratch.sums[n * job.head_dim / 32..].as_ptr(),
                };
                products::score_quantised::<S, Q>(&q, layout, self.tile, &mut scores);
            } else {
                let q: [*const f32; Q] = std::array::from_fn(|c| {
                    job.q
                        .add(job.place(self.head, self.first + c, job.q_stride))
                });
                score::<S, Q>(&q, layout, self.tile, &mut scores);
            }
        }
        let within = |at: usize| at.clamp(self.base, self.base + PAGE_LEN) - self.base;
        // All queries' largest scores first: they do not wait for each other.
        let mut largest = [None; Q];
        for c in 0..Q {
            let visible = within(sees[c].start)..within(sees[c].end);
            largest[c] = raise(&mut scores.0[c], visible, job, &scratch.running[n + c]);
        }
        let mut corrections = [1.0; Q];
        for c in 0..Q {
            corrections[c] = soften(&mut scores.0[c], largest[c], &mut scratch.running[n + c]);
        }
        let visible = within(sees[0].start)..within(sees[Q - 1].end);
        let width = layout.value_width();
        let acc = &mut scratch.chunk.all_mut()[n * width..(n + Q) * width];
        let values = match layout.quantised() {
            true => scratch.decoded.all().as_ptr().cast(),
            // SAFETY: the values stand behind the keys.
            false => unsafe { self.tile.add(layout.key_bytes()) },
        };
        // SAFETY: the values are stored as far as any of the queries sees.
        unsafe { mix::<S, Q>(acc, &scores, &corrections, visible, layout, values) }
    }
}

/// Scales and caps scores, makes those that are not in `visible` minus infinity, and returns the largest
/// of them and of what came before; `None` where all are invisible.
#[inline(always)]
fn raise(
    scores: &mut [f32; PAGE_LEN],
    visible: Range<usize>,
    job: &Job<'_>,
    running: &Running,
) -> Option<f32> {
    if visible.is_empty() {
        return None;
    }
    elementwise::scale(scores, job.scale);
    if let Some(cap) = job.soft_cap {
        elementwise::soft_cap(scores, cap);
    }
    if visible.len() < PAGE_LEN {
        for (i, s) in scores.iter_mut().enumerate() {
            *s = if i >= visible.start && i < visible.end {
                *s
            } else {
                f32::NEG_INFINITY
            };
        }
    }
    Some(elementwise::greater(
        elementwise::largest(scores),
        running.largest,
    ))
}

/// Scores to weights of the online softmax with this largest score; those of which none is visible to 0.
/// Returns the factor on what was summed before.
#[inline(always)]
fn soften(scores: &mut [f32; PAGE_LEN], largest: Option<f32>, running: &mut Running) -> f32 {
    let Some(largest) = largest else {
        scores.fill(0.0);
        return 1.0;
    };
    let correction = elementwise::exp_down(running.largest - largest);
    let sum = elementwise::exp_and_sum(scores, largest);
    *running = Running {
        largest,
        sum: running.sum.mul_add(correction, sum),
    };
    correction
}

/// Adds the partial result of a chunk to that of the chunks before it: with the larger maximum m,
/// `a = exp(m_total - m)` and `b = exp(m_part - m)`, `l = fma(l_total, a, l_part * b)`, and so for
/// each element. A chunk of which the query sees nothing changes nothing.
#[inline(always)]
fn join(total: &mut Running, total_acc: &mut [f32], part: Running, part_acc: &[f32]) {
    if part.sum == 0.0 {
        return;
    }
    if total.sum == 0.0 {
        *total = part;
        total_acc.copy_from_slice(part_acc);
        return;
    }
    let largest = if part.largest > total.largest {
        part.largest
    } else {
        total.largest
    };
    let a = elementwise::exp_down(total.largest - largest);
    let b = elementwise::exp_down(part.largest - largest);
    *total = Running {
        largest,
        sum: total.sum.mul_add(a, part.sum * b),
    };
    for (total, part) in total_acc.iter_mut().zip(part_acc) {
        *total = total.mul_add(a, part * b);
    }
}

#[inline(always)]
fn add_to_totals(layout: &Layout, scratch: &mut Scratch, n: usize) {
    let width = layout.value_width();
    let accs = scratch.total.all_mut().chunks_exact_mut(width);
    let parts = scratch
        .chunk
        .all()
        .chunks_exact(width)
        .zip(&scratch.running);
    for ((total, acc), (part_acc, part)) in scratch.totals.iter_mut().zip(accs).zip(parts).take(n) {
        join(total, acc, *part, part_acc);
    }
}

unsafe fn write_partials(job: &Job<'_>, layout: &Layout, scratch: &Scratch, to: *mut f32) {
    let width = layout.value_width();
    let n = job.heads * job.queries();
    let accs = scratch.chunk.all().chunks_exact(width);
    for (i, (running, acc)) in scratch.running.iter().zip(accs).take(n).enumerate() {
        // SAFETY: there is room for each query's partial results.
        unsafe {
            let to = to.add(i * job.partial_stride);
            to.write(running.largest);
            to.add(1).write(running.sum);
            to.add(4).copy_from_nonoverlapping(acc.as_ptr(), width);
        }
    }
}

unsafe fn write_outputs(job: &Job<'_>, layout: &Layout, scratch: &Scratch) {
    let width = layout.value_width();
    for head in 0..job.heads {
        for i in 0..job.queries() {
            let n = head * job.queries() + i;
            let acc = &scratch.total.all()[n * width..][..job.head_dim];
            // SAFETY: the output has `head_dim` elements at this head of this row.
            let out = unsafe {
                let out = job.out.add(job.place(head, i, job.out_stride));
                std::slice::from_raw_parts_mut(out, job.head_dim)
            };
            divide(out, acc, scratch.totals[n].sum);
        }
    }
}

#[inline(always)]
fn divide(out: &mut [f32], acc: &[f32], sum: f32) {
    for (out, acc) in out.iter_mut().zip(acc) {
        *out = acc / sum;
    }
}

/// Joins the partial results of one query, in the order of its chunks ([`partial_len`] elements
/// each), into its output.
#[inline(always)]
pub fn join_partials(partials: &[f32], len: usize, out: &mut [f32]) {
    let mut acc = [0.0; MAX_HEAD_DIM];
    let acc = &mut acc[..len - 4];
    let mut total = Running::default();
    for part in partials.chunks_exact(len) {
        let running = Running {
            largest: part[0],
            sum: part[1],
        };
        join(&mut total, acc, running, &part[4..]);
    }
    divide(out, acc, total.sum);
}

//! Attention over paged keys and values, one tile of [`PAGE_LEN`] positions after the other.
//!
//! Scores of a tile: lanes are positions, each an FMA chain over the head's elements, times the
//! scale, then the soft cap where there is one. Then the online softmax (<https://arxiv.org/abs/2205.14135>): with the new maximum m,
//! `c = exp(m_old - m)`, `p = exp(score - m)`, `l = fma(l, c, sum(p))`, `acc = acc * c`, then
//! `acc = fma(p, v, acc)` by position. Tiles count from position 0, so that a row's result does
//! not depend on how its prompt was cut or on what else is in the batch.

use super::elementwise;
use super::simd::Simd;
use crate::ops::{KvType, PAGE_LEN};

/// The longest head.
pub const MAX_HEAD_DIM: usize = 512;

/// The queries of consecutive rows of one sequence that share a key head.
#[derive(Debug)]
pub struct Job<'a> {
    /// `[rows, q_stride]`, at the first query head of the group.
    pub q: *const f32,
    /// Elements from one row of queries to the next.
    pub q_stride: usize,
    /// `[rows, out_stride]`, at the first query head of the group.
    pub out: *mut f32,
    /// Elements from one row of outputs to the next.
    pub out_stride: usize,
    /// Rows.
    pub rows: usize,
    /// Query heads that share the key head.
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
    /// Element type of keys and values.
    pub kv: KvType,
    /// For each page its keys of this head: `[PAGE_LEN / 16, head_dim, 16]`, and its values:
    /// `[PAGE_LEN, value_stride]`.
    pub pages: &'a [(*const u8, *const u8)],
    /// Elements from one position's values to the next: `head_dim` rounded up to 16.
    pub value_stride: usize,
}

/// Runs a job.
///
/// # Safety
/// The processor has the features of `S`; pointers are good for the shapes that [`Job`] names, the
/// pages reach to the last row's position, and `head_dim` is at most [`MAX_HEAD_DIM`].
#[inline(always)]
pub unsafe fn attend<S: Simd>(job: &Job<'_>) {
    let queries = job.rows * job.group;
    let mut at = 0;
    // SAFETY: passed on from the caller; `at + Q` stays within the queries.
    unsafe {
        while at + 4 <= queries {
            block::<S, 4>(job, at);
            at += 4;
        }
        while at + 2 <= queries {
            block::<S, 2>(job, at);
            at += 2;
        }
        if at < queries {
            block::<S, 1>(job, at);
        }
    }
}

/// What one query has summed so far.
#[derive(Clone, Copy)]
struct Running {
    largest: f32,
    sum: f32,
}

/// `Q` queries from number `first` on (numbered by row, then head) over all their tiles.
#[inline(always)]
unsafe fn block<S: Simd, const Q: usize>(job: &Job<'_>, first: usize) {
    let mut acc = [[0.0f32; MAX_HEAD_DIM]; Q];
    let mut scores = [[0.0f32; PAGE_LEN]; Q];
    let mut running = [Running {
        largest: f32::NEG_INFINITY,
        sum: 0.0,
    }; Q];
    let place = |c: usize| ((first + c) / job.group, (first + c) % job.group); // (row, head)
    // SAFETY: rows and heads are below the job's.
    let q: [*const f32; Q] = std::array::from_fn(|c| unsafe {
        let (row, head) = place(c);
        job.q.add(row * job.q_stride + head * job.head_dim)
    });
    // What each query sees: positions from.0 up to and without from.1.
    let sees: [(usize, usize); Q] = std::array::from_fn(|c| {
        let end = job.position + place(c).0 + 1;
        let seen = end.saturating_add(job.ahead).min(job.len);
        (end.saturating_sub(job.window), seen)
    });
    let (start, end) = (sees[0].0, sees[Q - 1].1); // rows ascend
    for tile in start / PAGE_LEN..end.div_ceil(PAGE_LEN) {
        let base = tile * PAGE_LEN;
        let (keys, values) = job.pages[tile];
        // SAFETY: the tile is one of the job's pages.
        unsafe {
            match job.kv {
                KvType::F16 => {
                    score::<S, Q>(&q, keys, job.head_dim, 2, |p| S::f_load_f16(p), &mut scores)
                }
                KvType::F32 => score::<S, Q>(
                    &q,
                    keys,
                    job.head_dim,
                    4,
                    |p| S::f_load(p.cast()),
                    &mut scores,
                ),
            }
        }
        for c in 0..Q {
            let from = sees[c].0.clamp(base, base + PAGE_LEN) - base;
            let to = sees[c].1.clamp(base, base + PAGE_LEN) - base;
            soften(
                &mut scores[c],
                from..to,
                (job.scale, job.soft_cap),
                &mut running[c],
                &mut acc[c][..job.value_stride],
            );
        }
        let from = start.max(base) - base;
        let to = end.min(base + PAGE_LEN) - base;
        // SAFETY: the tile is one of the job's pages, written up to the last row's position.
        unsafe {
            match job.kv {
                KvType::F16 => mix::<S, Q>(
                    &mut acc,
                    &scores,
                    from..to,
                    values,
                    job.value_stride,
                    2,
                    |p| S::f_load_f16(p),
                ),
                KvType::F32 => mix::<S, Q>(
                    &mut acc,
                    &scores,
                    from..to,
                    values,
                    job.value_stride,
                    4,
                    |p| S::f_load(p.cast()),
                ),
            }
        }
    }
    for c in 0..Q {
        let (row, head) = place(c);
        // SAFETY: the output has `head_dim` elements at this head of this row.
        let out = unsafe {
            std::slice::from_raw_parts_mut(
                job.out.add(row * job.out_stride + head * job.head_dim),
                job.head_dim,
            )
        };
        for (out, acc) in out.iter_mut().zip(&acc[c]) {
            *out = acc / running[c].sum;
        }
    }
}

/// `scores[query][position] = q . k`, for a whole tile.
#[inline(always)]
unsafe fn score<S: Simd, const Q: usize>(
    q: &[*const f32; Q],
    keys: *const u8,
    head_dim: usize,
    bytes: usize,
    load: impl Fn(*const u8) -> S::F,
    scores: &mut [[f32; PAGE_LEN]; Q],
) {
    for sixteen in 0..PAGE_LEN / 16 {
        for part in 0..16 / S::LANES {
            let lane = part * S::LANES;
            // SAFETY: sixteen positions of `head_dim` elements stand at `k`.
            unsafe {
                let k = keys.add((sixteen * head_dim * 16 + lane) * bytes);
                let mut acc = [S::f_zero(); Q];
                for d in 0..head_dim {
                    let k = load(k.add(d * 16 * bytes));
                    for c in 0..Q {
                        acc[c] = S::f_fma(k, S::f_splat(*q[c].add(d)), acc[c]);
                    }
                }
                for c in 0..Q {
                    S::f_store(scores[c].as_mut_ptr().add(sixteen * 16 + lane), acc[c]);
                }
            }
        }
    }
}

/// Scores to weights of the online softmax; what is not in `visible` gets 0.
#[inline(always)]
fn soften(
    scores: &mut [f32; PAGE_LEN],
    visible: std::ops::Range<usize>,
    (scale, soft_cap): (f32, Option<f32>),
    running: &mut Running,
    acc: &mut [f32],
) {
    if visible.is_empty() {
        scores.fill(0.0);
        return;
    }
    elementwise::scale(scores, scale);
    if let Some(cap) = soft_cap {
        elementwise::soft_cap(scores, cap);
    }
    for (i, s) in scores.iter_mut().enumerate() {
        if !visible.contains(&i) {
            *s = f32::NEG_INFINITY;
        }
    }
    let tile = elementwise::largest(scores);
    let largest = if tile > running.largest {
        tile
    } else {
        running.largest
    };
    let correction = elementwise::exp(running.largest - largest);
    let sum = elementwise::exp_and_sum(scores, largest);
    *running = Running {
        largest,
        sum: running.sum.mul_add(correction, sum),
    };
    for a in acc {
        *a *= correction;
    }
}

/// `acc[query] += weight[query][position] * v[position]`
#[inline(always)]
unsafe fn mix<S: Simd, const Q: usize>(
    acc: &mut [[f32; MAX_HEAD_DIM]; Q],
    weights: &[[f32; PAGE_LEN]; Q],
    visible: std::ops::Range<usize>,
    values: *const u8,
    stride: usize,
    bytes: usize,
    load: impl Fn(*const u8) -> S::F,
) {
    // Two vectors at a time: enough chains to hide an FMA's latency.
    for d in (0..stride).step_by(16) {
        for part in 0..16 / S::LANES {
            let d = d + part * S::LANES;
            // SAFETY: `d + LANES` is at most `stride`, a multiple of 16 and at most MAX_HEAD_DIM.
            unsafe {
                let mut sum: [S::F; Q] = std::array::from_fn(|c| S::f_load(acc[c].as_ptr().add(d)));
                for position in visible.clone() {
                    let v = load(values.add((position * stride + d) * bytes));
                    for c in 0..Q {
                        sum[c] = S::f_fma(v, S::f_splat(weights[c][position]), sum[c]);
                    }
                }
                for c in 0..Q {
                    S::f_store(acc[c].as_mut_ptr().add(d), sum[c]);
                }
            }
        }
    }
}

//! Attention of a batch, cut into jobs for the team.

use super::activations::{Buf, grain};
use super::cache::LayerCache;
use crate::kernel::Leaf;
use crate::kernel::attention::{Job, MAX_HEAD_DIM};
use crate::memory::Shared;
use crate::ops::{Attention, Batch, PAGE_LEN};
use crate::team::Team;

/// Rows of a sequence that make one job.
const ROWS: usize = 32;

/// Elements of queries, times positions they see, that one thread multiplies sooner than a second
/// one comes.
const ALONE: usize = 16 << 10;

/// Stores keys and values of the batch's rows.
pub(super) fn store(team: &Team, cache: &mut LayerCache, k: &Buf, v: &Buf, batch: &Batch<'_>) {
    let writer = cache.writer();
    team.share(batch.rows.len(), grain(batch.rows.len()), &|_, range| {
        for i in range {
            let row = &batch.rows[i];
            let position = row.position as usize;
            let page = batch.sequences[row.sequence as usize][position / PAGE_LEN];
            // SAFETY: rows of a batch are different positions, or positions of different pages.
            unsafe { writer.store(page, position % PAGE_LEN, k.row(i), v.row(i)) }
        }
    });
}

/// Consecutive rows of one sequence, at most [`ROWS`], as `(first, end)`.
fn runs<'a>(batch: &'a Batch<'_>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = batch.rows.get(start)?;
        let same = batch.rows[start..]
            .iter()
            .take(ROWS)
            .take_while(|r| r.sequence == first.sequence);
        let run = (start, start + same.count());
        start = run.1;
        Some(run)
    })
}

/// The last row of the sequence that `row` is of.
fn last_of_sequence(batch: &Batch<'_>, row: usize) -> usize {
    let sequence = batch.rows[row].sequence;
    let after = batch.rows[row + 1..].iter();
    row + after.take_while(|r| r.sequence == sequence).count()
}

/// Attends from every row of `q` to what it may see.
pub(super) fn attend(
    team: &Team,
    leaf: &Leaf,
    spec: &Attention,
    cache: &LayerCache,
    q: &Buf,
    batch: &Batch<'_>,
    out: &mut Buf,
) {
    assert!(
        spec.head_dim <= MAX_HEAD_DIM,
        "heads of {} elements",
        spec.head_dim
    );
    out.set_rows(q.rows);
    let out_stride = out.stride;
    let (queries, out) = (Pointer(q.as_ptr()), out.shared());
    let jobs = runs(batch).count() * spec.n_kv_heads;
    let seen = batch.rows.iter().map(|row| row.position as usize + 1);
    let grain = match seen.sum::<usize>() * q.width <= ALONE {
        true => jobs,
        false => 1,
    };
    team.share(jobs, grain, &|_, range| {
        let mut pages = Vec::new();
        for job in range {
            // The last runs see most positions: they go first.
            let (run, head) = (
                jobs / spec.n_kv_heads - 1 - job / spec.n_kv_heads,
                job % spec.n_kv_heads,
            );
            let Some((first, end)) = runs(batch).nth(run) else {
                continue;
            };
            attend_run(
                leaf,
                spec,
                cache,
                (queries, q.stride),
                batch,
                (first, end),
                head,
                (out, out_stride),
                &mut pages,
            );
        }
    });
}

/// A pointer to what all members read.
#[derive(Clone, Copy)]
struct Pointer(*const f32);
// SAFETY: the queries are borrowed and only read while members run.
unsafe impl Sync for Pointer {}
// SAFETY: as above.
unsafe impl Send for Pointer {}

#[allow(
    clippy::too_many_arguments,
    reason = "one call site; the operands of attention"
)]
fn attend_run(
    leaf: &Leaf,
    spec: &Attention,
    cache: &LayerCache,
    (queries, q_stride): (Pointer, usize),
    batch: &Batch<'_>,
    (first, end): (usize, usize),
    head: usize,
    (out, out_stride): (Shared<f32>, usize),
    pages: &mut Vec<(*const u8, *const u8)>,
) {
    let row = &batch.rows[first];
    let group = spec.n_heads / spec.n_kv_heads;
    let (last, ahead) = match (spec.causal, spec.window) {
        (true, _) => (end - 1, 0),
        (false, window) => (
            last_of_sequence(batch, end - 1),
            window.map_or(usize::MAX, |w| w as usize - 1),
        ),
    };
    let last = batch.rows[last].position as usize;
    let table = batch.sequences[row.sequence as usize];
    pages.clear();
    pages.extend(
        table[..=last / PAGE_LEN]
            .iter()
            .map(|page| cache.page(*page, head)),
    );
    let at = head * group * spec.head_dim;
    // SAFETY: rows and heads lie in the buffers; the jobs of a call write different heads or rows.
    unsafe {
        let job = Job {
            q: queries.0.add(first * q_stride + at),
            q_stride,
            out: out.ptr().add(first * out_stride + at),
            out_stride,
            rows: end - first,
            group,
            head_dim: spec.head_dim,
            position: row.position as usize,
            window: spec.window.map_or(usize::MAX, |w| w as usize),
            ahead,
            len: last + 1,
            scale: spec.scale,
            soft_cap: spec.soft_cap,
            kv: cache.kv(),
            pages,
            value_stride: cache.value_stride(),
        };
        (leaf.attend)(&job);
    }
}

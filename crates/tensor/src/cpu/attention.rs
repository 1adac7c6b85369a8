//! Attention of a batch, cut into jobs for the team.
//!
//! A job is some rows of one sequence, some key heads, and some chunks of positions. Where rows and
//! heads do not make enough jobs for all threads (one answer, a long context), chunks are shared out
//! too: their partial results are kept and joined afterwards, in order. What a job is made of
//! changes no bits.

use super::activations::Buf;
use super::cache::{LayerCache, Rows};
use crate::kernel::Leaf;
use crate::kernel::attention::{self as kernel, CHUNK, Job, partial_len};
use crate::memory::Shared;
use crate::ops::{Attention, Batch, PAGE_LEN};
use crate::team::Team;
use std::cmp::Reverse;
use std::ops::Range;

/// Elements of queries of a job, at most, where one row of one key head has no more: they and
/// their sums stay in the second level cache.
const JOB_ELEMENTS: usize = 12 << 10;

/// Elements of queries, times positions they see, that one thread multiplies sooner than a second
/// one comes.
const ALONE: usize = 16 << 10;

/// Jobs for each member of the team, so that they finish together.
const JOBS_EACH: usize = 4;

/// Partial results take this much at most; where they would take more, chunks are not shared out.
const PARTIAL_BYTES: usize = 4 << 20;

/// What attention works in; it grows to the largest batch and stays there.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    parts: Vec<Part>,
    /// Those that are being shared out.
    whole: Vec<Part>,
    splits: Vec<Split>,
    partials: Vec<f32>,
    members: Vec<Member>,
}

#[derive(Debug, Default)]
struct Member {
    kernel: kernel::Scratch,
    tiles: Vec<Tile>,
}

/// Where a page begins.
type Tile = *const u8;

// SAFETY: the addresses are found and used within one job.
unsafe impl Send for Member {}

impl Scratch {
    /// Bytes that a team of so many threads needs, at most, heads of the usual sizes assumed.
    pub(super) const fn bytes(threads: usize) -> usize {
        threads * kernel::Scratch::bytes(JOB_ELEMENTS) + PARTIAL_BYTES
    }
}

/// What one job does.
#[derive(Clone, Debug)]
struct Part {
    /// Rows of the batch, consecutive, of one sequence.
    rows: Range<usize>,
    /// Key heads.
    heads: Range<usize>,
    chunks: Range<usize>,
    /// Which of the splits it is part of.
    split: Option<usize>,
}

/// Rows whose chunks are shared out.
#[derive(Clone, Debug)]
struct Split {
    rows: Range<usize>,
    chunks: Range<usize>,
    /// Where the partial results begin: `[n_kv_heads, rows, group, chunks, partial_len]`.
    at: usize,
    /// Queries of the splits before it.
    queries_before: usize,
}

/// The operands of a call.
#[derive(Clone, Copy)]
struct Call<'a> {
    leaf: &'a Leaf,
    spec: &'a Attention,
    cache: &'a LayerCache,
    batch: &'a Batch<'a>,
    queries: Rows,
    q_stride: usize,
    out: Shared<f32>,
    out_stride: usize,
}

/// Attends from every row of `q` to what it may see.
#[allow(clippy::too_many_arguments, reason = "the operands of attention")]
pub(super) fn attend(
    team: &Team,
    leaf: &Leaf,
    scratch: &mut Scratch,
    spec: &Attention,
    cache: &LayerCache,
    q: &Buf,
    batch: &Batch<'_>,
    out: &mut Buf,
) {
    out.set_rows(q.rows);
    let call = Call {
        leaf,
        spec,
        cache,
        batch,
        queries: Rows(q.as_ptr()),
        q_stride: q.stride,
        out_stride: out.stride,
        out: out.shared(),
    };
    let threads = call.threads(team.threads());
    scratch.plan(&call, threads);
    if scratch.members.len() < team.threads() {
        scratch.members.resize_with(team.threads(), Member::default);
    }
    let (parts, splits) = (&scratch.parts[..], &scratch.splits[..]);
    let members = Shared::new(&mut scratch.members);
    let partials = Shared::new(&mut scratch.partials);
    let grain = if threads == 1 { parts.len() } else { 1 };
    team.share(parts.len(), grain, &|member, range| {
        // SAFETY: each member has a place of its own.
        let member = unsafe { &mut members.slice(member, 1)[0] };
        for part in &parts[range] {
            call.run(part, splits, partials, member);
        }
    });
    let Some(last) = splits.last() else { return };
    let queries = last.queries_before + last.rows.len() * spec.n_heads;
    let grain = queries.div_ceil(threads);
    team.share(queries, grain, &|_, range| {
        for query in range {
            call.join(splits, query, partials);
        }
    });
}

impl Scratch {
    /// Decides what the jobs are.
    fn plan(&mut self, call: &Call<'_>, threads: usize) {
        self.parts.clear();
        self.splits.clear();
        let (spec, rows) = (call.spec, call.batch.rows);
        let mut first = 0;
        while let Some(row) = rows.get(first) {
            let same = rows[first..]
                .iter()
                .take_while(|r| r.sequence == row.sequence);
            let end = first + same.count();
            let most = (JOB_ELEMENTS / (spec.head_dim * call.group())).max(1);
            // Equal parts, not whole ones and a rest.
            let n_parts = (end - first).div_ceil(most);
            for i in 0..n_parts {
                let part = |i| first + (end - first) * i / n_parts;
                self.add(call, part(i)..part(i + 1), most);
            }
            first = end;
        }
        if threads > 1 && self.parts.len() < threads * JOBS_EACH {
            self.split(call, threads);
        }
        // Rows with most to see go first; those of the same head follow each other, while it is in
        // the caches.
        self.parts.sort_unstable_by_key(|part| {
            let sequence = rows[part.rows.start].sequence;
            (
                sequence,
                part.heads.start,
                Reverse(part.chunks.end),
                Reverse(part.rows.end),
            )
        });
    }

    /// Jobs for some rows: as many key heads each as `most` rows allow.
    fn add(&mut self, call: &Call<'_>, rows: Range<usize>, most: usize) {
        let n_heads = call.spec.n_kv_heads;
        let n_parts = n_heads.div_ceil((most / rows.len()).max(1));
        let chunks = call.chunks(&rows);
        for i in 0..n_parts {
            let part = |i| n_heads * i / n_parts;
            self.parts.push(Part {
                rows: rows.clone(),
                heads: part(i)..part(i + 1),
                chunks: chunks.clone(),
                split: None,
            });
        }
    }

    /// Shares out chunks, then heads, until there are jobs enough.
    fn split(&mut self, call: &Call<'_>, threads: usize) {
        let len = partial_len(call.cache.layout());
        std::mem::swap(&mut self.parts, &mut self.whole);
        let pieces = (threads * JOBS_EACH).div_ceil(self.whole.len());
        let (mut at, mut queries_before) = (0, 0);
        for part in self.whole.drain(..) {
            let n_chunks = part.chunks.len();
            // All jobs of the same rows are of one split; those of the first heads come first.
            let known = self.splits.last().is_some_and(|s| s.rows == part.rows);
            let queries = part.rows.len() * call.spec.n_heads;
            let partials = queries * n_chunks * len;
            let fits = known || (at + partials) * size_of::<f32>() <= PARTIAL_BYTES;
            let by_chunk = if fits { pieces.min(n_chunks) } else { 1 };
            let split = (by_chunk > 1).then(|| {
                if !known {
                    self.splits.push(Split {
                        rows: part.rows.clone(),
                        chunks: part.chunks.clone(),
                        at,
                        queries_before,
                    });
                    at += partials;
                    queries_before += queries;
                }
                self.splits.len() - 1
            });
            let by_head = (pieces / 2).div_ceil(by_chunk).clamp(1, part.heads.len());
            for i in 0..by_chunk {
                let chunk = |i| part.chunks.start + n_chunks * i / by_chunk;
                for j in 0..by_head {
                    let head = |j| part.heads.start + part.heads.len() * j / by_head;
                    self.parts.push(Part {
                        rows: part.rows.clone(),
                        heads: head(j)..head(j + 1),
                        chunks: chunk(i)..chunk(i + 1),
                        split,
                    });
                }
            }
        }
        if self.partials.len() < at {
            self.partials.resize(at, 0.0);
        }
    }
}

impl Call<'_> {
    fn group(&self) -> usize {
        self.spec.n_heads / self.spec.n_kv_heads
    }

    /// Threads that are worth calling.
    fn threads(&self, threads: usize) -> usize {
        let width = self.spec.n_heads * self.spec.head_dim;
        let seen = self.batch.rows.iter().map(|row| {
            let seen = row.position as usize + 1;
            seen.min(self.window())
        });
        match seen.sum::<usize>() * width <= ALONE {
            true => 1,
            false => threads,
        }
    }

    fn window(&self) -> usize {
        self.spec.window.map_or(usize::MAX, |w| w as usize)
    }

    /// How many positions after its own a row may see.
    fn ahead(&self) -> usize {
        match self.spec.causal {
            true => 0,
            false => self.window().saturating_sub(1),
        }
    }

    /// Positions that are stored, of the sequence of these rows, as far as they may see them.
    fn len(&self, rows: &Range<usize>) -> usize {
        let row = |i: usize| &self.batch.rows[i];
        let mut last = rows.end - 1;
        if !self.spec.causal {
            let after = self.batch.rows[rows.end..].iter();
            let same = |r: &&crate::ops::Row| r.sequence == row(last).sequence;
            last += after.take_while(same).count();
        }
        row(last).position as usize + 1
    }

    /// The positions that any of these rows sees.
    fn sees(&self, rows: &Range<usize>) -> Range<usize> {
        let row = |i: usize| self.batch.rows[i].position as usize + 1;
        let start = row(rows.start).saturating_sub(self.window());
        let end = row(rows.end - 1).saturating_add(self.ahead());
        start..end.min(self.len(rows))
    }

    fn chunks(&self, rows: &Range<usize>) -> Range<usize> {
        let sees = self.sees(rows);
        sees.start / CHUNK..sees.end.div_ceil(CHUNK)
    }

    /// Does a part.
    fn run(&self, part: &Part, splits: &[Split], partials: Shared<f32>, member: &mut Member) {
        let (spec, layout) = (self.spec, self.cache.layout());
        let (group, n_rows) = (self.group(), part.rows.len());
        let row = &self.batch.rows[part.rows.start];
        let sees = self.sees(&part.rows);
        let pages = self.batch.sequences[row.sequence as usize];
        member.tiles.clear();
        let tiles = part.chunks.start * CHUNK / PAGE_LEN..part.chunks.end * CHUNK / PAGE_LEN;
        let stored = pages.iter().enumerate().take(sees.end.div_ceil(PAGE_LEN));
        for (tile, page) in stored.take(tiles.end).skip(tiles.start) {
            // Pages that no row sees need not be there.
            member.tiles.push(match (tile + 1) * PAGE_LEN > sees.start {
                true => self.cache.page(*page, part.heads.start),
                false => std::ptr::null(),
            });
        }
        let len = partial_len(layout);
        let (mut to, mut partial_stride) = (None, 0);
        if let Some(split) = part.split.map(|i| &splits[i]) {
            partial_stride = split.chunks.len() * len;
            let query = part.heads.start * n_rows * group;
            let chunk = part.chunks.start - split.chunks.start;
            // SAFETY: there is room for every chunk of every query of the split.
            to = Some(unsafe {
                let at = split.at + query * partial_stride + chunk * len;
                partials.ptr().add(at)
            });
        }
        let at = part.heads.start * group * spec.head_dim;
        // SAFETY: rows and heads lie in the buffers; the jobs of a call write different heads,
        // rows or chunks.
        unsafe {
            let job = Job {
                q: self.queries.at(part.rows.start * self.q_stride + at),
                q_stride: self.q_stride,
                out: self.out.ptr().add(part.rows.start * self.out_stride + at),
                out_stride: self.out_stride,
                rows: n_rows,
                heads: part.heads.len(),
                group,
                head_dim: spec.head_dim,
                position: row.position as usize,
                window: self.window(),
                ahead: self.ahead(),
                len: self.len(&part.rows),
                scale: spec.scale,
                soft_cap: spec.soft_cap,
                kv: layout.kv(),
                chunks: part.chunks.clone(),
                tiles: &member.tiles,
                partials: to,
                partial_stride,
            };
            (self.leaf.attend)(&job, &mut member.kernel);
        }
    }

    /// Joins the partial results of a query, counted through all splits by `[n_kv_heads, rows,
    /// group]`.
    fn join(&self, splits: &[Split], query: usize, partials: Shared<f32>) {
        let split = splits.partition_point(|split| split.queries_before <= query) - 1;
        let split = &splits[split];
        let (query, group) = (query - split.queries_before, self.group());
        let len = partial_len(self.cache.layout());
        let n = split.chunks.len() * len;
        let (head, row) = (
            query / group / split.rows.len(),
            query / group % split.rows.len(),
        );
        let at = (split.rows.start + row) * self.out_stride
            + (head * group + query % group) * self.spec.head_dim;
        // SAFETY: all jobs are done; each query has an output of its own.
        unsafe {
            let parts = partials.slice(split.at + query * n, n);
            let out = self.out.slice(at, self.spec.head_dim);
            (self.leaf.join_partials)(parts, len, out);
        }
    }
}

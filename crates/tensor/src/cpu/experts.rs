//! Mixture of experts: route, gather by expert, gate and up, activate, down, sum.

use super::activations::{Buf, Forms, form_bytes, grain};
use super::matrix::Matrix;
use super::{Columns, Cpu, Product, multiply_all};
use crate::kernel::Leaf;
use crate::kernel::matmul::{Activations, Column, PANEL};
use crate::memory::Shared;
use crate::ops::{ExpertWorkload, Experts, Routing};
use crate::team::Team;

/// What the experts of one layer need; grows to the largest batch and stays.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    scores: Option<Buf>,
    /// `[rows, top_k]`: experts in router order, best first, and their weights.
    chosen: Vec<(u32, f32)>,
    /// Per expert that was chosen: its number and the end of its entries in `entries`.
    active: Vec<(u32, u32)>,
    /// Places in `chosen`, grouped by expert.
    entries: Vec<u32>,
    /// `[rows * top_k, ffn]`
    gate: Option<Buf>,
    up: Option<Buf>,
    /// `[rows * top_k, width]`
    down: Option<Buf>,
    hidden_forms: Forms,
    columns: Vec<Column>,
    /// Per expert, where its next entry goes.
    ends: Vec<u32>,
}

/// A row's experts and their weights, best first, from its logits: softmax over all experts, the
/// largest (the lower number first among equals), renormalised where asked.
fn route(scores: &mut [f32], routing: &Routing, leaf: &Leaf, chosen: &mut [(u32, f32)]) {
    // SAFETY: the leaf's features are there.
    let all = unsafe { (leaf.exponentials)(scores) };
    let mut n = 0;
    for (expert, score) in (0..).zip(scores.iter()) {
        let worse = |(_, other): &(u32, f32)| other.total_cmp(score).is_lt();
        let at = chosen[..n].partition_point(|other| !worse(other));
        if at < chosen.len() {
            n = (n + 1).min(chosen.len());
            chosen[at..n].rotate_right(1);
            chosen[at] = (expert, *score);
        }
    }
    let total = match routing.renormalise {
        true => chosen.iter().map(|(_, score)| score).sum(),
        false => all,
    };
    for (_, score) in chosen {
        *score /= total;
    }
}

fn sized(buf: &mut Option<Buf>, rows: usize, width: usize) -> &mut Buf {
    if buf
        .as_ref()
        .is_none_or(|b| b.max_rows < rows || b.width != width)
    {
        *buf = None;
    }
    let buf = buf.get_or_insert_with(|| Buf::new(rows, width));
    buf.set_rows(rows);
    buf
}

impl Scratch {
    /// Bytes for a row of a batch, at most.
    pub(super) fn row_bytes(work: &ExpertWorkload) -> usize {
        let wide = |width: usize| 4 * width.next_multiple_of(PANEL);
        let floats = 2 * wide(work.ffn) + wide(work.width);
        let place = floats + form_bytes(work.ffn) + 2 * size_of::<Column>() + 12;
        work.top_k * place + wide(work.n_experts)
    }

    /// Fills `chosen` from the router's logits, each row by itself: see [`route`].
    fn route(&mut self, routing: &Routing, leaf: &Leaf, team: &Team) {
        let Some(scores) = &mut self.scores else {
            return;
        };
        let (rows, stride, width) = (scores.rows, scores.stride, scores.width);
        self.chosen.clear();
        self.chosen.resize(rows * routing.top_k, (0, 0.0));
        let (scores, chosen) = (scores.shared(), Shared::new(&mut self.chosen));
        team.share(rows, grain(rows), &|_, range| {
            for i in range {
                // SAFETY: each row is routed by one member.
                let (scores, chosen) = unsafe {
                    let chosen = chosen.slice(i * routing.top_k, routing.top_k);
                    (scores.slice(i * stride, width), chosen)
                };
                route(scores, routing, leaf, chosen);
            }
        });
    }

    /// Groups the chosen places by expert, in ascending order both.
    fn group(&mut self, n_experts: usize) {
        self.ends.clear();
        self.ends.resize(n_experts, 0);
        for (expert, _) in &self.chosen {
            self.ends[*expert as usize] += 1;
        }
        self.active.clear();
        let mut end = 0;
        for (expert, places) in (0..).zip(&mut self.ends) {
            let first = end;
            end += *places;
            if *places > 0 {
                self.active.push((expert, end));
            }
            *places = first;
        }
        self.entries.clear();
        self.entries.resize(self.chosen.len(), 0);
        for (place, (expert, _)) in (0..).zip(&self.chosen) {
            let at = &mut self.ends[*expert as usize];
            self.entries[*at as usize] = place;
            *at += 1;
        }
    }

    /// The entries of active expert number `i`.
    fn range(&self, i: usize) -> std::ops::Range<usize> {
        let start = if i == 0 {
            0
        } else {
            self.active[i - 1].1 as usize
        };
        start..self.active[i].1 as usize
    }
}

impl Cpu {
    pub(super) fn run_experts(
        &mut self,
        routing: &Routing,
        router: &Matrix,
        experts: &Experts<Self>,
        x: &Buf,
        out: &mut Buf,
    ) {
        let mut scratch = std::mem::take(&mut self.experts);
        self.score(router, x, &mut scratch);
        scratch.route(routing, self.leaf, &self.team);
        scratch.group(experts.gate.len());
        self.gate_and_up(routing, experts, x, &mut scratch);
        self.down(experts, &mut scratch);
        self.record(routing, experts, x, &scratch);
        self.sum(routing, &scratch, out);
        self.experts = scratch;
    }

    /// Tells the recorder what the matrices of the chosen experts were multiplied by.
    fn record(&mut self, routing: &Routing, experts: &Experts<Self>, x: &Buf, scratch: &Scratch) {
        let (Some(recorder), Some(hidden)) = (&mut self.recorder, &scratch.gate) else {
            return;
        };
        for (i, (expert, _)) in scratch.active.iter().enumerate() {
            let expert = *expert as usize;
            let entries = &scratch.entries[scratch.range(i)];
            let places = || entries.iter().map(|place| *place as usize);
            let inner = [&experts.gate[expert].place, &experts.up[expert].place];
            let rows = places().map(|place| x.row(place / routing.top_k));
            recorder.add(&inner, x.width, rows);
            let rows = places().map(|place| hidden.row(place));
            recorder.add(&[&experts.down[expert].place], hidden.width, rows);
        }
    }

    fn score(&mut self, router: &Matrix, x: &Buf, scratch: &mut Scratch) {
        let scores = sized(&mut scratch.scores, x.rows, router.rows);
        let form = router.activations();
        self.forms.make(form, x, self.leaf, &self.team);
        let (stride, shared) = (scores.stride, scores.shared());
        self.columns.clear();
        for row in 0..x.rows {
            // SAFETY: the row lies in the buffer.
            let out = unsafe { shared.ptr().add(row * stride) };
            self.columns.push(self.forms.column(form, x, row, out));
        }
        let product = |_: usize| Product {
            matrix: router,
            columns: 0..x.rows,
        };
        multiply_all(self.leaf, &self.team, 1, &product, &Columns(&self.columns));
    }

    /// `gate = silu(W_gate x) * W_up x` for every chosen place.
    fn gate_and_up(
        &mut self,
        routing: &Routing,
        experts: &Experts<Self>,
        x: &Buf,
        scratch: &mut Scratch,
    ) {
        let (places, ffn) = (scratch.chosen.len(), experts.gate[0].rows);
        let forms = [experts.gate[0].activations(), experts.up[0].activations()];
        for form in [Activations::Blocks32, Activations::Blocks256] {
            if forms.contains(&form) {
                self.forms.make(form, x, self.leaf, &self.team);
            }
        }
        scratch.columns.clear();
        let gate = sized(&mut scratch.gate, places, ffn);
        let (stride, gates) = (gate.stride, gate.shared());
        let ups = sized(&mut scratch.up, places, ffn).shared();
        for (form, out) in forms.into_iter().zip([gates, ups]) {
            for place in &scratch.entries {
                let place = *place as usize;
                // SAFETY: the row lies in the buffer.
                let out = unsafe { out.ptr().add(place * stride) };
                scratch
                    .columns
                    .push(self.forms.column(form, x, place / routing.top_k, out));
            }
        }
        let scratch_ref: &Scratch = scratch;
        let shared = SharedScratch(scratch_ref);
        let product = |i: usize| {
            let scratch = shared.get();
            let (expert, range) = (scratch.active[i / 2].0 as usize, scratch.range(i / 2));
            match i % 2 {
                0 => Product {
                    matrix: &experts.gate[expert],
                    columns: range,
                },
                _ => Product {
                    matrix: &experts.up[expert],
                    columns: range.start + places..range.end + places,
                },
            }
        };
        let n = 2 * scratch_ref.active.len();
        multiply_all(
            self.leaf,
            &self.team,
            n,
            &product,
            &Columns(&scratch_ref.columns),
        );
        if let (Some(gate), Some(up)) = (&mut scratch.gate, &scratch.up) {
            let (stride, width, gates) = (gate.stride, gate.width, gate.shared());
            self.each_row(places, &|i| {
                // SAFETY: each row is written by one member; the leaf's features are there.
                unsafe { (self.leaf.silu_mul)(gates.slice(i * stride, width), up.row(i)) }
            });
        }
    }

    fn down(&mut self, experts: &Experts<Self>, scratch: &mut Scratch) {
        let places = scratch.chosen.len();
        let form = experts.down[0].activations();
        let down = sized(&mut scratch.down, places, experts.down[0].rows);
        let (stride, out) = (down.stride, down.shared());
        let Some(hidden) = &scratch.gate else { return };
        scratch
            .hidden_forms
            .make(form, hidden, self.leaf, &self.team);
        scratch.columns.clear();
        for place in &scratch.entries {
            let place = *place as usize;
            // SAFETY: the row lies in the buffer.
            let out = unsafe { out.ptr().add(place * stride) };
            scratch
                .columns
                .push(scratch.hidden_forms.column(form, hidden, place, out));
        }
        let scratch: &Scratch = scratch;
        let shared = SharedScratch(scratch);
        let product = |i: usize| {
            let scratch = shared.get();
            Product {
                matrix: &experts.down[scratch.active[i].0 as usize],
                columns: scratch.range(i),
            }
        };
        multiply_all(
            self.leaf,
            &self.team,
            scratch.active.len(),
            &product,
            &Columns(&scratch.columns),
        );
    }

    /// Adds the experts' outputs to `out`, in router order.
    fn sum(&self, routing: &Routing, scratch: &Scratch, out: &mut Buf) {
        let Some(down) = &scratch.down else { return };
        let (rows, stride, width, shared) = (out.rows, out.stride, out.width, out.shared());
        let chosen = &scratch.chosen;
        self.each_row(rows, &|i| {
            let first = i * routing.top_k;
            for (place, (_, weight)) in (first..).zip(&chosen[first..][..routing.top_k]) {
                // SAFETY: each row is written by one member; the leaf's features are there.
                unsafe {
                    (self.leaf.add_scaled)(
                        shared.slice(i * stride, width),
                        down.row(place),
                        *weight,
                    )
                }
            }
        });
    }
}

/// Lets members read the scratch, whose columns hold pointers.
struct SharedScratch<'a>(&'a Scratch);
// SAFETY: members only read the lists of experts and entries.
unsafe impl Sync for SharedScratch<'_> {}

impl<'a> SharedScratch<'a> {
    fn get(&self) -> &'a Scratch {
        self.0
    }
}

//! Mixture of experts: route, gather by expert, gate and up, activate, down, sum.

use super::activations::{Buf, Forms, form_bytes};
use super::matrix::Matrix;
use super::{Columns, Cpu, Product, multiply_all};
use crate::kernel::elementwise;
use crate::kernel::matmul::{Activations, Column, PANEL};
use crate::ops::{ExpertWorkload, Experts, Routing};

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
    order: Vec<u32>,
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

    /// Fills `chosen` from the router's logits: softmax over all experts, the `top_k` largest
    /// (the lower number first among equals), renormalised where asked.
    fn route(&mut self, routing: &Routing) {
        self.chosen.clear();
        let Some(scores) = &mut self.scores else {
            return;
        };
        for i in 0..scores.rows {
            let row = scores.row_mut(i);
            let largest = elementwise::largest(row);
            let mut sum = 0.0;
            for score in row.iter_mut() {
                *score = elementwise::exp(*score - largest);
                sum += *score;
            }
            self.order.clear();
            self.order.extend(0..row.len() as u32);
            self.order.sort_unstable_by(|a, b| {
                row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b))
            });
            let best = &self.order[..routing.top_k];
            let total = if routing.renormalise {
                best.iter().map(|e| row[*e as usize]).sum()
            } else {
                sum
            };
            self.chosen
                .extend(best.iter().map(|e| (*e, row[*e as usize] / total)));
        }
    }

    /// Groups the chosen places by expert.
    fn group(&mut self, n_experts: usize) {
        self.active.clear();
        self.entries.clear();
        for expert in 0..n_experts as u32 {
            let before = self.entries.len();
            let places = self
                .chosen
                .iter()
                .enumerate()
                .filter(|(_, (e, _))| *e == expert);
            self.entries.extend(places.map(|(i, _)| i as u32));
            if self.entries.len() > before {
                self.active.push((expert, self.entries.len() as u32));
            }
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
        scratch.route(routing);
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

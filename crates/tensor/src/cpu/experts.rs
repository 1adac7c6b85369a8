//! Mixture of experts: route, gather by expert, gate and up, activate, down, sum.
//!
//! Experts that lie in memory are computed together, those that come from disk as they arrive; each
//! row's sum is in router order either way.

use super::activations::{Buf, Forms, form_bytes, grain};
use super::matrix::{Matrix, Spot, checked};
use super::stream::{Group, Stream, Units};
use super::{Columns, Cpu, Product, Vector, multiply_all};
use crate::importance::Place;
use crate::kernel::Leaf;
use crate::kernel::matmul::{Activations, Column, PANEL};
use crate::memory::Shared;
use crate::ops::{ExpertStack, ExpertTensors, ExpertWorkload, LoadError, Routing};
use crate::team::Team;
use crate::{SourceError, WeightSource};
use ingle_formats::TensorType;

/// The experts of a layer.
#[derive(Debug)]
pub struct Experts {
    n: usize,
    held: Held,
}

#[derive(Debug)]
enum Held {
    InMemory(Vec<Vec<Matrix>>),
    /// They are read while they are used.
    OnDisk(Group),
}

/// The matrices of one expert: gate and up, `[ffn, width]`, and down, `[width, ffn]`.
type Expert = [Matrix];

/// Their places in it.
const GATE: usize = 0;
const UP: usize = 1;
const DOWN: usize = 2;

/// Gate, up and down of every expert.
fn spots(source: &dyn WeightSource, tensors: &ExpertTensors) -> Result<Vec<Vec<Spot>>, LoadError> {
    let n = tensors.n_experts;
    let stack = |(stack, rows, columns): (&ExpertStack, usize, usize)| {
        let spot = |place: Place, ty: TensorType| Spot {
            offset: ty
                .byte_len((place.index * rows * columns) as u64)
                .unwrap_or(0),
            place,
            ty,
            rows,
            columns,
        };
        match stack {
            ExpertStack::One(name) => {
                let ty = checked(source, name, &[columns, rows, n])?;
                Ok(Place::each(name, n).map(|place| spot(place, ty)).collect())
            }
            ExpertStack::Each(names) => {
                let one = |name: &String| {
                    let ty = checked(source, name, &[columns, rows])?;
                    Ok(spot(Place::whole(name), ty))
                };
                names.iter().map(one).collect::<Result<Vec<_>, LoadError>>()
            }
        }
    };
    let [gate, up, down] = tensors.stacks().map(stack);
    let (gate, up, down) = (gate?, up?, down?);
    let all = gate.into_iter().zip(up).zip(down);
    Ok(all.map(|((gate, up), down)| vec![gate, up, down]).collect())
}

/// What the experts of one layer need; grows to the largest batch and stays.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    routes: Routes,
    /// Of the layer to come.
    foreseen: Routes,
    /// Normalised rows, for a router to look ahead with.
    ahead: Option<Buf>,
    /// Active experts, as indices into [`Routes::active`], that are computed together.
    wave: Vec<u32>,
    units: Units,
    /// `[rows * top_k, ffn]`, grouped by expert
    gate: Option<Buf>,
    up: Option<Buf>,
    /// `[rows * top_k, width]`, in router order
    down: Option<Buf>,
    hidden_forms: Forms,
    columns: Vec<Column>,
    /// Of each expert of the wave, where its columns begin; one more at the end.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

/// Which rows go to which experts.
#[derive(Debug, Default)]
pub(super) struct Routes {
    scores: Option<Buf>,
    /// `[rows, top_k]`: experts in router order, best first, and their weights.
    chosen: Vec<(u32, f32)>,
    /// Per expert that was chosen: its number and the end of its entries in `entries`.
    pub active: Vec<(u32, u32)>,
    /// Places in `chosen`, grouped by expert.
    entries: Vec<u32>,
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

impl Routes {
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
    fn range(&self, i: u32) -> std::ops::Range<usize> {
        let start = match i {
            0 => 0,
            _ => self.active[i as usize - 1].1 as usize,
        };
        start..self.active[i as usize].1 as usize
    }

    /// The experts that were chosen, those of most rows and of the best places first.
    fn by_demand(&self, top_k: usize) -> Vec<u32> {
        let mut demand: Vec<(usize, usize, u32)> = (0..self.active.len() as u32)
            .map(|i| {
                let places = &self.entries[self.range(i)];
                let best = places.iter().map(|place| *place as usize % top_k).min();
                let rows = usize::MAX - places.len();
                (rows, best.unwrap_or(0), self.active[i as usize].0)
            })
            .collect();
        demand.sort_unstable();
        demand.into_iter().map(|(_, _, expert)| expert).collect()
    }
}

impl Scratch {
    /// Bytes for a row of a batch, at most.
    pub(super) fn row_bytes(work: &ExpertWorkload) -> usize {
        let wide = |width: usize| 4 * width.next_multiple_of(PANEL);
        let floats = 2 * wide(work.ffn) + wide(work.width);
        let place = floats + form_bytes(work.ffn) + 2 * size_of::<Column>() + 16;
        work.top_k * (place + 12) + 2 * wide(work.n_experts) + wide(work.width)
    }
}

impl Cpu {
    pub(super) fn load_layer(
        &self,
        source: &dyn WeightSource,
        tensors: &ExpertTensors,
    ) -> Result<Experts, LoadError> {
        let spots = spots(source, tensors)?;
        let n = spots.len();
        let held = match &self.stream {
            Some(stream) => Held::OnDisk(stream.register(spots)),
            None => {
                let matrix = |spot: Spot| {
                    let to = (&self.arena, &*self.team);
                    Ok(Matrix::load(source, spot, to)?.choosing(&self.choice))
                };
                let expert = |spots: Vec<Spot>| spots.into_iter().map(matrix).collect();
                let experts = spots.into_iter().map(expert);
                Held::InMemory(experts.collect::<Result<_, SourceError>>()?)
            }
        };
        Ok(Experts { n, held })
    }

    pub(super) fn run_experts(
        &mut self,
        routing: &Routing,
        router: &Matrix,
        experts: &Experts,
        x: &Buf,
        out: &mut Buf,
    ) -> Result<(), SourceError> {
        let mut scratch = std::mem::take(&mut self.experts);
        let scored = self.score(router, x, &mut scratch.routes, &mut scratch.columns);
        if scored.is_err() {
            self.experts = scratch;
            return scored;
        }
        scratch.routes.route(routing, self.leaf, &self.team);
        scratch.routes.group(experts.n);
        let outcome = match (&experts.held, &self.stream) {
            (Held::OnDisk(group), Some(stream)) => {
                let stream = stream.clone();
                self.as_they_come(routing, &stream, group, x, &mut scratch)
            }
            (Held::OnDisk(_), None) => unreachable!("experts on disk without a stream"),
            (Held::InMemory(experts), _) => {
                scratch.wave.clear();
                scratch.wave.extend(0..scratch.routes.active.len() as u32);
                self.wave(
                    routing,
                    &|expert| &experts[expert as usize],
                    x,
                    &mut scratch,
                );
                Ok(())
            }
        };
        if outcome.is_ok() {
            self.sum(routing, &scratch, out);
        }
        self.experts = scratch;
        outcome
    }

    /// Computes the experts that are in memory, then each as it arrives.
    fn as_they_come(
        &mut self,
        routing: &Routing,
        stream: &Stream,
        group: &Group,
        x: &Buf,
        scratch: &mut Scratch,
    ) -> Result<(), SourceError> {
        let mut units = std::mem::take(&mut scratch.units);
        stream.begin(group, &scratch.routes.active, &mut units);
        let outcome = loop {
            match stream.ready(&mut units) {
                Ok([]) => break Ok(()),
                Ok(ready) => {
                    scratch.wave.clear();
                    scratch.wave.extend_from_slice(ready);
                    self.wave(
                        routing,
                        &|expert| stream.matrices(&units, expert),
                        x,
                        scratch,
                    );
                    stream.done(&mut units);
                }
                Err(error) => break Err(error),
            }
        };
        scratch.units = units;
        outcome
    }

    /// Routes rows like those of `x` and asks for the experts that they would go to.
    pub(super) fn look_ahead(
        &mut self,
        routing: &Routing,
        router: &Matrix,
        experts: &Experts,
        x: &Buf,
        (norm, eps): (&Vector, f32),
    ) {
        let (Held::OnDisk(group), Some(stream)) = (&experts.held, self.stream.clone()) else {
            return;
        };
        if !stream.guesses() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.experts);
        let ahead = sized(&mut scratch.ahead, x.rows, x.width);
        let (stride, shared) = (ahead.stride, ahead.shared());
        self.each_row(x.rows, &|i| {
            // SAFETY: each row is written by one member; the leaf's features are there.
            unsafe {
                (self.leaf.rms_norm)(x.row(i), &norm.0, eps, shared.slice(i * stride, x.width))
            }
        });
        if let Some(ahead) = &scratch.ahead {
            // Where the router cannot be read nothing is foreseen; who needs it will hear why.
            let scored = self.score(router, ahead, &mut scratch.foreseen, &mut scratch.columns);
            if scored.is_err() {
                self.experts = scratch;
                return;
            }
            scratch.foreseen.route(routing, self.leaf, &self.team);
            scratch.foreseen.group(experts.n);
            stream.guess(group, &scratch.foreseen.by_demand(routing.top_k), x.rows);
        }
        self.experts = scratch;
    }

    fn score(
        &mut self,
        router: &Matrix,
        x: &Buf,
        routes: &mut Routes,
        columns: &mut Vec<Column>,
    ) -> Result<(), SourceError> {
        let scores = sized(&mut routes.scores, x.rows, router.rows);
        let form = router.activations();
        self.forms.make(form, x, self.leaf, &self.team);
        let (stride, shared) = (scores.stride, scores.shared());
        columns.clear();
        for row in 0..x.rows {
            // SAFETY: the row lies in the buffer.
            let out = unsafe { shared.ptr().add(row * stride) };
            columns.push(self.forms.column(form, x, row, out));
        }
        let product = |_: usize| Product {
            matrix: router,
            columns: 0..x.rows,
        };
        self.multiply(1, &product, &Columns(columns))
    }

    /// Computes the active experts of `scratch.wave`; `expert` answers one by its number.
    fn wave<'a>(
        &mut self,
        routing: &Routing,
        expert: &(dyn Fn(u32) -> &'a Expert + Sync),
        x: &Buf,
        scratch: &mut Scratch,
    ) {
        self.gate_and_up(routing, expert, x, scratch);
        self.record(routing, expert, x, scratch);
        self.down(expert, scratch);
    }

    /// Tells the recorder what the matrices of the wave are multiplied by.
    fn record<'a>(
        &mut self,
        routing: &Routing,
        expert: &(dyn Fn(u32) -> &'a Expert + Sync),
        x: &Buf,
        scratch: &Scratch,
    ) {
        let (Some(recorder), Some(hidden)) = (&mut self.recorder, &scratch.gate) else {
            return;
        };
        for &i in &scratch.wave {
            let expert = expert(scratch.routes.active[i as usize].0);
            let range = scratch.routes.range(i);
            let places = &scratch.routes.entries[range.clone()];
            let rows = places.iter().map(|p| x.row(*p as usize / routing.top_k));
            recorder.add(&[&expert[GATE].place, &expert[UP].place], x.width, rows);
            let rows = range.map(|entry| hidden.row(entry));
            recorder.add(&[&expert[DOWN].place], hidden.width, rows);
        }
    }

    /// `gate = silu(W_gate x) * W_up x` for every chosen place of the wave.
    fn gate_and_up<'a>(
        &mut self,
        routing: &Routing,
        expert: &(dyn Fn(u32) -> &'a Expert + Sync),
        x: &Buf,
        scratch: &mut Scratch,
    ) {
        let Some(&first) = scratch.wave.first() else {
            return;
        };
        let (routes, wave) = (&scratch.routes, &scratch.wave);
        let of = |i: u32| expert(routes.active[i as usize].0);
        let (places, ffn) = (routes.chosen.len(), of(first)[GATE].rows);
        for form in [Activations::Blocks32, Activations::Blocks256] {
            let asks = |i: &u32| {
                [&of(*i)[GATE], &of(*i)[UP]]
                    .map(Matrix::activations)
                    .contains(&form)
            };
            if wave.iter().any(asks) {
                self.forms.make(form, x, self.leaf, &self.team);
            }
        }
        let gate = sized(&mut scratch.gate, places, ffn);
        let (stride, gates) = (gate.stride, gate.shared());
        let ups = sized(&mut scratch.up, places, ffn).shared();
        scratch.columns.clear();
        scratch.starts.clear();
        scratch.rows.clear();
        for &i in wave {
            let expert = of(i);
            for (matrix, out) in [(&expert[GATE], gates), (&expert[UP], ups)] {
                scratch.starts.push(scratch.columns.len());
                for entry in routes.range(i) {
                    let row = routes.entries[entry] as usize / routing.top_k;
                    // SAFETY: the row lies in the buffer.
                    let out = unsafe { out.ptr().add(entry * stride) };
                    let column = self.forms.column(matrix.activations(), x, row, out);
                    scratch.columns.push(column);
                }
            }
            scratch
                .rows
                .extend(routes.range(i).map(|entry| entry as u32));
        }
        scratch.starts.push(scratch.columns.len());
        let starts = &scratch.starts;
        let product = |i: usize| {
            let expert = of(wave[i / 2]);
            Product {
                matrix: &expert[i % 2],
                columns: starts[i]..starts[i + 1],
            }
        };
        let (n, columns) = (2 * wave.len(), Columns(&scratch.columns));
        multiply_all(self.leaf, &self.team, n, &product, &columns);
        if let (Some(gate), Some(up)) = (&mut scratch.gate, &scratch.up) {
            let (stride, width, gates) = (gate.stride, gate.width, gate.shared());
            let entries = &scratch.rows;
            self.each_row(entries.len(), &|i| {
                let entry = entries[i] as usize;
                // SAFETY: each row is written by one member; the leaf's features are there.
                unsafe { (self.leaf.silu_mul)(gates.slice(entry * stride, width), up.row(entry)) }
            });
        }
    }

    fn down<'a>(&self, expert: &(dyn Fn(u32) -> &'a Expert + Sync), scratch: &mut Scratch) {
        let Some(&first) = scratch.wave.first() else {
            return;
        };
        let (routes, wave) = (&scratch.routes, &scratch.wave);
        let of = |i: u32| &expert(routes.active[i as usize].0)[DOWN];
        let down = sized(&mut scratch.down, routes.chosen.len(), of(first).rows);
        let (stride, out) = (down.stride, down.shared());
        let Some(hidden) = &scratch.gate else { return };
        for form in [Activations::Blocks32, Activations::Blocks256] {
            scratch.rows.clear();
            let asking = wave.iter().filter(|i| of(**i).activations() == form);
            let entries = asking.flat_map(|i| routes.range(*i));
            scratch.rows.extend(entries.map(|entry| entry as u32));
            let to = &mut scratch.hidden_forms;
            to.make_some(form, hidden, &scratch.rows, self.leaf, &self.team);
        }
        scratch.columns.clear();
        scratch.starts.clear();
        for &i in wave {
            scratch.starts.push(scratch.columns.len());
            let form = of(i).activations();
            for entry in routes.range(i) {
                let place = routes.entries[entry] as usize;
                // SAFETY: the row lies in the buffer.
                let out = unsafe { out.ptr().add(place * stride) };
                let column = scratch.hidden_forms.column(form, hidden, entry, out);
                scratch.columns.push(column);
            }
        }
        scratch.starts.push(scratch.columns.len());
        let starts = &scratch.starts;
        let product = |i: usize| Product {
            matrix: of(wave[i]),
            columns: starts[i]..starts[i + 1],
        };
        let columns = Columns(&scratch.columns);
        multiply_all(self.leaf, &self.team, wave.len(), &product, &columns);
    }

    /// Adds the experts' outputs to `out`, in router order.
    fn sum(&self, routing: &Routing, scratch: &Scratch, out: &mut Buf) {
        let Some(down) = &scratch.down else { return };
        let (rows, stride, width, shared) = (out.rows, out.stride, out.width, out.shared());
        let chosen = &scratch.routes.chosen;
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

//! Weights that are read while they are used: a cache of packed weights over a [`Fetcher`].
//!
//! A *unit* is an expert of a layer, or some rows of a matrix; a *slot* is memory for one. Units of the
//! same types and shapes share slots. The computing thread says which units a batch needs ([`Stream::begin`]), computes those that
//! are there, and then each as it comes ([`Stream::ready`]). Threads of the fetcher pack what they have
//! read into slots, without a lock: a slot that is being filled or computed with is pinned, and only the
//! one who pinned it touches it.

use super::matrix::{Matrix, Spot};
use super::rows::Rows;
use super::shelf::{Kind, Shape, Shelf, Slot, State, Unit, Where};
use super::touch::Touching;
use crate::SourceError;
use crate::fetch::{Fetched, Fetcher, Sink, TensorRange, Urgency};
use crate::kernel::choice::Choice;
use crate::memory::Arena;
use crate::pack::Layout;
use crate::policy::NextUse;
use std::ops::Range;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

/// Where all is used in turn, so many units are looked at to find what is to be read next, and so many
/// are asked for before they are needed.
const AHEAD_UNITS: u32 = 4096;
const AHEAD_READS: u32 = 16;

/// Marks the tickets of rows.
const ROWS: u64 = 1 << 63;

/// The time since any fixed moment.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Which weights are read while they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisk {
    /// Experts, and the rows of an embedding that is not the head too.
    Experts,
    /// All matrices.
    All,
}

/// How weights are read while they are used.
#[derive(Clone)]
pub struct Streaming {
    /// Reads them.
    pub fetcher: Arc<dyn Fetcher>,
    /// Which ones.
    pub on_disk: OnDisk,
    /// Bytes of packed weights that are kept.
    pub cache_bytes: u64,
    /// Measures waiting.
    pub clock: Clock,
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = f.debug_struct("Streaming");
        all.field("on_disk", &self.on_disk);
        all.field("cache_bytes", &self.cache_bytes);
        all.finish_non_exhaustive()
    }
}

/// What came of streaming so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streamed {
    /// Units that batches needed: experts, one that several rows of a batch need counts once, or parts
    /// of matrices.
    pub needed: u64,
    /// Those that were in memory already, and not because they had been foreseen.
    pub hits: u64,
    /// Units that were foreseen, and asked for.
    pub foreseen: u64,
    /// Those that were then needed.
    pub right: u64,
    /// What was read.
    pub fetched: Fetched,
    /// Time in which nothing could be computed until a read came.
    pub waited: Duration,
    /// Units that the cache has room for.
    pub slots: u64,
    /// Units of the model.
    pub units: u64,
}

/// A cache of weights. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    streaming: Streaming,
    choice: Choice,
    shelf: Arc<Shelf>,
    /// The same as `shelf`, as the fetcher knows it.
    sink: Sinks,
    /// There once there are slots.
    touching: Arc<OnceLock<Option<Touching>>>,
}

#[derive(Clone)]
struct Sinks(Arc<dyn Sink>);

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sinks")
    }
}

/// The experts of a layer, or the parts of a matrix: units that stand together.
#[derive(Clone, Debug)]
pub(super) struct Group(pub Range<u32>);

/// The units that one batch needs of a group.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// Unit, its index among the active experts, and whether it has been computed.
    wanted: Vec<(u32, u32, bool)>,
    /// Indices among the active experts that can be computed now.
    ready: Vec<u32>,
    /// Slots of the experts that are ready, by expert.
    slots: Vec<u32>,
    first: u32,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Fetch(u32, Urgency),
    Hasten(u32),
    Withdraw(u32),
}

impl Stream {
    pub(super) fn new(streaming: Streaming, choice: Choice) -> Self {
        let shelf = Arc::new(Shelf::default());
        Self {
            streaming,
            choice,
            sink: Sinks(Arc::<Shelf>::clone(&shelf)),
            shelf,
            touching: Arc::default(),
        }
    }

    /// Which weights are read while they are used.
    pub(super) fn on_disk(&self) -> OnDisk {
        self.streaming.on_disk
    }

    /// Takes note of a group, each unit by where its matrices lie. All are before the first batch.
    pub(super) fn register(&self, units: impl IntoIterator<Item = Vec<Spot>>) -> Group {
        let mut state = self.shelf.lock();
        let first = state.units.len() as u32;
        let group = state.units.last().map_or(0, |unit| unit.group + 1);
        for spots in units {
            let shape = |s: &Spot| (s.ty, s.rows, s.columns);
            let matrices: Vec<Shape> = spots.iter().map(shape).collect();
            let of = |&(ty, rows, columns): &Shape| Matrix::bytes(ty, rows, columns);
            let found = state.kinds.iter().position(|k| k.matrices == matrices);
            let kind = found.unwrap_or_else(|| {
                let bytes = matrices.iter().map(|m| of(m).next_multiple_of(64));
                state.kinds.push(Kind {
                    bytes: bytes.sum(),
                    matrices,
                    n_units: 0,
                    free: Vec::new(),
                    untouched: 0,
                    end: 0,
                });
                state.kinds.len() - 1
            });
            state.kinds[kind].n_units += 1;
            let ranges = spots.into_iter().map(|s| TensorRange {
                len: Layout::new(s.ty).row_bytes(s.columns) * s.rows,
                name: s.place.name,
                offset: s.offset,
            });
            state.units.push(Unit {
                group,
                kind,
                ranges: ranges.collect(),
                place: Where::OnDisk,
            });
        }
        Group(first..state.units.len() as u32)
    }

    /// Makes the slots, before the first batch, and has memory found for them.
    fn slots(&self) -> &[Vec<Matrix>] {
        let slots = self.shelf.slots.get_or_init(|| self.empty_slots());
        self.touching.get_or_init(|| {
            let bell = Arc::clone(&self.shelf.lock().handed_out);
            Touching::begin(Arc::clone(&self.shelf), &bell)
        });
        slots
    }

    fn empty_slots(&self) -> Vec<Vec<Matrix>> {
        let mut state = self.shelf.lock();
        let state = &mut *state;
        let all: u64 = state.kinds.iter().map(|k| k.n_units * k.bytes as u64).sum();
        let (arena, mut slots) = (Arena::default(), Vec::new());
        for kind in &mut state.kinds {
            let share = u128::from(self.streaming.cache_bytes) * u128::from(kind.n_units);
            let n = (share / u128::from(all.max(1))) as u64;
            let first = slots.len() as u32;
            for _ in 0..n.clamp(1, kind.n_units) {
                let matrix = |&(ty, rows, columns): &Shape| {
                    Matrix::empty(ty, (rows, columns), &arena).choosing(&self.choice)
                };
                slots.push(kind.matrices.iter().map(matrix).collect());
            }
            (kind.untouched, kind.end) = (first, slots.len() as u32);
            kind.free = (first..kind.end).rev().collect();
        }
        state.slots = vec![Slot::default(); slots.len()];
        let layers: Vec<u32> = state.units.iter().map(|unit| unit.group).collect();
        state.policy = Some(NextUse::new(&layers, slots.len()));
        slots
    }

    /// What came of it so far.
    pub(super) fn stats(&self) -> Streamed {
        let n_slots = self.slots().len() as u64;
        let state = self.shelf.lock();
        Streamed {
            fetched: self.streaming.fetcher.fetched(),
            slots: n_slots,
            units: state.units.len() as u64,
            ..state.stats
        }
    }

    /// The matrices of a unit of the group that are ready.
    pub(super) fn matrices<'a>(&'a self, units: &Units, unit: u32) -> &'a [Matrix] {
        &self.slots()[units.slots[unit as usize] as usize]
    }

    /// Begins with the active units of a group, ascending: pins those that are here.
    pub(super) fn begin(&self, group: &Group, active: &[(u32, u32)], units: &mut Units) {
        self.slots();
        units.first = group.0.start;
        units.slots.resize(group.0.len(), u32::MAX);
        units.wanted.clear();
        let all = (0..)
            .zip(active)
            .map(|(i, (expert, _))| (group.0.start + expert, i, false));
        units.wanted.extend(all);
        let mut state = self.shelf.lock();
        state.foresight.judge(group.0.start, active);
        for &(unit, ..) in &units.wanted {
            state.stats.needed += 1;
            if let Some(policy) = &mut state.policy {
                policy.used(unit);
            }
            match state.units[unit as usize].place {
                Where::Here(slot) => {
                    match state.slots[slot as usize].guessed {
                        true => state.stats.right += 1,
                        false => state.stats.hits += 1,
                    }
                    state.slots[slot as usize] = Slot {
                        pinned: true,
                        guessed: false,
                    };
                }
                Where::Coming { .. } => state.stats.right += 1,
                _ => {}
            }
        }
        // What was guessed for this group and is not needed is not read, unless that has begun.
        let needed = |unit: u32| units.wanted.binary_search_by_key(&unit, |w| w.0).is_ok();
        units.actions.clear();
        let mut guessed = std::mem::take(&mut state.guessed);
        for unit in guessed.extract_if(.., |unit| group.0.contains(unit)) {
            if needed(unit) {
                continue;
            }
            match state.units[unit as usize].place {
                Where::Here(slot) => state.slots[slot as usize].guessed = false,
                _ => units.actions.push(Action::Withdraw(unit)),
            }
        }
        state.guessed = guessed;
        drop(state);
        self.act(&mut units.actions);
    }

    /// Asks for as many of the wanted units as there is room for, and waits until one can be computed.
    /// Answers the indices of those that can; none when all have been.
    pub(super) fn ready<'a>(&self, units: &'a mut Units) -> Result<&'a [u32], SourceError> {
        units.ready.clear();
        if units.wanted.iter().all(|(.., computed)| *computed) {
            return Ok(&units.ready);
        }
        let mut state = self.shelf.lock();
        loop {
            for &(unit, index, computed) in &units.wanted {
                if computed {
                    continue;
                }
                let place = &mut state.units[unit as usize].place;
                match place {
                    Where::Here(slot) => {
                        // A guess may have come since the batch began: nobody has pinned it yet.
                        let slot = *slot;
                        state.slots[slot as usize] = Slot {
                            pinned: true,
                            guessed: false,
                        };
                        units.slots[(unit - units.first) as usize] = slot;
                        units.ready.push(index);
                    }
                    Where::Failed(_) => {
                        let failed = std::mem::replace(place, Where::OnDisk);
                        drop(state);
                        self.give_up(units);
                        if let Where::Failed(error) = failed {
                            return Err(error);
                        }
                        unreachable!("it was seen to have failed");
                    }
                    Where::OnDisk => {
                        if let Some(slot) = state.take_slot(unit, true) {
                            let (slot, awaited) = (Some(slot), true);
                            state.units[unit as usize].place = Where::Coming { slot, awaited };
                            units.actions.push(Action::Fetch(unit, Urgency::Awaited));
                        }
                    }
                    Where::Coming { awaited: true, .. } => {}
                    Where::Coming { slot, awaited } => {
                        *awaited = true;
                        if slot.is_none() {
                            let taken = state.take_slot(unit, true);
                            let coming = &mut state.units[unit as usize].place;
                            if let Where::Coming { slot, awaited } = coming {
                                (*slot, *awaited) = (taken, taken.is_some());
                            }
                        }
                        units.actions.push(Action::Hasten(unit));
                    }
                }
            }
            let arrivals = state.arrivals;
            if !units.actions.is_empty() {
                drop(state);
                self.act(&mut units.actions);
                state = self.shelf.lock();
            }
            if !units.ready.is_empty() {
                return Ok(&units.ready);
            }
            if state.arrivals != arrivals {
                continue; // something came while the lock was not held
            }
            let since = (self.streaming.clock)();
            state = self
                .shelf
                .came
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.stats.waited += (self.streaming.clock)().saturating_sub(since);
        }
    }

    /// Unpins what [`Stream::ready`] answered last.
    pub(super) fn done(&self, units: &mut Units) {
        let mut state = self.shelf.lock();
        for index in &units.ready {
            let wanted = &mut units.wanted[*index as usize];
            wanted.2 = true;
            let slot = units.slots[(wanted.0 - units.first) as usize];
            state.slots[slot as usize].pinned = false;
        }
    }

    /// Lets go of all that a batch wanted.
    fn give_up(&self, units: &mut Units) {
        let mut state = self.shelf.lock();
        units.actions.clear();
        for &(unit, ..) in units.wanted.iter().filter(|(.., computed)| !computed) {
            match &mut state.units[unit as usize].place {
                Where::Here(slot) => {
                    let slot = *slot;
                    state.slots[slot as usize].pinned = false;
                }
                Where::Coming { awaited, .. } => {
                    *awaited = false;
                    units.actions.push(Action::Withdraw(unit));
                }
                Where::Failed(_) => state.units[unit as usize].place = Where::OnDisk,
                Where::OnDisk => {}
            }
        }
        drop(state);
        self.act(&mut units.actions);
    }

    /// Tells the fetcher what was decided. No lock is held: it may deliver at once.
    fn act(&self, actions: &mut Vec<Action>) {
        let fetcher = &self.streaming.fetcher;
        for action in actions.drain(..) {
            match action {
                Action::Fetch(unit, urgency) => {
                    let ranges = self.shelf.lock().units[unit as usize].ranges.clone();
                    fetcher.fetch(u64::from(unit), &ranges, urgency, &self.sink.0);
                }
                Action::Hasten(unit) => fetcher.hasten(u64::from(unit)),
                Action::Withdraw(unit) => {
                    if fetcher.withdraw(u64::from(unit)) {
                        let mut state = self.shelf.lock();
                        if let Where::Coming {
                            slot: Some(slot), ..
                        } = state.units[unit as usize].place
                        {
                            state.free(unit, slot);
                        }
                        state.units[unit as usize].place = Where::OnDisk;
                    }
                }
            }
        }
    }

    /// Asks for what comes after a group where all is used in turn, as far as a few reads go.
    pub(super) fn ahead(&self, group: &Group) {
        let mut actions = Vec::new();
        let mut state = self.shelf.lock();
        let n = state.units.len() as u32;
        let mut coming = 0;
        for i in 0..n.min(AHEAD_UNITS) {
            let unit = (group.0.end + i) % n;
            let place = &mut state.units[unit as usize].place;
            match place {
                Where::OnDisk => {
                    let (slot, awaited) = (None, false);
                    *place = Where::Coming { slot, awaited };
                    state.guessed.push(unit);
                    state.stats.foreseen += 1;
                    actions.push(Action::Fetch(unit, Urgency::Likely));
                    coming += 1;
                }
                Where::Coming { .. } => coming += 1,
                Where::Here(_) | Where::Failed(_) => {}
            }
            if coming >= AHEAD_READS {
                break;
            }
        }
        drop(state);
        self.act(&mut actions);
    }

    /// A row of a matrix, as it lies in the file.
    pub(super) fn rows(&self, matrix: &Spot, rows: &[u32]) -> Result<Vec<Vec<u8>>, SourceError> {
        let sink = Arc::new(Rows::default());
        let as_sink: Arc<dyn Sink> = Arc::<Rows>::clone(&sink);
        let row_bytes = Layout::new(matrix.ty).row_bytes(matrix.columns);
        for (i, row) in (0..).zip(rows) {
            let range = TensorRange {
                name: Arc::clone(&matrix.place.name),
                offset: matrix.offset + u64::from(*row) * row_bytes as u64,
                len: row_bytes,
            };
            let fetcher = &self.streaming.fetcher;
            fetcher.fetch(ROWS | i, &[range], Urgency::Awaited, &as_sink);
        }
        sink.wait(rows.len(), &self.streaming.clock, &self.shelf)
    }

    /// Whether looking ahead may pay.
    pub(super) fn guesses(&self) -> bool {
        self.shelf.lock().foresight.may_pay()
    }

    /// Asks for experts that are likely to be needed next, the likeliest first.
    pub(super) fn guess(&self, group: &Group, experts: &[u32], rows: usize) {
        self.slots();
        let mut actions = Vec::new();
        let mut state = self.shelf.lock();
        let State {
            foresight,
            units,
            guessed,
            stats,
            ..
        } = &mut *state;
        let unit = |expert: u32| group.0.start + expert;
        let absent = |(_, expert): &(usize, u32)| {
            let place = &units[unit(*expert) as usize].place;
            matches!(place, Where::OnDisk | Where::Failed(_))
        };
        let absent = experts.iter().copied().enumerate().filter(absent);
        let likely = foresight.foretell(group.0.start, absent.clone(), experts.len(), rows);
        let likely: Vec<u32> = absent
            .take(likely)
            .map(|(_, expert)| unit(expert))
            .collect();
        for unit in likely {
            let (slot, awaited) = (None, false);
            units[unit as usize].place = Where::Coming { slot, awaited };
            guessed.push(unit);
            stats.foreseen += 1;
            actions.push(Action::Fetch(unit, Urgency::Likely));
        }
        drop(state);
        self.act(&mut actions);
    }
}

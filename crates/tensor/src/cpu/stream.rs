//! Weights that are read while they are used: a cache of packed weights over a [`Fetcher`].
//!
//! A *unit* is an expert of a layer, or some rows of a matrix; a *slot* is memory for one. Units of the
//! same types and shapes share slots. The computing thread says which units a batch needs ([`Stream::begin`]), computes those that
//! are there, and then each as it comes ([`Stream::ready`]). Threads of the fetcher pack what they have
//! read into slots, without a lock: a slot that is being filled or computed with is pinned, and only the
//! one who pinned it touches it.

use super::foresight::Foresight;
use super::matrix::{Matrix, Spot};
use crate::SourceError;
use crate::fetch::{Fetched, Fetcher, Sink, TensorRange, Urgency};
use crate::kernel::choice::Choice;
use crate::memory::Arena;
use crate::pack::Layout;
use crate::policy::NextUse;
use ingle_formats::TensorType;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
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

/// What the computing thread and those of the fetcher share.
#[derive(Debug, Default)]
struct Shelf {
    /// The matrices of a unit: gate, up and down of an expert, or one.
    slots: OnceLock<Vec<Vec<Matrix>>>,
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    kinds: Vec<Kind>,
    units: Vec<Unit>,
    slots: Vec<Slot>,
    /// Units that were asked for early, and whose group has not begun since.
    guessed: Vec<u32>,
    foresight: Foresight,
    /// Says who leaves; there once there are slots.
    policy: Option<NextUse>,
    /// Counts what came.
    arrivals: u64,
    stats: Streamed,
}

/// Units of the same types and shapes.
#[derive(Debug)]
struct Kind {
    matrices: Vec<Shape>,
    bytes: usize,
    n_units: u64,
    /// Slots that hold nothing.
    free: Vec<u32>,
}

/// Type, rows and columns.
type Shape = (TensorType, usize, usize);

#[derive(Debug)]
struct Unit {
    group: u32,
    kind: usize,
    ranges: Vec<TensorRange>,
    place: Where,
}

#[derive(Debug)]
enum Where {
    OnDisk,
    /// Asked for. Where somebody waits it has a slot already.
    Coming {
        slot: Option<u32>,
        awaited: bool,
    },
    Here(u32),
    Failed(SourceError),
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// It is being filled, or is needed by the batch that is computed.
    pinned: bool,
    /// It was asked for early, and its group has not begun since.
    guessed: bool,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, slot: u32) -> Option<&[Matrix]> {
        Some(self.slots.get()?.get(slot as usize)?)
    }
}

impl State {
    /// A slot for `unit`, pinned: a free one, or that of a unit that is not pinned and is the least
    /// likely to be needed soon. Guesses whose layer is still to come are spared: what they have been so
    /// far says little of them. Only for what somebody waits for do they go where nothing else can.
    fn take_slot(&mut self, unit: u32, awaited: bool) -> Option<u32> {
        let policy = self.policy.as_mut()?;
        let kind = self.units[unit as usize].kind;
        let slot = match self.kinds[kind].free.pop() {
            Some(slot) => slot,
            None => {
                let (units, slots) = (&self.units, &self.slots);
                let may_go = |other: u32, guesses: bool| match &units[other as usize] {
                    Unit {
                        kind: of,
                        place: Where::Here(slot),
                        ..
                    } => {
                        let slot = slots[*slot as usize];
                        *of == kind && !slot.pinned && (guesses || !slot.guessed)
                    }
                    _ => false,
                };
                let others = policy.victim(&|other| may_go(other, false));
                let any = || policy.victim(&|other| awaited && may_go(other, true));
                let old = others.or_else(any)?;
                let place = &mut self.units[old as usize].place;
                let Where::Here(slot) = std::mem::replace(place, Where::OnDisk) else {
                    return None; // not reached: only such may go
                };
                policy.remove(old);
                slot
            }
        };
        policy.insert(unit);
        self.slots[slot as usize] = Slot {
            pinned: true,
            guessed: false,
        };
        Some(slot)
    }

    /// Takes the slot of a unit that did not come.
    fn free(&mut self, unit: u32, slot: u32) {
        if let Some(policy) = &mut self.policy {
            policy.remove(unit);
        }
        self.slots[slot as usize] = Slot::default();
        let kind = self.units[unit as usize].kind;
        self.kinds[kind].free.push(slot);
    }
}

impl Stream {
    pub(super) fn new(streaming: Streaming, choice: Choice) -> Self {
        let shelf = Arc::new(Shelf::default());
        Self {
            streaming,
            choice,
            sink: Sinks(Arc::<Shelf>::clone(&shelf)),
            shelf,
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

    /// Makes the slots, before the first batch.
    fn slots(&self) -> &[Vec<Matrix>] {
        self.shelf.slots.get_or_init(|| {
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
                kind.free = (first..slots.len() as u32).rev().collect();
            }
            state.slots = vec![Slot::default(); slots.len()];
            let layers: Vec<u32> = state.units.iter().map(|unit| unit.group).collect();
            state.policy = Some(NextUse::new(&layers, slots.len()));
            slots
        })
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

/// The bytes of a row.
type Outcome = Result<Vec<u8>, SourceError>;

/// Rows that were asked for by themselves.
#[derive(Default)]
struct Rows {
    came: Mutex<Vec<(u64, Outcome)>>,
    bell: Condvar,
}

impl Rows {
    /// Waits for `n` rows; answers them in order.
    fn wait(&self, n: usize, clock: &Clock, shelf: &Shelf) -> Result<Vec<Vec<u8>>, SourceError> {
        let since = clock();
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        while came.len() < n {
            came = self.bell.wait(came).unwrap_or_else(PoisonError::into_inner);
        }
        let mut rows = std::mem::take(&mut *came);
        shelf.lock().stats.waited += clock().saturating_sub(since);
        rows.sort_unstable_by_key(|(ticket, _)| *ticket);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

impl Sink for Rows {
    fn arrived(&self, ticket: u64, outcome: Result<&[&[u8]], SourceError>) {
        let row = outcome.map(|parts| parts.concat());
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.push((ticket, row));
        drop(came);
        self.bell.notify_all();
    }
}

impl Sink for Shelf {
    fn arrived(&self, ticket: u64, outcome: Result<&[&[u8]], SourceError>) {
        let unit = ticket as u32;
        let mut state = self.lock();
        let Where::Coming { slot, awaited } = state.units[unit as usize].place else {
            return;
        };
        // One that was only guessed gets a slot if there is one that nobody needs now.
        let slot = match (slot, &outcome) {
            (None, Ok(_)) => state.take_slot(unit, awaited),
            (slot, _) => slot,
        };
        let packed = match (slot, outcome) {
            (Some(slot), Ok(parts)) => {
                // Somebody may begin to wait for it meanwhile.
                state.units[unit as usize].place = Where::Coming {
                    slot: Some(slot),
                    awaited,
                };
                drop(state);
                for (matrix, rows) in self.slot(slot).into_iter().flatten().zip(parts) {
                    // SAFETY: this thread fills the slot, which stays pinned until then.
                    unsafe { matrix.fill(rows) }
                }
                state = self.lock();
                Ok(slot)
            }
            (slot, outcome) => {
                slot.into_iter().for_each(|slot| state.free(unit, slot));
                Err(outcome.err())
            }
        };
        let awaited = matches!(
            state.units[unit as usize].place,
            Where::Coming { awaited: true, .. }
        );
        state.units[unit as usize].place = match packed {
            Ok(slot) => {
                let guessed = !awaited && state.guessed.contains(&unit);
                state.slots[slot as usize] = Slot {
                    pinned: awaited,
                    guessed,
                };
                Where::Here(slot)
            }
            // A guess that failed is no error of anybody: if it is needed it will be asked for.
            Err(Some(error)) if awaited => Where::Failed(error),
            Err(_) => Where::OnDisk,
        };
        state.arrivals += 1;
        drop(state);
        self.came.notify_all();
    }
}

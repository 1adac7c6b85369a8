//! What is in the cache and what is on its way: units, slots and who gets which, shared by the computing thread and
//! those of the fetcher.

use super::foresight::Foresight;
use super::matrix::Matrix;
use super::stream::Streamed;
use super::touch::{Bell, Untouched};
use crate::SourceError;
use crate::fetch::{Sink, TensorRange};
use crate::policy::NextUse;
use ingle_formats::TensorType;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Memory of so many slots that hold nothing is there before they are handed out.
const TOUCHED_AHEAD: usize = 128;

/// What the computing thread and those of the fetcher share.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// The matrices of a unit: gate, up and down of an expert, or one.
    pub(super) slots: OnceLock<Vec<Vec<Matrix>>>,
    pub(super) state: Mutex<State>,
    pub(super) came: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) kinds: Vec<Kind>,
    pub(super) units: Vec<Unit>,
    pub(super) slots: Vec<Slot>,
    /// Rung when a slot is handed out that held nothing.
    pub(super) handed_out: Arc<Bell>,
    /// Units that were asked for early, and whose group has not begun since.
    pub(super) guessed: Vec<u32>,
    pub(super) foresight: Foresight,
    /// Says who leaves; there once there are slots.
    pub(super) policy: Option<NextUse>,
    /// Counts what came.
    pub(super) arrivals: u64,
    pub(super) stats: Streamed,
}

/// Units of the same types and shapes.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) matrices: Vec<Shape>,
    pub(super) bytes: usize,
    pub(super) n_units: u64,
    /// Slots that hold nothing.
    pub(super) free: Vec<u32>,
    /// The first of its slots whose memory nobody has asked for; those after it are free, and stand in `free`
    /// in descending order before all others.
    pub(super) untouched: u32,
    /// The slot after its last.
    pub(super) end: u32,
}

/// Type, rows and columns.
pub(super) type Shape = (TensorType, usize, usize);

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) group: u32,
    pub(super) kind: usize,
    pub(super) ranges: Vec<TensorRange>,
    pub(super) place: Where,
}

#[derive(Debug)]
pub(super) enum Where {
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
pub(super) struct Slot {
    /// It is being filled, or is needed by the batch that is computed.
    pub(super) pinned: bool,
    /// It was asked for early, and its group has not begun since.
    pub(super) guessed: bool,
}

impl Shelf {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slot(&self, slot: u32) -> Option<&[Matrix]> {
        Some(self.slots.get()?.get(slot as usize)?)
    }
}

impl State {
    /// A slot for `unit`, pinned: a free one, or that of a unit that is not pinned and is the least
    /// likely to be needed soon. Guesses whose layer is still to come are spared: what they have been so
    /// far says little of them. Only for what somebody waits for do they go where nothing else can.
    pub(super) fn take_slot(&mut self, unit: u32, awaited: bool) -> Option<u32> {
        let policy = self.policy.as_mut()?;
        let kind = self.units[unit as usize].kind;
        let slot = match self.kinds[kind].free.pop() {
            Some(slot) => {
                self.handed_out.ring();
                slot
            }
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

    /// A slot whose memory is to be there before the slot is handed out, if there are too few such.
    fn next_to_touch(&mut self) -> Option<u32> {
        let next = |kind: &mut Kind| {
            // What stands on top of the stack is handed out next, whether it has been touched or not.
            let left = (kind.end - kind.untouched) as usize;
            let left = left.min(kind.free.len());
            kind.untouched = kind.end - left as u32;
            let ready = kind.free.len() - left;
            let due = left > 0 && ready < TOUCHED_AHEAD;
            kind.untouched += u32::from(due);
            due.then_some(kind.untouched - 1)
        };
        self.kinds.iter_mut().find_map(next)
    }

    /// Takes the slot of a unit that did not come.
    pub(super) fn free(&mut self, unit: u32, slot: u32) {
        if let Some(policy) = &mut self.policy {
            policy.remove(unit);
        }
        self.slots[slot as usize] = Slot::default();
        let kind = self.units[unit as usize].kind;
        self.kinds[kind].free.push(slot);
    }
}

impl Untouched for Shelf {
    fn touch_one(&self) -> Option<bool> {
        let slot = self.lock().next_to_touch()?;
        let matrices = self.slot(slot).into_iter();
        Some(matrices.flatten().all(Matrix::populate))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one_kind(slots: u32) -> State {
        let kind = Kind {
            matrices: Vec::new(),
            bytes: 0,
            n_units: 1,
            free: (0..slots).rev().collect(),
            untouched: 0,
            end: slots,
        };
        State {
            kinds: vec![kind],
            ..State::default()
        }
    }

    #[test]
    fn memory_is_found_for_slots_in_the_order_in_which_they_are_handed_out() {
        let mut state = of_one_kind(300);
        let ahead: Vec<u32> = std::iter::from_fn(|| state.next_to_touch()).collect();
        assert_eq!(ahead, (0..TOUCHED_AHEAD as u32).collect::<Vec<_>>());
        // Two are handed out, and one of them comes back: there is one too few.
        assert_eq!(state.kinds[0].free.pop(), Some(0));
        assert_eq!(state.kinds[0].free.pop(), Some(1));
        state.kinds[0].free.push(0);
        assert_eq!(state.next_to_touch(), Some(128));
        assert_eq!(state.next_to_touch(), None);
    }

    #[test]
    fn slots_that_were_handed_out_first_are_not_touched() {
        let mut state = of_one_kind(20);
        for slot in 0..19 {
            assert_eq!(state.kinds[0].free.pop(), Some(slot));
        }
        assert_eq!(state.next_to_touch(), Some(19));
        assert_eq!(state.next_to_touch(), None);
        assert_eq!(state.kinds[0].free.pop(), Some(19));
        assert_eq!(state.next_to_touch(), None);
    }
}

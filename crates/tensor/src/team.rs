//! The thread team: fork and join in about a microsecond.
//!
//! Members wait for the next job by spinning for a short while, then sleep. One job runs at a
//! time; the caller is a member too, and does the whole job if nobody comes: it waits for those
//! who have taken a part, never for one to whom the system gives no time. (On a machine with other
//! work, waiting for every member at every operation cost 200 times the work of a small model.)
//! Results never depend on how a job was shared out.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns of spinning before a member gives its time slice away, and before it sleeps.
const SPINS: u32 = 2_000;
const YIELDS: u32 = 40;

type Job = *const (dyn Fn(usize) + Sync);

/// A group of threads that run one closure together.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    /// Held by the caller whose job runs: models that share a team take turns.
    turn: Mutex<()>,
    members: Vec<JoinHandle<()>>,
}

struct Shared {
    gate: Gate,
    /// Somebody sleeps, or is about to, and was not woken.
    asleep: AtomicBool,
    wake: Condvar,
    sleep: Mutex<()>,
    stop: AtomicBool,
    /// Some member has panicked.
    panicked: AtomicBool,
    /// What it panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What all members look at all the time, in a cache line of its own.
#[repr(align(128))]
struct Gate {
    /// The number of the job (upper half), whether it is [`OPEN`], and how many members are in it.
    state: AtomicU64,
    /// The job: written while the gate is closed and nobody is inside, read by those inside.
    job: UnsafeCell<Option<SendJob>>,
}
// SAFETY: `job` is written by the holder of `Team::turn` alone, before it opens the gate and after
// everybody left; members read it after they entered, which orders the two.
unsafe impl Sync for Gate {}

/// Members may still enter the job.
const OPEN: u64 = 1 << 31;

/// How many members are in the job: the bits below [`OPEN`].
const INSIDE: u64 = OPEN - 1;

/// The number of the job.
fn epoch(gate: u64) -> u64 {
    gate >> 32
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct SendJob(Job);
// SAFETY: the closure behind the pointer is `Sync`, and `Team::run` keeps it alive until every
// member that entered has finished with it.
unsafe impl Send for SendJob {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// A team of `threads` members (at least one), the caller of [`Team::share`] among them.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            gate: Gate {
                state: AtomicU64::new(0),
                job: UnsafeCell::new(None),
            },
            asleep: AtomicBool::new(false),
            wake: Condvar::new(),
            sleep: Mutex::new(()),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("ingle-{index}"))
                .spawn(move || member(&shared, index))
        };
        // A machine that refuses a thread gets a smaller team.
        let members = (1..threads).map_while(|index| spawn(index).ok()).collect();
        Self {
            shared,
            turn: Mutex::new(()),
            members,
        }
    }

    /// Members, the caller included.
    pub fn threads(&self) -> usize {
        self.members.len() + 1
    }

    /// Runs `job(member)` on the caller and on every member that comes before the caller is done,
    /// and waits for those that came. The job must be complete when the caller's part returns and
    /// the others' parts have.
    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        let _turn = lock(&self.turn);
        // SAFETY: only the lifetime changes; this function does not return before every member
        // that entered has finished with the closure, and none enters after that.
        let erased = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        // SAFETY: this thread has the turn, the gate is closed, and nobody is inside: the last job
        // waited for those who were.
        unsafe { *shared.gate.job.get() = Some(SendJob(erased)) };
        let next = (epoch(shared.gate.state.load(Ordering::Relaxed)) + 1) << 32 | OPEN;
        shared.gate.state.store(next, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) {
            shared.asleep.store(false, Ordering::SeqCst);
            drop(lock(&shared.sleep));
            shared.wake.notify_all();
        }
        let mine = catch_unwind(AssertUnwindSafe(|| job(0)));
        shared.gate.state.fetch_and(!OPEN, Ordering::SeqCst);
        let mut turns = 0;
        while shared.gate.state.load(Ordering::Acquire) & INSIDE > 0 {
            turns += 1;
            if turns < SPINS {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
        }
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        let theirs = panicked.then(|| lock(&shared.panic).take()).flatten();
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        if let Some(panic) = theirs {
            resume_unwind(panic);
        }
    }

    /// Calls `work(member, range)` for ranges of at most `grain` that together make `0..count`;
    /// each member takes the next when it is free. Towards the end ranges become shorter, so that
    /// members of different speed finish together.
    ///
    /// # Panics
    /// With a member's panic, once all that took a part have finished.
    pub fn share(
        &self,
        count: usize,
        grain: usize,
        work: &(dyn Fn(usize, std::ops::Range<usize>) + Sync),
    ) {
        let grain = grain.max(1);
        if count <= grain || self.members.is_empty() {
            return work(0, 0..count);
        }
        let next = AtomicUsize::new(0);
        let parts = 2 * self.threads();
        let end = |start: usize| start + ((count - start) / parts).clamp(1, grain);
        let taken = |start: usize| (start < count).then(|| end(start));
        self.run(&|member| {
            while let Ok(start) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken) {
                work(member, start..end(start));
            }
        });
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.gate.state.fetch_add(1 << 32, Ordering::SeqCst);
        drop(lock(&self.shared.sleep));
        self.shared.wake.notify_all();
        for member in self.members.drain(..) {
            let _ = member.join();
        }
    }
}

fn member(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        seen = wait_for_job(shared, seen);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if !enter(shared, seen) {
            continue;
        }
        // SAFETY: this member has entered, so that nobody writes the job.
        let job = unsafe { *shared.gate.job.get() };
        if let Some(SendJob(job)) = job {
            // SAFETY: `Team::run` keeps the closure alive until this member has left.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(index) }));
            if let Err(panic) = result {
                *lock(&shared.panic) = Some(panic);
                shared.panicked.store(true, Ordering::Relaxed);
            }
        }
        shared.gate.state.fetch_sub(1, Ordering::Release);
    }
}

/// Enters job number `seen`; `false` where that job is closed or over.
fn enter(shared: &Shared, seen: u64) -> bool {
    let one_more = |gate| (epoch(gate) == seen && gate & OPEN != 0).then_some(gate + 1);
    let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
    shared
        .gate
        .state
        .fetch_update(success, failure, one_more)
        .is_ok()
}

/// Waits until the job has another number than `seen` and returns it.
fn wait_for_job(shared: &Shared, seen: u64) -> u64 {
    for turn in 0..SPINS + YIELDS {
        let now = epoch(shared.gate.state.load(Ordering::SeqCst));
        if now != seen {
            return now;
        }
        if turn < SPINS {
            std::hint::spin_loop()
        } else {
            std::thread::yield_now()
        }
    }
    let mut guard = lock(&shared.sleep);
    loop {
        // Said before the last look: either this sees the next job, or the caller sees a sleeper.
        shared.asleep.store(true, Ordering::SeqCst);
        let now = epoch(shared.gate.state.load(Ordering::SeqCst));
        if now != seen {
            return now;
        }
        guard = shared
            .wake
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_unit_is_done_once_by_any_number_of_threads() {
        for threads in [1, 2, 3, 9] {
            let team = Team::new(threads);
            for count in [0, 1, 2, 17, 1000] {
                let done: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
                team.share(count, 7, &|_, range| {
                    for i in range {
                        done[i].fetch_add(1, Ordering::Relaxed);
                    }
                });
                assert!(
                    done.iter().all(|n| n.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {count} units"
                );
            }
        }
    }

    #[test]
    fn ranges_shorten_towards_the_end() {
        let team = Team::new(4);
        for (count, grain) in [(1000, 50), (9, 4), (50, 7), (2, 1)] {
            let ranges = Mutex::new(Vec::new());
            team.share(count, grain, &|_, range| lock(&ranges).push(range));
            let mut ranges = ranges.into_inner().unwrap();
            ranges.sort_unstable_by_key(|range| range.start);
            assert_eq!(ranges.iter().map(|r| r.len()).sum::<usize>(), count);
            assert!(ranges.is_sorted_by_key(|range| usize::MAX - range.len()));
            assert!(ranges.iter().all(|range| range.len() <= grain));
            assert_eq!(ranges.last().map(|range| range.len()), Some(1));
        }
    }

    #[test]
    fn callers_take_turns_while_members_panic_sleep_and_come_late() {
        let team = Team::new(5);
        let caller = &|seed: usize| {
            for i in 0..300 {
                let sum = AtomicUsize::new(0);
                let (count, bad) = ((seed * 31 + i * 17) % 90, (seed + i).is_multiple_of(23));
                let result = catch_unwind(AssertUnwindSafe(|| {
                    team.share(count, 1 + i % 9, &|_, range| {
                        assert!(!bad || !range.contains(&40), "unit 40");
                        sum.fetch_add(range.sum(), Ordering::Relaxed);
                    });
                }));
                assert_eq!(result.is_err(), bad && count > 40);
                if result.is_ok() {
                    assert_eq!(sum.into_inner(), count * count.saturating_sub(1) / 2);
                }
                if i % 50 == 0 {
                    std::thread::sleep(std::time::Duration::from_millis(2)); // members go to sleep
                }
            }
        };
        std::thread::scope(|scope| {
            for seed in 0..3 {
                scope.spawn(move || caller(seed));
            }
        });
    }

    /// Members that did a part of a job of two parts, each of which waits for the other.
    fn both(team: &Team) -> AtomicUsize {
        let (barrier, members) = (Barrier::new(2), AtomicUsize::new(0));
        team.share(2, 1, &|member, _| {
            barrier.wait();
            members.fetch_add(1 << (8 * member), Ordering::SeqCst);
        });
        members
    }

    #[test]
    fn sleeping_members_wake() {
        let team = Team::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(both(&team).into_inner(), 0x101);
        }
    }

    #[test]
    fn nobody_waits_for_a_member_that_takes_no_part() {
        // Far more members than processors: most come too late for most jobs, and no unit is lost.
        let team = Team::new(64);
        for _ in 0..2000 {
            let sum = AtomicUsize::new(0);
            team.share(10, 1, &|_, range| {
                sum.fetch_add(range.start, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_member_s_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2);
        let barrier = Barrier::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| {
            team.share(2, 1, &|member, _| {
                barrier.wait();
                assert_eq!(member, 0, "member {member}");
            })
        }));
        assert!(result.is_err());
        assert_eq!(both(&team).into_inner(), 0x101);
    }
}

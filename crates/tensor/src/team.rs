//! The thread team: fork and join in about a microsecond.
//!
//! Members wait for the next job by spinning for a short while, then sleep. One job runs at a
//! time; the caller is a member too. Results never depend on how a job was shared out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
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
    /// Goes up by one with every job.
    epoch: AtomicU32,
    /// Members that have not finished the job.
    running: AtomicUsize,
    /// The job, while one runs.
    job: Mutex<Option<SendJob>>,
    sleepers: AtomicUsize,
    wake: Condvar,
    sleep: Mutex<()>,
    stop: AtomicBool,
    /// What a member panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct SendJob(Job);
// SAFETY: the closure behind the pointer is `Sync`, and `Team::run` keeps it alive until every
// member has finished with it.
unsafe impl Send for SendJob {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// A team of `threads` members (at least one), the caller of [`Team::run`] among them.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            epoch: AtomicU32::new(0),
            running: AtomicUsize::new(0),
            job: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            wake: Condvar::new(),
            sleep: Mutex::new(()),
            stop: AtomicBool::new(false),
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

    /// Runs `job(member)` on every member and waits for all of them.
    ///
    /// # Panics
    /// With a member's panic, once all have finished.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.members.is_empty() {
            return job(0);
        }
        let _turn = lock(&self.turn);
        // SAFETY: only the lifetime changes; this function does not return before every member
        // has finished with the closure.
        let erased = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        *lock(&self.shared.job) = Some(SendJob(erased));
        self.shared
            .running
            .store(self.members.len(), Ordering::Relaxed);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        if self.shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.shared.sleep));
            self.shared.wake.notify_all();
        }
        let mine = catch_unwind(AssertUnwindSafe(|| job(0)));
        let mut turns = 0;
        while self.shared.running.load(Ordering::Acquire) > 0 {
            turns += 1;
            if turns < SPINS {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
        }
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        if let Some(panic) = lock(&self.shared.panic).take() {
            resume_unwind(panic);
        }
    }

    /// Calls `work(member, range)` for ranges of at most `grain` that together make `0..count`;
    /// each member takes the next when it is free.
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
        self.run(&|member| {
            loop {
                let start = next.fetch_add(grain, Ordering::Relaxed);
                if start >= count {
                    return;
                }
                work(member, start..(start + grain).min(count));
            }
        });
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
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
        let job = *lock(&shared.job);
        if let Some(SendJob(job)) = job {
            // SAFETY: `Team::run` keeps the closure alive until `running` is zero.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(index) }));
            if let Err(panic) = result {
                *lock(&shared.panic) = Some(panic);
            }
        }
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

/// Waits until the epoch is another than `seen` and returns it.
fn wait_for_job(shared: &Shared, seen: u32) -> u32 {
    for turn in 0..SPINS + YIELDS {
        let epoch = shared.epoch.load(Ordering::SeqCst);
        if epoch != seen {
            return epoch;
        }
        if turn < SPINS {
            std::hint::spin_loop()
        } else {
            std::thread::yield_now()
        }
    }
    let mut guard = lock(&shared.sleep);
    shared.sleepers.fetch_add(1, Ordering::SeqCst);
    let epoch = loop {
        let epoch = shared.epoch.load(Ordering::SeqCst);
        if epoch != seen {
            break epoch;
        }
        guard = shared
            .wake
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner);
    };
    shared.sleepers.fetch_sub(1, Ordering::SeqCst);
    epoch
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn sleeping_members_wake() {
        let team = Team::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let ran = AtomicUsize::new(0);
            team.run(&|_| {
                ran.fetch_add(1, Ordering::SeqCst);
            });
            assert_eq!(ran.into_inner(), 2);
        }
    }

    #[test]
    fn a_member_s_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| {
            team.run(&|member| assert_eq!(member, 0, "member {member}"))
        }));
        assert!(result.is_err());
        let ran = AtomicUsize::new(0);
        team.run(&|_| {
            ran.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(ran.into_inner(), 2);
    }
}

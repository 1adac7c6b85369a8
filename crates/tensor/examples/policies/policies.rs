//! The policies that are compared, each in its plainest form: a victim is found by looking at every unit.

use ingle_tensor::policy::NextUse;
use std::collections::VecDeque;

/// Who leaves a cache. The caller knows what is in it, and says everything that happens.
pub trait Policy {
    /// A unit that is there was used.
    fn used(&mut self, unit: u32);
    /// A unit came in, to be used.
    fn insert(&mut self, unit: u32);
    /// Who is to go, of those that may; the caller then removes it.
    fn victim(&mut self, may_go: &dyn Fn(u32) -> bool) -> Option<u32>;
    /// A unit left.
    fn remove(&mut self, unit: u32);
}

/// The unit that is there, may go, and has the smallest key.
fn smallest<K: PartialOrd>(
    present: &[bool],
    may_go: &dyn Fn(u32) -> bool,
    key: impl Fn(usize) -> K,
) -> Option<u32> {
    let mut best: Option<(u32, K)> = None;
    for (unit, there) in present.iter().enumerate() {
        if *there && may_go(unit as u32) {
            let key = key(unit);
            if best.as_ref().is_none_or(|(_, other)| key < *other) {
                best = Some((unit as u32, key));
            }
        }
    }
    best.map(|(unit, _)| unit)
}

/// The unit that was not used for the longest time; with K = 2, whose last use but one is the longest ago.
pub struct Lru<const K: usize> {
    clock: u64,
    present: Vec<bool>,
    /// Times of the last uses, the latest first.
    times: Vec<[u64; K]>,
}

impl<const K: usize> Lru<K> {
    pub fn new(n_units: usize) -> Self {
        Self {
            clock: 0,
            present: vec![false; n_units],
            times: vec![[0; K]; n_units],
        }
    }
}

impl<const K: usize> Policy for Lru<K> {
    fn used(&mut self, unit: u32) {
        self.clock += 1;
        let times = &mut self.times[unit as usize];
        times.rotate_right(1);
        times[0] = self.clock;
    }

    fn insert(&mut self, unit: u32) {
        self.present[unit as usize] = true;
        self.used(unit);
    }

    fn victim(&mut self, may_go: &dyn Fn(u32) -> bool) -> Option<u32> {
        smallest(&self.present, may_go, |unit| self.times[unit][K - 1])
    }

    fn remove(&mut self, unit: u32) {
        self.present[unit as usize] = false;
    }
}

/// The unit that was used least often, old uses counting less and less.
pub struct Lfu {
    n_experts: u32,
    present: Vec<bool>,
    /// The last unit that was used: layers are visited in ascending order, so a smaller one begins a pass.
    last: u32,
    n_passes: u64,
    /// Uses, and the pass for which they hold.
    counts: Vec<(f64, u64)>,
    /// What a use still counts a pass later.
    keep: f64,
}

impl Lfu {
    /// A use counts half after so many passes.
    pub fn new(n_units: usize, n_experts: usize, half_life: f64) -> Self {
        Self {
            n_experts: n_experts as u32,
            present: vec![false; n_units],
            last: 0,
            n_passes: 0,
            counts: vec![(0.0, 0); n_units],
            keep: 0.5_f64.powf(1.0 / half_life),
        }
    }

    fn frequency(&self, unit: usize) -> f64 {
        let (count, at) = self.counts[unit];
        count * self.keep.powf((self.n_passes - at) as f64)
    }
}

impl Policy for Lfu {
    fn used(&mut self, unit: u32) {
        if unit / self.n_experts < self.last / self.n_experts {
            self.n_passes += 1;
        }
        self.last = unit;
        let count = self.frequency(unit as usize) + 1.0;
        self.counts[unit as usize] = (count, self.n_passes);
    }

    fn insert(&mut self, unit: u32) {
        self.present[unit as usize] = true;
        self.used(unit);
    }

    fn victim(&mut self, may_go: &dyn Fn(u32) -> bool) -> Option<u32> {
        smallest(&self.present, may_go, |unit| self.frequency(unit))
    }

    fn remove(&mut self, unit: u32) {
        self.present[unit as usize] = false;
    }
}

/// What the cache of the crate goes by.
impl Policy for NextUse {
    fn used(&mut self, unit: u32) {
        Self::used(self, unit);
    }

    fn insert(&mut self, unit: u32) {
        Self::insert(self, unit);
        Self::used(self, unit);
    }

    fn victim(&mut self, may_go: &dyn Fn(u32) -> bool) -> Option<u32> {
        Self::victim(self, may_go)
    }

    fn remove(&mut self, unit: u32) {
        Self::remove(self, unit);
    }
}

/// S3-FIFO (<https://dl.acm.org/doi/10.1145/3600006.3613147>): newcomers wait in a small queue; those used there
/// again move to the main one, the others leave and are remembered for a while.
pub struct S3Fifo {
    n_small: usize,
    n_ghosts: usize,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghosts: VecDeque<u32>,
    /// Uses since it came, 3 at most.
    uses: Vec<u8>,
}

impl S3Fifo {
    pub fn new(n_units: usize, n_slots: usize) -> Self {
        Self {
            n_small: (n_slots / 10).max(1),
            n_ghosts: n_slots,
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: VecDeque::new(),
            uses: vec![0; n_units],
        }
    }

    fn last_of_main(&mut self, may_go: &dyn Fn(u32) -> bool) -> Option<u32> {
        for _ in 0..4 * self.main.len() {
            let unit = self.main.pop_front()?;
            let uses = &mut self.uses[unit as usize];
            self.main.push_back(unit);
            if *uses > 0 {
                *uses -= 1;
            } else if may_go(unit) {
                return Some(unit);
            }
        }
        None
    }
}

impl Policy for S3Fifo {
    fn used(&mut self, unit: u32) {
        let uses = &mut self.uses[unit as usize];
        *uses = (*uses + 1).min(3);
    }

    fn insert(&mut self, unit: u32) {
        self.uses[unit as usize] = 0;
        if let Some(at) = self.ghosts.iter().position(|ghost| *ghost == unit) {
            self.ghosts.remove(at);
            self.main.push_back(unit);
        } else {
            self.small.push_back(unit);
        }
    }

    fn victim(&mut self, may_go: &dyn Fn(u32) -> bool) -> Option<u32> {
        let mut seen = 0;
        while seen < self.small.len() && (self.small.len() > self.n_small || self.main.is_empty()) {
            let unit = self.small[seen];
            if self.uses[unit as usize] > 1 {
                self.small.remove(seen);
                self.uses[unit as usize] = 0;
                self.main.push_back(unit);
            } else if may_go(unit) {
                return Some(unit);
            } else {
                seen += 1;
            }
        }
        let in_small = |policy: &Self| policy.small.iter().copied().find(|unit| may_go(*unit));
        self.last_of_main(may_go).or_else(|| in_small(self))
    }

    fn remove(&mut self, unit: u32) {
        if let Some(at) = self.small.iter().position(|other| *other == unit) {
            self.small.remove(at);
            self.ghosts.push_back(unit);
            if self.ghosts.len() > self.n_ghosts {
                self.ghosts.pop_front();
            }
        }
        self.main.retain(|other| *other != unit);
    }
}

//! A disk that loses pages, tears them, is slow, and forgets what it was told to keep.

use crate::{Done, Outcome, PageKey, PageStore};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is on disk, and what happens to it.
#[derive(Default)]
pub struct Kept {
    pages: HashMap<PageKey, Vec<u8>>,
    seed: u64,
    /// Nothing goes wrong.
    pub faithful: bool,
    /// What it says of its speed.
    pub rate: Option<f64>,
    pub reads: u64,
    pub writes: u64,
}

impl Kept {
    pub fn new(seed: u64) -> Self {
        Self {
            seed: seed | 1,
            ..Self::default()
        }
    }

    pub fn faithful() -> Self {
        Self {
            faithful: true,
            ..Self::new(1)
        }
    }

    /// True once in so many times.
    fn one_in(&mut self, n: u64) -> bool {
        self.seed = self
            .seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        !self.faithful && (self.seed >> 33).is_multiple_of(n)
    }
}

/// A store over what is kept; several may use the same.
pub struct FakeStore {
    kept: Arc<Mutex<Kept>>,
    done: VecDeque<Done>,
}

impl FakeStore {
    pub fn of(kept: &Arc<Mutex<Kept>>) -> Self {
        Self {
            kept: Arc::clone(kept),
            done: VecDeque::new(),
        }
    }
}

impl PageStore for FakeStore {
    fn contains(&self, page: &PageKey) -> bool {
        let mut kept = self.kept.lock().unwrap();
        // It may believe that it has what is gone.
        kept.pages.contains_key(page) || kept.one_in(500)
    }

    fn read(&mut self, page: PageKey, mut buffer: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap();
        kept.reads += 1;
        let (lost, torn) = (kept.one_in(20), kept.one_in(20));
        let what = match kept.pages.get(&page) {
            Some(_) if torn => {
                buffer.fill(0xee);
                Outcome::Missing
            }
            Some(bytes) if !lost => {
                buffer.copy_from_slice(bytes);
                Outcome::Read
            }
            _ => Outcome::Missing,
        };
        if what == Outcome::Missing {
            kept.pages.remove(&page);
        }
        self.done.push_back(Done { page, buffer, what });
    }

    fn write(&mut self, page: PageKey, mut buffer: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap();
        kept.writes += 1;
        if !kept.one_in(10) {
            kept.pages.insert(page, buffer.clone());
        }
        buffer.fill(0xdd); // it is sealed in place
        let what = Outcome::Written;
        self.done.push_back(Done { page, buffer, what });
    }

    fn done(&mut self, _: Duration) -> Option<Done> {
        let slow = self.kept.lock().unwrap().one_in(2);
        if slow { None } else { self.done.pop_front() }
    }

    fn rate(&self) -> Option<f64> {
        self.kept.lock().unwrap().rate
    }
}

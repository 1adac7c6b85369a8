//! What is known of texts that were looked at before: a conversation comes back whole with each turn, and only
//! what is new in it is read.
//!
//! A text is known by its SHA-256, so what is remembered of it is what would be found again; it holds no piece of
//! it. It lives as long as the rules and terms by which it was read, and is bounded.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A text.
pub(super) type Name = [u8; 32];

/// The name of a text.
pub(super) fn name_of(text: &str) -> Name {
    Sha256::digest(text.as_bytes()).into()
}

/// What is known, by name. Of two generations: what was asked for lately is in the young one, and when that is
/// full the old one goes.
pub(super) struct Memory<T> {
    generations: Mutex<[HashMap<Name, T>; 2]>,
    /// Weight of a generation at most.
    most: usize,
    weight: Mutex<usize>,
}

impl<T: Clone> Memory<T> {
    /// For so much in all; 0: nothing is remembered.
    pub fn new(most: usize) -> Self {
        Self {
            generations: Mutex::default(),
            most: most / 2,
            weight: Mutex::default(),
        }
    }

    /// What is known of it.
    pub fn get(&self, name: &Name, weighs: impl Fn(&T) -> usize) -> Option<T> {
        let old = {
            let mut both = self
                .generations
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let [young, old] = &mut *both;
            if let Some(known) = young.get(name) {
                return Some(known.clone());
            }
            old.remove(name)?
        };
        self.put(*name, old.clone(), weighs(&old));
        Some(old)
    }

    /// Remembers it.
    pub fn put(&self, name: Name, known: T, weighs: usize) {
        if weighs > self.most {
            return;
        }
        let mut both = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut weight = self.weight.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *both;
        if weight.saturating_add(weighs) > self.most {
            *old = std::mem::take(young);
            *weight = 0;
        }
        young.insert(name, known);
        *weight = weight.saturating_add(weighs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_lately_stays() {
        let memory = Memory::new(8);
        let name = |i: u32| name_of(&i.to_string());
        memory.put(name(0), 0, 1);
        for i in 1..100 {
            memory.put(name(i), i, 1);
            assert_eq!(memory.get(&name(0), |_| 1), Some(0), "{i}");
            assert_eq!(memory.get(&name(i), |_| 1), Some(i));
        }
        assert_eq!(memory.get(&name(50), |_| 1), None);
        memory.put(name(500), 5, 5);
        assert_eq!(
            memory.get(&name(500), |_| 5),
            None,
            "larger than a generation"
        );
        let kept: usize = memory
            .generations
            .lock()
            .unwrap()
            .iter()
            .map(HashMap::len)
            .sum();
        assert!(kept <= 8, "{kept}");
        let nothing = Memory::new(0);
        nothing.put(name(1), 1, 1);
        assert_eq!(nothing.get(&name(1), |_| 1), None);
    }
}

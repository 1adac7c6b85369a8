//! Responses that can be asked for again: in memory, each user's apart, the oldest forgotten first.

use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that the responses of one user may have, as JSON.
const USER_BYTES: usize = 16 << 20;
/// Bytes that all of them may have.
const ALL_BYTES: usize = 128 << 20;
/// The most responses that follow one another.
const LONGEST: usize = 4096;

/// A response, and what it answered.
#[derive(Debug)]
pub struct Stored {
    /// The response as it ended.
    pub response: Value,
    /// What was new in its request, item by item, each with a name.
    pub input: Vec<Value>,
    /// The response that it follows.
    pub previous: Option<String>,
}

impl Stored {
    fn bytes(&self) -> usize {
        let input: usize = self.input.iter().map(|item| item.to_string().len()).sum();
        self.response.to_string().len() + input
    }
}

/// Whose, and its name.
type Key = (u64, String);

/// All of them.
#[derive(Debug)]
pub struct Store {
    kept: Mutex<Kept>,
    user_bytes: usize,
    all_bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_name: HashMap<Key, (Arc<Stored>, usize)>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
    by_user: HashMap<u64, usize>,
}

impl Default for Store {
    fn default() -> Self {
        Self::bounded(USER_BYTES, ALL_BYTES)
    }
}

impl Store {
    fn bounded(user_bytes: usize, all_bytes: usize) -> Self {
        Self {
            kept: Mutex::default(),
            user_bytes,
            all_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change under this lock is complete before anything can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response, if it is not larger than all that may be kept.
    pub fn put(&self, user: u64, name: String, stored: Stored) {
        let bytes = stored.bytes();
        if bytes > self.user_bytes {
            return;
        }
        let key = (user, name);
        let mut kept = self.lock();
        kept.remove(&key);
        kept.by_name.insert(key.clone(), (Arc::new(stored), bytes));
        kept.order.push_back(key);
        kept.bytes += bytes;
        *kept.by_user.entry(user).or_default() += bytes;
        while kept
            .by_user
            .get(&user)
            .is_some_and(|n| *n > self.user_bytes)
        {
            kept.forget(|of| of == user);
        }
        while kept.bytes > self.all_bytes {
            kept.forget(|_| true);
        }
    }

    /// A response by its name.
    pub fn get(&self, user: u64, name: &str) -> Option<Arc<Stored>> {
        let kept = self.lock();
        let found = kept.by_name.get(&(user, name.to_owned()));
        found.map(|(stored, _)| Arc::clone(stored))
    }

    /// Forgets one; whether it was there.
    pub fn remove(&self, user: u64, name: &str) -> bool {
        self.lock().remove(&(user, name.to_owned()))
    }

    /// All items up to the end of a response, with those of the responses before it. None where one of
    /// them is gone.
    pub fn items(&self, user: u64, name: &str) -> Option<Vec<Value>> {
        let mut chain = Vec::new();
        let mut next = Some(name.to_owned());
        while let Some(name) = next {
            let stored = self.get(user, &name)?;
            next = stored.previous.clone();
            chain.push(stored);
            if chain.len() > LONGEST {
                return None;
            }
        }
        let items = chain.iter().rev().flat_map(|stored| {
            let output = stored.response.get("output").and_then(Value::as_array);
            stored.input.iter().chain(output.into_iter().flatten())
        });
        Some(items.cloned().collect())
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) -> bool {
        let Some((_, bytes)) = self.by_name.remove(key) else {
            return false;
        };
        self.order.retain(|other| other != key);
        self.bytes -= bytes;
        if let Some(of_user) = self.by_user.get_mut(&key.0) {
            *of_user -= bytes;
            if *of_user == 0 {
                self.by_user.remove(&key.0);
            }
        }
        true
    }

    /// Forgets the oldest of a user for whom `whose` says yes.
    fn forget(&mut self, whose: impl Fn(u64) -> bool) {
        let oldest = self.order.iter().find(|(user, _)| whose(*user)).cloned();
        if let Some(key) = oldest {
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored(text: &str, previous: Option<&str>) -> Stored {
        Stored {
            response: json!({ "output": [{ "said": text }] }),
            input: vec![json!({ "asked": text })],
            previous: previous.map(str::to_owned),
        }
    }

    #[test]
    fn a_conversation_is_put_together_and_nobody_elses() {
        let store = Store::default();
        store.put(1, "a".into(), stored("a", None));
        store.put(1, "b".into(), stored("b", Some("a")));
        let items = store.items(1, "b").unwrap();
        let want = json!([{ "asked": "a" }, { "said": "a" }, { "asked": "b" }, { "said": "b" }]);
        assert_eq!(Value::from(items), want);
        assert!(store.get(2, "a").is_none() && !store.remove(2, "a"));
        assert!(store.remove(1, "a") && !store.remove(1, "a"));
        assert_eq!(store.items(1, "b"), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_others_keep_theirs() {
        let one = stored("0", None).bytes();
        let store = Store::bounded(3 * one, 5 * one);
        let put =
            |user: u64, i: usize| store.put(user, i.to_string(), stored(&i.to_string(), None));
        put(1, 0);
        (1..9).for_each(|i| put(2, i));
        assert!(store.get(1, "0").is_some());
        assert_eq!(
            (1..9)
                .filter(|i| store.get(2, &i.to_string()).is_some())
                .collect::<Vec<_>>(),
            [6, 7, 8]
        );
        put(3, 9);
        put(3, 8); // five, and one too many
        assert!(store.get(1, "0").is_none());
        store.put(4, "x".into(), stored(&"x".repeat(4 * one), None));
        assert!(store.get(4, "x").is_none());
        let kept = store.lock();
        assert_eq!(
            kept.bytes,
            kept.by_name.values().map(|(_, n)| n).sum::<usize>()
        );
        assert_eq!(kept.by_name.len(), kept.order.len());
    }
}

//! Pages that outlive the process: what a sequence has computed goes to a [`PageStore`] when it is
//! over, and one that begins reads what is there of its text, where that takes less time than computing
//! it.
//!
//! A sequence that reads has a place and gets no rows. Its pages come in order and go into the tree at
//! once; where one is missing, or comes too late, it computes the rest. So a store that loses, tears or
//! delays pages costs time, and changes no token.

use crate::chunk::Chunk;
use crate::engine::Engine;
use crate::memory::Memory;
use crate::sequence::Sequence;
use ingle_formats::TokenId;
use ingle_model::Needs;
use ingle_tensor::NUMERICS_CLASS;
use ingle_tensor::ops::{Ops, PAGE_LEN, PageId};
use ingle_tensor::pages::{Done, Outcome, PageKey, PageStore};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a step waits for the store where there is nothing else to do.
const GLANCE: Duration = Duration::from_millis(5);
/// How long a sequence waits for its pages where it is not known how long computing them takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited at the end for a store that does nothing.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// The namespace of a user by this name: see [`crate::Request::namespace`].
pub fn namespace(user: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(b"ingle namespace 1\0")
        .chain_update(user)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

/// The names of the full pages of a text.
fn names(namespace: u64, text: &[TokenId]) -> impl Iterator<Item = PageKey> {
    let mut digest: [u8; 32] = Sha256::digest(b"ingle pages 1\0").into();
    (0..)
        .zip(text.chunks_exact(PAGE_LEN))
        .map(move |(index, page)| {
            let mut hash = Sha256::new().chain_update(digest);
            page.iter().for_each(|t| hash.update(t.0.to_le_bytes()));
            digest = hash.finalize().into();
            PageKey {
                namespace,
                index,
                digest,
            }
        })
}

/// What a sequence reads before it computes.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// The pages of its text, from the first on, as far as they are there.
    pages: Vec<PageKey>,
    /// How many of them have been asked for, or were there.
    asked: usize,
    /// When it goes on with what it has.
    until: Duration,
}

/// A store of pages, and what goes there and back.
pub(crate) struct Warm {
    store: Box<dyn PageStore>,
    /// Those that are not out.
    buffers: Vec<Vec<u8>>,
    n_buffers: usize,
    page_bytes: usize,
    /// What is being read.
    reading: Vec<PageKey>,
    /// Pages that were marked. They may have left the tree since.
    marked: VecDeque<PageId>,
}

impl Warm {
    /// Whether pages wait for being written that could be now.
    pub fn has_work(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Whether reading a page back takes less time than computing it, as far as both were measured.
    fn pays(&self, depth: usize, chunk: &Chunk) -> bool {
        let row = chunk.row(depth);
        let (Some(row), Some(rate)) = (row, self.store.rate()) else {
            return true;
        };
        self.page_bytes as f64 / rate < row * PAGE_LEN as f64
    }

    /// What a sequence that begins at `now` is to read: nothing where nothing is there behind what is in
    /// memory, or where computing it is faster.
    pub fn plan(
        &self,
        sequence: &Sequence,
        memory: &Memory,
        chunk: &Chunk,
        now: Duration,
    ) -> Option<Fetch> {
        let (namespace, text) = sequence.may_take()?;
        let there = memory.matched(namespace, text).count();
        let mut all = names(namespace, text);
        let mut pages: Vec<PageKey> = all.by_ref().take(there).collect();
        pages.extend(all.take_while(|page| self.store.contains(page)));
        let n = pages.len() - there;
        if n == 0 || !self.pays(there * PAGE_LEN, chunk) {
            return None;
        }
        let row = chunk.row(there * PAGE_LEN);
        let compute =
            row.map(|row| Duration::from_secs_f64((row * (n * PAGE_LEN) as f64).min(60.0)));
        Some(Fetch {
            pages,
            asked: there,
            until: now + compute.map_or(PATIENCE, |time| 2 * time),
        })
    }

    /// Marks the pages of a sequence that is over, or gives way, if they may be kept.
    pub fn mark(&mut self, sequence: &Sequence, memory: &mut Memory) {
        let Some(namespace) = sequence.keeps().filter(|_| sequence.store) else {
            return;
        };
        let pages = sequence.held.shared();
        for (&page, name) in pages.iter().zip(names(namespace, sequence.computed())) {
            if !self.store.contains(&name) {
                memory.mark(page, name);
                self.marked.push_back(page);
            }
        }
    }
}

impl<O: Ops + 'static> Engine<O> {
    /// Keeps pages of texts that may be kept ([`crate::Request::store`]) in a store, and reads them back
    /// when a text begins with them. There must be buffers for that in the plan
    /// ([`crate::LoadOptions::page_buffers`]); without any, or where the network's memory cannot be taken
    /// out, the store is not used, and false is answered.
    pub fn set_page_store(&mut self, store: Box<dyn PageStore>) -> bool {
        let bytes = self.ops.page_bytes(&self.cache);
        let n_buffers = self.plan.options.page_buffers as usize;
        if bytes == 0 || n_buffers == 0 {
            return false;
        }
        self.warm = Some(Warm {
            store,
            buffers: (0..n_buffers).map(|_| vec![0; bytes]).collect(),
            n_buffers,
            page_bytes: bytes,
            reading: Vec::new(),
            marked: VecDeque::new(),
        });
        true
    }

    /// Bytes of a page of keys and values, as a [`PageStore`] gets it.
    pub fn page_bytes(&self) -> usize {
        self.ops.page_bytes(&self.cache)
    }

    /// Writes what is to be kept and has not been written, and waits for that as long as it goes on.
    pub fn settle_store(&mut self) {
        let mut waited = Duration::ZERO;
        while waited < LAST_WRITES {
            self.write_marked(usize::MAX);
            let Some(warm) = &mut self.warm else { return };
            if warm.marked.is_empty() && warm.buffers.len() == warm.n_buffers {
                return;
            }
            match warm.store.done(GLANCE) {
                Some(done) => {
                    waited = Duration::ZERO;
                    self.arrived(done);
                }
                None => waited += GLANCE,
            }
        }
    }

    /// Takes what the store has done, and gives sequences up that waited for too long.
    pub(crate) fn hear_store(&mut self, now: Duration) {
        while let Some(warm) = &mut self.warm
            && let Some(done) = warm.store.done(Duration::ZERO)
        {
            self.arrived(done);
        }
        let late = |s: &&mut Sequence| s.fetch.as_ref().is_some_and(|f| now > f.until);
        let late = self.running.iter_mut().filter(late);
        late.for_each(|s| s.fetch = None);
    }

    /// Where nothing was computed, waits for the store a little.
    pub(crate) fn wait_for_store(&mut self, now: Duration) {
        let Some(warm) = &mut self.warm else { return };
        let reading = self.running.iter().any(|s| s.fetch.is_some());
        if (reading || warm.has_work())
            && let Some(done) = warm.store.done(GLANCE)
        {
            self.arrived(done);
            self.ask_store(now);
        }
    }

    fn arrived(&mut self, done: Done) {
        let Some(warm) = &mut self.warm else { return };
        warm.reading.retain(|page| *page != done.page);
        match done.what {
            Outcome::Written => {}
            Outcome::Missing => {
                for fetch in self.running.iter_mut().filter_map(|s| s.fetch.as_mut()) {
                    let at = done.page.index as usize;
                    if fetch.pages.get(at) == Some(&done.page) {
                        fetch.pages.truncate(at);
                    }
                }
            }
            Outcome::Read => {
                let awaits = |s: &&mut Sequence| {
                    let next = s.computed().len() / PAGE_LEN;
                    let fetch = s.fetch.as_ref();
                    s.computed().len().is_multiple_of(PAGE_LEN)
                        && fetch.is_some_and(|f| f.pages.get(next) == Some(&done.page))
                };
                // What somebody else has computed meanwhile is taken from him.
                if let Some(sequence) = self.running.iter_mut().find(awaits)
                    && !sequence.can_take(&self.memory)
                {
                    match sequence.adopt(&mut self.memory) {
                        Some(page) => self.ops.put_page(&mut self.cache, page, &done.buffer),
                        None => sequence.fetch = None,
                    }
                }
            }
        }
        warm.buffers.push(done.buffer);
    }

    /// Asks for what sequences are to read, and hands over what is to be written.
    pub(crate) fn ask_store(&mut self, now: Duration) {
        let Some(warm) = &mut self.warm else { return };
        for sequence in &mut self.running {
            let have = sequence.computed().len() / PAGE_LEN;
            let Some(fetch) = &mut sequence.fetch else {
                continue;
            };
            fetch.asked = fetch.asked.max(have);
            while let Some(page) = fetch.pages.get(fetch.asked) {
                if !warm.reading.contains(page) {
                    let Some(buffer) = warm.buffers.pop() else {
                        break;
                    };
                    warm.reading.push(*page);
                    warm.store.read(*page, buffer);
                }
                fetch.asked += 1;
            }
            let missing = fetch.pages.get(have..).unwrap_or_default();
            let coming = missing.iter().any(|page| warm.reading.contains(page));
            if missing.is_empty()
                || fetch.asked == fetch.pages.len() && !coming
                || now > fetch.until
            {
                sequence.fetch = None;
            }
        }
        // Copying pages takes time: while others are computed with, one at a time.
        let most = if self.running() > 0 { 1 } else { usize::MAX };
        self.write_marked(most);
    }

    /// Hands over at most so many marked pages. One buffer is left for reading.
    fn write_marked(&mut self, most: usize) {
        let Some(warm) = &mut self.warm else { return };
        for _ in 0..most {
            let least = warm.n_buffers.min(2);
            if warm.buffers.len() < least {
                return;
            }
            let Some(page) = warm.marked.pop_front() else {
                return;
            };
            let Some(name) = self.memory.unmark(page) else {
                continue;
            };
            let depth = name.index as usize * PAGE_LEN;
            if warm.store.contains(&name) || !warm.pays(depth, &self.chunk) {
                continue;
            }
            if let Some(mut buffer) = warm.buffers.pop() {
                self.ops.take_page(&self.cache, page, &mut buffer);
                warm.store.write(name, buffer);
            }
        }
    }

    /// What pages of this engine can be told by from those of any other: the digest of `model` (its
    /// files), how keys and values are stored and computed, and whatever else their bits depend on.
    pub fn pages_identity(&self, model: [u8; 32]) -> [u8; 32] {
        let Needs { native_len, .. } = &self.plan.needs;
        // Longer contexts may turn positions in another way.
        let longer = self.plan.context.max(*native_len);
        Sha256::new()
            .chain_update(b"ingle pages 1, no adapter\0")
            .chain_update(model)
            .chain_update(NUMERICS_CLASS)
            .chain_update([0])
            .chain_update(self.plan.options.kv.name())
            .chain_update([0])
            .chain_update(longer.to_le_bytes())
            .chain_update((PAGE_LEN as u64).to_le_bytes())
            .chain_update((self.page_bytes() as u64).to_le_bytes())
            .finalize()
            .into()
    }
}

//! Memory of pages of keys and values, found before it is needed ([`super::touch`]).
//!
//! Pages are handed out in order until all have been used once, and those of a layer lie side by side. So
//! without this the first text that comes to a new huge page waits for one of every layer: 0.2 s measured for 28
//! layers on a virtual machine whose host takes memory back, while all others wait for their next tokens.

use super::touch::{Bell, Touching, Untouched};
use crate::memory::Place;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes behind the last page in use that are there before somebody needs them.
const AHEAD: usize = 512 << 20;
/// Fewer are found so fast that nobody notices.
const WORTH_IT: usize = 32 << 20;

/// Stays ahead of the pages in use.
#[derive(Debug)]
pub(super) struct Ahead {
    pages: Arc<Pages>,
    bell: Arc<Bell>,
    _touching: Touching,
}

#[derive(Debug)]
struct Pages {
    /// Where each layer lies, and bytes of its pages.
    layers: Vec<(Place, usize)>,
    n_pages: usize,
    /// Pages behind those in use that are touched.
    ahead: usize,
    /// Pages in use: all before the last that was ever written to.
    used: AtomicUsize,
    /// Layers of pages that were touched, all layers of a page before the next.
    touched: AtomicUsize,
}

impl Ahead {
    /// Begins where that is worth a thread. `layers`: where each lies, and bytes of its pages.
    ///
    /// # Safety
    /// The layers stay where they are until this is dropped.
    pub(super) unsafe fn begin(layers: Vec<(Place, usize)>, n_pages: usize) -> Option<Self> {
        let page: usize = layers.iter().map(|(_, bytes)| bytes).sum();
        if page * n_pages < WORTH_IT {
            return None;
        }
        let pages = Arc::new(Pages {
            layers,
            n_pages,
            ahead: AHEAD / page,
            used: AtomicUsize::new(0),
            touched: AtomicUsize::new(0),
        });
        let bell = Arc::new(Bell::default());
        Some(Self {
            _touching: Touching::begin(Arc::clone(&pages), &bell)?,
            pages,
            bell,
        })
    }

    /// So many pages are in use.
    pub(super) fn used(&self, pages: usize) {
        if self.pages.used.fetch_max(pages, Relaxed) < pages {
            self.bell.ring();
        }
    }
}

impl Pages {
    /// Layer and page to be touched next; `None`: enough are.
    fn next(&self) -> Option<(usize, usize)> {
        let used = self.used.load(Relaxed);
        let n_layers = self.layers.len();
        // What is in use was touched by whoever wrote it.
        let next = self.touched.load(Relaxed).max(used * n_layers);
        let (page, layer) = (next / n_layers, next % n_layers);
        let due = page < self.n_pages.min(used + self.ahead);
        due.then(|| {
            self.touched.store(next + 1, Relaxed);
            (layer, page)
        })
    }
}

impl Untouched for Pages {
    fn touch_one(&self) -> Option<bool> {
        let (layer, page) = self.next()?;
        let &(place, bytes) = self.layers.get(layer)?;
        // SAFETY: `Ahead` is there, and so are the layers; it ends this thread before it goes.
        Some(unsafe { place.populate(page * bytes..(page + 1) * bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Aligned;

    #[test]
    fn pages_ahead_are_touched_once_and_nothing_in_them_changes() {
        let mut layers: Vec<Aligned> = (0..3).map(|_| Aligned::zeroed(10 * 4096)).collect();
        layers[1].bytes_mut()[5 * 4096] = 7;
        let pages = Pages {
            layers: layers.iter().map(|l| (l.place(), 4096)).collect(),
            n_pages: 10,
            ahead: 4,
            used: AtomicUsize::new(0),
            touched: AtomicUsize::new(0),
        };
        let mut seen = Vec::new();
        for used in [0, 1, 7, 10] {
            pages.used.store(used, Relaxed);
            seen.push(std::iter::from_fn(|| pages.next()).collect::<Vec<_>>());
        }
        let all = |pages: std::ops::Range<usize>| {
            let each = pages.flat_map(|page| (0..3).map(move |layer| (layer, page)));
            each.collect::<Vec<_>>()
        };
        assert_eq!(seen, [all(0..4), all(4..5), all(7..10), vec![]]);

        pages.used.store(0, Relaxed);
        pages.touched.store(0, Relaxed);
        let done: Vec<bool> = std::iter::from_fn(|| pages.touch_one()).collect();
        assert!(done.iter().all(|one| *one == done[0]));
        assert_eq!(done.len(), 12);
        assert_eq!(layers[1].bytes()[5 * 4096], 7);
    }

    #[test]
    fn little_memory_needs_no_thread() {
        let layer = Aligned::zeroed(4096);
        // SAFETY: the layer stays.
        let ahead = unsafe { Ahead::begin(vec![(layer.place(), 4096)], 1) };
        assert!(ahead.is_none());
        let layer = Aligned::zeroed(WORTH_IT);
        // SAFETY: the layer stays.
        let ahead = unsafe { Ahead::begin(vec![(layer.place(), WORTH_IT / 4)], 4) }.unwrap();
        ahead.used(2);
        ahead.used(1);
        assert_eq!(ahead.pages.used.load(Relaxed), 2);
    }
}

//! Which pages of cached positions are free.

use ingle_tensor::ops::{PAGE_LEN, PageId};

/// The pages of an engine: each is free, or owned by exactly one running or kept text.
#[derive(Debug)]
pub(crate) struct Pool {
    total: u32,
    /// A stack: the page freed last is taken first, because it is likeliest in a cache.
    free: Vec<PageId>,
}

/// Pages that hold `positions` positions.
pub(crate) fn pages_for(positions: u64) -> u64 {
    positions.div_ceil(PAGE_LEN as u64)
}

impl Pool {
    pub fn new(total: u32) -> Self {
        Self {
            total,
            free: (0..total).rev().map(PageId).collect(),
        }
    }

    /// `n` pages, or `None` where fewer are free; nothing is then taken.
    pub fn take(&mut self, n: usize) -> Option<Vec<PageId>> {
        let rest = self.free.len().checked_sub(n)?;
        Some(self.free.split_off(rest))
    }

    /// Gives pages back.
    pub fn release(&mut self, pages: Vec<PageId>) {
        self.free.extend(pages);
    }

    /// Says what is wrong unless every page is free or in exactly one of `owned`.
    pub fn check<'a>(&self, owned: impl Iterator<Item = &'a [PageId]>) -> Result<(), String> {
        let mut owners = vec![0_u32; self.total as usize];
        let owned = owned.flatten().copied().chain(self.free.iter().copied());
        for page in owned {
            match owners.get_mut(page.0 as usize) {
                Some(n) => *n += 1,
                None => return Err(format!("page {} of {} does not exist", page.0, self.total)),
            }
        }
        match owners.iter().position(|&n| n != 1) {
            Some(page) => Err(format!("page {page} has {} owners", owners[page])),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_lost_or_owned_twice_is_found() {
        let mut pool = Pool::new(3);
        let pages = pool.take(2).unwrap();
        assert_eq!(pool.check([&pages[..]].into_iter()), Ok(()));
        let lost = pool.check(std::iter::empty()).unwrap_err();
        assert!(lost.ends_with("has 0 owners"), "{lost}");
        let twice = pool.check([&pages[..], &pages[..1]].into_iter());
        assert!(twice.unwrap_err().ends_with("has 2 owners"));
        let strange = pool.check([&[PageId(7)][..]].into_iter());
        assert!(strange.unwrap_err().ends_with("does not exist"));
    }

    proptest! {
        #[test]
        fn every_page_has_one_owner(steps in prop::collection::vec((any::<bool>(), 0..9_usize), 0..60)) {
            let mut pool = Pool::new(20);
            let mut owned: Vec<Vec<PageId>> = Vec::new();
            for (take, n) in steps {
                if take {
                    let free = 20 - owned.iter().map(Vec::len).sum::<usize>();
                    let pages = pool.take(n);
                    prop_assert_eq!(pages.is_some(), n <= free);
                    owned.extend(pages);
                } else if !owned.is_empty() {
                    pool.release(owned.remove(n % owned.len()));
                }
                prop_assert_eq!(pool.check(owned.iter().map(Vec::as_slice)), Ok(()));
            }
        }
    }
}

//! Where the keys and values of sequences lie.
//!
//! A page ([`PAGE_LEN`] positions of every layer) is free, or a running sequence's own, or in the
//! [`Tree`] of texts, where any number of sequences run on it. What a sequence has computed goes
//! into the tree as soon as it fills a page, so that others can go on from there while it still
//! runs. A page in the tree is never written.
//!
//! | verb | |
//! | --- | --- |
//! | [`match`](Memory::matched) | the pages of the tree that hold the beginning of a text |
//! | [`take`](Memory::take) | a sequence goes on from as much of its text as is in the tree |
//! | [`extend`](Memory::extend) | pages for positions to come |
//! | [`rewind`](Memory::rewind) | a sequence is cut back to fewer positions |
//! | [`release`](Memory::release) | a sequence is over; what it computed stays in the tree |
//! | [`evict`](Memory::evict) | the page of the tree that nobody has used for longest is free |
//!
//! A page holds all layers, so a layer with a window keeps what it no longer sees: a text that
//! leaves the tree's in the middle needs the window before that place.

mod tree;

use ingle_formats::TokenId;
use ingle_tensor::ops::{PAGE_LEN, PageId};
use ingle_tensor::pages::PageKey;
use tree::Tree;

/// Fewer positions of a page than this are computed again, not copied: most texts begin with the
/// same few tokens.
pub(crate) const WORTH_COPYING: usize = 8;

/// Pages that hold `positions` positions.
pub(crate) fn pages_for(positions: u64) -> u64 {
    positions.div_ceil(PAGE_LEN as u64)
}

/// The pages of an engine.
#[derive(Debug)]
pub(crate) struct Memory {
    /// A stack: the page freed last is taken first, because it is likeliest in a cache.
    free: Vec<PageId>,
    tree: Tree,
}

/// The pages of a running sequence.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// In order of position.
    pages: Vec<PageId>,
    /// So many of them, the first, are in the tree; the others are the sequence's own.
    shared: usize,
}

/// What [`Memory::take`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Positions that the sequence has now.
    pub positions: usize,
    /// These of them are to be copied before anything else is done.
    pub copy: Option<Copy>,
}

/// A page to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub from: PageId,
    pub to: PageId,
}

impl Held {
    /// The pages, in order of position.
    pub fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Those of them that are in the tree: the first, as far as they are full.
    pub fn shared(&self) -> &[PageId] {
        &self.pages[..self.shared]
    }

    /// The page of the tree at which it stands.
    pub fn node(&self) -> Option<PageId> {
        self.pages[..self.shared].last().copied()
    }

    fn shared_positions(&self) -> usize {
        self.shared * PAGE_LEN
    }
}

impl Memory {
    pub fn new(n_pages: u32) -> Self {
        Self {
            free: (0..n_pages).rev().map(PageId).collect(),
            tree: Tree::new(n_pages as usize),
        }
    }

    /// Pages of the tree that hold the beginning of `text`, in order, as far as they are full.
    pub fn matched<'a>(
        &'a self,
        namespace: u64,
        text: &'a [TokenId],
    ) -> impl Iterator<Item = PageId> + use<'a> {
        self.below(&Held::default(), namespace, text)
    }

    /// Those behind the pages of the tree on which a sequence with this text runs.
    pub fn below<'a>(
        &'a self,
        held: &Held,
        namespace: u64,
        text: &'a [TokenId],
    ) -> impl Iterator<Item = PageId> + use<'a> {
        let mut node = held.node();
        let mut pages = text.chunks_exact(PAGE_LEN).skip(held.shared);
        std::iter::from_fn(move || {
            node = Some(self.tree.find(node, namespace, pages.next()?)?);
            node
        })
    }

    /// Whether there are so many pages for a sequence with this text, those of the text included
    /// that are in the tree.
    pub fn fits(&self, text: Option<(u64, &[TokenId])>, pages: u64) -> bool {
        let matched = text.map(|(namespace, text)| self.matched(namespace, text));
        let in_use = matched
            .into_iter()
            .flatten()
            .filter(|&p| self.tree.in_use(p));
        let there = self.free.len() + self.tree.unused() + in_use.count();
        pages <= there as u64
    }

    /// Goes on with as much of `text` as there is behind what is held already. The last page is
    /// copied where the texts part inside it, or taken out of the tree where no other is left; only
    /// `whole` pages are taken where that is not wanted.
    pub fn take(
        &mut self,
        held: &mut Held,
        namespace: u64,
        text: &[TokenId],
        whole: bool,
    ) -> Taken {
        self.tree.tick();
        let mut taken = Taken {
            positions: held.shared_positions(),
            copy: None,
        };
        debug_assert_eq!(held.shared, held.pages.len(), "nothing computed is lost");
        let pages: Vec<PageId> = self.below(held, namespace, text).collect();
        pages.iter().for_each(|&page| self.tree.enter(page));
        held.shared += pages.len();
        held.pages.extend(pages);
        taken.positions = held.shared_positions();
        let rest = text.get(taken.positions..).unwrap_or_default();
        if let Some((from, len)) = self.tree.longest(held.node(), namespace, rest)
            && len >= WORTH_COPYING
            && !whole
        {
            self.tree.touch(from);
            if let Some(to) = self.page() {
                held.pages.push(to);
                taken.positions += len;
                taken.copy = (from != to).then_some(Copy { from, to });
            }
        }
        taken
    }

    /// A page of the tree for the next tokens of a sequence that has only such pages, to be filled by the
    /// caller; `None` where there is none left.
    pub fn adopt(&mut self, held: &mut Held, namespace: u64, tokens: &[TokenId]) -> Option<PageId> {
        self.tree.tick();
        let page = self.page()?;
        self.insert(held.node(), namespace, page, tokens);
        self.tree.enter(page);
        held.pages.push(page);
        held.shared += 1;
        Some(page)
    }

    /// A page of the tree is to go to disk under this name.
    pub fn mark(&mut self, page: PageId, name: PageKey) {
        self.tree.mark(page, Some(name));
    }

    /// Under which name a page is to go to disk, if it still is; it is not any more.
    pub fn unmark(&mut self, page: PageId) -> Option<PageKey> {
        self.tree.mark(page, None)
    }

    /// Pages that are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pages of texts on which no sequence runs.
    pub fn unused(&self) -> usize {
        self.tree.unused()
    }

    /// Gets pages for `positions` positions, or as many as there are, and answers how many
    /// positions there is room for.
    pub fn extend(&mut self, held: &mut Held, positions: usize) -> usize {
        while held.pages.len() * PAGE_LEN < positions
            && let Some(page) = self.page()
        {
            held.pages.push(page);
        }
        held.pages.len() * PAGE_LEN
    }

    /// Puts the full pages of `computed`, all that is computed of a sequence, into the tree. Where
    /// another sequence was faster, its pages take the place of this one's: they hold the same.
    pub fn keep(&mut self, held: &mut Held, namespace: u64, computed: &[TokenId]) {
        let full = computed.chunks_exact(PAGE_LEN).skip(held.shared);
        for tokens in full {
            let own = held.pages[held.shared];
            let page = match self.tree.find(held.node(), namespace, tokens) {
                Some(page) => {
                    self.free.push(own);
                    page
                }
                None => self.insert(held.node(), namespace, own, tokens),
            };
            self.tree.enter(page);
            held.pages[held.shared] = page;
            held.shared += 1;
        }
    }

    fn insert(
        &mut self,
        node: Option<PageId>,
        namespace: u64,
        page: PageId,
        tokens: &[TokenId],
    ) -> PageId {
        // A page that holds only the beginning of these tokens is not needed any more.
        if let Some((shorter, len)) = self.tree.longest(node, namespace, tokens)
            && len == self.tree.len(shorter)
        {
            self.tree.remove(shorter);
            self.free.push(shorter);
        }
        self.tree.insert(node, namespace, page, tokens);
        page
    }

    /// Cuts a sequence back, and answers how many positions it has then: `positions`, or fewer
    /// where that is inside a page of the tree.
    pub fn rewind(&mut self, held: &mut Held, positions: usize) -> usize {
        let shared = held.shared.min(positions / PAGE_LEN);
        let needed = match shared < held.shared {
            true => shared,
            false => pages_for(positions as u64) as usize,
        };
        let nodes = needed..held.shared;
        for (i, page) in held.pages.drain(needed.min(held.pages.len())..).enumerate() {
            match nodes.contains(&(needed + i)) {
                true => self.tree.leave(page),
                false => self.free.push(page),
            }
        }
        held.shared = shared;
        positions.min(held.pages.len() * PAGE_LEN)
    }

    /// Takes back the pages of a sequence. What it has computed stays in the tree, if its text is
    /// given.
    pub fn release(&mut self, held: &mut Held, computed: Option<(u64, &[TokenId])>) {
        self.tree.tick();
        if let Some((namespace, computed)) = computed {
            self.keep(held, namespace, computed);
            let rest = &computed[held.shared_positions()..];
            match self.tree.longest(held.node(), namespace, rest) {
                Some((there, len)) if len == rest.len() => self.tree.touch(there),
                _ if rest.len() < WORTH_COPYING => {}
                _ => {
                    let page = held.pages.remove(held.shared);
                    self.insert(held.node(), namespace, page, rest);
                }
            }
        }
        self.free.extend(held.pages.drain(held.shared..));
        held.pages.drain(..).for_each(|page| self.tree.leave(page));
        held.shared = 0;
    }

    /// Frees the page of the tree that nobody has used for longest; false where all are in use.
    pub fn evict(&mut self) -> bool {
        let Some(oldest) = self.tree.oldest() else {
            return false;
        };
        self.tree.remove(oldest);
        self.free.push(oldest);
        true
    }

    fn page(&mut self) -> Option<PageId> {
        if self.free.is_empty() {
            self.evict();
        }
        self.free.pop()
    }

    /// Says what is wrong unless every page is free, in the tree, or some sequence's own, and the
    /// tree is whole. `sequences` are all that hold pages, with what is computed of their texts,
    /// whether it is kept, and for how many positions they have pages.
    pub fn check<'a>(
        &self,
        sequences: impl Iterator<Item = (&'a Held, Option<u64>, &'a [TokenId], usize)>,
    ) -> Result<(), String> {
        let mut owners = self.tree.owners();
        let mut users = vec![0_u32; owners.len()];
        let own = |page: PageId, owners: &mut Vec<u32>| match owners.get_mut(page.0 as usize) {
            Some(n) => {
                *n += 1;
                Ok(())
            }
            None => Err(format!(
                "page {} of {} does not exist",
                page.0,
                owners.len()
            )),
        };
        for &page in &self.free {
            own(page, &mut owners)?;
        }
        for (held, namespace, computed, positions) in sequences {
            let needed = pages_for(positions as u64);
            if held.pages.len() as u64 != needed {
                let pages = held.pages.len();
                return Err(format!("{pages} pages for {positions} positions"));
            }
            let full = namespace.map_or(0, |_| computed.len() / PAGE_LEN);
            if held.shared != full {
                return Err(format!(
                    "{} pages shared where {full} are full",
                    held.shared
                ));
            }
            let path = self.matched(namespace.unwrap_or(0), &computed[..full * PAGE_LEN]);
            if !path.eq(held.pages[..full].iter().copied()) {
                return Err("a sequence runs on other pages than those of its text".into());
            }
            held.pages[..full]
                .iter()
                .for_each(|p| users[p.0 as usize] += 1);
            for &page in &held.pages[full..] {
                own(page, &mut owners)?;
            }
        }
        if let Some(page) = owners.iter().position(|&n| n != 1) {
            return Err(format!("page {page} has {} owners", owners[page]));
        }
        self.tree.check(&users)
    }
}

#[cfg(test)]
mod tests;

//! Texts whose keys and values are still there, for requests that continue them.

use crate::pages::{Pool, pages_for};
use ingle_formats::TokenId;
use ingle_tensor::ops::{PAGE_LEN, PageId};
use std::collections::VecDeque;

/// A beginning shorter than this is computed again: it costs little, and a text taken for it is
/// lost to whoever continues the rest of it.
const SHORTEST: usize = PAGE_LEN;

/// A text and the pages that hold its keys and values.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Tokens whose keys and values are in the pages.
    pub tokens: Vec<TokenId>,
    /// As many pages as the tokens need.
    pub pages: Vec<PageId>,
}

/// Texts of requests that are over, oldest first. They hold pages that nobody else wants.
#[derive(Debug, Default)]
pub(crate) struct KeptTexts {
    texts: VecDeque<Kept>,
}

impl KeptTexts {
    /// Keeps a text; pages beyond its tokens go back to the pool.
    pub fn keep(&mut self, tokens: Vec<TokenId>, mut pages: Vec<PageId>, pool: &mut Pool) {
        let needed = pages_for(tokens.len() as u64) as usize;
        pool.release(pages.split_off(needed.min(pages.len())));
        if tokens.len() < SHORTEST {
            pool.release(pages);
        } else {
            self.texts.push_back(Kept { tokens, pages });
        }
    }

    /// Takes the pages of the text that begins like `prompt` for the longest; the second number
    /// is how many positions of the prompt they hold. Always fewer than the prompt has: the last
    /// token is computed, because its logits are wanted.
    pub fn take(&mut self, prompt: &[TokenId]) -> Option<(Vec<PageId>, usize)> {
        let all_but_last = &prompt[..prompt.len().saturating_sub(1)];
        let shared = |kept: &Kept| {
            let both = kept.tokens.iter().zip(all_but_last);
            both.take_while(|(a, b)| a == b).count()
        };
        let lengths = self.texts.iter().map(shared).enumerate();
        let (index, len) = lengths.max_by_key(|&(_, len)| len)?;
        if len < SHORTEST {
            return None;
        }
        Some((self.texts.remove(index)?.pages, len))
    }

    /// Gives the pages of the oldest text to the pool; false where none is left.
    pub fn evict(&mut self, pool: &mut Pool) -> bool {
        let Some(oldest) = self.texts.pop_front() else {
            return false;
        };
        pool.release(oldest.pages);
        true
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.texts.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(n: u32, last: u32) -> Vec<TokenId> {
        (1..n).chain([last]).map(TokenId).collect()
    }

    #[test]
    fn the_longest_beginning_is_taken_and_never_the_whole_prompt() {
        let mut pool = Pool::new(20);
        let mut kept = KeptTexts::default();
        for n in [100, 200, 150] {
            let pages = pool.take(5).unwrap();
            kept.keep(tokens(n, 0), pages, &mut pool);
        }
        // 2, 4 and 3 pages are enough.
        assert!(pool.take(12).is_none());
        assert_eq!(kept.take(&tokens(300, 9)).unwrap().1, 199);
        let (pages, len) = kept.take(&tokens(150, 0)).unwrap();
        assert_eq!((pages.len(), len), (3, 149));
        assert_eq!(kept.take(&tokens(64, 64)), None);
        assert_eq!(kept.take(&[]), None);
        assert_eq!(kept.take(&tokens(65, 65)).unwrap().1, 64);
        assert!(!kept.evict(&mut pool));
    }

    #[test]
    fn short_texts_are_not_kept_and_old_ones_go_first() {
        let mut pool = Pool::new(4);
        let mut kept = KeptTexts::default();
        let pages = pool.take(1).unwrap();
        kept.keep(tokens(63, 0), pages, &mut pool);
        assert_eq!(kept.iter().count(), 0);
        for n in [64, 70] {
            let pages = pool.take(2).unwrap();
            kept.keep(tokens(n, 0), pages, &mut pool);
        }
        assert!(kept.evict(&mut pool));
        assert_eq!(kept.iter().next().map(|k| k.tokens.len()), Some(70));
        let owned = kept.iter().map(|k| k.pages.as_slice());
        assert_eq!(pool.check(owned), Ok(()));
    }
}

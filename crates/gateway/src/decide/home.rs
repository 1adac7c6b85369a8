//! An answer that is computed here.

use super::account::Account;
use super::parts::AtHome;
use crate::chat::Usage;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// What an answer has taken, when nobody wants more of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(Arc<Mutex<Usage>>);

impl Taken {
    pub fn get(&self) -> Usage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that says what it took when it is dropped, whoever drops it when.
#[derive(Debug)]
pub(super) struct Tallied<A: AtHome> {
    answer: A,
    taken: Taken,
}

impl<A: AtHome> Tallied<A> {
    pub fn new(answer: A, taken: Taken) -> Self {
        Self { answer, taken }
    }
}

impl<A: AtHome> Deref for Tallied<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.answer
    }
}

impl<A: AtHome> DerefMut for Tallied<A> {
    fn deref_mut(&mut self) -> &mut A {
        &mut self.answer
    }
}

impl<A: AtHome> Drop for Tallied<A> {
    fn drop(&mut self) {
        let taken = self.answer.taken();
        *self.taken.0.lock().unwrap_or_else(PoisonError::into_inner) = taken;
    }
}

/// A local answer: what was held back of it, and what comes. Dropped before its end, its row says how far it
/// came.
#[derive(Debug)]
pub struct HomeAnswer<A: AtHome> {
    held: VecDeque<A::News>,
    // Dropped before the account, which it tells what it took.
    answer: Tallied<A>,
    account: Account,
}

impl<A: AtHome> HomeAnswer<A> {
    pub(super) fn new(answer: Tallied<A>, held: VecDeque<A::News>, account: Account) -> Self {
        Self {
            held,
            answer,
            account,
        }
    }

    /// What is new; none when it is over. The future may be dropped and made again.
    pub async fn next(&mut self) -> Option<A::News> {
        let news = match self.held.pop_front() {
            Some(news) => Some(news),
            None => self.answer.next().await,
        };
        self.account.first();
        news
    }

    /// The answer itself.
    pub fn answer(&self) -> &A {
        &self.answer
    }

    /// The answer itself, and its row, which whoever knows its end finishes.
    pub fn parts_mut(&mut self) -> (&mut A, &mut Account) {
        (&mut self.answer, &mut self.account)
    }

    /// What is known of how it was decided.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

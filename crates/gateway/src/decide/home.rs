//! An answer that is computed here.

use super::account::Account;
use super::parts::AtHome;
use std::collections::VecDeque;

/// A local answer: what was held back of it, and what comes.
#[derive(Debug)]
pub struct HomeAnswer<A: AtHome> {
    held: VecDeque<A::News>,
    answer: A,
    account: Account,
}

impl<A: AtHome> HomeAnswer<A> {
    pub(super) fn new(answer: A, held: VecDeque<A::News>, account: Account) -> Self {
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

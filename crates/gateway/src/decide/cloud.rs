//! An answer that a provider gives.

use super::account::{Account, tokens};
use super::parts::{Coming, Fault, Hold, Offer};
use crate::chat::{Piece, Usage};
use crate::ledger::Outcome;
use crate::policy::Pieces;
use crate::provider::Charged;
use std::collections::VecDeque;

/// What a provider answers: pieces that are there already, and those that come. Dropped before its end, it
/// is charged at its maximum, because nobody knows what the provider did.
pub struct CloudAnswer {
    call: Call,
    account: Account,
    over: bool,
}

impl std::fmt::Debug for CloudAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CloudAnswer")
            .field("offer", &self.call.offer.name)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl CloudAnswer {
    pub(super) fn new(call: Call, account: Account) -> Self {
        Self {
            call,
            account,
            over: false,
        }
    }

    /// The next piece. [`Piece::Finish`] comes once, and nothing behind it; an error is the last.
    ///
    /// # Errors
    /// The answer could not be finished.
    pub async fn next(&mut self) -> Option<Result<Piece, Fault>> {
        if self.over {
            return None;
        }
        let piece = match self.call.next().await {
            Ok(piece) => piece,
            Err(fault) => {
                self.end(Outcome::Failed);
                return Some(Err(fault));
            }
        };
        self.account.first();
        self.account.says(&piece);
        if matches!(piece, Piece::Finish(_)) {
            self.call.rest().await;
            self.end(Outcome::Completed);
        }
        Some(Ok(piece))
    }

    fn end(&mut self, outcome: Outcome) {
        self.over = true;
        self.call.pay(&mut self.account);
        let (usage, said) = (self.call.counted(), self.call.said());
        self.account.finish(outcome, &usage, said.as_ref());
    }

    /// What it took so far.
    pub fn usage(&self) -> Usage {
        self.call.counted()
    }

    /// What is known of how it was decided.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

impl Drop for CloudAnswer {
    fn drop(&mut self) {
        if !self.over {
            self.end(Outcome::Cancelled);
        }
    }
}

/// One call of a provider.
pub(super) struct Call {
    pub offer: Offer,
    coming: Box<dyn Coming>,
    restore: Option<Pieces>,
    /// Pieces that have come and nobody has seen.
    held: VecDeque<Piece>,
    hold: Option<Box<dyn Hold>>,
    finished: bool,
    /// Bytes of text that came.
    bytes: u64,
}

impl Call {
    pub fn new(
        offer: Offer,
        coming: Box<dyn Coming>,
        restore: Option<Pieces>,
        hold: Box<dyn Hold>,
    ) -> Self {
        Self {
            offer,
            coming,
            restore,
            held: VecDeque::new(),
            hold: Some(hold),
            finished: false,
            bytes: 0,
        }
    }

    /// Who answers.
    pub fn upstream(&self) -> String {
        self.coming.upstream()
    }

    /// Waits for the first piece of the answer itself.
    pub async fn begin(&mut self) -> Result<(), Fault> {
        while self.held.is_empty() {
            self.hear().await?;
        }
        Ok(())
    }

    /// Waits for all of it.
    pub async fn all(&mut self) -> Result<(), Fault> {
        while !self.finished {
            self.hear().await?;
        }
        self.rest().await;
        Ok(())
    }

    async fn next(&mut self) -> Result<Piece, Fault> {
        loop {
            if let Some(piece) = self.held.pop_front() {
                return Ok(piece);
            }
            self.hear().await?;
        }
    }

    /// What it took comes behind the end.
    async fn rest(&mut self) {
        // The answer is whole: a fault now says only that nobody knows what it took.
        while let Ok(Some(_)) = self.coming.next().await {}
    }

    async fn hear(&mut self) -> Result<(), Fault> {
        let cut = || Fault {
            why: "its answer was cut off".into(),
            charged: Charged::Unknown,
        };
        if self.finished {
            return Err(cut());
        }
        let piece = self.coming.next().await?.ok_or_else(cut)?;
        match &piece {
            Piece::Usage(_) => return Ok(()),
            Piece::Text(text) | Piece::Reasoning(text) | Piece::CallArguments { text, .. } => {
                self.bytes = self.bytes.saturating_add(text.len() as u64);
            }
            Piece::Finish(_) => self.finished = true,
            Piece::CallBegin { .. } => {}
        }
        match &mut self.restore {
            Some(restore) => self.held.extend(restore.push(piece)),
            None => self.held.push_back(piece),
        }
        Ok(())
    }

    /// Pays for it: what is known that it took, or the most that it can have taken.
    pub fn pay(&mut self, account: &mut Account) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        let cost = match self.coming.charged() {
            Charged::Yes(usage) => self.coming.prices().cost(&tokens(&usage)),
            Charged::No => {
                hold.release();
                return;
            }
            Charged::Unknown => hold.most(),
        };
        let charged = hold.settle(cost);
        account.charged(&self.coming.upstream(), &self.coming.prices(), charged);
    }

    /// What the provider says it took.
    fn said(&self) -> Option<Usage> {
        match self.coming.charged() {
            Charged::Yes(usage) => Some(usage),
            Charged::No | Charged::Unknown => None,
        }
    }

    /// What it took: as the provider says where that can be, else by the length of the texts.
    pub fn counted(&self) -> Usage {
        self.said().unwrap_or(Usage {
            input: self.offer.most_input.div_ceil(BYTES_OF_A_TOKEN),
            output: self.bytes.div_ceil(BYTES_OF_A_TOKEN),
            ..Usage::default()
        })
    }
}

/// Of usual texts, in the vocabularies of providers.
const BYTES_OF_A_TOKEN: u64 = 4;

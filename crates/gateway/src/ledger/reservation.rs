//! Money that is set aside for one call of a provider.

use std::sync::Arc;

use super::job::{Ack, Job};
use super::queue::Queue;
use super::{Money, spend};

/// Money set aside. It ends in one of four ways:
/// - [`settle`](Self::settle): the call was made and this is what it cost;
/// - [`release`](Self::release): nothing of the call left this machine;
/// - it is dropped: the call may have been executed, so it is charged at its maximum;
/// - the process dies: the same, when the ledger is opened next.
#[must_use = "dropped, it is charged at its maximum"]
pub struct Reservation {
    id: u64,
    most: Money,
    queue: Arc<Queue>,
    /// Whether it ever reached whoever asked for it.
    handed: bool,
    over: bool,
}

/// How a reservation ended, as it stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The provider's figures, or ours, say what it cost.
    Settled,
    /// Nothing left.
    Released,
    /// Nobody said; charged at its maximum.
    Dropped,
    /// Its process died; charged at its maximum.
    Died,
}

impl End {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Dropped => "dropped",
            Self::Died => "died",
        }
    }
}

impl Reservation {
    pub(super) fn new(id: u64, most: Money, queue: Arc<Queue>) -> Self {
        Self {
            id,
            most,
            queue,
            handed: false,
            over: false,
        }
    }

    pub(super) fn handed(mut self) -> Self {
        self.handed = true;
        self
    }

    /// Its number, for [`Row::reservation`](super::Row).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What was set aside.
    #[must_use]
    pub fn most(&self) -> Money {
        self.most
    }

    /// What is charged where the call cost `claimed`: that, but at most what was set aside.
    #[must_use]
    pub fn charge(&self, claimed: Money) -> Money {
        let nanos = if claimed.currency == self.most.currency {
            claimed.nanos.clamp(0, self.most.nanos)
        } else {
            self.most.nanos
        };
        Money { nanos, ..self.most }
    }

    /// The call cost `claimed`. Charged is at most what was set aside: no provider may bill more tokens
    /// than the request allowed. What it claims beyond is kept beside it and shown by `ingle cost`. The
    /// answer is what was charged.
    pub fn settle(mut self, claimed: Money) -> Ack<Money> {
        self.end(End::Settled, Some(claimed))
    }

    /// Nothing left this machine: the permit was refused, or no connection was made.
    pub fn release(mut self) -> Ack<Money> {
        self.end(End::Released, None)
    }

    fn end(&mut self, end: End, claimed: Option<Money>) -> Ack<Money> {
        self.over = true;
        let (id, most) = (self.id, self.most);
        let charged = match (end, claimed) {
            (End::Released, _) => 0,
            (_, Some(claimed)) => self.charge(claimed).nanos,
            (_, None) => most.nanos,
        };
        // What is claimed in another currency has no place beside this one.
        let claimed = claimed.filter(|claimed| claimed.currency == most.currency);
        let claimed = claimed.map(|money| money.nanos);
        let job = Job::new(
            move |work| spend::settle(work, id, charged, claimed, end),
            move |()| Money {
                nanos: charged,
                ..most
            },
        );
        self.queue.post_always(job.counted())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.over {
            // One that never reached anybody was used for nothing.
            let end = if self.handed {
                End::Dropped
            } else {
                End::Released
            };
            drop(self.end(end, None));
        }
    }
}

//! What may leave, by the rules of ingle.toml.

use crate::chat::{Message, Request};
use crate::decide::{Ruled, Rules, Ruling};
use crate::policy::{Held, Policy, Taint};
use ingle_egress::Clock;
use std::time::Duration;
use tokio::time::Instant;

/// Rules, and the store of conversations that stay.
pub struct Policies {
    /// The rules.
    pub policy: Policy,
    /// The conversations.
    pub taint: Taint,
    /// Milliseconds since 1970.
    pub clock: Clock,
    /// How long the texts of one request may be looked at; what takes longer stays.
    pub patience: Duration,
}

impl Policies {
    fn seconds(&self) -> u64 {
        (self.clock)() / 1000
    }
}

impl Rules for Policies {
    fn rule(&self, request: &Request) -> Ruled {
        let begun = Instant::now();
        let late = || begun.elapsed() > self.patience;
        let verdict = self
            .policy
            .judge(request, true, &self.taint, self.seconds(), &late);
        Ruled {
            ruling: Ruling {
                leave: verdict.leave,
                rule: verdict.rule,
                why: verdict.reason,
            },
            redacted: verdict.redacted,
            held: verdict.held,
        }
    }

    fn answered(&self, held: &Held, answer: &Message) {
        // Where it cannot be kept, the store lets nothing leave from then on.
        drop(self.taint.answered(held, answer, self.seconds()));
    }
}

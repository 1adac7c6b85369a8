//! What may leave, by the rules of ingle.toml.

use crate::chat::{Message, Request};
use crate::decide::{Ruled, Rules, Ruling};
use crate::policy::{Held, Policy, Taint};
use ingle_egress::Clock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// Answers that may wait to be remembered; whoever has one more waits until it is.
const QUEUE: usize = 256;

/// Rules, and the store of conversations that stay.
pub struct Policies {
    shared: Arc<Shared>,
    /// How long the texts of one request may be looked at; what takes longer stays.
    patience: Duration,
    /// Who remembers answers: the disk is waited for there, not where answers are streamed.
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    policy: Policy,
    taint: Taint,
    /// Milliseconds since 1970.
    clock: Clock,
    answers: Mutex<Answers>,
    changed: Condvar,
}

/// Answers of conversations that stay, on their way to the store.
#[derive(Default)]
struct Answers {
    waiting: VecDeque<(Held, Message)>,
    /// How many have come, and how many of those are remembered.
    come: u64,
    kept: u64,
    closed: bool,
}

impl Shared {
    fn seconds(&self) -> u64 {
        (self.clock)() / 1000
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, answers: MutexGuard<'a, Answers>) -> MutexGuard<'a, Answers> {
        let waited = self.changed.wait(answers);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what has been answered so far is remembered, for so long.
    fn settled(&self, patience: Duration) {
        let answers = self.answers();
        let come = answers.come;
        let waits = |answers: &mut Answers| answers.kept < come;
        drop(self.changed.wait_timeout_while(answers, patience, waits));
    }

    /// Remembers answers until there are no more.
    fn keep(&self) {
        let mut answers = self.answers();
        loop {
            let Some((held, answer)) = answers.waiting.pop_front() else {
                if answers.closed {
                    return;
                }
                answers = self.wait(answers);
                continue;
            };
            drop(answers);
            // Where it cannot be kept, the store lets nothing leave from then on.
            drop(self.taint.answered(&held, &answer, self.seconds()));
            answers = self.answers();
            answers.kept += 1;
            self.changed.notify_all();
        }
    }
}

impl Policies {
    /// Rules with a store; the texts of one request may be looked at for so long.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn new(
        policy: Policy,
        taint: Taint,
        clock: Clock,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            policy,
            taint,
            clock,
            answers: Mutex::default(),
            changed: Condvar::new(),
        });
        let keeps = Arc::clone(&shared);
        let keeper = std::thread::Builder::new()
            .name("stays".into())
            .spawn(move || keeps.keep())?;
        Ok(Self {
            shared,
            patience,
            keeper: Some(keeper),
        })
    }
}

impl Rules for Policies {
    fn rule(&self, request: &Request) -> Ruled {
        let begun = Instant::now();
        let late = || begun.elapsed() > self.patience;
        self.shared.settled(self.patience);
        let now = self.shared.seconds();
        let (policy, taint) = (&self.shared.policy, &self.shared.taint);
        let verdict = policy.judge(request, true, taint, now, &late);
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
        let mut answers = self.shared.answers();
        while answers.waiting.len() >= QUEUE {
            answers = self.shared.wait(answers);
        }
        answers.waiting.push_back((held.clone(), answer.clone()));
        answers.come += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        self.shared.answers().closed = true;
        self.shared.changed.notify_all();
        if let Some(keeper) = self.keeper.take() {
            // What it has been given is remembered before it ends.
            drop(keeper.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Leave, Role};
    use crate::policy::{Action, Bounds, Limits, Rule, Scanner};

    #[test]
    fn an_answer_is_remembered_before_the_next_request_is_judged() {
        let all = Rule {
            name: "all".into(),
            models: Vec::new(),
            users: Vec::new(),
            labels: Vec::new(),
            paths: Vec::new(),
            headers: Vec::new(),
            content: Vec::new(),
            then: Action::Allow,
        };
        let folder = tempfile::tempdir().unwrap();
        let taint = Taint::open(&folder.path().join("stays.db"), &[1; 32], Bounds::default());
        let scanner = Scanner::new(&[], Limits::default()).unwrap();
        let policy = Policy::new(vec![all], scanner);
        let clock: Clock = Arc::new(|| 1_000_000);
        let rules = Policies::new(policy, taint.unwrap(), clock, Duration::from_secs(60)).unwrap();
        for i in 0..50 {
            let asked = format!("My card is 4111 1111 1111 1111, thing {i}.");
            let request = Request::new("a", vec![Message::text(Role::User, asked)]);
            let held = rules.rule(&request).held.unwrap();
            let answer = format!("This is answer number {i} to what you asked me.");
            let answer = Message::text(Role::Assistant, answer);
            rules.answered(&held, &answer);
            // The client sends the answer back without what was asked.
            let next = Request::new("b", vec![answer, Message::text(Role::User, "And?")]);
            assert_eq!(rules.rule(&next).ruling.leave, Leave::LocalOnly, "{i}");
        }
    }
}

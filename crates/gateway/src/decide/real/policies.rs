//! What may leave, by the rules of ingle.toml.

use crate::chat::{Leave, Message, Request};
use crate::decide::{Ruled, Rules, Ruling, Stays};
use crate::policy::{BUILT_IN, Held, Policy, Taint, Verdict};
use ingle_egress::Clock;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// What may wait for the store; whoever has one more answer waits until it is remembered.
const QUEUE: usize = 256;
/// Bytes of requests that may wait.
const MOST_BYTES: usize = 4 << 20;

/// Rules, and the store of conversations that stay.
///
/// A request that no rule lets go, whatever it holds, is answered at once and read meanwhile; before the next
/// one that could leave is judged, all that came before it has been read and remembered.
pub struct Policies {
    shared: Arc<Shared>,
    /// Who reads and remembers behind: neither is waited for where requests are answered.
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    policy: Policy,
    taint: Taint,
    /// Milliseconds since 1970.
    clock: Clock,
    /// How long the texts of one request may be looked at; what takes longer stays.
    patience: Duration,
    behind: Mutex<Behind>,
    changed: Condvar,
}

/// What is on its way to the store.
#[derive(Default)]
struct Behind {
    waiting: VecDeque<Job>,
    /// Bytes of the requests that wait or are being read.
    bytes: usize,
    /// How much has come, and how much of that is done.
    come: u64,
    done: u64,
    closed: bool,
}

enum Job {
    /// A request that stays in any case; what it holds is not known yet.
    Read {
        request: Box<Request>,
        bytes: usize,
        stays: Stays,
    },
    /// An answer of a conversation that stays or may have to.
    Answer { stays: Stays, answer: Message },
}

impl Shared {
    fn seconds(&self) -> u64 {
        (self.clock)() / 1000
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, behind: MutexGuard<'a, Behind>) -> MutexGuard<'a, Behind> {
        let waited = self.changed.wait(behind);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what has come so far is remembered; whether it is.
    fn settled(&self) -> bool {
        let behind = self.behind();
        let come = behind.come;
        let waits = |behind: &mut Behind| behind.done < come;
        let waited = self
            .changed
            .wait_timeout_while(behind, self.patience, waits);
        let (behind, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(behind);
        !waited.timed_out()
    }

    fn judge(&self, request: &Request) -> Verdict {
        let begun = Instant::now();
        let late = || begun.elapsed() > self.patience;
        let now = self.seconds();
        self.policy.judge(request, true, &self.taint, now, &late)
    }

    /// Reads a request that stays in any case: what its conversation is known by, if that stays too.
    fn read(&self, request: &Request) -> Option<Held> {
        let read = AssertUnwindSafe(|| self.judge(request).held);
        catch_unwind(read).unwrap_or_else(|_| {
            // A fault in reading is no leave to go.
            let now = self.seconds();
            self.taint.hold(request, 0, &[], &[], now).ok()
        })
    }

    /// Leaves a request to be read behind; not where too much waits.
    fn later(&self, request: &Request) -> Option<Stays> {
        let bytes = request.texts().iter().map(|text| text.text.len()).sum();
        let mut behind = self.behind();
        let all = behind.bytes.saturating_add(bytes);
        if all > MOST_BYTES || behind.waiting.len() >= QUEUE {
            return None;
        }
        behind.bytes = all;
        let stays = Stays::open();
        let job = Job::Read {
            request: Box::new(request.clone()),
            bytes,
            stays: stays.clone(),
        };
        self.push(&mut behind, job);
        Some(stays)
    }

    fn push(&self, behind: &mut Behind, job: Job) {
        behind.waiting.push_back(job);
        behind.come += 1;
        self.changed.notify_all();
    }

    /// Reads and remembers until there is no more.
    fn keep(&self) {
        let mut behind = self.behind();
        loop {
            let Some(job) = behind.waiting.pop_front() else {
                if behind.closed {
                    return;
                }
                behind = self.wait(behind);
                continue;
            };
            drop(behind);
            // Where something cannot be kept, the store lets nothing leave from then on.
            let read = match job {
                Job::Read {
                    request,
                    bytes,
                    stays,
                } => {
                    stays.found(self.read(&request));
                    bytes
                }
                Job::Answer { stays, answer } => {
                    if let Some(held) = stays.held() {
                        drop(self.taint.answered(held, &answer, self.seconds()));
                    }
                    0
                }
            };
            behind = self.behind();
            behind.bytes = behind.bytes.saturating_sub(read);
            behind.done += 1;
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
            patience,
            behind: Mutex::default(),
            changed: Condvar::new(),
        });
        let keeps = Arc::clone(&shared);
        let keeper = std::thread::Builder::new()
            .name("stays".into())
            .spawn(move || keeps.keep())?;
        Ok(Self {
            shared,
            keeper: Some(keeper),
        })
    }
}

impl Rules for Policies {
    fn rule(&self, request: &Request) -> Ruled {
        let shared = &self.shared;
        let outright = shared.policy.outright(request);
        if let Some(verdict) = outright
            && let Some(stays) = shared.later(request)
        {
            return ruled(verdict, Some(stays));
        }
        let settled = shared.settled();
        let mut verdict = shared.judge(request);
        if !settled {
            verdict.leave = Leave::LocalOnly;
            verdict.rule = BUILT_IN.to_owned();
            verdict.reason = "what came before it could not be remembered in time".to_owned();
        }
        let stays = verdict.held.take().map(Stays::from);
        ruled(verdict, stays)
    }

    fn answered(&self, stays: &Stays, answer: &Message) {
        let mut behind = self.shared.behind();
        while behind.waiting.len() >= QUEUE {
            behind = self.shared.wait(behind);
        }
        let (stays, answer) = (stays.clone(), answer.clone());
        self.shared.push(&mut behind, Job::Answer { stays, answer });
    }
}

fn ruled(verdict: Verdict, stays: Option<Stays>) -> Ruled {
    Ruled {
        ruling: Ruling {
            leave: verdict.leave,
            rule: verdict.rule,
            why: verdict.reason,
        },
        redacted: verdict.redacted,
        stays,
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        self.shared.behind().closed = true;
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
    use crate::chat::Role;
    use crate::policy::{Action, Bounds, Limits, Pattern, Rule, Scanner};

    fn rules(folder: &std::path::Path, rules: Vec<Rule>) -> Policies {
        let taint = Taint::open(&folder.join("stays.db"), &[1; 32], Bounds::default());
        let scanner = Scanner::new(&[], Limits::default()).unwrap();
        let policy = Policy::new(rules, scanner);
        let clock: Clock = Arc::new(|| 1_000_000);
        Policies::new(policy, taint.unwrap(), clock, Duration::from_secs(60)).unwrap()
    }

    fn asked(text: impl Into<String>) -> Request {
        Request::new("a", vec![Message::text(Role::User, text)])
    }

    #[test]
    fn an_answer_is_remembered_before_the_next_request_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let rules = rules(folder.path(), vec![Rule::new("all", Action::Allow)]);
        for i in 0..50 {
            let asked = format!("My card is 4111 1111 1111 1111, thing {i}.");
            let stays = rules.rule(&self::asked(asked)).stays.unwrap();
            let answer = format!("This is answer number {i} to what you asked me.");
            let answer = Message::text(Role::Assistant, answer);
            rules.answered(&stays, &answer);
            // The client sends the answer back without what was asked.
            let next = Request::new("b", vec![answer, Message::text(Role::User, "And?")]);
            assert_eq!(rules.rule(&next).ruling.leave, Leave::LocalOnly, "{i}");
        }
    }
    /// The same of requests that no rule lets go, which are read behind.
    #[test]
    fn what_stays_in_any_case_is_remembered_before_the_next_that_could_leave() {
        let folder = tempfile::tempdir().unwrap();
        let private = Rule {
            labels: vec![Pattern::new("private").unwrap()],
            ..Rule::new("private", Action::LocalOnly)
        };
        let rules = rules(
            folder.path(),
            vec![Rule::new("all", Action::Allow), private],
        );
        let free = Request::new("b", vec![Message::text(Role::User, "What is a fjord?")]);
        for i in 0..50 {
            let request = Request {
                label: Some("private".into()),
                ..asked(format!("My card is 4111 1111 1111 1111, thing {i}."))
            };
            let ruled = rules.rule(&request);
            assert_eq!(ruled.ruling.rule, "private");
            let answer = format!("This is answer number {i} to what you asked me.");
            let answer = Message::text(Role::Assistant, answer);
            rules.answered(&ruled.stays.unwrap(), &answer);
            let next = Request::new("b", vec![answer, Message::text(Role::User, "And?")]);
            assert_eq!(rules.rule(&next).ruling.leave, Leave::LocalOnly, "{i}");
            assert_eq!(rules.rule(&free).ruling.leave, Leave::Allow, "{i}");
        }
        // What is harmless keeps nothing here.
        let harmless = Request {
            label: Some("private".into()),
            ..asked("What is the capital of the moon, if it had one?")
        };
        let stays = rules.rule(&harmless).stays.unwrap();
        let answer = Message::text(Role::Assistant, "It would have to be in a crater, I think.");
        rules.answered(&stays, &answer);
        let next = Request::new("b", vec![answer, Message::text(Role::User, "And?")]);
        assert_eq!(rules.rule(&next).ruling.leave, Leave::Allow);
        assert!(stays.is_over());
    }

    #[test]
    fn what_is_too_long_to_wait_is_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let rules = rules(folder.path(), Vec::new());
        let stays = |text: String| rules.rule(&asked(text)).stays;
        assert!(stays("a ".repeat(MOST_BYTES / 4)).is_some());
        // Read, and found to be harmless.
        assert!(stays("a ".repeat(MOST_BYTES)).is_none_or(|stays| stays.held().is_some()));
    }
}

//! The engine on a thread of its own, behind a bounded queue.
//!
//! A request is taken at once or refused at once as [`Refusal::Busy`]: as many may be there, working
//! and waiting, as [`crate::LoadOptions::max_waiting`] says. Its events wait in a mailbox of its own.
//! A reader that does not read is paused: with 256 unread events the engine stops working on the
//! request, which keeps its place, until half of them are read; after [`Patience`] it is cancelled.
//! Dropping an [`Answer`] cancels its request: it is gone before the next batch is computed.

use crate::embed::{EmbedRequest, Want};
use crate::engine::Engine;
use crate::mailbox::{Mailbox, Then};
use crate::request::{Event, FinishReason, Refusal, Request, RequestId, Times, Usage};
use crate::stats::{Histogram, Stats};
use crate::turns::{Turn, Turns};
use ingle_formats::TokenId;
use ingle_tensor::ops::Ops;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a request waits for a reader that does not read, before it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl Default for Patience {
    /// Half a minute.
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

/// What an engine on its own thread can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// To continue a text: see [`Engine::submit`].
    Text(Box<Request>),
    /// The embedding of a text: see [`Engine::embed_request`].
    Embedding(String),
    /// The embedding of tokens as they stand.
    EmbeddingOf(Vec<TokenId>),
    /// How well a document answers a query: see [`Engine::score_request`].
    Score {
        /// What was looked for.
        query: String,
        /// What was found.
        document: String,
    },
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        Self::Text(Box::new(request))
    }
}

/// An engine that works on its own thread. Clones speak to the same one.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    desk: Arc<Desk>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What both sides see.
#[derive(Debug)]
struct Desk {
    orders: Mutex<Orders>,
    ordered: Condvar,
    capacity: usize,
    /// Requests that are worked on at once.
    places: usize,
}

/// What callers want and the engine has not seen yet, and what it has said of itself.
#[derive(Debug, Default)]
struct Orders {
    new: Vec<New>,
    cancel: Vec<Ticket>,
    resume: Vec<Ticket>,
    next_ticket: Ticket,
    phase: Phase,
    stats: Stats,
}

type Ticket = u64;

/// A request on its way to the engine.
#[derive(Debug)]
struct New {
    ticket: Ticket,
    user: u64,
    asked: Asked,
    mailbox: Arc<Mailbox>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd)]
enum Phase {
    #[default]
    Open,
    /// Nothing new is taken; what is there is finished.
    Draining,
    /// What is there is cancelled.
    Stopping,
    /// The thread has ended.
    Over,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Every change under this lock is complete before anything can panic.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.lock());
        self.ordered.notify_one();
    }
}

impl EngineHandle {
    /// Starts the thread. `turns` are those of all engines that compute with the same threads; `clock`
    /// is the time since any fixed moment.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start<O: Ops + 'static>(
        engine: Engine<O>,
        turns: Turns,
        patience: Patience,
        clock: impl Fn() -> Duration + Send + 'static,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk {
            orders: Mutex::default(),
            ordered: Condvar::new(),
            capacity: engine.plan().options.max_waiting as usize,
            places: engine.plan().options.max_sequences as usize,
        });
        let worker = Worker {
            engine,
            turns,
            turn: None,
            desk: Arc::clone(&desk),
            live: HashMap::new(),
            requests: HashMap::new(),
            patience,
            busy: Duration::ZERO,
        };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run(clock))?;
        Ok(Self {
            desk,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Hands a request over. Whether the engine takes it is the answer's first word.
    ///
    /// # Errors
    /// [`Refusal::Busy`], or [`Refusal::Stopped`]: it takes nothing any more.
    pub fn submit(&self, asked: impl Into<Asked>) -> Result<Answer, Refusal> {
        let asked = asked.into();
        let user = match &asked {
            Asked::Text(request) => request.user,
            _ => 0,
        };
        self.submit_as(user, asked)
    }

    /// [`Self::submit`] for a user: see [`Request::user`].
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_as(&self, user: u64, asked: impl Into<Asked>) -> Result<Answer, Refusal> {
        let mailbox = Arc::new(Mailbox::default());
        let mut orders = self.desk.lock();
        let refusal = match orders.phase {
            Phase::Open if orders.stats.live < self.desk.capacity => None,
            Phase::Open => Some(Refusal::Busy {
                waiting: orders.stats.live.saturating_sub(orders.stats.running),
            }),
            _ => Some(Refusal::Stopped),
        };
        if let Some(refusal) = refusal {
            orders.stats.refused += 1;
            return Err(refusal);
        }
        orders.stats.live += 1;
        let ticket = orders.next_ticket;
        orders.next_ticket += 1;
        orders.new.push(New {
            ticket,
            user,
            asked: asked.into(),
            mailbox: Arc::clone(&mailbox),
        });
        drop(orders);
        self.desk.ordered.notify_one();
        Ok(Answer {
            ticket,
            mailbox,
            desk: Arc::clone(&self.desk),
            over: false,
        })
    }

    /// What the engine has done and has to do.
    pub fn stats(&self) -> Stats {
        self.desk.lock().stats
    }

    /// Whether another request would be taken, or refused as [`Refusal::Stopped`], but not as busy.
    pub fn has_room(&self) -> bool {
        let orders = self.desk.lock();
        orders.phase != Phase::Open || orders.stats.live < self.desk.capacity
    }

    /// Whether another request would be worked on at once.
    pub fn has_place(&self) -> bool {
        self.desk.lock().stats.live < self.desk.places
    }

    /// Whether requests are taken.
    pub fn is_open(&self) -> bool {
        self.desk.lock().phase == Phase::Open
    }

    /// Takes nothing any more; requests that are there are finished, and then the thread ends.
    pub fn drain(&self) {
        self.begin(Phase::Draining);
    }

    /// Takes nothing any more and cancels what is there.
    pub fn stop(&self) {
        self.begin(Phase::Stopping);
    }

    fn begin(&self, phase: Phase) {
        self.desk.order(|orders| {
            if orders.phase < phase {
                orders.phase = phase;
            }
        });
    }

    /// Waits for the thread to end, after [`Self::drain`] or [`Self::stop`].
    pub fn join(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // What it panicked with was printed; its requests have been told.
        thread.take().map(JoinHandle::join);
    }
}

/// The events of one request. Dropping it cancels the request.
#[derive(Debug)]
pub struct Answer {
    ticket: Ticket,
    mailbox: Arc<Mailbox>,
    desk: Arc<Desk>,
    over: bool,
}

impl Answer {
    /// Waits until the engine has taken the request.
    ///
    /// # Errors
    /// [`Refusal`] says why it has not.
    pub async fn taken(&mut self) -> Result<(), Refusal> {
        let taken = poll_fn(|context| self.mailbox.poll_taken(context)).await;
        self.over |= taken.is_err();
        taken
    }

    /// Waits for the next event; [`Event::Finished`] is the last.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`], for a hand-written future.
    pub fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> Poll<Option<Event>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready((event, then)) = self.mailbox.poll_event(context) else {
            return Poll::Pending;
        };
        if then == Then::Resume {
            self.desk.order(|orders| orders.resume.push(self.ticket));
        }
        self.over = matches!(event, Event::Finished { .. });
        Poll::Ready(Some(event))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.over {
            self.desk.order(|orders| orders.cancel.push(self.ticket));
        }
    }
}

/// The engine's side.
struct Worker<O: Ops + 'static> {
    engine: Engine<O>,
    turns: Turns,
    /// Its turn, while there is something to do.
    turn: Option<Turn>,
    desk: Arc<Desk>,
    live: HashMap<RequestId, Live>,
    requests: HashMap<Ticket, RequestId>,
    patience: Patience,
    /// Time of all steps together.
    busy: Duration,
}

struct Live {
    ticket: Ticket,
    mailbox: Arc<Mailbox>,
    /// Since when nobody has read.
    paused: Option<Duration>,
    submitted: Duration,
    /// When its first token was there, and its latest.
    tokens: Option<(Duration, Duration)>,
}

/// What to do before the next step.
struct Work {
    new: Vec<New>,
    cancel: Vec<Ticket>,
    resume: Vec<Ticket>,
    phase: Phase,
}

impl<O: Ops + 'static> Worker<O> {
    fn run(mut self, clock: impl Fn() -> Duration) {
        loop {
            let work = self.wait();
            let mut now = clock();
            for new in work.new {
                self.take(new, now);
            }
            let resumed = work.resume.iter().filter_map(|t| self.requests.get(t));
            for id in resumed {
                self.engine.pause(*id, false);
                self.live.entry(*id).and_modify(|live| live.paused = None);
            }
            self.cancel(&work.cancel, work.phase, now);
            if work.phase != Phase::Open && self.live.is_empty() {
                self.engine.settle_store();
                return;
            }
            let events = self.step(&clock);
            now = clock();
            self.count(); // before anybody can have read of it
            for event in events {
                self.deliver(event, now);
            }
        }
    }

    /// One step, when it is this engine's turn.
    fn step(&mut self, clock: &impl Fn() -> Duration) -> Vec<Event> {
        let turn = self.turn.get_or_insert_with(|| self.turns.take());
        self.engine.in_company(turn.others() > 0);
        let begun = clock();
        let events = self.engine.step(begun);
        let now = clock();
        let took = now.saturating_sub(begun);
        self.busy += took;
        if turn.is_over(took) || self.engine.is_idle() || self.engine.is_stalled() {
            self.engine.rest(now);
            self.turn = None;
        }
        events
    }

    fn count(&self) {
        /// Steps after which what was read from disk is looked at again.
        const READS: u64 = 16;
        let engine = &self.engine;
        let (guesses, pages) = (engine.speculated(), engine.pages());
        let streamed = match engine.parts().is_multiple_of(READS) || engine.is_idle() {
            true => engine.ops().reads(),
            false => None,
        };
        let mut orders = self.desk.lock();
        let stats = &mut orders.stats;
        (stats.steps, stats.rows) = (engine.steps(), engine.rows());
        stats.busy = self.busy;
        (stats.proposed, stats.accepted) = (guesses.proposed, guesses.accepted);
        (stats.running, stats.waiting) = (engine.running(), engine.waiting());
        stats.preemptions = engine.preemptions();
        (stats.pages, stats.free_pages, stats.kept_pages) = (pages.all, pages.free, pages.kept);
        stats.streamed = streamed.or(stats.streamed);
    }

    /// Waits for orders if there is nothing else to do.
    fn wait(&self) -> Work {
        /// How often a request that nobody reads is looked at.
        const GLANCE: Duration = Duration::from_millis(100);
        let mut orders = self.desk.lock();
        let none = |o: &Orders| o.new.is_empty() && o.cancel.is_empty() && o.resume.is_empty();
        if self.engine.is_idle() {
            while none(&orders) && orders.phase == Phase::Open {
                orders = match self.desk.ordered.wait(orders) {
                    Ok(orders) => orders,
                    Err(poisoned) => poisoned.into_inner(),
                };
            }
        } else if self.engine.is_stalled() && none(&orders) {
            orders = match self.desk.ordered.wait_timeout(orders, GLANCE) {
                Ok((orders, _)) => orders,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Work {
            new: std::mem::take(&mut orders.new),
            cancel: std::mem::take(&mut orders.cancel),
            resume: std::mem::take(&mut orders.resume),
            phase: orders.phase,
        }
    }

    fn submit(&mut self, user: u64, asked: Asked, now: Duration) -> Result<RequestId, Refusal> {
        let request = match asked {
            Asked::Text(request) => {
                let request = Request { user, ..*request };
                return self.engine.submit(request, now);
            }
            Asked::Embedding(text) => self.engine.embed_request(&text),
            Asked::EmbeddingOf(tokens) => EmbedRequest {
                tokens,
                second: None,
                want: Want::Embedding { normalise: true },
            },
            Asked::Score { query, document } => self.engine.score_request(&query, &document)?,
        };
        self.engine.submit_embed_as(user, request, now)
    }

    fn take(&mut self, new: New, now: Duration) {
        let (ticket, mailbox) = (new.ticket, new.mailbox);
        match self.submit(new.user, new.asked, now) {
            Ok(id) => {
                self.desk.lock().stats.taken += 1;
                mailbox.answer(Ok(()));
                self.requests.insert(ticket, id);
                let live = Live {
                    ticket,
                    mailbox,
                    paused: None,
                    submitted: now,
                    tokens: None,
                };
                self.live.insert(id, live);
            }
            Err(refusal) => {
                let mut orders = self.desk.lock();
                orders.stats.refused += 1;
                orders.stats.live -= 1;
                drop(orders);
                mailbox.answer(Err(refusal));
            }
        }
    }

    /// Cancels what was given up, what nobody reads, and everything where the engine stops.
    fn cancel(&mut self, tickets: &[Ticket], phase: Phase, now: Duration) {
        let patience = self.patience.0;
        let overdue = |live: &Live| live.paused.is_some_and(|since| now >= since + patience);
        let all = phase == Phase::Stopping;
        let given_up = self.live.iter().filter(|(_, live)| all || overdue(live));
        let mut ids: Vec<RequestId> = given_up.map(|(id, _)| *id).collect();
        ids.extend(tickets.iter().filter_map(|t| self.requests.get(t)));
        for id in ids {
            self.engine.cancel(id, now);
        }
    }

    /// Hands an event on that was there at `now`.
    fn deliver(&mut self, mut event: Event, now: Duration) {
        let id = event.request();
        if let Event::Finished {
            reason,
            usage,
            times,
            ..
        } = &mut event
        {
            let Some(live) = self.live.remove(&id) else {
                return;
            };
            self.requests.remove(&live.ticket);
            *times = live.times(times.queued, now);
            self.ended(reason, usage, times.queued);
            self.count();
            live.mailbox.push(event);
        } else if let Some(live) = self.live.get_mut(&id) {
            if let Event::Token { .. } = &event {
                let mut orders = self.desk.lock();
                live.token(now, &mut orders.stats);
            }
            if live.mailbox.push(event) {
                live.paused = Some(now);
                self.engine.pause(id, true);
            }
        }
    }

    fn ended(&self, reason: &FinishReason, usage: &Usage, queued: Duration) {
        let mut orders = self.desk.lock();
        let stats = &mut orders.stats;
        stats.live -= 1;
        match reason {
            FinishReason::Cancelled => stats.cancelled += 1,
            FinishReason::Failed(_) | FinishReason::Unreadable(_) => stats.failed += 1,
            _ => stats.completed += 1,
        }
        stats.prompt_tokens += u64::from(usage.prompt_tokens);
        stats.cached_tokens += u64::from(usage.cached_tokens);
        stats.disk_tokens += u64::from(usage.disk_tokens);
        stats.queued.add(queued);
    }
}

impl Live {
    /// A token of it was there at `now`.
    fn token(&mut self, now: Duration, stats: &mut Stats) {
        stats.generated_tokens += 1;
        let times: (&mut Histogram, Duration) = match self.tokens {
            None => (&mut stats.first_token, self.submitted),
            Some((_, latest)) => (&mut stats.between_tokens, latest),
        };
        times.0.add(now.saturating_sub(times.1));
        let first = self.tokens.map_or(now, |(first, _)| first);
        self.tokens = Some((first, now));
    }

    fn times(&self, queued: Duration, end: Duration) -> Times {
        let first = self.tokens.map_or(end, |(first, _)| first);
        Times {
            queued,
            prompt: first.saturating_sub(self.submitted + queued),
            generation: end.saturating_sub(first),
        }
    }
}

impl<O: Ops + 'static> Drop for Worker<O> {
    /// However the thread ends, nobody waits for ever.
    fn drop(&mut self) {
        let mut orders = self.desk.lock();
        orders.phase = Phase::Over;
        let new = std::mem::take(&mut orders.new);
        orders.stats.failed += self.live.len() as u64;
        orders.stats.refused += new.len() as u64;
        (orders.stats.live, orders.stats.running) = (0, 0);
        drop(orders);
        for New { mailbox, .. } in new {
            mailbox.answer(Err(Refusal::Stopped));
        }
        for (request, live) in self.live.drain() {
            let why =
                "the engine has stopped; this is a fault in Ingle: report it, and start it again";
            live.mailbox.push(Event::Finished {
                request,
                reason: FinishReason::Failed(why.into()),
                usage: Usage::default(),
                times: Times::default(),
                signals: None,
            });
        }
    }
}

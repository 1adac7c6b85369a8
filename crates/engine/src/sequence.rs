//! One request on its way.

use crate::embed::Embedder;
use crate::guess::Guesser;
use crate::memory::{Copy, Held, Memory, WORTH_COPYING};
use crate::request::{Event, FinishReason, Request, RequestId, Times, Usage};
use crate::warm::Fetch;
use crate::writer::Writer;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use ingle_tensor::ops::{Item, PAGE_LEN, PageId, Row};
use std::time::Duration;

/// A request, what is known of its text, and how far that is computed.
pub(crate) struct Sequence {
    pub id: RequestId,
    /// Prompt and generated tokens.
    known: Vec<TokenId>,
    /// How many of them have keys and values in its pages.
    computed: usize,
    /// How many of them ever had.
    reached: usize,
    /// A batch with it failed: it is computed by itself until it has gone on.
    pub alone: bool,
    /// What may follow the known tokens, to be checked by the next batch.
    guesses: Vec<TokenId>,
    prompt_len: usize,
    /// Length at which it ends.
    pub max_len: usize,
    /// None while it waits.
    pub held: Held,
    /// Whether its whole prompt is to be computed.
    fresh: bool,
    namespace: u64,
    /// Whose it is.
    pub user: u64,
    /// Whether its pages may go to disk.
    pub store: bool,
    /// What it reads from disk before it computes.
    pub fetch: Option<Fetch>,
    cached: usize,
    /// How many of those came from disk.
    from_disk: usize,
    /// What it is for.
    work: Work,
    submitted: Duration,
    started: Option<Duration>,
    first_token: Option<Duration>,
}

/// What becomes of the computed rows.
pub(crate) enum Work {
    /// Each last one gives another token.
    Write(Box<Writer>),
    /// They give one vector.
    Embed(Embedder),
}

/// What a sequence reads after a batch.
pub(crate) struct Computed<'a> {
    /// The logits of its outputs in this batch: `[outputs, labels]`, `labels` those of one.
    pub logits: &'a mut [f32],
    pub labels: usize,
    /// Hidden rows of the batch that are its own: `[rows, width]`.
    pub rows: &'a [f32],
}

impl Sequence {
    /// A request for text that has been checked.
    pub fn write(
        id: RequestId,
        request: Request,
        max_len: usize,
        writer: Writer,
        now: Duration,
    ) -> Self {
        let work = Work::Write(Box::new(writer));
        Self {
            fresh: request.fresh,
            namespace: request.namespace,
            user: request.user,
            store: request.store,
            ..Self::new(id, request.prompt, max_len, work, now)
        }
    }

    /// A request for a vector that has been checked. It neither continues a text nor leaves one.
    pub fn embed(
        id: RequestId,
        user: u64,
        tokens: Vec<TokenId>,
        work: Embedder,
        now: Duration,
    ) -> Self {
        let len = tokens.len();
        Self {
            user,
            ..Self::new(id, tokens, len, Work::Embed(work), now)
        }
    }

    fn new(
        id: RequestId,
        known: Vec<TokenId>,
        max_len: usize,
        work: Work,
        submitted: Duration,
    ) -> Self {
        Self {
            id,
            prompt_len: known.len(),
            known,
            computed: 0,
            reached: 0,
            alone: false,
            guesses: Vec::new(),
            max_len,
            held: Held::default(),
            fresh: false,
            namespace: 0,
            user: 0,
            store: false,
            fetch: None,
            cached: 0,
            from_disk: 0,
            work,
            submitted,
            started: None,
            first_token: None,
        }
    }

    /// The namespace in which what it computes is kept; `None`: it is not.
    pub fn keeps(&self) -> Option<u64> {
        matches!(self.work, Work::Write(_)).then_some(self.namespace)
    }

    /// The text that it need not compute, with its namespace: all but the last known token, whose
    /// logits are wanted.
    pub fn may_take(&self) -> Option<(u64, &[TokenId])> {
        let namespace = self.keeps().filter(|_| !self.fresh)?;
        Some((namespace, &self.known[..self.known.len().saturating_sub(1)]))
    }

    /// How many of its tokens ever were computed.
    pub fn reached(&self) -> usize {
        self.reached
    }

    /// What is computed of its text.
    pub fn computed(&self) -> &[TokenId] {
        &self.known[..self.computed]
    }

    /// Positions that it needs to come to its next token.
    pub fn needs(&self) -> usize {
        self.max_len.min(self.known.len() + 1)
    }

    /// Makes room for all that it can become. Not before it runs: what waits takes no more than
    /// its prompt.
    pub fn start(&mut self) {
        let to_come = self.max_len - self.known.len();
        self.known.reserve(to_come);
        if let Work::Write(writer) = &mut self.work {
            writer.reserve(to_come);
        }
    }

    /// Computes everything again: its pages are gone.
    pub fn restart(&mut self) {
        self.computed = 0;
        self.fetch = None;
        if let Work::Embed(embedder) = &mut self.work {
            embedder.restart();
        }
    }

    /// Puts its pages back; what it computed is kept if it may be.
    pub fn release(&mut self, memory: &mut Memory) {
        let kept = self.keeps().map(|n| (n, &self.known[..self.computed]));
        memory.release(&mut self.held, kept);
    }

    /// Goes on from what others have computed of its text. What it answers is to be copied at once.
    pub fn take(&mut self, memory: &mut Memory) -> Option<Copy> {
        let (namespace, text) = self.may_take()?;
        if self.behind() < 2 {
            return None;
        }
        if !self.computed.is_multiple_of(PAGE_LEN) {
            // A part of a page for the whole of it.
            memory.below(&self.held, namespace, text).next()?;
            self.rewind(self.computed / PAGE_LEN * PAGE_LEN, memory);
        }
        let text = &self.known[..self.known.len() - 1];
        // What comes from disk goes behind whole pages.
        let whole = self.fetch.is_some();
        let taken = memory.take(&mut self.held, namespace, text, whole);
        self.has(taken.positions);
        taken.copy
    }

    /// So many of its positions are computed, without its doing.
    fn has(&mut self, positions: usize) {
        let prompt = |positions: usize| positions.min(self.prompt_len);
        self.cached += prompt(positions).saturating_sub(prompt(self.reached));
        self.computed = positions;
        self.reached = self.reached.max(positions);
    }

    /// How many positions it would have if it went on from a copy of the page that `other` is filling;
    /// `None`: not enough for that to be worth it.
    pub fn could_follow(&self, other: &Self) -> Option<usize> {
        let (from, n) = self.in_common(other)?;
        let there = (from + n).min(other.computed);
        self.is_worth_copying(there).then_some(there)
    }

    /// Goes on from a copy of the page that another is filling, up to `positions`, if it can have a page
    /// to copy that to.
    pub fn follow(&mut self, positions: usize, from: PageId, memory: &mut Memory) -> Option<Copy> {
        if memory.extend(&mut self.held, positions) < positions {
            return None;
        }
        self.has(positions);
        let to = *self.held.pages().last()?;
        Some(Copy { from, to })
    }

    /// Where the page begins at which it and `other` stand, and how many tokens it has in common with
    /// `other` from there, of those that it may take.
    fn in_common(&self, other: &Self) -> Option<(usize, usize)> {
        let (_, text) = self.may_take().filter(|_| self.behind() > 1)?;
        let same = (self.keeps(), self.held.node()) == (other.keeps(), other.held.node());
        let from = self.computed / PAGE_LEN * PAGE_LEN;
        let (mine, theirs) = (text.get(from..)?, other.known.get(from..).filter(|_| same)?);
        let equal = mine.iter().zip(theirs).take_while(|(a, b)| a == b);
        Some((from, equal.take(PAGE_LEN).count()))
    }

    /// Whether having `positions` is worth a copy of a page.
    fn is_worth_copying(&self, positions: usize) -> bool {
        let all = positions + 1 == self.known.len();
        positions >= self.computed + if all { 1 } else { WORTH_COPYING }
    }

    /// Whether it would compute what `other` is computing, and may take that instead.
    pub fn repeats(&self, other: &Self) -> bool {
        let Some((from, n)) = self.in_common(other) else {
            return false;
        };
        if n == PAGE_LEN {
            return true;
        }
        // What others are yet to write is not awaited.
        other.behind() > 1 && other.computed < from + n && self.is_worth_copying(from + n)
    }

    /// Gets room for `n` more positions, and answers for how many there is.
    pub fn extend(&mut self, n: usize, memory: &mut Memory) -> usize {
        let room = memory.extend(&mut self.held, self.computed + n);
        (room - self.computed).min(n)
    }

    /// Whether its next page is in the tree.
    pub fn can_take(&self, memory: &Memory) -> bool {
        let next = self
            .may_take()
            .map(|(n, text)| memory.below(&self.held, n, text).next());
        next.flatten().is_some()
    }

    /// Takes a page that came back from disk: its next [`PAGE_LEN`] positions are those of `page`, which is
    /// to be filled at once. `None`: there is no page left.
    pub fn adopt(&mut self, memory: &mut Memory) -> Option<PageId> {
        let namespace = self.keeps()?;
        let end = self.computed + PAGE_LEN;
        let page = memory.adopt(
            &mut self.held,
            namespace,
            self.known.get(self.computed..end)?,
        )?;
        let cached = self.cached;
        self.has(end);
        self.from_disk += self.cached - cached;
        Some(page)
    }

    /// Gives up the pages of guesses that were wrong, and keeps what is full of the others.
    pub fn settle(&mut self, memory: &mut Memory) {
        self.rewind(self.computed, memory);
        if let Some(namespace) = self.keeps() {
            memory.keep(&mut self.held, namespace, &self.known[..self.computed]);
        }
    }

    /// Gives up what a batch was to compute: its guesses, and the pages for its rows.
    pub fn stay(&mut self, memory: &mut Memory) {
        self.guesses.clear();
        self.rewind(self.computed, memory);
    }

    /// Cuts it back to `positions` computed ones, or fewer; they are computed again.
    pub fn rewind(&mut self, positions: usize, memory: &mut Memory) {
        self.computed = memory.rewind(&mut self.held, positions.min(self.computed));
    }

    /// Asks for guesses at what follows the known tokens, `max` at most, if it is to write, and
    /// answers how many there are.
    pub fn guess(&mut self, max: usize, guesser: &mut dyn Guesser, memory: &mut Memory) -> usize {
        // Each output gives a token, also that of the last guess.
        let max = max.min((self.max_len - self.known.len()).saturating_sub(1));
        if max == 0 || self.keeps().is_none() {
            return 0;
        }
        guesser.guess(self.id, &self.known, max, &mut self.guesses);
        let behind = self.behind();
        let room = self.extend(behind + self.guesses.len().min(max), memory);
        self.guesses.truncate(room - behind);
        self.guesses.len()
    }

    /// Guesses in the batch.
    pub fn guesses(&self) -> usize {
        self.guesses.len()
    }

    /// Known tokens that are not computed.
    pub fn behind(&self) -> usize {
        self.known.len() - self.computed
    }

    /// Appends the next `n` rows to a batch in which this is sequence `index`, then its guesses,
    /// and the rows whose logits it wants, if any, to `outputs`.
    pub fn rows(
        &mut self,
        n: usize,
        index: u32,
        now: Duration,
        rows: &mut Vec<Row>,
        outputs: &mut Vec<u32>,
    ) {
        self.started.get_or_insert(now);
        let first = rows.len() as u32;
        let end = self.computed + n + self.guesses.len();
        rows.extend((self.computed..end).map(|position| Row {
            item: self.item(position),
            position: position as u32,
            sequence: index,
        }));
        let complete = n == self.behind();
        let last = first + n as u32 - 1;
        match &self.work {
            Work::Write(_) if complete => outputs.extend(last..rows.len() as u32),
            Work::Embed(embedder) if complete => {
                outputs.extend(embedder.output(first, last));
            }
            _ => {}
        }
    }

    fn item(&self, position: usize) -> Item {
        let token = match self.known.get(position) {
            Some(&token) => token,
            None => self.guesses[position - self.known.len()],
        };
        match &self.work {
            Work::Embed(embedder) if embedder.is_second(position) => Item::Second(token),
            _ => Item::Token(token),
        }
    }

    /// Whether its rows of the batch are to be read.
    pub fn wants_rows(&self) -> bool {
        matches!(&self.work, Work::Embed(embedder) if embedder.reads_rows())
    }

    /// How many outputs it had in a batch after which `n` more known tokens are computed.
    pub fn advance(&mut self, n: usize) -> usize {
        self.computed += n;
        self.reached = self.reached.max(self.computed);
        match &self.work {
            _ if self.behind() > 0 => 0,
            Work::Write(_) => 1 + self.guesses.len(),
            Work::Embed(embedder) => usize::from(embedder.scores()),
        }
    }

    /// Goes on with what a batch gave, and says what came of it.
    pub fn go_on(
        &mut self,
        computed: Computed<'_>,
        vocabulary: &Vocabulary,
        now: Duration,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let complete = self.behind() == 0;
        let Computed {
            logits,
            labels,
            rows,
        } = computed;
        match &mut self.work {
            Work::Write(_) => {
                let reason = self.write_on(logits.chunks_exact_mut(labels), vocabulary, events);
                if self.known.len() > self.prompt_len {
                    self.first_token.get_or_insert(now);
                }
                self.guesses.clear();
                reason
            }
            Work::Embed(embedder) => {
                embedder.add(rows);
                if !complete {
                    return None;
                }
                let values = embedder.finish(logits, self.prompt_len);
                events.push(Event::Embedded {
                    request: self.id,
                    values,
                });
                Some(FinishReason::Embedded)
            }
        }
    }

    /// Chooses a token by each output, as long as the guesses before it were right.
    fn write_on<'a>(
        &mut self,
        outputs: impl Iterator<Item = &'a mut [f32]>,
        vocabulary: &Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let Work::Write(writer) = &mut self.work else {
            return None;
        };
        let (mut outputs, mut skip, mut right) = (outputs, 0, 0);
        while let Some(logits) = outputs.nth(skip) {
            let (id, known, max_len) = (self.id, &mut self.known, self.max_len);
            let before = known.len();
            let reason = writer.choose(id, logits, known, max_len, vocabulary, events);
            if reason.is_some() {
                return reason;
            }
            // One token, and what a grammar forces behind it.
            let new = &self.known[before..];
            let guessed = new.iter().zip(&self.guesses[right..]);
            let same = guessed.take_while(|(token, guess)| token == guess).count();
            self.computed += same;
            right += same;
            if same < new.len() {
                break;
            }
            skip = new.len() - 1;
        }
        None
    }

    /// The last event of this request.
    pub fn finished(&mut self, reason: FinishReason, now: Duration) -> Event {
        let signals = match &mut self.work {
            Work::Write(writer) => writer.signals(),
            Work::Embed(_) => None,
        };
        Event::Finished {
            request: self.id,
            reason,
            usage: Usage {
                prompt_tokens: self.prompt_len as u32,
                cached_tokens: self.cached as u32,
                disk_tokens: self.from_disk as u32,
                generated_tokens: (self.known.len() - self.prompt_len) as u32,
            },
            times: self.times(now),
            signals,
        }
    }

    fn times(&self, end: Duration) -> Times {
        let started = self.started.unwrap_or(end);
        let first = self.first_token.unwrap_or(end);
        Times {
            queued: started.saturating_sub(self.submitted),
            prompt: first.saturating_sub(started),
            generation: end.saturating_sub(first),
        }
    }
}

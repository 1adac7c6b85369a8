//! One request on its way.

use crate::embed::Embedder;
use crate::request::{Event, FinishReason, Request, RequestId, Usage};
use crate::writer::Writer;
use ingle_formats::TokenId;
use ingle_tensor::ops::{Item, PageId, Row};
use std::time::Duration;

/// A request, what is known of its text, and how far that is computed.
pub(crate) struct Sequence {
    pub id: RequestId,
    /// Prompt and generated tokens.
    known: Vec<TokenId>,
    /// How many of them have keys and values in the pages.
    computed: usize,
    prompt_len: usize,
    /// Length at which it ends; the pages hold so many positions.
    pub max_len: usize,
    /// None while it waits.
    pages: Vec<PageId>,
    /// Whether its whole prompt is to be computed.
    pub fresh: bool,
    cached: usize,
    /// What it is for.
    work: Work,
    submitted: Duration,
    started: Option<Duration>,
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
    /// The logits of its output, if it had one in this batch.
    pub logits: Option<&'a mut [f32]>,
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
        Self::new(id, request.prompt, max_len, request.fresh, work, now)
    }

    /// A request for a vector that has been checked. It neither continues a text nor leaves one.
    pub fn embed(id: RequestId, tokens: Vec<TokenId>, work: Embedder, now: Duration) -> Self {
        let len = tokens.len();
        Self::new(id, tokens, len, true, Work::Embed(work), now)
    }

    fn new(
        id: RequestId,
        known: Vec<TokenId>,
        max_len: usize,
        fresh: bool,
        work: Work,
        submitted: Duration,
    ) -> Self {
        Self {
            id,
            prompt_len: known.len(),
            known,
            computed: 0,
            max_len,
            pages: Vec::new(),
            fresh,
            cached: 0,
            work,
            submitted,
            started: None,
        }
    }

    /// The tokens to continue.
    pub fn prompt(&self) -> &[TokenId] {
        &self.known[..self.prompt_len]
    }

    /// Its pages, in order of position.
    pub fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Gets all its pages, the first of which hold `cached` positions of the prompt already.
    pub fn start(&mut self, pages: Vec<PageId>, cached: usize) {
        // Here and not before: what waits takes no more than its prompt.
        let to_come = self.max_len - self.known.len();
        self.known.reserve(to_come);
        if let Work::Write(writer) = &mut self.work {
            writer.reserve(to_come);
        }
        self.pages = pages;
        self.cached = cached;
        self.computed = cached;
    }

    /// What is computed and may be continued, and all pages, of a request that is over.
    pub fn take_computed(&mut self) -> (Vec<TokenId>, Vec<PageId>) {
        let kept = match &self.work {
            Work::Write(_) => self.computed,
            Work::Embed(_) => 0,
        };
        self.known.truncate(kept);
        (
            std::mem::take(&mut self.known),
            std::mem::take(&mut self.pages),
        )
    }

    /// Known tokens that are not computed.
    pub fn behind(&self) -> usize {
        self.known.len() - self.computed
    }

    /// Appends the next `n` rows to a batch in which this is sequence `index`, and the row whose
    /// logits it wants, if any, to `outputs`.
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
        let range = self.computed..self.computed + n;
        rows.extend(range.map(|position| Row {
            item: self.item(position),
            position: position as u32,
            sequence: index,
        }));
        let complete = n == self.behind();
        let last = rows.len() as u32 - 1;
        match &self.work {
            Work::Write(_) if complete => outputs.push(last),
            Work::Embed(embedder) if complete => {
                outputs.extend(embedder.output(first, last));
            }
            _ => {}
        }
    }

    fn item(&self, position: usize) -> Item {
        let token = self.known[position];
        match &self.work {
            Work::Embed(embedder) if embedder.is_second(position) => Item::Second(token),
            _ => Item::Token(token),
        }
    }

    /// Whether the batch's rows are to be read, and its last ones gave logits.
    pub fn wants(&self) -> (bool, bool) {
        match &self.work {
            Work::Write(_) => (false, self.behind() == 0),
            Work::Embed(embedder) => (
                embedder.reads_rows(),
                self.behind() == 0 && embedder.scores(),
            ),
        }
    }

    /// Notes that `n` more tokens are computed.
    pub fn advance(&mut self, n: usize) {
        self.computed += n;
    }

    /// Goes on with what a batch gave, and says what came of it.
    pub fn go_on(
        &mut self,
        computed: Computed<'_>,
        vocabulary: &ingle_formats::vocabulary::Vocabulary,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let complete = self.behind() == 0;
        match (&mut self.work, computed.logits) {
            (Work::Write(writer), Some(logits)) => {
                let (id, known, max_len) = (self.id, &mut self.known, self.max_len);
                writer.choose(id, logits, known, max_len, vocabulary, events)
            }
            (Work::Write(_), None) => None,
            (Work::Embed(embedder), logits) => {
                embedder.add(computed.rows);
                if !complete {
                    return None;
                }
                let values = embedder.finish(logits.as_deref(), self.prompt_len);
                events.push(Event::Embedded {
                    request: self.id,
                    values,
                });
                Some(FinishReason::Embedded)
            }
        }
    }

    /// The last event of this request.
    pub fn finished(&self, reason: FinishReason, now: Duration) -> Event {
        Event::Finished {
            request: self.id,
            reason,
            usage: Usage {
                prompt_tokens: self.prompt_len as u32,
                cached_tokens: self.cached as u32,
                generated_tokens: (self.known.len() - self.prompt_len) as u32,
            },
            waited: self.started.unwrap_or(now).saturating_sub(self.submitted),
        }
    }
}

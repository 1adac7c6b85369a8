//! Requests in, events out, one batch a step.

use crate::budget::{Budget, Lease, OverBudget};
use crate::embed::{EmbedRequest, Embedder, Want};
use crate::kept::KeptTexts;
use crate::pages::{Pool, pages_for};
use crate::plan::Plan;
use crate::request::{Event, FinishReason, MAX_STOP_LEN, MAX_STOPS, Refusal, Request, RequestId};
use crate::rerank::RerankPrompt;
use crate::sampler::{Sampler, SamplingError, breaker_tokens};
use crate::schedule::share;
use crate::sequence::{Computed, Sequence};
use crate::writer::Writer;
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_formats::vocabulary::{Encode, Vocabulary, VocabularyError};
use ingle_model::{Head, ModelError, Network};
use ingle_tensor::WeightSource;
use ingle_tensor::ops::{Batch, Ops, PageId, Row};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Its weights.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its vocabulary.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The vocabulary and the network do not belong together.
    #[error(
        "the vocabulary has {tokens} tokens and the embedding {rows} rows; the file is damaged or badly converted: get it again"
    )]
    VocabularySize {
        /// Tokens of the vocabulary.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The memory went to somebody else since the plan was made.
    #[error(transparent)]
    Memory(#[from] OverBudget),
}

/// A loaded model and the requests that it works on.
///
/// It has no clock, no thread and no socket: the caller calls [`Engine::step`] while
/// [`Engine::is_idle`] is false, and hands the events on. `now` is the time since any fixed
/// moment.
///
/// # Which tokens come
/// The tokens of a request depend on its prompt, its sampling and the model alone, never on the
/// requests beside it, nor on how many rows a step has. A prompt that continues the text of an
/// earlier request begins with what that one computed, which is the same to the last bit.
pub struct Engine<O: Ops> {
    ops: O,
    network: Box<dyn Network<O>>,
    memory: O::Memory,
    vocabulary: Arc<Vocabulary>,
    /// How a decoder is asked for a score.
    rerank: Option<RerankPrompt>,
    plan: Plan,
    pool: Pool,
    /// Texts of earlier requests, in pages that would be free without them.
    kept: KeptTexts,
    /// Requests that hold pages, oldest first.
    running: Vec<Sequence>,
    /// Requests that wait for pages, oldest first.
    waiting: VecDeque<Sequence>,
    /// Events of cancelled requests, for the next step.
    cancelled: Vec<Event>,
    /// Running requests that get no rows.
    paused: Vec<RequestId>,
    next_id: u64,
    /// Batches computed.
    steps: u64,
    step: Scratch,
    _lease: Lease,
}

/// Scratch of one step, kept to be used again.
#[derive(Default)]
struct Scratch {
    behind: Vec<usize>,
    /// Rows of each running sequence.
    counts: Vec<usize>,
    rows: Vec<Row>,
    outputs: Vec<u32>,
    logits: Vec<f32>,
    /// Hidden rows of one sequence.
    hidden: Vec<f32>,
}

impl<O: Ops + 'static> Engine<O> {
    /// Loads a model as `plan` says. `progress` is told the bytes of tensors loaded so far and
    /// their total.
    ///
    /// # Errors
    /// [`EngineError`]: the vocabulary or the weights cannot be read, or the budget has less left
    /// than the plan needs.
    pub fn load(
        metadata: &Metadata,
        source: &dyn WeightSource,
        ops: O,
        plan: Plan,
        budget: &Budget,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, EngineError> {
        let vocabulary = Arc::new(Vocabulary::from_metadata(metadata)?);
        let rows = plan.needs.shape.n_vocab;
        if vocabulary.len() != rows {
            return Err(EngineError::VocabularySize {
                tokens: vocabulary.len(),
                rows,
            });
        }
        let lease = budget.take(plan.total())?;
        let total = plan.needs.file_bytes;
        let max_rows = plan.options.max_batch_rows as usize;
        let network = ingle_model::load(
            metadata,
            source,
            &ops,
            max_rows,
            plan.context,
            &mut |done| {
                progress(done, total);
            },
        )?;
        let memory = ops.memory(&network.layers(), plan.options.kv, plan.n_pages as usize);
        Ok(Self {
            ops,
            network,
            memory,
            rerank: RerankPrompt::read(metadata, &vocabulary)?,
            vocabulary,
            pool: Pool::new(plan.n_pages),
            kept: KeptTexts::default(),
            plan,
            running: Vec::new(),
            waiting: VecDeque::new(),
            cancelled: Vec::new(),
            paused: Vec::new(),
            next_id: 0,
            steps: 0,
            step: Scratch::default(),
            _lease: lease,
        })
    }

    /// The model's vocabulary.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// How the model was loaded.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Positions of a sequence: prompt and answer together.
    pub fn context(&self) -> u32 {
        self.plan.context
    }

    /// Whether a step would do nothing.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.cancelled.is_empty()
    }

    /// Whether a step would do nothing although there are requests: all that run are paused.
    pub fn is_stalled(&self) -> bool {
        let working = |s: &Sequence| !self.paused.contains(&s.id);
        !self.running.iter().any(working) && self.cancelled.is_empty()
    }

    /// Requests that hold pages.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Batches computed so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Stops working on a request that runs, or goes on with it. It keeps its place and its pages.
    pub fn pause(&mut self, id: RequestId, paused: bool) {
        self.paused.retain(|other| *other != id);
        if paused && self.running.iter().any(|s| s.id == id) {
            self.paused.push(id);
        }
    }

    /// Takes a request, to be worked on by the steps that follow.
    ///
    /// # Errors
    /// [`Refusal`] says why it is not taken; nothing has then changed.
    pub fn submit(&mut self, request: Request, now: Duration) -> Result<RequestId, Refusal> {
        let max_len = self.check_request(&request)?;
        let mut sampler = Sampler::new(&request.sampling, self.vocabulary.len())?;
        if request.sampling.dry.is_on() {
            sampler = sampler.with_breakers(self.breakers(&request)?);
        }
        let id = self.next_id()?;
        let writer = Writer::new(&request, sampler, &self.vocabulary);
        let sequence = Sequence::write(id, request, max_len, writer, now);
        self.waiting.push_back(sequence);
        Ok(id)
    }

    /// Takes a request for an embedding or for scores; [`Event::Embedded`] brings them, then
    /// comes [`Event::Finished`] as for every request. Several go into one batch.
    ///
    /// # Errors
    /// [`Refusal`] says why it is not taken; nothing has then changed. A text longer than the
    /// context is refused, never cut.
    pub fn submit_embed(
        &mut self,
        request: EmbedRequest,
        now: Duration,
    ) -> Result<RequestId, Refusal> {
        self.check_tokens(&request.tokens)?;
        let (tokens, context) = (request.tokens.len(), self.plan.context);
        if tokens > context as usize {
            return Err(Refusal::TextTooLong { tokens, context });
        }
        let labels = match request.want {
            Want::Score if !self.plan.scores() => return Err(Refusal::NoScore),
            Want::Score if self.plan.needs.head == Head::Vocabulary => Some(self.yes_and_no()?),
            Want::Score => None,
            Want::Embedding { .. } if !self.plan.embeds() => return Err(Refusal::NoEmbedding),
            Want::Embedding { .. } => None,
        };
        let (needs, pooling) = (&self.plan.needs, self.plan.pooling);
        let work = Embedder::new(&request, pooling, needs.causal, labels, needs.shape.width);
        let id = self.next_id()?;
        let sequence = Sequence::embed(id, request.tokens, work, now);
        self.waiting.push_back(sequence);
        Ok(id)
    }

    /// A request for the normalised embedding of a text, with the tokens that the model wants
    /// around it. No text becomes a control token.
    pub fn embed_request(&self, text: &str) -> EmbedRequest {
        let encode = Encode {
            add_special: true,
            parse_special: false,
        };
        EmbedRequest {
            tokens: self.vocabulary.encode(text, encode),
            second: None,
            want: Want::Embedding { normalise: true },
        }
    }

    /// A request for how well `document` answers `query`.
    ///
    /// # Errors
    /// [`Refusal::NoScore`]: the model scores no pairs.
    pub fn score_request(&self, query: &str, document: &str) -> Result<EmbedRequest, Refusal> {
        let (tokens, second) = match &self.rerank {
            _ if !self.plan.scores() => return Err(Refusal::NoScore),
            Some(prompt) if self.plan.needs.causal => {
                (prompt.tokens(&self.vocabulary, query, document), None)
            }
            _ => {
                let pair = self.vocabulary.encode_pair(query, document);
                let (tokens, second) = pair.ok_or(Refusal::NoScore)?;
                (tokens, Some(second))
            }
        };
        Ok(EmbedRequest {
            tokens,
            second,
            want: Want::Score,
        })
    }

    fn next_id(&mut self) -> Result<RequestId, Refusal> {
        if self.waiting.len() >= self.plan.options.max_waiting as usize {
            return Err(Refusal::Busy {
                waiting: self.waiting.len(),
            });
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        Ok(id)
    }

    /// The tokens by which a decoder answers whether a text fits.
    fn yes_and_no(&self) -> Result<Vec<TokenId>, Refusal> {
        let token = |text| self.vocabulary.token_id(text).ok_or(Refusal::NoScore);
        Ok(vec![token("yes")?, token("no")?])
    }

    /// Ends a request; its last event comes with the next step. False where it is over already.
    pub fn cancel(&mut self, id: RequestId, now: Duration) -> bool {
        let sequence = if let Some(i) = self.running.iter().position(|s| s.id == id) {
            Some(self.running.remove(i))
        } else if let Some(i) = self.waiting.iter().position(|s| s.id == id) {
            self.waiting.remove(i)
        } else {
            None
        };
        let Some(mut sequence) = sequence else {
            return false;
        };
        self.pause(id, false);
        self.cancelled
            .push(sequence.finished(FinishReason::Cancelled, now));
        let (tokens, pages) = sequence.take_computed();
        self.kept.keep(tokens, pages, &mut self.pool);
        true
    }

    /// Computes one batch, and answers what came of it.
    pub fn step(&mut self, now: Duration) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.cancelled);
        self.admit();
        self.schedule(now);
        if !self.step.rows.is_empty() {
            self.steps += 1;
            self.forward();
            self.choose(now, &mut events);
        }
        events
    }

    /// Says what is wrong unless every page is free or owned by exactly one text that has as many
    /// as it needs. Tests call it after every step.
    ///
    /// # Errors
    /// What is wrong: a fault in this crate.
    pub fn check(&self) -> Result<(), String> {
        let running = self.running.iter().map(|s| (s.pages(), s.max_len));
        let kept = self.kept.iter().map(|k| (&k.pages[..], k.tokens.len()));
        let waiting = self.waiting.iter().map(|s| (s.pages(), 0));
        let all: Vec<(&[PageId], usize)> = running.chain(kept).chain(waiting).collect();
        self.pool.check(all.iter().map(|(pages, _)| *pages))?;
        for (pages, positions) in all {
            if pages.len() as u64 != pages_for(positions as u64) {
                return Err(format!("{} pages for {positions} positions", pages.len()));
            }
        }
        Ok(())
    }

    /// The length at which the request's generation ends.
    fn check_request(&self, request: &Request) -> Result<usize, Refusal> {
        let (prompt_tokens, context) = (request.prompt.len(), self.plan.context);
        if !self.plan.generates() {
            let architecture = self.plan.needs.architecture.clone();
            return Err(Refusal::WritesNothing { architecture });
        }
        self.check_tokens(&request.prompt)?;
        self.check_in_vocabulary(&request.stop_tokens)?;
        let lengths = || request.stop.iter().map(String::len);
        let (longest, shortest) = (lengths().max().unwrap_or(1), lengths().min().unwrap_or(1));
        if request.stop.len() > MAX_STOPS || longest > MAX_STOP_LEN || shortest == 0 {
            return Err(Refusal::Stops {
                count: request.stop.len(),
                longest,
                shortest,
            });
        }
        let room = (context as usize).saturating_sub(prompt_tokens);
        match request.max_tokens {
            Some(0) => Err(Refusal::NothingToDo),
            _ if room == 0 => Err(Refusal::PromptTooLong {
                prompt_tokens,
                context,
            }),
            Some(max_tokens) if max_tokens as usize > room => Err(Refusal::ContextOverflow {
                prompt_tokens,
                max_tokens,
                context,
            }),
            Some(max_tokens) => Ok(prompt_tokens + max_tokens as usize),
            None => Ok(context as usize),
        }
    }

    fn check_tokens(&self, tokens: &[TokenId]) -> Result<(), Refusal> {
        match tokens.is_empty() {
            true => Err(Refusal::EmptyPrompt),
            false => self.check_in_vocabulary(tokens),
        }
    }

    fn check_in_vocabulary(&self, tokens: &[TokenId]) -> Result<(), Refusal> {
        let n_vocab = self.vocabulary.len();
        match tokens.iter().find(|t| t.0 as usize >= n_vocab) {
            Some(&token) => Err(Refusal::NoSuchToken { token, n_vocab }),
            None => Ok(()),
        }
    }

    /// The tokens at which DRY's repeated sequences end.
    fn breakers(&self, request: &Request) -> Result<Vec<TokenId>, SamplingError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let tokens = || (0..self.vocabulary.len() as u32).map(TokenId);
        for token in tokens() {
            self.vocabulary.piece(token, true, &mut bytes);
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let pieces = starts.zip(&ends).map(|(start, &end)| &bytes[start..end]);
        breaker_tokens(
            &request.sampling.dry.sequence_breakers,
            tokens().zip(pieces),
        )
    }

    /// Gives pages to the requests that have waited longest. Nobody is passed over, so nobody
    /// waits for ever; a request gets all that it can ever need, so it never stops half-way.
    fn admit(&mut self) {
        while self.running.len() < self.plan.options.max_sequences as usize
            && let Some(mut first) = self.waiting.pop_front()
        {
            if let Some((pages, cached)) = self.pages_of(&first) {
                first.start(pages, cached);
                self.running.push(first);
            } else {
                self.waiting.push_front(first);
                return;
            }
        }
    }

    /// All pages that a request needs, and how many positions of its prompt are in them already.
    /// Kept texts make room, oldest first.
    fn pages_of(&mut self, sequence: &Sequence) -> Option<(Vec<PageId>, usize)> {
        let needed = pages_for(sequence.max_len as u64) as usize;
        let found = match sequence.fresh {
            true => None,
            false => self.kept.take(sequence.prompt()),
        };
        let (mut pages, cached) = found.unwrap_or_default();
        // The kept text may be longer than all that this request will be.
        self.pool.release(pages.split_off(needed.min(pages.len())));
        loop {
            if let Some(more) = self.pool.take(needed - pages.len()) {
                pages.extend(more);
                return Some((pages, cached));
            }
            if !self.kept.evict(&mut self.pool) {
                self.pool.release(pages);
                return None;
            }
        }
    }

    /// Fills the scratch with the rows of the next batch.
    fn schedule(&mut self, now: Duration) {
        let s = &mut self.step;
        s.behind.clear();
        let behind = |q: &Sequence| match self.paused.contains(&q.id) {
            true => 0,
            false => q.behind(),
        };
        s.behind.extend(self.running.iter().map(behind));
        let max_rows = self.plan.options.max_batch_rows as usize;
        share(max_rows, !self.plan.needs.causal, &s.behind, &mut s.counts);
        s.rows.clear();
        s.outputs.clear();
        for (index, (sequence, &n)) in self.running.iter_mut().zip(&s.counts).enumerate() {
            if n > 0 {
                sequence.rows(n, index as u32, now, &mut s.rows, &mut s.outputs);
            }
        }
    }

    fn forward(&mut self) {
        let s = &mut self.step;
        let sequences: Vec<&[PageId]> = self.running.iter().map(Sequence::pages).collect();
        let batch = Batch {
            rows: &s.rows,
            sequences: &sequences,
            outputs: &s.outputs,
        };
        self.network
            .forward(&mut self.ops, &mut self.memory, &batch, &mut s.logits);
    }

    /// Hands every sequence of the batch its logits and hidden rows.
    fn choose(&mut self, now: Duration, events: &mut Vec<Event>) {
        let width = match self.plan.needs.head {
            Head::Vocabulary => self.vocabulary.len(),
            Head::Labels(n) => n,
            Head::None => 1, // there are none to hand out
        };
        let s = &mut self.step;
        let mut logits = s.logits.chunks_exact_mut(width);
        let (mut counts, mut first) = (s.counts.iter(), 0);
        let (ops, network, hidden) = (&mut self.ops, &self.network, &mut s.hidden);
        let (vocabulary, kept, pool) = (&self.vocabulary, &mut self.kept, &mut self.pool);
        self.running.retain_mut(|sequence| {
            let n = counts.next().copied().unwrap_or(0);
            let rows = first..first + n;
            first += n;
            sequence.advance(n);
            if n == 0 {
                return true;
            }
            let (wants_rows, wants_logits) = sequence.wants();
            hidden.clear();
            if wants_rows {
                ops.read(network.hidden(), rows, hidden);
            }
            let computed = Computed {
                logits: if wants_logits { logits.next() } else { None },
                rows: hidden,
            };
            let Some(reason) = sequence.go_on(computed, vocabulary, events) else {
                return true;
            };
            events.push(sequence.finished(reason, now));
            let (tokens, pages) = sequence.take_computed();
            kept.keep(tokens, pages, pool);
            false
        });
    }

    /// Works on one request until it is over; events of others are dropped, so this is for
    /// programs with one request at a time.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn generate(&mut self, request: Request) -> Result<Generation<'_, O>, Refusal> {
        let id = self.submit(request, Duration::ZERO)?;
        Ok(Generation {
            engine: self,
            id,
            events: VecDeque::new(),
            over: false,
        })
    }
}

/// The events of one request, computed as they are asked for. Dropping it cancels the request.
pub struct Generation<'a, O: Ops + 'static> {
    engine: &'a mut Engine<O>,
    id: RequestId,
    events: VecDeque<Event>,
    over: bool,
}

impl<O: Ops + 'static> Iterator for Generation<'_, O> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.events.is_empty() && !self.over {
            let id = self.id;
            let events = self.engine.step(Duration::ZERO).into_iter();
            self.events.extend(events.filter(|e| e.request() == id));
        }
        let event = self.events.pop_front()?;
        self.over |= matches!(event, Event::Finished { .. });
        Some(event)
    }
}

impl<O: Ops + 'static> Drop for Generation<'_, O> {
    fn drop(&mut self) {
        self.engine.cancel(self.id, Duration::ZERO);
    }
}

//! Requests in, events out, one batch a step.

use crate::budget::{Budget, Lease, OverBudget};
use crate::chunk::Chunk;
use crate::embed::{EmbedRequest, Embedder, Want};
use crate::fair::Shares;
use crate::guess::Guesser;
use crate::memory::Memory;
use crate::pace::Pace;
use crate::pass::Passes;
use crate::plan::Plan;
use crate::request::{Event, FinishReason, Refusal, Request, RequestId};
use crate::rerank::RerankPrompt;
use crate::sampler::Sampler;
use crate::sequence::Sequence;
use crate::speculate::{Ngram, Speculated};
use crate::warm::Warm;
use crate::writer::Writer;
use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_formats::vocabulary::{Encode, Vocabulary, VocabularyError};
use ingle_model::{Head, ModelError, Network};
use ingle_tensor::WeightSource;
use ingle_tensor::ops::Ops;
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
    /// The model that is to guess has another vocabulary.
    #[error(
        "the draft model has {draft} tokens and the model {target}, and token {token} is not the same; a draft model must have the very vocabulary of the model: choose a smaller one of the same family"
    )]
    DraftVocabulary {
        /// The first that is not the same.
        token: TokenId,
        /// Tokens of the draft model.
        draft: usize,
        /// Tokens of the model.
        target: usize,
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
    pub(crate) ops: O,
    pub(crate) network: Box<dyn Network<O>>,
    /// Keys and values.
    pub(crate) cache: O::Memory,
    /// Which of them are whose.
    pub(crate) memory: Memory,
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// How a decoder is asked for a score.
    rerank: Option<RerankPrompt>,
    pub(crate) plan: Plan,
    pub(crate) guesser: Option<Box<dyn Guesser>>,
    /// Requests that get pages and are in no batch, oldest first.
    pub(crate) running: Vec<Sequence>,
    /// Those that are in one.
    pub(crate) passes: Passes,
    pub(crate) pace: Pace,
    pub(crate) chunk: Chunk,
    /// What has been done for whom.
    pub(crate) shares: Shares,
    /// Pages on disk.
    pub(crate) warm: Option<Warm>,
    /// Requests that have none, oldest first.
    pub(crate) waiting: VecDeque<Sequence>,
    /// Events of cancelled requests, for the next step.
    pub(crate) cancelled: Vec<Event>,
    /// Requests that get no rows.
    pub(crate) paused: Vec<RequestId>,
    next_id: u64,
    /// Batches begun.
    pub(crate) steps: u64,
    /// Rows of them.
    pub(crate) rows: u64,
    /// Parts of them computed.
    pub(crate) parts: u64,
    /// How often a sequence gave way to an older one.
    pub(crate) preemptions: u64,
    pub(crate) speculated: Speculated,
    pub(crate) step: Scratch,
    /// Whether another engine waits for the threads that compute.
    pub(crate) in_company: bool,
    _lease: Lease,
}

/// How many pages of keys and values there are, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// All.
    pub all: usize,
    /// Those that hold nothing.
    pub free: usize,
    /// Those that hold texts on which no request runs: they are free when others need them.
    pub kept: usize,
}

/// What an engine is made of.
pub(crate) struct Parts<O: Ops> {
    pub ops: O,
    pub network: Box<dyn Network<O>>,
    pub cache: O::Memory,
    pub vocabulary: Arc<Vocabulary>,
    pub rerank: Option<RerankPrompt>,
    pub plan: Plan,
    pub lease: Lease,
}

/// Scratch of one step, kept to be used again.
#[derive(Default)]
pub(crate) struct Scratch {
    pub behind: Vec<usize>,
    /// Whose prompts come first.
    pub order: Vec<usize>,
    /// Known tokens of each running sequence that are computed.
    pub counts: Vec<usize>,
    pub logits: Vec<f32>,
    /// Hidden rows of one sequence.
    pub hidden: Vec<f32>,
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
        let network = ingle_model::load(
            metadata,
            source,
            &ops,
            plan.rows(),
            plan.context,
            &mut |done| {
                progress(done, total);
            },
        )?;
        let cache = ops.memory(&network.layers(), plan.options.kv, plan.n_pages as usize);
        Ok(Self::assemble(Parts {
            ops,
            network,
            cache,
            rerank: RerankPrompt::read(metadata, &vocabulary)?,
            vocabulary,
            plan,
            lease,
        }))
    }

    pub(crate) fn assemble(parts: Parts<O>) -> Self {
        Self {
            ops: parts.ops,
            network: parts.network,
            cache: parts.cache,
            memory: Memory::new(parts.plan.n_pages),
            rerank: parts.rerank,
            vocabulary: parts.vocabulary,
            guesser: match parts.plan.options.max_guesses {
                0 => None,
                _ => Some(Box::new(Ngram::default())),
            },
            pace: Pace::new(
                parts
                    .plan
                    .options
                    .max_stall
                    .filter(|_| parts.plan.needs.causal),
            ),
            chunk: {
                let bounded = parts.plan.options.max_stall.is_none()
                    && parts.plan.needs.causal
                    && parts.plan.options.max_sequences > 1;
                Chunk::new(parts.plan.options.max_step.filter(|_| bounded))
            },
            shares: Shares::default(),
            warm: None,
            plan: parts.plan,
            running: Vec::new(),
            passes: Passes::default(),
            waiting: VecDeque::new(),
            cancelled: Vec::new(),
            paused: Vec::new(),
            next_id: 0,
            steps: 0,
            rows: 0,
            parts: 0,
            preemptions: 0,
            speculated: Speculated::default(),
            step: Scratch::default(),
            in_company: false,
            _lease: parts.lease,
        }
    }

    /// What computes.
    pub fn ops(&self) -> &O {
        &self.ops
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
        let working = self.running() > 0 || !self.waiting.is_empty();
        !working && self.cancelled.is_empty() && !self.warm.as_ref().is_some_and(Warm::has_work)
    }

    /// Whether a step would do nothing although there are requests: nobody reads the answers of
    /// those that run, or nobody that waits can begin.
    pub fn is_stalled(&self) -> bool {
        let working = |s: &Sequence| !self.is_paused(s);
        let places = self.running() < self.plan.options.max_sequences as usize;
        let can_begin = places && self.waiting.iter().any(working);
        !self.passes.main.is_under_way()
            && !can_begin
            && !self.running.iter().any(working)
            && self.cancelled.is_empty()
    }

    /// Requests that are worked on.
    pub fn running(&self) -> usize {
        self.running.len() + self.passes.main.members.len()
    }

    /// Batches begun so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Rows of all batches so far, guesses among them.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What the pages of keys and values hold.
    pub fn pages(&self) -> Pages {
        Pages {
            all: self.plan.n_pages as usize,
            free: self.memory.free(),
            kept: self.memory.unused(),
        }
    }

    /// Requests that wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Parts of them computed: as many as batches, where passes are not cut.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// How often a sequence gave its pages to an older one and began again.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// What came of guesses so far.
    pub fn speculated(&self) -> Speculated {
        self.speculated
    }

    /// Lets `guesser` guess how the texts of requests to come go on,
    /// [`crate::LoadOptions::max_guesses`] tokens a step. An engine has one already, which guesses
    /// from the text so far; it is answered.
    pub fn set_guesser(&mut self, guesser: Option<Box<dyn Guesser>>) -> Option<Box<dyn Guesser>> {
        std::mem::replace(&mut self.guesser, guesser)
    }

    /// Stops working on a request, or goes on with it. One that runs keeps its place, and its
    /// pages until others need them.
    pub fn pause(&mut self, id: RequestId, paused: bool) {
        self.paused.retain(|other| *other != id);
        let inside = self.passes.main.members.iter().map(|m| &m.sequence);
        let mut all = self.running.iter().chain(&self.waiting).chain(inside);
        if paused && all.any(|s| s.id == id) {
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
        if request.sampling.infill {
            sampler = sampler.with_vocabulary(Arc::clone(&self.vocabulary));
        }
        let id = self.next_id()?;
        let writer = Writer::new(&request, sampler, &self.vocabulary);
        if let Some(guesser) = &mut self.guesser {
            guesser.submitted(id, &request);
        }
        let sequence = Sequence::write(id, request, max_len, writer, now);
        self.shares.came(sequence.user);
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
        self.submit_embed_as(0, request, now)
    }

    /// [`Self::submit_embed`] for a user: see [`Request::user`].
    ///
    /// # Errors
    /// As [`Self::submit_embed`].
    pub fn submit_embed_as(
        &mut self,
        user: u64,
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
        let sequence = Sequence::embed(id, user, request.tokens, work, now);
        self.shares.came(user);
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

    /// Ends a request; its last event comes with the next step. False where it is over already.
    pub fn cancel(&mut self, id: RequestId, now: Duration) -> bool {
        let sequence = if let Some(i) = self.running.iter().position(|s| s.id == id) {
            Some(self.running.remove(i))
        } else if let Some(i) = self.waiting.iter().position(|s| s.id == id) {
            self.waiting.remove(i)
        } else {
            let pass = &mut self.passes.main;
            pass.find(id).map(|i| pass.leave(i))
        };
        let Some(mut sequence) = sequence else {
            return false;
        };
        self.pause(id, false);
        sequence.stay(&mut self.memory);
        self.cancelled
            .push(sequence.finished(FinishReason::Cancelled, now));
        if let Some(warm) = &mut self.warm {
            warm.mark(&sequence, &mut self.memory);
        }
        sequence.release(&mut self.memory);
        self.shares.went(sequence.user);
        if let Some(guesser) = &mut self.guesser {
            guesser.over(id);
        }
        true
    }

    /// Says what is wrong unless every page is free, in the tree or a sequence's own, sequences
    /// run on the pages of their texts and have as many as they need, and requests are in order.
    /// Tests call it after every step.
    ///
    /// # Errors
    /// What is wrong: a fault in this crate.
    pub fn check(&self) -> Result<(), String> {
        let all = self.running.iter().chain(&self.waiting);
        let all = all.map(|s| (&s.held, s.keeps(), s.computed(), s.computed().len()));
        let inside = self.passes.main.members.iter().map(|m| {
            let s = &m.sequence;
            (&s.held, s.keeps(), s.computed(), m.positions())
        });
        self.memory.check(all.chain(inside))?;
        if self.passes.side.is_under_way() {
            return Err("a batch beside a pass has not ended".into());
        }
        if self.shares.requests() != self.running() + self.waiting.len() {
            return Err(format!("{} requests are counted", self.shares.requests()));
        }
        if !self.running.is_sorted_by_key(|s| s.id) {
            return Err("running sequences are out of order".into());
        }
        let waiting: Vec<_> = self.waiting.iter().collect();
        if !waiting.is_sorted_by_key(|s| s.id) {
            return Err("waiting sequences are out of order".into());
        }
        match waiting.iter().find(|s| !s.held.pages().is_empty()) {
            Some(s) => Err(format!("request {} waits and has pages", s.id.0)),
            None => Ok(()),
        }
    }
}

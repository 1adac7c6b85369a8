//! What a model will take, said before anything is loaded.

use crate::memory::pages_for;
use crate::speculate::Ngram;
use crate::streamed::{self, ReadBuffers, StreamPlan};
use ingle_formats::gguf::Metadata;
use ingle_model::{Head, ModelError, Needs, Pooling, Rows, inspect};
use ingle_tensor::WeightSource;
use ingle_tensor::cpu::OnDisk;
use ingle_tensor::ops::{KvType, Ops, PAGE_LEN};
use std::time::Duration;

/// The context where nobody asked for one, if the model was trained for that many positions and
/// they fit: enough for a conversation, small enough for most machines.
pub const DEFAULT_CONTEXT: u32 = 8192;

/// Bytes that a token of a vocabulary takes, with its merges and its text in the metadata:
/// measured at 110 with the 151,936 tokens of Qwen.
const TOKEN_BYTES: u64 = 128;

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Positions of a sequence, prompt and answer together. `None`: as many as the model was
    /// trained for ([`Needs::native_len`]), [`DEFAULT_CONTEXT`] at most, and fewer where those do
    /// not fit in memory.
    pub context: Option<u32>,
    /// How keys and values are stored.
    pub kv: KvType,
    /// The most rows that one step computes.
    pub max_batch_rows: u32,
    /// Sequences that run at the same time.
    pub max_sequences: u32,
    /// There is memory for so many contexts, for all sequences together and for texts that may be
    /// continued, or for fewer where no more fit. `None`: for as many as there are sequences.
    /// Where the sequences need more, the youngest waits until there is room again.
    pub contexts: Option<u32>,
    /// Guessed tokens that one step checks, of all sequences together: see [`crate::Guesser`]. 0:
    /// every token is a step of its own. Guesses change speed, never an answer.
    pub max_guesses: u32,
    /// Where weights are read while they are used, a batch whose layers take longer than this is
    /// computed in parts, and others' next tokens come between them, so that none is waited for
    /// longer than this where one layer and one batch of next tokens take less. `None`: batches are
    /// not cut; a plan has it wherever all weights are held in memory.
    pub max_stall: Option<Duration>,
    /// So long rows of prompts may make a step, beyond what the rows of running answers take: who waits
    /// for a next token waits no longer for others' prompts. At least a few rows are always computed,
    /// and several times as long is taken where there is only one request; `None`: steps have
    /// `max_batch_rows` rows of prompts. Where passes are cut (`max_stall`) that bounds them.
    pub max_step: Option<Duration>,
    /// Requests that may wait for a place.
    pub max_waiting: u32,
    /// Pages that are on their way to or from a [`crate::PageStore`] at the same time: memory for so
    /// many is part of the plan. 0: none is used.
    pub page_buffers: u32,
    /// How the rows of a text become its embedding; `None`: as the file says, or as its kind of
    /// model usually does (decoders by the last row, encoders by the mean of all).
    pub pooling: Option<Pooling>,
    /// Experts may stay on disk and be read while they are used, where not all weights fit; what
    /// reading then takes. `None`: all weights are held in memory.
    pub streaming: Option<ReadBuffers>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            context: None,
            kv: KvType::F16,
            max_batch_rows: 512,
            max_sequences: 1,
            contexts: None,
            max_guesses: 32,
            max_stall: Some(Duration::from_secs(2)),
            max_step: Some(Duration::from_millis(100)),
            max_waiting: 128,
            page_buffers: 0,
            pooling: None,
            streaming: None,
        }
    }
}

/// What a model will take, in bytes, and what is free.
///
/// `Display` is a table of a few aligned lines for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How the model will be loaded.
    pub options: LoadOptions,
    /// Positions of a sequence.
    pub context: u32,
    /// What the network asks for.
    pub needs: Needs,
    /// Pages of [`PAGE_LEN`] positions for all sequences.
    pub n_pages: u32,
    /// Bytes of keys and values of all pages.
    pub sequence_bytes: u64,
    /// Bytes of the buffers of a batch, logits among them.
    pub buffer_bytes: u64,
    /// Bytes of the vocabulary, about.
    pub vocabulary_bytes: u64,
    /// How the rows of a text become its embedding.
    pub pooling: Pooling,
    /// Where experts are read while they are used: what that takes. `None`: all weights are held.
    pub streamed: Option<StreamPlan>,
    /// Bytes that may be used.
    pub free: u64,
    /// What a person should know before trusting the answers.
    pub warnings: Vec<String>,
}

/// Why a model cannot be loaded as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file cannot be run at all.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Not even the smallest context fits beside the weights and buffers.
    #[error(
        "this model does not fit: its weights take {}, buffers and vocabulary {} and the smallest context {}, and {} is free; use a smaller model or quantisation, or free memory",
        size(*weights), size(*buffers), size(*smallest), size(*free)
    )]
    Weights {
        /// Bytes of the weights.
        weights: u64,
        /// Bytes of buffers and vocabulary.
        buffers: u64,
        /// Bytes of one page for each sequence.
        smallest: u64,
        /// Bytes that may be used.
        free: u64,
    },
    /// Not even what must be in memory fits, with all else on disk.
    #[error(
        "this model does not fit, not even with its weights on disk: {} is allowed or free, and the smallest that would do is {}, of which {} are weights that are always held; allow more with --memory, or use a smaller model or quantisation",
        size(*free), size(*smallest), size(*resident)
    )]
    Budget {
        /// Bytes of the weights that are held.
        resident: u64,
        /// The smallest budget that would do.
        smallest: u64,
        /// Bytes that may be used.
        free: u64,
    },
    /// The context asked for does not fit.
    #[error(
        "a context of {context} does not fit: {} is needed, and {} is free; the largest that fits is {largest}",
        size(*total), size(*free)
    )]
    Context {
        /// Positions asked for.
        context: u32,
        /// Bytes needed with it.
        total: u64,
        /// Bytes that may be used.
        free: u64,
        /// The largest context that fits.
        largest: u32,
    },
    /// An encoder has no more positions.
    #[error(
        "a context of {context} is asked for, and this model has {trained} positions; ask for at most {trained}"
    )]
    Positions {
        /// Positions asked for.
        context: u32,
        /// Positions of the model.
        trained: u32,
    },
    /// The heads of the model are not whole blocks of the type.
    #[error(
        "keys and values cannot be stored as {kv}: that takes heads of a multiple of {} elements, and this model has heads of {head_dim}; use f16",
        kv.block_len()
    )]
    KvType {
        /// The type asked for.
        kv: KvType,
        /// Elements of a head.
        head_dim: usize,
    },
    /// An option is 0 or beyond its bound.
    #[error("`{option}` is {value}; it must be from {low} to {high}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: u32,
        /// Smallest allowed.
        low: u32,
        /// Largest allowed.
        high: u32,
    },
}

impl Plan {
    /// Plans a load with `free` bytes. Reads no weights.
    ///
    /// # Errors
    /// [`PlanError`]: the file cannot be run, an option is out of its range, or the model does not
    /// fit; the message says what would.
    pub fn new<O: Ops + 'static>(
        metadata: &Metadata,
        source: &dyn WeightSource,
        ops: &O,
        options: &LoadOptions,
        free: u64,
    ) -> Result<Self, PlanError> {
        let options = checked(options)?;
        let held = LoadOptions {
            max_stall: None, // no layer takes long
            ..options.clone()
        };
        let mut plan = Self::measured(metadata, source, ops, held, free)?;
        match options.streaming {
            Some(buffers) if !plan.fits() && plan.needs.causal => {
                return streamed::plan(metadata, source, ops, &options, buffers, free);
            }
            _ => plan.choose_context()?,
        }
        Ok(plan)
    }

    /// What the network asks for; no context yet.
    pub(crate) fn measured<O: Ops + 'static>(
        metadata: &Metadata,
        source: &dyn WeightSource,
        ops: &O,
        mut options: LoadOptions,
        free: u64,
    ) -> Result<Self, PlanError> {
        let mut needs = inspect(metadata, source, ops, rows(&options))?;
        if !needs.causal {
            let n_texts = options.max_sequences.max(TEXTS_AT_ONCE);
            let context = encoder_context(&needs, options.context)?;
            options = LoadOptions {
                context: Some(context),
                kv: KvType::F32, // a page is read once and by one layer: exactness costs little
                max_batch_rows: options.max_batch_rows.max(context).max(n_texts),
                max_sequences: n_texts,
                max_stall: None,
                ..options
            };
            needs = inspect(metadata, source, ops, rows(&options))?;
        }
        let kv = options.kv;
        if let Some(layer) = needs.layers.iter().find(|l| !kv.holds(l.head_dim)) {
            let head_dim = layer.head_dim;
            return Err(PlanError::KvType { kv, head_dim });
        }
        // The last hidden row of each sequence and of each guess, and their logits.
        let head = match needs.head {
            Head::Vocabulary => needs.shape.n_vocab,
            Head::Labels(n) => n,
            Head::None => 0,
        };
        if needs.head != Head::Vocabulary || !needs.causal {
            options.max_guesses = 0;
        }
        let outputs = head + needs.shape.width;
        let n_outputs = u64::from(options.max_sequences) + u64::from(options.max_guesses);
        let output_bytes = n_outputs * outputs as u64 * 4;
        let guess_bytes = match options.max_guesses {
            0 => 0,
            _ => u64::from(options.max_sequences) * Ngram::FIXED_BYTES,
        };
        if !needs.causal || needs.head != Head::Vocabulary {
            options.page_buffers = 0;
        }
        let page = needs.position_bytes(kv).saturating_mul(PAGE_LEN as u64);
        let page_buffers = page.saturating_mul(u64::from(options.page_buffers));
        let plan = Self {
            context: 0,
            n_pages: 0,
            sequence_bytes: 0,
            buffer_bytes: needs
                .buffer_bytes
                .saturating_add(output_bytes + guess_bytes)
                .saturating_add(page_buffers),
            vocabulary_bytes: needs.shape.n_vocab as u64 * TOKEN_BYTES,
            pooling: options.pooling.unwrap_or(usual_pooling(&needs)),
            streamed: None,
            free,
            warnings: needs.warnings.clone(),
            options,
            needs,
        };
        Ok(plan)
    }

    /// The most rows of a batch, and of one between the parts of another.
    pub fn rows(&self) -> Rows {
        rows(&self.options)
    }

    /// Whether the model writes text.
    pub fn generates(&self) -> bool {
        self.needs.head == Head::Vocabulary
    }

    /// Whether it gives embeddings.
    pub fn embeds(&self) -> bool {
        self.pooling != Pooling::Rank
    }

    /// Whether it scores texts: it has a head for that, or was asked to answer yes or no.
    pub fn scores(&self) -> bool {
        match self.needs.head {
            Head::Labels(_) => true,
            Head::Vocabulary => self.pooling == Pooling::Rank,
            Head::None => false,
        }
    }

    /// Whether all weights fit, with the context that is wanted.
    fn fits(&self) -> bool {
        let wanted = self.options.context.unwrap_or(self.default_context());
        self.largest_context() >= wanted
    }

    /// The context where nobody asked for one and there is memory.
    pub(crate) fn default_context(&self) -> u32 {
        self.needs.native_len.min(DEFAULT_CONTEXT)
    }

    pub(crate) fn choose_context(&mut self) -> Result<(), PlanError> {
        let largest = self.largest_context();
        if largest == 0 {
            return Err(PlanError::Weights {
                weights: self.needs.weight_bytes,
                buffers: self.buffer_bytes.saturating_add(self.vocabulary_bytes),
                smallest: match self.options.contexts {
                    Some(_) => self.page_bytes(),
                    None => u64::from(self.options.max_sequences).saturating_mul(self.page_bytes()),
                },
                free: self.free,
            });
        }
        let default = self.default_context();
        let wanted = match self.options.context {
            Some(context) => context,
            None => default.min(largest),
        };
        self.set_context(wanted);
        if wanted > largest {
            return Err(PlanError::Context {
                context: wanted,
                total: self.total(),
                free: self.free,
                largest,
            });
        }
        self.warn_of_context(wanted, default);
        Ok(())
    }

    /// Warns where the context is not what a person would expect.
    pub(crate) fn warn_of_context(&mut self, wanted: u32, default: u32) {
        let trained = self.needs.shape.context_len;
        if wanted > trained {
            self.warnings.push(format!(
                "the context is {wanted} and the model was trained for {trained}: answers may become nonsense beyond that"
            ));
        }
        if self.options.context.is_none() && wanted < default {
            self.warnings.push(format!(
                "the context is {wanted}, because no more fits in the memory that is free; the model was trained for {trained}"
            ));
        }
    }

    fn set_context(&mut self, context: u32) {
        let left = self.free.saturating_sub(self.fixed());
        self.set_context_within(context, left);
    }

    /// Sets the context, with pages for several where `left` bytes have room for them.
    pub(crate) fn set_context_within(&mut self, context: u32, left: u64) {
        self.context = context;
        // At most 2^31 / PAGE_LEN * 2^10 pages: see `checked`.
        let one = pages_for(u64::from(context));
        let pages = match self.options.contexts {
            _ if !self.needs.causal => self.encoder_pages(),
            Some(contexts) => {
                let fit = left / self.page_bytes().max(1);
                (one * u64::from(contexts)).min(fit).max(one)
            }
            None => one * u64::from(self.options.max_sequences),
        };
        self.n_pages = u32::try_from(pages).unwrap_or(u32::MAX);
        self.sequence_bytes = pages.saturating_mul(self.page_bytes());
    }

    /// Pages for the texts of one batch, the last of each perhaps almost empty.
    fn encoder_pages(&self) -> u64 {
        let rows = u64::from(self.options.max_batch_rows);
        pages_for(rows) + u64::from(self.options.max_sequences)
    }

    pub(crate) fn page_bytes(&self) -> u64 {
        let follower = match self.options.max_guesses {
            0 => 0,
            _ => Ngram::TOKEN_BYTES,
        };
        let position = self.needs.position_bytes(self.options.kv);
        position
            .saturating_add(follower)
            .saturating_mul(PAGE_LEN as u64)
    }

    /// The largest context that fits beside weights and buffers, in whole pages; 0 where none does.
    fn largest_context(&self) -> u32 {
        let Some(left) = self.free.checked_sub(self.fixed()) else {
            return 0;
        };
        if !self.needs.causal {
            // The pages are those of a batch, whatever the context is.
            let bytes = self.encoder_pages().saturating_mul(self.page_bytes());
            return if bytes <= left {
                self.options.context.unwrap_or(0)
            } else {
                0
            };
        }
        let per_sequence = match self.options.contexts {
            Some(_) => left,
            None => left / u64::from(self.options.max_sequences),
        };
        let pages = per_sequence / self.page_bytes().max(1);
        let context = pages.saturating_mul(PAGE_LEN as u64);
        context.min(u64::from(MAX_CONTEXT)) as u32
    }

    /// Bytes of all but sequence memory.
    pub(crate) fn fixed(&self) -> u64 {
        let rest = self.buffer_bytes.saturating_add(self.vocabulary_bytes);
        let weights = match &self.streamed {
            None => self.needs.weight_bytes,
            Some(streamed) => streamed.bytes(),
        };
        weights.saturating_add(rest)
    }

    /// Bytes of weights, sequence memory, buffers and vocabulary together.
    pub fn total(&self) -> u64 {
        self.fixed().saturating_add(self.sequence_bytes)
    }
}

fn rows(options: &LoadOptions) -> Rows {
    let beside = options.max_sequences.saturating_add(options.max_guesses);
    let side = options
        .max_stall
        .map_or(0, |_| beside.min(options.max_batch_rows));
    Rows {
        main: options.max_batch_rows as usize,
        side: side as usize,
    }
}

/// Texts that an encoder reads in one batch, if they are short.
const TEXTS_AT_ONCE: u32 = 32;

/// The longest text of an encoder: it has no positions beyond those that it was trained for.
fn encoder_context(needs: &Needs, wanted: Option<u32>) -> Result<u32, PlanError> {
    let trained = needs.shape.context_len;
    match wanted {
        Some(context) if context > trained => Err(PlanError::Positions { context, trained }),
        Some(context) => Ok(context),
        None => Ok(trained.min(DEFAULT_CONTEXT)),
    }
}

/// What a file that says nothing means.
fn usual_pooling(needs: &Needs) -> Pooling {
    let usual = match needs.head {
        Head::Labels(_) => Pooling::Rank,
        _ if needs.causal => Pooling::Last,
        _ => Pooling::Mean,
    };
    needs.pooling.unwrap_or(usual)
}

/// Beyond any model's context; keeps page counts in 32 bits.
const MAX_CONTEXT: u32 = 1 << 27;

fn checked(options: &LoadOptions) -> Result<LoadOptions, PlanError> {
    let check = |option, value: u32, high| match (1..=high).contains(&value) {
        true => Ok(()),
        false => Err(PlanError::Option {
            option,
            value,
            low: 1,
            high,
        }),
    };
    check("context", options.context.unwrap_or(1), MAX_CONTEXT)?;
    check("max_batch_rows", options.max_batch_rows, 8192)?;
    check("max_sequences", options.max_sequences, 1024)?;
    check("max_waiting", options.max_waiting, 65_536)?;
    check("page_buffers", options.page_buffers.max(1), 64)?;
    check("contexts", options.contexts.unwrap_or(1), 1024)?;
    check("max_guesses", options.max_guesses.max(1), 8192)?;
    let mut options = options.clone();
    // Every running sequence must be able to advance in every step.
    options.max_batch_rows = options.max_batch_rows.max(options.max_sequences);
    Ok(options)
}

/// A number of bytes as a person reads it: `1.25 GiB`.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in units {
        if bytes >= 1 << shift {
            return format!("{:.2} {unit}", bytes as f64 / (1_u64 << shift) as f64);
        }
    }
    format!("{bytes} B")
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kv = self.options.kv;
        let sequences = match self.options.max_sequences {
            _ if !self.needs.causal => format!("texts of at most {} tokens", self.context),
            _ if self.options.contexts.is_some() => {
                let positions = u64::from(self.n_pages) * PAGE_LEN as u64;
                format!("{positions} positions, context {}, {kv}", self.context)
            }
            1 => format!("{} positions, {kv}", self.context),
            n => format!("{n} x {} positions, {kv}", self.context),
        };
        let batch = format!("batches of {} rows", self.options.max_batch_rows);
        let words = format!("{} tokens", self.needs.shape.n_vocab);
        let mut lines = Vec::new();
        let architecture = self.needs.architecture.clone();
        match &self.streamed {
            None => lines.push(("weights", self.needs.weight_bytes, architecture)),
            Some(s) => {
                let share = 100.0 * s.cached_share();
                let (name, what) = match s.on_disk {
                    OnDisk::Experts => (", all but experts", format!("{} experts", s.n_experts)),
                    OnDisk::All => (", vectors alone", "all matrices".to_owned()),
                };
                let cached = format!(
                    "{share:.0}% of {what} ({}); the rest is read while it is used",
                    size(s.streamed_bytes)
                );
                lines.push(("weights", s.resident_bytes, architecture + name));
                lines.push(("cache", s.cache_bytes, cached));
                lines.push(("reads", s.read_bytes, String::new()));
                lines.push(("process", s.process_bytes, String::new()));
            }
        }
        lines.extend([
            ("sequences", self.sequence_bytes, sequences),
            ("buffers", self.buffer_bytes, batch),
            ("vocabulary", self.vocabulary_bytes, words),
            ("total", self.total(), String::new()),
            ("free", self.free, String::new()),
        ]);
        let last = lines.len() - 1;
        for (i, (name, bytes, note)) in lines.into_iter().enumerate() {
            let line = format!("{name:<11}{:>12}  {note}", size(bytes));
            let end = if i < last { "\n" } else { "" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

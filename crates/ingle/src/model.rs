//! A model in this process: plan, load, generate.

use crate::Chat;
use ingle_engine::{
    Budget, Draft, Engine, EngineError, LoadOptions, Plan, PlanError, ReadBuffers, Refusal,
    Request, Turns,
};
use ingle_formats::TokenId;
use ingle_formats::prompt::{Prompt, PromptError, Prompter};
use ingle_formats::template::LocalTime;
use ingle_formats::vocabulary::Vocabulary;
use ingle_store::{ModelFiles, ReadSetup, StoreError};
use ingle_tensor::cpu::{Cpu, Streamed, Streaming};
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How to load a model and what it may use.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that compute; the caller's is one of them.
    pub threads: usize,
    /// The instruction set of the kernels.
    pub isa: Isa,
    /// Bytes that weights, sequence memory and buffers may take together. A library does not ask
    /// the system what is free: the default is no limit.
    pub memory: u64,
    /// Context, batch and number of sequences.
    pub load: LoadOptions,
    /// How weights are read that stay on disk, where not all fit; `None`: a model that does not fit is
    /// refused.
    pub reads: Option<ReadSetup>,
    /// What models of one process share; `None`: this one has its own threads and a budget of `memory`.
    pub shared: Option<Shared>,
}

/// What the models of one process share: the threads that compute, in turn, and the memory.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The threads.
    pub team: Arc<Team>,
    /// Whose turn it is to compute with them.
    pub turns: Turns,
    /// The memory. [`Options::memory`] says how much of it a plan may count on.
    pub budget: Budget,
}

impl Default for Options {
    /// All processors that this process may use, the fastest kernels, no limit on memory.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            isa: Isa::best(),
            memory: u64::MAX,
            load: LoadOptions::default(),
            reads: Some(ReadSetup::default()),
            shared: None,
        }
    }
}

/// Why a model cannot be loaded or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it would take.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its weights or vocabulary.
    #[error(transparent)]
    Load(#[from] EngineError),
    /// A conversation that becomes no prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The kernels asked for do not run here.
    #[error("this machine cannot run the {0} kernels; choose others")]
    Isa(Isa),
}

/// A model that has been planned and not yet loaded.
#[derive(Debug)]
pub struct Loader {
    files: Arc<ModelFiles>,
    options: Options,
    ops: Cpu,
    plan: Plan,
    budget: Budget,
    team: Arc<Team>,
    draft: Option<DraftLoader>,
}

/// A small model that is to guess for another.
#[derive(Debug)]
struct DraftLoader {
    files: ModelFiles,
    ops: Cpu,
    plan: Plan,
    use_ngram: bool,
}

/// The most rows of a draft model's batch: its prompts are read between other batches.
const DRAFT_ROWS: u32 = 256;

impl Loader {
    /// Plans a load. Reads no weights.
    ///
    /// # Errors
    /// [`Error::Plan`]: the model cannot be run or does not fit, and what would.
    pub fn new(files: ModelFiles, options: &Options) -> Result<Self, Error> {
        let Shared { team, budget, .. } = options.shared.clone().unwrap_or_else(|| Shared {
            team: Arc::new(Team::new(options.threads)),
            turns: Turns::default(),
            budget: Budget::new(options.memory),
        });
        let start = Instant::now();
        let ops = Cpu::new(options.isa, Arc::clone(&team))
            .ok_or(Error::Isa(options.isa))?
            .measuring(&|| start.elapsed());
        let (files, options) = (Arc::new(files), options.clone());
        let plan = plan(&files, &ops, &options)?;
        Ok(Self {
            files,
            options,
            ops,
            plan,
            budget,
            team,
            draft: None,
        })
    }

    /// Plans anew for weights that are read as `setup` says, where some stay on disk.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn reading(mut self, setup: ReadSetup) -> Result<Self, Error> {
        self.options.reads = Some(setup);
        self.plan = plan(&self.files, &self.ops, &self.options)?;
        Ok(self)
    }

    /// The model's files.
    pub fn files(&self) -> &Arc<ModelFiles> {
        &self.files
    }

    /// Lets a smaller model of the very same vocabulary guess how texts go on; with `use_ngram` only
    /// where the text itself foretells nothing. It has to fit beside this one.
    ///
    /// # Errors
    /// As [`Self::new`], for the smaller model.
    pub fn with_draft(
        mut self,
        files: ModelFiles,
        options: &Options,
        use_ngram: bool,
    ) -> Result<Self, Error> {
        let load = LoadOptions {
            context: Some(self.plan.context),
            max_sequences: self.plan.options.max_sequences,
            max_batch_rows: DRAFT_ROWS,
            max_guesses: 0,
            kv: self.plan.options.kv,
            ..LoadOptions::default()
        };
        let team = Arc::clone(&self.team);
        let ops = Cpu::new(options.isa, team).ok_or(Error::Isa(options.isa))?;
        let free = options.memory.saturating_sub(self.plan.total());
        let plan = Plan::new(files.metadata(), &files, &ops, &load, free)?;
        self.draft = Some(DraftLoader {
            files,
            ops,
            plan,
            use_ngram,
        });
        Ok(self)
    }

    /// What the model that guesses will take, if there is one.
    pub fn draft_plan(&self) -> Option<&Plan> {
        self.draft.as_ref().map(|draft| &draft.plan)
    }

    /// What the model will take.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Loads it. `progress` is told the bytes loaded so far and their total.
    ///
    /// # Errors
    /// [`Error::Load`]; a chat template that cannot be read is no error until it is used.
    pub fn load(self, progress: &mut dyn FnMut(u64, u64)) -> Result<Model, Error> {
        let Self {
            files,
            options,
            ops,
            plan,
            budget,
            draft,
            ..
        } = self;
        let ops = streaming(ops, &files, &options, &plan)?;
        let mut engine = Engine::load(files.metadata(), &*files, ops, plan, &budget, progress)?;
        if let Some(draft) = draft {
            let target = (&**engine.vocabulary(), engine.plan().needs.weight_bytes);
            let (metadata, use_ngram) = (draft.files.metadata(), draft.use_ngram);
            let guesser = Draft::load(
                metadata,
                &draft.files,
                draft.ops,
                &draft.plan,
                &budget,
                target,
                use_ngram,
                &mut |_, _| {},
            )?;
            engine.set_guesser(Some(Box::new(guesser)));
        }
        let prompter = Prompter::new(engine.vocabulary().clone()).map_err(EngineError::from)?;
        Ok(Model { engine, prompter })
    }
}

fn plan(files: &ModelFiles, ops: &Cpu, options: &Options) -> Result<Plan, Error> {
    let buffers = |setup: ReadSetup| ReadBuffers {
        in_flight: setup.in_flight_bytes(),
        requests: setup.requests(),
    };
    let load = LoadOptions {
        streaming: options.reads.map(buffers),
        ..options.load.clone()
    };
    Ok(Plan::new(
        files.metadata(),
        files,
        ops,
        &load,
        options.memory,
    )?)
}

/// Operations that read what the plan leaves on disk.
fn streaming(
    ops: Cpu,
    files: &Arc<ModelFiles>,
    options: &Options,
    plan: &Plan,
) -> Result<Cpu, Error> {
    let (Some(streamed), Some(setup)) = (plan.streamed, options.reads) else {
        return Ok(ops);
    };
    let start = Instant::now();
    Ok(ops.streaming(Streaming {
        fetcher: files.fetcher(&setup, streamed.largest_read)?,
        on_disk: streamed.on_disk,
        cache_bytes: streamed.cache_bytes,
        clock: Arc::new(move || start.elapsed()),
    }))
}

/// A loaded model.
pub struct Model {
    engine: Engine<Cpu>,
    prompter: Prompter,
}

/// The events of one request, computed as they are asked for. Dropping it cancels the request.
pub type Generation<'a> = ingle_engine::Generation<'a, Cpu>;

impl Model {
    /// Opens and loads a .gguf file, or a split model by any one of its files.
    ///
    /// # Errors
    /// [`Error`] says what is wrong and what to do.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Loader::new(ModelFiles::open(path)?, options)?.load(&mut |_, _| {})
    }

    /// With another chat template than the file's own.
    ///
    /// # Errors
    /// [`Error::Prompt`]: it cannot be read.
    pub fn with_template(mut self, source: &str) -> Result<Self, Error> {
        self.prompter = self.prompter.with_template(source)?;
        Ok(self)
    }

    /// The tokens of a text to continue: see [`Prompter::text`].
    pub fn encode(&self, text: &str) -> Vec<TokenId> {
        self.prompter.text(text)
    }

    /// Whether the file has a chat template.
    pub fn has_template(&self) -> bool {
        self.prompter.has_template()
    }

    /// The prompt that a conversation becomes: see [`Prompter::chat`]. `now` is what a template that
    /// shows the date shows.
    ///
    /// # Errors
    /// [`Error::Prompt`]: there is no chat template, or it cannot be read or refuses the
    /// conversation.
    pub fn chat(&self, chat: &Chat, now: LocalTime) -> Result<Prompt, Error> {
        Ok(self.prompter.chat(chat.as_template(), now)?)
    }

    /// Works on one request; the events come as they are asked for.
    ///
    /// # Errors
    /// [`Refusal`] says why the request is not taken.
    pub fn generate(&mut self, request: Request) -> Result<Generation<'_>, Refusal> {
        let start = Instant::now();
        Ok(self
            .engine
            .generate(request)?
            .timed(move || start.elapsed()))
    }

    /// The model's vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        self.engine.vocabulary()
    }

    /// How the model was loaded.
    pub fn plan(&self) -> &Plan {
        self.engine.plan()
    }

    /// What came of reading weights while they are used; `None` where all are in memory.
    pub fn streamed(&self) -> Option<Streamed> {
        self.engine.ops().streamed()
    }

    /// The engine, for many requests at once.
    pub fn engine(&mut self) -> &mut Engine<Cpu> {
        &mut self.engine
    }

    /// Its two halves, for a program that runs the engine on a thread of its own.
    pub fn into_parts(self) -> (Engine<Cpu>, Prompter) {
        (self.engine, self.prompter)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("plan", self.plan())
            .finish_non_exhaustive()
    }
}

//! A model in this process: plan, load, generate.

use crate::Chat;
use ingle_engine::{Budget, Engine, EngineError, LoadOptions, Plan, PlanError, Refusal, Request};
use ingle_formats::TokenId;
use ingle_formats::template::{ChatTemplate, LocalTime, TemplateError};
use ingle_formats::vocabulary::{Encode, Vocabulary};
use ingle_store::{ModelFiles, StoreError};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::path::Path;
use std::sync::Arc;

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
}

impl Default for Options {
    /// All processors that this process may use, the fastest kernels, no limit on memory.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            isa: Isa::best(),
            memory: u64::MAX,
            load: LoadOptions::default(),
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
    /// Its chat template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// There is no chat template.
    #[error("this model has no chat template; give it a text to continue instead (`--raw`)")]
    NoTemplate,
    /// The kernels asked for do not run here.
    #[error("this machine cannot run the {0} kernels; choose others")]
    Isa(Isa),
}

/// A model that has been planned and not yet loaded.
#[derive(Debug)]
pub struct Loader {
    files: ModelFiles,
    ops: Cpu,
    plan: Plan,
    budget: Budget,
}

impl Loader {
    /// Plans a load. Reads no weights.
    ///
    /// # Errors
    /// [`Error::Plan`]: the model cannot be run or does not fit, and what would.
    pub fn new(files: ModelFiles, options: &Options) -> Result<Self, Error> {
        let team = Arc::new(Team::new(options.threads));
        let ops = Cpu::new(options.isa, team).ok_or(Error::Isa(options.isa))?;
        let plan = Plan::new(
            files.metadata(),
            &files,
            &ops,
            &options.load,
            options.memory,
        )?;
        Ok(Self {
            files,
            ops,
            plan,
            budget: Budget::new(options.memory),
        })
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
            ops,
            plan,
            budget,
        } = self;
        let engine = Engine::load(files.metadata(), &files, ops, plan, &budget, progress)?;
        let template = engine.vocabulary().chat_template().map(ChatTemplate::new);
        Ok(Model { engine, template })
    }
}

/// A loaded model.
pub struct Model {
    engine: Engine<Cpu>,
    template: Option<Result<ChatTemplate, TemplateError>>,
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

    /// The tokens of a text to continue, with the beginning token where the model wants one; the
    /// text of a control token becomes that token. An empty text becomes the beginning token.
    pub fn encode(&self, text: &str) -> Vec<TokenId> {
        let vocabulary = self.vocabulary();
        let mut tokens = vocabulary.encode(
            text,
            Encode {
                add_special: true,
                parse_special: true,
            },
        );
        // The end token of a text that is to go on would end it.
        if vocabulary.add_eos() && tokens.len() > 1 && tokens.last() == vocabulary.eos().as_ref() {
            tokens.pop();
        }
        if tokens.is_empty() {
            tokens.extend(vocabulary.bos());
        }
        tokens
    }

    /// Whether the file has a chat template.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The prompt that a conversation becomes. `now` is what a template that shows the date shows.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], or [`Error::Template`]: it cannot be read, or refuses the conversation.
    pub fn chat_prompt(&self, chat: &Chat, now: LocalTime) -> Result<String, Error> {
        match &self.template {
            None => Err(Error::NoTemplate),
            Some(Err(e)) => Err(e.clone().into()),
            Some(Ok(template)) => {
                Ok(template.render(&chat.for_vocabulary(self.vocabulary()), now)?)
            }
        }
    }

    /// The tokens of a prompt from [`Self::chat_prompt`]: a template may or may not write the
    /// beginning token; there is exactly one where the model wants one.
    pub fn encode_chat(&self, prompt: &str) -> Vec<TokenId> {
        let vocabulary = self.vocabulary();
        let options = Encode {
            add_special: false,
            parse_special: true,
        };
        let mut tokens = vocabulary.encode(prompt, options);
        if let Some(bos) = vocabulary.bos().filter(|_| vocabulary.add_bos())
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        tokens
    }

    /// Works on one request; the events come as they are asked for.
    ///
    /// # Errors
    /// [`Refusal`] says why the request is not taken.
    pub fn generate(&mut self, request: Request) -> Result<Generation<'_>, Refusal> {
        self.engine.generate(request)
    }

    /// The model's vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        self.engine.vocabulary()
    }

    /// How the model was loaded.
    pub fn plan(&self) -> &Plan {
        self.engine.plan()
    }

    /// The engine, for many requests at once.
    pub fn engine(&mut self) -> &mut Engine<Cpu> {
        &mut self.engine
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("plan", self.plan())
            .finish_non_exhaustive()
    }
}

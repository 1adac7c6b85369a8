//! From an argument to a loaded model: the plan first, then progress, all on stderr.

use crate::config::Template;
use crate::machine::{MachineArgs, Memory, advice, disks};
use crate::prefix_store::{self, PrefixStore};
use crate::work::TokenWork;
use crate::{Usage, model_file, out};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingle::engine::Budget;
use ingle::engine::Pooling;
use ingle::engine::Turns;
use ingle::store::quantize::{QuantizeError, Recipe};
use ingle::store::{CachePolicy, Layers, Place, ReadSetup};
use ingle::tensor::team::Team;
use ingle::{KvType, LoadOptions, Loader, Model, ModelFiles, Options, Shared};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The model that is built in: see `models/ingle-mini`.
static BUILT_IN: &[u8] = include_bytes!("../../../models/ingle-mini/ingle-mini.gguf");
/// Its name.
pub const BUILT_IN_NAME: &str = "ingle-mini";

/// How a model is loaded.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadArgs {
    /// Context in tokens, prompt and answer together [default: what the model was trained for, at
    /// most 8192, less where memory is short]
    #[arg(long, value_name = "N", help_heading = "Model", value_parser = clap::value_parser!(u32).range(1..=1 << 27))]
    ctx: Option<u32>,
    /// How keys and values are stored
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "f16",
        help_heading = "Model"
    )]
    kv: Kv,
    /// Quantise the weights while loading, as q8_0 or q4_k_m [default: as they are stored]
    #[arg(long, value_name = "TYPE", value_parser = quant, help_heading = "Model")]
    quant: Option<Recipe>,
    /// Memory that the model may take, as 6GiB or 800MB [default: what is free, less a sixteenth]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Model")]
    memory: Option<u64>,
    /// Experts that a token uses, fewer or more than the model was trained with: other answers, and worse
    /// ones. Every answer says so [default: the model's own]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Model")]
    active_experts: Option<u32>,
    /// Where guesses at how a text goes on come from: they make answers come sooner and change none
    #[arg(
        long,
        value_name = "HOW",
        default_value = "ngram",
        help_heading = "Model"
    )]
    speculate: Speculate,
    /// A smaller model with the very same vocabulary that writes ahead of this one; where guesses are
    /// taken from the text too, only when that foretells nothing
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    draft: Option<String>,
    #[command(flatten)]
    machine: MachineArgs,
    /// How rows become an embedding; only `embed` asks.
    #[arg(skip)]
    pooling: Option<Pooling>,
    /// How long a next token waits for others; only `serve` asks.
    #[arg(skip)]
    max_stall: Option<Duration>,
    /// Where beginnings of texts are kept on disk; only `serve` asks.
    #[arg(skip)]
    prefixes: Option<PrefixStore>,
    /// Another chat template; only a preset asks.
    #[arg(skip)]
    template: Option<Template>,
    /// The memory and threads of a server with several models, and how much of the memory a plan may
    /// count on.
    #[arg(skip)]
    house: Option<(Shared, u64)>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kv {
    /// 2 bytes an element
    F16,
    /// 4 bytes an element
    F32,
    /// 8 bits an element and a scale for 32: half the memory of f16, nearly the same answers
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits an element and a scale for 32: a quarter of the memory of f16, worse answers
    #[value(name = "q4_0")]
    Q4_0,
}

impl Kv {
    fn kind(self) -> KvType {
        match self {
            Self::F16 => KvType::F16,
            Self::F32 => KvType::F32,
            Self::Q8_0 => KvType::Q8_0,
            Self::Q4_0 => KvType::Q4_0,
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Speculate {
    /// Nowhere: every token is a step of its own
    Off,
    /// From the prompt and the text so far; only as many as pay
    Ngram,
}

/// A loaded model, and what a person or a script may want to know of it.
pub struct Loaded {
    pub model: Model,
    pub name: String,
    /// What its answers depend on: another one, another model.
    pub identity: String,
    pub load_time: Duration,
    pub threads: usize,
    pub isa: &'static str,
    /// What computing one token takes at least.
    pub work: TokenWork,
    /// Bytes that the disk reads in a second, where weights are read from it while they are used.
    pub disk: Option<f64>,
    /// What the weights were quantised to while loading, where that was asked for.
    pub quant: Option<&'static str>,
    /// Experts that a token uses, where another number was asked for than the model was trained with.
    pub active_experts: Option<u32>,
    /// What Ollama keeps beside the weights.
    pub layers: Option<Layers>,
}

/// Reads in flight take at most one part of so many of the memory that is allowed.
const READS: u64 = 64;
impl Loaded {
    /// The numerics class, and every approximation that was asked for.
    pub fn fingerprint(&self) -> String {
        let quant = self.quant.map(|quant| format!("quant-{quant}"));
        let experts = self.active_experts.map(|k| format!("active-experts-{k}"));
        let class = Some(ingle::tensor::NUMERICS_CLASS.to_owned());
        let parts = [class, quant, experts].into_iter().flatten();
        parts.collect::<Vec<_>>().join("-")
    }
}

/// Loads MODEL, or the model that is built in.
///
/// # Errors
/// It is not there, cannot be run, or does not fit; the message says what to do.
pub fn load(argument: Option<&str>, args: &LoadArgs) -> anyhow::Result<Loaded> {
    load_for(argument, args, Company::Alone)
}

/// How many requests a loaded model works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// One after the other.
    Alone,
    /// Several at the same time: so many, or [`SEVERAL`].
    Several(Option<u32>),
}

/// Requests that may be there, working and waiting, where several are worked on.
const QUEUE: u32 = 64;
/// Requests worked on at the same time where nobody said how many.
const SEVERAL: u32 = 16;
/// Contexts that these share. Few requests fill theirs.
const SHARED_CONTEXTS: u32 = 4;

impl Company {
    fn set(self, options: &mut LoadOptions) {
        let Self::Several(places) = self else {
            return;
        };
        options.max_sequences = places.unwrap_or(SEVERAL);
        options.contexts = Some(places.unwrap_or(SHARED_CONTEXTS));
        options.max_waiting = QUEUE.max(options.max_sequences);
    }
}

/// [`load`], for several requests at once.
///
/// # Errors
/// As [`load`].
pub fn load_for(
    argument: Option<&str>,
    args: &LoadArgs,
    company: Company,
) -> anyhow::Result<Loaded> {
    let started = Instant::now();
    let mut loaded = load_planned(plan_for(argument, args, company)?, args)?;
    loaded.load_time = started.elapsed();
    Ok(loaded)
}

/// Loads what was planned.
///
/// # Errors
/// As [`load`].
pub fn load_planned(planned: Planned, args: &LoadArgs) -> anyhow::Result<Loaded> {
    let started = Instant::now();
    let (mut loader, options) = (planned.loader, planned.options);
    out::note(format!("{}\n{}", out::plain(&planned.name), loader.plan()));
    if let Some(draft) = &args.draft {
        let (files, found) = model_file::open_found(draft, args.cache())?;
        let use_ngram = matches!(args.speculate, Speculate::Ngram);
        loader = loader.with_draft(files, &options, use_ngram)?;
        out::note(format!("draft: {}", out::plain(&found.name)));
    }
    if let Some(plan) = loader.draft_plan() {
        out::note(plan);
    }
    for warning in &loader.plan().warnings {
        out::note(format!("warning: {}", out::plain(warning)));
    }
    let template = args.template_text(loader.files())?;
    let identity = identity(loader.files(), args, template.as_deref());
    let files = Arc::clone(loader.files());
    let bar = progress_bar(loader.plan().needs.file_bytes);
    let mut model = loader.load(&mut |done, _| bar.set_position(done))?;
    bar.finish_and_clear();
    if let Some(template) = template {
        model = model.with_template(&template)?;
    }
    if let Some(store) = &args.prefixes {
        store.attach(model.engine(), &files);
    }
    Ok(Loaded {
        model,
        name: planned.name,
        identity,
        load_time: started.elapsed(),
        threads: options.threads,
        isa: options.isa.name(),
        work: planned.work,
        disk: planned.disk.and_then(rate),
        quant: planned.quant,
        active_experts: args.active_experts,
        layers: planned.layers,
    })
}

/// What the answers of a model depend on, in a word: its weights, how they are computed, its template.
fn identity(files: &ModelFiles, args: &LoadArgs, template: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(files.likeness());
    let kv = args.kv.kind().name();
    hash.update(format!(
        "{} {kv} {:?}",
        ingle::tensor::NUMERICS_CLASS,
        args.active_experts
    ));
    hash.update(template.unwrap_or_default());
    let digest = hash.finalize();
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes a second, where the disk was measured.
pub fn rate(disk: ReadSetup) -> Option<f64> {
    (disk.bytes_per_second > 0).then_some(disk.bytes_per_second as f64)
}

/// A model of which it is known what it will take, and nothing is loaded.
pub struct Planned {
    pub loader: Loader,
    pub options: Options,
    pub name: String,
    /// What computing one token takes at least.
    pub work: TokenWork,
    /// How weights are read that stay on disk, if any do.
    pub disk: Option<ReadSetup>,
    quant: Option<&'static str>,
    layers: Option<Layers>,
}

/// Finds and plans MODEL, or the model that is built in.
///
/// # Errors
/// As [`load`].
pub fn plan_for(
    argument: Option<&str>,
    args: &LoadArgs,
    company: Company,
) -> anyhow::Result<Planned> {
    let (files, name, layers) = match another(argument) {
        Some(model) => {
            let (files, found) = model_file::open_found(model, args.cache())?;
            model_file::note_place(&found);
            let path = found.place == Place::Path;
            let name = if path {
                files.name().to_owned()
            } else {
                found.name
            };
            (files, name, found.layers)
        }
        None => {
            if argument.is_none() {
                note_built_in();
            }
            (built_in_files()?, BUILT_IN_NAME.to_owned(), None)
        }
    };
    let mut options = args.options()?;
    let files = args.quantised(files, options.threads)?;
    let files = args.with_active_experts(files)?;
    let quant = files.quantised_to().map(Recipe::name);
    let work = TokenWork::of(&files);
    company.set(&mut options.load);
    if args.prefixes.is_some() {
        options.load.page_buffers = prefix_store::BUFFERS;
    }
    let mut loader = Loader::new(files, &options)?;
    let mut disk = None;
    if loader.plan().streamed.is_some() {
        let setup = disks::setup_for(loader.files())?.within(options.memory / READS);
        loader = loader.reading(setup)?;
        disk = Some(setup);
    }
    Ok(Planned {
        loader,
        disk,
        options,
        name,
        work,
        quant,
        layers,
    })
}

/// The model that is built in.
///
/// # Errors
/// It is damaged.
pub fn built_in_files() -> anyhow::Result<ModelFiles> {
    Ok(ModelFiles::from_bytes(BUILT_IN_NAME, BUILT_IN)?)
}

/// The model that an argument names, unless it is the one that is built in.
pub fn another(argument: Option<&str>) -> Option<&str> {
    argument.filter(|name| *name != BUILT_IN_NAME)
}

fn note_built_in() {
    out::note(format!(
        "No model was given: this is {BUILT_IN_NAME}, a very small one that is built in."
    ));
    if let Some(model) = Memory::measure().and_then(|m| advice::largest_that_fits(m.available)) {
        out::note(model.lines());
    }
    out::note("");
}

impl LoadArgs {
    /// How much of the machine to use.
    pub fn machine(&self) -> &MachineArgs {
        &self.machine
    }

    /// Bytes that measuring the machine may take before a model is loaded: a part of the budget, where there
    /// is one.
    pub fn room_to_measure(&self) -> Option<u64> {
        self.memory.map(|memory| (memory / 2).max(16 << 20))
    }

    /// Whether a smaller model guesses.
    pub fn has_draft(&self) -> bool {
        self.draft.is_some()
    }

    /// Every token a step of its own.
    #[must_use]
    pub fn without_guesses(mut self) -> Self {
        self.speculate = Speculate::Off;
        self.draft = None;
        self
    }

    /// The context that was asked for.
    pub fn context(&self) -> Option<u32> {
        self.ctx
    }

    /// With this context where none was asked for.
    #[must_use]
    pub fn or_context(mut self, context: u32) -> Self {
        self.ctx.get_or_insert(context);
        self
    }

    /// Quantised while loading, where that was asked for. Weights that lost once are not made to lose
    /// again.
    fn quantised(&self, files: ModelFiles, threads: usize) -> anyhow::Result<ModelFiles> {
        let Some(recipe) = self.quant else {
            return Ok(files);
        };
        match files.quantised(recipe, threads) {
            Ok(files) => {
                out::note(format!(
                    "The weights are quantised to {recipe} while they are loaded (--quant)."
                ));
                Ok(files)
            }
            Err(QuantizeError::Quantised { ty, .. }) => Err(Usage(format!(
                "this model's weights are {ty} already, and quantising them again would lose twice; leave --quant out"
            ))
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// With another number of experts for a token, where that was asked for.
    fn with_active_experts(&self, files: ModelFiles) -> anyhow::Result<ModelFiles> {
        let Some(wanted) = self.active_experts else {
            return Ok(files);
        };
        let architecture = files.summary().architecture;
        let key = |name: &str| format!("{architecture}.{name}");
        let number = |name: &str| files.metadata().u64(&key(name)).ok().flatten();
        let (Some(all), Some(own)) = (number("expert_count"), number("expert_used_count")) else {
            let message = "this model is no mixture of experts; leave --active-experts out";
            return Err(Usage(message.into()).into());
        };
        if u64::from(wanted) > all {
            let message = format!(
                "this model has {all} experts in a layer; --active-experts is at most that, and it was trained with {own}"
            );
            return Err(Usage(message).into());
        }
        out::note(format!(
            "A token uses {wanted} experts of {all} (--active-experts); the model was trained with {own}."
        ));
        let key = key("expert_used_count");
        Ok(files.with_value(&key, wanted))
    }

    /// With this pooling, where one is given.
    #[must_use]
    pub fn or_pooling(mut self, pooling: Option<Pooling>) -> Self {
        self.pooling = pooling;
        self
    }

    /// With next tokens that wait no longer than this for others' prompts, where weights are read while
    /// they are used.
    #[must_use]
    pub fn with_max_stall(mut self, max_stall: Duration) -> Self {
        self.max_stall = Some(max_stall);
        self
    }

    /// As one of several models of a server, whose plan may count on `memory` bytes.
    #[must_use]
    pub fn in_house(mut self, shared: Shared, memory: u64) -> Self {
        self.house = Some((shared, memory));
        self
    }

    /// What the models of a server share: threads and memory, as these flags want them.
    ///
    /// # Errors
    /// This system does not say how much memory is free, and nobody else did.
    pub fn shared(&self) -> anyhow::Result<Shared> {
        let options = self.options()?;
        Ok(Shared {
            team: Arc::new(Team::new(options.threads)),
            turns: Turns::default(),
            budget: Budget::new(options.memory),
        })
    }

    /// Without what was meant for one model alone.
    #[must_use]
    pub fn for_any_model(mut self) -> Self {
        self.draft = None;
        self.quant = None;
        self.active_experts = None;
        self.template = None;
        self
    }

    /// The chat template that was asked for, where it can be had.
    pub fn template_of(&self, files: &ModelFiles) -> Option<String> {
        self.template_text(files).ok().flatten()
    }

    /// With another chat template than the file's own.
    #[must_use]
    pub fn with_template(mut self, template: Option<Template>) -> Self {
        self.template = template;
        self
    }

    /// The text of that template, where one is asked for.
    fn template_text(&self, files: &ModelFiles) -> anyhow::Result<Option<String>> {
        const KEY: &str = "tokenizer.chat_template.";
        let name = match &self.template {
            None => return Ok(None),
            Some(Template::Text(text)) => return Ok(Some(text.clone())),
            Some(Template::Named(name)) => name,
        };
        if let Some(text) = files.metadata().str(&format!("{KEY}{name}"))? {
            return Ok(Some(text.to_owned()));
        }
        let pairs = files.metadata().iter();
        let names: Vec<&str> = pairs.filter_map(|(key, _)| key.strip_prefix(KEY)).collect();
        let here = match names.is_empty() {
            true => "it has only its usual one".to_owned(),
            false => format!("it has {}", names.join(", ")),
        };
        let message = format!(
            "this model has no chat template named {name}: {here}; for a file, give its path from the folder of ingle.toml"
        );
        Err(Usage(message).into())
    }

    /// With beginnings of texts on disk.
    #[must_use]
    pub fn keeping(mut self, prefixes: Option<PrefixStore>) -> Self {
        self.prefixes = prefixes;
        self
    }

    /// A budget counts the page cache too: it is given back where somebody set one.
    fn cache(&self) -> CachePolicy {
        if self.memory.is_some() {
            CachePolicy::Release
        } else {
            CachePolicy::Keep
        }
    }

    fn options(&self) -> anyhow::Result<Options> {
        let measured = Memory::measure().map(|m| m.available);
        let house = self.house.as_ref().map(|(_, memory)| *memory);
        let free = match (house.or(self.memory), measured) {
            // It is the budget's business what is free.
            (Some(memory), _) if house.is_some() => memory,
            (Some(limit), Some(free)) => limit.min(free),
            (Some(limit), None) => limit,
            (None, Some(free)) => free.saturating_sub(margin(free)),
            (None, None) => {
                let message = "this system does not say how much memory is free; give a limit, as --memory 6GiB";
                return Err(Usage(message.into()).into());
            }
        };
        Ok(Options {
            threads: self.machine.threads(),
            isa: self.machine.isa().0,
            memory: free,
            reads: Some(ReadSetup::default()),
            shared: self.house.as_ref().map(|(shared, _)| shared.clone()),
            load: LoadOptions {
                context: self.ctx,
                kv: self.kv.kind(),
                pooling: self.pooling,
                max_stall: self.max_stall.or(LoadOptions::default().max_stall),
                max_guesses: match self.speculate {
                    Speculate::Off if self.draft.is_none() => 0,
                    Speculate::Off => LoadOptions::default().max_guesses,
                    Speculate::Ngram => LoadOptions::default().max_guesses,
                },
                ..LoadOptions::default()
            },
        })
    }
}

/// What is left of free memory where nobody set a budget: other programs go on working.
fn margin(free: u64) -> u64 {
    (free / 16).clamp(64 << 20, 1 << 30)
}

/// Shown where loading takes so long that a person would wonder.
fn progress_bar(total: u64) -> ProgressBar {
    /// Read in well under a second.
    const SOON: u64 = 64 << 20;
    let target = if total < SOON {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template = "loading {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The name of a type.
fn quant(name: &str) -> Result<Recipe, String> {
    Recipe::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Recipe::ALL.into_iter().map(Recipe::name).collect();
        format!("it is one of {}", names.join(", "))
    })
}

/// `6GiB`, `800MB`, `4G` (binary, as people mean it), `123456789`.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write it as 6GiB, 800MB or a number of bytes");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit: u64 = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    if bytes >= 1.0 && bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("6GiB"), Ok(6 << 30));
        assert_eq!(size("6g"), Ok(6 << 30));
        assert_eq!(size("1.5 MiB"), Ok(3 << 19));
        assert_eq!(size("800MB"), Ok(800_000_000));
        assert_eq!(size("4096"), Ok(4096));
        for wrong in ["", "GiB", "-1", "0", "1XB", "nan", "1e40GiB", "é"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_built_in_model_can_be_opened() {
        let files = built_in_files().unwrap();
        // A dense network whose output matrix is its embedding: a token needs all of it.
        assert_eq!(TokenWork::of(&files).bytes(), files.weight_bytes());
        assert!(files.metadata().get("tokenizer.ggml.tokens").is_some());
    }
}

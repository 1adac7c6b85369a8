//! What can be asked: a model at a provider, or a pool of them; and what it can do and costs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Misfit;
use super::settings::{Provider, RemoteModel, SettingsError, check_name};
use crate::chat::{Part, Request};
use crate::ledger::{Money, Prices};

/// Tokens that a provider writes around a conversation at most, beside those around each message.
const TOKENS_AROUND: u64 = 1024;
/// Tokens around a message or a tool.
const TOKENS_BESIDE: u64 = 16;
/// Upstreams of one pool.
const MOST_UPSTREAMS: usize = 256;

/// A pool of upstreams that have the same model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Its name.
    pub name: String,
    /// Its upstreams, each as `PROVIDER/MODEL`.
    pub upstreams: Vec<String>,
    /// Whether a conversation goes where its beginning was before.
    pub affinity: bool,
    /// How much of an even share an upstream may have for the sake of that, in percent.
    pub most_load: u32,
    /// How often the health of its upstreams is looked at while it is used; none: not at all.
    pub check_every: Option<Duration>,
}

impl PoolSettings {
    /// A pool with what is usual: affinity, a quarter above the share, a look every 15 s.
    #[must_use]
    pub fn new(name: &str, upstreams: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            upstreams,
            affinity: true,
            most_load: 125,
            check_every: Some(Duration::from_secs(15)),
        }
    }
}

/// A model at a provider, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) site: usize,
    pub(super) model: usize,
}

/// What can be asked, with what all its upstreams can do and the dearest price of each kind.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) name: String,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) pool: Option<PoolSettings>,
    model: RemoteModel,
}

impl Target {
    /// `PROVIDER/MODEL`, or the pool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a pool.
    #[must_use]
    pub fn is_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// What it can do and costs: of a pool, what all can, and the dearest of each price.
    #[must_use]
    pub fn model(&self) -> &RemoteModel {
        &self.model
    }

    /// What it costs; of a pool, the dearest of each kind.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.model.prices
    }

    /// Tokens that the answer to `request` may have: what it asks for, as far as the model gives so many;
    /// where it says nothing, what is usual.
    #[must_use]
    pub fn most_output(&self, request: &Request) -> u32 {
        let wanted = request.max_tokens.unwrap_or(self.model.usual_output);
        wanted.clamp(1, self.model.max_output)
    }

    /// Tokens that `request` can have at most, however they are counted: no more than bytes, some around
    /// them, and never more than the model takes.
    #[must_use]
    pub fn most_input(&self, request: &Request) -> u64 {
        let texts = request.texts();
        let bytes: u64 = texts.iter().map(|text| text.text.len() as u64).sum();
        let parts = request.messages.iter().flat_map(|message| &message.parts);
        let images = parts.filter(|part| matches!(part, Part::Image(_))).count() as u64;
        let beside = (request.messages.len() as u64)
            .saturating_add(texts.len() as u64)
            .saturating_mul(TOKENS_BESIDE);
        bytes
            .saturating_add(images.saturating_mul(u64::from(self.model.image_tokens)))
            .saturating_add(beside)
            .saturating_add(TOKENS_AROUND)
            .min(u64::from(self.model.context))
    }

    /// The most that `request` can cost.
    #[must_use]
    pub fn most_cost(&self, request: &Request) -> Money {
        let (input, output) = (self.most_input(request), self.most_output(request));
        self.model.prices.most(input, u64::from(output))
    }

    /// Whether the model can do what the request wants. A text is not counted here but guessed, at eight
    /// bytes a token, which few are: what is refused is surely too long, and what is not may be.
    ///
    /// # Errors
    /// The first thing that it cannot.
    pub fn can(&self, request: &Request) -> Result<(), Misfit> {
        const BYTES_A_TOKEN: u64 = 8;
        if request.wants_tools() && !self.model.tools {
            return Err(Misfit::Tools);
        }
        if request.has_images() && !self.model.images {
            return Err(Misfit::Images);
        }
        let texts = request.texts();
        let bytes: u64 = texts.iter().map(|text| text.text.len() as u64).sum();
        let output = u64::from(self.most_output(request));
        let needed = (bytes / BYTES_A_TOKEN).saturating_add(output);
        let context = u64::from(self.model.context);
        match needed > context {
            true => Err(Misfit::Context { needed, context }),
            false => Ok(()),
        }
    }
}

/// Whether `pool` can be, with these providers: what could be asked under its name.
///
/// # Errors
/// What is wrong with it.
pub fn check_pool(providers: &[Provider], pool: PoolSettings) -> Result<Target, SettingsError> {
    pooled(pool, &targets(providers, Vec::new())?)
}

/// All that can be asked, by name.
pub(super) fn targets(
    providers: &[Provider],
    pools: Vec<PoolSettings>,
) -> Result<BTreeMap<String, Target>, SettingsError> {
    let mut targets = BTreeMap::new();
    for (site, provider) in providers.iter().enumerate() {
        for (model, remote) in provider.models().iter().enumerate() {
            let name = format!("{}/{}", provider.name(), remote.name);
            let target = Target {
                name: name.clone(),
                upstreams: vec![Upstream { site, model }],
                pool: None,
                model: remote.clone(),
            };
            if targets.insert(name, target).is_some() {
                let name = provider.name();
                return Err(SettingsError::new(
                    "name",
                    format!("there are two providers `{name}`"),
                ));
            }
        }
    }
    for pool in pools {
        let target = pooled(pool, &targets)?;
        if targets.contains_key(&target.name) {
            let name = &target.name;
            return Err(SettingsError::new(
                "name",
                format!("there are two pools `{name}`"),
            ));
        }
        targets.insert(target.name.clone(), target);
    }
    Ok(targets)
}

fn pooled(pool: PoolSettings, there: &BTreeMap<String, Target>) -> Result<Target, SettingsError> {
    check_name("name", &pool.name)?;
    if pool.upstreams.is_empty() || pool.upstreams.len() > MOST_UPSTREAMS {
        let message = format!("name 1 to {MOST_UPSTREAMS}, each as \"PROVIDER/MODEL\"");
        return Err(SettingsError::new("upstreams", message));
    }
    if !(100..=1000).contains(&pool.most_load) {
        let message = "from 100 (an even share) to 1000 percent";
        return Err(SettingsError::new("most_load", message));
    }
    let short = pool
        .check_every
        .is_some_and(|every| every < Duration::from_secs(1));
    if short {
        return Err(SettingsError::new(
            "check_every",
            "at least one second, or \"never\"",
        ));
    }
    let mut model: Option<RemoteModel> = None;
    let mut upstreams = Vec::new();
    for name in &pool.upstreams {
        let found = there.get(name).filter(|target| target.pool.is_none());
        let found = found.ok_or_else(|| {
            let message = format!("there is no `{name}`; give a provider and one of its models");
            SettingsError::new("upstreams", message)
        })?;
        let new = found
            .upstreams
            .iter()
            .filter(|one| !upstreams.contains(*one));
        upstreams.extend(new.copied().collect::<Vec<_>>());
        model = Some(match model {
            None => found.model.clone(),
            Some(model) => both(model, &found.model)?,
        });
    }
    let model = model.ok_or_else(|| SettingsError::new("upstreams", "name at least one"))?;
    Ok(Target {
        name: pool.name.clone(),
        upstreams,
        pool: Some(pool),
        model,
    })
}

/// What two models both can, and the dearest of their prices.
fn both(a: RemoteModel, b: &RemoteModel) -> Result<RemoteModel, SettingsError> {
    if a.prices.currency != b.prices.currency {
        let message = "they ask for money in different currencies";
        return Err(SettingsError::new("upstreams", message));
    }
    let max_output = a.max_output.min(b.max_output);
    Ok(RemoteModel {
        context: a.context.min(b.context),
        max_output,
        usual_output: a.usual_output.min(b.usual_output).min(max_output),
        tools: a.tools && b.tools,
        images: a.images && b.images,
        image_tokens: a.image_tokens.max(b.image_tokens),
        prices: Prices {
            currency: a.prices.currency,
            input: a.prices.input.max(b.prices.input),
            cached_input: a.prices.cached_input.max(b.prices.cached_input),
            cache_write: a.prices.cache_write.max(b.prices.cache_write),
            output: a.prices.output.max(b.prices.output),
            // The day up to which both are known.
            dated: a.prices.dated.clone().min(b.prices.dated.clone()),
        },
        name: a.name,
        thinking: a.thinking,
    })
}

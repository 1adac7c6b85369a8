//! What a configuration says of a provider, checked.

use std::fmt;
use std::time::Duration;

use ingle_egress::{Authorities, EgressError, Endpoint, Origin, Purpose, Token, Url, parse_url};

use super::breaker::BreakerSettings;
use super::retry::Retries;
use crate::ledger::Prices;

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions, as many providers have them.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Another Ingle: OpenAI's with what Ingle adds.
    Ingle,
    /// vLLM: OpenAI's with what vLLM adds.
    Vllm,
}

impl Dialect {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Ingle, Self::Vllm];

    /// As ingle.toml spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Ingle => "ingle",
            Self::Vllm => "vllm",
        }
    }

    /// The dialect of that name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.word() == word)
    }

    /// Whether it is a server of one's own, which asks for no money and knows what vLLM knows.
    #[must_use]
    pub fn is_own(self) -> bool {
        matches!(self, Self::Ingle | Self::Vllm)
    }
}

/// A key. It is shown nowhere: not by `Debug`, not in an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key, without the white space around it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A provider's key, as the binary found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// None is wanted.
    None,
    /// One is wanted and was not found: why, and what to do.
    Missing(String),
    /// Here it is.
    Given(Secret),
}

/// How a request says how many tokens an answer may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitField {
    /// `max_completion_tokens`, which OpenAI's newer models want.
    MaxCompletionTokens,
    /// `max_tokens`, which everybody else knows.
    MaxTokens,
}

/// How a model is asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// It is not: what a request says of it is not sent.
    No,
    /// By how hard it is to try.
    Effort,
    /// By how many tokens it may think.
    Budget,
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteModel {
    /// Its name there.
    pub name: String,
    /// Tokens of prompt and answer together at most.
    pub context: u32,
    /// Tokens of an answer at most.
    pub max_output: u32,
    /// Tokens of an answer at most where the request says nothing.
    pub usual_output: u32,
    /// Whether it calls tools.
    pub tools: bool,
    /// Whether it sees images.
    pub images: bool,
    /// Tokens that an image takes at most.
    pub image_tokens: u32,
    /// Whether and how it is asked to think.
    pub thinking: Thinking,
    /// What it costs.
    pub prices: Prices,
}

impl RemoteModel {
    /// Whether it asks for no money.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let Prices {
            input,
            cached_input,
            cache_write,
            output,
            ..
        } = self.prices;
        [input, cached_input, cache_write, output] == [0; 4]
    }
}

/// Patience, phase by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For each of look-up, connection and TLS.
    pub connect: Duration,
    /// From the request to the first piece of its answer.
    pub first: Duration,
    /// From one piece to the next.
    pub between: Duration,
    /// For everything, all tries together.
    pub whole: Duration,
}

impl Default for Timeouts {
    /// 10 s to connect, 2 minutes to the first piece, 1 minute between pieces, 15 minutes on the whole.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first: Duration::from_secs(120),
            between: Duration::from_secs(60),
            whole: Duration::from_secs(900),
        }
    }
}

/// What a configuration says of a provider, not checked yet.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its name here.
    pub name: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Where, as its own documentation says it: `https://api.openai.com/v1`, `https://api.anthropic.com`.
    pub base_url: String,
    /// Its key.
    pub key: Key,
    /// Who alone vouches for it; none: those of the system.
    pub authorities: Option<Authorities>,
    /// Whether its host may lie on a private address although its name does not say so.
    pub private: bool,
    /// Whether it is asked for answers piece by piece.
    pub stream: bool,
    /// How the length of an answer is limited; none: as the dialect usually does.
    pub limit_field: Option<LimitField>,
    /// Whether it is asked to keep prompts (Anthropic: marks for its cache).
    pub prompt_cache: bool,
    /// Requests at a time at most.
    pub concurrent: u32,
    /// Patience.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retries: Retries,
    /// When it is left alone.
    pub breaker: BreakerSettings,
    /// Its models.
    pub models: Vec<RemoteModel>,
}

impl ProviderSettings {
    /// A provider with what is usual, and no models yet.
    #[must_use]
    pub fn new(name: &str, dialect: Dialect, base_url: &str) -> Self {
        Self {
            name: name.to_owned(),
            dialect,
            base_url: base_url.to_owned(),
            key: Key::None,
            authorities: None,
            private: false,
            stream: true,
            limit_field: None,
            prompt_cache: false,
            concurrent: 256,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            breaker: BreakerSettings::default(),
            models: Vec::new(),
        }
    }
}

/// Something in a configuration that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}`{key}`: {message}", model.as_ref().map(|m| format!("model `{m}`: ")).unwrap_or_default())]
pub struct SettingsError {
    /// The model it is about, where it is about one.
    pub model: Option<String>,
    /// The key as in ingle.toml.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl SettingsError {
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self {
            model: None,
            key,
            message: message.into(),
        }
    }

    fn of(model: &RemoteModel, key: &'static str, message: impl Into<String>) -> Self {
        Self {
            model: Some(model.name.clone()),
            ..Self::new(key, message)
        }
    }
}

/// The longest name of a provider, a pool or a model.
const MOST_NAME: usize = 128;
/// Models of one provider.
const MOST_MODELS: usize = 1000;

/// A provider whose configuration was checked.
#[derive(Debug, Clone)]
pub struct Provider {
    pub(super) settings: ProviderSettings,
    base: Url,
    endpoint: Endpoint,
    token: Option<Token>,
}

impl Provider {
    /// Checks what was configured.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn new(settings: ProviderSettings) -> Result<Self, SettingsError> {
        check_name("name", &settings.name)?;
        let base = base_url(&settings.base_url)?;
        let wrong = |error: EgressError| {
            let message = match error {
                EgressError::ClearText { .. } => {
                    "http is for this machine and private networks; use https, or `private = true` where the name leads into your own network".to_owned()
                }
                other => other.to_string(),
            };
            SettingsError::new("base_url", message)
        };
        let origin = Origin::of(&base).map_err(wrong)?;
        let endpoint = Endpoint::configured(Purpose::Provider, origin.clone(), settings.private);
        let endpoint = match settings.authorities.clone() {
            Some(own) => endpoint.map_err(wrong)?.vouched_for_by(own),
            None => endpoint.map_err(wrong)?,
        };
        let wants_key = settings.key != Key::None;
        if wants_key && !origin.is_tls() && !origin.is_loopback() {
            let message =
                "it is http, by which a key could be read on its way; use https, or no key";
            return Err(SettingsError::new("base_url", message));
        }
        if settings.prompt_cache && settings.dialect != Dialect::Anthropic {
            let message =
                "only the dialect `anthropic` asks for it; others keep prompts by themselves";
            return Err(SettingsError::new("prompt_cache", message));
        }
        check_numbers(&settings)?;
        check_models(&settings)?;
        let token = token(&settings, origin)?;
        Ok(Self {
            settings,
            base,
            endpoint,
            token,
        })
    }

    /// Its name here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How it is spoken to.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.settings.dialect
    }

    /// Its models.
    #[must_use]
    pub fn models(&self) -> &[RemoteModel] {
        &self.settings.models
    }

    /// Its line of the door's allow-list.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Where answers are asked for.
    pub(super) fn chat_url(&self) -> Url {
        match self.settings.dialect {
            Dialect::Anthropic => self.below("messages"),
            Dialect::OpenAi | Dialect::Ingle | Dialect::Vllm => self.below("chat/completions"),
        }
    }

    /// Where it says that it is there: a server of one's own at `/health`, others by listing their models.
    pub(super) fn health_url(&self) -> Url {
        if !self.settings.dialect.is_own() {
            return self.below("models");
        }
        let mut url = self.base.clone();
        let before = url.path().trim_end_matches('/').to_owned();
        let before = before.strip_suffix("/v1").unwrap_or(&before);
        url.set_path(&format!("{before}/health"));
        url
    }

    /// A path below the base. Where that does not name a version, it is the first.
    fn below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let before = url.path().trim_end_matches('/').to_owned();
        let versioned = !before.is_empty()
            && (self.settings.dialect != Dialect::Anthropic || before.ends_with("/v1"));
        let version = if versioned { "" } else { "/v1" };
        url.set_path(&format!("{before}{version}/{path}"));
        url
    }

    pub(super) fn limit_field(&self) -> LimitField {
        let usual = match self.settings.dialect {
            Dialect::OpenAi => LimitField::MaxCompletionTokens,
            Dialect::Anthropic | Dialect::Ingle | Dialect::Vllm => LimitField::MaxTokens,
        };
        self.settings.limit_field.unwrap_or(usual)
    }
}

/// A name by which targets are asked for: `PROVIDER/MODEL`, or a pool's.
pub(super) fn check_name(key: &'static str, name: &str) -> Result<(), SettingsError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !name.is_empty() && name.len() <= MOST_NAME && name.chars().all(plain) {
        true => Ok(()),
        false => Err(SettingsError::new(
            key,
            format!("a name has 1 to {MOST_NAME} letters, digits, `-`, `_` or `.`"),
        )),
    }
}

fn base_url(text: &str) -> Result<Url, SettingsError> {
    let wrong = |message: String| SettingsError::new("base_url", message);
    let url = parse_url(text).map_err(|error| wrong(error.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("leave out what follows `?` or `#`".into()));
    }
    if url
        .path()
        .trim_end_matches('/')
        .ends_with("/chat/completions")
        || url.path().trim_end_matches('/').ends_with("/messages")
    {
        return Err(wrong(
            "give it without the last part: `/chat/completions` or `/messages` is added".into(),
        ));
    }
    Ok(url)
}

fn check_numbers(settings: &ProviderSettings) -> Result<(), SettingsError> {
    const DAY: Duration = Duration::from_secs(86_400);
    let Timeouts {
        connect,
        first,
        between,
        whole,
    } = settings.timeouts;
    for (key, time) in [
        ("connect_timeout", connect),
        ("first_timeout", first),
        ("between_timeout", between),
        ("timeout", whole),
    ] {
        if time.is_zero() || time > DAY {
            return Err(SettingsError::new(
                key,
                "must be more than 0 and at most a day",
            ));
        }
    }
    if settings.concurrent == 0 {
        return Err(SettingsError::new("concurrent", "must be at least 1"));
    }
    if settings.retries.times > 10 {
        return Err(SettingsError::new("retries", "at most 10"));
    }
    Ok(())
}

fn check_models(settings: &ProviderSettings) -> Result<(), SettingsError> {
    let models = &settings.models;
    if models.is_empty() || models.len() > MOST_MODELS {
        let name = &settings.name;
        return Err(SettingsError::new(
            "models",
            format!("name 1 to {MOST_MODELS} models, each as [providers.{name}.models.\"NAME\"]"),
        ));
    }
    for (i, model) in models.iter().enumerate() {
        let plain = |c: char| !c.is_control() && !c.is_whitespace();
        let name = &model.name;
        if name.is_empty() || name.len() > MOST_NAME || !name.chars().all(plain) {
            let message = format!("a model's name has 1 to {MOST_NAME} letters and no spaces");
            return Err(SettingsError::of(model, "models", message));
        }
        if models.iter().take(i).any(|other| other.name == *name) {
            return Err(SettingsError::of(model, "models", "it is there twice"));
        }
        if model.context < 2 {
            return Err(SettingsError::of(
                model,
                "context",
                "must be at least 2 tokens",
            ));
        }
        if model.max_output == 0 || model.max_output > model.context {
            let message = "must be at least 1 and at most the context";
            return Err(SettingsError::of(model, "max_output", message));
        }
        if model.usual_output == 0 || model.usual_output > model.max_output {
            let message = "must be at least 1 and at most max_output";
            return Err(SettingsError::of(model, "usual_output", message));
        }
        check_prices(model)?;
    }
    Ok(())
}

fn check_prices(model: &RemoteModel) -> Result<(), SettingsError> {
    let prices = &model.prices;
    for (key, price) in [
        ("input", prices.input),
        ("cached_input", prices.cached_input),
        ("cache_write", prices.cache_write),
        ("output", prices.output),
    ] {
        if price < 0 {
            return Err(SettingsError::of(model, key, "a price is not negative"));
        }
    }
    if !model.is_free() && prices.dated.is_empty() {
        let message = "say on which day the prices were looked up, as \"2026-11-01\"";
        return Err(SettingsError::of(model, "price_date", message));
    }
    Ok(())
}

/// The key, bound to the origin.
fn token(settings: &ProviderSettings, origin: Origin) -> Result<Option<Token>, SettingsError> {
    let Key::Given(secret) = &settings.key else {
        return Ok(None);
    };
    let token = match settings.dialect {
        Dialect::Anthropic => Token::in_header(origin, "x-api-key", secret.reveal()),
        Dialect::OpenAi | Dialect::Ingle | Dialect::Vllm => Token::new(origin, secret.reveal()),
    };
    let token = token.map_err(|error| SettingsError::new("key", error.to_string()))?;
    Ok(Some(token))
}

//! `[providers.NAME]` and `[pools.NAME]`: who may be asked beyond this machine, and what that costs.

use super::document::{Fault, Placed, Source, Table, Value, nearest};
use super::{Config, unknown};
use ingle_egress::Authorities;
use ingle_gateway::ledger::{Currency, Money, Prices};
use ingle_gateway::provider::{
    self, Dialect, Key, LimitField, PoolSettings, Provider, ProviderSettings, RemoteModel,
    SettingsError, Thinking,
};
use std::path::PathBuf;
use std::time::Duration;

/// A provider of the file. Its key is not in it, only where that lies.
#[derive(Debug)]
pub struct ProviderEntry {
    pub settings: ProviderSettings,
    pub key: KeyPlace,
    /// The line on which it begins.
    pub line: usize,
}

/// Where a provider's key lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// It wants none.
    None,
    /// In this variable of the environment.
    Variable(String),
    /// In this file, which its owner alone can read.
    File(PathBuf),
}

/// A pool of the file.
#[derive(Debug)]
pub struct PoolEntry {
    pub settings: PoolSettings,
    pub line: usize,
    /// Where in the file it begins, for what is wrong with it.
    at: usize,
}

/// Keys of `[providers.NAME]`.
const KEYS: [&str; 21] = [
    "dialect",
    "base_url",
    "key_env",
    "key_file",
    "authority",
    "private",
    "stream",
    "limit_field",
    "prompt_cache",
    "concurrent",
    "connect_timeout",
    "first_timeout",
    "between_timeout",
    "timeout",
    "retries",
    "retry_wait",
    "failures",
    "rest",
    "currency",
    "price_date",
    "models",
];
/// Keys of `[providers.NAME.models.MODEL]`.
const MODEL_KEYS: [&str; 13] = [
    "context",
    "max_output",
    "usual_output",
    "tools",
    "images",
    "image_tokens",
    "thinking",
    "free",
    "input",
    "cached_input",
    "cache_write",
    "output",
    "price_date",
];
/// Keys of `[pools.NAME]`.
const POOL_KEYS: [&str; 4] = ["upstreams", "affinity", "most_load", "check_every"];

/// Tokens of an answer where nothing is said of them: few enough for every model.
const USUAL_OUTPUT: u32 = 4096;
/// Tokens of an image where nothing is said: more than any provider counts for one.
const IMAGE_TOKENS: u32 = 50_000;

/// Reads `[providers]`.
pub(super) fn read(
    table: Table,
    source: &Source<'_>,
    config: &mut Config,
    faults: &mut Vec<Fault>,
) {
    let folder = config.path.as_deref().and_then(|path| path.parent());
    let folder = folder.map(PathBuf::from).unwrap_or_default();
    each("providers", table, source, faults, |reader, name, table| {
        let Some(entry) = reader.provider(name, table, &folder) else {
            return;
        };
        if !reader.faults.is_empty() {
            return;
        }
        match checked(&entry) {
            Ok(()) => config.providers.push(entry),
            Err(error) => reader.faults.push(reader.misfit(name.at, &error)),
        }
    });
}

/// Reads each `[SECTION.NAME]` with a reader of its own, which says what is wrong in it.
fn each(
    section: &str,
    table: Table,
    source: &Source<'_>,
    faults: &mut Vec<Fault>,
    mut read: impl FnMut(&mut Reader<'_>, &Placed<String>, Table),
) {
    for (name, value) in table {
        let mut reader = Reader {
            source,
            places: Vec::new(),
            faults: Vec::new(),
            section: format!("{section}.{}", name.it),
        };
        match value.it {
            Value::Table(table) => read(&mut reader, &name, table),
            other => {
                let message = format!("`{}` must be a table, not {}", reader.section, other.kind());
                reader.wrong(name.at, message);
            }
        }
        faults.append(&mut reader.faults);
    }
}

/// Whether the gateway takes it, whatever the key may be.
fn checked(entry: &ProviderEntry) -> Result<(), SettingsError> {
    let mut settings = entry.settings.clone();
    if entry.key != KeyPlace::None {
        settings.key = Key::Missing(String::new());
    }
    Provider::new(settings).map(drop)
}

/// Reads `[pools]`.
pub(super) fn read_pools(
    table: Table,
    source: &Source<'_>,
    config: &mut Config,
    faults: &mut Vec<Fault>,
) {
    each("pools", table, source, faults, |reader, name, table| {
        let settings = reader.pool(&name.it, table);
        if reader.faults.is_empty() {
            let (line, _) = source.place(name.at);
            let at = name.at;
            config.pools.push(PoolEntry { settings, line, at });
        }
    });
}

/// What is wrong with pools once all providers are known.
pub(super) fn check_pools(source: &Source<'_>, config: &Config) -> Vec<Fault> {
    let known = config.providers.iter().filter_map(|entry| {
        let mut settings = entry.settings.clone();
        settings.key = Key::None;
        Provider::new(settings).ok()
    });
    let known: Vec<Provider> = known.collect();
    let wrong = config.pools.iter().filter_map(|pool| {
        let error = provider::check_pool(&known, pool.settings.clone()).err()?;
        let message = format!("[pools.{}] {error}", pool.settings.name);
        Some(source.fault(pool.at, message))
    });
    wrong.collect()
}

/// Reads one table, and remembers where each of its keys stands.
struct Reader<'a> {
    source: &'a Source<'a>,
    /// Model, key, place.
    places: Vec<(Option<String>, String, usize)>,
    faults: Vec<Fault>,
    section: String,
}

impl Reader<'_> {
    fn wrong(&mut self, at: usize, message: String) {
        self.faults.push(self.source.fault(at, message));
    }

    /// What the gateway says, at the key that it is about.
    fn misfit(&self, at: usize, error: &SettingsError) -> Fault {
        let is_it = |(model, key, _): &&(Option<String>, String, usize)| {
            *model == error.model && key == error.key
        };
        let place = self.places.iter().find(is_it).or_else(|| {
            let of_model = |(model, key, _): &&(Option<String>, String, usize)| {
                *model == error.model && key.is_empty()
            };
            self.places.iter().find(of_model)
        });
        let at = place.map_or(at, |(.., at)| *at);
        self.source.fault(at, format!("[{}] {error}", self.section))
    }

    fn known(&mut self, model: Option<&str>, name: &Placed<String>, keys: &[&'static str]) -> bool {
        self.places
            .push((model.map(str::to_owned), name.it.clone(), name.at));
        if keys.contains(&name.it.as_str()) {
            return true;
        }
        let near = nearest(&name.it, keys.iter().copied());
        let what = format!("key in [{}]:", self.section);
        self.wrong(name.at, unknown(&what, &name.it, near));
        false
    }

    fn text(&mut self, name: &str, value: &Placed<Value>) -> Option<String> {
        match &value.it {
            Value::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            other => {
                let message = format!("`{name}` must be a text, not {}", other.kind());
                self.wrong(value.at, message);
                None
            }
        }
    }

    fn switch(&mut self, name: &str, value: &Placed<Value>) -> Option<bool> {
        match &value.it {
            Value::Bool(on) => Some(*on),
            other => {
                let message = format!("`{name}` must be true or false, not {}", other.kind());
                self.wrong(value.at, message);
                None
            }
        }
    }

    fn number(&mut self, name: &str, value: &Placed<Value>) -> Option<u32> {
        match &value.it {
            Value::Number(text) if text.parse::<u32>().is_ok() => text.parse().ok(),
            _ => {
                let message = format!("`{name}` must be a whole number from 0 to {}", u32::MAX);
                self.wrong(value.at, message);
                None
            }
        }
    }

    /// A time as in `90`, `90s`, `5m`; `never` is none.
    fn time(&mut self, name: &str, value: &Placed<Value>) -> Option<Option<Duration>> {
        let text = match &value.it {
            Value::Number(text) | Value::Text(text) => text.clone(),
            other => {
                let message = format!("`{name}` must be a time, not {}", other.kind());
                self.wrong(value.at, message);
                return None;
            }
        };
        if text == "never" {
            return Some(None);
        }
        match crate::keep_alive::parse(&text) {
            Ok(Some(time)) => Some(Some(time)),
            Ok(None) => {
                self.wrong(value.at, format!("`{name}` must be a time, as \"30s\""));
                None
            }
            Err(why) => {
                self.wrong(value.at, format!("`{name}`: {why}"));
                None
            }
        }
    }

    fn some_time(&mut self, name: &str, value: &Placed<Value>, into: &mut Duration) {
        match self.time(name, value) {
            Some(Some(time)) => *into = time,
            Some(None) => self.wrong(value.at, format!("`{name}` must be a time, as \"30s\"")),
            None => {}
        }
    }

    fn day(&mut self, name: &str, value: &Placed<Value>) -> Option<String> {
        let text = match &value.it {
            Value::Date(text) | Value::Text(text) => text.trim().to_owned(),
            _ => String::new(),
        };
        if is_day(&text) {
            return Some(text);
        }
        self.wrong(
            value.at,
            format!("`{name}` must be a day, as \"2026-11-01\""),
        );
        None
    }

    fn provider(
        &mut self,
        name: &Placed<String>,
        table: Table,
        folder: &std::path::Path,
    ) -> Option<ProviderEntry> {
        let (line, _) = self.source.place(name.at);
        let dialect = self.dialect(name, &table)?;
        let usual_url = match dialect {
            Dialect::OpenAi => "https://api.openai.com/v1",
            Dialect::Anthropic => "https://api.anthropic.com",
            Dialect::Ingle | Dialect::Vllm => "",
        };
        let mut entry = ProviderEntry {
            settings: ProviderSettings::new(&name.it, dialect, usual_url),
            key: KeyPlace::None,
            line,
        };
        let (mut models, mut prices) = (None, Pricing::new());
        for (key, value) in table {
            if !self.known(None, &key, &KEYS) {
                continue;
            }
            match key.it.as_str() {
                "models" => models = Some((key.at, value)),
                "currency" => {
                    let text = self.text("currency", &value).unwrap_or_default();
                    match text.parse() {
                        Ok(currency) => prices.currency = currency,
                        Err(_) if text.is_empty() => {}
                        Err(why) => self.wrong(value.at, format!("`currency`: {why}")),
                    }
                }
                "price_date" => prices.dated = self.day("price_date", &value).unwrap_or_default(),
                _ => self.provider_key(&key, &value, &mut entry, folder),
            }
        }
        let breaker = &mut entry.settings.breaker;
        breaker.most_rest = breaker.most_rest.max(breaker.rest);
        if entry.settings.base_url.is_empty() {
            let word = dialect.word();
            self.wrong(name.at, format!("[{}] `base_url` is missing: say where this {word} is, as \"http://127.0.0.1:8000/v1\"", self.section));
        }
        match models {
            Some((
                _,
                Placed {
                    it: Value::Table(models),
                    ..
                },
            )) => {
                for (model, value) in models {
                    let model = self.model(&model, value, dialect, &prices);
                    entry.settings.models.extend(model);
                }
            }
            Some((at, other)) => {
                let kind = other.it.kind();
                self.wrong(
                    at,
                    format!(
                        "`models` must be tables, each as [{}.models.\"NAME\"], not {kind}",
                        self.section
                    ),
                );
            }
            None => {}
        }
        Some(entry)
    }

    fn dialect(&mut self, name: &Placed<String>, table: &Table) -> Option<Dialect> {
        let words = Dialect::ALL.map(Dialect::word).join(", ");
        let Some((_, value)) = table.iter().find(|(key, _)| key.it == "dialect") else {
            let section = &self.section;
            let message = format!("[{section}] `dialect` is missing: one of {words}");
            self.wrong(name.at, message);
            return None;
        };
        let word = self.text("dialect", value)?;
        let dialect = Dialect::of_word(&word);
        if dialect.is_none() {
            self.wrong(value.at, format!("`dialect` must be one of {words}"));
        }
        dialect
    }

    fn provider_key(
        &mut self,
        key: &Placed<String>,
        value: &Placed<Value>,
        entry: &mut ProviderEntry,
        folder: &std::path::Path,
    ) {
        let settings = &mut entry.settings;
        let times = &mut settings.timeouts;
        let name = key.it.as_str();
        match name {
            "base_url" => settings.base_url = self.text(name, value).unwrap_or_default(),
            "key_env" | "key_file" => {
                let Some(text) = self.text(name, value) else {
                    return;
                };
                if entry.key != KeyPlace::None {
                    self.wrong(key.at, "give `key_env` or `key_file`, not both".to_owned());
                }
                entry.key = match name {
                    "key_env" => KeyPlace::Variable(text),
                    _ => KeyPlace::File(folder.join(text)),
                };
            }
            "authority" => settings.authorities = self.authorities(value, folder),
            "private" => settings.private = self.switch(name, value).unwrap_or_default(),
            "stream" => settings.stream = self.switch(name, value).unwrap_or_default(),
            "prompt_cache" => settings.prompt_cache = self.switch(name, value).unwrap_or_default(),
            "limit_field" => {
                settings.limit_field = match self.text(name, value).as_deref() {
                    Some("max_tokens") => Some(LimitField::MaxTokens),
                    Some("max_completion_tokens") => Some(LimitField::MaxCompletionTokens),
                    _ => {
                        let message =
                            "`limit_field` must be \"max_tokens\" or \"max_completion_tokens\"";
                        self.wrong(value.at, message.to_owned());
                        None
                    }
                };
            }
            "concurrent" => settings.concurrent = self.number(name, value).unwrap_or(1),
            "retries" => settings.retries.times = self.number(name, value).unwrap_or_default(),
            "failures" => settings.breaker.failures = self.number(name, value).unwrap_or(1),
            "connect_timeout" => self.some_time(name, value, &mut times.connect),
            "first_timeout" => self.some_time(name, value, &mut times.first),
            "between_timeout" => self.some_time(name, value, &mut times.between),
            "timeout" => self.some_time(name, value, &mut times.whole),
            "retry_wait" => self.some_time(name, value, &mut settings.retries.most),
            "rest" => self.some_time(name, value, &mut settings.breaker.rest),
            // `dialect`, which was read before.
            _ => {}
        }
    }

    /// The certificates in a PEM file.
    fn authorities(
        &mut self,
        value: &Placed<Value>,
        folder: &std::path::Path,
    ) -> Option<Authorities> {
        const MOST: u64 = 1 << 20;
        let path = folder.join(self.text("authority", value)?);
        let short = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= MOST);
        let read = match short {
            true => std::fs::read(&path).map_err(|error| error.to_string()),
            false => Err(format!("it is no file of at most {MOST} bytes")),
        };
        let read = read.and_then(|pem| Authorities::from_pem(&pem).map_err(|e| e.to_string()));
        let wrong = |why: &String| format!("`authority`: {}: {why}", path.display());
        let message = read.as_ref().err().map(wrong);
        if let Some(message) = message {
            self.wrong(value.at, message);
        }
        read.ok()
    }

    fn model(
        &mut self,
        name: &Placed<String>,
        value: Placed<Value>,
        dialect: Dialect,
        prices: &Pricing,
    ) -> Option<RemoteModel> {
        let section = format!("{}.models.\"{}\"", self.section, name.it);
        let Value::Table(table) = value.it else {
            let kind = value.it.kind();
            self.wrong(value.at, format!("[{section}] must be a table, not {kind}"));
            return None;
        };
        let before = std::mem::replace(&mut self.section, section);
        self.places
            .push((Some(name.it.clone()), String::new(), name.at));
        let mut draft = Draft::new(prices.clone());
        for (key, value) in table {
            if self.known(Some(&name.it), &key, &MODEL_KEYS) {
                self.model_key(&key.it, &value, &mut draft);
            }
        }
        let model = self.drafted(name, dialect, draft);
        self.section = before;
        model
    }

    fn model_key(&mut self, name: &str, value: &Placed<Value>, draft: &mut Draft) {
        match name {
            "context" => draft.context = self.number(name, value),
            "max_output" => draft.max_output = self.number(name, value),
            "usual_output" => draft.usual_output = self.number(name, value),
            "image_tokens" => draft.image_tokens = self.number(name, value).unwrap_or_default(),
            "tools" => draft.tools = self.switch(name, value).unwrap_or_default(),
            "images" => draft.images = self.switch(name, value).unwrap_or_default(),
            "free" => draft.prices.free = self.switch(name, value).unwrap_or_default(),
            "price_date" => draft.prices.dated = self.day(name, value).unwrap_or_default(),
            "thinking" => {
                draft.thinking = match &value.it {
                    Value::Text(text) if text == "effort" => Thinking::Effort,
                    Value::Text(text) if text == "budget" => Thinking::Budget,
                    Value::Bool(false) => Thinking::No,
                    _ => {
                        let message = "`thinking` must be \"effort\", \"budget\" or false";
                        self.wrong(value.at, message.to_owned());
                        Thinking::No
                    }
                };
            }
            _ => {
                let price = self.price(name, value, draft.prices.currency);
                let slot = match name {
                    "input" => &mut draft.prices.input,
                    "cached_input" => &mut draft.prices.cached_input,
                    "cache_write" => &mut draft.prices.cache_write,
                    _ => &mut draft.prices.output,
                };
                *slot = price;
            }
        }
    }

    /// Money for a million tokens.
    fn price(&mut self, name: &str, value: &Placed<Value>, currency: Currency) -> Option<i64> {
        let (Value::Number(text) | Value::Text(text)) = &value.it else {
            let kind = value.it.kind();
            self.wrong(
                value.at,
                format!("`{name}` must be money for a million tokens, as 2.50, not {kind}"),
            );
            return None;
        };
        match Money::parse(text, currency) {
            Ok(money) => Some(money.nanos),
            Err(why) => {
                self.wrong(value.at, format!("`{name}`: {why}"));
                None
            }
        }
    }

    fn drafted(
        &mut self,
        name: &Placed<String>,
        dialect: Dialect,
        draft: Draft,
    ) -> Option<RemoteModel> {
        let section = self.section.clone();
        let Some(context) = draft.context else {
            if !self
                .faults
                .iter()
                .any(|fault| fault.message.starts_with("`context`"))
            {
                self.wrong(name.at, format!("[{section}] `context` is missing: tokens of prompt and answer together that the model takes"));
            }
            return None;
        };
        let max_output = draft.max_output.unwrap_or(context.min(USUAL_OUTPUT));
        if draft.prices.free && (draft.prices.input.is_some() || draft.prices.output.is_some()) {
            self.wrong(
                name.at,
                format!("[{section}] it is `free` and has prices; leave one of them out"),
            );
            return None;
        }
        let Some(prices) = draft.prices.all(dialect) else {
            self.wrong(name.at, format!("[{section}] what it costs is missing: `input` and `output`, money for a million tokens; or `free = true`"));
            return None;
        };
        Some(RemoteModel {
            name: name.it.clone(),
            context,
            max_output,
            usual_output: draft.usual_output.unwrap_or(max_output.min(USUAL_OUTPUT)),
            tools: draft.tools,
            images: draft.images,
            image_tokens: draft.image_tokens,
            thinking: draft.thinking,
            prices,
        })
    }

    fn pool(&mut self, name: &str, table: Table) -> PoolSettings {
        let mut pool = PoolSettings::new(name, Vec::new());
        for (key, value) in table {
            if !self.known(None, &key, &POOL_KEYS) {
                continue;
            }
            match key.it.as_str() {
                "upstreams" => {
                    let Value::List(list) = &value.it else {
                        let message = "`upstreams` must be a list, as [\"PROVIDER/MODEL\"]";
                        self.wrong(value.at, message.to_owned());
                        continue;
                    };
                    let names = list.iter().filter_map(|item| self.text("upstreams", item));
                    pool.upstreams = names.collect();
                }
                "affinity" => pool.affinity = self.switch("affinity", &value).unwrap_or_default(),
                "most_load" => pool.most_load = self.number("most_load", &value).unwrap_or(100),
                _ => {
                    if let Some(time) = self.time("check_every", &value) {
                        pool.check_every = time;
                    }
                }
            }
        }
        pool
    }
}

/// A model on its way.
struct Draft {
    context: Option<u32>,
    max_output: Option<u32>,
    usual_output: Option<u32>,
    image_tokens: u32,
    tools: bool,
    images: bool,
    thinking: Thinking,
    prices: Pricing,
}

impl Draft {
    fn new(prices: Pricing) -> Self {
        Self {
            context: None,
            max_output: None,
            usual_output: None,
            image_tokens: IMAGE_TOKENS,
            tools: false,
            images: false,
            thinking: Thinking::No,
            prices,
        }
    }
}

/// Prices on their way.
#[derive(Clone)]
struct Pricing {
    currency: Currency,
    dated: String,
    free: bool,
    input: Option<i64>,
    cached_input: Option<i64>,
    cache_write: Option<i64>,
    output: Option<i64>,
}

impl Pricing {
    fn new() -> Self {
        Self {
            currency: Currency::USD,
            dated: String::new(),
            free: false,
            input: None,
            cached_input: None,
            cache_write: None,
            output: None,
        }
    }

    /// All four. What is not said of a cache costs what the tokens cost without one; a write to Anthropic's
    /// a quarter more.
    fn all(&self, dialect: Dialect) -> Option<Prices> {
        let (input, output) = match (self.input, self.output) {
            (Some(input), Some(output)) => (input, output),
            (None, None) if self.free || dialect.is_own() => (0, 0),
            _ => return None,
        };
        let write = match dialect {
            Dialect::Anthropic => input.saturating_add(input / 4),
            Dialect::OpenAi | Dialect::Ingle | Dialect::Vllm => input,
        };
        Some(Prices {
            currency: self.currency,
            input,
            cached_input: self.cached_input.unwrap_or(input),
            cache_write: self.cache_write.unwrap_or(write),
            output,
            dated: self.dated.clone(),
        })
    }
}

/// Whether a text is a day, as `2026-11-01`.
fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |text: &str, len: usize, least: u32, most: u32| {
        text.len() == len && text.parse().is_ok_and(|n: u32| (least..=most).contains(&n))
    };
    match parts.as_slice() {
        [y, m, d] => number(y, 4, 1970, 9999) && number(m, 2, 1, 12) && number(d, 2, 1, 31),
        _ => false,
    }
}

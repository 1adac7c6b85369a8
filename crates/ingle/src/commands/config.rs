//! `ingle config`: whether ingle.toml is right, and what is in effect.

use crate::Ingle;
use crate::config::{
    Config, KeyPlace, PoolEntry, Preset, ProviderEntry, Setting, layered, settings,
};
use crate::environment::Environment;
use crate::line::Line;
use crate::out;
use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};
use ingle_gateway::ledger::Money;
use ingle_gateway::provider::RemoteModel;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is always wanted, in ingle.toml: check it, or show what is in effect
///
/// Flags win over the environment, that over the file, that over what is usual. Every key of the file
/// is a flag (`max_stall` for --max-stall) and has a variable (INGLE_MAX_STALL); [models.NAME] gives a
/// model with other settings a name of its own.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Check(Check),
    Show(Show),
    Path(Path),
}

/// Says whether the file is right, and if not, every line that is wrong
#[derive(clap::Args)]
struct Check {
    /// Another file than the user's own
    file: Option<PathBuf>,
}

/// Every setting, its value, and where that comes from
#[derive(clap::Args)]
struct Show {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Where the file is looked for
#[derive(clap::Args)]
struct Path {}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    match &args.what {
        What::Check(Check { file }) => check(file.clone().or_else(|| line.file())),
        What::Show(Show { json }) => show(line, *json),
        What::Path(Path {}) => out::answer(&format!("{}\n", path(line)?.display())),
    }
}

fn path(line: &Line) -> anyhow::Result<PathBuf> {
    let environment = Environment::of_process();
    let named = line.file();
    let named = named.or_else(|| environment.value("INGLE_CONFIG").map(PathBuf::from));
    named
        .or_else(|| environment.config_file())
        .context("there is no place for ingle.toml; set HOME or XDG_CONFIG_HOME, or name a file")
}

fn check(file: Option<PathBuf>) -> anyhow::Result<()> {
    let config = match &file {
        Some(file) => Config::read(file, &Ingle::command())?,
        None => Config::find(None, &Ingle::command())?,
    };
    match config.path {
        Some(path) => out::note(format!("{} is right.", path.display())),
        None => {
            out::note("There is no ingle.toml; `ingle config path` says where it is looked for.")
        }
    }
    Ok(())
}

/// Where a value comes from.
fn origin(config: &Config, setting: &Setting, line: &ArgMatches) -> String {
    let file = config.values.get(&(setting.section, setting.name.clone()));
    match (line.value_source(&setting.id), file) {
        (Some(ValueSource::EnvVariable), _) => setting.variable.clone(),
        (_, Some(given)) => {
            let path = config.path.as_ref().map(|path| path.display().to_string());
            format!("{}:{}", path.unwrap_or_default(), given.line)
        }
        _ => "default".to_owned(),
    }
}

fn show(line: &Line, as_json: bool) -> anyhow::Result<()> {
    let config = Config::find(line.file().as_deref(), &Ingle::command())?;
    let program = layered(Ingle::command(), &config, None);
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for setting in settings(&Ingle::command()) {
        let command = if setting.section == "sampling" {
            "run"
        } else {
            "serve"
        };
        let parsed = program.clone().try_get_matches_from(["ingle", command])?;
        let Some((_, flags)) = parsed.subcommand() else {
            continue;
        };
        let raw = flags.get_raw(&setting.id).into_iter().flatten();
        let raw: Vec<String> = raw.map(|v| v.to_string_lossy().into_owned()).collect();
        let origin = origin(&config, &setting, flags);
        let key = format!("{}.{}", setting.section, setting.name);
        let shown = match raw.as_slice() {
            [] => "-".to_owned(),
            [one] => one.clone(),
            many => many.join(", "),
        };
        rows.push(vec![key.clone(), out::plain(&shown), out::plain(&origin)]);
        values.push(json!({
            "key": key, "value": raw, "from": origin, "variable": setting.variable,
        }));
    }
    let file = config.path.as_ref().map(|path| path.display().to_string());
    let file = file.unwrap_or_default();
    for (key, value, line) in &config.ledger.given {
        let origin = format!("{file}:{line}");
        values.push(json!({ "key": key, "value": [value], "from": origin }));
        rows.push(vec![
            out::plain(key),
            out::plain(value),
            out::plain(&origin),
        ]);
    }
    let presets: Vec<Value> = config.presets.iter().map(preset_json).collect();
    if as_json {
        let path = config.path.as_ref().map(|path| path.display().to_string());
        let providers: Vec<Value> = config.providers.iter().map(provider_json).collect();
        let pools: Vec<Value> = config.pools.iter().map(pool_json).collect();
        return out::json(&json!({
            "file": path, "settings": values, "models": presets, "providers": providers,
            "pools": pools,
        }));
    }
    for preset in &config.presets {
        let base = preset.base.as_deref().unwrap_or("the built-in model");
        let path = config.path.as_ref().map(|path| path.display().to_string());
        let origin = format!("{}:{}", path.unwrap_or_default(), preset.line);
        rows.push(vec![
            format!("models.{}", preset.name),
            out::plain(base),
            out::plain(&origin),
        ]);
    }
    for (key, value, line) in &config.route.given {
        let path = config.path.as_ref().map(|path| path.display().to_string());
        let origin = format!("{}:{line}", path.unwrap_or_default());
        rows.push(vec![
            out::plain(key),
            out::plain(value),
            out::plain(&origin),
        ]);
    }
    rows.extend(provider_rows(&config));
    out::answer(&out::table(&rows))
}

/// Who may be asked beyond this machine; where keys lie, never what they are.
fn provider_rows(config: &Config) -> Vec<Vec<String>> {
    let path = config.path.as_ref().map(|path| path.display().to_string());
    let path = path.unwrap_or_default();
    let row = |key: String, value: &str, line: usize| {
        vec![
            key,
            out::plain(value),
            out::plain(&format!("{path}:{line}")),
        ]
    };
    let mut rows = Vec::new();
    for entry in &config.providers {
        let settings = &entry.settings;
        let key = match &entry.key {
            KeyPlace::None => "no key".to_owned(),
            KeyPlace::Variable(name) => format!("key from {name}"),
            KeyPlace::File(path) => format!("key from {}", path.display()),
        };
        let shown = format!("{} {}, {key}", settings.dialect.word(), settings.base_url);
        rows.push(row(
            format!("providers.{}", settings.name),
            &shown,
            entry.line,
        ));
        for model in &settings.models {
            let price = |nanos| {
                Money {
                    nanos,
                    currency: model.prices.currency,
                }
                .decimal()
            };
            let price = match model.is_free() {
                true => "free".to_owned(),
                false => format!(
                    "{} in, {} out a million tokens, {} {}",
                    price(model.prices.input),
                    price(model.prices.output),
                    model.prices.currency,
                    model.prices.dated
                ),
            };
            let shown = format!("context {}, {price}", model.context);
            rows.push(row(
                format!("{}/{}", settings.name, model.name),
                &shown,
                entry.line,
            ));
        }
    }
    let pools = config.pools.iter().map(|pool| {
        let settings = &pool.settings;
        row(
            format!("pools.{}", settings.name),
            &settings.upstreams.join(", "),
            pool.line,
        )
    });
    rows.extend(pools);
    rows
}

fn provider_json(entry: &ProviderEntry) -> Value {
    let settings = &entry.settings;
    let key = match &entry.key {
        KeyPlace::None => Value::Null,
        KeyPlace::Variable(name) => json!({ "variable": name }),
        KeyPlace::File(path) => json!({ "file": path.display().to_string() }),
    };
    let models: Vec<Value> = settings.models.iter().map(model_json).collect();
    json!({
        "name": settings.name, "dialect": settings.dialect.word(), "base_url": settings.base_url,
        "key": key, "models": models, "line": entry.line,
    })
}

fn model_json(model: &RemoteModel) -> Value {
    let prices = &model.prices;
    let money = |nanos| {
        Money {
            nanos,
            currency: prices.currency,
        }
        .decimal()
    };
    json!({
        "name": model.name, "context": model.context, "max_output": model.max_output,
        "usual_output": model.usual_output, "tools": model.tools, "images": model.images,
        "prices": {
            "currency": prices.currency.code(), "dated": prices.dated,
            "input": money(prices.input), "cached_input": money(prices.cached_input),
            "cache_write": money(prices.cache_write), "output": money(prices.output),
        },
    })
}

fn pool_json(pool: &PoolEntry) -> Value {
    let settings = &pool.settings;
    json!({
        "name": settings.name, "upstreams": settings.upstreams, "affinity": settings.affinity,
        "most_load": settings.most_load, "line": pool.line,
        "check_every_s": settings.check_every.map(|time| time.as_secs_f64()),
    })
}

fn preset_json(preset: &Preset) -> Value {
    let given = preset
        .values
        .iter()
        .map(|(name, given)| (name.as_str(), given));
    let answers = preset.answers.iter().map(|(name, given)| (*name, given));
    let values: serde_json::Map<String, Value> = given
        .chain(answers)
        .map(|(name, given)| (name.to_owned(), given.values.clone().into()))
        .collect();
    json!({
        "name": preset.name, "base": preset.base, "values": values, "line": preset.line,
        "template": preset.template.is_some(),
        "keep_alive_s": preset.keep_alive.flatten().map(|time| time.as_secs_f64()),
    })
}

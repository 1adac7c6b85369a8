//! ingle.toml: what somebody always wants, below what the environment and the command line say.
//!
//! A setting is a flag with another way in. `settings` says which flags have a name in the file, puts
//! the file's values below them as defaults, and gives each a variable of the environment; so a value
//! is read and judged by the same code wherever it comes from.

mod document;
mod money;
mod policy;
mod presets;
mod providers;
mod route;
mod settings;

pub use document::Faults;
pub use money::Ledger;
pub use policy::PolicySection;
pub use presets::{Preset, Template};
pub use providers::{KeyPlace, PoolEntry, ProviderEntry};
pub use route::Route;
pub use settings::{Setting, layered, settings};

use crate::environment::Environment;
use anyhow::Context;
use clap::Command;
use document::{Source, Value, nearest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 20;

/// Sections whose keys are no flags.
const TABLES: [&str; 7] = [
    "models",
    "providers",
    "pools",
    "policy",
    "budget",
    "ledger",
    "route",
];

/// What a file says.
#[derive(Debug, Default)]
pub struct Config {
    /// Where it lies, if there is one.
    pub path: Option<PathBuf>,
    /// Flags that it sets: by section and name.
    pub values: BTreeMap<(&'static str, String), Given>,
    /// Models with a name of their own.
    pub presets: Vec<Preset>,
    /// Who may be asked beyond this machine.
    pub providers: Vec<ProviderEntry>,
    /// Pools of them.
    pub pools: Vec<PoolEntry>,
    /// What may leave this machine.
    pub policy: PolicySection,
    /// What may be spent and what is kept of it.
    pub ledger: Ledger,
    /// Where requests are answered.
    pub route: Route,
}

/// A value as it would be typed behind a flag, and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub values: Vec<String>,
    pub line: usize,
}

impl Config {
    /// The file that `--config` names, or `INGLE_CONFIG`; else the one in the user's own folder, where
    /// there is one.
    ///
    /// # Errors
    /// It cannot be read; [`Faults`]: all that is wrong in it.
    pub fn find(argument: Option<&Path>, program: &Command) -> anyhow::Result<Self> {
        let environment = Environment::of_process();
        let named = argument.map(Path::to_owned);
        let named = named.or_else(|| environment.value("INGLE_CONFIG").map(PathBuf::from));
        match named {
            Some(path) => Self::read(&path, program),
            None => match environment.config_file() {
                Some(path) if path.exists() => Self::read(&path, program),
                _ => Ok(Self::default()),
            },
        }
    }

    /// A file.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn read(path: &Path, program: &Command) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?;
        anyhow::ensure!(
            file.is_file() && file.len() <= MOST_BYTES,
            "{shown} is no file of at most {MOST_BYTES} bytes; give that of ingle.toml"
        );
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        Ok(Self::parse(path, &text, program)?)
    }

    /// A text.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn parse(path: &Path, text: &str, program: &Command) -> Result<Self, Faults> {
        let source = Source::new(path, text);
        let table = source.read().map_err(Faults)?;
        let mut config = Self {
            path: Some(path.to_owned()),
            ..Self::default()
        };
        let mut faults = Vec::new();
        let known = settings(program);
        for (name, value) in table {
            let section = settings::SECTIONS.iter().find(|s| s.name == name.it);
            match (section, value.it) {
                (Some(section), Value::Table(table)) => {
                    settings::read(section, table, &known, &source, &mut config, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "models" => {
                    presets::read(table, &known, &source, &mut config, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "policy" => {
                    policy::read(table, &source, Some(path), &mut config.policy, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "providers" => {
                    providers::read(table, &source, &mut config, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "route" => {
                    route::read(table, &source, &mut config.route, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "pools" => {
                    providers::read_pools(table, &source, &mut config, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "budget" => {
                    money::read_budget(table, &source, &mut config.ledger, &mut faults);
                }
                (None, Value::Table(table)) if name.it == "ledger" => {
                    let folder = path.parent().map(Path::to_owned);
                    money::read_ledger(table, folder, &source, &mut config.ledger, &mut faults);
                }
                (None, _) if !TABLES.contains(&name.it.as_str()) => {
                    let names = settings::SECTIONS.iter().map(|s| s.name);
                    let near = nearest(&name.it, names.chain(TABLES));
                    faults.push(source.fault(name.at, unknown("section", &name.it, near)));
                }
                (_, other) => {
                    let kind = other.kind();
                    let message = format!(
                        "`{}` must be a table, as [{}], not {kind}",
                        name.it, name.it
                    );
                    faults.push(source.fault(name.at, message));
                }
            }
        }
        if faults.is_empty() {
            faults = providers::check_pools(&source, &config);
        }
        if faults.is_empty() {
            Ok(config)
        } else {
            faults.sort_by_key(|fault| (fault.line, fault.column));
            Err(Faults(faults))
        }
    }

    /// The preset of that name.
    pub fn preset(&self, name: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.name == name)
    }
}

/// A name that is not known.
fn unknown(what: &str, name: &str, near: Option<&str>) -> String {
    let name: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    match near {
        Some(near) => format!("unknown {what} `{name}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{name}`; `ingle config show` lists those that there are"),
    }
}

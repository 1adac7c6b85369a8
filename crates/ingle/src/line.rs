//! The command line over the environment over ingle.toml over what is usual.

use crate::Ingle;
use crate::config::{Config, Preset, layered, settings};
use crate::layers::Given;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::PathBuf;

/// What was typed, and what stands below it.
pub struct Line {
    typed: Vec<OsString>,
    file: Option<PathBuf>,
    config: Config,
}

impl Line {
    /// The line that this process was started with. Wrong arguments and `--help` end it here.
    ///
    /// # Errors
    /// ingle.toml cannot be read, or is wrong; for `ingle config` that is no error yet.
    pub fn of_process() -> anyhow::Result<Self> {
        let typed: Vec<OsString> = std::env::args_os().collect();
        // Whoever asks for help gets it although the file is wrong.
        let first = Ingle::command().get_matches_from(&typed);
        let config = match first.subcommand_name() {
            Some("config") => Config::default(),
            _ => Config::find(file(&first).as_deref(), &Ingle::command())?,
        };
        Ok(Self {
            typed,
            file: file(&first),
            config,
        })
    }

    /// `ingle run` as a preset alone has it: nothing typed, and no file.
    pub fn of_preset(preset: &Preset) -> Ingle {
        let line = Self {
            typed: ["ingle", "run"].map(OsString::from).to_vec(),
            file: None,
            config: Config::default(),
        };
        line.parse(Some(preset)).0
    }

    /// What `--config` names.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    /// What ingle.toml says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was typed, with what stands below it, and which flags were set by anybody. With a preset,
    /// its settings stand above the rest of the file.
    pub fn parse(&self, preset: Option<&Preset>) -> (Ingle, Given) {
        let program = layered(Ingle::command(), &self.config, preset);
        let line = program.get_matches_from(&self.typed);
        let known = settings(&Ingle::command());
        let by_file = |id: &str| {
            let in_file = known.iter().filter(|s| s.id == id).any(|s| {
                let key = (s.section, s.name.clone());
                let in_preset = preset.is_some_and(|p| p.values.contains_key(&s.name));
                in_preset || self.config.values.contains_key(&key)
            });
            in_file || preset.is_some_and(|p| p.answers.contains_key(id))
        };
        let given = Given::of(&line, by_file);
        let ingle = Ingle::from_arg_matches(&line).unwrap_or_else(|error| error.exit());
        (ingle, given)
    }
}

fn file(line: &ArgMatches) -> Option<PathBuf> {
    line.get_one::<PathBuf>("config").cloned()
}

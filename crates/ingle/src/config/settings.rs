//! Which flags have a name in ingle.toml and in the environment: the one place where what stands
//! there becomes what was typed.

use super::document::{Fault, Placed, Source, Table, Value, nearest};
use super::presets::Preset;
use super::{Config, Given, unknown};
use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

/// A section of the file.
pub struct Section {
    pub name: &'static str,
    /// The command whose flags it has.
    command: &'static str,
    /// How their headings in its help begin.
    headings: &'static [&'static str],
}

/// All sections but `[models.NAME]`.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        command: "serve",
        headings: &["Server"],
    },
    Section {
        name: "engine",
        command: "serve",
        headings: &["Model", "Machine"],
    },
    Section {
        name: "sampling",
        command: "run",
        headings: &["Sampling"],
    },
];

/// A flag that can be set in the file.
pub struct Setting {
    pub section: &'static str,
    /// As in the file: `max_stall` for `--max-stall`.
    pub name: String,
    /// The variable that sets it too.
    pub variable: String,
    /// clap's name for it.
    pub id: String,
    /// The flag, to try values with.
    arg: Arg,
}

impl Setting {
    fn is_switch(&self) -> bool {
        self.arg.get_num_args().is_some_and(|n| n.min_values() == 0) || is_flag(&self.arg)
    }

    fn is_list(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Other names that people know it by.
    fn synonyms(&self) -> &'static [&'static str] {
        match self.name.as_str() {
            "ctx" => &["context"],
            "temp" => &["temperature"],
            "repeat_penalty" => &["repetition_penalty"],
            "repeat_last_n" => &["penalty_last_n"],
            "typical" => &["typical_p"],
            _ => &[],
        }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.synonyms().contains(&name)
    }

    /// What would be typed for a value of the file.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn typed(&self, value: &Placed<Value>, source: &Source<'_>) -> Result<Given, Fault> {
        let list = match &value.it {
            Value::List(list) if self.is_list() => list.iter().collect(),
            _ => vec![value],
        };
        let mut values = Vec::new();
        for item in list {
            let text = match &item.it {
                Value::Bool(on) if self.is_switch() => on.to_string(),
                Value::Text(text) if !self.is_switch() => text.clone(),
                Value::Number(text) if !self.is_switch() => text.clone(),
                other => {
                    let wanted = match (self.is_switch(), self.is_list()) {
                        (true, _) => "true or false",
                        (_, true) => "a text or a list of texts",
                        _ => "a number or a text",
                    };
                    let message = format!("`{}` must be {wanted}, not {}", self.name, other.kind());
                    return Err(source.fault(item.at, message));
                }
            };
            self.judge(&text)
                .map_err(|why| source.fault(item.at, format!("`{}`: {why}", self.name)))?;
            values.push(text);
        }
        let (line, _) = source.place(value.at);
        Ok(Given { values, line })
    }

    /// Whether the flag takes a value: its own parser says.
    fn judge(&self, text: &str) -> Result<(), String> {
        if is_flag(&self.arg) {
            return Ok(());
        }
        let mut arg = self.arg.clone().required(false);
        // Alone: what it needs beside it is not there.
        arg = arg
            .num_args(1)
            .require_equals(false)
            .allow_hyphen_values(true);
        let program = Command::new("x")
            .no_binary_name(true)
            .disable_help_flag(true)
            .arg(arg);
        let line: Vec<String> = match self.arg.get_long() {
            Some(long) => vec![format!("--{long}"), text.to_owned()],
            None => vec![text.to_owned()],
        };
        match program.try_get_matches_from(line) {
            Ok(_) => Ok(()),
            Err(error) => {
                let text = error.to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                let lines = text.lines().take_while(|line| !line.is_empty());
                let lines: Vec<&str> = lines.map(str::trim).collect();
                Err(lines.join(" "))
            }
        }
    }
}

/// A flag without a value, as `--quiet`.
fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// All flags that can be set in the file.
pub fn settings(program: &Command) -> Vec<Setting> {
    let mut all = Vec::new();
    for section in SECTIONS {
        let Some(command) = program.find_subcommand(section.command) else {
            continue;
        };
        for arg in command.get_arguments() {
            let fits = arg.get_help_heading().is_some_and(|heading| {
                section
                    .headings
                    .iter()
                    .any(|begin| heading.starts_with(begin))
            });
            let named = arg.get_long().map(|long| long.replace('-', "_"));
            // What `ingle serve MODEL` names has no flag.
            let model = section.name == "server" && arg.get_id() == "model";
            let name = match (named, model) {
                (Some(name), _) if fits => name,
                (None, true) => "model".to_owned(),
                _ => continue,
            };
            let own = arg
                .get_env()
                .map(|name| name.to_string_lossy().into_owned());
            let variable = own.unwrap_or_else(|| format!("INGLE_{}", name.to_uppercase()));
            all.push(Setting {
                section: section.name,
                name,
                variable,
                id: arg.get_id().to_string(),
                arg: arg.clone(),
            });
        }
    }
    all
}

/// Reads a section.
pub(super) fn read(
    section: &Section,
    table: Table,
    known: &[Setting],
    source: &Source<'_>,
    config: &mut Config,
    faults: &mut Vec<Fault>,
) {
    for (name, value) in table {
        let here = || known.iter().filter(|s| s.section == section.name);
        let Some(setting) = here().find(|s| s.is_called(&name.it)) else {
            let near = nearest(&name.it, here().map(|s| s.name.as_str()));
            let what = format!("key in [{}]:", section.name);
            faults.push(source.fault(name.at, unknown(&what, &name.it, near)));
            continue;
        };
        match setting.typed(&value, source) {
            Ok(given) => {
                let key = (section.name, setting.name.clone());
                if config.values.insert(key, given).is_some() {
                    let message = format!("`{}` is set twice, under two names", setting.name);
                    faults.push(source.fault(name.at, message));
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
}

/// The program's arguments, with what the environment and the file say below what is typed. A preset
/// stands above the rest of the file.
pub fn layered(mut program: Command, config: &Config, preset: Option<&Preset>) -> Command {
    let known = settings(&program);
    let commands: Vec<String> = program
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect();
    for command in commands {
        program = program.mut_subcommand(&command, |mut command| {
            for setting in &known {
                let has = command.get_arguments().any(|arg| is_it(arg, setting));
                let applies = setting.section != "server" || command.get_name() == "serve";
                if !(has && applies) {
                    continue;
                }
                let key = (setting.section, setting.name.clone());
                let value = preset
                    .and_then(|preset| preset.values.get(&setting.name))
                    .or_else(|| config.values.get(&key));
                command = command.mut_arg(&setting.id, |arg| below(arg, setting, value));
            }
            if command.get_name() == "run"
                && let Some(preset) = preset
            {
                for (id, value) in &preset.answers {
                    command = command.mut_arg(*id, |arg| arg.default_values(value.values.clone()));
                }
            }
            command
        });
    }
    program
}

/// Whether an argument of some command is that setting: the same name and kind.
fn is_it(arg: &Arg, setting: &Setting) -> bool {
    arg.get_id().as_str() == setting.id
        && arg.get_help_heading() == setting.arg.get_help_heading()
        && arg.get_long() == setting.arg.get_long()
}

/// With what stands below the command line.
fn below(mut arg: Arg, setting: &Setting, value: Option<&Given>) -> Arg {
    if arg.get_env().is_none() {
        arg = arg.env(setting.variable.clone()).hide_env(true);
    }
    if is_flag(&arg) {
        arg = arg.value_parser(BoolishValueParser::new());
    }
    match value {
        Some(given) => arg.default_values(given.values.clone()),
        None => arg,
    }
}

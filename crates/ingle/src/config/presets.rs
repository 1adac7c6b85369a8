//! `[models.NAME]`: a model with other settings, under a name of its own.

use super::document::{Fault, Placed, Source, Table, Value, nearest};
use super::settings::Setting;
use super::{Config, Given, unknown};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A model with a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    pub name: String,
    /// The model it is made from, as on the command line; none: the one that is built in.
    pub base: Option<String>,
    pub template: Option<Template>,
    /// How long it stays loaded; see `crate::keep_alive`.
    pub keep_alive: Option<Option<Duration>>,
    /// Flags of loading and sampling that it sets, by their names in the file.
    pub values: BTreeMap<String, Given>,
    /// `system`, `max_tokens` and `stop`, by clap's names.
    pub answers: BTreeMap<&'static str, Given>,
    /// The line on which it begins.
    pub line: usize,
}

/// Another chat template than the model file's usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    /// One of several that the file has.
    Named(String),
    /// Its text, from a file.
    Text(String),
}

/// What a preset has that is no flag of loading.
const OWN: [&str; 8] = [
    "base",
    "system",
    "template",
    "keep_alive",
    "max_tokens",
    "stop",
    "parameters",
    "context",
];

/// The longest name of a preset.
const MOST_NAME: usize = 128;
/// The largest file with a template.
const MOST_TEMPLATE: u64 = 1 << 20;

/// Reads `[models]`.
pub(super) fn read(
    table: Table,
    known: &[Setting],
    source: &Source<'_>,
    config: &mut Config,
    faults: &mut Vec<Fault>,
) {
    for (name, value) in table {
        let plain = |c: char| !c.is_control() && !c.is_whitespace();
        if name.it.is_empty() || name.it.len() > MOST_NAME || !name.it.chars().all(plain) {
            let message = format!("a model's name has 1 to {MOST_NAME} letters and no spaces");
            faults.push(source.fault(name.at, message));
            continue;
        }
        let Value::Table(table) = value.it else {
            let message = format!(
                "`models.{}` must be a table, not {}",
                name.it,
                value.it.kind()
            );
            faults.push(source.fault(name.at, message));
            continue;
        };
        let (line, _) = source.place(name.at);
        let mut reader = Reader {
            preset: Preset {
                name: name.it,
                base: None,
                template: None,
                keep_alive: None,
                values: BTreeMap::new(),
                answers: BTreeMap::new(),
                line,
            },
            folder: config
                .path
                .as_deref()
                .and_then(|path| path.parent())
                .map(PathBuf::from),
            known,
            source,
        };
        for (name, value) in table {
            faults.extend(reader.key(name, value).err().unwrap_or_default());
        }
        config.presets.push(reader.preset);
    }
}

struct Reader<'a> {
    preset: Preset,
    /// What paths are relative to.
    folder: Option<PathBuf>,
    known: &'a [Setting],
    source: &'a Source<'a>,
}

type Read = Result<(), Vec<Fault>>;

impl Reader<'_> {
    fn key(&mut self, name: Placed<String>, value: Placed<Value>) -> Read {
        let one = |fault| vec![fault];
        match name.it.as_str() {
            "base" | "model" => {
                let base = self.text(&name, &value).map_err(one)?;
                self.preset.base = Some(self.path(&base).unwrap_or(base));
                Ok(())
            }
            "template" => {
                let text = self.text(&name, &value).map_err(one)?;
                self.preset.template = Some(self.template(&text, &value).map_err(one)?);
                Ok(())
            }
            "keep_alive" => {
                let text = match &value.it {
                    Value::Number(text) => text.clone(),
                    _ => self.text(&name, &value).map_err(one)?,
                };
                let time = crate::keep_alive::parse(&text);
                let time = time.map_err(|why| {
                    one(self.source.fault(value.at, format!("`keep_alive`: {why}")))
                })?;
                self.preset.keep_alive = Some(time);
                Ok(())
            }
            "system" => self.answer("system", &value, "a text").map_err(one),
            "max_tokens" => self.answer("max_tokens", &value, "a number").map_err(one),
            "stop" => self
                .answer("stop", &value, "a text or a list of texts")
                .map_err(one),
            "parameters" | "sampling" => {
                let Value::Table(table) = value.it else {
                    let message = format!("`{}` must be a table, not {}", name.it, value.it.kind());
                    return Err(one(self.source.fault(value.at, message)));
                };
                let mut faults = Vec::new();
                for (name, value) in table {
                    faults.extend(self.flag("sampling", name, value).err());
                }
                if faults.is_empty() {
                    Ok(())
                } else {
                    Err(faults)
                }
            }
            _ => self.flag("engine", name, value).map_err(one),
        }
    }

    fn text(&self, name: &Placed<String>, value: &Placed<Value>) -> Result<String, Fault> {
        match &value.it {
            Value::Text(text) if !text.is_empty() => Ok(text.clone()),
            other => {
                let message = format!("`{}` must be a text, not {}", name.it, other.kind());
                Err(self.source.fault(value.at, message))
            }
        }
    }

    /// What `run` takes as a flag of that name.
    fn answer(
        &mut self,
        id: &'static str,
        value: &Placed<Value>,
        wanted: &str,
    ) -> Result<(), Fault> {
        let wrong = |at| self.source.fault(at, format!("`{id}` must be {wanted}"));
        let values = match (&value.it, id) {
            (Value::Number(n), "max_tokens") if n.parse::<u32>().is_ok_and(|n| n > 0) => {
                vec![n.clone()]
            }
            (Value::Text(text), "system" | "stop") => vec![text.clone()],
            (Value::List(list), "stop") => {
                let text = |item: &Placed<Value>| match &item.it {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(wrong(item.at)),
                };
                list.iter().map(text).collect::<Result<_, _>>()?
            }
            _ => return Err(wrong(value.at)),
        };
        let (line, _) = self.source.place(value.at);
        self.preset.answers.insert(id, Given { values, line });
        Ok(())
    }

    /// A flag of this section.
    fn flag(
        &mut self,
        section: &'static str,
        name: Placed<String>,
        value: Placed<Value>,
    ) -> Result<(), Fault> {
        // How much of the machine is used is not for one model to say.
        let fits = |s: &&Setting| {
            s.section == section && !matches!(s.name.as_str(), "threads" | "isa" | "memory")
        };
        let Some(setting) = self
            .known
            .iter()
            .filter(fits)
            .find(|s| s.is_called(&name.it))
        else {
            let flags = self.known.iter().filter(fits).map(|s| s.name.as_str());
            let own: &[&str] = if section == "engine" { &OWN } else { &[] };
            let near = nearest(&name.it, flags.chain(own.iter().copied()));
            let what = match section {
                "engine" => format!("key in [models.{}]:", self.preset.name),
                _ => format!("key in [models.{}.parameters]:", self.preset.name),
            };
            return Err(self.source.fault(name.at, unknown(&what, &name.it, near)));
        };
        let mut given = setting.typed(&value, self.source)?;
        if setting.name == "draft" {
            let path = given.values.first().and_then(|draft| self.path(draft));
            given.values = path.map_or(given.values, |path| vec![path]);
        }
        if self
            .preset
            .values
            .insert(setting.name.clone(), given)
            .is_some()
        {
            let message = format!("`{}` is set twice, under two names", setting.name);
            return Err(self.source.fault(name.at, message));
        }
        Ok(())
    }

    /// A file beside ingle.toml, if `text` is its name.
    fn path(&self, text: &str) -> Option<String> {
        let path = self.folder.as_ref()?.join(text);
        path.exists().then(|| path.to_string_lossy().into_owned())
    }

    /// A file with that name, or else one of the model's own templates.
    fn template(&self, text: &str, value: &Placed<Value>) -> Result<Template, Fault> {
        let Some(path) = self.path(text) else {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if text.chars().all(plain) {
                return Ok(Template::Named(text.to_owned()));
            }
            let message =
                format!("`template`: there is no file {text}; paths are relative to this file");
            return Err(self.source.fault(value.at, message));
        };
        let wrong = |why: String| {
            self.source
                .fault(value.at, format!("`template`: {path} {why}"))
        };
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() && file.len() <= MOST_TEMPLATE => {}
            _ => {
                return Err(wrong(format!(
                    "is no file of at most {MOST_TEMPLATE} bytes"
                )));
            }
        }
        let text = std::fs::read_to_string(&path);
        text.map(Template::Text)
            .map_err(|error| wrong(format!("cannot be read: {error}")))
    }
}

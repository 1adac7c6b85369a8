//! `[route]`: where requests are answered, and what that aims at.

use super::document::{Fault, Placed, Source, Table, Value, nearest};
use super::unknown;
use ingle_gateway::confidence::PREFIX_TOKENS;
use ingle_gateway::decide::{AimSetting, Asked, Mode, Settings};

/// What the section says.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// `default`, `stream`, `prefix`, `escalate_uncalibrated`.
    pub settings: Settings,
    /// `accuracy`, or `money_per_day` over `requests_per_day`.
    pub aim: Option<AimSetting>,
    /// `cloud_accuracy`: how often a provider is right, where that is known.
    pub cloud_accuracy: f64,
    /// `cloud`: whom `auto` asks, the first first; empty: the cheapest that can answer.
    pub cloud: Vec<String>,
    /// `task`: the task of requests that have no label.
    pub task: String,
    /// Keys that are set, as they stand in the file, and their lines.
    pub given: Vec<(String, String, usize)>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            aim: None,
            cloud_accuracy: 1.0,
            cloud: Vec::new(),
            task: "general".into(),
            given: Vec::new(),
        }
    }
}

const KEYS: [&str; 10] = [
    "default",
    "stream",
    "prefix",
    "escalate_uncalibrated",
    "accuracy",
    "money_per_day",
    "requests_per_day",
    "cloud_accuracy",
    "cloud",
    "task",
];
/// The longest beginning of an answer that is waited for, in tokens.
const MOST_PREFIX: f64 = 4096.0;

/// What has been read of an aim.
#[derive(Default)]
struct Aims {
    accuracy: Option<f64>,
    money: Option<f64>,
    requests: Option<f64>,
    prefix: Option<f64>,
    at: usize,
}

/// Reads `[route]`.
pub(super) fn read(table: Table, source: &Source<'_>, route: &mut Route, faults: &mut Vec<Fault>) {
    let mut aims = Aims::default();
    for (name, value) in table {
        aims.at = name.at;
        let key = name.it.as_str();
        if let Value::Text(text) | Value::Number(text) = &value.it {
            let (line, _) = source.place(value.at);
            route
                .given
                .push((format!("route.{key}"), text.clone(), line));
        }
        if let Err(message) = one(key, &value, route, &mut aims) {
            let message = match message {
                Wrong::Key => unknown("key in [route]:", key, nearest(key, KEYS)),
                Wrong::Value(what) => format!("`{key}` must be {what}, not {}", value.it.kind()),
            };
            let at = if KEYS.contains(&key) {
                value.at
            } else {
                name.at
            };
            faults.push(source.fault(at, message));
        }
    }
    if let (Mode::Prefix(_), Some(tokens)) = (route.settings.mode, aims.prefix) {
        route.settings.mode = Mode::Prefix(tokens as u32);
    }
    route.aim = match (aims.accuracy, aims.money, aims.requests) {
        (None, None, None) => None,
        (Some(wanted), None, None) => Some(AimSetting::Accuracy(wanted)),
        (None, Some(money), Some(requests)) => Some(AimSetting::Daily { money, requests }),
        (None, Some(_), None) | (None, None, Some(_)) => {
            let message = "`money_per_day` and `requests_per_day` belong together";
            faults.push(source.fault(aims.at, message.to_owned()));
            None
        }
        (Some(_), _, _) => {
            let message = "`accuracy` and `money_per_day` are two aims; give one";
            faults.push(source.fault(aims.at, message.to_owned()));
            None
        }
    };
}

enum Wrong {
    Key,
    Value(&'static str),
}

fn one(key: &str, value: &Placed<Value>, route: &mut Route, aims: &mut Aims) -> Result<(), Wrong> {
    match key {
        "default" => {
            let what = "\"local\", \"auto\" or \"cloud\"";
            let asked = text(value).and_then(Asked::of_word);
            route.settings.route = asked.ok_or(Wrong::Value(what))?;
        }
        "stream" => {
            route.settings.mode = match text(value) {
                Some("before") => Mode::Before,
                Some("prefix") => Mode::Prefix(PREFIX_TOKENS),
                Some("local-only") => Mode::LocalOnly,
                _ => return Err(Wrong::Value("\"before\", \"prefix\" or \"local-only\"")),
            };
        }
        "prefix" => {
            let what = "a whole number from 1 to 4096";
            let tokens = number(value, 1.0, MOST_PREFIX).filter(|n| n.fract() == 0.0);
            aims.prefix = Some(tokens.ok_or(Wrong::Value(what))?);
        }
        "escalate_uncalibrated" => match value.it {
            Value::Bool(on) => route.settings.escalate_uncalibrated = on,
            _ => return Err(Wrong::Value("true or false")),
        },
        "accuracy" | "cloud_accuracy" => {
            let share = number(value, 0.0, 1.0).ok_or(Wrong::Value("a number from 0 to 1"))?;
            match key {
                "accuracy" => aims.accuracy = Some(share),
                _ => route.cloud_accuracy = share,
            }
        }
        "money_per_day" => {
            let what = "an amount of money, as 1.50";
            aims.money = Some(number(value, 0.0, 1e9).ok_or(Wrong::Value(what))?);
        }
        "requests_per_day" => {
            let what = "a number from 1 on";
            aims.requests = Some(number(value, 1.0, 1e12).ok_or(Wrong::Value(what))?);
        }
        "cloud" => route.cloud = names(value)?,
        "task" => {
            let task = text(value).filter(|task| !task.is_empty());
            route.task = task.ok_or(Wrong::Value("a name"))?.to_owned();
        }
        _ => return Err(Wrong::Key),
    }
    Ok(())
}

fn text(value: &Placed<Value>) -> Option<&str> {
    match &value.it {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn number(value: &Placed<Value>, low: f64, high: f64) -> Option<f64> {
    match &value.it {
        Value::Number(text) | Value::Text(text) => {
            text.parse().ok().filter(|n| (low..=high).contains(n))
        }
        _ => None,
    }
}

fn names(value: &Placed<Value>) -> Result<Vec<String>, Wrong> {
    let what = || Wrong::Value("a list of names as \"PROVIDER/MODEL\" or of pools");
    let Value::List(list) = &value.it else {
        return Err(what());
    };
    let names = list.iter().map(|name| text(name).map(str::to_owned));
    names.collect::<Option<Vec<String>>>().ok_or_else(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ingle;
    use crate::config::Config;
    use clap::CommandFactory;
    use std::path::Path;

    fn read(text: &str) -> Result<Route, String> {
        let config = Config::parse(Path::new("ingle.toml"), text, &Ingle::command());
        config
            .map(|config| config.route)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_section_is_read() {
        let route = read("[route]\ndefault = \"local\"\nstream = \"prefix\"\nprefix = 24\naccuracy = 0.9\ntask = \"spam\"\n").unwrap();
        assert_eq!(route.settings.route, Asked::Local);
        assert_eq!(route.settings.mode, Mode::Prefix(24));
        assert_eq!(route.aim, Some(AimSetting::Accuracy(0.9)));
        assert_eq!(route.task, "spam");
        let daily = read("[route]\nmoney_per_day = \"1.50\"\nrequests_per_day = 100\n").unwrap();
        let (money, requests) = (1.5, 100.0);
        assert_eq!(daily.aim, Some(AimSetting::Daily { money, requests }));
        assert_eq!(read("").unwrap(), Route::default());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, word) in [
            ("[route]\ndefault = \"sky\"\n", "`default` must be"),
            ("[route]\nstream = true\n", "`stream` must be"),
            ("[route]\nprefix = 0\n", "`prefix` must be"),
            ("[route]\naccuracy = 2\n", "`accuracy` must be"),
            (
                "[route]\naccuracy = 0.9\nmoney_per_day = 1\nrequests_per_day = 2\n",
                "two aims",
            ),
            ("[route]\nmoney_per_day = 1\n", "belong together"),
            ("[route]\nacuracy = 0.9\n", "did you mean `accuracy`"),
            ("[route]\ncloud = \"a/b\"\n", "`cloud` must be"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(word) && said.contains("ingle.toml"), "{said}");
        }
    }
}

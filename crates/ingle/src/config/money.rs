//! `[budget]` and `[ledger]`: what may be spent, and what is kept of it.

use super::document::{Fault, Placed, Source, Table, Value, nearest};
use super::unknown;
use ingle_gateway::ledger::{Cap, Caps, Currency, Money, TimeZone};
use std::path::PathBuf;

/// What the two sections say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// `[ledger] file`: where it lies, if not at the usual place.
    pub file: Option<PathBuf>,
    /// `[ledger] keep_days`: after how many days rows are erased.
    pub keep_days: Option<u32>,
    /// `[ledger] keep_texts`: whether texts of requests and answers are kept.
    pub keep_texts: bool,
    /// `[ledger] energy`: whether the machine's counters are read; they are if nothing is said.
    pub energy: Option<bool>,
    /// `[budget]`.
    pub caps: Caps,
    /// `[budget] zone`, and its name.
    pub zone: Option<(String, TimeZone)>,
    /// Keys that are set, as they stand in the file, and their lines.
    pub given: Vec<(String, String, usize)>,
}

const LEDGER: [&str; 4] = ["file", "keep_days", "keep_texts", "energy"];
const BUDGET: [&str; 8] = [
    "currency",
    "day",
    "month",
    "request",
    "user_day",
    "user_month",
    "zone",
    "users",
];
const USER: [&str; 2] = ["day", "month"];

/// A hundred years.
const MOST_DAYS: u32 = 36_525;

struct Reader<'a> {
    source: &'a Source<'a>,
    faults: &'a mut Vec<Fault>,
    ledger: &'a mut Ledger,
}

/// Reads `[ledger]`. Paths are relative to the folder of the file.
pub(super) fn read_ledger(
    table: Table,
    folder: Option<PathBuf>,
    source: &Source<'_>,
    ledger: &mut Ledger,
    faults: &mut Vec<Fault>,
) {
    let mut reader = Reader {
        source,
        faults,
        ledger,
    };
    for (name, value) in table {
        let key = name.it.as_str();
        reader.given(&format!("ledger.{key}"), &value);
        match (key, &value.it) {
            ("file", Value::Text(text)) if !text.is_empty() => {
                let file = PathBuf::from(text);
                reader.ledger.file = Some(folder.clone().unwrap_or_default().join(file));
            }
            ("keep_days", Value::Number(text)) => match text.parse::<u32>() {
                Ok(days) if (1..=MOST_DAYS).contains(&days) => reader.ledger.keep_days = Some(days),
                _ => reader.wrong(&value, &format!("`keep_days` is 1 to {MOST_DAYS} days")),
            },
            ("keep_texts", Value::Bool(on)) => reader.ledger.keep_texts = *on,
            ("energy", Value::Bool(on)) => reader.ledger.energy = Some(*on),
            ("file", other) => reader.kind(&name, &value, "the path of a file", other),
            ("keep_days", other) => reader.kind(&name, &value, "a number of days", other),
            ("keep_texts" | "energy", other) => reader.kind(&name, &value, "true or false", other),
            _ => reader.unknown("ledger", &name, &LEDGER),
        }
    }
}

/// Reads `[budget]` and `[budget.users.NAME]`.
pub(super) fn read_budget(
    table: Table,
    source: &Source<'_>,
    ledger: &mut Ledger,
    faults: &mut Vec<Fault>,
) {
    let mut reader = Reader {
        source,
        faults,
        ledger,
    };
    // Amounts are of the currency, wherever it stands.
    for (name, value) in &table {
        if name.it == "currency" {
            reader.currency(name, value);
        }
    }
    for (name, value) in table {
        if !matches!(value.it, Value::Table(_)) {
            reader.given(&format!("budget.{}", name.it), &value);
        }
        match name.it.as_str() {
            "currency" => {}
            "day" => reader.ledger.caps.all.day = reader.amount(&name, &value),
            "month" => reader.ledger.caps.all.month = reader.amount(&name, &value),
            "request" => reader.ledger.caps.request = reader.amount(&name, &value),
            "user_day" => reader.ledger.caps.each_user.day = reader.amount(&name, &value),
            "user_month" => reader.ledger.caps.each_user.month = reader.amount(&name, &value),
            "zone" => reader.zone(&name, &value),
            "users" => reader.users(&name, value),
            _ => reader.unknown("budget", &name, &BUDGET),
        }
    }
}

impl Reader<'_> {
    fn given(&mut self, key: &str, value: &Placed<Value>) {
        let shown = match &value.it {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Bool(on) => on.to_string(),
            _ => return,
        };
        let (line, _) = self.source.place(value.at);
        self.ledger.given.push((key.to_owned(), shown, line));
    }

    fn wrong(&mut self, value: &Placed<Value>, message: &str) {
        self.faults.push(self.source.fault(value.at, message));
    }

    fn kind(&mut self, name: &Placed<String>, value: &Placed<Value>, wanted: &str, other: &Value) {
        let kind = match other {
            Value::Text(text) if text.is_empty() => "an empty text",
            other => other.kind(),
        };
        self.wrong(
            value,
            &format!("`{}` must be {wanted}, not {kind}", name.it),
        );
    }

    fn unknown(&mut self, section: &str, name: &Placed<String>, known: &[&str]) {
        let near = nearest(&name.it, known.iter().copied());
        let what = format!("key in [{section}]:");
        self.faults
            .push(self.source.fault(name.at, unknown(&what, &name.it, near)));
    }

    fn currency(&mut self, name: &Placed<String>, value: &Placed<Value>) {
        let Value::Text(text) = &value.it else {
            return self.kind(name, value, "a text as \"USD\"", &value.it);
        };
        match text.parse::<Currency>() {
            Ok(currency) => self.ledger.caps.currency = currency,
            Err(error) => self.wrong(value, &format!("`currency`: {error}")),
        }
    }

    /// Billionths of the currency.
    fn amount(&mut self, name: &Placed<String>, value: &Placed<Value>) -> Option<i64> {
        // A number is read as it is written, not as a fraction of two.
        let (Value::Number(text) | Value::Text(text)) = &value.it else {
            self.kind(name, value, "an amount as 12.50", &value.it);
            return None;
        };
        match Money::parse(text, self.ledger.caps.currency) {
            Ok(money) => Some(money.nanos),
            Err(error) => {
                self.wrong(value, &format!("`{}`: {error}", name.it));
                None
            }
        }
    }

    fn zone(&mut self, name: &Placed<String>, value: &Placed<Value>) {
        let Value::Text(text) = &value.it else {
            return self.kind(name, value, "a text as \"Europe/Berlin\"", &value.it);
        };
        match TimeZone::get(text) {
            Ok(zone) => self.ledger.zone = Some((text.clone(), zone)),
            Err(_) => {
                let text: String = text.chars().take(60).flat_map(char::escape_debug).collect();
                let message = format!(
                    "`zone`: this machine knows no time zone `{text}`; give one as Europe/Berlin or UTC"
                );
                self.wrong(value, &message);
            }
        }
    }

    fn users(&mut self, name: &Placed<String>, value: Placed<Value>) {
        let Value::Table(users) = value.it else {
            let kind = value.it.kind();
            let message = format!(
                "`{}` must be tables, as [budget.users.anna], not {kind}",
                name.it
            );
            self.faults.push(self.source.fault(value.at, message));
            return;
        };
        for (user, value) in users {
            let Value::Table(table) = value.it else {
                let kind = value.it.kind();
                let message = format!("a user's budget must be a table, not {kind}");
                self.faults.push(self.source.fault(value.at, message));
                continue;
            };
            let mut cap = Cap::default();
            for (name, value) in table {
                let section = format!("budget.users.{}", user.it);
                self.given(&format!("{section}.{}", name.it), &value);
                match name.it.as_str() {
                    "day" => cap.day = self.amount(&name, &value),
                    "month" => cap.month = self.amount(&name, &value),
                    _ => self.unknown(&section, &name, &USER),
                }
            }
            self.ledger.caps.users.insert(user.it, cap);
        }
    }
}

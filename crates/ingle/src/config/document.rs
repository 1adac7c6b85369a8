//! ingle.toml as a tree of values that know where they stand.

use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path, line, column, ..
        } = self;
        write!(f, "{}:{line}:{column}: {}", path.display(), self.message)
    }
}

/// All that is wrong in a file.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

/// A text and where it came from: turns offsets into lines.
pub struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

/// A place in the file: bytes from its beginning.
pub type At = usize;

/// A name or value, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    pub it: T,
    pub at: At,
}

/// What a name is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<Placed<Value>>),
    Table(Table),
    /// A date or a time, as it is written.
    Date(String),
}

/// Names in the order in which they stand in the file.
pub type Table = Vec<(Placed<String>, Placed<Value>)>;

impl Value {
    /// For messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Date(_) => "a date",
        }
    }
}

impl<'a> Source<'a> {
    pub fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    /// Line and column of a place, both from 1.
    pub fn place(&self, at: At) -> (usize, usize) {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        (line, last.chars().count() + 1)
    }

    pub fn fault(&self, at: At, message: impl Into<String>) -> Fault {
        let (line, column) = self.place(at);
        Fault {
            path: self.path.to_owned(),
            line,
            column,
            message: message.into(),
        }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// All places at which it is no TOML.
    pub fn read(&self) -> Result<Table, Vec<Fault>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Ok(sorted(read_table(table.get_ref())));
        }
        let fault = |error: &toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().replace('\n', "; ");
            self.fault(at, message)
        };
        let mut faults: Vec<Fault> = errors.iter().map(fault).collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Err(faults)
    }
}

/// As they stand in the file: the library sorts by name.
fn sorted(mut table: Table) -> Table {
    table.sort_by_key(|(name, _)| name.at);
    table
}

fn read_table(table: &DeTable<'_>) -> Table {
    let pairs = table.iter().map(|(name, value)| {
        let name = Placed {
            it: name.get_ref().to_string(),
            at: name.span().start,
        };
        (name, read_value(value))
    });
    sorted(pairs.collect())
}

fn read_value(value: &Spanned<DeValue<'_>>) -> Placed<Value> {
    let it = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => {
            let parsed = i128::from_str_radix(n.as_str(), n.radix());
            Value::Number(parsed.map_or_else(|_| n.to_string(), |n| n.to_string()))
        }
        DeValue::Float(x) => Value::Number(x.as_str().to_owned()),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(list) => Value::List(list.iter().map(read_value).collect()),
        DeValue::Table(table) => Value::Table(read_table(table)),
    };
    Placed {
        it,
        at: value.span().start,
    }
}

/// The name among `names` that is meant, if one is near enough.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_ascii_lowercase().replace('-', "_");
    let near = names
        .into_iter()
        .map(|other| (distance(&wanted, other), other));
    let (distance, other) = near.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong.
    (distance <= 1 + wanted.chars().count() / 3).then_some(other)
}

/// How many letters must be changed, added, left out or exchanged with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i.max(j)
            } else {
                let changed = usize::from(a[i - 1] != b[j - 1]);
                let mut least = (rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(rows[i - 1][j - 1] + changed);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_stand() {
        let text = "# é\n[server]\nport = 0x10\nallow_origin = [\"a\"]\n";
        let source = Source::new(Path::new("i.toml"), text);
        let table = source.read().unwrap();
        let (name, value) = &table[0];
        assert_eq!(
            (name.it.as_str(), source.place(name.at)),
            ("server", (2, 2))
        );
        let Value::Table(server) = &value.it else {
            panic!("{value:?}")
        };
        assert_eq!(server[0].1.it, Value::Number("16".into()));
        assert_eq!(source.place(server[0].1.at), (3, 8));
        assert_eq!(server[1].0.it, "allow_origin");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place() {
        let source = Source::new(Path::new("i.toml"), "[server]\nport = \n[x\n");
        let faults = source.read().unwrap_err();
        assert!(!faults.is_empty());
        assert_eq!(faults[0].line, 2, "{faults:?}");
    }

    #[test]
    fn the_nearest_name() {
        let names = ["port", "host", "parallel", "max_stall"];
        for (name, want) in [
            ("prot", Some("port")),
            ("Host", Some("host")),
            ("max-stall", Some("max_stall")),
            ("paralel", Some("parallel")),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, names), want, "{name}");
        }
    }
}

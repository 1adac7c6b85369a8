//! `[policy]`, `[[policy.rule]]` and `[[policy.term]]`: what may leave this machine.

use super::document::{Fault, Placed, Source, Table, Value, nearest};
use super::unknown;
use ingle_gateway::chat::Leave;
use ingle_gateway::policy::{
    Action, Bounds, Class, Content, KINDS, Kind, LONGEST_PATTERN, LONGEST_WORD, Limits, MOST_WORDS,
    Pattern, Rule, Term,
};
use std::path::{Path, PathBuf};

/// What the file says of what may leave. Without a rule nothing does.
#[derive(Debug, Clone, Default)]
pub struct PolicySection {
    pub rules: Vec<Rule>,
    pub terms: Vec<Term>,
    pub limits: Limits,
    pub bounds: Bounds,
}

const KEYS: [&str; 6] = [
    "rule",
    "term",
    "longest_text",
    "longest_request",
    "remember",
    "remember_days",
];
const RULE_KEYS: [&str; 8] = [
    "name", "model", "user", "label", "path", "header", "content", "then",
];
const TERM_KEYS: [&str; 4] = ["label", "words", "file", "whole"];

/// More rules than anybody can keep in mind.
const MOST_RULES: usize = 1000;
/// The largest file with terms.
const MOST_TERMS: u64 = 16 << 20;

/// Reads `[policy]`.
pub(super) fn read(
    table: Table,
    source: &Source<'_>,
    path: Option<&Path>,
    into: &mut PolicySection,
    faults: &mut Vec<Fault>,
) {
    let folder = path.and_then(Path::parent).map(PathBuf::from);
    let mut reader = Reader {
        source,
        folder: folder.unwrap_or_default(),
        faults,
    };
    for (name, value) in table {
        if reader.known("policy", &name, &KEYS) {
            reader.key(&name.it, value, into);
        }
    }
}

struct Reader<'a> {
    source: &'a Source<'a>,
    /// What paths are relative to.
    folder: PathBuf,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: usize, message: impl Into<String>) {
        self.faults.push(self.source.fault(at, message));
    }

    fn known(&mut self, section: &str, name: &Placed<String>, keys: &[&'static str]) -> bool {
        let known = keys.contains(&name.it.as_str());
        if !known {
            let near = nearest(&name.it, keys.iter().copied());
            self.wrong(
                name.at,
                unknown(&format!("key in [{section}]:"), &name.it, near),
            );
        }
        known
    }

    fn key(&mut self, name: &str, value: Placed<Value>, into: &mut PolicySection) {
        match name {
            "rule" => {
                for (at, table) in self.tables("policy.rule", value) {
                    let rule = self.rule(at, table, into.rules.len());
                    into.rules.extend(rule);
                }
                if into.rules.len() > MOST_RULES {
                    self.wrong(0, format!("there are more than {MOST_RULES} rules"));
                }
            }
            "term" => {
                for (at, table) in self.tables("policy.term", value) {
                    let term = self.term(at, table);
                    into.terms.extend(term);
                }
            }
            "longest_text" => self.size(name, &value, &mut into.limits.text),
            "longest_request" => self.size(name, &value, &mut into.limits.request),
            "remember" => self.number(name, &value, 1_000..=50_000_000, &mut into.bounds.most),
            _ => {
                let mut days = 0;
                self.number(name, &value, 1..=36_500, &mut days);
                into.bounds.seconds = days.saturating_mul(86_400);
            }
        }
    }

    /// The tables of a list: `[[policy.rule]]`.
    fn tables(&mut self, name: &str, value: Placed<Value>) -> Vec<(usize, Table)> {
        let Value::List(list) = value.it else {
            let message = format!(
                "write each of them as [[{name}]], not as {}",
                value.it.kind()
            );
            self.wrong(value.at, message);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list {
            match item.it {
                Value::Table(table) => tables.push((item.at, table)),
                other => self.wrong(
                    item.at,
                    format!("write it as [[{name}]], not as {}", other.kind()),
                ),
            }
        }
        tables
    }

    /// A text or a list of texts, and where each stands.
    fn texts(&mut self, name: &str, value: &Placed<Value>) -> Vec<Placed<String>> {
        let list = match &value.it {
            Value::List(list) => list.iter().collect(),
            _ => vec![value],
        };
        let mut texts = Vec::new();
        for item in list {
            match &item.it {
                Value::Text(text) if !text.trim().is_empty() => texts.push(Placed {
                    it: text.clone(),
                    at: item.at,
                }),
                Value::Text(_) => self.wrong(item.at, format!("`{name}` must not be empty")),
                other => {
                    let kind = other.kind();
                    self.wrong(
                        item.at,
                        format!("`{name}` must be a text or a list of texts, not {kind}"),
                    );
                }
            }
        }
        if texts.is_empty() && matches!(&value.it, Value::List(list) if list.is_empty()) {
            self.wrong(
                value.at,
                format!("`{name}` is an empty list; leave it out instead"),
            );
        }
        texts
    }

    fn text(&mut self, name: &str, value: &Placed<Value>) -> Option<String> {
        match &value.it {
            Value::Text(text) if !text.trim().is_empty() && text.len() <= LONGEST_PATTERN => {
                Some(text.clone())
            }
            _ => {
                self.wrong(
                    value.at,
                    format!("`{name}` must be a text of 1 to {LONGEST_PATTERN} bytes"),
                );
                None
            }
        }
    }

    fn number(
        &mut self,
        name: &str,
        value: &Placed<Value>,
        range: std::ops::RangeInclusive<u64>,
        into: &mut u64,
    ) {
        let given = match &value.it {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        match given.filter(|n| range.contains(n)) {
            Some(n) => *into = n,
            None => {
                let (least, most) = (range.start(), range.end());
                self.wrong(
                    value.at,
                    format!("`{name}` must be a whole number from {least} to {most}"),
                );
            }
        }
    }

    fn size(&mut self, name: &str, value: &Placed<Value>, into: &mut usize) {
        let text = match &value.it {
            Value::Text(text) | Value::Number(text) => text.as_str(),
            _ => "",
        };
        match crate::load::size(text).map(usize::try_from) {
            Ok(Ok(size)) if (1..=1 << 30).contains(&size) => *into = size,
            _ => self.wrong(
                value.at,
                format!("`{name}` must be a size up to 1GiB, as \"4MiB\""),
            ),
        }
    }

    fn patterns(&mut self, name: &str, value: &Placed<Value>) -> Vec<Pattern> {
        let texts = self.texts(name, value);
        let mut patterns = Vec::new();
        for text in texts {
            match Pattern::new(&text.it) {
                Some(pattern) => patterns.push(pattern),
                None => self.wrong(
                    text.at,
                    format!("`{name}` is longer than {LONGEST_PATTERN} bytes"),
                ),
            }
        }
        patterns
    }

    fn rule(&mut self, at: usize, table: Table, before: usize) -> Option<Rule> {
        let begun = self.faults.len();
        let (line, _) = self.source.place(at);
        let name = format!("rule {} (line {line})", before.saturating_add(1));
        let mut rule = Rule::new(name, Action::LocalOnly);
        let mut then = None;
        for (name, value) in table {
            if !self.known("policy.rule", &name, &RULE_KEYS) {
                continue;
            }
            match name.it.as_str() {
                "name" => rule.name = self.text("name", &value).unwrap_or_default(),
                "model" => rule.models = self.patterns("model", &value),
                "user" => rule.users = self.patterns("user", &value),
                "label" => rule.labels = self.patterns("label", &value),
                "path" => rule.paths = self.patterns("path", &value),
                "header" => rule.headers = self.headers(&value),
                "content" => rule.content = self.content(&value),
                _ => then = self.action(&value).map(|action| (action, value.at)),
            }
        }
        match then {
            Some((action, at)) => {
                rule.then = action;
                if !rule.headers.is_empty() && action >= Action::Allow {
                    self.wrong(at, "a rule with `header` can only narrow: `then` must be \"local-only\" or \"redact\"");
                }
                if !rule.content.is_empty() && action == Action::PreferCloud {
                    self.wrong(
                        at,
                        "a rule with `content` says \"local-only\", \"redact\" or \"allow\"",
                    );
                }
            }
            None if self.faults.len() == begun => {
                let all = "\"local-only\", \"redact\", \"allow\" or \"prefer-cloud\"";
                self.wrong(at, format!("this rule says nothing: add `then` = {all}"));
            }
            None => {}
        }
        (self.faults.len() == begun).then_some(rule)
    }

    fn action(&mut self, value: &Placed<Value>) -> Option<Action> {
        let text = self.text("then", value)?;
        let action = Action::of_name(&text);
        if action.is_none() {
            let names = ["local-only", "redact", "allow", "prefer-cloud"];
            let near = nearest(&text, names).map(|near| format!("; did you mean \"{near}\"?"));
            let message =
                "`then` must be \"local-only\", \"redact\", \"allow\" or \"prefer-cloud\"";
            self.wrong(value.at, format!("{message}{}", near.unwrap_or_default()));
        }
        action
    }

    fn headers(&mut self, value: &Placed<Value>) -> Vec<Leave> {
        let mut headers = Vec::new();
        for text in self.texts("header", value) {
            match Leave::of_word(&text.it) {
                Some(leave) => headers.push(leave),
                None => self.wrong(
                    text.at,
                    "`header` is a value of x-ingle-policy: \"local-only\", \"allow\" or \"prefer-cloud\"",
                ),
            }
        }
        headers
    }

    fn content(&mut self, value: &Placed<Value>) -> Vec<Content> {
        let mut all = Vec::new();
        for text in self.texts("content", value) {
            let name = text.it.as_str();
            let term = name
                .strip_prefix("term:")
                .map(|label| Content::Term(label.trim().to_owned()));
            let class = Class::of_name(name).map(Content::Class);
            let kind = Kind::of_name(name).map(Content::Kind);
            match term.or(class).or(kind) {
                Some(content) => all.push(content),
                None => {
                    let names = KINDS.iter().map(|(_, name, _)| *name);
                    let near = nearest(name, names.chain(["secret", "personal", "term"]));
                    self.wrong(text.at, unknown_content(name, near));
                }
            }
        }
        all
    }

    fn term(&mut self, at: usize, table: Table) -> Option<Term> {
        let begun = self.faults.len();
        let mut term = Term {
            label: "terms".into(),
            words: Vec::new(),
            whole: true,
        };
        for (name, value) in table {
            if !self.known("policy.term", &name, &TERM_KEYS) {
                continue;
            }
            match (name.it.as_str(), &value.it) {
                ("label", _) => term.label = self.text("label", &value).unwrap_or_default(),
                ("words", _) => {
                    let words = self.texts("words", &value);
                    term.words.extend(words.into_iter().map(|word| word.it));
                }
                ("file", _) => {
                    let words = self.words_of(&value);
                    term.words.extend(words);
                }
                (_, Value::Bool(whole)) => term.whole = *whole,
                (_, other) => {
                    let message = format!("`whole` must be true or false, not {}", other.kind());
                    self.wrong(value.at, message);
                }
            }
        }
        if self.faults.len() > begun {
            return None;
        }
        if term.words.is_empty() || term.words.len() > MOST_WORDS {
            self.wrong(
                at,
                format!("this term has no words, or more than {MOST_WORDS}: add `words` or `file`"),
            );
            return None;
        }
        if term.words.iter().any(|word| word.len() > LONGEST_WORD) {
            self.wrong(
                at,
                format!("a word of this term is longer than {LONGEST_WORD} bytes"),
            );
            return None;
        }
        Some(term)
    }

    /// The lines of a file; empty ones and those that begin with `#` do not count.
    fn words_of(&mut self, value: &Placed<Value>) -> Vec<String> {
        let Some(name) = self.text("file", value) else {
            return Vec::new();
        };
        let path = self.folder.join(name);
        let small =
            std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= MOST_TERMS);
        let text = small.then(|| std::fs::read_to_string(&path).ok()).flatten();
        let Some(text) = text else {
            let message = format!(
                "`file`: {} is no text file of at most {MOST_TERMS} bytes",
                path.display()
            );
            self.wrong(value.at, message);
            return Vec::new();
        };
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

fn unknown_content(name: &str, near: Option<&str>) -> String {
    let name: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    let near = near.map(|near| format!("; did you mean \"{near}\"?"));
    let near = near.unwrap_or_default();
    format!(
        "`content` knows no \"{name}\"{near} (\"secret\", \"personal\", \"term\", \"term:LABEL\" or a kind of docs/policy.md)"
    )
}

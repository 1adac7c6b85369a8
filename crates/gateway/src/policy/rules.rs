//! Rules as checked values, and which of them decide.
//!
//! **The strictest wins.** A rule speaks of requests (by model, user, path label, header) or, with
//! `content`, of a kind of content in such requests. A request may leave when a rule without `content`
//! lets it, and each kind of sensitive content in it is let go by a rule that names that kind. Of several
//! rules that match the strictest decides: `local-only`, then `redact`, then `allow`. Order in the file
//! means nothing, so no rule can be undone by one that stands before it.

use super::kind::{Class, Find, Kind};
use crate::chat::{Leave, Request};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Stays on this machine.
    LocalOnly,
    /// May leave after sensitive spans were replaced.
    Redact,
    /// May leave.
    Allow,
    /// May leave, and the cloud is asked first.
    PreferCloud,
}

/// What a content rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All kinds of a class.
    Class(Class),
    /// One kind.
    Kind(Kind),
    /// The owner's terms of that label.
    Term(String),
}

/// A text in which `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// A rule. An empty list of conditions is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What people and the ledger call it.
    pub name: String,
    /// Models as the client names them.
    pub models: Vec<Pattern>,
    /// Names of user keys.
    pub users: Vec<Pattern>,
    /// Labels (`x-ingle-label`): what kind of work the client says it is.
    pub labels: Vec<Pattern>,
    /// Paths of the server, as `/v1/messages`.
    pub paths: Vec<Pattern>,
    /// Values of `x-ingle-policy`.
    pub headers: Vec<Leave>,
    /// With any, the rule speaks of that content alone.
    pub content: Vec<Content>,
    /// What it does.
    pub then: Action,
}

/// What rules say of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruling {
    pub action: Action,
    pub rule: String,
    pub reason: String,
}

/// The longest pattern or name that a rule may have, in bytes.
pub const LONGEST_PATTERN: usize = 256;

/// The name of what decides where no rule does.
pub const BUILT_IN: &str = "local-only (built in)";

impl Action {
    /// Its name in ingle.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalOnly => "local-only",
            Self::Redact => "redact",
            Self::Allow => "allow",
            Self::PreferCloud => "prefer-cloud",
        }
    }

    /// The action of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        [
            Self::LocalOnly,
            Self::Redact,
            Self::Allow,
            Self::PreferCloud,
        ]
        .into_iter()
        .find(|action| action.name() == name)
    }

    /// How much may leave: a preference lets go no more than `allow` does.
    fn width(self) -> u8 {
        match self {
            Self::LocalOnly => 0,
            Self::Redact => 1,
            Self::Allow | Self::PreferCloud => 2,
        }
    }
}

impl Pattern {
    /// A pattern; `None` where it is empty or longer than [`LONGEST_PATTERN`].
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= LONGEST_PATTERN).then(|| Self(text.to_owned()))
    }

    /// Whether a text is meant. Case counts.
    pub fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let mut pieces: Vec<&str> = pieces.collect();
        let Some(last) = pieces.pop() else {
            return rest.is_empty();
        };
        for piece in pieces {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = rest
                .get(at.saturating_add(piece.len())..)
                .unwrap_or_default();
        }
        rest.ends_with(last)
    }
}

impl Content {
    /// Whether a find is meant.
    pub fn covers(&self, find: &Find) -> bool {
        match self {
            Self::Class(class) => find.kind.class() == *class,
            Self::Kind(kind) => find.kind == *kind,
            Self::Term(label) => find.kind == Kind::Term && find.detail == *label,
        }
    }
}

/// Whether one of the patterns means the text; where there are no patterns, yes. What is absent meets none.
fn meets(patterns: &[Pattern], text: Option<&str>) -> bool {
    patterns.is_empty()
        || text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
}

impl Rule {
    /// A rule without conditions.
    pub fn new(name: impl Into<String>, then: Action) -> Self {
        Self {
            name: name.into(),
            models: Vec::new(),
            users: Vec::new(),
            labels: Vec::new(),
            paths: Vec::new(),
            headers: Vec::new(),
            content: Vec::new(),
            then,
        }
    }

    /// Whether it speaks of requests like this one.
    fn applies(&self, request: &Request) -> bool {
        let asked = request.leave;
        meets(&self.models, request.model.as_deref())
            && meets(&self.users, Some(&request.user))
            && meets(&self.labels, request.label.as_deref())
            && meets(&self.paths, Some(&request.path))
            && (self.headers.is_empty() || asked.is_some_and(|leave| self.headers.contains(&leave)))
    }
}

/// The strictest of some rules: the first of those that let go the least.
fn strictest<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<&'a Rule> {
    rules.min_by_key(|rule| rule.then.width())
}

fn stays(rule: &str, reason: impl Into<String>) -> Ruling {
    Ruling {
        action: Action::LocalOnly,
        rule: rule.to_owned(),
        reason: reason.into(),
    }
}

fn says(rule: &Rule, reason: String) -> Ruling {
    Ruling {
        action: rule.then,
        rule: rule.name.clone(),
        reason,
    }
}

/// What the rules say of a request by its subject alone.
pub(super) fn by_subject(rules: &[Rule], request: &Request) -> Ruling {
    if request.leave == Some(Leave::LocalOnly) {
        return stays("x-ingle-policy", "the client asked for local-only");
    }
    let matching = rules
        .iter()
        .filter(|rule| rule.content.is_empty() && rule.applies(request));
    let mut plain = matching.clone().filter(|rule| rule.headers.is_empty());
    let Some(strict) = strictest(plain.clone()) else {
        return stays(BUILT_IN, "no rule matches this request");
    };
    let reason = |rule: &Rule| format!("rule `{}` says {}", rule.name, rule.then.name());
    // A client's header can meet a rule that narrows, never one that widens.
    let narrow = strictest(matching.filter(|rule| !rule.headers.is_empty()));
    if let Some(rule) = narrow.filter(|rule| rule.then.width() < strict.then.width()) {
        return says(rule, reason(rule));
    }
    if strict.then.width() < Action::Allow.width() {
        return says(strict, reason(strict));
    }
    // A preference is taken only among requests that may leave whole, and a client can decline it.
    let declined = request.leave == Some(Leave::Allow);
    match plain.find(|rule| rule.then == Action::PreferCloud) {
        Some(rule) if !declined => says(rule, reason(rule)),
        _ => Ruling {
            action: Action::Allow,
            ..says(strict, reason(strict))
        },
    }
}

/// What the rules say of one thing found in a request; `None`: it is nothing that rules speak of. `whole`
/// is what they say of the request by its subject.
pub(super) fn by_content(
    rules: &[Rule],
    request: &Request,
    whole: Action,
    find: &Find,
) -> Option<Ruling> {
    let speaks = rules.iter().filter(|rule| {
        rule.content.iter().any(|content| content.covers(find)) && rule.applies(request)
    });
    let what = find.kind.name();
    let reason = |rule: &Rule| {
        let then = rule.then.name();
        format!("it holds {what}, of which rule `{}` says {then}", rule.name)
    };
    // Where the request leaves redacted, nothing sensitive in it leaves as it is.
    let capped = |rule: &Rule| Ruling {
        action: rule.then.min(Action::Allow).min(whole),
        ..says(rule, reason(rule))
    };
    let usual = match (find.kind.class(), whole) {
        (Class::Harmless, _) => None,
        (_, Action::Redact) => Some(Ruling {
            action: Action::Redact,
            rule: BUILT_IN.to_owned(),
            reason: format!("it holds {what}, which is replaced"),
        }),
        _ => {
            let reason = format!("it holds {what}, and no rule lets that leave");
            Some(stays(BUILT_IN, reason))
        }
    };
    let plain = strictest(speaks.clone().filter(|rule| rule.headers.is_empty()));
    let ruling = plain.map(capped).or(usual);
    let narrow = strictest(speaks.filter(|rule| !rule.headers.is_empty())).map(capped);
    match (ruling, narrow) {
        (Some(ruling), Some(narrow)) if ruling.action <= narrow.action => Some(ruling),
        (ruling, narrow) => narrow.or(ruling),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("qwen*", "qwen3:4b", true),
            ("*4b", "qwen3:4b", true),
            ("q*3*b", "qwen3:4b", true),
            ("q*b*b", "qb", false),
            ("a*a", "a", false),
            ("gpt", "gpt-4", false),
            ("a**c", "abc", true),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.matches(text), want, "{pattern:?} {text}");
        }
        assert_eq!(Pattern::new(""), None);
        assert_eq!(Pattern::new(&"a".repeat(257)), None);
    }
}

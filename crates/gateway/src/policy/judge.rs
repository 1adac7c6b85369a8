//! The way in: what becomes of a request.

use super::kind::{Class, Find, Kind};
use super::read::{REMEMBERED, Reading, Spot, first_of};
use super::redact::{Mapping, Writing};
use super::rules::{Action, BUILT_IN, Rule, Ruling, by_content, by_subject};
use super::scan::{Late, Limits, ScanError, Scanner, apart};
use super::taint::{Held, Taint};
use crate::chat::{Leave, Place, Request, Text};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rules, and what reads the texts that they speak of.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Arc<Vec<Rule>>,
    reading: Arc<Reading>,
}

/// How much of a kind was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The kind.
    pub kind: Kind,
    /// Which of its kind, as in [`Find::detail`].
    pub detail: String,
    /// How often.
    pub count: usize,
}

/// A request as it may leave, and the way back.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted {
    /// The request with placeholders.
    pub request: Request,
    /// What stands for what: for the answer, and for nothing and nobody else.
    pub mapping: Mapping,
}

/// What becomes of a request. Holds nothing of its texts but in `redacted`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether it may leave.
    pub leave: Leave,
    /// The rule that decided.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
    /// What was found in it, by importance.
    pub found: Vec<Counted>,
    /// What is sent in its place, if it leaves; `None`: the request as it is.
    pub redacted: Option<Redacted>,
    /// The conversation stays from now on; its answer is to be given to [`Taint::answered`].
    pub held: Option<Held>,
}

impl Policy {
    /// Rules, with what reads texts.
    pub fn new(rules: Vec<Rule>, scanner: impl Into<Arc<Scanner>>) -> Self {
        Self {
            rules: Arc::new(rules),
            reading: Arc::new(Reading::new(scanner.into(), REMEMBERED)),
        }
    }

    /// The same, reading everything anew each time.
    #[cfg(test)]
    pub(super) fn forgetful(rules: Vec<Rule>, scanner: Arc<Scanner>) -> Self {
        Self {
            rules: Arc::new(rules),
            reading: Arc::new(Reading::new(scanner, 0)),
        }
    }

    /// No rules: nothing leaves.
    ///
    /// # Errors
    /// The classifier cannot be made, which is a bug.
    pub fn local_only() -> Result<Self, ScanError> {
        Ok(Self::new(Vec::new(), Scanner::new(&[], Limits::default())?))
    }

    /// Its rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What reads texts.
    pub fn scanner(&self) -> &Scanner {
        self.reading.scanner()
    }

    /// What the rules say of one thing in such a request, and which of them; `None`: it is nothing that they
    /// speak of.
    pub fn says(&self, request: &Request, find: &Find) -> Option<(Action, String)> {
        let whole = by_subject(&self.rules, request);
        let ruling = by_content(&self.rules, request, whole.action, find)?;
        Some((ruling.action, ruling.rule))
    }

    /// What becomes of a request that no rule lets go, whatever it holds; none: that depends on it.
    ///
    /// A conversation is remembered by [`Policy::judge`] alone: such a request is to be given to it too, if
    /// not before it is answered.
    pub fn outright(&self, request: &Request) -> Option<Verdict> {
        let whole = by_subject(&self.rules, request);
        (whole.action == Action::LocalOnly).then(|| stays(&whole.rule, whole.reason))
    }

    /// What becomes of a request. `providers`: whether there is anybody to send it to. `now` is in seconds
    /// since 1970; `late` says when reading has taken too long.
    ///
    /// Where nobody could be asked nothing is read, and nothing remembered.
    pub fn judge(
        &self,
        request: &Request,
        providers: bool,
        taint: &Taint,
        now: u64,
        late: Late<'_>,
    ) -> Verdict {
        if !providers {
            return stays(BUILT_IN, "no provider is configured");
        }
        let whole = by_subject(&self.rules, request);
        let texts = request.texts();
        let read = self.reading.request(request, &texts, late);
        // A store that cannot say lets nothing leave, but is still told what it may be able to keep.
        let (known, closed) = match taint.first_held(request) {
            Ok(known) => (known, None),
            Err(why) => (None, Some(why)),
        };
        let verdict = match read {
            Ok(spots) => {
                let verdict = self.weigh(request, &whole, &spots, known, taint, now);
                match (verdict.leave, whole.action) {
                    (Leave::LocalOnly, _) | (_, Action::LocalOnly) => verdict,
                    _ => self.redacted(
                        request,
                        &texts,
                        &self.replaced(request, &whole, &spots),
                        verdict,
                        late,
                    ),
                }
            }
            Err((first, why)) => {
                let first = known.unwrap_or(first).min(first);
                let reason = format!("{why}, so it cannot be classified");
                hold(taint, request, first, &[], stays(BUILT_IN, reason), now)
            }
        };
        match closed {
            Some(why) => Verdict {
                held: verdict.held,
                found: verdict.found,
                ..stays(BUILT_IN, why.to_string())
            },
            None => verdict,
        }
    }

    /// The verdict over what was found, before anything is replaced.
    fn weigh(
        &self,
        request: &Request,
        whole: &Ruling,
        spots: &[Spot<'_>],
        known: Option<usize>,
        taint: &Taint,
        now: u64,
    ) -> Verdict {
        let found = counted(spots);
        // What would become of its content if nothing but that mattered.
        let open = match whole.action {
            Action::LocalOnly => Action::Allow,
            action => action,
        };
        let sensitive: Vec<(&Spot<'_>, Ruling)> = spots
            .iter()
            .filter_map(|spot| Some((spot, by_content(&self.rules, request, open, &spot.find)?)))
            .filter(|(spot, ruling)| {
                ruling.action == Action::LocalOnly || ruling.action == Action::Redact && spot.fixed
            })
            .collect();
        if let Some((spot, ruling)) = sensitive.first() {
            let stays = match whole.action {
                Action::LocalOnly => stays(&whole.rule, whole.reason.clone()),
                _ => content_stays(spot, ruling),
            };
            let verdict = Verdict { found, ..stays };
            let spots: Vec<&Spot<'_>> = sensitive.iter().map(|(spot, _)| *spot).collect();
            let first = spots.iter().map(|spot| first_of(spot.place)).min();
            let first = first.unwrap_or(0).min(known.unwrap_or(usize::MAX));
            return hold(taint, request, first, &spots, verdict, now);
        }
        if let Some(first) = known {
            let reason = "this conversation once held something that must not leave";
            let verdict = Verdict {
                found,
                ..stays("taint", reason)
            };
            return hold(taint, request, first, &[], verdict, now);
        }
        Verdict {
            leave: leave(whole.action),
            rule: whole.rule.clone(),
            reason: whole.reason.clone(),
            found,
            redacted: None,
            held: None,
        }
    }

    /// What is to be replaced.
    fn replaced<'a, 'b>(
        &self,
        request: &Request,
        whole: &Ruling,
        spots: &'b [Spot<'a>],
    ) -> Vec<&'b Spot<'a>> {
        let says = |spot: &&Spot<'_>| {
            let ruling = by_content(&self.rules, request, whole.action, &spot.find);
            ruling.is_some_and(|ruling| ruling.action == Action::Redact)
        };
        spots.iter().filter(says).collect()
    }

    /// The request with placeholders for these spots.
    fn redacted(
        &self,
        request: &Request,
        texts: &[Text<'_>],
        spots: &[&Spot<'_>],
        verdict: Verdict,
        late: Late<'_>,
    ) -> Verdict {
        if spots.is_empty() {
            return verdict;
        }
        let mut by_text: HashMap<&str, Vec<Find>> = HashMap::new();
        for spot in spots {
            by_text
                .entry(spot.text)
                .or_default()
                .push(spot.find.clone());
        }
        let mut mapping = Mapping::default();
        let mut written: HashMap<&str, String> = HashMap::new();
        for text in texts.iter().filter(|text| !text.is_name) {
            let finds = by_text.get(text.text.as_ref()).cloned().unwrap_or_default();
            let finds = apart(finds);
            let new = mapping.redact(&text.text, &finds, writing(&text.text));
            if !self.is_redacted(&text.text, &new, &finds, late) {
                let reason = "it holds something that cannot be replaced";
                return Verdict {
                    found: verdict.found,
                    ..stays(BUILT_IN, reason)
                };
            }
            written.insert(&text.text, new);
        }
        let mut changed = request.clone();
        changed.each_text_mut(&mut |_, text| {
            if let Some(new) = written.get(text.as_str()) {
                text.clone_from(new);
            }
        });
        let count = mapping.len();
        Verdict {
            reason: format!("{}; {count} values are replaced", verdict.reason),
            redacted: Some(Redacted {
                request: changed,
                mapping,
            }),
            ..verdict
        }
    }

    /// Whether nothing that was to be replaced is left, and JSON is still JSON.
    fn is_redacted(&self, old: &str, new: &str, finds: &[Find], late: Late<'_>) -> bool {
        if finds.is_empty() {
            return true;
        }
        let json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        let whole = writing(old) == Writing::Text || json(new);
        let kinds: Vec<Kind> = finds.iter().map(|find| find.kind).collect();
        let left = self.reading.text(new, late);
        whole && left.is_ok_and(|left| !left.iter().any(|find| kinds.contains(&find.kind)))
    }
}

/// How a text is written: arguments of calls are JSON objects.
fn writing(text: &str) -> Writing {
    let object = text.trim_start().starts_with('{');
    match object && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        true => Writing::Json,
        false => Writing::Text,
    }
}

fn leave(action: Action) -> Leave {
    match action {
        Action::LocalOnly => Leave::LocalOnly,
        Action::Redact | Action::Allow => Leave::Allow,
        Action::PreferCloud => Leave::PreferCloud,
    }
}

fn stays(rule: &str, reason: impl Into<String>) -> Verdict {
    Verdict {
        leave: Leave::LocalOnly,
        rule: rule.to_owned(),
        reason: reason.into(),
        found: Vec::new(),
        redacted: None,
        held: None,
    }
}

fn content_stays(spot: &Spot<'_>, ruling: &Ruling) -> Verdict {
    let reason = match ruling.action {
        Action::Redact => format!("{}, but it cannot be where it stands", ruling.reason),
        _ => ruling.reason.clone(),
    };
    let place = match spot.place {
        Place::Message(i) => format!(" (message {})", i.saturating_add(1)),
        Place::Tool(_) => " (a tool's declaration)".to_owned(),
        Place::Rest => String::new(),
    };
    stays(&ruling.rule, format!("{reason}{place}"))
}

/// Remembers that a conversation stays.
fn hold(
    taint: &Taint,
    request: &Request,
    first: usize,
    spots: &[&Spot<'_>],
    verdict: Verdict,
    now: u64,
) -> Verdict {
    let mut alone: Vec<usize> = spots
        .iter()
        .filter_map(|spot| match spot.place {
            Place::Message(i) => Some(i),
            _ => None,
        })
        .collect();
    alone.dedup();
    let spans: Vec<&str> = spots
        .iter()
        .filter_map(|spot| spot.text.get(spot.find.start..spot.find.end))
        .filter(|span| !span.is_empty())
        .collect();
    // Where it cannot be kept nothing leaves from now on: the store sees to that.
    let held = taint.hold(request, first, &alone, &spans, now).ok();
    Verdict { held, ..verdict }
}

fn counted(spots: &[Spot<'_>]) -> Vec<Counted> {
    let mut counts: BTreeMap<(usize, String), (Kind, usize)> = BTreeMap::new();
    for spot in spots
        .iter()
        .filter(|spot| spot.find.kind.class() != Class::Harmless)
    {
        let key = (spot.find.kind.rank(), spot.find.detail.clone());
        let (_, count) = counts.entry(key).or_insert((spot.find.kind, 0));
        *count = count.saturating_add(1);
    }
    let counts = counts.into_iter();
    counts
        .map(|((_, detail), (kind, count))| Counted {
            kind,
            detail,
            count,
        })
        .collect()
}

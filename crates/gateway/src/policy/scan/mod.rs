//! What a text holds. Linear in the text, and bounded: what is too long or takes too long is not
//! classified, which means that it stays.
//!
//! ```text
//! text -> views (folded; percent, HTML, JSON escapes, base64 and hex read) -> detectors -> finds in the text
//! ```

mod checks;
mod compat;
mod contact;
mod decode;
mod ids;
mod numbers;
mod page;
mod place;
mod runs;
mod secrets;
mod terms;
mod vendors;
mod view;

pub use terms::{LONGEST_WORD, MOST_WORDS, Term};
pub(super) use view::fold;

use super::{Class, Find, Kind};
use contact::Contact;
use numbers::Numbers;
use page::{Cues, Page};
use place::Places;
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;
use secrets::Secrets;
use std::borrow::Cow;
use std::ops::Range;
use terms::Terms;
use view::View;

/// How much is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one text.
    pub text: usize,
    /// Bytes of all texts of a request.
    pub request: usize,
    /// Things found in one text.
    pub finds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 4 << 20,
            request: 8 << 20,
            finds: 10_000,
        }
    }
}

/// Why a text is not classified: it stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclassified {
    /// It is longer than is looked through.
    #[error("a text of {bytes} bytes is longer than the {most} that are looked through")]
    TooLong {
        /// How long.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// More was found than is kept apart.
    #[error("more than {0} sensitive spans are in one text")]
    TooMany(usize),
    /// The time for it was over.
    #[error("looking through it took too long")]
    Late,
    /// It is not text: an image, a file, bytes that are not UTF-8.
    #[error("{0} cannot be looked through")]
    NotText(&'static str),
}

/// Why no scanner can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// A word is empty or too long.
    #[error("a word of the term `{0}` is empty or longer than {LONGEST_WORD} bytes")]
    Term(String),
    /// There are too many.
    #[error("{0} words are more than the {MOST_WORDS} that terms may have")]
    TooManyTerms(usize),
    /// A form of this program's own is wrong: a bug.
    #[error("a form of the classifier cannot be used ({0}); this is a bug of Ingle's")]
    Internal(String),
}

/// A find of a detector, in places of the view.
#[derive(Debug, Clone)]
struct Raw {
    kind: Kind,
    detail: Cow<'static, str>,
    range: Range<usize>,
}

/// Forms as one automaton over bytes: ASCII letters, digits and words, nothing that goes back.
fn forms<P: AsRef<str>>(patterns: &[P]) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config()
        .utf8_empty(false)
        .nfa_size_limit(Some(64 << 20))
        .hybrid_cache_capacity(8 << 20);
    let build = Regex::builder()
        .configure(config)
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build_many(patterns);
    build.map_err(Box::new)
}

/// Says what texts hold.
pub struct Scanner {
    limits: Limits,
    cues: Cues,
    secrets: Secrets,
    contact: Contact,
    numbers: Numbers,
    places: Places,
    terms: Terms,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Somebody who says when time is over.
pub type Late<'a> = &'a dyn Fn() -> bool;

impl Scanner {
    /// A scanner that knows these terms.
    ///
    /// # Errors
    /// A term is wrong.
    pub fn new(terms: &[Term], limits: Limits) -> Result<Self, ScanError> {
        let internal = |error: &dyn std::fmt::Display| ScanError::Internal(error.to_string());
        Ok(Self {
            limits,
            cues: Cues::new().map_err(|e| internal(&e))?,
            secrets: Secrets::new().map_err(|e| internal(&e))?,
            contact: Contact::new().map_err(|e| internal(&e))?,
            numbers: Numbers::new().map_err(|e| internal(&e))?,
            places: Places::new().map_err(|e| internal(&e))?,
            terms: Terms::new(terms)?,
        })
    }

    /// What is looked through.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What a text holds, in the order in which it stands there. Finds may overlap: see [`apart`].
    ///
    /// # Errors
    /// It is not classified.
    pub fn scan(&self, text: &str, late: Late<'_>) -> Result<Vec<Find>, Unclassified> {
        if text.len() > self.limits.text {
            return Err(Unclassified::TooLong {
                bytes: text.len(),
                most: self.limits.text,
            });
        }
        let mut finds = Vec::new();
        self.view(&View::plain(text).folded(), &mut finds);
        for view in decode::views(text) {
            if late() {
                return Err(Unclassified::Late);
            }
            self.view(&view.folded(), &mut finds);
            if finds.len() > self.limits.finds.saturating_mul(4) {
                return Err(Unclassified::TooMany(self.limits.finds));
            }
        }
        if late() {
            return Err(Unclassified::Late);
        }
        finds.retain(|find| find.start < find.end);
        finds.sort_by_key(|find| (find.start, std::cmp::Reverse(find.end), find.kind.rank()));
        finds.dedup();
        if finds.len() > self.limits.finds {
            return Err(Unclassified::TooMany(self.limits.finds));
        }
        Ok(finds)
    }

    /// What a view holds, in places of its source.
    fn view(&self, view: &View<'_>, finds: &mut Vec<Find>) {
        let page = Page::new(&view.text, &self.cues);
        let (mut raw, mut taken) = (Vec::new(), Vec::new());
        self.secrets.find(&page, &mut raw, &mut taken);
        self.contact.find(&page, &mut raw, &mut taken);
        self.places.find(&page, &mut raw, &mut taken);
        self.numbers.find(&page, &mut raw, &mut taken);
        finds.extend(raw.into_iter().map(|raw| {
            let range = view.source(raw.range);
            Find {
                kind: raw.kind,
                detail: raw.detail.into_owned(),
                start: range.start,
                end: range.end,
            }
        }));
        self.terms.find(&view.text, &mut |find| {
            let range = view.source(find.start..find.end);
            finds.push(Find {
                start: range.start,
                end: range.end,
                ..find
            });
        });
    }
}

/// Of finds that overlap, those that matter more; what they leave of the others is theirs too.
///
/// Sensitive ones stand before harmless ones, then the longer, then the order of [`super::KINDS`].
pub fn apart(mut finds: Vec<Find>) -> Vec<Find> {
    finds.retain(|find| find.start < find.end);
    finds.sort_by_key(|find| (find.start, std::cmp::Reverse(find.end), find.kind.rank()));
    finds.dedup();
    let harmless = |find: &Find| find.kind.class() == Class::Harmless;
    let (soft, hard): (Vec<Find>, Vec<Find>) = finds.into_iter().partition(harmless);
    let mut kept: Vec<Find> = Vec::with_capacity(hard.len());
    for find in hard {
        match kept.last_mut() {
            // Two that overlap become one, of the better kind, so that every byte of both counts.
            Some(last) if find.start < last.end => {
                let (a, b) = (last.end - last.start, find.end - find.start);
                let better = match a == b {
                    true => find.kind.rank() < last.kind.rank(),
                    false => {
                        find.kind.class() == last.kind.class() && b > a || rank(&find) < rank(last)
                    }
                };
                if better {
                    last.kind = find.kind;
                    last.detail = find.detail;
                }
                last.end = last.end.max(find.end);
            }
            _ => kept.push(find),
        }
    }
    let free = |find: &Find| {
        let after = kept.partition_point(|k| k.end <= find.start);
        kept.get(after).is_none_or(|k| k.start >= find.end)
    };
    let mut soft: Vec<Find> = soft.into_iter().filter(free).collect();
    soft.dedup_by(|b, a| b.start < a.end);
    kept.extend(soft);
    kept.sort_by_key(|find| find.start);
    kept
}

/// Secrets before terms before personal data.
fn rank(find: &Find) -> u8 {
    match find.kind.class() {
        Class::Secret if find.kind != Kind::HighEntropy => 0,
        Class::Term => 1,
        Class::Personal => 2,
        _ => 3,
    }
}

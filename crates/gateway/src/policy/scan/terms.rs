//! The owner's own terms: names of projects, clients, medicines.

use super::ScanError;
use super::view::{Builder, View, fold};
use crate::policy::{Find, Kind};
use aho_corasick::{AhoCorasick, MatchKind};

/// Terms under a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What rules and reports call them.
    pub label: String,
    /// The words themselves. Case, accents and spaces do not count.
    pub words: Vec<String>,
    /// Found only where no letter or digit stands beside it.
    pub whole: bool,
}

/// More words than any company has secrets.
pub const MOST_WORDS: usize = 100_000;
/// The longest word, in bytes.
pub const LONGEST_WORD: usize = 256;

/// Finds terms.
pub struct Terms {
    words: Option<AhoCorasick>,
    /// For each word its label, and whether it must be whole.
    meaning: Vec<(String, bool)>,
}

impl Terms {
    /// # Errors
    /// A word is empty or too long, or there are too many.
    pub fn new(terms: &[Term]) -> Result<Self, ScanError> {
        let mut words = Vec::new();
        let mut meaning = Vec::new();
        for term in terms {
            for word in &term.words {
                let plain = plain(View::plain(word).folded()).text.trim().to_owned();
                if plain.is_empty() || word.len() > LONGEST_WORD {
                    return Err(ScanError::Term(term.label.clone()));
                }
                words.push(plain);
                meaning.push((term.label.clone(), term.whole));
            }
        }
        if words.len() > MOST_WORDS {
            return Err(ScanError::TooManyTerms(words.len()));
        }
        let build = || {
            AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .build(&words)
                .map_err(|error| ScanError::Internal(error.to_string()))
        };
        let words = if words.is_empty() {
            None
        } else {
            Some(build()?)
        };
        Ok(Self { words, meaning })
    }

    /// Finds in a folded text, in places of that text.
    pub fn find(&self, folded: &str, found: &mut dyn FnMut(Find)) {
        let Some(words) = &self.words else { return };
        let view = plain(View::plain(folded));
        let text = view.text.as_ref();
        for hit in words.find_overlapping_iter(text) {
            let Some((label, whole)) = self.meaning.get(hit.pattern().as_usize()) else {
                continue;
            };
            let before = text.get(..hit.start()).and_then(|t| t.chars().next_back());
            let after = text.get(hit.end()..).and_then(|t| t.chars().next());
            let joined = [before, after]
                .into_iter()
                .flatten()
                .any(char::is_alphanumeric);
            if !(*whole && joined) {
                let range = view.source(hit.range());
                found(Find {
                    kind: Kind::Term,
                    detail: label.clone(),
                    start: range.start,
                    end: range.end,
                });
            }
        }
    }
}

/// In small letters, with one space for each run of them.
fn plain(view: View<'_>) -> View<'static> {
    let mut made = Builder::with_capacity(view.text.len());
    let mut spaced = false;
    for (at, c) in view.text.char_indices() {
        let range = view.source(at..at.saturating_add(c.len_utf8()));
        if c.is_whitespace() {
            if !spaced {
                made.push(' ', range);
            }
            spaced = true;
            continue;
        }
        spaced = false;
        match c {
            // Folding of case by the book: these have no small form of one letter.
            'ß' | 'ẞ' => {
                made.push('s', range.clone());
                made.push('s', range);
            }
            'ς' => made.push('σ', range),
            c => c.to_lowercase().for_each(|c| {
                let folded = fold(c.encode_utf8(&mut [0; 4])).into_owned();
                folded.chars().for_each(|c| made.push(c, range.clone()));
            }),
        }
    }
    made.view()
}

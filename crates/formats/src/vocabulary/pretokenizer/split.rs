//! Cuts text into pieces, one stage after the other.
//!
//! A stage matches its pattern from left to right inside every piece that the stage before left;
//! a match becomes a piece, and so does what lies between two matches.
//!
//! Patterns run on a shadow of the text in which every character is one byte: ASCII is itself, any
//! other character is its general category. The automata are thereby small and take linear time.
//! They have no look-ahead; the one that pre-tokenizers use, `\s+(?!\S)`, is applied to the match
//! of a plain `\s+` ([`Spaces`]).

use std::borrow::Cow;

use regex_automata::{Input, meta, util::syntax};

use super::super::unicode::{Category, NAMES};
use super::set::CharSet;

/// Shadow bytes of characters beyond ASCII: this bit, the category, and [`FLAGGED`].
const BEYOND_ASCII: u8 = 0x80;
/// Set in the shadow of a character beyond ASCII that is in [`Stages::flagged`].
const FLAGGED: u8 = 0x40;

/// What a run of white space leaves to the piece that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spaces {
    /// Nothing: `\s+`, or no white space in the pattern.
    Keep,
    /// Its last character: `\s+(?!\S)|\s+`.
    LeaveOne,
    /// Its last character, unless it is a line break (which another alternative has matched).
    LeaveOneButLineBreak,
    /// As before, and the rest is cut into powers of two: `\s{512}(?!\S)|\s{256}(?!\S)|…`.
    PowersOfTwo,
}

/// What may stand before a run and belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    Nothing,
    /// ` ?`
    Space,
    /// `\s?`
    AnySpace,
}

/// `min` to `max` characters of a set.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) lead: Lead,
    pub(super) set: CharSet,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Run {
    /// Bytes of the match at the start of `text`.
    fn matches(&self, text: &str) -> Option<usize> {
        let lead = text.chars().next().filter(|c| match self.lead {
            Lead::Nothing => false,
            Lead::Space => *c == ' ',
            Lead::AnySpace => c.is_whitespace(),
        });
        let with_lead = lead.and_then(|c| {
            let after = text.get(c.len_utf8()..)?;
            Some(c.len_utf8() + self.body(after)?)
        });
        with_lead.or_else(|| self.body(text))
    }

    fn body(&self, text: &str) -> Option<usize> {
        let mut count = 0;
        let mut bytes = 0;
        for c in text
            .chars()
            .take(self.max)
            .take_while(|&c| self.set.contains(c))
        {
            count += 1;
            bytes += c.len_utf8();
        }
        (count >= self.min).then_some(bytes)
    }
}

/// One stage.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// The first of these runs that matches.
    Runs(Vec<Run>),
    /// A regular expression over shadow bytes.
    Pattern(Box<meta::Regex>, Spaces),
    /// Numbers in groups of three digits counted from the right. With `whole_words`, a number with
    /// a letter after it is left alone.
    Thousands { digits: CharSet, whole_words: bool },
    /// White space at the end of a piece.
    TrailingSpace,
}

impl Stage {
    /// A pattern in the usual notation; `\p{..}`, `\s` and `\p{Flagged}` are understood.
    pub(super) fn pattern(pattern: &str, spaces: Spaces) -> Result<Self, String> {
        let regex = meta::Regex::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .configure(meta::Config::new().utf8_empty(false))
            .build(&over_shadow(pattern))
            .map_err(|error| error.to_string())?;
        Ok(Self::Pattern(Box::new(regex), spaces))
    }
}

/// Writes categories and white space as classes of shadow bytes.
fn over_shadow(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find("\\p{") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(3..).unwrap_or("");
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(&shadow_class(name));
        rest = after;
    }
    out.push_str(rest);
    out.replace("\\s", &format!("[\\t-\\r {}]", shadow_class("Z")))
}

fn shadow_class(name: &str) -> String {
    if name == "Flagged" {
        return "[\\xC0-\\xFF]".to_owned();
    }
    let mut class = String::from("[");
    for (index, _) in (0_u8..).zip(NAMES).filter(|(_, n)| n.starts_with(name)) {
        for c in (0..0x80_u8).filter(|&c| Category::of(char::from(c)) == Category(index)) {
            class.push_str(&format!("\\x{c:02X}"));
        }
        let plain = BEYOND_ASCII | index;
        class.push_str(&format!("\\x{plain:02X}\\x{:02X}", plain | FLAGGED));
    }
    class.push(']');
    class
}

/// The stages of a pre-tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct Stages {
    pub(super) stages: Vec<Stage>,
    /// Characters that `\p{Flagged}` matches.
    pub(super) flagged: Option<CharSet>,
}

impl Stages {
    /// Cuts text into pieces: their lengths in bytes. Joined, the pieces are the text.
    pub(crate) fn split(&self, text: &str) -> Vec<usize> {
        let mut pieces = vec![text.len()];
        if text.is_empty() {
            pieces.clear();
        }
        let patterns = self.stages.iter().any(|s| matches!(s, Stage::Pattern(..)));
        let shadow = if patterns {
            self.shadow(text)
        } else {
            Cow::default()
        };
        for stage in &self.stages {
            let mut out = Out {
                pieces: Vec::with_capacity(pieces.len()),
            };
            match stage {
                Stage::Pattern(regex, spaces) => {
                    by_pattern(regex, *spaces, text, &shadow, &pieces, &mut out);
                }
                _ => each_piece(text, &pieces, |piece| stage.cut(piece, &mut out)),
            }
            pieces = out.pieces;
        }
        pieces
    }

    fn shadow<'a>(&self, text: &'a str) -> Cow<'a, [u8]> {
        if text.is_ascii() {
            return Cow::Borrowed(text.as_bytes());
        }
        let byte = |c: char| {
            if let Ok(byte) = u8::try_from(c)
                && byte.is_ascii()
            {
                return byte;
            }
            let category = if c.is_whitespace() {
                Category::SPACE_SEPARATOR
            } else {
                Category::of(c)
            };
            let flagged = self.flagged.as_ref().is_some_and(|set| set.contains(c));
            BEYOND_ASCII | category.0 | if flagged { FLAGGED } else { 0 }
        };
        Cow::Owned(text.chars().map(byte).collect())
    }
}

/// Lengths of pieces, none of them 0.
struct Out {
    pieces: Vec<usize>,
}

impl Out {
    fn push(&mut self, len: usize) {
        if len > 0 {
            self.pieces.push(len);
        }
    }
}

fn each_piece(text: &str, pieces: &[usize], mut cut: impl FnMut(&str)) {
    let mut rest = text;
    for &len in pieces {
        let (piece, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
        cut(piece);
        rest = after;
    }
}

impl Stage {
    fn cut(&self, piece: &str, out: &mut Out) {
        match self {
            Self::Runs(runs) => by_runs(runs, piece, out),
            Self::Thousands {
                digits,
                whole_words,
            } => {
                by_thousands(digits, *whole_words, piece, out);
            }
            Self::TrailingSpace => {
                let kept = piece.trim_end().len();
                out.push(kept);
                out.push(piece.len() - kept);
            }
            Self::Pattern(..) => out.push(piece.len()), // needs the shadow: see `Stages::split`
        }
    }
}

fn by_runs(runs: &[Run], piece: &str, out: &mut Out) {
    let mut gap = 0;
    let mut rest = piece;
    while let Some(c) = rest.chars().next() {
        let found = runs
            .iter()
            .find_map(|run| run.matches(rest))
            .filter(|&len| len > 0);
        let step = match found {
            Some(len) => {
                out.push(gap);
                out.push(len);
                gap = 0;
                len
            }
            None => {
                gap += c.len_utf8();
                c.len_utf8()
            }
        };
        rest = rest.get(step..).unwrap_or("");
    }
    out.push(gap);
}

fn by_thousands(digits: &CharSet, whole_words: bool, piece: &str, out: &mut Out) {
    const GROUP: usize = 3;
    let mut gap = 0;
    let mut rest = piece;
    while let Some(c) = rest.chars().next() {
        if !digits.contains(c) {
            gap += c.len_utf8();
            rest = rest.get(c.len_utf8()..).unwrap_or("");
            continue;
        }
        let number = rest.trim_start_matches(|c| digits.contains(c));
        let (number, after) = rest.split_at(rest.len() - number.len());
        rest = after;
        let word = |c: char| c == '_' || c.is_alphanumeric();
        if whole_words && after.starts_with(word) {
            gap += number.len();
            continue;
        }
        out.push(gap);
        gap = 0;
        let mut group = 0;
        let mut left = number.chars().count();
        for c in number.chars() {
            group += c.len_utf8();
            left -= 1;
            if left.is_multiple_of(GROUP) {
                out.push(group);
                group = 0;
            }
        }
    }
    out.push(gap);
}

fn by_pattern(
    regex: &meta::Regex,
    spaces: Spaces,
    text: &str,
    shadow: &[u8],
    pieces: &[usize],
    out: &mut Out,
) {
    let ascii = shadow.len() == text.len();
    let mut rest = text;
    // Takes `count` characters from the text and answers their bytes.
    let mut take = |count: usize| {
        let bytes = if ascii {
            count
        } else {
            rest.chars().take(count).map(char::len_utf8).sum()
        };
        rest = rest.get(bytes..).unwrap_or("");
        bytes
    };
    let mut start = 0;
    let mut at_text = text;
    for &len in pieces {
        let (piece, after) = at_text.split_at_checked(len).unwrap_or((at_text, ""));
        at_text = after;
        let end = start
            + if ascii {
                piece.len()
            } else {
                piece.chars().count()
            };
        let mut at = start;
        while at < end {
            let Some(found) = regex.find(Input::new(shadow).range(at..end)) else {
                break;
            };
            out.push(take(found.start() - at));
            at = found.start();
            let run = shadow.get(found.range()).unwrap_or_default();
            let to = spaces.cut(run, found.end() == end, |len| out.push(take(len)));
            at = (at + to).max(at + 1);
        }
        out.push(take(end.saturating_sub(at)));
        start = end;
    }
}

impl Spaces {
    /// Pushes the pieces of one match and answers how many of its characters they hold.
    fn cut(self, found: &[u8], at_end: bool, mut push: impl FnMut(usize)) -> usize {
        let len = found.len();
        let last = found.last().copied().unwrap_or_default();
        let ends_in_space = match last {
            b'\r' | b'\n' => self == Self::LeaveOne,
            b'\t'..=b'\r' | b' ' => true,
            _ => last & !FLAGGED == BEYOND_ASCII | Category::SPACE_SEPARATOR.0,
        };
        if !ends_in_space || self == Self::Keep {
            push(len);
            return len;
        }
        if self == Self::PowersOfTwo {
            return powers_of_two(len, at_end, push);
        }
        let kept = if at_end || len == 1 { len } else { len - 1 };
        push(kept);
        kept
    }
}

/// A run of `len` spaces as powers of two up to 512, the longest first; the last space is left to
/// the text that follows, if there is more than one.
fn powers_of_two(len: usize, at_end: bool, mut push: impl FnMut(usize)) -> usize {
    let kept = if at_end || len == 1 { len } else { len - 1 };
    let mut left = kept;
    while left > 0 {
        let size = (0..=9)
            .rev()
            .map(|power| 1 << power)
            .find(|size| *size <= left)
            .unwrap_or(1);
        push(size);
        left -= size;
    }
    kept
}

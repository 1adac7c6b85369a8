//! Guesses from the prompt and the text so far.
//!
//! Code that is edited, and what agents write, repeats long stretches of the prompt with small
//! changes. So the place that the text follows is remembered: where it departs from there, the next
//! guesses come from a little further on in the same place, even before enough tokens match again
//! to find it in the [`Index`]; and how it departed is remembered too, for [the next time](Edits).

use super::chances::Chances;
use super::edits::{self, Edits, Key, Possible};
use super::index::{Index, Match, matched};
use ingle_formats::TokenId;

/// Tokens of a match that make its place the one that is followed.
const FOLLOWED: u32 = 8;
/// Tokens of a match that end a change.
const RETURNED: u32 = 2;
/// How far behind the place that was left it is looked for again, in tokens.
const AHEAD: usize = 96;
/// The same before it.
const BACK: usize = 8;
/// Guesses end where the next is less likely to be reached.
const HOPELESS: f32 = 0.02;
/// Places that are kept in mind.
const PLACES: usize = 3;

/// Reads a text as it grows, and guesses how it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    index: Index,
    edits: Edits,
    chances: Chances,
    /// Tokens that have been read.
    read: usize,
    /// Places that may be followed now, at most [`PLACES`]; the first is the likeliest.
    places: Vec<Place>,
    /// Where the text was followed for long and then left.
    left: Option<Left>,
}

/// An earlier place of the text that may be how it goes on.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Match,
    /// Found where the text was followed before.
    near: bool,
    /// A change on the way.
    change: Option<Change>,
    /// Where the last one ended: there no other begins.
    changed: Option<usize>,
}

/// A change that is being made.
#[derive(Clone, Copy, Debug)]
struct Change {
    key: Key,
    /// Tokens of it that are written.
    written: usize,
    /// The place where it began.
    source: usize,
}

/// Where the text and the place that it followed parted.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// What would have come next.
    source: usize,
    /// The position of what came instead; the end of the text while it is still followed.
    at: usize,
    /// Whether it is known how it went on.
    settled: bool,
}

impl Follower {
    pub fn new() -> Self {
        Self {
            index: Index::new(),
            edits: Edits::default(),
            chances: Chances::default(),
            read: 0,
            places: Vec::with_capacity(2 * PLACES),
            left: None,
        }
    }

    /// Bytes that it takes at most, beside [`Self::TOKEN_BYTES`].
    pub const FIXED_BYTES: u64 = Index::FIXED_BYTES + Edits::BYTES;
    /// Bytes that it takes at most for each token of its text.
    pub const TOKEN_BYTES: u64 = Index::TOKEN_BYTES;

    /// Reads what came behind the tokens that have been read. Of those from `prompt_len` on it is
    /// noted what a guess would have been worth.
    pub fn read(&mut self, text: &[TokenId], prompt_len: usize) {
        while self.read < text.len() {
            self.read += 1;
            let text = &text[..self.read];
            if self.read > prompt_len {
                self.judge(text);
            }
            let found = self.index.extend(text);
            if self.read >= prompt_len {
                self.look(text, found);
            }
        }
    }

    /// Replaces `guesses` by how the text that was read may go on, at most `most` tokens, each with
    /// the probability that it and all before it are right.
    pub fn guess(&self, text: &[TokenId], most: usize, guesses: &mut Vec<(TokenId, f32)>) {
        guesses.clear();
        let Some(mut place) = self.places.first().copied() else {
            return;
        };
        let mut path = 1.0;
        while guesses.len() < most && path > HOPELESS {
            let possible = self.possible(text, &place);
            let (token, chance) = match (&mut place.change, possible) {
                (Some(change), _) => (self.edits.token(change.key, change.written), 0.95),
                (None, Some(edit)) if edit.probability >= 0.5 => {
                    place.begin(&edit);
                    (self.edits.token(edit.key, 0), edit.probability)
                }
                (None, edit) => {
                    // The text repeats itself up to its end: so do the guesses.
                    let own = || guesses.get(place.at.source.checked_sub(text.len())?);
                    let token = text.get(place.at.source).copied();
                    let unchanged = edit.map_or(1.0, |edit| 1.0 - edit.probability);
                    let chance = self.chances.of(place.near, place.at.matched);
                    (token.or_else(|| Some(own()?.0)), chance * unchanged)
                }
            };
            let Some(token) = token else {
                return;
            };
            path *= chance;
            guesses.push((token, path));
            self.advance(&mut place);
        }
    }

    /// The change that could begin at a place.
    fn possible(&self, text: &[TokenId], place: &Place) -> Option<Possible> {
        match place.change {
            None if place.changed == Some(place.at.source) => None,
            None if place.near || place.at.matched >= FOLLOWED => {
                self.edits.at(text, place.at.source)
            }
            _ => None,
        }
    }

    /// One token further.
    fn advance(&self, place: &mut Place) {
        place.at.matched = place.at.matched.saturating_add(1);
        match &mut place.change {
            None => place.at.source += 1,
            Some(change) => {
                change.written += 1;
                if self.edits.token(change.key, change.written).is_none() {
                    place.change = None;
                }
            }
        }
    }

    /// Compares the last token with what each place foretold.
    fn judge(&mut self, text: &[TokenId]) {
        let Some((&token, before)) = text.split_last() else {
            return;
        };
        let mut places = std::mem::take(&mut self.places);
        let followed = places.first().copied();
        places.retain_mut(|place| {
            let hit = self.foretold(before, place, token);
            if hit {
                self.advance(place);
            }
            hit
        });
        if let Some(place) = followed.filter(|p| p.at.matched >= FOLLOWED && self.unsettled(p)) {
            let source = place.change.map_or(place.at.source, |change| change.source);
            let written = place.change.map_or(0, |change| change.written);
            let at = before.len() - written;
            self.left = Some(Left {
                source,
                at,
                settled: false,
            });
        }
        self.places = places;
    }

    /// Whether a departure from this place is a new one.
    fn unsettled(&self, place: &Place) -> bool {
        place.near || self.left.is_none_or(|left| left.settled) || place.at.matched >= 2 * FOLLOWED
    }

    /// Whether `token` is how the text goes on from a place; a change that could begin there may
    /// have begun, or not.
    fn foretold(&mut self, text: &[TokenId], place: &mut Place, token: TokenId) -> bool {
        if let Some(change) = &place.change {
            return self.edits.token(change.key, change.written) == Some(token);
        }
        let expected = text.get(place.at.source) == Some(&token);
        let Some(edit) = self.possible(text, place) else {
            self.chances.note(place.near, place.at.matched, expected);
            return expected;
        };
        let begun = !expected && self.edits.token(edit.key, 0) == Some(token);
        self.edits.note(edit.key, begun);
        if begun {
            place.begin(&edit);
        }
        expected || begun
    }

    /// Finds the places that may be followed now, the likeliest first.
    fn look(&mut self, text: &[TokenId], found: Option<Match>) {
        // One is enough where it has been right for long.
        if self
            .places
            .first()
            .is_some_and(|p| p.at.matched >= 2 * FOLLOWED)
        {
            self.places.truncate(1);
        } else {
            // Long after it the text is somewhere else.
            self.left = self.left.filter(|left| text.len() - left.at <= 2 * AHEAD);
            let near = self.left.map(|left| nearby(text, left));
            let near = near.map(|at| Place::new(at, true));
            let found = found.map(|at| Place::new(at, false));
            for place in near.into_iter().chain(found) {
                let known = |p: &Place| p.at.source == place.at.source && p.change.is_none();
                if !self.places.iter().any(known) {
                    self.places.push(place);
                }
            }
            let chance = |p: &Place| match p.change {
                Some(_) => 1.0,
                None => self.chances.of(p.near, p.at.matched),
            };
            self.places.sort_by(|a, b| chance(b).total_cmp(&chance(a)));
            self.places.truncate(PLACES);
        }
        self.learn(text);
    }

    /// Remembers a change, once the text has returned to the place that it had left.
    fn learn(&mut self, text: &[TokenId]) {
        let (Some(left), Some(place)) = (&mut self.left, self.places.first()) else {
            return;
        };
        if left.settled || place.at.matched < RETURNED || place.change.is_some() || !place.near {
            return;
        }
        left.settled = true;
        // The match begins where both texts go on alike, but not before they parted.
        let matched = place.at.matched as usize;
        let (from, to) = (
            place.at.source.checked_sub(matched),
            text.len().checked_sub(matched),
        );
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        let overlap = left
            .source
            .saturating_sub(from)
            .max(left.at.saturating_sub(to));
        let (replaced, written) = (left.source..from + overlap, left.at..to + overlap);
        let sensible = |range: &std::ops::Range<usize>, len: usize| {
            range.start <= range.end && range.len() <= edits::LONGEST && range.end < len
        };
        if left.source > 0
            && sensible(&replaced, text.len())
            && sensible(&written, text.len())
            && !(replaced.is_empty() && written.is_empty())
        {
            let (before, after) = (text[left.source - 1], text[replaced.end]);
            self.edits
                .learn(before, &text[replaced], &text[written], after);
        }
    }
}

#[cfg(test)]
impl Follower {
    pub fn held_bytes(&self) -> usize {
        self.index.held_bytes() + self.edits.held_bytes()
    }
}

impl Place {
    fn new(at: Match, near: bool) -> Self {
        Self {
            at,
            near,
            change: None,
            changed: None,
        }
    }

    fn begin(&mut self, edit: &Possible) {
        self.change = Some(Change {
            key: edit.key,
            written: 0,
            source: self.at.source,
        });
        self.at.source += edit.replaces;
        self.changed = Some(self.at.source);
    }
}

/// The place around the one that was left which matches the end of the text best. Among equals the
/// one nearest to where the text would be if as many tokens were replaced as came since.
fn nearby(text: &[TokenId], left: Left) -> Match {
    let last = text.len() - 1;
    let diagonal = (left.source + (text.len() - left.at)).min(last);
    let from = left.source.saturating_sub(BACK).max(1);
    let to = (left.source + AHEAD).min(last);
    let mut best = Match {
        source: diagonal,
        matched: 0,
    };
    for source in from..=to {
        let matched = matched(text, source);
        let nearer = source.abs_diff(diagonal) < best.source.abs_diff(diagonal);
        if matched > best.matched || (matched > 0 && matched == best.matched && nearer) {
            best = Match { source, matched };
        }
    }
    best
}

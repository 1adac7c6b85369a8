//! Reading a request: every text by itself, and what is cut in two between them.

use super::kind::{Class, Find, Kind};
use super::memory::{Memory, name_of};
use super::scan::{Late, Scanner, Unclassified};
use crate::chat::{Part, Place, Request, Role, Text};
use std::sync::Arc;

/// Texts and finds that are remembered; a find takes some 70 bytes.
pub(super) const REMEMBERED: usize = 100_000;
/// Bytes of each side of a cut between two texts that are read together.
const SEAM: usize = 160;
/// Bytes that are read together at most, where many short texts follow one another.
const WINDOW: usize = 4096;
/// Bytes of the end of a window that are read again at the beginning of the next.
const OVERLAP: usize = 1024;

/// A find and where it was.
pub(super) struct Spot<'a> {
    pub text: &'a str,
    pub place: Place,
    pub find: Find,
    /// It cannot be replaced: a name, a number, or something cut in two.
    pub fixed: bool,
}

/// The message from which on a place counts.
pub(super) fn first_of(place: Place) -> usize {
    match place {
        Place::Message(i) => i,
        Place::Tool(_) | Place::Rest => 0,
    }
}

/// What reads texts, and what it has found in those that it has read.
pub(super) struct Reading {
    scanner: Arc<Scanner>,
    found: Memory<Arc<[Find]>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

/// A text, or the end of a long one, at a cut.
#[derive(Clone, Copy)]
struct Piece<'a> {
    message: usize,
    role: Role,
    text: &'a str,
}

impl Reading {
    pub fn new(scanner: Arc<Scanner>, remembered: usize) -> Self {
        Self {
            scanner,
            found: Memory::new(remembered),
        }
    }

    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// What a text holds, as [`Scanner::scan`] says.
    pub fn text(&self, text: &str, late: Late<'_>) -> Result<Arc<[Find]>, Unclassified> {
        let name = name_of(text);
        let weighs = |finds: &Arc<[Find]>| finds.len().saturating_add(1);
        if let Some(found) = self.found.get(&name, weighs) {
            return Ok(found);
        }
        let found: Arc<[Find]> = self.scanner.scan(text, late)?.into();
        self.found.put(name, Arc::clone(&found), weighs(&found));
        Ok(found)
    }

    /// Reads every text of a request, and what is cut between them.
    ///
    /// # Errors
    /// In which message what could not be read stands, and why it could not.
    pub fn request<'a>(
        &self,
        request: &Request,
        texts: &'a [Text<'a>],
        late: Late<'_>,
    ) -> Result<Vec<Spot<'a>>, (usize, Unclassified)> {
        let image = |part: &Part| !matches!(part, Part::Text(_));
        let with_image = (request.messages.iter()).position(|m| m.parts.iter().any(image));
        if let Some(first) = with_image {
            return Err((first, Unclassified::NotText("an image in it")));
        }
        let most = self.scanner.limits().request;
        let bytes: usize = texts.iter().map(|text| text.text.len()).sum();
        if bytes > most {
            return Err((0, Unclassified::TooLong { bytes, most }));
        }
        let mut spots = Vec::new();
        for text in texts {
            let finds = self.text(&text.text, late);
            let finds = finds.map_err(|why| (first_of(text.place), why))?;
            spots.extend(finds.iter().map(|find| Spot {
                text: &text.text,
                place: text.place,
                find: find.clone(),
                fixed: text.is_name,
            }));
        }
        self.seams(request, late, &mut spots)
            .map_err(|why| (0, why))?;
        Ok(spots)
    }

    /// Reads across the cuts: a number whose halves stand in two parts, or in two messages.
    fn seams(
        &self,
        request: &Request,
        late: Late<'_>,
        spots: &mut Vec<Spot<'_>>,
    ) -> Result<(), Unclassified> {
        for (message, of) in request.messages.iter().enumerate() {
            let parts = of.parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some(Piece {
                    message,
                    role: of.role,
                    text,
                }),
                Part::Image(_) => None,
            });
            self.seam(parts, "", late, spots)?;
        }
        let contents: Vec<String> = request.messages.iter().map(|m| m.content()).collect();
        let all = request.messages.iter().zip(&contents).enumerate();
        let all = all.map(|(message, (of, text))| Piece {
            message,
            role: of.role,
            text,
        });
        let of_user = all.clone().filter(|piece| piece.role == Role::User);
        self.seam(of_user.clone(), "", late, spots)?;
        self.seam(of_user, "\n", late, spots)?;
        self.seam(all, "\n", late, spots)
    }

    /// Reads the ends of texts that follow one another, with `joint` between them.
    fn seam<'t>(
        &self,
        texts: impl Iterator<Item = Piece<'t>>,
        joint: &str,
        late: Late<'_>,
        spots: &mut Vec<Spot<'_>>,
    ) -> Result<(), Unclassified> {
        let mut run: Vec<Piece<'t>> = Vec::new();
        for piece in texts.filter(|piece| !piece.text.is_empty()) {
            let (head, tail) = ends(piece.text);
            run.push(Piece {
                text: head,
                ..piece
            });
            if let Some(text) = tail {
                // Nothing is found across what was left out.
                self.run(&run, joint, late, spots)?;
                run.clear();
                run.push(Piece { text, ..piece });
            }
        }
        self.run(&run, joint, late, spots)
    }

    /// Reads texts that follow one another, window by window: all but the last are the same when more follows.
    fn run(
        &self,
        mut rest: &[Piece<'_>],
        joint: &str,
        late: Late<'_>,
        spots: &mut Vec<Spot<'_>>,
    ) -> Result<(), Unclassified> {
        let mut done: Vec<(usize, Find)> = Vec::new();
        let mut begun = 0_usize;
        while rest.len() > 1 {
            let (window, next) = window(rest, joint);
            let mut joined = String::new();
            let mut cuts = Vec::new();
            for piece in window {
                if !joined.is_empty() {
                    cuts.push(joined.len());
                    joined.push_str(joint);
                }
                joined.push_str(piece.text);
            }
            for find in self
                .text(&joined, late)?
                .iter()
                .filter(|find| is_checked(find))
            {
                let across =
                    |at: &usize| find.start < *at && find.end > at.saturating_add(joint.len());
                let Some(cut) = cuts.iter().position(across) else {
                    continue;
                };
                // What two windows share is found in both.
                let at = begun.saturating_add(find.start);
                if done
                    .iter()
                    .any(|(start, other)| *start == at && other.kind == find.kind)
                {
                    continue;
                }
                done.push((at, find.clone()));
                let mut sides = window.iter().skip(cut).take(2);
                // A system text is no conversation's own.
                let side = sides.clone().find(|piece| piece.role != Role::System);
                let message = side
                    .or_else(|| sides.next_back())
                    .map_or(0, |piece| piece.message);
                spots.push(Spot {
                    text: "",
                    place: Place::Message(message),
                    find: find.clone(),
                    fixed: true,
                });
            }
            let (passed, left) = rest.split_at(next);
            let bytes = passed
                .iter()
                .map(|piece| piece.text.len().saturating_add(joint.len()));
            begun = begun.saturating_add(bytes.sum());
            rest = left;
        }
        Ok(())
    }
}

/// The pieces that are read together, and where the next ones begin; behind the last there is one piece or none.
fn window<'a, 't>(rest: &'a [Piece<'t>], joint: &str) -> (&'a [Piece<'t>], usize) {
    let size = |piece: &Piece<'_>| piece.text.len().saturating_add(joint.len());
    let mut bytes = 0_usize;
    let fits = rest.iter().take_while(|piece| {
        bytes = bytes.saturating_add(size(piece));
        bytes <= WINDOW
    });
    let end = fits.count().clamp(2.min(rest.len()), rest.len());
    let (window, behind) = rest.split_at(end);
    if behind.is_empty() {
        return (window, rest.len());
    }
    let mut bytes = 0_usize;
    let again = window.iter().skip(1).rev().take_while(|piece| {
        bytes = bytes.saturating_add(size(piece));
        bytes <= OVERLAP
    });
    // At least the last one: it has a cut with what follows.
    (window, end.saturating_sub(again.count().max(1)))
}

/// Whether a kind is sure enough to be believed where two texts meet that nobody wrote as one.
fn is_checked(find: &Find) -> bool {
    match find.kind {
        Kind::Card | Kind::Iban | Kind::Email | Kind::NationalId | Kind::Term => true,
        Kind::HighEntropy => false,
        kind => kind.class() == Class::Secret,
    }
}

/// A text, or the beginning and the end of a long one.
fn ends(text: &str) -> (&str, Option<&str>) {
    if text.len() <= 2 * SEAM {
        return (text, None);
    }
    let head = text.floor_char_boundary(SEAM);
    let tail = text.ceil_char_boundary(text.len().saturating_sub(SEAM));
    (
        text.get(..head).unwrap_or_default(),
        Some(text.get(tail..).unwrap_or_default()),
    )
}

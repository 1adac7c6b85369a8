//! Numbers as people write them: groups of digits with little between them.

use super::page::Page;
use std::ops::Range;

/// Groups of one run at most that are looked at together.
const MOST_GROUPS: usize = 19;

/// Digits without anything between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where they stand.
    pub range: Range<usize>,
    /// A letter, a digit of another writing or `_` stands right before them.
    pub glued_before: bool,
    /// The same right behind them.
    pub glued_after: bool,
}

/// Groups with at most three separators between one and the next.
pub type Run = Vec<Group>;

/// Some neighbouring groups of a run.
#[derive(Clone)]
pub struct Window<'a> {
    page: &'a Page<'a>,
    groups: &'a [Group],
    /// Whether nothing of the run stands before it, or something that parts numbers.
    pub opens: bool,
    /// The same behind it.
    pub closes: bool,
    /// Values of its digits.
    pub digits: Vec<u8>,
}

fn is_separator(byte: u8) -> bool {
    b" -./()\n\r\t".contains(&byte)
}

/// All runs of a text, without those groups that stand in ranges that are taken.
pub fn runs(page: &Page<'_>, taken: &[Range<usize>]) -> Vec<Run> {
    let bytes = page.text.as_bytes();
    let mut runs = Vec::new();
    let mut run: Run = Vec::new();
    let mut taken = taken.iter().peekable();
    let mut at = 0_usize;
    while let Some(byte) = bytes.get(at) {
        if !byte.is_ascii_digit() {
            at = at.saturating_add(1);
            continue;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let range = at..at.saturating_add(len);
        at = range.end;
        while taken.next_if(|t| t.end <= range.start).is_some() {}
        if taken.peek().is_some_and(|t| t.start < range.end) {
            runs.push(std::mem::take(&mut run));
            continue;
        }
        let letter =
            |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80);
        let group = Group {
            glued_before: letter(page.before(range.start)),
            glued_after: letter(page.at(range.end)),
            range,
        };
        let joins = run.last().is_some_and(|last: &Group| {
            let gap = bytes
                .get(last.range.end..group.range.start)
                .unwrap_or_default();
            (1..=3).contains(&gap.len()) && gap.iter().all(|b| is_separator(*b))
        });
        if !joins {
            runs.push(std::mem::take(&mut run));
        }
        run.push(group);
    }
    runs.push(run);
    runs.retain(|run| !run.is_empty());
    runs
}

impl<'a> Window<'a> {
    /// Windows that begin with group `first`, the longest first, of at most `most` digits, and that have at least
    /// one end of their own.
    pub fn from(
        page: &'a Page<'a>,
        run: &'a Run,
        first: usize,
        most: usize,
    ) -> impl Iterator<Item = (usize, Self)> {
        let ahead = run.get(first..).unwrap_or_default();
        let mut digits = 0_usize;
        let fits = ahead.iter().take(MOST_GROUPS).take_while(|group| {
            digits = digits.saturating_add(group.range.len());
            digits <= most
        });
        let longest = fits.count();
        (1..=longest).rev().filter_map(move |n| {
            let groups = ahead.get(..n)?;
            Some((n, Self::new(page, run, first, groups)?))
        })
    }

    fn new(page: &'a Page<'a>, run: &'a Run, first: usize, groups: &'a [Group]) -> Option<Self> {
        let (head, tail) = (groups.first()?, groups.last()?);
        if head.glued_before {
            return None;
        }
        let gap = |a: &Group, b: &Group| page.cut(a.range.end..b.range.start);
        // A number is parted from the next by something that does not stand in it.
        let parts = |outer: &str| {
            let inside = groups.windows(2).any(|pair| match pair {
                [a, b] => gap(a, b) == outer,
                _ => false,
            });
            !inside && (outer.contains('\n') || groups.len() > 1)
        };
        let before = first.checked_sub(1).and_then(|i| run.get(i));
        let after = run.get(first.saturating_add(groups.len()));
        let opens = before.is_none_or(|group| parts(gap(group, head)));
        let closes = after.is_none_or(|group| parts(gap(tail, group)));
        if !opens && !closes {
            return None;
        }
        let text = page.cut(head.range.start..tail.range.end).bytes();
        let digits = text.filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
        Some(Self {
            page,
            groups,
            opens,
            closes,
            digits,
        })
    }

    /// Where it stands.
    pub fn range(&self) -> Range<usize> {
        let start = self.groups.first().map_or(0, |group| group.range.start);
        let end = self.groups.last().map_or(start, |group| group.range.end);
        start..end
    }

    /// A letter stands right behind it.
    pub fn glued_after(&self) -> bool {
        self.groups.last().is_some_and(|group| group.glued_after)
    }

    /// A letter stands against a group inside of it.
    pub fn glued_inside(&self) -> bool {
        let inner = self.groups.windows(2);
        inner.into_iter().any(|pair| match pair {
            [a, b] => a.glued_after || b.glued_before,
            _ => false,
        })
    }

    /// Lengths of its groups.
    pub fn lengths(&self) -> Vec<usize> {
        self.groups.iter().map(|group| group.range.len()).collect()
    }

    /// What stands between its groups.
    pub fn gaps(&self) -> Vec<&'a str> {
        let pairs = self.groups.windows(2);
        let gaps = pairs.filter_map(|pair| match pair {
            [a, b] => Some(self.page.cut(a.range.end..b.range.start)),
            _ => None,
        });
        gaps.collect()
    }

    /// Whether it is cut as `lengths` with nothing but `between` at the cuts.
    pub fn is_written(&self, lengths: &[usize], between: &str) -> bool {
        !lengths.is_empty()
            && self.lengths() == lengths
            && self
                .gaps()
                .iter()
                .all(|gap| gap.len() == 1 && between.contains(gap))
    }

    /// The value of a group.
    pub fn value(&self, group: usize) -> u64 {
        let group = self.groups.get(group);
        group.map_or(0, |group| {
            self.page
                .cut(group.range.clone())
                .parse()
                .unwrap_or(u64::MAX)
        })
    }

    /// The page it stands on.
    pub fn page(&self) -> &'a Page<'a> {
        self.page
    }
}

//! Numbers of people: cards, accounts, national numbers, telephones, dates.

use super::checks;
use super::ids::{IDS, LETTERED, Proof};
use super::page::{Cue, Page};
use super::runs::{Run, Window, runs};
use super::{Raw, forms};
use crate::policy::Kind;
use regex_automata::meta::{BuildError, Regex};
use std::borrow::Cow;
use std::ops::Range;

/// More digits has no number that is looked for.
const MOST_DIGITS: usize = 19;

/// The forms of numbers with letters.
pub struct Numbers {
    lettered: Regex,
    /// The same beside their words, in small letters too.
    small: Regex,
    coded: Regex,
}

/// Passports and licences: a code of letters and digits behind a word that says so.
const CODED: &str =
    r"\b(?:[A-Za-z]{1,3}[ -]|[A-Za-z]{1,8})?[0-9][A-Za-z0-9]{2,16}(?:[ -][A-Za-z0-9]{2,6}){0,4}\b";

impl Numbers {
    pub fn new() -> Result<Self, Box<BuildError>> {
        let bounded = |prefix: &str| {
            let bound = |id: &super::ids::Lettered| format!(r"{prefix}\b(?:{})(?:\b|$)", id.form);
            LETTERED.iter().map(bound).collect::<Vec<_>>()
        };
        Ok(Self {
            lettered: forms(&bounded(""))?,
            small: forms(&bounded("(?i)"))?,
            coded: forms(&[CODED])?,
        })
    }

    pub fn find(&self, page: &Page<'_>, finds: &mut Vec<Raw>, taken: &mut Vec<Range<usize>>) {
        let known = finds.len();
        self.ibans(page, finds);
        self.lettered(page, finds);
        self.coded(page, finds);
        taken.extend(finds.iter().skip(known).map(|raw| raw.range.clone()));
        taken.sort_by_key(|range| (range.start, range.end));
        for run in runs(page, taken) {
            of_run(page, &run, finds);
        }
    }

    fn ibans(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        let bytes = page.text.as_bytes();
        let mut next = 0;
        for (at, pair) in bytes.windows(4).enumerate() {
            let [a, b, c, d] = pair else { continue };
            let head = a.is_ascii_alphabetic()
                && b.is_ascii_alphabetic()
                && c.is_ascii_digit()
                && d.is_ascii_digit();
            let joined = page.before(at).is_some_and(|b| b.is_ascii_alphanumeric());
            if at >= next
                && head
                && !joined
                && let Some(range) = iban(page, at)
            {
                next = range.end;
                finds.push(Raw::new(Kind::Iban, "", range));
            }
        }
    }

    fn lettered(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        for (forms, small) in [(&self.lettered, false), (&self.small, true)] {
            for found in forms.find_iter(page.text) {
                let range = found.range();
                let row = found.pattern().as_usize();
                let Some(id) = LETTERED.get(row) else {
                    continue;
                };
                let text = page.cut(range.clone()).to_ascii_uppercase();
                let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
                // The sign in a Finnish code says the century; a dot or a dash elsewhere says nothing.
                let text = if ["fi-hetu"].contains(&id.name) {
                    text
                } else {
                    plain
                };
                let named = || {
                    page.says(Cue::Lettered(row), &range, 48, 16)
                        || page.says(Cue::AnyId, &range, 48, 16)
                };
                let coded = page.says(Cue::Licence, &range, 28, 0)
                    || page.says(Cue::Passport, &range, 28, 0);
                let proven = id.proof == Proof::Alone && !small && !coded;
                if (id.check)(&text) && (proven || named()) {
                    finds.push(Raw::new(Kind::NationalId, id.name, range));
                }
            }
        }
    }

    fn coded(&self, page: &Page<'_>, finds: &mut Vec<Raw>) {
        for found in self.coded.find_iter(page.text) {
            let range = found.range();
            let text = page.cut(range.clone());
            let (digits, short) = (checks::digits_of(text).len(), first_word(text));
            let word = range.start..range.start.saturating_add(short.len());
            for (cue, kind) in [
                (Cue::Passport, Kind::Passport),
                (Cue::Licence, Kind::DrivingLicence),
            ] {
                let near = page.nearest(cue, &range, 28, 0);
                let other = page.nearest(Cue::Id(0), &range, 28, 0);
                let nearest = near.filter(|near| other.is_none_or(|other| *near < other));
                if digits >= 5 && nearest.is_some() {
                    let spaced = kind == Kind::DrivingLicence && short.len() < 6;
                    let range = if spaced { range.clone() } else { word.clone() };
                    finds.push(Raw::new(kind, "", range));
                    break;
                }
            }
        }
    }
}

/// Up to the first space that stands behind a digit.
fn first_word(text: &str) -> &str {
    let digit = text.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let space = text.get(digit..).and_then(|rest| rest.find(' '));
    let end = space.map_or(text.len(), |space| digit.saturating_add(space));
    text.get(..end).unwrap_or(text)
}

/// Lengths of IBANs by country (SWIFT's registry, 2025).
const IBANS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24\
FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25\
MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23\
ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

fn iban_length(country: &str) -> Option<usize> {
    let rows = IBANS.as_bytes().chunks_exact(4);
    let row = rows
        .into_iter()
        .find(|row| row.starts_with(country.as_bytes()))?;
    std::str::from_utf8(row.get(2..)?).ok()?.parse().ok()
}

/// The IBAN that begins here, whatever stands between its groups.
fn iban(page: &Page<'_>, at: usize) -> Option<Range<usize>> {
    let country = page.cut(at..at.saturating_add(2)).to_ascii_uppercase();
    let length = iban_length(&country)?;
    let mut text = String::with_capacity(length);
    let (mut end, mut gap) = (at, 0);
    for (i, c) in page.text.get(at..)?.char_indices() {
        if c.is_ascii_alphanumeric() {
            text.push(c);
            gap = 0;
            end = at.saturating_add(i).saturating_add(1);
            if text.len() == length {
                break;
            }
        } else if gap < 2 && " -\n\r.".contains(c) {
            gap += 1;
        } else {
            return None;
        }
    }
    let more = page.at(end).is_some_and(|b| b.is_ascii_alphanumeric());
    let moved = text.chars().skip(4).chain(text.chars().take(4));
    (text.len() == length && !more && checks::mod_97(moved) == Some(1)).then_some(at..end)
}

/// Goes through a run, from the left, the longest number first.
fn of_run(page: &Page<'_>, run: &Run, finds: &mut Vec<Raw>) {
    let mut first = 0;
    while first < run.len() {
        let found = Window::from(page, run, first, MOST_DIGITS)
            .filter(|(_, window)| window.opens && window.closes)
            .find_map(|(n, window)| Some((n, number(&window)?)));
        let found = found.or_else(|| {
            // Telephone numbers stand beside postcodes and other numbers on the same line.
            let windows = Window::from(page, run, first, 15);
            let mut windows = windows.filter(|(_, window)| window.opens || window.closes);
            windows.find_map(|(n, window)| Some((n, phone(&window)?)))
        });
        match found {
            Some((n, raw)) => {
                finds.push(raw);
                first = first.saturating_add(n);
            }
            None => first = first.saturating_add(1),
        }
    }
}

fn number(window: &Window<'_>) -> Option<Raw> {
    date(window)
        .or_else(|| card(window))
        .or_else(|| national(window))
        .or_else(|| phone(window))
        .or_else(|| account(window))
}

/// First digits and lengths of the cards there are (ISO/IEC 7812, as the networks publish them).
fn is_card(digits: &[u8]) -> bool {
    let head = |n: usize| checks::number(digits.get(..n).unwrap_or_default());
    let (two, three, four) = (head(2), head(3), head(4));
    let n = digits.len();
    let network = match n {
        13 => two / 10 == 4,
        14 => matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37) || matches!(four, 1800 | 2131),
        16 => {
            two / 10 == 4
                || matches!(two, 51..=55 | 65 | 62 | 81)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011 | 2200..=2204)
                || matches!(three, 644..=649)
                || matches!(two, 36 | 60 | 50 | 56..=59 | 67 | 68 | 69)
        }
        17 | 18 => matches!(two, 62 | 50 | 56..=69),
        19 => matches!(two, 62 | 63 | 50 | 56..=69) || two / 10 == 4,
        _ => false,
    };
    network && checks::luhn(digits)
}

fn card(window: &Window<'_>) -> Option<Raw> {
    let n = window.digits.len();
    if !(13..=19).contains(&n)
        || window.glued_after()
        || window.glued_inside()
        || !is_card(&window.digits)
    {
        return None;
    }
    let range = window.range();
    let lengths = window.lengths();
    let even = match lengths.split_last() {
        Some((last, rest)) => rest.iter().all(|len| *len == 4) && *last <= 4 + n % 4,
        None => false,
    };
    let usual = lengths.len() == 1
        || even
        || matches!(lengths.as_slice(), [4, 6, 4 | 5] | [6, 13] | [4, 6, 6]);
    // Cut otherwise it is one when it stands alone, or a word says so.
    let alone = window.opens && window.closes;
    let named = window.page().says(Cue::Card, &range, 60, 30);
    // Few cards have 13, 17 or 18 digits, many other numbers do.
    let common = matches!(n, 14 | 15 | 16 | 19);
    let fraction = window.page().before(range.start) == Some(b'.');
    (((usual && common && !fraction) || (alone && lengths.len() > 2 && common)) || named)
        .then(|| Raw::new(Kind::Card, "", range))
}

fn national(window: &Window<'_>) -> Option<Raw> {
    if window.glued_after() || window.glued_inside() {
        return None;
    }
    let range = window.range();
    let page = window.page();
    // A part of a fraction, or all of one.
    let fraction = page.before(range.start) == Some(b'.')
        || page.before(range.start) == Some(b'$')
        || window.gaps() == ["."];
    let rows = IDS
        .iter()
        .enumerate()
        .filter(|(_, id)| id.digits == window.digits.len());
    for (row, id) in rows {
        if !(id.check)(&window.digits) {
            continue;
        }
        let written = window.is_written(id.groups, id.between);
        let named =
            || page.says(Cue::Id(row), &range, 56, 24) || page.says(Cue::AnyId, &range, 56, 24);
        let thing =
            || page.says(Cue::Thing, &range, 10, 0) || page.says(Cue::Digest, &range, 10, 0);
        let dialled = || page.says(Cue::Phone, &range, 30, 0);
        let proven = match id.proof {
            // One in many telephone numbers passes these checks too.
            Proof::Alone => !fraction && !thing() && (written || !dialled()),
            Proof::Written => written && !fraction,
            Proof::Word => false,
        };
        if proven || named() {
            return Some(Raw::new(Kind::NationalId, id.name, range));
        }
    }
    None
}

fn date(window: &Window<'_>) -> Option<Raw> {
    let gaps = window.gaps();
    let same = gaps.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    if !same
        || !gaps
            .first()
            .is_some_and(|gap| ["/", "-", ".", ". ", " / "].contains(gap))
    {
        return None;
    }
    let (a, b, c) = (window.value(0), window.value(1), window.value(2));
    let year = |y: u64| (1850..=2150).contains(&y);
    let right = match window.lengths().as_slice() {
        [4, 1 | 2, 1 | 2] => year(a) && checks::is_date(a, b, c),
        [1 | 2, 1 | 2, 4] => year(c) && (checks::is_date(c, a, b) || checks::is_date(c, b, a)),
        [2, 2, 2] | [1, 1 | 2, 2] | [2, 1, 2] => {
            let range = window.range();
            (checks::is_date(c, a, b) || checks::is_date(c, b, a))
                && (gaps.first() == Some(&"/") || window.page().says(Cue::Birth, &range, 40, 0))
        }
        _ => false,
    };
    let range = window.range();
    right.then(|| match window.page().says(Cue::Birth, &range, 48, 24) {
        true => Raw::new(Kind::BirthDate, "", range),
        false => Raw::new(Kind::Date, "", range),
    })
}

/// Where an extension behind a telephone number ends: `x123`, ` ext. 123`.
fn extension(page: &Page<'_>, end: usize) -> usize {
    let rest = page
        .lower
        .get(end..page.lower.len().min(end.saturating_add(24)))
        .unwrap_or_default();
    let spaced = rest.trim_start_matches([' ', ',']);
    let words = [
        "extension",
        "ext.",
        "ext",
        "x.",
        "x",
        "#",
        "durchwahl",
        "dw",
    ];
    let Some(tail) = words.iter().find_map(|word| spaced.strip_prefix(word)) else {
        return end;
    };
    let tail = tail.trim_start_matches([' ', ':']);
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    let skipped = rest.len().saturating_sub(tail.len());
    if (1..=7).contains(&digits) {
        end.saturating_add(skipped).saturating_add(digits)
    } else {
        end
    }
}

fn phone(window: &Window<'_>) -> Option<Raw> {
    let n = window.digits.len();
    let page = window.page();
    let digits = window.range();
    let gaps = window.gaps();
    let end = extension(page, digits.end);
    let extended = end > digits.end;
    let tidy = gaps
        .iter()
        .all(|gap| gap.len() <= 2 && !gap.contains('\n') || [") -", " - ", ") ."].contains(gap));
    if !(6..=15).contains(&n)
        || !tidy
        || window.glued_inside()
        || (window.glued_after() && !extended)
    {
        return None;
    }
    let lead = lead(page, digits.start);
    let range = lead.range.start..end;
    let before = page.before(range.start);
    // A price, a part of a name or of a sum.
    if before.is_some_and(|b| b"$#%=_@&".contains(&b)) || before.is_some_and(|b| b >= 0x80) {
        return None;
    }
    if is_years(window) {
        return None;
    }
    let sure = lead.plus && (8..=15).contains(&n) && window.digits.first() != Some(&0)
        || is_american(window, &lead)
        || is_alone(window, &lead)
        || is_dialled(window, &lead);
    let cue = page.nearest(Cue::Phone, &range, 44, 18);
    let cue = cue.or_else(|| is_labelled(page, end).then_some(0));
    let thing = page.nearest(Cue::Thing, &range, 12, 0);
    let spoken = || {
        let lengths = window.lengths();
        let groups = lengths.iter().all(|len| (2..=13).contains(len)) && lengths.len() <= 6;
        // `call 3 people 1000000 times`: a number alone needs a telephone's length.
        let whole = lengths.len() > 1 || n >= 7;
        cue.is_some()
            && thing.is_none_or(|far| cue.is_some_and(|near| near < far))
            && groups
            && whole
    };
    (sure && thing.is_none_or(|_| cue.is_some() || lead.plus) || spoken())
        .then(|| Raw::new(Kind::Phone, "", range))
}

/// `2008 - 2010`, `2011-12`.
fn is_years(window: &Window<'_>) -> bool {
    let year = |group| (1500..=2199).contains(&window.value(group));
    match window.lengths().as_slice() {
        [4, 4] => year(0) && year(1),
        [4, 2] => year(0),
        _ => false,
    }
}

/// `785 8949 office`, `785 8949-Fax`.
fn is_labelled(page: &Page<'_>, end: usize) -> bool {
    let rest = page.lower.get(end..).unwrap_or_default();
    let word = rest.trim_start_matches([' ', '-', '(', ',', ':']);
    rest.len().saturating_sub(word.len()) <= 3
        && ["office", "home", "work", "mobile", "cell", "fax", "direct"]
            .iter()
            .any(|label| word.starts_with(label))
}

/// A text that is a number of ten digits and nothing else: an answer to "what is your number?".
fn is_alone(window: &Window<'_>, lead: &Lead) -> bool {
    let range = lead.range.start..window.range().end;
    let text = window.page().text.trim();
    let first = window.digits.first().copied().unwrap_or(0);
    text.len() == range.len() && window.digits.len() == 10 && (first >= 2 || lead.plus)
}

/// What stands before the first digit.
struct Lead {
    range: Range<usize>,
    plus: bool,
    bracket: bool,
}

fn lead(page: &Page<'_>, start: usize) -> Lead {
    let head = page
        .text
        .get(start.saturating_sub(3)..start)
        .unwrap_or_default();
    let kept = head.len() - head.trim_end_matches(['(', '+', '[']).len();
    let signs = head.get(head.len() - kept..).unwrap_or_default();
    Lead {
        range: start.saturating_sub(kept)..start,
        plus: signs.contains('+'),
        bracket: signs.contains('('),
    }
}

/// `(978)645-9740`, `833.719.3994`, `001-748-088-2851`, `1 800 555 0199`.
fn is_american(window: &Window<'_>, lead: &Lead) -> bool {
    let lengths = window.lengths();
    let gaps = window.gaps();
    let ten = match lengths.as_slice() {
        [3, 3, 4] => true,
        [1 | 3, 3, 3, 4] => window.value(0) == 1,
        _ => false,
    };
    let plain = gaps.iter().all(|gap| ["-", "."].contains(gap))
        && gaps.windows(2).all(|p| matches!(p, [a, b] if a == b));
    let bracket = lead.bracket && gaps.first().is_some_and(|gap| gap.starts_with(')'));
    let bracket = bracket
        || gaps
            .iter()
            .any(|gap| gap.contains(')') || gap.contains('('));
    // With spaces alone the area and the exchange must be ones that there are.
    let spaced = gaps.iter().all(|gap| *gap == " ") && {
        let (area, exchange) = match lengths.len() {
            3 => (window.value(0), window.value(1)),
            _ => (window.value(1), window.value(2)),
        };
        area >= 200 && exchange >= 200
    };
    ten && (plain || bracket || spaced)
}

/// A trunk or country prefix (0, 00) and groups as people cut them, or an area in brackets.
fn is_dialled(window: &Window<'_>, lead: &Lead) -> bool {
    let lengths = window.lengths();
    let gaps = window.gaps();
    let n = window.digits.len();
    // Behind 00 and a country an area may have one digit.
    let abroad = window.digits.starts_with(&[0, 0]);
    let least = if abroad { 1 } else { 2 };
    let cut = lengths.len() >= 2 && lengths.iter().all(|len| (least..=8).contains(len));
    let dots = gaps.iter().all(|gap| *gap == ".");
    let prefix = window.digits.first() == Some(&0) && (9..=14).contains(&n);
    let area = lead.bracket
        && (7..=12).contains(&n)
        && gaps.first().is_some_and(|gap| gap.starts_with(')'))
        && lengths.first().is_some_and(|len| (2..=5).contains(len));
    cut && (area
        || prefix && (!dots || lengths.len() >= 4) && lengths.first().is_some_and(|len| *len <= 5))
}

/// A number beside a word that says that it is an account's, a patient's or a customer's.
fn account(window: &Window<'_>) -> Option<Raw> {
    let n = window.digits.len();
    let range = window.range();
    let page = window.page();
    let near = page.nearest(Cue::Account, &range, 30, 0)?;
    let nearer = page
        .nearest(Cue::Thing, &range, 30, 0)
        .is_some_and(|thing| thing < near);
    let said = page.cut(range.start.saturating_sub(near)..range.start);
    // The word and the number belong to one thought.
    let together = !said.contains(['\n', ';', '.']) || near <= 6;
    ((6..=18).contains(&n)
        && !nearer
        && together
        && !window.glued_after()
        && !window.glued_inside())
    .then(|| Raw::new(Kind::Account, "", range))
}

/// A number's name in reports.
impl Raw {
    pub fn new(kind: Kind, detail: &'static str, range: Range<usize>) -> Self {
        Self {
            kind,
            detail: Cow::Borrowed(detail),
            range,
        }
    }
}

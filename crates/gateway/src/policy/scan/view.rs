//! A text as detectors read it, and where each byte of that stands in the text as it came.
//!
//! Folding takes away what only hides: characters without width, full-width and other scripts' digits, letters
//! that look like Latin ones, accents, odd dashes and spaces. Most of it is Unicode's NFKD (UAX #15).

use super::compat::COMPAT;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// A text made from another one.
pub struct View<'a> {
    /// What detectors read.
    pub text: Cow<'a, str>,
    /// For each byte of `text`, from where to where it stands in the source; empty: it is the source.
    from: Vec<(u32, u32)>,
}

impl<'a> View<'a> {
    /// A text as it is.
    pub fn plain(text: &'a str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            from: Vec::new(),
        }
    }

    /// Where a range of the view stands in the source.
    pub fn source(&self, range: Range<usize>) -> Range<usize> {
        if self.from.is_empty() {
            return range;
        }
        let last = range.end.saturating_sub(1);
        let start = self.from.get(range.start).map_or(0, |(start, _)| *start);
        let end = self.from.get(last).map_or(start, |(_, end)| *end);
        start as usize..end as usize
    }

    /// The same text as a view of what `outer` is a view of.
    #[must_use]
    pub fn within(mut self, outer: &View<'_>) -> Self {
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        for (start, end) in &mut self.from {
            let range = outer.source(*start as usize..*end as usize);
            (*start, *end) = (at(range.start), at(range.end));
        }
        self
    }

    /// The same view with its text folded.
    pub fn folded(self) -> Self {
        if self.text.is_ascii() {
            return self;
        }
        let mut folded = Builder::with_capacity(self.text.len());
        for (at, c) in self.text.char_indices() {
            let range = self.source(at..at.saturating_add(c.len_utf8()));
            fold_char(c, &mut |c| folded.push(c, range.clone()));
        }
        folded.view()
    }
}

/// Makes a view character by character.
#[derive(Default)]
pub struct Builder {
    text: String,
    from: Vec<(u32, u32)>,
}

impl Builder {
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            from: Vec::with_capacity(bytes),
        }
    }

    /// A character that the source has in `range`.
    pub fn push(&mut self, c: char, range: Range<usize>) {
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.text.push(c);
        let place = (at(range.start), at(range.end));
        self.from.extend(std::iter::repeat_n(place, c.len_utf8()));
    }

    pub fn view(self) -> View<'static> {
        View {
            text: Cow::Owned(self.text),
            from: self.from,
        }
    }
}

/// A text folded, without a way back.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    text.chars()
        .for_each(|c| fold_char(c, &mut |c| folded.push(c)));
    Cow::Owned(folded)
}

fn fold_char(c: char, put: &mut dyn FnMut(char)) {
    if c.is_ascii() {
        return put(c);
    }
    if is_ignorable(c) {
        return;
    }
    if let Some(simple) = simple(c) {
        return put(simple);
    }
    if is_mark(c) {
        return;
    }
    match COMPAT_OF.get(&c) {
        Some(plain) => plain.chars().for_each(put),
        None => put(c),
    }
}

/// The table the other way round.
static COMPAT_OF: LazyLock<HashMap<char, &'static str>> = LazyLock::new(|| {
    let rows = COMPAT.iter();
    rows.flat_map(|(plain, all)| all.chars().map(|c| (c, *plain)))
        .collect()
});

/// Accents and the like, which stand behind the letter that they are on.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Full-width forms, and letters and digits of formulas, which stand in the order of ASCII.
fn regular(c: char) -> Option<char> {
    let code = u32::from(c);
    let plain = match code {
        0xFF01..=0xFF5E => code.checked_sub(0xFEE0)?,
        0x1D400..=0x1D6A3 => match code.checked_sub(0x1D400)? % 52 {
            n @ 0..26 => n + u32::from('A'),
            n => n - 26 + u32::from('a'),
        },
        0x1D7CE..=0x1D7FF => code.checked_sub(0x1D7CE)? % 10 + u32::from('0'),
        _ => return None,
    };
    char::from_u32(plain)
}

/// What has no width: the characters that Unicode calls default-ignorable, and controls of direction.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFC}' | '\u{2800}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// The ASCII character that looks or counts like this one.
fn simple(c: char) -> Option<char> {
    match c {
        '\u{2010}'..='\u{2015}'
        | '\u{2212}'
        | '\u{2043}'
        | '\u{FE58}'
        | '\u{FE63}'
        | '\u{FF0D}' => Some('-'),
        '\u{0085}' | '\u{2028}' | '\u{2029}' => Some('\n'),
        '\u{2018}'..='\u{201B}' | '\u{02BC}' => Some('\''),
        '\u{201C}'..='\u{201F}' => Some('"'),
        '\u{2024}' | '\u{3002}' | '\u{00B7}' | '\u{2022}' | '\u{2027}' => Some('.'),
        '\u{2044}' | '\u{2215}' => Some('/'),
        c if c.is_whitespace() => Some(' '),
        c => regular(c).or_else(|| digit(c)).or_else(|| look_alike(c)),
    }
}

/// The zeros of the scripts with decimal digits (Unicode 16, general category Nd), except those of
/// [`regular`].
const ZEROS: &[char] = &[
    '\u{0660}',
    '\u{06F0}',
    '\u{07C0}',
    '\u{0966}',
    '\u{09E6}',
    '\u{0A66}',
    '\u{0AE6}',
    '\u{0B66}',
    '\u{0BE6}',
    '\u{0C66}',
    '\u{0CE6}',
    '\u{0D66}',
    '\u{0DE6}',
    '\u{0E50}',
    '\u{0ED0}',
    '\u{0F20}',
    '\u{1040}',
    '\u{1090}',
    '\u{17E0}',
    '\u{1810}',
    '\u{1946}',
    '\u{19D0}',
    '\u{1A80}',
    '\u{1A90}',
    '\u{1B50}',
    '\u{1BB0}',
    '\u{1C40}',
    '\u{1C50}',
    '\u{A620}',
    '\u{A8D0}',
    '\u{A900}',
    '\u{A9D0}',
    '\u{A9F0}',
    '\u{AA50}',
    '\u{ABF0}',
    '\u{104A0}',
    '\u{10D30}',
    '\u{11066}',
    '\u{110F0}',
    '\u{11136}',
    '\u{111D0}',
    '\u{112F0}',
    '\u{11450}',
    '\u{114D0}',
    '\u{11650}',
    '\u{116C0}',
    '\u{11730}',
    '\u{118E0}',
    '\u{11950}',
    '\u{11C50}',
    '\u{11D50}',
    '\u{11DA0}',
    '\u{16A60}',
    '\u{16AC0}',
    '\u{16B50}',
    '\u{1E140}',
    '\u{1E2F0}',
    '\u{1E4F0}',
    '\u{1E950}',
];

fn digit(c: char) -> Option<char> {
    let after = ZEROS.partition_point(|zero| *zero <= c);
    let zero = ZEROS.get(after.checked_sub(1)?)?;
    let value = u32::from(c).checked_sub(u32::from(*zero))?;
    (value < 10).then(|| char::from_digit(value, 10)).flatten()
}

/// Letters of other scripts that are drawn as Latin ones.
fn look_alike(c: char) -> Option<char> {
    let latin = match c {
        'А' | 'Α' | 'Ꭺ' => 'A',
        'В' | 'Β' | 'Ᏼ' => 'B',
        'С' | 'Ϲ' | 'Ꮯ' => 'C',
        'Ꭰ' => 'D',
        'Е' | 'Ε' | 'Ꭼ' => 'E',
        'Ϝ' => 'F',
        'Ԍ' | 'Ꮐ' => 'G',
        'Н' | 'Η' | 'Ꮋ' => 'H',
        'І' | 'Ι' | 'Ӏ' => 'I',
        'Ј' | 'Ꭻ' => 'J',
        'К' | 'Κ' | 'Ꮶ' => 'K',
        'Ꮮ' => 'L',
        'М' | 'Μ' | 'Ꮇ' => 'M',
        'Ν' => 'N',
        'О' | 'Ο' | 'Օ' => 'O',
        'Р' | 'Ρ' | 'Ꮲ' => 'P',
        'Ѕ' | 'Ꮪ' => 'S',
        'Т' | 'Τ' | 'Ꭲ' => 'T',
        'Ս' => 'U',
        'Ѵ' | 'Ꮩ' => 'V',
        'Ԝ' | 'Ꮃ' => 'W',
        'Х' | 'Χ' => 'X',
        'У' | 'Υ' | 'Ү' => 'Y',
        'Ζ' | 'Ꮓ' => 'Z',
        'а' | 'α' | 'ɑ' => 'a',
        'с' | 'ϲ' => 'c',
        'ԁ' | 'ɗ' => 'd',
        'е' | 'ҽ' => 'e',
        'ɡ' | 'ց' => 'g',
        'һ' | 'հ' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'ո' => 'n',
        'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        _ => return None,
    };
    Some(latin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_taken_away() {
        for (text, want) in [
            ("４５３９", "4539"),
            ("٤٥٣٩", "4539"),
            ("45\u{200B}39", "4539"),
            ("раѕѕword", "password"),
            ("𝟒𝟓", "45"),
            ("A\u{2011}B\u{00A0}C", "A-B C"),
            ("e\u{301}é", "ee"),
            ("ｊｏｈｎ＠ｘ．ｃｏｍ", "john@x.com"),
        ] {
            assert_eq!(fold(text), want);
            assert_eq!(View::plain(text).folded().text, want);
        }
    }

    #[test]
    fn zeros_are_in_order() {
        assert!(ZEROS.is_sorted());
    }

    #[test]
    fn ranges_lead_back() {
        let text = "é 45\u{200B}39 ü";
        let view = View::plain(text).folded();
        let at = view.text.find("4539").unwrap();
        let source = view.source(at..at + 4);
        assert_eq!(&text[source], "45\u{200B}39");
    }
}

//! What can be known of a request before anything runs: its text in numbers.

use super::logistic::Row;
use super::split;
use std::collections::HashSet;

/// Bytes of a request that are looked at: the last ones, where the question stands.
const MOST_BYTES: usize = 32 * 1024;
/// Buckets of hashed words and pairs of words.
pub const BUCKETS: u32 = 4096;
/// Words of the last paragraph that are kept.
const MOST_WORDS: usize = 64;
/// Words and pairs that count at most.
const MOST_GRAMS: usize = 4096;

/// Names of the numbers in [`Asked::dense`].
pub const NAMES: [&str; 26] = [
    "words",
    "word_length",
    "lines",
    "digits",
    "numbers",
    "capitals",
    "mathematics",
    "code",
    "quotes",
    "questions",
    "options",
    "option_length",
    "option_numbers",
    "negation",
    "comparison",
    "quantity",
    "steps",
    "statements",
    "blank",
    "what",
    "which",
    "how",
    "why",
    "who",
    "if",
    "all",
];

/// Names of the numbers in [`Asked::more`].
pub const MORE: [&str; 10] = [
    "options_alike",
    "options_begin_apart",
    "options_of_a_word",
    "options_of_digits",
    "question_words",
    "long_words",
    "distinct_words",
    "years",
    "sentences",
    "names",
];

/// A request in numbers. Nothing of its text can be read out of `dense` and `key`.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// As [`NAMES`] says, each about 0 to 3.
    pub dense: Vec<f64>,
    /// As [`MORE`] says, each about 0 to 3: for the score of a request alone.
    pub more: Vec<f64>,
    /// Hashed words and pairs of words: (bucket, weight), weights of length 1 together.
    pub grams: Vec<(u32, f32)>,
    /// Hashes of the words of its last paragraph, the last first: what it is about, whatever stood before.
    pub words: Vec<u32>,
    /// A hash of the text, the same for near copies: says in which part of a split it is.
    pub key: u32,
}

impl Asked {
    /// Of the text of a request: its last message, or all that a person wrote.
    pub fn new(text: &str) -> Self {
        let mut start = text.len().saturating_sub(MOST_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let text = text.get(start..).unwrap_or_default();
        let lower = text.to_lowercase();
        let words: Vec<&str> = words(&lower).collect();
        Self {
            dense: dense(text, &lower, &words),
            more: more(text, &words),
            grams: grams(&words),
            words: last_words(text),
            key: split::part(text, "", u32::MAX),
        }
    }

    /// For [`super::logistic`].
    pub fn row(&self) -> Row {
        Row {
            dense: self.dense.clone(),
            sparse: self.grams.clone(),
        }
    }
}

/// What tells of the answers that are offered, and of how the question is written.
fn more(text: &str, all: &[&str]) -> Vec<f64> {
    let options = options(text);
    let question = match options.first() {
        Some(first) => text.split(first).next().unwrap_or(text),
        None => text,
    };
    let lower: Vec<String> = options.iter().map(|o| o.to_lowercase()).collect();
    let each: Vec<Vec<&str>> = lower
        .iter()
        .map(|o| words(o).take(MOST_WORDS).collect())
        .collect();
    let mean = |such: &dyn Fn(usize) -> f64| match each.len() {
        0 => 0.0,
        n => (0..n).map(such).sum::<f64>() / n as f64,
    };
    let of = |i: usize| each.get(i).map_or(&[][..], Vec::as_slice);
    let flag = |yes: bool| f64::from(u8::from(yes));
    let alike = mean(&|i| mean(&|j| if i == j { 0.0 } else { shared(of(i), of(j)) }));
    let mut firsts: Vec<&str> = each.iter().filter_map(|o| o.first().copied()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let bare = |i: usize| {
        let option = options.get(i).copied().unwrap_or_default();
        flag(!option.contains(char::is_alphabetic))
    };
    let n = all.len().max(1) as f64;
    let long = all.iter().filter(|word| word.chars().count() > 8).count();
    let distinct: HashSet<&&str> = all.iter().collect();
    let year = |word: &&&str| matches!(word.parse(), Ok(1000..=2099)) && word.len() == 4;
    let years = all.iter().filter(year).count();
    let ends = question.split_inclusive(['.', '!', '?']);
    let ends = ends
        .filter(|piece| piece.ends_with(['.', '!', '?']))
        .count();
    vec![
        alike * 2.0,
        firsts.len() as f64 / each.len().max(1) as f64,
        mean(&|i| flag(of(i).len() == 1)),
        mean(&bare),
        log(words(question).count() as f64) / 2.0,
        long as f64 / n * 5.0,
        distinct.len() as f64 / n,
        log(years as f64),
        log(ends as f64),
        log(names(text) as f64),
    ]
}

/// Words that two have both, of all that either has.
fn shared(a: &[&str], b: &[&str]) -> f64 {
    let (a, b): (HashSet<_>, HashSet<_>) = (a.iter().collect(), b.iter().collect());
    a.intersection(&b).count() as f64 / a.union(&b).count().max(1) as f64
}

/// Words with a capital that no sentence or line begins with.
fn names(text: &str) -> usize {
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace();
        let pairs = words.clone().zip(words.skip(1));
        let inner = |(before, word): &(&str, &str)| {
            before.ends_with(|c: char| c.is_lowercase() || c == ',')
                && word.starts_with(char::is_uppercase)
                && word.chars().nth(1).is_some_and(char::is_lowercase)
        };
        pairs.filter(inner).count()
    });
    lines.sum()
}

/// Runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
}

/// Hashes of the words of the last paragraph, the last first, each once.
fn last_words(text: &str) -> Vec<u32> {
    let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let lower = last.to_lowercase();
    let mut out: Vec<u32> = Vec::new();
    for word in words(&lower)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .take(MOST_WORDS)
    {
        let hash = (hash(0x51ed_270b_9f3a_1c05, word.as_bytes()) >> 16) as u32;
        if !out.contains(&hash) {
            out.push(hash);
        }
    }
    out
}

fn dense(text: &str, lower: &str, words: &[&str]) -> Vec<f64> {
    let letters = text.chars().count().max(1) as f64;
    let share = |such: fn(char) -> bool| text.chars().filter(|c| such(*c)).count() as f64 / letters;
    let any = |list: &[&str]| {
        let found = words.iter().filter(|word| list.contains(word)).count();
        log(found as f64)
    };
    let n = words.len().max(1) as f64;
    let length: usize = words.iter().map(|word| word.chars().count()).sum();
    let number = |word: &&&str| word.starts_with(|c: char| c.is_ascii_digit());
    let options = options(text);
    let option = |such: fn(&str) -> f64| match options.len() {
        0 => 0.0,
        n => options.iter().map(|o| such(o)).sum::<f64>() / n as f64,
    };
    vec![
        log(words.len() as f64) / 2.0,
        length as f64 / n / 5.0,
        log(text.lines().count() as f64) / 2.0,
        (share(|c| c.is_ascii_digit()) * 10.0).min(3.0),
        log(words.iter().filter(number).count() as f64),
        (share(char::is_uppercase) * 10.0).min(3.0),
        (share(|c| "+*/=^<>√∑∫π≤≥°%$\\".contains(c)) * 20.0).min(3.0),
        (share(|c| "{}[]();`_#".contains(c)) * 20.0).min(3.0),
        (share(|c| "\"“”‘’«»".contains(c)) * 20.0).min(3.0),
        log(text.matches('?').count() as f64),
        options.len().min(10) as f64 / 4.0,
        option(|o| log(o.len() as f64) / 3.0),
        option(|o| f64::from(u8::from(o.contains(|c: char| c.is_ascii_digit())))),
        any(&[
            "not",
            "except",
            "never",
            "no",
            "least",
            "false",
            "incorrect",
            "cannot",
            "unlikely",
        ]),
        any(&[
            "most",
            "best",
            "more",
            "less",
            "better",
            "than",
            "likely",
            "primarily",
            "main",
        ]),
        any(&[
            "many",
            "much",
            "calculate",
            "find",
            "value",
            "total",
            "number",
            "percent",
            "average",
            "cost",
            "rate",
            "ratio",
            "sum",
            "probability",
            "equal",
            "compute",
            "evaluate",
        ]),
        any(&[
            "then",
            "each",
            "every",
            "per",
            "after",
            "before",
            "twice",
            "half",
            "times",
            "left",
            "remaining",
            "first",
            "second",
            "per",
        ]),
        any(&["statement", "statements", "true", "i", "ii", "iii"]),
        log(lower.matches("___").count() as f64),
        any(&["what", "whats"]),
        any(&["which"]),
        any(&["how"]),
        any(&["why", "explain", "because"]),
        any(&["who", "when", "where", "whose"]),
        any(&["if", "suppose", "assume", "given", "let", "assuming"]),
        any(&["all", "none", "both", "neither", "above"]),
    ]
}

fn log(n: f64) -> f64 {
    libm::log1p(n).min(6.0)
}

/// The texts of `A. ...` or `B) ...`, where lines begin so.
fn options(text: &str) -> Vec<&str> {
    let option = |line: &'_ str| -> Option<usize> {
        let line = line.trim_start();
        let mut chars = line.chars();
        let letter = chars.next()?;
        let mark = chars.next()?;
        (letter.is_ascii_uppercase() && letter <= 'J' && ".):".contains(mark)).then_some(2)
    };
    let lines = text.lines().take(200);
    lines
        .filter_map(|line| option(line).and_then(|n| line.trim_start().get(n..)))
        .map(str::trim)
        .collect()
}

/// Words and pairs of words that are there, hashed; a number is any number.
fn grams(words: &[&str]) -> Vec<(u32, f32)> {
    let plain = |word: &'_ str| -> u64 {
        let number = word.chars().all(|c| c.is_ascii_digit());
        hash(
            0xcbf2_9ce4_8422_2325,
            if number { b"0" } else { word.as_bytes() },
        )
    };
    let single: Vec<u64> = words
        .iter()
        .take(MOST_GRAMS / 2)
        .map(|word| plain(word))
        .collect();
    let pairs = single.iter().zip(single.iter().skip(1));
    let pairs = pairs.map(|(a, b)| hash(a.rotate_left(17), &b.to_le_bytes()));
    let mut all: Vec<u32> = single.iter().copied().chain(pairs).map(bucket).collect();
    all.sort_unstable();
    all.dedup();
    let weight = 1.0 / (all.len().max(1) as f32).sqrt();
    all.into_iter().map(|bucket| (bucket, weight)).collect()
}

fn bucket(hash: u64) -> u32 {
    ((hash ^ (hash >> 29)) % u64::from(BUCKETS)) as u32
}

/// FNV-1a, from a beginning.
pub(super) fn hash(from: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(from, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str, name: &str) -> f64 {
        let i = NAMES.iter().position(|n| *n == name).unwrap();
        Asked::new(text).dense[i]
    }

    #[test]
    fn a_question_in_numbers() {
        let text = "Which of these is NOT 3 + 4?\nA. seven\nB. 12\nC. a long one of words\nAnswer:";
        assert_eq!(Asked::new(text).dense.len(), NAMES.len());
        assert_eq!(Asked::new(text).more.len(), MORE.len());
        assert_eq!(Asked::new("").more.len(), MORE.len());
        assert_eq!(value(text, "options"), 0.75);
        assert!((value(text, "option_numbers") - 1.0 / 3.0).abs() < 1e-9);
        assert!(value(text, "negation") > 0.5 && value(text, "which") > 0.5);
        assert_eq!((value(text, "why"), value("Why?", "options")), (0.0, 0.0));
        assert!(value(text, "numbers") > 1.0 && value("no digits", "numbers") == 0.0);
    }

    #[test]
    fn words_are_hashed_whatever_their_case() {
        let one = Asked::new("Add 17 apples");
        assert_eq!(
            (&one.grams, one.key),
            (
                &Asked::new("add 4 APPLES!").grams,
                Asked::new("add 4 APPLES!").key
            )
        );
        assert_eq!(one.grams.len(), 5, "three words and two pairs");
        let length: f32 = one.grams.iter().map(|g| g.1 * g.1).sum();
        assert!((length - 1.0).abs() < 1e-5);
        assert_ne!(one.grams, Asked::new("add 4 pears").grams);
    }

    proptest! {
        #[test]
        fn any_text_gives_numbers(text in "\\PC{0,300}") {
            let asked = Asked::new(&text);
            prop_assert!(asked.dense.iter().all(|x| x.is_finite() && (-1.0..=20.0).contains(x)), "{asked:?}");
            prop_assert!(asked.more.iter().all(|x| x.is_finite() && (0.0..=20.0).contains(x)), "{asked:?}");
            prop_assert!(asked.grams.iter().all(|g| g.0 < BUCKETS));
        }
    }

    #[test]
    fn a_long_text_counts_by_its_end() {
        let text = "ä".repeat(MOST_BYTES) + " why?";
        assert!(value(&text, "why") > 0.0);
    }
}

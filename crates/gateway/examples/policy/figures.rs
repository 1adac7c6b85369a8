//! How well the classifier finds what is marked, by type.

use ingle_gateway::policy::{Class, Find, Kind, Scanner, apart};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A text and what is marked in it: types and ranges of bytes.
pub struct Marked {
    pub text: String,
    /// The text with its values taken out: two texts of one template are one wording.
    pub template: String,
    pub spans: Vec<(String, usize, usize)>,
}

/// How often what is marked was found, and what was found was marked.
#[derive(Default, Clone, Copy, Debug)]
pub struct Counts {
    pub marked: usize,
    pub found: usize,
    /// Of the marked.
    pub hit: usize,
    /// Of the found.
    pub right: usize,
}

impl Counts {
    pub fn recall(self) -> f64 {
        self.hit as f64 / self.marked.max(1) as f64
    }

    pub fn precision(self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }

    pub fn add(&mut self, other: Self) {
        self.marked += other.marked;
        self.found += other.found;
        self.hit += other.hit;
        self.right += other.right;
    }
}

/// Types with a format that can be checked, and the kinds that are theirs.
pub const CHECKABLE: &[(&str, &[Kind])] = &[
    ("CREDIT_CARD", &[Kind::Card]),
    ("EMAIL_ADDRESS", &[Kind::Email]),
    ("IBAN_CODE", &[Kind::Iban]),
    ("IP_ADDRESS", &[Kind::IpAddress]),
    ("PHONE_NUMBER", &[Kind::Phone]),
    ("US_SSN", &[Kind::NationalId]),
    ("DOMAIN_NAME", &[Kind::WebAddress]),
];

/// Types with a format that other things have too, or none.
pub const OTHERS: &[(&str, &[Kind])] = &[
    ("DATE_TIME", &[Kind::Date, Kind::BirthDate]),
    ("US_DRIVER_LICENSE", &[Kind::DrivingLicence]),
    ("ADDRESS", &[Kind::Address]),
    ("PERSON", &[Kind::Name]),
    (
        "(none marked)",
        &[
            Kind::Account,
            Kind::Passport,
            Kind::MacAddress,
            Kind::HighEntropy,
            Kind::Password,
            Kind::VendorKey,
            Kind::Jwt,
            Kind::PrivateKey,
            Kind::Connection,
        ],
    ),
];

/// Reads texts in the form of `pii.json`: places are counted in characters there.
pub fn read(json: &str) -> Result<Vec<Marked>, String> {
    let rows: Vec<Value> = serde_json::from_str(json).map_err(|e| e.to_string())?;
    rows.iter()
        .map(|row| {
            let text = row["full_text"].as_str().ok_or("a row has no full_text")?;
            let starts: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
            let byte = |n: &Value| {
                let n = n.as_u64().unwrap_or(0) as usize;
                starts.get(n).copied().unwrap_or(text.len())
            };
            let spans = row["spans"].as_array().into_iter().flatten().map(|span| {
                let kind = span["entity_type"].as_str().unwrap_or_default().to_owned();
                (
                    kind,
                    byte(&span["start_position"]),
                    byte(&span["end_position"]),
                )
            });
            Ok(Marked {
                text: text.to_owned(),
                template: row["masked"].as_str().unwrap_or(text).to_owned(),
                spans: spans.collect(),
            })
        })
        .collect()
}

/// Whether a wording is held out: by the hash of it in small letters with single spaces, 3 in 10.
pub fn is_held_out(wording: &str) -> bool {
    let plain = wording.to_lowercase();
    let plain: Vec<&str> = plain.split_whitespace().collect();
    let hash = Sha256::digest(plain.join(" "));
    hash.first().is_some_and(|byte| byte % 10 < 3)
}

/// More than half of both is the same.
fn agree(a: (usize, usize), b: (usize, usize)) -> bool {
    let both = a.1.min(b.1).saturating_sub(a.0.max(b.0));
    let either = a.1.max(b.1) - a.0.min(b.0);
    both * 2 > either
}

/// Counts by type. `miss` hears of everything that is wrong.
pub fn count(
    scanner: &Scanner,
    rows: &[&Marked],
    miss: &mut dyn FnMut(&str, &str, &str),
) -> BTreeMap<&'static str, Counts> {
    let mut counts: BTreeMap<&'static str, Counts> = BTreeMap::new();
    for row in rows {
        let finds = scanner.scan(&row.text, &|| false).unwrap_or_default();
        let finds: Vec<Find> = apart(finds);
        for (name, kinds) in CHECKABLE.iter().chain(OTHERS) {
            let marked: Vec<_> = row.spans.iter().filter(|(kind, ..)| kind == name).collect();
            let found: Vec<_> = finds.iter().filter(|f| kinds.contains(&f.kind)).collect();
            let counts = counts.entry(name).or_default();
            counts.marked += marked.len();
            counts.found += found.len();
            for (_, start, end) in &marked {
                if found
                    .iter()
                    .any(|f| agree((f.start, f.end), (*start, *end)))
                {
                    counts.hit += 1;
                } else {
                    miss(
                        name,
                        "missed",
                        &format!("{:?} in {:?}", &row.text[*start..*end], row.text),
                    );
                }
            }
            for f in &found {
                if marked
                    .iter()
                    .any(|(_, s, e)| agree((f.start, f.end), (*s, *e)))
                {
                    counts.right += 1;
                } else {
                    let text = &row.text[f.start..f.end];
                    miss(
                        name,
                        "wrong",
                        &format!("{} {text:?} in {:?}", f.kind, row.text),
                    );
                }
            }
        }
    }
    counts
}

/// What is found in texts without marks, one a line, by kind.
#[allow(dead_code, reason = "the tests only count")]
pub fn alarms(scanner: &Scanner, text: &str, miss: &mut dyn FnMut(&str, &str, &str)) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut texts, mut touched) = (0, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let finds = apart(scanner.scan(line, &|| false).unwrap_or_default());
        let sensitive = |find: &&Find| find.kind.class() != Class::Harmless;
        texts += 1;
        touched += usize::from(finds.iter().any(|find| sensitive(&find)));
        for find in finds.iter().filter(sensitive) {
            *counts.entry(find.kind.name()).or_default() += 1;
            miss(
                "no mark",
                "found",
                &format!(
                    "{} {:?} in {line:?}",
                    find.kind,
                    &line[find.start..find.end]
                ),
            );
        }
    }
    format!("{touched} of {texts} texts would stay; {counts:?}")
}

/// The sum over the types with a format that can be checked.
pub fn checkable(counts: &BTreeMap<&'static str, Counts>) -> Counts {
    let mut sum = Counts::default();
    for (name, _) in CHECKABLE {
        if let Some(one) = counts.get(name) {
            sum.add(*one);
        }
    }
    sum
}

/// A table in Markdown.
#[allow(dead_code, reason = "the tests only count")]
pub fn table(rows: &[(String, Counts)]) -> String {
    let mut out = String::from(
        "| type | marked | found | recall | precision |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for (name, c) in rows {
        let share = |value: f64, of: usize| match of {
            0 => "-".to_owned(),
            _ => format!("{value:.3}"),
        };
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} |",
            c.marked,
            c.found,
            share(c.recall(), c.marked),
            share(c.precision(), c.found)
        );
    }
    out
}

//! Numbers of people from many countries, in sentences of many languages, and numbers that are nobody's:
//! `goldens/people.tsv`, made by `make_people.py` beside it.

use super::*;
use ingle_gateway::policy::{Class, Kind};
use std::collections::BTreeMap;

/// Marked, hit; found, right.
#[derive(Default)]
struct Counts {
    marked: usize,
    hit: usize,
    found: usize,
    right: usize,
}

impl Counts {
    fn recall(&self) -> f64 {
        self.hit as f64 / self.marked.max(1) as f64
    }

    fn precision(&self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }
}

/// A sentence without its marks, and where the value stands.
fn marked(sentence: &str) -> (String, Option<(usize, usize)>) {
    let Some((before, rest)) = sentence.split_once('«') else {
        return (sentence.to_owned(), None);
    };
    let (value, after) = rest.split_once('»').unwrap();
    let span = (before.len(), before.len() + value.len());
    (format!("{before}{value}{after}"), Some(span))
}

/// More than half of both is the same.
fn agree(a: (usize, usize), b: (usize, usize)) -> bool {
    let both = a.1.min(b.1).saturating_sub(a.0.max(b.0));
    both * 2 > a.1.max(b.1) - a.0.min(b.0)
}

#[test]
fn numbers_of_people_are_found_and_others_are_not() {
    let kinds = [
        Kind::Phone,
        Kind::NationalId,
        Kind::Iban,
        Kind::Card,
        Kind::Email,
        Kind::IpAddress,
    ];
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut alarms = 0;
    for line in include_str!("../goldens/people.tsv").lines() {
        let Some((kind, rest)) = line.split_once('\t').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (of, sentence) = rest.split_once('\t').unwrap();
        let (text, span) = marked(sentence);
        let finds = apart(SCANNER.scan(&text, &|| false).unwrap());
        for find in &finds {
            let Some(found) = kinds.iter().find(|found| **found == find.kind) else {
                continue;
            };
            let counts = counts.entry(found.name()).or_default();
            counts.found += 1;
            let right = kind == found.name()
                && span.is_some_and(|span| agree(span, (find.start, find.end)));
            counts.right += usize::from(right);
            if !right {
                println!("wrong {} of {of}: {sentence}", found.name());
            }
        }
        let personal = finds.iter().any(|f| f.kind.class() != Class::Harmless);
        alarms += usize::from(kind == "none" && personal);
        if let Some(span) = span {
            let hit = finds
                .iter()
                .any(|f| f.kind.name() == kind && agree(span, (f.start, f.end)));
            let name = kinds.iter().find(|k| k.name() == kind).unwrap().name();
            let counts = counts.entry(name).or_default();
            counts.marked += 1;
            counts.hit += usize::from(hit);
            if !hit {
                println!("missed {kind} of {of}: {sentence}");
            }
        }
    }
    for (kind, c) in &counts {
        println!(
            "{kind}: {} marked, recall {:.3}; {} found, precision {:.3}",
            c.marked,
            c.recall(),
            c.found,
            c.precision()
        );
    }
    println!("alarms where nothing is marked: {alarms}");
    for (kind, c) in &counts {
        assert!(c.recall() >= 0.95, "{kind}: recall {:.3}", c.recall());
        assert!(
            c.precision() >= 0.95,
            "{kind}: precision {:.3}",
            c.precision()
        );
    }
}

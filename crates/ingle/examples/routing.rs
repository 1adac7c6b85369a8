//! The score of a request before it runs: trained on some subjects, tried on others.
//!
//! `cargo run --release --example routing -- FOLDER` tries it: FOLDER has files of RouteLLM, a subject each
//! (`prompt`, was the weak model right, was the strong one), as `../shared/data/evals/routellm`. Subjects are
//! cut into five parts by the hash of their names; each part is tried with weights that learned from the
//! others. With `--tried FOLDER` the weights learn from all of the first folder and are tried on the second,
//! with `--shipped` the ones that are shipped are tried on the first. With `--write FILE` weights that learned
//! from all are written there, with `--grid` strengths of the ridge are compared: so `crates/gateway/src/confidence/request_score.json` was made.

use ingle::gateway::confidence::asked::{Asked, NAMES};
use ingle::gateway::confidence::logistic::Ridge;
use ingle::gateway::confidence::measure::Noise;
use ingle::gateway::confidence::pair::{Question, Routed, measure};
use ingle::gateway::confidence::score::{Outcome, RIDGE, RequestScore};
use ingle::gateway::confidence::split;
use std::path::Path;

type Tried<T> = Result<T, Box<dyn std::error::Error>>;

/// Parts that subjects are cut into.
const PARTS: u32 = 5;

/// The questions of one file.
struct Subject {
    name: String,
    outcomes: Vec<Outcome>,
}

fn main() -> Tried<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (folder, rest) = args.split_first().ok_or("give a folder of .csv files")?;
    let subjects = read_all(folder.as_ref())?;
    let all: Vec<Outcome> = subjects.iter().flat_map(|s| s.outcomes.clone()).collect();
    println!("{} files, {} questions", subjects.len(), all.len());
    match &rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => across(&subjects),
        ["--shipped"] => table(&all, &scores(&RequestScore::built_in(), &all)),
        ["--tried", other] => {
            let other: Vec<Outcome> = read_all(other.as_ref())?
                .into_iter()
                .flat_map(|s| s.outcomes)
                .collect();
            table(&other, &scores(&RequestScore::train(&all, RIDGE), &other));
        }
        ["--write", file] => {
            let score = RequestScore::train(&all, RIDGE);
            for (name, weight) in score.weights() {
                println!("{name:16} {weight:7.3}");
            }
            let from = format!(
                "{} questions of {} subjects of MMLU as published with RouteLLM",
                all.len(),
                subjects.len()
            );
            std::fs::write(file, score.to_text(&from)? + "\n")?;
        }
        ["--grid"] => grid(&subjects),
        ["--splits", n] => println!("{}", over(&subjects, RIDGE, n.parse()?)),
        _ => {
            let all =
                "--shipped, --tried FOLDER, --write FILE, --grid, --splits N, or nothing more";
            return Err(format!("give {all}").into());
        }
    }
    Ok(())
}

fn grid(subjects: &[Subject]) {
    for dense in [30.0, 100.0, 300.0, 1000.0] {
        for sparse in [30.0, 100.0, 300.0, 1e6] {
            let ridge = Ridge { dense, sparse };
            println!("{dense} {sparse}: {}", over(subjects, ridge, 4));
        }
    }
}

/// The figures of this many splits of the subjects.
fn over(subjects: &[Subject], ridge: Ridge, splits: u32) -> String {
    let (mut apgr, mut cpt50, mut cpt80) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..splits {
        let (outcomes, found) = held_out(subjects, ridge, &format!("subjects {n}"));
        if let Some(r) = routed(&outcomes, &found) {
            apgr.push(r.apgr);
            cpt50.push(r.cpt50);
            cpt80.push(r.cpt80);
        }
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let least = apgr.iter().copied().fold(f64::INFINITY, f64::min);
    let most = apgr.iter().copied().fold(0.0, f64::max);
    format!(
        "{splits} splits: APGR {:.4} ({least:.4} to {most:.4}), CPT(50%) {:.1}%, CPT(80%) {:.1}%",
        mean(&apgr),
        mean(&cpt50) * 100.0,
        mean(&cpt80) * 100.0
    )
}

/// Every subject, tried with what learned from the subjects of other parts.
fn held_out(subjects: &[Subject], ridge: Ridge, salt: &str) -> (Vec<Outcome>, Vec<f64>) {
    let part = |s: &Subject| split::part(&s.name, salt, PARTS);
    let (mut outcomes, mut found) = (Vec::new(), Vec::new());
    for p in 0..PARTS {
        let pick = |inside: bool| -> Vec<Outcome> {
            let chosen = subjects.iter().filter(|s| (part(s) == p) == inside);
            chosen.flat_map(|s| s.outcomes.clone()).collect()
        };
        let score = RequestScore::train(&pick(false), ridge);
        let tried = pick(true);
        found.extend(scores(&score, &tried));
        outcomes.extend(tried);
    }
    (outcomes, found)
}

fn across(subjects: &[Subject]) {
    let (outcomes, found) = held_out(subjects, RIDGE, "subjects");
    table(&outcomes, &found);
}

fn scores(score: &RequestScore, outcomes: &[Outcome]) -> Vec<f64> {
    outcomes.iter().map(|o| score.score(&o.asked)).collect()
}

fn routed(outcomes: &[Outcome], scores: &[f64]) -> Option<Routed> {
    let question = |(o, score): (&Outcome, &f64)| Question {
        score: *score,
        weak: o.weak,
        strong: o.strong,
    };
    measure(
        &outcomes
            .iter()
            .zip(scores)
            .map(question)
            .collect::<Vec<_>>(),
    )
}

/// The score beside routing at random, by length, by numbers and with hindsight.
fn table(outcomes: &[Outcome], score: &[f64]) {
    let named = |name: &str| -> Vec<f64> {
        let i = NAMES.iter().position(|n| *n == name).unwrap_or(0);
        outcomes
            .iter()
            .map(|o| o.asked.dense.get(i).copied().unwrap_or(0.0))
            .collect()
    };
    let mut noise = Noise(1);
    let random: Vec<f64> = outcomes.iter().map(|_| noise.unit()).collect();
    let gain = |o: &Outcome| f64::from(i8::from(o.strong) - i8::from(o.weak));
    let hindsight: Vec<f64> = outcomes.iter().map(gain).collect();
    println!(
        "| router | weak right | strong right | APGR | CPT(50%) | CPT(80%) |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    );
    for (name, scores) in [
        ("the score", score.to_vec()),
        ("longest first", named("words")),
        ("most numbers first", named("numbers")),
        ("at random", random),
        ("with hindsight", hindsight),
    ] {
        match routed(outcomes, &scores) {
            Some(r) => println!(
                "| {name} | {:.1}% | {:.1}% | {:.3} | {:.1}% | {:.1}% |",
                r.weak * 100.0,
                r.strong * 100.0,
                r.apgr,
                r.cpt50 * 100.0,
                r.cpt80 * 100.0
            ),
            None => println!("| {name} | the strong model is no better | | | | |"),
        }
    }
}

fn read_all(folder: &Path) -> Tried<Vec<Subject>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "csv"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let records = csv(&std::fs::read_to_string(&path)?);
        let right = |text: &String| text == "True";
        let outcome = |fields: &Vec<String>| match &fields[..] {
            [prompt, weak, strong, ..] => Some(Outcome {
                asked: Asked::new(prompt),
                weak: right(weak),
                strong: right(strong),
            }),
            _ => None,
        };
        all.push(Subject {
            name: path
                .file_stem()
                .map_or(String::new(), |n| n.to_string_lossy().into_owned()),
            outcomes: records.iter().skip(1).filter_map(outcome).collect(),
        });
    }
    Ok(all)
}

/// The records of a text in comma-separated fields (RFC 4180).
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                all.push(std::mem::take(&mut record));
            }
            '\r' if !quoted => {}
            c => field.push(c),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        all.push(record);
    }
    all
}

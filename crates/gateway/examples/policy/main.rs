//! Figures of the classifier: personal data on texts in the form of `pii.json`, secrets on a corpus that is
//! made here.
//!
//! ```text
//! cargo run --release -p ingle-gateway --example policy -- [--all] [--show] FILE.json TEXT.txt
//! ```
//!
//! Without `--all` only the wordings that are held out count; `--show` lists what is wrong. Of a file that is not
//! JSON each line is a text without marks: what is found in those is counted by kind.

mod corpus;
mod figures;

use figures::{CHECKABLE, Counts, Marked, OTHERS, checkable, count, is_held_out, read, table};
use ingle_gateway::policy::{Limits, Scanner};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let scanner = Scanner::new(&[], Limits::default())?;
    let mut miss = |name: &str, how: &str, what: &str| {
        if has("--show") {
            println!("{name} {how}: {what}");
        }
    };
    for path in args.iter().filter(|arg| !arg.starts_with("--")) {
        let text = std::fs::read_to_string(path)?;
        if !path.ends_with(".json") {
            println!("{path}: {}", figures::alarms(&scanner, &text, &mut miss));
            continue;
        }
        let rows = read(&text)?;
        let some: Vec<&Marked> = rows
            .iter()
            .filter(|row| has("--all") || is_held_out(&row.template))
            .collect();
        let counts = count(&scanner, &some, &mut miss);
        let row = |name: &str| {
            (
                name.to_owned(),
                counts.get(name).copied().unwrap_or_default(),
            )
        };
        let mut lines: Vec<(String, Counts)> = CHECKABLE.iter().map(|(n, _)| row(n)).collect();
        lines.push(("**all of these**".into(), checkable(&counts)));
        lines.extend(OTHERS.iter().map(|(n, _)| row(n)));
        println!(
            "{path}: {} of {} texts\n\n{}",
            some.len(),
            rows.len(),
            table(&lines)
        );
    }
    let lines = corpus::make(7, 40);
    let counts = corpus::count(&scanner, &lines, &mut miss);
    let (secrets, misses): (Vec<_>, Vec<_>) = counts
        .into_iter()
        .partition(|(_, counts)| counts.marked > 0);
    println!(
        "secrets, {} lines made here\n\n{}",
        lines.len(),
        table(&secrets)
    );
    for (kind, counts) in misses {
        let of = lines.iter().filter(|line| line.kind == kind).count();
        println!("near misses, {kind}: {} found in {of}", counts.found);
    }
    Ok(())
}

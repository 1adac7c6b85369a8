//! `ingle ledger`: what is kept of requests, and how it is erased.

use crate::environment::Environment;
use crate::line::Line;
use crate::{Usage, ledger, out};
use ingle_gateway::confidence::Outcomes;
use ingle_gateway::ledger::{Erase, Erased, Reader, Summary, Zone};
use serde_json::json;
use std::path::PathBuf;

/// What is kept of requests: how much, whether it is whole, erasure of old rows or of a person's
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// Another ledger than the user's own
    #[arg(long, global = true, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// How much there is, since when, and what was erased (as without a word)
    Show,
    /// Looks at every page for damage
    Check,
    Erase(EraseArgs),
    Retain(RetainArgs),
}

/// Erases every row of one person for good: answers and texts go, amounts stay without the name
///
/// So money that was spent stays spent, and no cap for everybody gets room by it. That it was done is a
/// row, without the name. What was kept of how sure answers to this person were (for POST /v1/feedback)
/// goes too.
#[derive(clap::Args)]
struct EraseArgs {
    /// The name of the person's key
    #[arg(required_unless_present = "owner")]
    user: Option<String>,
    /// Those of requests without a key: the owner's of this machine
    #[arg(long, conflicts_with = "user")]
    owner: bool,
    /// For the record: a number of a letter, say, and not the name
    #[arg(long, value_name = "TEXT", default_value = "asked for")]
    why: String,
}

/// Erases what is older than a number of days for good; this month's amounts stay for its caps
///
/// [ledger] keep_days in ingle.toml does the same every day.
#[derive(clap::Args)]
struct RetainArgs {
    /// Days that are kept, beside today
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=36525))]
    days: u32,
    /// Only texts of requests and answers; their rows stay
    #[arg(long)]
    texts: bool,
    /// For the record
    #[arg(long, value_name = "TEXT", default_value = "asked for")]
    why: String,
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let settings = &line.config().ledger;
    let zone = ledger::zone(settings);
    let environment = Environment::of_process();
    let reader = || ledger::read(args.ledger.as_deref(), settings, &environment);
    match &args.action {
        None | Some(Action::Show) => {
            let energy = ledger::energy(settings).err();
            show(&reader()?, args.json, &zone, energy.as_deref())
        }
        Some(Action::Check) => check(&reader()?, args.json),
        Some(Action::Erase(erase)) => {
            let user = erase.user.clone().filter(|_| !erase.owner);
            if user.as_deref() == Some("") {
                return Err(Usage(
                    "a name is not empty; --owner is for requests without a key".into(),
                )
                .into());
            }
            let why = erase.why.clone();
            done(args, line, Erase::User { user, why })
        }
        Some(Action::Retain(retain)) => {
            let mut before = zone.day(ledger::now()).start;
            for _ in 0..retain.days {
                before = zone.day(before.saturating_sub(1)).start;
            }
            let why = retain.why.clone();
            let erase = match retain.texts {
                true => Erase::Texts { before, why },
                false => Erase::Before { before, why },
            };
            done(args, line, erase)
        }
    }
}

/// `energy`: why it is not known what this machine draws, if it is not.
fn show(reader: &Reader, as_json: bool, zone: &Zone, energy: Option<&str>) -> anyhow::Result<()> {
    let summary = reader.summary()?;
    let size = std::fs::metadata(reader.path()).map_or(0, |file| file.len());
    if as_json {
        let path = reader.path().display().to_string();
        return out::json(&json!({
            "ledger": path, "bytes": size, "kept": summary,
            "energy": energy.is_none(), "energy_unknown_because": energy,
        }));
    }
    out::answer(&text(&summary, zone))?;
    if let Some(why) = energy {
        out::note(format!("Energy is not counted: {why}."));
    }
    out::note(format!(
        "{} in {}",
        out::bytes(size),
        reader.path().display()
    ));
    Ok(())
}

fn check(reader: &Reader, as_json: bool) -> anyhow::Result<()> {
    reader.check()?;
    if as_json {
        return out::json(&json!({ "ledger": reader.path().display().to_string(), "whole": true }));
    }
    out::note(format!("{} is whole.", reader.path().display()));
    Ok(())
}

fn done(args: &Args, line: &Line, erase: Erase) -> anyhow::Result<()> {
    let (settings, environment) = (&line.config().ledger, Environment::of_process());
    // A ledger is not begun in order to erase something from it.
    let reader = ledger::read(args.ledger.as_deref(), settings, &environment)?;
    let outcomes = match &erase {
        // They belong to the user's own ledger.
        Erase::User { user, .. } if args.ledger.is_none() => {
            forget(&environment, user.as_deref(), &reader)?
        }
        _ => None,
    };
    drop(reader);
    let ledger = match &args.ledger {
        Some(file) => ledger::open_at(file, settings)?,
        None => ledger::open(settings, &environment)?,
    };
    let erased = ledger.erase(erase).wait()?;
    if args.json {
        let mut object = serde_json::to_value(erased)?;
        if let (Some(object), Some(gone)) = (object.as_object_mut(), outcomes) {
            object.insert("outcomes".into(), gone.into());
        }
        return out::json(&object);
    }
    out::answer(&format!("{}\n", words(&erased, outcomes)))
}

/// Forgets what is kept of how sure answers to a person were, and says of how many; none: nothing is
/// kept. The names of the requests are in the ledger: so it comes before the ledger's own rows go, and if
/// it fails those are still there.
fn forget(
    environment: &Environment,
    user: Option<&str>,
    reader: &Reader,
) -> anyhow::Result<Option<usize>> {
    let Some(file) = environment.outcomes_file().filter(|file| file.exists()) else {
        return Ok(None);
    };
    let requests = reader.requests(user)?;
    let mut outcomes = Outcomes::open(&file)?;
    Ok(Some(
        outcomes.forget(user, requests.iter().map(String::as_str))?,
    ))
}

fn words(erased: &Erased, outcomes: Option<usize>) -> String {
    let outcomes = outcomes.map(|n| format!(", {n} outcomes"));
    format!(
        "Erased: {} answers, {} texts, {} amounts, {} rows of the door{}.",
        erased.answers,
        erased.texts,
        erased.reservations,
        erased.passages,
        outcomes.unwrap_or_default()
    )
}

fn text(summary: &Summary, zone: &Zone) -> String {
    let since = match (summary.first, summary.last) {
        (Some(first), Some(last)) => format!(", {} to {}", zone.date(first), zone.date(last)),
        _ => String::new(),
    };
    let mut text = format!("{} answers{since}\n", summary.answers);
    text.push_str(&match summary.texts {
        0 => "no texts of requests or answers\n".to_owned(),
        n => format!("{n} texts of requests and answers\n"),
    });
    text.push_str(&format!(
        "{} calls of providers, {} of them run now\n",
        summary.reservations, summary.open
    ));
    text.push_str(&format!(
        "{} uses of the door, refusals among them\n",
        summary.uses
    ));
    if summary.lost > 0 {
        text.push_str(&format!(
            "{} answers without a row: it could not keep up\n",
            summary.lost
        ));
    }
    for one in &summary.erasures {
        let what = match (one.what.as_str(), one.before) {
            ("user", _) => "a person's rows".to_owned(),
            ("texts", Some(before)) => format!("texts before {}", zone.date(before)),
            (_, Some(before)) => format!("rows before {}", zone.date(before)),
            (other, None) => out::plain(other),
        };
        text.push_str(&format!(
            "erased {}: {what} ({}): {} answers, {} texts, {} amounts, {} rows of the door\n",
            zone.date(one.at),
            out::plain(&one.why),
            one.answers,
            one.texts,
            one.reservations,
            one.passages
        ));
    }
    text
}

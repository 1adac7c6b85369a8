//! `ingle why`: how a request was decided.

use super::audit;
use super::cost::{amount, energy, with_amounts};
use crate::environment::Environment;
use crate::ledger;
use crate::line::Line;
use crate::out;
use ingle_gateway::ledger::{Reserved, Route, Step, Tokens, Use, Why, Zone};
use serde_json::json;
use std::path::PathBuf;

/// How a request was decided: each step, what it cost, and what left for it
#[derive(clap::Args)]
pub struct Args {
    /// The request: `x-request-id` of its answer, or the number of its row as #12
    id: String,
    /// Show its text and its answer too, where the ledger keeps texts
    #[arg(long)]
    texts: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Another ledger than the user's own
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let settings = &line.config().ledger;
    let reader = ledger::read(args.ledger.as_deref(), settings, &Environment::of_process())?;
    let zone = ledger::zone(settings);
    let mut all = reader.why(&args.id)?;
    let (reserved, uses) = match all.is_empty() {
        true => reader.traces(&args.id)?,
        false => (Vec::new(), Vec::new()),
    };
    if all.is_empty() && reserved.is_empty() && uses.is_empty() {
        anyhow::bail!(
            "the ledger knows no request `{}`; an answer's `x-request-id` names it, and rows may have been erased",
            out::plain(&args.id)
        );
    }
    if !args.texts {
        for one in &mut all {
            (one.row.prompt, one.row.answer) = (None, None);
        }
    }
    if args.json {
        let mut value =
            json!({ "requests": all, "without_row": { "reserved": reserved, "uses": uses } });
        with_amounts(&mut value);
        return out::json(&value);
    }
    let mut text: String = all
        .iter()
        .map(|one| words(one, &zone))
        .collect::<Vec<_>>()
        .join("\n");
    if all.is_empty() {
        text.push_str(
            "There is no row of this request: it still runs, its process died, or it was erased.\n",
        );
        text.push_str(&money(&reserved));
        text.push_str(&left(&uses, &zone));
    }
    out::answer(&text)
}

fn words(why: &Why, zone: &Zone) -> String {
    let row = &why.row;
    let by = match row.route {
        Route::Local => format!("answered here by {}", out::plain(&row.model)),
        Route::Cloud => {
            let provider = row.cost.as_ref().map(|cost| out::plain(&cost.provider));
            let provider = provider.unwrap_or_else(|| "a provider".into());
            format!("answered by {} of {provider}", out::plain(&row.model))
        }
        Route::None => "answered by nobody".to_owned(),
    };
    let mut text = format!(
        "Request {} (#{}), {}: {by}, {}.\n",
        out::plain(&row.request),
        why.id,
        zone.moment(row.at),
        row.outcome.word()
    );
    text.push_str(&format!(
        "Because {}.\n\n",
        out::plain(row.reason.trim_end_matches('.'))
    ));
    let fact = |name: &str, value: &str| format!("  {name:<10} {value}\n");
    text.push_str(&fact(
        "asked by",
        &row.user
            .as_deref()
            .map_or("the owner of this machine".into(), out::plain),
    ));
    text.push_str(&fact("asked for", &out::plain(&row.asked_model)));
    if !row.decision.wanted.is_empty() {
        text.push_str(&fact("route", &out::plain(&row.decision.wanted)));
    }
    text.push_str(&fact("tokens", &tokens(&row.tokens)));
    if let Some(theirs) = &row.provider_tokens {
        text.push_str(&fact("theirs", &tokens(theirs)));
    }
    let first = row
        .first_ms
        .map(|ms| format!(", {ms} ms to its first piece"));
    text.push_str(&fact(
        "time",
        &format!("{} ms{}", row.total_ms, first.unwrap_or_default()),
    ));
    if let Some(uj) = row.energy_uj {
        text.push_str(&fact("energy", &energy(uj)));
    }
    for (name, priced) in [("cost", &row.cost), ("instead", &row.instead)] {
        if let Some(one) = priced {
            let at = out::plain(&format!("{}/{}", one.provider, one.model));
            let dated = match one.dated.as_str() {
                "" => String::new(),
                dated => format!(", prices of {}", out::plain(dated)),
            };
            text.push_str(&fact(
                name,
                &format!("{} at {at}{dated}", amount(&one.cost)),
            ));
        }
    }
    text.push_str(&steps(&row.decision.steps));
    text.push_str(&money(&why.reserved));
    text.push_str(&left(&why.uses, zone));
    for (name, kept) in [("Its text", &row.prompt), ("The answer", &row.answer)] {
        if let Some(kept) = kept {
            text.push_str(&format!("\n{name}:\n{}\n", out::without_control(kept)));
        }
    }
    text
}

fn tokens(tokens: &Tokens) -> String {
    let part = |n: u64, what: &str| {
        if n > 0 {
            format!(" ({n} {what})")
        } else {
            String::new()
        }
    };
    format!(
        "{} in{}{}, {} out{}",
        tokens.input,
        part(tokens.cached, "from a cache"),
        part(tokens.cache_write, "into one"),
        tokens.output,
        part(tokens.reasoning, "of them reasoning"),
    )
}

fn steps(steps: &[Step]) -> String {
    let mut text = String::new();
    if !steps.is_empty() {
        text.push_str("\nHow it was decided:\n");
    }
    for (n, step) in steps.iter().enumerate() {
        let about = out::plain(&step.about);
        text.push_str(&format!(
            "  {}. {about}: {}\n",
            n + 1,
            out::plain(&step.verdict)
        ));
        if !step.why.is_empty() {
            text.push_str(&format!("     {}\n", out::plain(&step.why)));
        }
        for (name, value) in &step.facts {
            text.push_str(&format!(
                "     {} = {}\n",
                out::plain(name),
                out::plain(value)
            ));
        }
    }
    text
}

fn money(reserved: &[Reserved]) -> String {
    let mut text = String::new();
    if !reserved.is_empty() {
        text.push_str("\nMoney:\n");
    }
    for one in reserved {
        let at = out::plain(&format!("{}/{}", one.provider, one.model));
        let most = amount(&one.most);
        let charged = one.charged.map(|money| amount(&money)).unwrap_or_default();
        let end = match one.how.as_deref() {
            None => "the call runs".to_owned(),
            Some("settled") => format!("{charged} charged"),
            Some("released") => "given back: nothing left".to_owned(),
            Some("died") => format!("{charged} charged: its process died, so its most"),
            Some(_) => format!("{charged} charged: nobody said what it cost, so its most"),
        };
        let beyond = match (one.claimed, one.charged) {
            (Some(claimed), Some(charged)) if claimed.nanos > charged.nanos => {
                format!("; the provider's figures come to {}", amount(&claimed))
            }
            _ => String::new(),
        };
        text.push_str(&format!("  {most} set aside for {at}; {end}{beyond}\n"));
    }
    text
}

fn left(uses: &[Use], zone: &Zone) -> String {
    if uses.is_empty() {
        return "\nNothing left this machine for it.\n".to_owned();
    }
    let mut text = "\nWhat left:\n".to_owned();
    for one in uses {
        for line in audit::text(one, zone).trim_end().lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_gateway::ledger::{Currency, Decision, Money, Outcome, Priced, Row};

    #[test]
    fn a_decision_in_words() {
        let usd = |text| Money::parse(text, Currency::USD).unwrap();
        let priced = Priced {
            provider: "cloud".into(),
            model: "big".into(),
            cost: usd("0.0021"),
            dated: "2026-11-01".into(),
        };
        let step = |about: &str, verdict: &str, why: &str, facts: &[(&str, &str)]| Step {
            about: about.into(),
            verdict: verdict.into(),
            why: why.into(),
            facts: facts
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect(),
        };
        let row = Row {
            at: 1_795_282_800_000,
            request: "req-7".into(),
            user: Some("anna".into()),
            asked_model: "auto".into(),
            model: "big".into(),
            route: Route::Cloud,
            reason: "the local answer was not sure enough".into(),
            outcome: Outcome::Completed,
            tokens: Tokens {
                input: 120,
                cached: 100,
                output: 30,
                reasoning: 8,
                cache_write: 0,
            },
            provider_tokens: Some(Tokens {
                input: 124,
                output: 30,
                ..Tokens::default()
            }),
            first_ms: Some(210),
            total_ms: 900,
            energy_uj: Some(2_500_000),
            cost: Some(priced),
            instead: None,
            reservation: Some(4),
            decision: Decision {
                wanted: "auto, by the setting".into(),
                steps: vec![
                    step(
                        "policy",
                        "may leave",
                        "a rule allows it",
                        &[("rule", "policy.rule[2]")],
                    ),
                    step(
                        "confidence",
                        "too low",
                        "",
                        &[("probability", "0.41"), ("threshold", "0.80")],
                    ),
                ],
            },
            prompt: None,
            answer: Some("forty-two\u{1b}[0m".into()),
        };
        let reserved = vec![Reserved {
            id: 4,
            at: row.at,
            provider: "cloud".into(),
            model: "big".into(),
            most: usd("0.01"),
            charged: Some(usd("0.01")),
            claimed: Some(usd("0.02")),
            how: Some("settled".into()),
        }];
        let uses = vec![Use {
            at: row.at + 300,
            purpose: "provider".into(),
            method: Some("POST".into()),
            origin: "https://cloud.example:443".into(),
            path: Some("/v1/chat/completions".into()),
            up: Some(2044),
            down: Some(5120),
            status: Some(200),
            outcome: Some("done".into()),
            ..Use::default()
        }];
        let why = Why {
            id: 12,
            row,
            reserved,
            uses,
        };
        insta::assert_snapshot!(words(&why, &Zone::default()));
    }
}

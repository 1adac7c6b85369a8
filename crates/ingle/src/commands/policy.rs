//! `ingle policy`: what a text holds, and which rule of ingle.toml decides about it.

use crate::line::Line;
use crate::{Usage, out, policy, stdin};
use anyhow::Context;
use ingle_gateway::chat::{Leave, Message, Request, Role};
use ingle_gateway::policy::{Bounds, Find, Policy, Taint, Verdict, apart};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What may leave this machine, by the rules of ingle.toml
///
/// Without a provider, or without a rule that lets it, nothing does; docs/policy.md says more.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Check(Check),
}

/// Says what would be found in a text, and whether it may leave
///
/// What is found is shown masked. Nothing is sent and nothing is remembered.
#[derive(clap::Args)]
struct Check {
    /// A file with the text; `-` or nothing for standard input
    file: Option<PathBuf>,
    /// As if this model were asked for
    #[arg(long)]
    model: Option<String>,
    /// As if the key of this name asked
    #[arg(long, default_value = "-")]
    user: String,
    /// As if the request had this label (x-ingle-label)
    #[arg(long)]
    label: Option<String>,
    /// As if the request said this (x-ingle-policy)
    #[arg(long, value_name = "local-only|allow|prefer-cloud")]
    header: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How long a text may be looked at.
const PATIENCE: Duration = Duration::from_secs(30);
/// More is shown of no find.
const SHOWN: usize = 40;

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    match &args.what {
        What::Check(check) => run_check(check, line),
    }
}

fn run_check(args: &Check, line: &Line) -> anyhow::Result<()> {
    let text = match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let bytes = std::fs::read(path);
            let bytes = bytes.with_context(|| format!("{} cannot be read", path.display()))?;
            let text = String::from_utf8(bytes).ok();
            text.with_context(|| {
                format!("{} is not UTF-8: such a text stays here", path.display())
            })?
        }
        _ => stdin::text()?,
    };
    let asked = |word: &String| {
        let message = format!(
            "`--header` is local-only, allow or prefer-cloud, not `{}`",
            out::plain(word)
        );
        Leave::of_word(word).ok_or(Usage(message))
    };
    let leave = args.header.as_ref().map(asked).transpose()?;
    let policy = policy::rules(line.config())?;
    let begun = Instant::now();
    let late = || begun.elapsed() > PATIENCE;
    let request = Request {
        model: args.model.clone(),
        user: args.user.clone(),
        label: args.label.clone(),
        leave,
        ..Request::new("check", vec![Message::text(Role::User, text.as_str())])
    };
    // Nothing is remembered of it: a store for this one question.
    let taint = Taint::in_memory(&[0; 32], Bounds::default())?;
    let verdict = policy.judge(&request, true, &taint, 0, &late);
    let finds = policy.scanner().scan(&text, &late).map(apart);
    let finds = finds.unwrap_or_default();
    let providers = !line.config().providers.is_empty();
    if args.json {
        return out::json(&as_json(
            &policy, &request, &text, &verdict, &finds, providers,
        ));
    }
    out::answer(&as_text(
        &policy, &request, &text, &verdict, &finds, providers,
    ))
}

/// Line and column of a place, counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// The form of a find without what it says: letters and digits but the first are dots.
fn masked(text: &str, find: &Find) -> String {
    let span = text.get(find.start..find.end).unwrap_or_default();
    let masked = span.chars().enumerate().map(|(i, c)| match c {
        c if i == 0 && span.len() >= 8 => c,
        c if c.is_alphanumeric() => '•',
        c if c.is_whitespace() => ' ',
        c => c,
    });
    let long = span.chars().count() > SHOWN;
    let mut masked: String = masked.take(SHOWN).collect();
    if long {
        masked.push('…');
    }
    out::plain(&masked)
}

fn says(policy: &Policy, request: &Request, find: &Find) -> (String, String) {
    match policy.says(request, find) {
        Some((action, rule)) => (action.name().to_owned(), rule),
        None => ("-".to_owned(), "-".to_owned()),
    }
}

fn kind(find: &Find) -> String {
    match find.detail.as_str() {
        "" => find.kind.name().to_owned(),
        detail => format!("{} ({detail})", find.kind.name()),
    }
}

fn as_text(
    policy: &Policy,
    request: &Request,
    text: &str,
    verdict: &Verdict,
    finds: &[Find],
    providers: bool,
) -> String {
    let mut lines = String::new();
    if !finds.is_empty() {
        let head = ["kind", "place", "masked", "", "rule"]
            .map(str::to_owned)
            .to_vec();
        let rows = finds.iter().map(|find| {
            let (line, column) = place(text, find.start);
            let (action, rule) = says(policy, request, find);
            vec![
                kind(find),
                format!("{line}:{column}"),
                masked(text, find),
                action,
                out::plain(&rule),
            ]
        });
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        lines.push_str(&out::table(&rows));
        lines.push('\n');
    }
    let may = match (verdict.leave, &verdict.redacted) {
        (Leave::LocalOnly, _) => "It stays on this machine",
        (_, Some(_)) => "It may leave with placeholders",
        (_, None) => "It may leave",
    };
    lines.push_str(&format!("{may}: {}.\n", out::plain(&verdict.reason)));
    if !providers && verdict.leave > Leave::LocalOnly {
        lines.push_str("No provider is configured, so nothing leaves all the same.\n");
    }
    lines
}

fn as_json(
    policy: &Policy,
    request: &Request,
    text: &str,
    verdict: &Verdict,
    finds: &[Find],
    providers: bool,
) -> Value {
    let finds = finds.iter().map(|find| {
        let (line, column) = place(text, find.start);
        let (action, rule) = says(policy, request, find);
        json!({
            "kind": find.kind.name(), "detail": find.detail, "start": find.start, "end": find.end,
            "line": line, "column": column, "masked": masked(text, find), "action": action, "rule": rule,
        })
    });
    json!({
        "leave": verdict.leave, "rule": verdict.rule, "reason": verdict.reason,
        "redacted": verdict.redacted.is_some(), "providers": providers, "found": finds.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ingle;
    use crate::config::Config;
    use clap::CommandFactory;
    use std::path::Path;

    const FILE: &str = "[policy]\nremember_days = 30\n\
        [[policy.rule]]\nname = \"team\"\nthen = \"allow\"\n\
        [[policy.rule]]\ncontent = [\"email\", \"term:projects\"]\nthen = \"redact\"\n\
        [[policy.term]]\nlabel = \"projects\"\nwords = [\"Falcon\"]\n";

    fn shown(text: &str) -> String {
        let config = Config::parse(Path::new("i.toml"), FILE, &Ingle::command()).unwrap();
        let policy = policy::rules(&config).unwrap();
        let request = Request::new("x", vec![Message::text(Role::User, text)]);
        let taint = Taint::in_memory(&[0; 32], config.policy.bounds).unwrap();
        let verdict = policy.judge(&request, true, &taint, 0, &|| false);
        let finds = apart(policy.scanner().scan(text, &|| false).unwrap());
        as_text(&policy, &request, text, &verdict, &finds, false)
    }

    #[test]
    fn what_is_found_is_masked_and_ruled() {
        insta::assert_snapshot!(shown("Falcon is late.\nTell anna@rhyta.com."));
        insta::assert_snapshot!(shown("card 4539148803436467"));
        insta::assert_snapshot!(shown("What is a fjord?"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let file = "[policy]\nlongest = 1\nlongest_text = \"x\"\n[[policy.rule]]\nthn = \"allow\"\n[[policy.rule]]\nthen = \"alow\"\n\
            [[policy.rule]]\nheader = \"allow\"\nthen = \"allow\"\n[[policy.rule]]\nname = \"n\"\n\
            [[policy.rule]]\ncontent = [\"emial\"]\nthen = \"redact\"\n[[policy.term]]\nlabel = \"x\"\n[[policy.term]]\nfile = \"/nowhere\"\n";
        let faults = Config::parse(Path::new("i.toml"), file, &Ingle::command()).unwrap_err();
        insta::assert_snapshot!(faults);
    }
}

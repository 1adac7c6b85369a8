//! `ingle audit`: what left this machine.

use super::cost::with_amounts;
use crate::environment::Environment;
use crate::ledger::{self, SpanArgs};
use crate::line::Line;
use crate::{csv, out};
use ingle_gateway::ledger::{Use, Zone};
use std::path::PathBuf;

/// What left this machine: when, where to, why, how many bytes, under which rule
///
/// A row is written before the first byte leaves, for `ingle pull` as for providers; without a row
/// nothing is sent. Refusals are listed too: of these nothing left.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    span: SpanArgs,
    /// Only what was for this request (`x-request-id` of its answer)
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print lines for a spreadsheet
    #[arg(long)]
    csv: bool,
    /// Another ledger than the user's own
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let settings = &line.config().ledger;
    let reader = ledger::read(args.ledger.as_deref(), settings, &Environment::of_process())?;
    let zone = ledger::zone(settings);
    let span = args.span.span(&zone, ledger::now())?;
    let wanted = |one: &Use| {
        let request = args.request.is_none() || args.request == one.request;
        request && (one.refused || !args.refused)
    };
    // A line as soon as it is read: there may be many.
    let mut shown = Shown::new(args, &zone);
    let mut done = shown.begin();
    reader.audit(span, |one| {
        if done.is_ok() && wanted(&one) {
            done = shown.one(&one);
        }
        done.is_ok()
    })?;
    done?;
    shown.end()
}

/// What was written so far.
struct Shown<'a> {
    json: bool,
    csv: bool,
    zone: &'a Zone,
    uses: u64,
    refused: u64,
    up: u64,
    down: u64,
}

const HEAD: [&str; 19] = [
    "when",
    "purpose",
    "method",
    "origin",
    "path",
    "addresses",
    "proxy",
    "request",
    "user",
    "rule",
    "reason",
    "token",
    "body_bytes",
    "sent_bytes",
    "received_bytes",
    "status",
    "outcome",
    "refused",
    "process",
];

impl<'a> Shown<'a> {
    fn new(args: &Args, zone: &'a Zone) -> Self {
        Self {
            json: args.json,
            csv: args.csv,
            zone,
            uses: 0,
            refused: 0,
            up: 0,
            down: 0,
        }
    }

    fn begin(&self) -> anyhow::Result<()> {
        match (self.json, self.csv) {
            (true, _) => out::answer("{\"uses\":["),
            (_, true) => out::answer(&csv::line(HEAD)),
            _ => Ok(()),
        }
    }

    fn one(&mut self, one: &Use) -> anyhow::Result<()> {
        let first = self.uses + self.refused == 0;
        self.uses += u64::from(!one.refused);
        self.refused += u64::from(one.refused);
        self.up = self.up.saturating_add(one.up.unwrap_or(0));
        self.down = self.down.saturating_add(one.down.unwrap_or(0));
        if self.json {
            let mut value = serde_json::to_value(one)?;
            with_amounts(&mut value);
            value["when"] = self.zone.moment(one.at).into();
            let comma = if first { "" } else { "," };
            return out::answer(&format!("{comma}{value}"));
        }
        if self.csv {
            return out::answer(&spreadsheet(one, self.zone));
        }
        out::answer(&text(one, self.zone))
    }

    fn end(&self) -> anyhow::Result<()> {
        if self.json {
            return out::answer(&format!(
                "],\"requests\":{},\"refused\":{},\"sent_bytes\":{},\"received_bytes\":{}}}\n",
                self.uses, self.refused, self.up, self.down
            ));
        }
        if self.csv {
            return Ok(());
        }
        if self.uses + self.refused == 0 {
            return out::answer("Nothing left this machine.\n");
        }
        out::answer(&format!(
            "{} left, with {} sent and {} received; {} refused.\n",
            self.uses,
            out::bytes(self.up),
            out::bytes(self.down),
            self.refused
        ))
    }
}

fn spreadsheet(one: &Use, zone: &Zone) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let count = |value: Option<u64>| value.map(|n| n.to_string()).unwrap_or_default();
    let cells = [
        zone.moment(one.at),
        one.purpose.clone(),
        text(&one.method),
        one.origin.clone(),
        text(&one.path),
        one.addresses.join(" "),
        text(&one.proxy),
        text(&one.request),
        text(&one.user),
        text(&one.rule),
        text(&one.reason),
        one.token.to_string(),
        count(one.body),
        count(one.up),
        count(one.down),
        count(one.status),
        text(&one.outcome),
        one.refused.to_string(),
        one.process.to_string(),
    ];
    csv::line(cells.iter().map(String::as_str))
}

/// A few lines for people.
pub fn text(one: &Use, zone: &Zone) -> String {
    let mut lines = Vec::new();
    let when = zone.moment(one.at);
    let place = format!("{}{}", one.origin, one.path.as_deref().unwrap_or_default());
    let place = out::plain(&place);
    let purpose = out::plain(&one.purpose);
    if one.refused {
        let why = out::plain(one.outcome.as_deref().unwrap_or("no reason is known"));
        lines.push(format!("{when}  refused: {purpose} to {place}"));
        lines.push(format!("why      {why}"));
    } else {
        let method = out::plain(one.method.as_deref().unwrap_or_default());
        lines.push(format!("{when}  {purpose}: {method} {place}"));
        let token = if one.token {
            ", with an access token"
        } else {
            ""
        };
        let bytes = match (one.up, one.down) {
            (Some(up), Some(down)) => format!("{up} bytes sent, {down} received"),
            _ => format!(
                "{} bytes of body, and the process ended before it said how many in all",
                one.body.unwrap_or(0)
            ),
        };
        lines.push(format!("bytes    {bytes}{token}"));
        if !one.addresses.is_empty() {
            let through = one
                .proxy
                .as_deref()
                .map(|proxy| format!(", the proxy {}", out::plain(proxy)));
            let addresses = out::plain(&one.addresses.join(", then "));
            lines.push(format!(
                "dialled  {addresses}{}",
                through.unwrap_or_default()
            ));
        }
        let status = one.status.map(|status| format!("status {status}, "));
        let outcome = out::plain(one.outcome.as_deref().unwrap_or("no end is known"));
        lines.push(format!("how      {}{outcome}", status.unwrap_or_default()));
    }
    if let Some(rule) = &one.rule {
        lines.push(format!("rule     {}", out::plain(rule)));
    }
    if let Some(request) = &one.request {
        let user = one
            .user
            .as_deref()
            .map(|user| format!(" of {}", out::plain(user)));
        let reason = one
            .reason
            .as_deref()
            .map(|reason| format!(": {}", out::plain(reason)));
        let (user, reason) = (user.unwrap_or_default(), reason.unwrap_or_default());
        lines.push(format!("request  {}{user}{reason}", out::plain(request)));
    }
    lines.join("\n  ") + "\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Use {
        Use {
            at: 1_795_282_800_000,
            purpose: "provider".into(),
            rule: Some("policy.rule[2]".into()),
            request: Some("req-7".into()),
            user: Some("anna".into()),
            reason: Some("the local answer was not sure enough (0.41 of 0.80)".into()),
            method: Some("POST".into()),
            origin: "https://cloud.example:443".into(),
            path: Some("/v1/chat/completions".into()),
            token: true,
            body: Some(812),
            addresses: vec!["203.0.113.9:443".into(), "203.0.113.10:443".into()],
            status: Some(200),
            up: Some(2044),
            down: Some(5120),
            outcome: Some("done".into()),
            process: 77,
            number: (1, 1),
            ..Use::default()
        }
    }

    #[test]
    fn a_use_in_words() {
        let zone = Zone::default();
        let cut = Use {
            up: None,
            down: None,
            status: None,
            outcome: None,
            ..one()
        };
        let refused = Use {
            refused: true,
            request: None,
            rule: None,
            outcome: Some("--offline was given\u{1b}[2J".into()),
            ..one()
        };
        insta::assert_snapshot!([one(), cut, refused].map(|one| text(&one, &zone)).join(""));
        insta::assert_snapshot!(spreadsheet(&one(), &zone).replace('\r', ""));
    }
}

//! `ingle cost`: what was spent, and what stayed at home.

use crate::chart::{Bar, Style, bars};
use crate::environment::Environment;
use crate::ledger::{self, SpanArgs};
use crate::line::Line;
use crate::{csv, out};
use ingle_gateway::ledger::{By, Caps, Costs, Currency, Money, Reader, Span, Sums, Zone};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;

/// What was spent on providers, and what stayed at home: tokens, money, energy
///
/// Spent is what was charged for calls of providers. Saved is what the tokens of this machine's answers
/// would have cost at the provider that `auto` would have chosen, by its prices at that time.
#[derive(clap::Args)]
pub struct Args {
    /// A line for each of these
    #[arg(long, value_enum, default_value_t = Each::Day)]
    by: Each,
    #[command(flatten)]
    span: SpanArgs,
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

#[derive(Clone, Copy, clap::ValueEnum)]
enum Each {
    Day,
    User,
    Model,
    Route,
}

impl Each {
    fn by(self) -> By {
        match self {
            Self::Day => By::Day,
            Self::User => By::User,
            Self::Model => By::Model,
            Self::Route => By::Route,
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::User => "USER",
            Self::Model => "MODEL",
            Self::Route => "ROUTE",
        }
    }
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let settings = &line.config().ledger;
    let reader = ledger::read(args.ledger.as_deref(), settings, &Environment::of_process())?;
    let (zone, now) = (ledger::zone(settings), ledger::now());
    let span = args.span.span(&zone, now)?;
    let costs = reader.costs(span, args.by.by(), &zone)?;
    if args.json {
        let mut value = serde_json::to_value(&costs)?;
        with_amounts(&mut value);
        let lines = value["lines"].take();
        value["lines"] = named(lines);
        value["since"] = span.since.into();
        value["until"] = span.until.into();
        value["ledger"] = reader.path().display().to_string().into();
        return out::json(&value);
    }
    if args.csv {
        return out::answer(&spreadsheet(args.by, &costs));
    }
    let caps = taken(&reader, &settings.caps, &zone, now)?;
    let style = style();
    out::answer(&report(args.by, &costs, &caps, style))
}

/// As wide as the terminal; letters only where there is none.
fn style() -> Style {
    let terminal = std::io::stdout().is_terminal();
    Style {
        width: out::columns().filter(|_| terminal).unwrap_or(80),
        plain: !terminal,
    }
}

/// Every amount as a decimal number too.
pub fn with_amounts(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let nanos = object.get("nanos").and_then(Value::as_i64);
            let currency = object.get("currency").and_then(Value::as_str);
            let currency = currency.and_then(|code| code.parse::<Currency>().ok());
            if let (Some(nanos), Some(currency)) = (nanos, currency) {
                let amount = Money { nanos, currency }.decimal();
                object.insert("amount".into(), amount.into());
                return;
            }
            object.values_mut().for_each(with_amounts);
        }
        Value::Array(list) => list.iter_mut().for_each(with_amounts),
        _ => {}
    }
}

/// `[name, sums]` as one object.
fn named(lines: Value) -> Value {
    let Value::Array(lines) = lines else {
        return json!([]);
    };
    let line = |line: Value| {
        let mut object = json!({ "name": line[0] });
        if let (Some(object), Value::Object(sums)) = (object.as_object_mut(), line[1].clone()) {
            object.extend(sums);
        }
        object
    };
    lines.into_iter().map(line).collect()
}

fn spreadsheet(by: Each, costs: &Costs) -> String {
    let of = |sums: &Sums| [sums.spent.clone(), sums.saved.clone()].concat();
    let all = costs.lines.iter().flat_map(|(_, sums)| of(sums));
    let currencies: BTreeSet<Currency> = all.map(|money| money.currency).collect();
    let mut head: Vec<String> = [
        by.head().to_lowercase().as_str(),
        "requests",
        "local",
        "cloud",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "reasoning_tokens",
        "home_tokens",
        "energy_j",
    ]
    .map(str::to_owned)
    .to_vec();
    for currency in &currencies {
        head.push(format!("spent_{currency}"));
        head.push(format!("saved_{currency}"));
    }
    let mut text = csv::line(head.iter().map(String::as_str));
    for (name, sums) in &costs.lines {
        let mut cells = vec![name.clone()];
        let counts = [
            sums.requests,
            sums.local,
            sums.cloud,
            sums.tokens.input,
            sums.tokens.cached,
            sums.tokens.output,
            sums.tokens.reasoning,
            sums.home_tokens,
        ];
        cells.extend(counts.map(|n| n.to_string()));
        cells.push(format!(
            "{}.{:06}",
            sums.energy_uj / 1_000_000,
            sums.energy_uj % 1_000_000
        ));
        for currency in &currencies {
            for amounts in [&sums.spent, &sums.saved] {
                let own = amounts.iter().find(|money| money.currency == *currency);
                let own = own.copied().unwrap_or(Money::zero(*currency));
                cells.push(own.decimal());
            }
        }
        text.push_str(&csv::line(cells.iter().map(String::as_str)));
    }
    text
}

/// One cap for everybody, and what is taken of it.
struct Taken {
    what: &'static str,
    taken: Money,
    limit: Money,
}

fn taken(reader: &Reader, caps: &Caps, zone: &Zone, now: u64) -> anyhow::Result<Vec<Taken>> {
    let mut all = Vec::new();
    let periods = [
        ("Today", caps.all.day, zone.day(now)),
        ("This month", caps.all.month, zone.month(now)),
    ];
    for (what, limit, period) in periods {
        let Some(nanos) = limit else { continue };
        let span = Span {
            since: Some(period.start),
            until: Some(period.end),
        };
        let costs = reader.costs(span, By::Route, zone)?;
        let own = |money: &&Money| money.currency == caps.currency;
        let parts = costs.total.spent.iter().chain(&costs.reserved).filter(own);
        let sum = parts.fold(0_i64, |sum, money| sum.saturating_add(money.nanos));
        let currency = caps.currency;
        all.push(Taken {
            what,
            taken: Money {
                nanos: sum,
                currency,
            },
            limit: Money { nanos, currency },
        });
    }
    Ok(all)
}

/// To a millionth.
pub fn amount(money: &Money) -> String {
    let rounded = money.nanos.saturating_add(500) / 1000 * 1000;
    Money {
        nanos: rounded,
        ..*money
    }
    .to_string()
}

fn amounts(all: &[Money]) -> String {
    match all {
        [] => "-".to_owned(),
        all => all.iter().map(amount).collect::<Vec<_>>().join(" + "),
    }
}

pub fn energy(microjoules: u64) -> String {
    const WATT_HOUR: f64 = 3600.0;
    match microjoules as f64 / 1e6 {
        0.0 => "-".to_owned(),
        joules if joules < WATT_HOUR => format!("{joules:.1} J"),
        joules => format!("{:.1} Wh", joules / WATT_HOUR),
    }
}

fn row(name: &str, sums: &Sums) -> Vec<String> {
    vec![
        out::plain(name),
        sums.requests.to_string(),
        sums.local.to_string(),
        sums.cloud.to_string(),
        sums.tokens.input.to_string(),
        sums.tokens.cached.to_string(),
        sums.tokens.output.to_string(),
        amounts(&sums.spent),
        amounts(&sums.saved),
        energy(sums.energy_uj),
    ]
}

/// A line's name for people.
fn shown(by: Each, name: &str) -> String {
    match (by, name) {
        (Each::User, "") => "(owner)".to_owned(),
        (_, "") => "(none)".to_owned(),
        (Each::Route, "local") => "here".to_owned(),
        _ => out::plain(name),
    }
}

fn report(by: Each, costs: &Costs, caps: &[Taken], style: Style) -> String {
    let head = [
        by.head(),
        "REQUESTS",
        "HERE",
        "CLOUD",
        "TOKENS IN",
        "CACHED",
        "OUT",
        "SPENT",
        "SAVED",
        "ENERGY",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let lines = costs.lines.iter();
    rows.extend(lines.map(|(name, sums)| row(&shown(by, name), sums)));
    rows.push(row("all", &costs.total));
    let mut text = out::table(&rows);
    let chart = chart(by, costs, style);
    if !chart.is_empty() {
        text.push('\n');
        text.push_str(&chart);
    }
    text.push('\n');
    text.push_str(&home(costs));
    for Taken { what, taken, limit } in caps {
        text.push_str(&format!(
            "{what}: {} of {} are spent or reserved.\n",
            amount(taken),
            amount(limit)
        ));
    }
    if !costs.reserved.is_empty() {
        let reserved = amounts(&costs.reserved);
        text.push_str(&format!("Reserved for calls that run now: {reserved}.\n"));
    }
    if costs.lost > 0 {
        let lost = costs.lost;
        text.push_str(&format!(
            "{lost} answers are not in the ledger: it could not keep up.\n"
        ));
    }
    if !costs.reconciled.is_empty() {
        text.push_str("\nCounted here beside providers' own figures:\n");
        text.push_str(&reconciled(costs));
    }
    text
}

/// What stayed here, and what it is compared with.
fn home(costs: &Costs) -> String {
    let total = &costs.total;
    let answers = match total.local {
        1 => "1 answer".to_owned(),
        n => format!("{n} answers"),
    };
    let mut text = format!("At home: {answers}, {} tokens.\n", total.home_tokens);
    for one in &costs.compared {
        let dated = match one.dated.as_str() {
            "" => "prices without a date".to_owned(),
            dated => format!("prices of {}", out::plain(dated)),
        };
        let at = out::plain(&format!("{}/{}", one.provider, one.model));
        text.push_str(&format!(
            "  {} of them would have cost {} at {at} ({dated}).\n",
            one.answers,
            amounts(&one.cost)
        ));
    }
    text
}

/// Money where there is any, else tokens: what left, and what stayed.
fn chart(by: Each, costs: &Costs, style: Style) -> String {
    let of = |all: &[Money], currency| {
        let own = all.iter().find(|money: &&Money| money.currency == currency);
        own.map_or(0, |money| money.nanos)
    };
    let total = &costs.total;
    let first = total
        .spent
        .iter()
        .chain(&total.saved)
        .max_by_key(|money| money.nanos);
    let (mut all, legend) = match first.filter(|money| money.nanos > 0) {
        Some(&Money { currency, .. }) => {
            let bar = |(name, sums): &(String, Sums)| {
                let spent = of(&sums.spent, currency);
                let saved = of(&sums.saved, currency);
                let money = |nanos| amount(&Money { nanos, currency });
                let label = match (spent, saved) {
                    (0, 0) => String::new(),
                    (spent, 0) => format!("{} spent", money(spent)),
                    (0, saved) => format!("{} saved", money(saved)),
                    both => format!("{} spent, {} saved", money(both.0), money(both.1)),
                };
                Bar {
                    name: shown(by, name),
                    parts: vec![spent, saved],
                    label,
                }
            };
            let all: Vec<Bar> = costs.lines.iter().map(bar).collect();
            (all, ["spent", "saved"])
        }
        None => {
            let bar = |(name, sums): &(String, Sums)| {
                let all = sums.tokens.input.saturating_add(sums.tokens.output);
                let gone = all.saturating_sub(sums.home_tokens);
                let part = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
                let parts = vec![part(gone), part(sums.home_tokens)];
                Bar {
                    name: shown(by, name),
                    parts,
                    label: format!("{all} tokens"),
                }
            };
            let all: Vec<Bar> = costs.lines.iter().map(bar).collect();
            (all, ["tokens of the cloud", "tokens at home"])
        }
    };
    all.retain(|bar| bar.parts.iter().any(|part| *part > 0));
    if all.is_empty() {
        return String::new();
    }
    let [first, second] = if style.plain {
        ['#', '.']
    } else {
        ['█', '░']
    };
    format!(
        "{first} {}  {second} {}\n{}",
        legend[0],
        legend[1],
        bars(&all, style)
    )
}

fn reconciled(costs: &Costs) -> String {
    let head = [
        "PROVIDER",
        "MODEL",
        "ANSWERS",
        "IN HERE",
        "IN THERE",
        "OUT HERE",
        "OUT THERE",
        "CHARGED",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in &costs.reconciled {
        let mut notes = Vec::new();
        if !one.beyond.is_empty() {
            notes.push(format!(
                "claims {} more than it was allowed",
                amounts(&one.beyond)
            ));
        }
        if one.unknown > 0 {
            notes.push(format!("{} charged at their maximum", one.unknown));
        }
        rows.push(vec![
            out::plain(&one.provider),
            out::plain(&one.model),
            one.answers.to_string(),
            one.ours.input.to_string(),
            difference(one.theirs.input, one.ours.input),
            one.ours.output.to_string(),
            difference(one.theirs.output, one.ours.output),
            amounts(&one.charged),
            notes.join("; "),
        ]);
    }
    out::table(&rows)
}

/// A number and how far it is from ours.
fn difference(theirs: u64, ours: u64) -> String {
    match i128::from(theirs) - i128::from(ours) {
        0 => theirs.to_string(),
        by => format!("{theirs} ({by:+})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_gateway::ledger::{Compared, Reconciled, Tokens};

    fn usd(text: &str) -> Money {
        Money::parse(text, Currency::USD).unwrap()
    }

    fn costs() -> Costs {
        let tokens = |input, output| Tokens {
            input,
            output,
            cached: input / 2,
            ..Tokens::default()
        };
        let home = Sums {
            requests: 11,
            local: 10,
            tokens: tokens(4000, 900),
            home_tokens: 4900,
            saved: vec![usd("0.012345679")],
            energy_uj: 1_234_000_000,
            ..Sums::default()
        };
        let cloud = Sums {
            requests: 2,
            cloud: 2,
            tokens: tokens(800, 300),
            spent: vec![usd("0.0021")],
            ..Sums::default()
        };
        let total = Sums {
            requests: 13,
            local: 10,
            cloud: 2,
            tokens: tokens(4800, 1200),
            home_tokens: 4900,
            spent: cloud.spent.clone(),
            saved: home.saved.clone(),
            energy_uj: home.energy_uj,
        };
        Costs {
            by: By::Day,
            lines: vec![("2026-11-20".into(), home), ("2026-11-21".into(), cloud)],
            total,
            reserved: vec![usd("0.01")],
            compared: vec![Compared {
                provider: "cloud".into(),
                model: "big".into(),
                dated: "2026-11-01".into(),
                answers: 10,
                cost: vec![usd("0.012345679")],
            }],
            reconciled: vec![Reconciled {
                provider: "cloud".into(),
                model: "big".into(),
                answers: 2,
                ours: tokens(800, 300),
                theirs: tokens(812, 300),
                charged: vec![usd("0.0021")],
                beyond: vec![usd("1")],
                unknown: 1,
            }],
            lost: 3,
        }
    }

    fn caps() -> Vec<Taken> {
        vec![Taken {
            what: "Today",
            taken: usd("0.0121"),
            limit: usd("1"),
        }]
    }

    #[test]
    fn the_report() {
        let plain = Style {
            width: 80,
            plain: true,
        };
        let terminal = Style {
            width: 60,
            plain: false,
        };
        insta::assert_snapshot!(report(Each::Day, &costs(), &caps(), plain));
        insta::assert_snapshot!(report(Each::Day, &costs(), &[], terminal));
    }

    #[test]
    fn the_spreadsheet() {
        insta::assert_snapshot!(spreadsheet(Each::Day, &costs()).replace('\r', ""));
    }

    #[test]
    fn without_money_the_chart_is_of_tokens() {
        let mut costs = costs();
        for (_, sums) in &mut costs.lines {
            (sums.spent, sums.saved) = (Vec::new(), Vec::new());
        }
        (costs.total.spent, costs.total.saved) = (Vec::new(), Vec::new());
        let text = chart(
            Each::Day,
            &costs,
            Style {
                width: 60,
                plain: true,
            },
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn amounts_in_json_are_decimal_too() {
        let mut value = serde_json::to_value(costs()).unwrap();
        with_amounts(&mut value);
        assert_eq!(value["total"]["spent"][0]["amount"], "0.0021");
        let lines = named(value["lines"].take());
        assert_eq!(lines[0]["name"], "2026-11-20");
        assert_eq!(lines[0]["local"], 10);
    }
}

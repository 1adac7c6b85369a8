//! `ingle providers`: who may be asked beyond this machine.

use crate::environment::Environment;
use crate::line::Line;
use crate::{network, out, providers};
use anyhow::Context;
use ingle_gateway::ledger::Money;
use ingle_gateway::provider::{Providers, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who may be asked beyond this machine, what they can do and cost
///
/// They stand in ingle.toml, as [providers.NAME] and [pools.NAME]. What may be sent to them is for the
/// policy to say; without one, nothing is.
#[derive(clap::Args)]
pub struct Args {
    /// Ask each provider whether it is there and accepts its key; nothing of yours is sent
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, line: &Line, offline: bool) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let config = line.config();
    let log = Arc::new(network::log(&environment, &config.ledger)?);
    let Some(all) = providers::providers(&environment, offline, config, log)? else {
        if args.json {
            return out::json(&json!({ "targets": [], "checks": {} }));
        }
        out::note("There is no provider in ingle.toml: everything is answered on this machine.");
        return Ok(());
    };
    for sentence in providers::missing_keys(&environment, config)? {
        out::note(sentence);
    }
    let names = config
        .providers
        .iter()
        .map(|entry| entry.settings.name.as_str());
    let checks = match args.check {
        true => visits(&all, names)?,
        false => BTreeMap::new(),
    };
    if args.json {
        let targets: Vec<Value> = all.targets().map(target_json).collect();
        out::json(&json!({ "targets": targets, "checks": checks }))?;
    } else {
        let head = ["TARGET", "CONTEXT", "ANSWER", "CAN", "A MILLION TOKENS"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(all.targets().map(row));
        out::answer(&out::table(&rows))?;
        for (name, check) in &checks {
            out::note(format!(
                "{name}: {}",
                check.as_deref().unwrap_or("is there")
            ));
        }
    }
    let failed = checks.values().filter(|check| check.is_some()).count();
    anyhow::ensure!(
        failed == 0,
        "{failed} of {} providers cannot be asked",
        checks.len()
    );
    Ok(())
}

/// What is wrong with each provider, if anything.
fn visits<'a>(
    all: &Providers,
    names: impl Iterator<Item = &'a str>,
) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("the system gives no runtime for the network")?;
    let visited = names.map(|name| {
        let wrong = runtime.block_on(all.visit(name)).err();
        (name.to_owned(), wrong.map(|fault| fault.to_string()))
    });
    Ok(visited.collect())
}

fn price(target: &Target) -> String {
    let (model, prices) = (target.model(), target.prices());
    let money = |nanos| {
        Money {
            nanos,
            currency: prices.currency,
        }
        .decimal()
    };
    match model.is_free() {
        true => "free".to_owned(),
        false => format!(
            "{} in, {} out {} ({})",
            money(prices.input),
            money(prices.output),
            prices.currency,
            prices.dated
        ),
    }
}

fn row(target: &Target) -> Vec<String> {
    let model = target.model();
    let can: Vec<&str> = [(model.tools, "tools"), (model.images, "images")]
        .into_iter()
        .filter_map(|(can, what)| can.then_some(what))
        .collect();
    vec![
        out::plain(target.name()),
        model.context.to_string(),
        model.max_output.to_string(),
        if can.is_empty() {
            "text".to_owned()
        } else {
            can.join(", ")
        },
        out::plain(&price(target)),
    ]
}

fn target_json(target: &Target) -> Value {
    let (model, prices) = (target.model(), target.prices());
    let money = |nanos| {
        Money {
            nanos,
            currency: prices.currency,
        }
        .decimal()
    };
    json!({
        "name": target.name(), "pool": target.is_pool(), "context": model.context,
        "max_output": model.max_output, "tools": model.tools, "images": model.images,
        "prices": {
            "currency": prices.currency.code(), "dated": prices.dated,
            "input": money(prices.input), "cached_input": money(prices.cached_input),
            "cache_write": money(prices.cache_write), "output": money(prices.output),
        },
    })
}

//! The gateway of ingle.toml: who may be asked beyond this machine, by which rules, for how much, and when.

use crate::config::Config;
use crate::environment::Environment;
use crate::{ledger, network, out, policy, providers};
use anyhow::Context;
use ingle_gateway::confidence::{Judge, Outcomes};
use ingle_gateway::decide::{
    Gateway, Judged, JudgedSettings, Ledgered, Nobody, Policies, Remote, Rules, Sureness, Upstreams,
};
use ingle_gateway::ledger::Energy;
use std::sync::Arc;
use std::time::Duration;

/// How long the texts of one request may be looked at before it stays here.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the machine's counters of energy are read, before they begin anew.
const TICK: Duration = Duration::from_secs(20);

/// What decides who answers, and writes down each answer. None where ingle.toml has neither a provider nor
/// a word on the ledger: then everything is answered here, and nothing is written.
///
/// # Errors
/// A part of it cannot be: then nothing is served, rather than without it.
pub fn gateway(config: &Config, offline: bool) -> anyhow::Result<Option<Arc<Gateway>>> {
    let environment = Environment::of_process();
    if config.providers.is_empty() && config.ledger.given.is_empty() {
        return Ok(None);
    }
    let ledger = ledger::open(&config.ledger, &environment)?;
    // Where the machine does not say, nothing is said.
    let energy = ledger::energy(&config.ledger).ok();
    if let Some(energy) = energy.clone() {
        watch(energy)?;
    }
    let books = Ledgered {
        keeps_texts: config.ledger.keep_texts,
        ledger: ledger.clone(),
        energy,
    };
    let (mut rules, mut cloud, mut sureness): (
        Arc<dyn Rules>,
        Arc<dyn Upstreams>,
        Arc<dyn Sureness>,
    ) = (Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody));
    if !config.providers.is_empty() {
        for note in providers::missing_keys(&environment, config)? {
            out::note(format!("note: {}", out::plain(&note)));
        }
        rules = Arc::new(rules_of(config, &environment)?);
        cloud = Arc::new(remote(config, &environment, offline, &ledger)?);
        sureness = Arc::new(judged(config, &environment)?);
    }
    Ok(Some(Arc::new(Gateway {
        rules,
        cloud,
        books: Arc::new(books),
        sureness,
        settings: config.route.settings,
        clock: ledger::clock(),
    })))
}

fn rules_of(config: &Config, environment: &Environment) -> anyhow::Result<Policies> {
    let (policy, taint) = policy::open(config, environment)?;
    Ok(Policies::new(policy, taint, ledger::clock(), PATIENCE)?)
}

fn remote(
    config: &Config,
    environment: &Environment,
    offline: bool,
    ledger: &ingle_gateway::ledger::Ledger,
) -> anyhow::Result<Remote> {
    let log = Arc::new(ledger.door()?);
    let providers = providers::providers(environment, offline, config, log)?;
    let providers = providers.context("ingle.toml has no provider")?;
    let shut = network::offline(environment, offline);
    let shut = shut.map(|why| format!("the network is switched off: {why}"));
    let remote = Remote::new(providers, config.route.cloud.clone(), shut);
    remote.map_err(|name| {
        let path = config.path.as_ref().map(|path| path.display().to_string());
        anyhow::anyhow!(
            "`cloud` in [route] of {}: there is no provider's model and no pool `{}`",
            path.unwrap_or_default(),
            out::plain(&name)
        )
    })
}

fn judged(config: &Config, environment: &Environment) -> anyhow::Result<Judged> {
    let folder = environment.calibrations_folder();
    let folder =
        folder.context("there is no place for calibrations; set HOME or XDG_STATE_HOME")?;
    let (judge, faults) = Judge::open(&folder)?;
    for fault in faults {
        out::note(format!("note: {}", out::plain(&fault.to_string())));
    }
    let outcomes = environment.outcomes_file().map(|file| {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        anyhow::Ok(Outcomes::open(&file)?)
    });
    let route = &config.route;
    let settings = JudgedSettings {
        aim: route.aim,
        cloud_accuracy: route.cloud_accuracy,
        task: route.task.clone(),
    };
    Ok(Judged::new(
        judge,
        outcomes.transpose()?,
        settings,
        ledger::clock(),
    )?)
}

/// Reads the counters of energy before they begin anew.
fn watch(energy: Energy) -> anyhow::Result<()> {
    let look = move || loop {
        std::thread::sleep(TICK);
        energy.tick();
    };
    std::thread::Builder::new()
        .name("energy".into())
        .spawn(look)?;
    Ok(())
}

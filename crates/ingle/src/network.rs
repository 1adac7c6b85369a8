//! The way out, as this machine's environment and the command line allow it.

use crate::config::Ledger as Settings;
use crate::environment::Environment;
use crate::{Usage, ledger};
use anyhow::Context;
use ingle::store::pull::Hub;
use ingle_egress::{
    Cancel, Door, DoorOptions, Endpoint, Origin, Proxy, Purpose, Redirects, Token, parse_url,
};
use ingle_gateway::ledger::DoorLog;
use std::sync::Arc;

/// The hub that is asked where `HF_ENDPOINT` names no other one.
const HUB: &str = "https://huggingface.co";
/// Where it keeps its files.
const HUB_DOMAINS: [&str; 2] = ["huggingface.co", "hf.co"];

/// What the command line says of the network.
pub struct Wishes<'a> {
    /// `--offline`.
    pub offline: bool,
    /// Origins that the hub may redirect to, wherever they lie.
    pub download_hosts: &'a [String],
}

/// What switched the network off.
pub fn offline(environment: &Environment, flag: bool) -> Option<String> {
    if flag {
        return Some("--offline was given".into());
    }
    let variables = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
    let variable = variables.into_iter().find(|name| environment.is_on(name))?;
    Some(format!("{variable} is set"))
}

/// The hub, behind the one door.
///
/// # Errors
/// An address that cannot be used, or a log that cannot be written: then nothing goes out.
pub fn hub(
    environment: &Environment,
    settings: &Settings,
    wishes: &Wishes<'_>,
    cancel: &Cancel,
) -> anyhow::Result<Hub> {
    let named = environment.text("HF_ENDPOINT");
    let wrong = |name: &'static str| move |error| Usage(format!("{name}: {error}"));
    let endpoint = parse_url(named.as_deref().unwrap_or(HUB)).map_err(wrong("HF_ENDPOINT"))?;
    let origin = Origin::of(&endpoint).map_err(wrong("HF_ENDPOINT"))?;
    let mut redirects = Redirects::domains(HUB_DOMAINS);
    if named.is_some() && origin != Origin::parse(HUB)? {
        // A mirror may keep its files anywhere public.
        redirects = Redirects::public_https();
    }
    for host in wishes.download_hosts {
        redirects = redirects.and(Origin::parse(host).map_err(wrong("--download-host"))?);
    }
    let allowed = match named {
        Some(_) => Endpoint::named(Purpose::Pull, origin.clone(), redirects),
        None => Endpoint::public(Purpose::Pull, origin.clone(), redirects)?,
    };
    let token = environment
        .hub_token()
        .map(|secret| Token::new(origin, &secret))
        .transpose()?;
    let options = DoorOptions {
        endpoints: vec![allowed],
        offline: offline(environment, wishes.offline),
        proxy: proxy(environment)?,
        ..DoorOptions::default()
    };
    Ok(Hub {
        door: Door::new(options, Arc::new(log(environment, settings)?)),
        endpoint,
        token,
        cancel: cancel.clone(),
    })
}

/// The log of a door: every use of it is a row of the ledger.
///
/// # Errors
/// The ledger cannot be written: then nothing goes out.
pub fn log(environment: &Environment, settings: &Settings) -> anyhow::Result<DoorLog> {
    let opened = ledger::open(settings, environment).and_then(|ledger| Ok(ledger.door()?));
    opened.context("nothing is sent, because it could not be written down")
}

/// The proxy that the environment names.
///
/// # Errors
/// One that cannot be used.
pub fn proxy(environment: &Environment) -> anyhow::Result<Option<Proxy>> {
    let either = |names: [&str; 2]| names.into_iter().find_map(|name| environment.text(name));
    let proxy =
        either(["HTTPS_PROXY", "https_proxy"]).or_else(|| either(["ALL_PROXY", "all_proxy"]));
    let exceptions = either(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let proxy = proxy.map(|proxy| Proxy::parse(&proxy, &exceptions));
    proxy
        .transpose()
        .map_err(|error| Usage(error.to_string()).into())
}

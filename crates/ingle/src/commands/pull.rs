//! `ingle pull`: a model from the hub into the Hugging Face cache.

use crate::config::Ledger as Settings;
use crate::environment::Environment;
use crate::network::{self, Wishes};
use crate::pull_progress::Show;
use crate::{Usage, out};
use anyhow::Context;
use ingle::store::download::Progress;
use ingle::store::pull::{Hub, Plan, PullError, PullEvent, Pulled};
use ingle::store::{Found, HubName, Place, PlaceError, Reference, alias};
use ingle_egress::Cancel;
use serde_json::json;

/// Downloads a model into the Hugging Face cache, where other programs find it too
///
/// NAME is a short name (`ingle list --available`) or hf.co/ORG/REPO[:QUANT]. A download that was cut
/// goes on where it ended; every file is checked against its digest before it gets its name. Variables
/// that count: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY.
/// Every request is written down first; `ingle audit` shows them.
#[derive(clap::Args)]
pub struct Args {
    /// What to download, as qwen3:4b or hf.co/Qwen/Qwen3-4B-GGUF:Q8_0
    name: String,
    /// An address besides the hub that it may send us to for the files, as https://cdn.example; needed
    /// for one that is not public only. Repeat the flag for more
    #[arg(long, value_name = "URL")]
    download_host: Vec<String>,
    /// Print events, one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, settings: &Settings, offline: bool) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let wanted = wanted(&args.name)?;
    if let Some(why) = network::offline(&environment, offline)
        && let Ok(found) = environment.places().locate(&Reference::Hub(wanted.clone()))
        && found.place == Place::Hub
    {
        return here_but_offline(args, &found, &why);
    }
    let root = environment
        .hub_cache()
        .context("there is no place for models; set HOME, or HF_HUB_CACHE to a folder")?;
    let cancel = Cancel::new();
    let stop = cancel.clone();
    ctrlc::set_handler(move || stop.cancel())?;
    let wishes = Wishes {
        offline,
        download_hosts: &args.download_host,
    };
    let hub = network::hub(&environment, settings, &wishes, &cancel)?;
    let plan = plan(&hub, &args.name, &wanted)?;
    let mut show = Show::new(args.json);
    show.plan(&plan)?;
    let pulled = plan.pull(&hub, &root, &mut |event| show.event(event))?;
    show.end();
    finish(args, &plan, &pulled)
}

/// Is told what is being done, of which file, and how many of its bytes are here; `false` ends it.
type Told<'a> = &'a mut dyn FnMut(&str, Option<&str>, Option<(u64, u64)>) -> bool;

/// Downloads a model because a request to the server asked for it.
///
/// # Errors
/// As [`run`].
pub fn pull_for(settings: &Settings, name: &str, told: Told<'_>) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let wanted = wanted(name)?;
    let root = environment
        .hub_cache()
        .context("there is no place for models; set HOME, or HF_HUB_CACHE to a folder")?;
    let cancel = Cancel::new();
    let wishes = Wishes {
        offline: false,
        download_hosts: &[],
    };
    let hub = network::hub(&environment, settings, &wishes, &cancel)?;
    let mut go_on = told("pulling manifest", None, None);
    let plan = plan(&hub, name, &wanted)?;
    let (mut file, mut size) = (String::new(), 0);
    plan.pull(&hub, &root, &mut |event| {
        match event {
            PullEvent::File(_, remote) => {
                file = remote.file.to_string();
                size = remote.size;
            }
            PullEvent::Progress(Progress::Fetching { done, .. }) => {
                let status = format!("pulling {file}");
                go_on &= told(&status, Some(&file), Some((done, size)));
            }
            PullEvent::Done(_) => {
                let status = format!("pulling {file}");
                go_on &= told(&status, Some(&file), Some((size, size)));
            }
            _ => {}
        }
        if !go_on {
            cancel.cancel();
        }
    })?;
    told("success", None, None);
    Ok(())
}

/// What will be got. Of an alias, where its repository has given the file another name, the one of the same
/// quantisation.
fn plan(hub: &Hub, name: &str, wanted: &HubName) -> Result<Plan, PullError> {
    match Plan::new(hub, wanted) {
        Err(PullError::NoQuant { .. } | PullError::NoGguf { .. })
            if let Some((alias, _)) = alias(name)
                && wanted
                    .quant
                    .as_ref()
                    .is_some_and(|quant| quant.is(alias.file))
                && let Some(by_quant) = alias.by_quant() =>
        {
            Plan::new(hub, &by_quant)
        }
        planned => planned,
    }
}

/// The repository on the hub that a name stands for.
fn wanted(name: &str) -> anyhow::Result<HubName> {
    let wrong = |message: String| anyhow::Error::new(Usage(message));
    match Reference::parse(name).map_err(|error| wrong(PlaceError::from(error).to_string()))? {
        Reference::Hub(hub) => Ok(hub),
        Reference::Path(path) => Err(wrong(format!(
            "{} is a path; give a name, as qwen3:4b or hf.co/ORG/REPO",
            path.display()
        ))),
        Reference::Name(named) => {
            if let Some((_, hub)) = alias(&named.text) {
                return Ok(hub);
            }
            if let Some(hub) = named.hub {
                return Ok(hub);
            }
            let places = Environment::of_process().places();
            match places.locate(&Reference::Name(named)) {
                Ok(found) => Err(wrong(format!(
                    "{} is here already, in {}; `ingle run {name}` runs it",
                    found.name, found.place
                ))),
                Err(error) => Err(error.into()),
            }
        }
    }
}

fn here_but_offline(args: &Args, found: &Found, why: &str) -> anyhow::Result<()> {
    let path = found.path.display().to_string();
    if args.json {
        return out::json(&json!({
            "event": "done", "name": found.name, "path": path, "already": true, "compared": false,
        }));
    }
    out::note(format!(
        "{} is here. It was not compared with the hub: {why}.",
        found.name
    ));
    out::answer(&(path + "\n"))
}

fn finish(args: &Args, plan: &Plan, pulled: &Pulled) -> anyhow::Result<()> {
    let path = pulled.path.display().to_string();
    if args.json {
        return out::json(&json!({
            "event": "done", "name": plan.name, "path": path, "bytes": plan.bytes(),
            "commit": plan.repository.commit.as_str(), "already": pulled.already,
        }));
    }
    // The name that was typed leads here too, and is shorter.
    let (name, shown) = (&args.name, out::plain(&plan.name));
    if pulled.already {
        out::note(format!(
            "{shown} is here already, whole and up to date. To run it:\n  ingle run {name}"
        ));
    } else {
        out::note(format!("{shown} is here. To run it:\n  ingle run {name}"));
    }
    out::answer(&(path + "\n"))
}

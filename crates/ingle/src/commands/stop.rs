//! `ingle stop`: takes a model out of memory, or ends the server.

use crate::out;
use crate::sockets::Running;
use serde_json::{Value, json};

/// Takes MODEL out of the memory of this user's servers; with no MODEL, ends them
///
/// Answers that are being written finish first; a model in use stays.
#[derive(clap::Args)]
pub struct Args {
    /// As `ingle ps` shows it
    model: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let servers = Running::all();
    anyhow::ensure!(
        !servers.is_empty(),
        "no server of yours runs on this machine"
    );
    let Some(name) = &args.model else {
        for server in &servers {
            server
                .ask("POST", "/ingle/stop", Some(&json!({})))?
                .json()?;
            out::note(format!("The server with process {} is ending.", server.pid));
        }
        return Ok(());
    };
    let mut found = false;
    for server in &servers {
        let called = |model: &Value| {
            let aliases = model["aliases"].as_array().into_iter().flatten();
            model["id"] == **name || aliases.into_iter().any(|alias| *alias == **name)
        };
        if !server.models()?.iter().any(called) {
            continue;
        }
        let said = server.ask("POST", "/ingle/stop", Some(&json!({ "model": name })))?;
        found |= said.json()?["unloaded"] == true;
    }
    anyhow::ensure!(
        found,
        "{} is not loaded; `ingle ps` shows what is",
        out::plain(name)
    );
    out::note(format!("{} is out of memory.", out::plain(name)));
    Ok(())
}

//! `ingle ps`: which models are loaded.

use crate::out;
use crate::sockets::Running;
use serde_json::{Value, json};

/// The models that servers of this user have in memory
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let servers = Running::all();
    for server in &servers {
        for model in server.models()? {
            rows.push(row(&model, server.pid));
            let mut model = model;
            model["pid"] = server.pid.into();
            all.push(model);
        }
    }
    if args.json {
        let pids: Vec<u32> = servers.iter().map(|server| server.pid).collect();
        return out::json(&json!({ "servers": pids, "models": all }));
    }
    if servers.is_empty() {
        out::note("No server of yours runs on this machine; `ingle serve` starts one.");
        return Ok(());
    }
    if rows.is_empty() {
        out::note("No model is loaded.");
        return Ok(());
    }
    let head = ["MODEL", "MEMORY", "CONTEXT", "REQUESTS", "UNTIL", "PROCESS"];
    rows.insert(0, head.map(str::to_owned).to_vec());
    out::answer(&out::table(&rows))
}

fn row(model: &Value, pid: u32) -> Vec<String> {
    let number = |name: &str| model[name].as_u64().unwrap_or(0);
    let until = match model["expires_in_s"].as_u64() {
        _ if number("users") > 0 => "in use".to_owned(),
        Some(seconds) => format!("{seconds} s from now"),
        None => "its memory is wanted".to_owned(),
    };
    vec![
        out::plain(model["id"].as_str().unwrap_or_default()),
        out::bytes(number("bytes")),
        number("context").to_string(),
        format!("{} + {} waiting", number("running"), number("waiting")),
        until,
        pid.to_string(),
    ]
}

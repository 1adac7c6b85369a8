//! `ingle serve`: a model for other programs.

use crate::load::{Company, LoadArgs, load_for};
use crate::{Usage, clock, out};
use anyhow::Context;
use ingle::engine::{EngineHandle, Patience, Plan};
use ingle_server::{Allowed, App, Config, Limits, LogLine, Models, Served, run as run_server};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Serves a model to programs that speak OpenAI's API, on this machine
///
/// Ctrl-C or SIGTERM lets answers finish first; pressed again, it ends at once. With no MODEL the
/// small model that is built in answers.
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file or the name of a model, as qwen3:4b or hf.co/ORG/REPO:QUANT [default: the
    /// built-in model]
    model: Option<String>,
    /// The address to listen at; beyond this machine only with --without-keys
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), help_heading = "Server")]
    host: IpAddr,
    /// The port; 0 takes any that is free
    #[arg(
        long,
        value_name = "N",
        default_value_t = 11435,
        help_heading = "Server"
    )]
    port: u16,
    /// Requests worked on at the same time, with memory for the context of each, or of as many as
    /// fit; the youngest waits where more is needed [default: 16, with memory for 4 contexts]
    #[arg(long, value_name = "N", help_heading = "Server", value_parser = clap::value_parser!(u32).range(1..=64))]
    parallel: Option<u32>,
    /// Seconds that the next token of an answer waits at most while somebody else's long prompt is read.
    /// Only where weights are read from disk while they are used; needs a disk that gives one layer and
    /// the weights of one token in that time
    #[arg(long, value_name = "SECONDS", default_value = "2", help_heading = "Server", value_parser = seconds)]
    max_stall: Duration,
    /// Allow web pages of this origin, as https://app.example, or * for all; repeat for more
    #[arg(long, value_name = "ORIGIN", help_heading = "Server")]
    allow_origin: Vec<String>,
    /// Answer under this name too, as box.lan; repeat for more
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    allow_host: Vec<String>,
    /// Listen beyond this machine although anybody who reaches the port can then use the model
    #[arg(long, help_heading = "Server")]
    without_keys: bool,
    /// Largest body of a request, in MiB
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Server", value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_body: u32,
    /// Do not write a line for each request to standard error
    #[arg(long, help_heading = "Server")]
    quiet: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// A time, as 2 or 0.5.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.0..=3600.0).contains(s));
    let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    time.ok_or_else(|| "give seconds, from 0 to 3600, as 2 or 0.5".into())
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if !args.host.is_loopback() && !args.without_keys {
        return Err(Usage(format!(
            "{} is reached from other machines, and this version has no keys: anybody there could use the model. \
             Leave --host out and reach it through a tunnel (ssh -L {port}:127.0.0.1:{port} THIS-MACHINE), or say --without-keys",
            args.host,
            port = args.port,
        ))
        .into());
    }
    // Before minutes of loading: somebody else may have the port.
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).with_context(|| {
        format!("{address} cannot be listened at; is `ingle serve` running already? --port N takes another")
    })?;
    let (app, id, plan) = app(args)?;
    say(&id, &plan, listener.local_addr()?);
    run_server(listener, app, || {
        out::note("answers may finish; once more ends at once");
    })?;
    Ok(())
}

/// Loads the model and starts its engine.
fn app(args: &Args) -> anyhow::Result<(Arc<App>, String, Plan)> {
    let loaded = load_for(
        args.model.as_deref(),
        &args.load.clone().with_max_stall(args.max_stall),
        Company::Several(args.parallel),
    )?;
    let fingerprint = loaded.fingerprint();
    let (engine, prompter) = loaded.model.into_parts();
    let start = Instant::now();
    let plan = engine.plan().clone();
    let engine = EngineHandle::start(engine, Patience::default(), move || start.elapsed())?;
    let id = args.model.as_deref().map_or(loaded.name, model_id);
    let model = Served {
        fingerprint,
        aliases: args.model.iter().cloned().collect(),
        created: clock::unix(),
        ..Served::new(id.clone(), &plan, prompter, engine)
    };
    let quiet = args.quiet;
    let config = Config {
        limits: Limits {
            body_bytes: (args.max_body as usize) << 20,
            ..Limits::default()
        },
        allowed: Allowed {
            origins: args.allow_origin.clone(),
            hosts: args.allow_host.clone(),
        },
        unix_time: clock::unix,
        random,
        log: Arc::new(move |line: &LogLine| {
            if !quiet {
                out::note(line);
            }
        }),
    };
    Ok((App::new(config, Models::one(model)), id, plan))
}

/// What clients call a model: the name that was typed, or of a path the last part, which says
/// nothing of the folders of this machine.
fn model_id(typed: &str) -> String {
    let path = Path::new(typed);
    let last = match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("gguf") => path.file_stem(),
        _ if path.exists() => path.file_name(),
        _ => None,
    };
    last.map_or_else(
        || typed.to_owned(),
        |last| last.to_string_lossy().into_owned(),
    )
}

/// Says where it listens, and shows a request that this model answers.
fn say(id: &str, plan: &Plan, address: SocketAddr) {
    let id = out::plain(id);
    let (route, rest) = if plan.generates() {
        (
            "chat/completions",
            r#""messages": [{"role": "user", "content": "Hello"}]"#,
        )
    } else if plan.scores() {
        (
            "rerank",
            r#""query": "Hello", "documents": ["Good day", "Goodbye"]"#,
        )
    } else {
        ("embeddings", r#""input": "Hello""#)
    };
    out::note(format!(
        "serving {id} at http://{address}/v1\n  curl http://{address}/v1/{route} -H 'Content-Type: application/json' -d '{{\"model\": \"{id}\", {rest}}}'"
    ));
}

/// 64 bits of the system's randomness.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

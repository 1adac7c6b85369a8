//! `ingle serve`: a model for other programs.

use crate::commands::bench::limits;
use crate::config::Ledger as Settings;
use crate::environment::Environment;
use crate::keys::{self, KeyFile};
use crate::line::Line;
use crate::load::{BUILT_IN_NAME, LoadArgs};
use crate::prefix_store::PrefixArgs;
use crate::shelf::{Catalog, Puller, Shelf, Spec, answers, progress};
use crate::{Command, Usage, clock, crash, keep_alive, log, ollama, out, routing, sockets};
use anyhow::Context;
use ingle::engine::Plan;
use ingle_server::{
    Allowed, App, Config, Key, Keys, Limits, LogLine, Need, Notice, Side, Sockets, Tls, Transcript,
    run as run_server,
};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Serves models to programs that speak to OpenAI, Ollama, Anthropic or llama.cpp, on this machine
///
/// Ctrl-C or SIGTERM lets answers finish first; pressed again, it ends at once. With no MODEL the
/// small model that is built in answers.
#[derive(Clone, clap::Args)]
pub struct Args {
    /// A .gguf file or the name of a model, as qwen3:4b or hf.co/ORG/REPO:QUANT [default: the
    /// built-in model]
    model: Option<String>,
    /// The address to listen at; beyond this machine only where there are keys (`ingle key add`)
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
    /// Ask nobody for a key, whoever reaches the port: on this machine although there are keys, beyond
    /// it although there are none
    #[arg(long, help_heading = "Server", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    without_keys: bool,
    /// Encrypt connections with this certificate: a PEM file with the whole chain, the server's own first
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Server",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key: a PEM file. SIGHUP reads both files again
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Server",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// Requests that may be there, working and waiting; one more is told at once to come again later
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Server", value_parser = clap::value_parser!(u32).range(1..=4096))]
    queue: u32,
    /// Connections at the same time
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Server", value_parser = clap::value_parser!(u32).range(1..=16384))]
    max_connections: u32,
    /// Largest body of a request, in MiB
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Server", value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_body: u32,
    /// How long a model stays in memory when nobody uses it, as 5m or 1h [default: until its memory is
    /// wanted]
    #[arg(long, value_name = "TIME", help_heading = "Server", value_parser = keep_alive::parse)]
    keep_alive: Option<keep_alive::KeepAlive>,
    /// Serve MODEL and those of ingle.toml, and no other model of this machine that somebody asks for
    #[arg(long, help_heading = "Server", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    only: bool,
    /// Let requests download models (Ollama's /api/pull); with keys, those of admins alone
    #[arg(long, help_heading = "Server", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    allow_pull: bool,
    /// In Ollama's place: at its port, 11434, with its variables (OLLAMA_HOST, OLLAMA_KEEP_ALIVE,
    /// OLLAMA_CONTEXT_LENGTH, OLLAMA_NUM_PARALLEL, OLLAMA_MAX_QUEUE, OLLAMA_ORIGINS) and the web pages that
    /// it lets in. What Ingle's own flags, variables and file say stands above that
    #[arg(long, help_heading = "Server", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    ollama: bool,
    /// What is written of requests to standard error; never a word of them
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "lines",
        help_heading = "Server"
    )]
    log: log::Format,
    /// How much of it, where --log is text or json
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Server"
    )]
    log_level: log::Detail,
    /// Do not write a line for each request to standard error
    #[arg(long, help_heading = "Server", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    quiet: bool,
    /// Write every word of requests and answers to standard error. Without this no log, error or metric
    /// holds one
    #[arg(long, help_heading = "Server", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    log_prompts: bool,
    /// What OLLAMA_CONTEXT_LENGTH says, for all models that say nothing themselves.
    #[arg(skip)]
    ollama_context: Option<u32>,
    #[command(flatten)]
    prefixes: PrefixArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// Bytes on which it is measured how fast memory is read: more than caches hold, and read in milliseconds.
const MEASURED: u64 = 128 << 20;

/// A time, as 2 or 0.5.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.0..=3600.0).contains(s));
    let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    time.ok_or_else(|| "give seconds, from 0 to 3600, as 2 or 0.5".into())
}

impl Args {
    /// With what Ollama's variables say, where it was asked for.
    fn in_ollamas_place(&self, line: &Line) -> Result<Self, Usage> {
        let mut args = self.clone();
        if !args.ollama {
            return Ok(args);
        }
        let environment = Environment::of_process();
        let text = |name: &str| environment.text(name);
        let said = ollama::Settings::read(text)?;
        for name in ollama::Settings::without_meaning(text) {
            out::note(format!("note: {name} means nothing here"));
        }
        let (_, given) = line.parse(None);
        let free = |flag: &str| !given.ids().any(|id| id == flag);
        if free("host") {
            args.host = said.host.unwrap_or(args.host);
        }
        if free("port") {
            args.port = said.port.unwrap_or(ollama::PORT);
        }
        if free("keep_alive") {
            args.keep_alive = Some(said.keep_alive.unwrap_or(ollama::KEEP_ALIVE));
        }
        if free("parallel") {
            args.parallel = said.parallel.or(args.parallel);
        }
        if free("queue") {
            args.queue = said.queue.unwrap_or(args.queue);
        }
        args.ollama_context = said.context;
        args.load = args.with_ollama_context(args.load.clone());
        args.allow_origin.extend(said.origins);
        args.allow_origin.extend(ollama::ORIGINS.map(str::to_owned));
        Ok(args)
    }

    /// With the context that Ollama's variable gives those that are given none.
    fn with_ollama_context(&self, load: LoadArgs) -> LoadArgs {
        match self.ollama_context {
            Some(context) => load.or_context(context),
            None => load,
        }
    }
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let args = &args.in_ollamas_place(line)?;
    crash::say_nothing_of_requests();
    crash::leave_no_image();
    if !args.quiet {
        log::begin(args.log, args.log_level);
    }
    let keys = KeyFile::of_user();
    let known = match &keys {
        Ok(keys) => keys.read()?,
        Err(_) => Vec::new(),
    };
    let need = need(args, !known.is_empty())?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::read(certificate, key)?)),
        _ => None,
    };
    // Before minutes of loading: somebody else may have the port.
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).with_context(|| {
        format!("{address} cannot be listened at; is `ingle serve` running already? --port N takes another")
    })?;
    let shelf = Shelf::new(catalog(args, line)?)?;
    let (id, plan) = shelf.load_first()?;
    let gateway = routing::gateway(line.config(), line.parse(None).0.offline)?;
    let models = Arc::new(shelf.clone());
    let app = App::with_gateway(config(args), models, Keys::new(need), gateway);
    app.keys().set(known.iter().filter_map(as_key).collect());
    if let Ok(keys) = keys {
        watch(keys, Arc::clone(&app))?;
    }
    let address = listener.local_addr()?;
    let socket = sockets::Owner::listen();
    say(&id, &plan, address, tls.is_some());
    let sockets = Sockets {
        tcp: listener,
        tls: tls.clone(),
        #[cfg(unix)]
        owner: socket.as_ref().and_then(sockets::Owner::listener),
    };
    run_server(sockets, app, |notice| match notice {
        Notice::Ending => out::note("answers may finish; once more ends at once"),
        Notice::Reload => match tls.as_ref().map(|tls| tls.reload()) {
            None => {}
            Some(Ok(())) => out::note("the certificate was read again"),
            Some(Err(error)) => out::note(format!("the certificate stays as it was: {error}")),
        },
    })?;
    shelf.join();
    Ok(())
}

/// Who needs a key. Beyond this machine there must be one, unless somebody says otherwise.
fn need(args: &Args, there_are_keys: bool) -> Result<Need, Usage> {
    match (args.without_keys, args.host.is_loopback()) {
        (true, _) => Ok(Need::Never),
        (false, true) => Ok(Need::IfThereAre),
        (false, false) if there_are_keys => Ok(Need::Always),
        (false, false) => Err(Usage(format!(
            "{} is reached from other machines, and there is no key: make one with `ingle key add NAME`. \
             Or leave --host out and reach it through a tunnel (ssh -L {port}:127.0.0.1:{port} THIS-MACHINE), \
             or let anybody use the models with --without-keys",
            args.host,
            port = args.port,
        ))),
    }
}

fn as_key(kept: &keys::Kept) -> Option<Key> {
    Some(Key {
        name: kept.name.clone(),
        hash: keys::hash(&kept.sha256)?,
        requests_per_minute: kept.requests_per_minute,
        tokens_per_minute: kept.tokens_per_minute,
        concurrent: kept.concurrent,
        models: kept.models.clone(),
        keeps_prefixes: kept.keep_prefixes,
        admin: kept.admin,
    })
}

/// Sees to it that keys which are made or revoked count within a second.
fn watch(file: KeyFile, app: Arc<App>) -> anyhow::Result<()> {
    const GLANCE: Duration = Duration::from_millis(500);
    let stamp = |file: &KeyFile| {
        let found = std::fs::metadata(file.path()).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    let mut seen = stamp(&file);
    let look = move || loop {
        std::thread::sleep(GLANCE);
        let now = stamp(&file);
        if now == seen {
            continue;
        }
        match file.read() {
            Ok(keys) => {
                app.keys().set(keys.iter().filter_map(as_key).collect());
                seen = now;
            }
            // Nobody gets in by a file that cannot be read, and nobody is thrown out by it.
            Err(error) => {
                out::note(format!("keys stay as they were: {error}"));
                seen = now;
            }
        }
    };
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(look)?;
    Ok(())
}

fn config(args: &Args) -> Config {
    let quiet = args.quiet || args.log != log::Format::Lines;
    let transcript: Transcript = Arc::new(|id: &str, side: Side, bytes: &[u8]| {
        let arrow = match side {
            Side::Request => ">",
            Side::Answer => "<",
        };
        let text = String::from_utf8_lossy(bytes);
        out::note(format!("{id} {arrow} {}", out::plain(&text)));
    });
    Config {
        limits: Limits {
            body_bytes: (args.max_body as usize) << 20,
            requests: args.queue as usize,
            connections: args.max_connections as usize,
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
        transcript: args.log_prompts.then_some(transcript),
    }
}

/// Which models there are: MODEL first, those of ingle.toml, the one that is built in, and any other
/// that lies on this machine.
fn catalog(args: &Args, line: &Line) -> anyhow::Result<Catalog> {
    // Where anybody who reaches the port may ask, texts are nobody's in particular.
    let prefixes = args
        .prefixes
        .store(args.host.is_loopback() || !args.without_keys);
    let usual = Spec {
        id: String::new(),
        aliases: Vec::new(),
        model: None,
        load: args
            .load
            .clone()
            .with_max_stall(args.max_stall)
            .keeping(prefixes.clone()),
        parallel: args.parallel,
        keep_alive: args.keep_alive.flatten(),
        preset: answers::preset(line, None),
        base: None,
    };
    let any = Spec {
        load: usual.load.clone().for_any_model(),
        ..usual.clone()
    };
    let mut named: Vec<Spec> = Vec::new();
    for preset in &line.config().presets {
        let Command::Serve(below) = line.parse(Some(preset)).0.command else {
            continue; // the same line is the same command
        };
        named.push(Spec {
            id: preset.name.clone(),
            model: preset.base.clone(),
            load: args
                .with_ollama_context(below.load)
                .with_max_stall(args.max_stall)
                .with_template(preset.template.clone())
                .keeping(prefixes.clone()),
            keep_alive: preset.keep_alive.unwrap_or(usual.keep_alive),
            preset: answers::preset(line, Some(preset)),
            base: Some(preset.base.clone().unwrap_or_else(|| BUILT_IN_NAME.into())),
            ..usual.clone()
        });
    }
    let first = match &args.model {
        Some(model) => match named.iter().position(|spec| spec.id == *model) {
            Some(place) => named.remove(place),
            None => Spec {
                id: model_id(model),
                aliases: vec![model.clone()],
                model: Some(model.clone()),
                ..usual.clone()
            },
        },
        None => Spec {
            id: BUILT_IN_NAME.into(),
            ..usual.clone()
        },
    };
    if first.id != BUILT_IN_NAME && !args.only {
        named.push(Spec {
            id: BUILT_IN_NAME.into(),
            ..any.clone()
        });
    }
    let shared = args.load.shared()?;
    let puller = args.allow_pull.then(|| puller(&line.config().ledger));
    let machine = args.load.machine();
    let most = args.load.room_to_measure();
    let read_rate = limits::read(machine.isa().0, &shared.team, MEASURED, most);
    let catalog = Catalog::new(first, named, (!args.only).then_some(any), shared);
    Ok(catalog.on_machine(read_rate).pulling(puller))
}

/// Downloads what a request asks for, as `ingle pull` does.
fn puller(settings: &Settings) -> Puller {
    let settings = settings.clone();
    Box::new(move |name, mut watcher| {
        super::pull::pull_for(&settings, name, &mut |status, file, done| {
            watcher(progress(status, file, done))
        })
    })
}

/// What clients call a model: the name that was typed, or of a path the last part, which says
/// nothing of the folders of this machine.
pub fn model_id(typed: &str) -> String {
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
fn say(id: &str, plan: &Plan, address: SocketAddr, encrypted: bool) {
    let scheme = if encrypted { "https" } else { "http" };
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
        "serving {id} at {scheme}://{address}/v1\n  curl {scheme}://{address}/v1/{route} -H 'Content-Type: application/json' -d '{{\"model\": \"{id}\", {rest}}}'"
    ));
}

/// 64 bits of the system's randomness.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

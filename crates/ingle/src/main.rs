//! `ingle`: arguments, wiring, and what a person sees.
//!
//! Invariant: the environment is read here (by clap, and in `environment.rs`) and nowhere below; values are
//! handed down.
//! Invariant: stdout carries the answer and nothing else.
#![forbid(unsafe_code)]

mod answer;
mod chart;
mod chat_input;
mod clock;
mod commands;
mod config;
mod crash;
mod csv;
mod environment;
mod interrupt;
mod keep_alive;
mod keys;
mod layers;
mod ledger;
mod line;
mod load;
mod log;
mod machine;
mod metadata_view;
mod model_file;
mod network;
mod ollama;
mod out;
mod own_server;
mod policy;
mod prefix_store;
mod providers;
mod pull_progress;
mod reads;
mod routing;

mod sampling_args;
mod shelf;
mod sockets;
mod stdin;
mod through;
mod work;

use clap::{Parser, Subcommand};
use line::Line;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs open-weight models on your own machine.
///
/// MODEL is a path to a .gguf file, a short name (qwen3:4b), hf.co/ORG/REPO[:QUANT], the name of a
/// model of Ollama's, or nothing: the small model that is built in.
/// The answer goes to standard output, progress and notes to standard error.
/// Nothing calls out to the network but `pull`, and what ingle.toml lets go to a provider (`serve`, `run
/// --route`); with --offline (or HF_HUB_OFFLINE=1) not even that.
/// What is always wanted may stand in ingle.toml (`ingle config`), below flags and the environment.
/// Exit codes: 0 done, 1 the task failed, 2 the arguments are wrong.
#[derive(Parser)]
#[command(
    name = "ingle",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true
)]
struct Ingle {
    #[command(subcommand)]
    command: Command,
    /// Nothing leaves this machine, whatever else is asked for
    #[arg(long, global = true, hide = true)]
    offline: bool,
    /// Another ingle.toml than the user's own
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Args),
    Serve(commands::serve::Args),
    Ps(commands::ps::Args),
    Providers(commands::providers::Args),
    Stop(commands::stop::Args),
    Show(commands::show::Args),
    List(commands::list::Args),
    Embed(commands::embed::Args),
    Tokenize(commands::tokenize::Args),
    Template(commands::template::Args),
    Plan(commands::plan::Args),
    Bench(commands::bench::Args),
    Doctor(commands::doctor::Args),
    Quantize(commands::quantize::Args),
    Pull(commands::pull::Args),
    Key(commands::key::Args),
    Cache(commands::cache::Args),
    Calibrate(commands::calibrate::Args),
    Cost(commands::cost::Args),
    Why(commands::why::Args),
    Audit(commands::audit::Args),
    Ledger(commands::ledger::Args),
    Config(commands::config::Args),
    Policy(commands::policy::Args),
}

/// The arguments are wrong in a way that only shows when they are used: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    let done = Line::of_process().and_then(|line| run(&line));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is::<out::ReaderGone>() => ExitCode::SUCCESS,
        Err(e) => {
            out::note(format!("error: {e:#}"));
            let wrong = e.is::<Usage>() || e.is::<config::Faults>();
            ExitCode::from(if wrong { 2 } else { 1 })
        }
    }
}

fn run(line: &Line) -> anyhow::Result<()> {
    let (ingle, given) = line.parse(None);
    match ingle.command {
        Command::Run(args) => match args.preset(line.config()) {
            Some(preset) => commands::run::run_preset(line, preset),
            None => commands::run::run(&args, &given, None, (line.config(), ingle.offline)),
        },
        Command::Serve(args) => commands::serve::run(&args, line),
        Command::Ps(args) => commands::ps::run(&args),
        Command::Providers(args) => commands::providers::run(&args, line, ingle.offline),
        Command::Stop(args) => commands::stop::run(&args),
        Command::Show(args) => commands::show::run(&args),
        Command::List(args) => commands::list::run(&args),
        Command::Embed(args) => commands::embed::run(&args),
        Command::Tokenize(args) => commands::tokenize::run(&args),
        Command::Template(args) => commands::template::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args, line),
        Command::Quantize(args) => commands::quantize::run(&args),
        Command::Pull(args) => commands::pull::run(&args, &line.config().ledger, ingle.offline),
        Command::Key(args) => commands::key::run(&args),
        Command::Cache(args) => commands::cache::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args, line),
        Command::Cost(args) => commands::cost::run(&args, line),
        Command::Why(args) => commands::why::run(&args, line),
        Command::Audit(args) => commands::audit::run(&args, line),
        Command::Ledger(args) => commands::ledger::run(&args, line),
        Command::Config(args) => commands::config::run(&args, line),
        Command::Policy(args) => commands::policy::run(&args, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Ingle::command().debug_assert();
    }
}

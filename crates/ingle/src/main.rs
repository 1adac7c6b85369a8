//! `ingle`: arguments, wiring, and what a person sees.
//!
//! Invariant: the environment is read here (by clap) and nowhere below; values are handed down.
//! Invariant: stdout carries the answer and nothing else.
#![forbid(unsafe_code)]

mod commands;
mod machine;
mod metadata_view;
mod model_file;
mod out;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs open-weight models on your own machine.
///
/// MODEL is a path to a .gguf file, or nothing: the small model that is built in.
/// The answer goes to standard output, progress and notes to standard error.
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
}

#[derive(Subcommand)]
enum Command {
    Show(commands::show::Args),
    List(commands::list::Args),
    Tokenize(commands::tokenize::Args),
    Doctor(commands::doctor::Args),
}

/// The arguments are wrong in a way that only shows when they are used: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    let done = match Ingle::parse().command {
        Command::Show(args) => commands::show::run(&args),
        Command::List(args) => commands::list::run(&args),
        Command::Tokenize(args) => commands::tokenize::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is::<out::ReaderGone>() => ExitCode::SUCCESS,
        Err(e) => {
            out::note(format!("error: {e:#}"));
            ExitCode::from(if e.is::<Usage>() { 2 } else { 1 })
        }
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

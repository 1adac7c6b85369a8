//! Daily commands of the Ingle repository: `cargo xtask`.
#![forbid(unsafe_code)]

mod commands;
mod house;
mod soak;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  tidy            check the rules of the house (floors, unsafe, dialers, stray paths) and report lengths
  fmt             format everything
  lint            clippy on every target, warnings are errors
  test            the test command of the README
  fuzz [SECONDS]  run every fuzz target for SECONDS (5 when not given)
  soak-ledger [N] kill a process that writes the ledger N times (30 when not given, as the tests do)
  deny            licences, sources and bans of the dependencies (needs cargo-deny)
  arm             tests of the kernels for ARM in QEMU (needs qemu-user, a cross linker, the target's library)
  soak [N]        kill a server under load N times (30 when not given): it must come back within two seconds
                  and say what it said before; a third word names another binary than the development build
  ci              all of the above, format checked and not changed: what .ci/run runs";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["fmt"] => commands::fmt(),
        ["lint"] => commands::lint(),
        ["test"] => commands::test(),
        ["fuzz"] => commands::fuzz("5"),
        ["fuzz", seconds] => commands::fuzz(seconds),
        ["soak-ledger"] => commands::soak_ledger("30"),
        ["soak-ledger", rounds] => commands::soak_ledger(rounds),
        ["deny"] => commands::deny(),
        ["arm"] => commands::arm(),
        ["soak"] => commands::soak("30"),
        ["soak", rounds] => commands::soak(rounds),
        ["soak", rounds, program] => soak::run(rounds, program.as_ref()),
        ["ci"] => commands::ci(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

//! Commands that only start other programs.
use std::process::Command;
use std::time::Instant;

use crate::{soak, tidy};

/// Runs a program, shows its output, and fails when it fails.
fn sh(program: &str, args: &[&str], vars: &[(&str, &str)]) -> Result<(), String> {
    let line = format!("{program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .envs(vars.iter().copied())
        .status()
        .map_err(|e| format!("cannot start `{line}`: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed ({status})"))
    }
}

pub fn fmt() -> Result<(), String> {
    sh("cargo", &["fmt", "--all"], &[])
}

pub fn lint() -> Result<(), String> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    sh("cargo", &args, &[])
}

/// All tests, each program of them in a network namespace that has only loopback, where this machine
/// permits that.
pub fn test() -> Result<(), String> {
    let runner = tidy::repository_root()?.join(".ci/loopback");
    let runner = runner.display().to_string();
    let args = ["test", "--workspace"];
    let tried = Command::new(&runner).arg("true").output();
    if !tried.is_ok_and(|done| done.status.success()) {
        println!(
            "== note: no network namespaces here (unshare, ip): tests run beside this machine's network"
        );
        return sh("cargo", &args, &[]);
    }
    println!("== tests see no network but loopback");
    let variable = format!("CARGO_TARGET_{}_RUNNER", host()?);
    sh("cargo", &args, &[(&variable, &runner)])
}

/// This machine's target, as cargo's variables spell it.
fn host() -> Result<String, String> {
    let done = Command::new("rustc").arg("-vV").output();
    let done = done.map_err(|e| format!("cannot start rustc: {e}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("`rustc -vV` names no host")?;
    Ok(host.to_uppercase().replace(['-', '.'], "_"))
}

/// Every target of `fuzz/`, `seconds` each. libFuzzer needs flags that only a nightly compiler takes;
/// `RUSTC_BOOTSTRAP` lets the stable one take them, for this build alone.
pub fn fuzz(seconds: &str) -> Result<(), String> {
    let seconds: u32 = seconds
        .parse()
        .map_err(|_| format!("not a number of seconds: {seconds}"))?;
    let root = tidy::repository_root()?;
    let folder = root.join("fuzz/fuzz_targets");
    let mut targets: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|e| format!("cannot list {}: {e}", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    targets.sort();
    let time = format!("-max_total_time={seconds}");
    for target in &targets {
        // What is found lands in the first folder, which is not committed; seeds are.
        let corpus = root.join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus)
            .map_err(|e| format!("cannot make {}: {e}", corpus.display()))?;
        let corpus = corpus.display().to_string();
        let seeds = root.join("fuzz/seeds").join(target);
        let seeds_path = seeds.display().to_string();
        let mut args = vec!["fuzz", "run", "--sanitizer", "none", target, &corpus];
        args.extend(seeds.is_dir().then_some(seeds_path.as_str()));
        args.extend([
            "--",
            &time,
            "-timeout=10",
            "-verbosity=0",
            "-rss_limit_mb=1024",
            "-malloc_limit_mb=256",
        ]);
        sh("cargo", &args, &[("RUSTC_BOOTSTRAP", "1")])?;
    }
    Ok(())
}

/// A process that writes the ledger is killed, again and again: the test does so 30 times.
pub fn soak_ledger(rounds: &str) -> Result<(), String> {
    let rounds: u32 = rounds
        .parse()
        .map_err(|_| format!("not a number of rounds: {rounds}"))?;
    let args = ["test", "-p", "ingle-gateway", "--test", "soak"];
    sh("cargo", &args, &[("INGLE_SOAK", &rounds.to_string())])
}

/// Licences, sources and bans need no network beyond the registry. Advisories need the advisory
/// database, which is a git repository elsewhere: they are checked when it can be fetched, and the
/// output says so when it cannot.
pub fn deny() -> Result<(), String> {
    sh(
        "cargo",
        &["deny", "check", "licenses", "bans", "sources"],
        &[],
    )?;
    let fetched = Command::new("cargo").args(["deny", "fetch", "db"]).output();
    if fetched.is_ok_and(|out| out.status.success()) {
        sh("cargo", &["deny", "check", "advisories"], &[])
    } else {
        println!("skipped: advisories (the advisory database cannot be reached from here)");
        Ok(())
    }
}

/// A server that is killed under load, again and again.
pub fn soak(rounds: &str) -> Result<(), String> {
    sh("cargo", &["build", "-p", "ingle"], &[])?;
    soak::run(rounds, &soak::built())
}

type Step = fn() -> Result<(), String>;

/// The steps of continuous integration, cheapest first; stops at the first failure.
pub fn ci() -> Result<(), String> {
    let steps: &[(&str, Step)] = &[
        ("format", || sh("cargo", &["fmt", "--all", "--check"], &[])),
        ("tidy", tidy::run),
        ("lint", lint),
        ("test", test),
        ("soak", || soak("30")),
        ("fuzz", || fuzz("5")),
        ("deny", deny),
        ("arm", arm),
    ];
    for (name, step) in steps {
        println!("== {name}");
        let start = Instant::now();
        step()?;
        println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The kernels for ARM are tested in QEMU, where that, a linker and the standard library for ARM are
/// installed; without the first two they are only type-checked, and the output says so.
pub fn arm() -> Result<(), String> {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    const LINKER: &str = "aarch64-linux-gnu-gcc";
    const QEMU: &str = "qemu-aarch64";
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let out = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|e| format!("cannot start {rustc}: {e}"))?;
    let sysroot = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let library = std::path::Path::new(&sysroot).join("lib/rustlib");
    if !library.join(TARGET).exists() {
        println!("skipped: the standard library of {TARGET} is not installed");
        return Ok(());
    }
    let starts = |program| Command::new(program).arg("--version").output().is_ok();
    let package = ["-p", "ingle-tensor", "--target", TARGET];
    if !(starts(LINKER) && starts(QEMU)) {
        println!("only type-checked: {LINKER} and {QEMU} are not both installed");
        return sh("cargo", &[&["check"], &package[..]].concat(), &[]);
    }
    let tests = ["--test", "leaves", "--test", "cpu", "--test", "attention"];
    let prefix = std::env::var("QEMU_LD_PREFIX");
    let prefix = prefix.unwrap_or_else(|_| "/usr/aarch64-linux-gnu".to_owned());
    let runner = format!("{QEMU} -cpu max -L {prefix}");
    let vars = [
        ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER),
        ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", &runner),
    ];
    sh("cargo", &[&["test"], &package[..], &tests].concat(), &vars)
}

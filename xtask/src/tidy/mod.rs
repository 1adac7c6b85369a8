//! `cargo xtask tidy`: the rules of the house, read from the sources themselves.
//!
//! Clippy enforces the same prohibitions where it compiles; tidy also sees code for other machines
//! (an aarch64 leaf on an x86-64 desk) and what no compiler looks at.
mod allowed;
mod dial;
mod floors;
mod length;
mod panics;
mod source;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::Source;

/// A broken rule: where, and what to do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    /// 1-based; 0 when the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks every tracked file; prints the lengths, then the broken rules.
pub fn run() -> Result<(), String> {
    let root = repository_root()?;
    let files = tracked_files(&root)?;
    let mut findings = floors::check(&metadata(&root)?)?;
    findings.extend(text::check_paths(&root, &files));
    let mut lengths = length::Report::default();
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        let text = std::fs::read_to_string(root.join(path))
            .map_err(|e| format!("cannot read {path}: {e}"))?;
        match Source::parse(path, &text) {
            Ok(source) => {
                findings.extend(check_source(&source));
                lengths.add(&source);
            }
            Err(e) => findings.push(Finding::new(path, 0, format!("does not parse: {e}"))),
        }
    }
    print!("{lengths}");
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        n => Err(format!("tidy: {n} broken rules, listed above")),
    }
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = allowed::check(source);
    findings.extend(dial::check(source));
    findings.extend(panics::check(source));
    findings
}

/// The folder that holds this crate's folder.
pub fn repository_root() -> Result<PathBuf, String> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| "xtask has no parent folder".to_owned())
}

/// Tracked files and new ones that git does not ignore, relative to the root.
fn tracked_files(root: &Path) -> Result<Vec<String>, String> {
    let args = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = output(root, "git", &args)?;
    let names = listed.split('\0').filter(|name| root.join(name).is_file());
    Ok(names.map(str::to_owned).collect())
}

fn metadata(root: &Path) -> Result<serde_json::Value, String> {
    let text = output(
        root,
        "cargo",
        &["metadata", "--format-version", "1", "--locked"],
    )?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata is not JSON: {e}"))
}

fn output(root: &Path, program: &str, args: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let out = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()
        .map_err(|e| format!("cannot start `{line}`: {e}"))?;
    if !out.status.success() {
        return Err(format!(
            "`{line}` failed: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        ));
    }
    String::from_utf8(out.stdout).map_err(|_| format!("`{line}` printed no UTF-8"))
}

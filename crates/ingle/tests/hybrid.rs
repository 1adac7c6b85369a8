//! Two servers: one at home, which decides, and one that plays the provider.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, at_home};
use std::path::Path;
use std::process::{Command, Stdio};
use support::repository;
use tempfile::TempDir;

fn configuration(folder: &Path, provider: &str) -> String {
    let path = folder.join("ingle.toml");
    let text = format!(
        r#"
[providers.cloud]
dialect = "ingle"
base_url = "http://{provider}/v1"
price_date = 2026-11-01

[providers.cloud.models.ingle-mini]
context = 512
input = "0.50"
output = "2.00"

[[policy.rule]]
name = "all may"
then = "allow"

[budget]
day = "1.00"
"#
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_official_python_client_is_answered_here_and_there() {
    let python =
        std::env::var("INGLE_PYTHON").unwrap_or_else(|_| repository("target/ci-python/bin/python"));
    let has_it = Command::new(&python).args(["-c", "import openai"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!("skipped: no Python with the package openai (.ci/run makes one)");
        return;
    }
    let (home, far) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cloud = Server::start_at(far.path(), &[]);
    let config = configuration(home.path(), &cloud.address.to_string());
    let mut house = at_home(home.path());
    house.args(["--config", &config]);
    let server = Server::serve(house, &["--ctx", "64"]);
    let mut client = Command::new(python);
    for (name, value) in at_home(home.path()).get_envs() {
        if let Some(value) = value {
            client.env(name, value);
        }
    }
    let done = client
        .arg(repository("crates/ingle/tests/hybrid_client.py"))
        .arg(format!("http://{}/v1", server.address))
        .args([env!("CARGO_BIN_EXE_ingle"), "--config", &config])
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("all of it holds"), "{said}");
}

#[test]
fn the_example_of_the_readme_runs_as_it_stands() {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Here or there\n").unwrap();
    let (_, rest) = section.split_once("```sh\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    if !(free(11501) && free(11502) && there("curl")) {
        println!("skipped: no curl, or something else listens at the ports of the README");
        return;
    }
    let desk = TempDir::new().unwrap();
    let bin = desk.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ingle"), bin.join("ingle")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    for (name, value) in at_home(desk.path()).get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let done = shell
        .args(["-c", script])
        .current_dir(desk.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = format!("{out}\n{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(out.matches("x-ingle-route: local").count(), 2, "{said}");
    assert_eq!(out.matches("x-ingle-route: cloud").count(), 1, "{said}");
    assert!(
        out.contains("x-ingle-reason: the model at home cannot"),
        "{said}"
    );
    assert!(out.contains("cloud"), "{said}");
}

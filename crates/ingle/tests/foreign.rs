//! Clients that nobody here wrote drive `ingle serve` with the built-in model: the official packages of
//! PyPI and npm, and schemathesis, which knows nothing but `/openapi.json`.
//!
//! `.ci/run` installs them. Elsewhere a client that is not there is skipped, and the output says so:
//! INGLE_PYTHON names a Python with the packages, INGLE_NODE a folder with `node_modules`
//! (Node itself, 22 or later, is found in PATH), INGLE_SCHEMATHESIS the program. With INGLE_FOREIGN=all nothing is skipped: what is missing fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on panics"
)]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::json;
use server::{Server, at_home, home};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::repository;

/// A preset of the built-in model that thinks before it answers, as far as its template goes.
const THINKER: &str = "[models.thinker]\ntemplate = \"thinker.jinja\"\n";

/// A server with it, and its home.
fn serve() -> (tempfile::TempDir, Server) {
    let home = home();
    let folder = home.path().join("c/ingle");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ingle.toml"), THINKER).unwrap();
    let template = repository("crates/ingle/tests/goldens/thinker.jinja");
    std::fs::copy(template, folder.join("thinker.jinja")).unwrap();
    let server = Server::start_at(home.path(), &[]);
    (home, server)
}

/// Whether a client is there; where all must be, it is.
fn is_there(client: &str, where_from: &str, there: bool) -> bool {
    if !there {
        let all = std::env::var("INGLE_FOREIGN").is_ok_and(|word| word == "all");
        assert!(!all, "{client} is not there ({where_from})");
        println!("skipped: {client} is not there ({where_from}; .ci/run installs it)");
    }
    there
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn content(command: &mut Command) {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("all of it holds"), "{said}");
}

/// Runs `tests/PACKAGE_client.py`.
fn python(package: &str) {
    let python =
        std::env::var("INGLE_PYTHON").unwrap_or_else(|_| repository("target/ci-python/bin/python"));
    let import = format!("import {package}");
    let there = works(Command::new(&python).args(["-c", &import]));
    if !is_there(&format!("Python's {package}"), "INGLE_PYTHON", there) {
        return;
    }
    let (_home, server) = serve();
    let script = repository(&format!("crates/ingle/tests/{package}_client.py"));
    let address = format!("http://{}/v1", server.address);
    content(Command::new(python).args([script, address]));
}

/// Runs `tests/node/NAME.mjs` in the folder that has its packages.
fn node(name: &str) {
    let folder = std::env::var_os("INGLE_NODE").map_or_else(
        || PathBuf::from(repository("target/ci-node")),
        PathBuf::from,
    );
    let new = "process.exit(Number(parseInt(process.versions.node) < 22))";
    let there = works(Command::new("node").args(["-e", new]))
        && folder.join("node_modules/openai").is_dir()
        && folder
            .join("node_modules/@ai-sdk/openai-compatible")
            .is_dir();
    if !is_there("npm's packages", "INGLE_NODE", there) {
        return;
    }
    // A module finds packages above where it lies.
    let script = folder.join(format!("{name}.mjs"));
    let ours = repository(&format!("crates/ingle/tests/node/{name}.mjs"));
    std::fs::copy(ours, &script).unwrap();
    let (_home, server) = serve();
    let address = format!("http://{}/v1", server.address);
    content(Command::new("node").arg(script).arg(address));
}

#[test]
fn the_openai_package_of_python_is_content() {
    python("openai");
}

#[test]
fn the_anthropic_package_of_python_is_content() {
    python("anthropic");
}

#[test]
fn the_ollama_package_of_python_is_content() {
    python("ollama");
}

#[test]
fn the_openai_package_of_npm_is_content() {
    node("openai_client");
}

#[test]
fn the_ai_sdk_is_content() {
    node("ai_sdk_client");
}

/// Requests that follow `/openapi.json` and requests that do not: none fails the server, and every answer
/// looks as it is described.
#[test]
fn what_openapi_json_says_is_true_of_whatever_is_asked() {
    const PATIENCE: Duration = Duration::from_secs(300);
    let program = std::env::var_os("INGLE_SCHEMATHESIS").map_or_else(
        || PathBuf::from(repository("target/ci-schemathesis/bin/schemathesis")),
        PathBuf::from,
    );
    let there = works(Command::new(&program).arg("--version"));
    if !is_there("schemathesis", "INGLE_SCHEMATHESIS", there) {
        return;
    }
    let home = home();
    // Small, so that an answer without a bound ends soon.
    let server = Server::start_at(home.path(), &["--ctx", "128", "--quiet"]);
    let mut command = fuzzer(&program, home.path(), &server);
    let begun = Instant::now();
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(
        begun.elapsed() < PATIENCE,
        "it takes too long for CI: {said}"
    );
    let asked = server.metric("", "ingle_requests_total");
    println!("{asked} requests in {:.0} s", begun.elapsed().as_secs_f64());
    assert!(asked > 500.0, "it asked next to nothing: {said}");
    assert_eq!(server.running(), 0);
    assert!(
        !server.notes().contains("a fault in Ingle"),
        "{}",
        server.notes()
    );
}

fn fuzzer(program: &Path, home: &Path, server: &Server) -> Command {
    // What it makes up is no model's name: most requests shall name one that is there.
    let mut described = server.shown("/openapi.json");
    let names = &mut described["components"]["schemas"]["ModelName"];
    assert!(names["type"] == "string");
    *names = json!({ "enum": ["ingle-mini", "ingle-mini", "ingle-mini:latest", "nobody"] });
    let schema = home.join("openapi.json");
    std::fs::write(&schema, described.to_string()).unwrap();
    let mut command = at_home(home);
    let environment: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = Command::new(program);
    command.envs(environment).current_dir(home);
    command.arg("run").arg(schema);
    command.arg("--url");
    command.arg(format!("http://{}", server.address));
    command.args([
        // What is a fault: an answer of 5xx that is not described, a status, a type or a body that is not.
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--phases",
        // Coverage tries the examples too. The phase of their own stops where making one up was slow once and then
        // was not, which a busy machine brings about.
        "coverage,fuzzing",
        "--suppress-health-check",
        "all",
        // Ends the server, and what is answered with 501 by design.
        "--exclude-path",
        "/ingle/stop",
        "--exclude-tag",
        "not done",
        "--max-examples",
        "20",
        "--seed",
        "7",
        "--workers",
        "2",
        "--request-timeout",
        "60",
        "--no-color",
    ]);
    command
}

//! A day of `local-only` under strace: no connection beyond this machine, no look-up of a name. And what
//! must be seen there is seen.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};
use server::{Server, at_home};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Requests of the day.
const REQUESTS: u64 = 1000;

/// A server under strace, which ends with the test.
struct Watched {
    server: Server,
    trace: PathBuf,
}

/// Whether there is strace here, and it may look.
fn may_watch() -> bool {
    let tried = Command::new("strace").args(["-f", "-qq", "true"]).output();
    tried.is_ok_and(|done| done.status.success())
}

impl Watched {
    fn start(home: &Path, config: &str) -> Self {
        let file = home.join("ingle.toml");
        std::fs::write(&file, config).unwrap();
        let trace = home.join("trace");
        let program = at_home(home);
        let mut command = Command::new("strace");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let how = [
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "trace=network",
            "-s",
            "200",
            "-o",
        ];
        command.args(how).arg(&trace).arg(program.get_program());
        command.arg("--config").arg(&file);
        let server = Server::serve(command, &[]);
        Self { server, trace }
    }

    /// Asks; the status, and the whole answer.
    fn post(&self, path: &str, headers: &str, body: &Value) -> (u16, String) {
        let (status, head, body) = self.server.post_with(path, headers, body);
        (status, head + &body)
    }

    /// Ends it; what it did with the network.
    fn end(mut self) -> Vec<String> {
        self.signal("-TERM");
        self.server.child.wait().unwrap();
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        trace.lines().map(str::to_owned).collect()
    }

    /// To the server, which is strace's child.
    fn signal(&self, signal: &str) {
        let pid = self.server.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let first = children.split_whitespace().next();
        let server = first.map_or_else(|| pid.to_string(), str::to_owned);
        let _ = Command::new("kill").args([signal, &server]).status();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if matches!(self.server.child.try_wait(), Ok(None)) {
            self.signal("-KILL");
        }
    }
}

/// Lines of a trace that name somebody who is not this machine, or ask for a name.
fn beyond(trace: &[String]) -> Vec<&String> {
    trace.iter().filter(|line| leaves(line)).collect()
}

fn leaves(line: &str) -> bool {
    // Sockets of those who look names up for others.
    let resolver = ["nscd", "systemd/resolve", "avahi"]
        .iter()
        .any(|name| line.contains("sun_path=") && line.contains(name));
    let sends = ["connect(", "sendto(", "sendmsg(", "sendmmsg(", "bind("];
    let sends = sends.iter().any(|call| line.contains(call));
    let v4 = line.match_indices("inet_addr(\"").any(|(at, found)| {
        let address = &line[at + found.len()..];
        let listens = line.contains("bind(") && address.starts_with("0.0.0.0");
        !(listens || address.starts_with("127."))
    });
    let v6 = line.match_indices("AF_INET6, \"").any(|(at, found)| {
        let address = &line[at + found.len()..];
        !address.starts_with("::1\"") && !address.starts_with("::\"")
    });
    let dns = line.contains("htons(53)");
    resolver || dns || (sends && (v4 || v6))
}

/// A request of the day, as all kinds of clients send them.
fn request(i: u64) -> (&'static str, &'static str, Value) {
    let words = [
        "fox",
        "hen",
        "bear",
        "me at anna@example.org",
        "4111 1111 1111 1111",
    ];
    let text = format!("Tell me of {}", words[(i % 5) as usize]);
    let said = json!([{ "role": "user", "content": text }]);
    let seed = i % 7;
    let tokens = 1 + i % 3;
    let header = match i % 4 {
        0 => "x-ingle-route: cloud\r\n",
        1 => "x-ingle-policy: prefer-cloud\r\n",
        2 => "x-ingle-route: auto\r\nx-ingle-session: day\r\n",
        _ => "",
    };
    let (path, body) = match i % 8 {
        0 | 1 => (
            "/v1/chat/completions",
            json!({ "model": "ingle-mini", "messages": said, "max_tokens": tokens, "seed": seed, "route": "cloud" }),
        ),
        2 => (
            "/v1/chat/completions",
            json!({ "model": "auto", "messages": said, "max_tokens": tokens, "stream": true }),
        ),
        3 => (
            "/v1/completions",
            json!({ "model": "ingle-mini", "prompt": text, "max_tokens": tokens }),
        ),
        4 => (
            "/v1/messages",
            json!({ "model": "ingle-mini", "messages": said, "max_tokens": tokens, "stream": i % 16 == 4 }),
        ),
        5 => (
            "/api/chat",
            json!({ "model": "ingle-mini", "messages": said, "stream": false, "options": { "num_predict": tokens } }),
        ),
        6 => (
            "/v1/responses",
            json!({ "model": "ingle-mini", "input": text, "max_output_tokens": tokens }),
        ),
        _ => (
            "/v1/chat/completions",
            json!({ "model": "cloud/big", "messages": said, "max_tokens": tokens }),
        ),
    };
    (path, header, body)
}

fn provider(base_url: &str, rule: &str) -> String {
    format!(
        "[providers.cloud]\ndialect = \"ingle\"\nbase_url = \"{base_url}\"\nconnect_timeout = \"1s\"\nretries = 0\n\
         [providers.cloud.models.big]\ncontext = 4096\nfree = true\n{rule}"
    )
}

const ALLOW: &str = "[[policy.rule]]\nname = \"all\"\nthen = \"allow\"\n";

#[test]
fn a_local_only_day_touches_no_network() {
    if !may_watch() {
        println!("skipped: no strace here, or it may not look (.ci/run installs it)");
        return;
    }
    let home = TempDir::new().unwrap();
    // A provider, and no rule that lets anything go there.
    let server = Watched::start(home.path(), &provider("https://ingle-test.invalid/v1", ""));
    let (mut answered, mut refused) = (0, 0);
    for i in 0..REQUESTS {
        let (path, header, body) = request(i);
        match server.post(path, header, &body) {
            (200, _) => answered += 1,
            // It names the provider's model.
            (403, text) if text.contains("stays_local") => refused += 1,
            (status, text) => panic!("request {i}: {status} {text}"),
        }
    }
    assert_eq!((answered, refused), (REQUESTS * 7 / 8, REQUESTS / 8));
    let trace = server.end();
    assert!(
        trace.iter().any(|line| line.contains("accept4(")),
        "nothing was traced"
    );
    let beyond = beyond(&trace);
    assert!(beyond.is_empty(), "{beyond:#?}");
}

#[test]
fn what_goes_out_is_seen() {
    if !may_watch() {
        println!("skipped: no strace here, or it may not look (.ci/run installs it)");
        return;
    }
    for base_url in ["http://10.255.255.1:9/v1", "https://ingle-test.invalid/v1"] {
        let home = TempDir::new().unwrap();
        let server = Watched::start(home.path(), &provider(base_url, ALLOW));
        let body = json!({
            "model": "ingle-mini", "messages": [{ "role": "user", "content": "Hi" }],
            "max_tokens": 1, "route": "cloud",
        });
        let (status, text) = server.post("/v1/chat/completions", "", &body);
        // The provider cannot be reached: the local answer in its place.
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("x-ingle-fallback: true"), "{text}");
        let trace = server.end();
        // Where no resolver is configured, nobody can be asked for a name.
        let asks = !base_url.contains("invalid") || has_resolver();
        assert_eq!(beyond(&trace).is_empty(), !asks, "{base_url}: {trace:#?}");
    }
}

/// Whether names are looked up beyond this machine here.
fn has_resolver() -> bool {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .any(|line| line.trim_start().starts_with("nameserver"))
}

#[test]
fn lines_of_a_trace_are_told_apart() {
    let stays = [
        r#"1 connect(9, {sa_family=AF_UNIX, sun_path="/run/user/0/ingle/servers/1.sock"}, 110) = 0"#,
        r#"1 connect(9, {sa_family=AF_INET, sin_port=htons(11435), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"1 accept4(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, [16], 0) = 4"#,
        r#"1 connect(9, {sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, "::1", &sin6_addr)}, 28) = 0"#,
        r#"1 socket(AF_INET, SOCK_STREAM, 0) = 3"#,
    ];
    let goes = [
        r#"1 connect(9, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("93.184.216.34")}, 16) = -1"#,
        r#"1 connect(9, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0"#,
        r#"1 sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("10.0.0.1")}, 16) = 1"#,
        r#"1 connect(9, {sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = 0"#,
        r#"1 connect(9, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1"#,
    ];
    assert!(stays.iter().all(|line| !leaves(line)));
    assert!(goes.iter().all(|line| leaves(line)));
}

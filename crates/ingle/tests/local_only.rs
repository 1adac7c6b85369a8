//! A day of `local-only` under strace: no connection beyond this machine, no look-up of a name. And what
//! must be seen there is seen.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::ingle;
use tempfile::TempDir;

/// Requests of the day.
const REQUESTS: u64 = 1000;

/// A server under strace, which ends with the test.
struct Watched {
    child: Child,
    address: String,
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
        let program = ingle();
        let mut command = Command::new("strace");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .args([
                "-f",
                "-qq",
                "--seccomp-bpf",
                "-e",
                "trace=network",
                "-s",
                "200",
                "-o",
            ])
            .arg(&trace)
            .arg(program.get_program())
            .arg("--config")
            .arg(&file)
            .args(["serve", "--port", "0"])
            .env("HOME", home)
            .env("XDG_STATE_HOME", home.join("state"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended: {said}"))
                .unwrap();
            if let Some((_, url)) = line.split_once("serving ") {
                let at = url.split_once("://").unwrap().1;
                break at.trim_end_matches("/v1").to_owned();
            }
            said += &line;
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            trace,
        }
    }

    /// Asks; the status and the body.
    fn post(&self, path: &str, headers: &str, body: &Value) -> (u16, String) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
        (
            status.unwrap_or_else(|| panic!("no HTTP: {answer}")),
            answer,
        )
    }

    /// Ends it; what it did with the network.
    fn end(mut self) -> Vec<String> {
        let _ = Command::new("kill")
            .args(["-TERM", &self.server().to_string()])
            .status();
        self.child.wait().unwrap();
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        trace.lines().map(str::to_owned).collect()
    }

    /// strace's child.
    fn server(&self) -> u32 {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let first = children
            .split_whitespace()
            .next()
            .and_then(|c| c.parse().ok());
        first.unwrap_or(pid)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let server = self.server();
        let _ = Command::new("kill")
            .args(["-KILL", &server.to_string()])
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
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

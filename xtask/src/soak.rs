//! A server that is killed at random moments under load, again and again.
//!
//! Each round: `ingle serve` with the built-in model must answer within two seconds of its start; a few
//! clients ask without a pause; after a random time it gets SIGKILL. What it keeps between rounds (keys,
//! prefixes, sockets) lies in one folder that lives through all of them, and the answer to one fixed
//! request must be the same in every round.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How soon a server must answer after its start.
const SOON: Duration = Duration::from_secs(2);
/// Clients that ask while it is killed.
const CLIENTS: u64 = 6;
/// The longest life of a server.
const LIFE_MS: u64 = 1500;

/// What all rounds came to.
#[derive(Default)]
struct Sum {
    starts: Vec<Duration>,
    late: u64,
    answered: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
}

/// Runs `rounds` rounds with the binary at `program`.
pub fn run(rounds: &str, program: &Path) -> Result<(), String> {
    let rounds: u64 = rounds
        .parse()
        .map_err(|_| format!("not a number of rounds: {rounds}"))?;
    let home = std::env::temp_dir().join(format!("soak-{}", std::process::id()));
    std::fs::create_dir_all(&home).map_err(|e| format!("cannot make a folder: {e}"))?;
    let key = command(program, &home)
        .args(["key", "add", "soak", "--keep-prefixes"])
        .output()
        .map_err(|e| format!("{} does not start: {e}", program.display()))?;
    let key = String::from_utf8_lossy(&key.stdout).trim().to_owned();
    if !key.starts_with("ingle-") {
        return Err("no key was made".into());
    }
    let mut sum = Sum::default();
    let mut truth: Option<String> = None;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds {
        one(program, &home, &key, &mut sum, &mut truth, &mut random)
            .map_err(|why| format!("round {round}: {why}"))?;
    }
    let _ = std::fs::remove_dir_all(&home);
    sum.starts.sort();
    let at = |share: f64| {
        let place = (sum.starts.len().saturating_sub(1)) as f64 * share;
        sum.starts
            .get(place as usize)
            .copied()
            .unwrap_or_default()
            .as_millis()
    };
    println!(
        "{{\"rounds\": {rounds}, \"start_ms_median\": {}, \"start_ms_99\": {}, \"start_ms_max\": {}, \"late\": {}, \"answered\": {}, \"cut_off\": {}, \"wrong\": 0, \"corrupt\": 0}}",
        at(0.5),
        at(0.99),
        at(1.0),
        sum.late,
        sum.answered.load(Ordering::Relaxed),
        sum.cut.load(Ordering::Relaxed),
    );
    match sum.late {
        0 => Ok(()),
        late => Err(format!("{late} starts took longer than {SOON:?}")),
    }
}

fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("s"))
        .env("XDG_CONFIG_HOME", home.join("c"))
        .env("XDG_CACHE_HOME", home.join("k"))
        .env_remove("XDG_RUNTIME_DIR")
        .env("OLLAMA_MODELS", home.join("none"))
        .stdin(Stdio::null());
    command
}

fn one(
    program: &Path,
    home: &Path,
    key: &str,
    sum: &mut Sum,
    truth: &mut Option<String>,
    random: &mut u64,
) -> Result<(), String> {
    let started = Instant::now();
    let (mut child, address) = start(program, home)?;
    let said = ask(address, key, "Once upon a time", 8, false);
    let took = started.elapsed();
    sum.starts.push(took);
    sum.late += u64::from(took > SOON);
    let kill = |child: &mut Child| {
        let _ = child.kill();
        let _ = child.wait();
    };
    let text = said.and_then(|answer| text_of(&answer));
    let Some(text) = text else {
        kill(&mut child);
        return Err("a server that had started gave no answer".into());
    };
    let truth = truth.get_or_insert_with(|| text.clone());
    if *truth != text {
        kill(&mut child);
        return Err(format!(
            "the same request had another answer: {text:?}, not {truth:?}"
        ));
    }
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (over, key) = (Arc::clone(&over), key.to_owned());
            let (answered, cut) = (Arc::clone(&sum.answered), Arc::clone(&sum.cut));
            std::thread::spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    let prompt = format!("Story {client} of {n}: the fire in the hearth");
                    let whole = ask(address, &key, &prompt, 40, n % 2 == 0).is_some();
                    let counter = if whole { &answered } else { &cut };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // xorshift64: the moments are the same in every run of this command.
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    std::thread::sleep(Duration::from_millis(*random % LIFE_MS));
    kill(&mut child);
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().map_err(|_| "a client failed")?;
    }
    let listed = command(program, home).args(["key", "list"]).output();
    match listed {
        Ok(listed) if listed.status.success() => Ok(()),
        _ => Err("the keys cannot be read any more".into()),
    }
}

/// Starts a server and waits until it says where it listens.
fn start(program: &Path, home: &Path) -> Result<(Child, SocketAddr), String> {
    let mut child = command(program, home)
        .args(["serve", "--port", "0", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("the server does not start: {e}"))?;
    let mut notes = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        if notes.read_line(&mut line).unwrap_or(0) == 0 {
            let _ = child.wait();
            return Err(format!("the server ended: {seen}"));
        }
        if let Some((_, rest)) = line.split_once(" at http://") {
            let address = rest.trim().trim_end_matches("/v1").parse();
            let address = address.map_err(|_| format!("no address in {line}"))?;
            // Nobody reads on: what it says must not fill the pipe.
            std::thread::spawn(move || std::io::copy(&mut notes, &mut std::io::sink()));
            return Ok((child, address));
        }
        seen.push_str(&line);
    }
}

/// The whole answer, if it came.
fn ask(address: SocketAddr, key: &str, text: &str, most: u32, stream: bool) -> Option<String> {
    let mut connection = TcpStream::connect_timeout(&address, SOON).ok()?;
    connection
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let body = format!(
        "{{\"seed\": 1, \"max_tokens\": {most}, \"stream\": {stream}, \"messages\": [{{\"role\": \"user\", \"content\": \"{text}\"}}]}}"
    );
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let whole = answer.starts_with("HTTP/1.1 200") && answer.contains("finish_reason");
    whole.then_some(answer)
}

/// What the answer says.
fn text_of(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("\"content\":\"")?;
    let (text, _) = rest.split_once("\",")?;
    Some(text.to_owned())
}

/// The binary of the development build.
pub fn built() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    target.join("debug").join("ingle")
}

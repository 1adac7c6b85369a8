//! A server that is killed at random moments under load, again and again.
//!
//! Each round: `ingle serve` with the built-in model starts and must have answered a long prompt within two
//! seconds; a few clients ask without a pause; after a random time it gets SIGKILL. What it keeps (keys,
//! beginnings of texts on disk, sockets) lies in one folder that lives through all rounds.
//!
//! Every whole answer, computed or continued from pages that an earlier server kept, must be the same to
//! the last bit of its log-probabilities as the first to that prompt. Nothing that was whole on disk may be
//! gone: a server removes pages that do not open, so that one that is missing was torn.
//!
//! Every few rounds all prompts are new and the folder is cleared, so that pages are always being written.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How soon a server must have answered after its start.
const SOON: Duration = Duration::from_secs(2);
/// Clients that ask while it is killed.
const CLIENTS: u64 = 6;
/// Prompts of each.
const PROMPTS: u64 = 4;
/// The longest life of a server under load.
const LIFE_MS: u64 = 1000;
/// Rounds until all prompts are new.
const EPOCH: u64 = 8;
/// Names of files that are not whole begin so.
const UNFINISHED: &str = "unfinished-";

/// What all rounds came to.
#[derive(Default)]
struct Sum {
    starts: Vec<Duration>,
    late: u64,
    /// Rounds that began with pages from disk.
    warm: u64,
    /// Pages that were whole when a server was killed.
    pages: u64,
    answered: AtomicU64,
    cut: AtomicU64,
}

/// The answers to prompts, as they first came.
type Truth = Mutex<HashMap<String, String>>;

struct Soak {
    program: PathBuf,
    home: PathBuf,
    key: String,
    sum: Arc<Sum>,
    truth: Arc<Truth>,
    /// Whole files at the last kill of this epoch.
    whole: usize,
    random: u64,
}

/// Runs `rounds` rounds with the binary at `program`.
pub fn run(rounds: &str, program: &Path) -> Result<(), String> {
    let rounds: u64 = rounds
        .parse()
        .map_err(|_| format!("not a number of rounds: {rounds}"))?;
    // Short: the path of a socket has little room.
    let home = std::env::temp_dir().join(format!("soak-{}", std::process::id()));
    std::fs::create_dir_all(&home).map_err(|e| format!("cannot make a folder: {e}"))?;
    let mut soak = Soak::new(program, &home)?;
    let begun = Instant::now();
    for round in 0..rounds {
        if round.is_multiple_of(EPOCH) {
            soak.begin_epoch()?;
        }
        soak.round(round).map_err(|why| {
            let home = home.display();
            format!("round {round}: {why}; what the server kept is in {home}")
        })?;
    }
    let tidy = soak.ends_tidy();
    let _ = std::fs::remove_dir_all(&home);
    tidy?;
    soak.tell(rounds, begun.elapsed())
}

impl Soak {
    fn new(program: &Path, home: &Path) -> Result<Self, String> {
        let key = command(program, home)
            .args(["key", "add", "soak", "--keep-prefixes"])
            .output()
            .map_err(|e| format!("{} does not start: {e}", program.display()))?;
        let key = String::from_utf8_lossy(&key.stdout).trim().to_owned();
        if !key.starts_with("ingle-") {
            return Err("no key was made".into());
        }
        Ok(Self {
            program: program.to_owned(),
            home: home.to_owned(),
            key,
            sum: Arc::default(),
            truth: Arc::default(),
            whole: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        })
    }

    fn sum(&mut self) -> Result<&mut Sum, String> {
        Arc::get_mut(&mut self.sum).ok_or_else(|| "a client is still there".into())
    }

    fn begin_epoch(&mut self) -> Result<(), String> {
        let cleared = command(&self.program, &self.home)
            .args(["cache", "clear"])
            .output();
        if !cleared.is_ok_and(|done| done.status.success()) {
            return Err("`ingle cache clear` failed".into());
        }
        self.truth
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.whole = 0;
        Ok(())
    }

    fn round(&mut self, round: u64) -> Result<(), String> {
        let epoch = round / EPOCH;
        let started = Instant::now();
        let (mut child, address) = start(&self.program, &self.home)?;
        let first = text(&format!("Morning {epoch}"));
        let said = ask(address, &self.key, &first, false);
        let took = started.elapsed();
        let cached = said.as_deref().and_then(cached);
        let right = match &said {
            Some(answer) => agrees(&self.truth, &first, answer),
            None => Err("a server that had started gave no answer".into()),
        };
        let sum = self.sum()?;
        sum.starts.push(took);
        sum.late += u64::from(took > SOON);
        sum.warm += u64::from(cached.is_some_and(|n| n > 0));
        if right.is_ok() {
            self.load(address, epoch, &mut child)?;
        }
        let _ = child.kill();
        let _ = child.wait();
        right?;
        self.look()
    }

    /// Clients ask until the server is killed, at a random moment.
    fn load(&mut self, address: SocketAddr, epoch: u64, child: &mut Child) -> Result<(), String> {
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (over, key) = (Arc::clone(&over), self.key.clone());
                let (sum, truth) = (Arc::clone(&self.sum), Arc::clone(&self.truth));
                std::thread::spawn(move || {
                    let mut n = 0;
                    while !over.load(Ordering::Relaxed) {
                        n += 1;
                        let story = n % PROMPTS;
                        let prompt = text(&format!("Client {client} in {epoch}, story {story}"));
                        let stream = n % 3 == 0;
                        let whole = ask(address, &key, &prompt, stream);
                        let counter = if whole.is_some() {
                            &sum.answered
                        } else {
                            &sum.cut
                        };
                        counter.fetch_add(1, Ordering::Relaxed);
                        if let Some(answer) = whole.filter(|_| !stream) {
                            agrees(&truth, &prompt, &answer)?;
                        }
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        // xorshift64: the moments are the same in every run of this command.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        std::thread::sleep(Duration::from_millis(self.random % LIFE_MS));
        // What they have asked by now is cut off; nobody begins anew.
        over.store(true, Ordering::Relaxed);
        let _ = child.kill();
        let _ = child.wait();
        let ends: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        for end in ends {
            end.map_err(|_| "a client failed")??;
        }
        Ok(())
    }

    /// What a server that was killed has left.
    fn look(&mut self) -> Result<(), String> {
        let kept = files(&self.home.join("k/ingle/prefix"));
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let whole = kept
            .iter()
            .filter(|(path, _)| !name(path).starts_with(UNFINISHED));
        let mut sizes: Vec<u64> = whole.map(|(_, bytes)| *bytes).collect();
        let count = sizes.len();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() > 1 {
            return Err(format!("a page is cut short: files of {sizes:?} bytes"));
        }
        if count < self.whole {
            let before = self.whole;
            return Err(format!(
                "{before} pages were whole, and {count} are: some were torn"
            ));
        }
        self.whole = count;
        self.sum()?.pages += count as u64;
        let listed = command(&self.program, &self.home)
            .args(["key", "list"])
            .output();
        match listed {
            Ok(listed) if listed.status.success() => Ok(()),
            _ => Err("the keys cannot be read any more".into()),
        }
    }

    /// No server is there any more, and `ingle ps` says so and clears the sockets away.
    fn ends_tidy(&self) -> Result<(), String> {
        let shown = command(&self.program, &self.home)
            .args(["ps", "--json"])
            .output();
        let shown = shown.map_err(|e| format!("`ingle ps` does not start: {e}"))?;
        let sockets = files(&self.home.join("s"));
        let left = sockets
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|e| e == "sock"));
        match (shown.stdout.is_empty(), left.count()) {
            (false, 0) => Ok(()),
            (_, left) => Err(format!("{left} sockets of dead servers are left")),
        }
    }

    fn tell(&mut self, rounds: u64, time: Duration) -> Result<(), String> {
        let sum = self.sum()?;
        sum.starts.sort();
        let last = sum.starts.len().saturating_sub(1);
        let at = |share: f64| {
            let start = sum.starts.get((last as f64 * share) as usize);
            start.copied().unwrap_or_default().as_millis()
        };
        println!(
            "rounds {rounds}, in {} s\nuntil the first answer after a start: median {} ms, 99% {} ms, longest {} ms, more than 2 s {}\nrounds that began with pages from disk {}\nwhole pages found after kills {}\nanswers that came whole {}, cut off {}\nwrong answers 0, torn pages 0, unreadable keys 0",
            time.as_secs(),
            at(0.5),
            at(0.99),
            at(1.0),
            sum.late,
            sum.warm,
            sum.pages,
            sum.answered.load(Ordering::Relaxed),
            sum.cut.load(Ordering::Relaxed),
        );
        if sum.late > 0 {
            return Err(format!("{} starts took longer than {SOON:?}", sum.late));
        }
        if rounds >= EPOCH && sum.warm < rounds / 2 {
            return Err("too few rounds began warm: nothing is proved of what is kept".into());
        }
        Ok(())
    }
}

/// A prompt of a few pages, of which no two begin alike.
fn text(first: &str) -> String {
    format!(
        "{first}. {}",
        "It rained on the harbour and nobody minded. ".repeat(20)
    )
}

/// Whether an answer is the one that this prompt always had.
fn agrees(truth: &Truth, prompt: &str, answer: &str) -> Result<(), String> {
    let choices = answer.split_once("\"choices\":").and_then(|(_, rest)| {
        let (choices, _) = rest.split_once(",\"usage\":")?;
        Some(choices.to_owned())
    });
    let choices = choices.ok_or_else(|| format!("no choices in {answer}"))?;
    let mut truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
    match truth.get(prompt) {
        Some(before) if *before != choices => Err(format!(
            "the same request had another answer: {choices}, not {before}"
        )),
        Some(_) => Ok(()),
        None => {
            truth.insert(prompt.to_owned(), choices);
            Ok(())
        }
    }
}

/// Tokens of its prompt that had been computed before.
fn cached(answer: &str) -> Option<u64> {
    let (_, rest) = answer.split_once("\"cached_tokens\":")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// All files below a folder, and their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => all.extend(files(&entry.path())),
            Ok(found) => all.push((entry.path(), found.len())),
            Err(_) => {}
        }
    }
    all
}

fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("s"))
        .env("XDG_CONFIG_HOME", home.join("c"))
        .env("XDG_CACHE_HOME", home.join("k"))
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("INGLE_PREFIX_STORE")
        .env("OLLAMA_MODELS", home.join("none"))
        .stdin(Stdio::null());
    command
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
fn ask(address: SocketAddr, key: &str, text: &str, stream: bool) -> Option<String> {
    let mut connection = TcpStream::connect_timeout(&address, SOON).ok()?;
    connection
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let body = format!(
        "{{\"seed\": 1, \"temperature\": 0.8, \"max_tokens\": 12, \"logprobs\": true, \"stream\": {stream}, \"messages\": [{{\"role\": \"user\", \"content\": \"{text}\"}}]}}"
    );
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    // A stream that is cut off lacks its last word, and a whole answer its end.
    let end = if stream {
        "data: [DONE]"
    } else {
        "\"system_fingerprint\""
    };
    let whole = answer.starts_with("HTTP/1.1 200") && answer.contains(end);
    whole.then_some(answer)
}

/// The binary of the development build.
pub fn built() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    target.join("debug").join("ingle")
}

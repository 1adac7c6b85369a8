//! A process that writes the ledger is killed at random moments, again and again.
//!
//! Each round it writes rows of answers and of the door, and reserves and settles money, from several
//! threads, and says on its standard output what was acknowledged. After SIGKILL all of that must be there,
//! no reservation open, and no more charged than the cap of the round's day. `INGLE_SOAK` says how often;
//! `cargo xtask soak-ledger N` sets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingle_egress::{Event, Log as _, Row as Passage};
use ingle_gateway::ledger::{By, Cap, Caps, Ledger, Options, Reader, Reserved, Route, Span, Zone};
use support::{DAY, NOON, row, usd, wanted};

/// Of each round's day: some reservations find no room.
const CAP: &str = "0.10";
const ROUNDS: u64 = 30;
const LIFE_MS: u64 = 300;
const THREADS: u64 = 4;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", path, round] => {
            child(Path::new(path), round.parse().unwrap());
            ExitCode::FAILURE
        }
        // What the test runner asks of every test.
        list if list.contains(&"--list") => ExitCode::SUCCESS,
        _ => {
            let rounds = std::env::var("INGLE_SOAK")
                .ok()
                .and_then(|n| n.parse().ok());
            soak(rounds.unwrap_or(ROUNDS));
            ExitCode::SUCCESS
        }
    }
}

fn options() -> Options {
    let all = Cap {
        day: Some(usd(CAP).nanos),
        month: None,
    };
    Options {
        caps: Caps {
            all,
            ..Caps::default()
        },
        ..Options::default()
    }
}

fn now(round: u64) -> u64 {
    NOON + round * DAY
}

/// Writes until it is killed.
fn child(path: &Path, round: u64) {
    let ledger = Ledger::open(path, options(), Arc::new(move || now(round))).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let ledger = ledger.clone();
            std::thread::spawn(move || {
                for n in 0_u64.. {
                    work(&ledger, round, &format!("{round}-{thread}-{n}"), n);
                }
            })
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
}

/// One request: a line for each thing that was acknowledged.
fn work(ledger: &Ledger, round: u64, name: &str, n: u64) {
    let said = |what: &str| {
        let line = format!("{what} {name}\n");
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .unwrap();
    };
    let held = n
        .is_multiple_of(2)
        .then(|| ledger.reserve(wanted(name, None, "0.003")).wait().ok())
        .flatten();
    let mut one = row(name, Some("anna"), Route::Local, now(round));
    if let Some(held) = held {
        said("reserved");
        let door = ledger.door().unwrap();
        let event = Event::End {
            status: None,
            up: 1,
            down: 2,
            outcome: name.to_owned(),
        };
        door.record(&Passage { id: 1, event }).unwrap();
        said("door");
        one.reservation = Some(held.id());
        match n % 8 {
            0 => {
                held.settle(usd("0.002")).wait().unwrap();
                said("settled");
            }
            2 => {
                held.release().wait().unwrap();
                said("released");
            }
            4 => drop(held),
            // Leaked: only the end of the process ends it.
            _ => std::mem::forget(held),
        }
    }
    ledger.append(one).wait().unwrap();
    said("row");
}

#[derive(Default)]
struct Sum {
    acknowledged: u64,
    died: u64,
    opens: Vec<Duration>,
}

fn soak(rounds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut sum = Sum::default();
    for round in 0..rounds {
        // xorshift64: the moments are the same in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let said = kill(
            &path,
            round,
            Duration::from_micros(random % (LIFE_MS * 1000)),
        );
        check(&path, round, &said, &mut sum);
    }
    let whole = Reader::open(&path).unwrap();
    whole.check().unwrap();
    let summary = whole.summary().unwrap();
    assert!(summary.answers > 0 && sum.died > 0, "{summary:?}");
    sum.opens.sort();
    let slowest = sum.opens.last().copied().unwrap_or_default().as_millis();
    println!(
        "{{\"rounds\": {rounds}, \"acknowledged\": {}, \"rows\": {}, \"reservations\": {}, \"settled_after_death\": {}, \"lost\": 0, \"hanging\": {}, \"open_ms_max\": {slowest}}}",
        sum.acknowledged, summary.answers, summary.reservations, sum.died, summary.open
    );
}

/// One life of the child; what it said.
fn kill(path: &Path, round: u64, life: Duration) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .arg(path)
        .arg(round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let words = |line: String| {
            let (what, name) = line.split_once(' ')?;
            Some((what.to_owned(), name.to_owned()))
        };
        out.lines()
            .map_while(Result::ok)
            .filter_map(words)
            .collect::<Vec<_>>()
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "round {round}: it ended by itself");
    reader.join().unwrap()
}

fn check(path: &Path, round: u64, said: &[(String, String)], sum: &mut Sum) {
    let started = Instant::now();
    let ledger = Ledger::open(path, options(), Arc::new(move || now(round))).unwrap();
    sum.opens.push(started.elapsed());
    let reader = Reader::open(path).unwrap();
    sum.acknowledged += u64::try_from(said.len()).unwrap();
    let span = Span {
        since: Some(now(round)),
        until: Some(now(round + 1)),
    };
    let doors = passages(path, now(round));
    let rows = |name: &str| reader.why(name).unwrap();
    for (what, name) in said {
        let there = match what.as_str() {
            "door" => doors.contains(name),
            "row" => rows(name).len() == 1,
            _ => holds(&reader.traces(name).unwrap().0, what),
        };
        assert!(
            there,
            "round {round}: `{what} {name}` was acknowledged and is lost"
        );
    }
    let costs = reader.costs(span, By::Route, &Zone::default()).unwrap();
    assert!(
        costs.reserved.is_empty(),
        "round {round}: {:?} hang",
        costs.reserved
    );
    let spent: i64 = costs.total.spent.iter().map(|money| money.nanos).sum();
    assert!(spent <= usd(CAP).nanos, "round {round}: {spent}");
    sum.died += costs
        .reconciled
        .iter()
        .map(|bill| bill.unknown)
        .sum::<u64>();
    // The cap holds what the dead process had reserved.
    let left = ledger.budget(None).wait().unwrap().left().unwrap();
    assert_eq!(left.nanos, usd(CAP).nanos - spent, "round {round}");
}

/// Ends that were written at `at`.
fn passages(path: &Path, at: u64) -> HashSet<String> {
    let file = rusqlite::Connection::open(path).unwrap();
    let mut all = file
        .prepare("SELECT outcome FROM passage WHERE at = ?1")
        .unwrap();
    let found = all
        .query_map([i64::try_from(at).unwrap()], |line| line.get(0))
        .unwrap();
    found.map(Result::unwrap).collect()
}

fn holds(reserved: &[Reserved], what: &str) -> bool {
    let [one] = reserved else {
        return false;
    };
    match what {
        "settled" => one.charged == Some(usd("0.002")),
        "released" => one.charged == Some(usd("0")),
        _ => one.charged.is_some(),
    }
}

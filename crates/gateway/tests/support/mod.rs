//! A ledger in a folder of its own, with a clock that stands where it is put.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ingle_egress::Clock;
use ingle_gateway::ledger::{
    Caps, Currency, Decision, Ledger, Money, Options, Outcome, Priced, Reader, Route, Row, Step,
    Tokens, Wanted,
};

/// Noon of 2026-10-01, UTC.
pub const NOON: u64 = 1_790_856_000_000;
pub const DAY: u64 = 86_400_000;

pub struct Home {
    folder: tempfile::TempDir,
    pub path: PathBuf,
    pub clock: Arc<AtomicU64>,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().join("ledger.sqlite"),
            folder,
            clock: Arc::new(AtomicU64::new(NOON)),
        }
    }

    pub fn clock(&self) -> Clock {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || clock.load(Ordering::Relaxed))
    }

    pub fn open(&self) -> Ledger {
        self.open_as(Options::default())
    }

    pub fn open_with(&self, caps: Caps) -> Ledger {
        self.open_as(Options {
            caps,
            ..Options::default()
        })
    }

    pub fn open_as(&self, options: Options) -> Ledger {
        Ledger::open(&self.path, options, self.clock()).unwrap()
    }

    pub fn reader(&self) -> Reader {
        Reader::open(&self.path).unwrap()
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Whether any of its files has this text.
    pub fn bytes_hold(&self, text: &str) -> bool {
        self.files().iter().any(|name| {
            let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }
}

pub fn usd(text: &str) -> Money {
    Money::parse(text, Currency::USD).unwrap()
}

pub fn wanted(request: &str, user: Option<&str>, most: &str) -> Wanted {
    Wanted {
        request: request.into(),
        user: user.map(str::to_owned),
        provider: "cloud".into(),
        model: "cloud-model".into(),
        most: usd(most),
    }
}

pub fn row(request: &str, user: Option<&str>, route: Route, at: u64) -> Row {
    let priced = Priced {
        provider: "cloud".into(),
        model: "cloud-model".into(),
        cost: usd("0.25"),
        dated: "2026-09-01".into(),
    };
    let local = route == Route::Local;
    Row {
        user: user.map(str::to_owned),
        asked_model: "auto".into(),
        model: if local { "home-model" } else { "cloud-model" }.into(),
        route,
        reason: "a test asked".into(),
        outcome: Outcome::Completed,
        tokens: Tokens {
            input: 100,
            cached: 40,
            output: 20,
            reasoning: 5,
            cache_write: 0,
        },
        first_ms: Some(12),
        total_ms: 340,
        energy_uj: local.then_some(1500),
        cost: (!local).then(|| priced.clone()),
        instead: local.then_some(priced),
        decision: Decision {
            wanted: "auto, by the setting".into(),
            steps: vec![Step {
                about: "policy".into(),
                verdict: "may leave".into(),
                why: "a rule allows it".into(),
                facts: [("rule".to_owned(), "ingle.toml:3".to_owned())].into(),
            }],
        },
        ..Row::new(request, at)
    }
}

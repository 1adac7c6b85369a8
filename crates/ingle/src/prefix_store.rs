//! Beginnings of texts on disk, so that the next start need not compute them again: the flags, and what
//! gives an engine its store.

use crate::environment::Environment;
use crate::out;
use ingle::ModelFiles;
use ingle::engine::Engine;
use ingle::store::pages::{PageFolder, PageLimits, PageSecret};
use ingle::tensor::cpu::Cpu;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pages on their way to or from disk at the same time.
pub const BUFFERS: u32 = 4;
const DAY: u64 = 24 * 3600;

/// A size, or 0.
fn size_or_none(text: &str) -> Result<u64, String> {
    match text.trim() {
        "0" => Ok(0),
        text => crate::load::size(text),
    }
}

/// How beginnings of texts are kept on disk.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Beginnings of texts")]
pub struct PrefixArgs {
    /// Disk space for what was computed of texts, encrypted, so that they are continued sooner after
    /// the next start; 0 keeps none [default: 8GiB, none where anybody may ask from other machines]
    #[arg(long, value_name = "SIZE", env = "INGLE_PREFIX_STORE", hide_env_values = true, value_parser = size_or_none)]
    prefix_store: Option<u64>,
    /// Days after which it is removed
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=365))]
    prefix_days: u64,
    /// Where it lies [default: `prefix` in the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    prefix_folder: Option<PathBuf>,
}

/// Where and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixStore {
    folder: PathBuf,
    secret: PathBuf,
    limits: PageLimits,
}

impl PrefixArgs {
    /// What they ask for; `None`: nothing is kept. `usual`: it is kept where nobody said anything.
    pub fn store(&self, usual: bool) -> Option<PrefixStore> {
        if !usual && self.prefix_store.is_none() {
            return None;
        }
        let environment = Environment::of_process();
        let limits = PageLimits::default();
        let limits = PageLimits {
            bytes: self.prefix_store.unwrap_or(limits.bytes),
            age: Duration::from_secs(self.prefix_days * DAY),
        };
        let folder = self.prefix_folder.clone();
        Some(PrefixStore {
            folder: folder.or_else(|| environment.prefix_folder())?,
            secret: environment.prefix_secret()?,
            limits,
        })
        .filter(|store| store.limits.bytes > 0)
    }
}

impl PrefixStore {
    /// Gives a store to an engine of the model in `files`. Where that cannot be done nothing is kept, and a
    /// note says why.
    pub fn attach(&self, engine: &mut Engine<Cpu>, files: &ModelFiles) {
        if engine.page_bytes() == 0 || !engine.plan().generates() {
            return;
        }
        let identity = engine.pages_identity(files.identity());
        let clock = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.unwrap_or_default()
        };
        let store = PageSecret::of_file(&self.secret).and_then(|secret| {
            PageFolder::open(
                &self.folder,
                &secret,
                identity,
                self.limits,
                Arc::new(clock),
            )
        });
        match store {
            Ok(store) => {
                engine.set_page_store(Box::new(store));
            }
            Err(error) => out::note(format!(
                "warning: beginnings of texts are not kept on disk: {error}"
            )),
        }
    }
}

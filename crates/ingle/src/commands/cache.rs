//! `ingle cache`: what is kept of texts on disk.

use crate::environment::Environment;
use crate::keys::{KeyFile, hash};
use crate::{Usage, clock, out};
use anyhow::Context;
use ingle::store::pages::{PageSecret, PagesSummary, clear_pages, pages_summary};
use ingle_server::Key;
use serde_json::json;
use std::path::PathBuf;

/// What was computed of texts and is kept on disk, encrypted, to be continued sooner
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Of the user with this key alone (`ingle key`)
    #[arg(long, value_name = "NAME", global = true)]
    user: Option<String>,
    /// Where it lies [default: `prefix` in the user's cache folder]
    #[arg(long, value_name = "FOLDER", global = true)]
    prefix_folder: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Action {
    /// How much there is, and since when (as without a word)
    Show,
    /// Remove it. A server that is running forgets it when it looks for it
    Clear,
}

/// What is done with all pages, or with those of one namespace.
type OfOne<'a> = dyn Fn(Option<(&PageSecret, u64)>) -> anyhow::Result<PagesSummary> + 'a;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let folder = args.prefix_folder.clone();
    let folder = folder.or_else(|| environment.prefix_folder());
    let folder =
        folder.context("this system does not say where caches lie; give --prefix-folder")?;
    let secret = match environment.prefix_secret() {
        Some(path) => PageSecret::if_there(&path)?,
        None => None,
    };
    let namespaces = match &args.user {
        Some(name) => Some(namespaces(name)?),
        None => None,
    };
    let of = |each: &OfOne| {
        match (&namespaces, &secret) {
            (None, _) => each(None),
            // Without the secret nothing was ever kept.
            (Some(_), None) => Ok(PagesSummary::default()),
            (Some(all), Some(secret)) => {
                let mut sum = PagesSummary::default();
                for namespace in all {
                    let one = each(Some((secret, *namespace)))?;
                    sum.files += one.files;
                    sum.bytes += one.bytes;
                    sum.oldest = sum.oldest.into_iter().chain(one.oldest).min();
                }
                Ok(sum)
            }
        }
    };
    let clear = matches!(args.action, Some(Action::Clear));
    let summary = match clear {
        true => of(&|of| Ok(clear_pages(&folder, of)?))?,
        false => of(&|of| Ok(pages_summary(&folder, of)))?,
    };
    if args.json {
        return out::json(&json!({
            "folder": folder, "removed": clear, "files": summary.files, "bytes": summary.bytes,
            "oldest": summary.oldest,
        }));
    }
    out::answer(&format!("{}\n", text(&summary, clear)))?;
    if !clear {
        out::note(format!("in {}", folder.display()));
    }
    Ok(())
}

/// The numbers under which the keys of this name keep what is theirs.
fn namespaces(name: &str) -> anyhow::Result<Vec<u64>> {
    let keys = KeyFile::of_user()?.read()?;
    let own = keys.iter().filter(|key| key.name == name);
    let hashes = own.filter_map(|key| hash(&key.sha256));
    let all: Vec<u64> = hashes
        .map(|hash| {
            Key {
                hash,
                ..Key::default()
            }
            .namespace()
        })
        .collect();
    if all.is_empty() {
        return Err(Usage(format!(
            "there is no key `{}`; `ingle key` lists those that there are, and what belonged to one that was revoked goes with `ingle cache clear`",
            out::plain(name)
        ))
        .into());
    }
    Ok(all)
}

fn text(summary: &PagesSummary, clear: bool) -> String {
    let size = ingle::engine::size(summary.bytes);
    let files = match summary.files {
        1 => "1 page".to_owned(),
        n => format!("{n} pages"),
    };
    let since = summary.oldest.and_then(|oldest| i64::try_from(oldest).ok());
    match (clear, since) {
        (true, _) => format!("removed {files}, {size}"),
        (false, Some(oldest)) => format!("{files}, {size}, the oldest of {}", clock::day(oldest)),
        (false, None) => "nothing is kept".to_owned(),
    }
}

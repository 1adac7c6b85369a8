//! `ingle key`: who may use this machine's server.

use crate::keys::{Kept, KeyFile};
use crate::{Usage, clock, out};
use serde_json::json;

/// Keys for the server of this machine: make, list, revoke
///
/// Once there is a key, every request needs one, from this machine too (`ingle serve --without-keys`
/// asks nobody). A server that runs sees a change within a second.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Add(Add),
    List(List),
    Revoke(Revoke),
}

/// Makes a key and prints it. It is not kept and cannot be shown again, only its hash is
#[derive(clap::Args)]
struct Add {
    /// Whose it is, as it is shown in the log
    name: String,
    /// Requests in a minute [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: Option<u32>,
    /// Tokens in a minute, computed for prompts and answers together [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tokens_per_minute: Option<u32>,
    /// Requests at the same time [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrent: Option<u32>,
    /// A model that may be used, as qwen3:4b, or qwen3* for all whose names begin so; repeat for more
    /// [default: all]
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Let what was computed of this user's texts be kept on disk, encrypted, to be continued sooner
    #[arg(long)]
    keep_prefixes: bool,
    /// Let this user unload, pull and delete models and end the server
    #[arg(long)]
    admin: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Which keys there are, without the keys
#[derive(clap::Args)]
struct List {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Forgets a key: whoever has it is refused from now on
#[derive(clap::Args)]
struct Revoke {
    /// Whose it is
    name: String,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = KeyFile::of_user()?;
    match &args.what {
        What::Add(add) => made(&file, add),
        What::List(list) => listed(&file, list.json),
        What::Revoke(Revoke { name }) => {
            if !file.revoke(name)? {
                anyhow::bail!(
                    "there is no key named `{}`; `ingle key list` shows them",
                    out::plain(name)
                );
            }
            out::note(format!("The key of {} is revoked.", out::plain(name)));
            Ok(())
        }
    }
}

fn made(file: &KeyFile, add: &Add) -> anyhow::Result<()> {
    const MOST: usize = 64;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if add.name.is_empty() || add.name.chars().count() > MOST || !add.name.chars().all(plain) {
        let message = format!("a key's name has 1 to {MOST} letters, digits or any of -_.@+");
        return Err(Usage(message).into());
    }
    if add.name.starts_with('-') || add.model.iter().any(String::is_empty) {
        return Err(Usage("a name does not begin with - and a model's is not empty".into()).into());
    }
    let secret = file.add(Kept {
        name: add.name.clone(),
        sha256: String::new(),
        created: 0,
        requests_per_minute: add.requests_per_minute,
        tokens_per_minute: add.tokens_per_minute,
        concurrent: add.concurrent,
        models: add.model.clone(),
        keep_prefixes: add.keep_prefixes,
        admin: add.admin,
    })?;
    if add.json {
        return out::json(&json!({ "name": add.name, "key": secret }));
    }
    out::note(format!(
        "The key of {}. It is shown this once; only its hash is kept, in {}.",
        add.name,
        file.path().display()
    ));
    out::answer(&(secret + "\n"))
}

fn listed(file: &KeyFile, as_json: bool) -> anyhow::Result<()> {
    let keys = file.read()?;
    if as_json {
        let one = |key: &Kept| {
            json!({
                "name": key.name, "created": key.created, "models": key.models,
                "requests_per_minute": key.requests_per_minute,
                "tokens_per_minute": key.tokens_per_minute, "concurrent": key.concurrent,
                "keep_prefixes": key.keep_prefixes, "admin": key.admin,
            })
        };
        return out::json(&json!({ "keys": keys.iter().map(one).collect::<Vec<_>>() }));
    }
    if keys.is_empty() {
        out::note("There is no key; `ingle key add NAME` makes one.");
        return Ok(());
    }
    let head = [
        "NAME",
        "SINCE",
        "REQUESTS/MIN",
        "TOKENS/MIN",
        "AT ONCE",
        "MODELS",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let limit = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for key in &keys {
        let also = [(key.admin, "admin"), (key.keep_prefixes, "keeps prefixes")];
        let also: Vec<&str> = also
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, word)| *word)
            .collect();
        let models = if key.models.is_empty() {
            "all".to_owned()
        } else {
            key.models.join(" ")
        };
        rows.push(vec![
            out::plain(&key.name),
            clock::day(key.created),
            limit(key.requests_per_minute),
            limit(key.tokens_per_minute),
            limit(key.concurrent),
            out::plain(&models),
            also.join(", "),
        ]);
    }
    out::answer(&out::table(&rows))
}

//! `ingle list`: the models on this machine, in some folders, or that can be got by a short name.

use crate::environment::Environment;
use crate::out;
use ingle::store::{Here, HubCache, Listed, OllamaStore, Place, Places, Summary, Use, aliases};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The models on this machine: in the Hugging Face cache, in Ollama's store and below this folder
#[derive(clap::Args)]
pub struct Args {
    /// Look in these folders and below them, and nowhere else
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// The models that `ingle pull` knows by a short name
    #[arg(long, conflicts_with = "folders")]
    available: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.available {
        return if args.json {
            out::json(&available_json())
        } else {
            out::answer(&available())
        };
    }
    let (models, problems) = if args.folders.is_empty() {
        everything()
    } else {
        in_folders(&args.folders)?
    };
    for problem in &problems {
        out::note(format!("note: {problem}"));
    }
    if args.json {
        let models: Vec<_> = models.iter().map(Row::json).collect();
        return out::json(&json!({ "models": models, "problems": problems }));
    }
    if models.is_empty() {
        out::note(
            "no model is there; name another folder, or see `ingle list --available` for models to get",
        );
        return Ok(());
    }
    out::answer(&text(&models))
}

/// One model of the list.
struct Row {
    /// What to type, or for a file what it is called.
    name: String,
    /// Its full name, where `name` is a short one.
    full_name: Option<String>,
    place: Place,
    facts: Result<(PathBuf, Summary), String>,
    /// Of a file that cannot be used, too.
    path: Option<PathBuf>,
}

impl From<Here> for Row {
    fn from(here: Here) -> Self {
        let facts = here.facts.map_err(|error| error.to_string());
        Self {
            full_name: here.alias.is_some().then(|| here.name.clone()),
            name: here.alias.map_or(here.name, str::to_owned),
            place: here.place,
            path: facts.as_ref().ok().map(|(path, _)| path.clone()),
            facts,
        }
    }
}

impl From<Listed> for Row {
    fn from(listed: Listed) -> Self {
        let facts = listed.summary.map_err(|error| error.to_string());
        Self {
            name: listed.name,
            full_name: None,
            place: Place::Path,
            facts: facts.map(|summary| (listed.path.clone(), summary)),
            path: Some(listed.path),
        }
    }
}

/// What lies in the stores of other programs and below the current folder.
fn everything() -> (Vec<Row>, Vec<String>) {
    let places = Environment::of_process().places();
    // Nobody asked for this folder: that it is large or closed is no news.
    let listing = ingle::store::list([Path::new(".")]);
    let roots: Vec<PathBuf> = roots(&places);
    // What lies in a store is in the list by the store's name.
    let elsewhere = |path: &Path| {
        let real = path.canonicalize().unwrap_or_default();
        !roots.iter().any(|root| real.starts_with(root))
    };
    let files = listing.models.into_iter();
    let files = files.filter(|listed| listed.summary.is_ok() && elsewhere(&listed.path));
    let stores = places.models().into_iter().map(Row::from);
    (stores.chain(files.map(Row::from)).collect(), Vec::new())
}

/// Where the stores lie, without links.
fn roots(places: &Places) -> Vec<PathBuf> {
    let hub = places.hub().into_iter().map(HubCache::root);
    let ollama = places.ollama().iter().map(OllamaStore::root);
    hub.chain(ollama)
        .filter_map(|root| root.canonicalize().ok())
        .collect()
}

fn in_folders(folders: &[PathBuf]) -> anyhow::Result<(Vec<Row>, Vec<String>)> {
    for folder in folders {
        let shown = folder.display();
        match folder.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => anyhow::bail!("{shown} is a file; `ingle show {shown}` says what it holds"),
            Err(error) => {
                anyhow::bail!("the folder {shown} cannot be read: {error}; check its name")
            }
        }
    }
    let listing = ingle::store::list(folders);
    let problems = listing.problems.iter().map(ToString::to_string).collect();
    Ok((
        listing.models.into_iter().map(Row::from).collect(),
        problems,
    ))
}

fn text(models: &[Row]) -> String {
    let heads = [
        "NAME",
        "ARCHITECTURE",
        "PARAMETERS",
        "WEIGHTS",
        "SIZE",
        "WHERE",
    ];
    let mut good = vec![heads.map(String::from).to_vec()];
    // Apart from the table: a long reason must not widen its column.
    let mut bad = String::new();
    for row in models {
        let name = out::plain(&row.name);
        match &row.facts {
            Ok((path, s)) => good.push(vec![
                name,
                out::plain(&s.architecture),
                out::count(s.parameters),
                s.quantisation.clone(),
                out::bytes(s.file_bytes),
                place(row.place, path),
            ]),
            Err(problem) => {
                let problem = problem.lines().next().unwrap_or_default();
                bad += &format!("{name} cannot be used: {}\n", out::plain(problem));
            }
        }
    }
    if good.len() > 1 {
        out::table(&good) + &bad
    } else {
        bad
    }
}

fn place(place: Place, path: &Path) -> String {
    match place {
        Place::Path => out::plain(&path.display().to_string()),
        Place::Hub => "Hugging Face cache".into(),
        Place::Ollama => "Ollama".into(),
    }
}

impl Row {
    fn json(&self) -> Value {
        let place = match self.place {
            Place::Path => "file",
            Place::Hub => "hub",
            Place::Ollama => "ollama",
        };
        let path = self.path.as_ref().map(|path| path.display().to_string());
        let mut json = json!({ "name": self.name, "path": path, "place": place });
        if let Some(name) = &self.full_name {
            json["full_name"] = name.as_str().into();
        }
        match &self.facts {
            Ok((_, s)) => {
                json["title"] = s.title.as_deref().into();
                json["architecture"] = s.architecture.as_str().into();
                json["parameters"] = s.parameters.into();
                json["quantisation"] = s.quantisation.as_str().into();
                json["file_bytes"] = s.file_bytes.into();
                json["n_files"] = s.n_files.into();
                json["context_length"] = s.context_length.into();
            }
            Err(problem) => json["error"] = problem.as_str().into(),
        }
        json
    }
}

fn purpose(purpose: Use) -> &'static str {
    match purpose {
        Use::Chat => "chat",
        Use::Code => "code",
        Use::Reasoning => "reasoning",
        Use::Embedding => "embeddings",
        Use::Reranker => "reranking",
    }
}

/// The table of short names.
fn available() -> String {
    let heads = [
        "NAME",
        "SIZE",
        "WEIGHTS",
        "CONTEXT",
        "FOR",
        "LICENCE",
        "REPOSITORY",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    rows.extend(aliases().iter().map(|alias| {
        let about = if alias.exact { "" } else { "~" };
        vec![
            alias.name.into(),
            format!("{about}{}", out::bytes(alias.bytes)),
            alias.quant().unwrap_or_default(),
            alias.context.to_string(),
            purpose(alias.purpose).into(),
            alias.licence.into(),
            alias.repo.into(),
        ]
    }));
    out::table(&rows)
}

fn available_json() -> Value {
    let models = aliases().iter().map(|alias| {
        json!({
            "name": alias.name, "bytes": alias.bytes, "bytes_exact": alias.exact,
            "quantisation": alias.quant(), "context_length": alias.context,
            "purpose": purpose(alias.purpose), "licence": alias.licence,
            "repository": alias.repo, "file": alias.file,
        })
    });
    json!({ "models": models.collect::<Vec<_>>() })
}

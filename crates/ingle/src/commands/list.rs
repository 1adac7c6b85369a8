//! `ingle list`: the models in some folders.

use crate::out;
use ingle::store::{Listed, Listing};
use serde_json::json;
use std::path::PathBuf;

/// The models in some folders and the folders below them
#[derive(clap::Args)]
pub struct Args {
    /// Where to look
    #[arg(value_name = "FOLDER", default_value = ".")]
    folders: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let listing = ingle::store::list(&args.folders);
    for problem in &listing.problems {
        out::note(format!("note: {problem}"));
    }
    if args.json {
        return out::json(&as_json(&listing));
    }
    if listing.models.is_empty() {
        out::note(
            "no .gguf file is there; name another folder, or see `ingle doctor` for a model to get",
        );
        return Ok(());
    }
    out::answer(&text(&listing))
}

fn text(listing: &Listing) -> String {
    let heads = [
        "NAME",
        "ARCHITECTURE",
        "PARAMETERS",
        "WEIGHTS",
        "SIZE",
        "PATH",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    for Listed {
        name,
        path,
        summary,
    } in &listing.models
    {
        let path = out::plain(&path.display().to_string());
        let name = out::plain(name);
        rows.push(match summary {
            Ok(s) => vec![
                name,
                out::plain(&s.architecture),
                out::count(s.parameters),
                s.quantisation.clone(),
                out::bytes(s.file_bytes),
                path,
            ],
            Err(problem) => vec![
                name,
                format!("cannot be used: {}", out::plain(&problem.to_string())),
            ],
        });
    }
    // A long reason must not widen its column.
    let (good, bad): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.len() > 2);
    let bad: String = bad.iter().map(|row| row.join(" ") + "\n").collect();
    if good.len() > 1 {
        out::table(&good) + &bad
    } else {
        bad
    }
}

fn as_json(listing: &Listing) -> serde_json::Value {
    let models: Vec<_> = listing
        .models
        .iter()
        .map(|m| match &m.summary {
            Ok(s) => json!({
                "name": m.name, "path": m.path.display().to_string(), "title": s.title,
                "architecture": s.architecture, "parameters": s.parameters,
                "quantisation": s.quantisation, "file_bytes": s.file_bytes,
                "n_files": s.n_files, "context_length": s.context_length,
            }),
            Err(problem) => json!({
                "name": m.name, "path": m.path.display().to_string(), "error": problem.to_string(),
            }),
        })
        .collect();
    let problems: Vec<_> = listing.problems.iter().map(ToString::to_string).collect();
    json!({ "models": models, "problems": problems })
}

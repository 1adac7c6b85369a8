//! `ingle tokenize`: a text as the tokens of a model.

use crate::{model_file, out, stdin};
use anyhow::Context;
use ingle::TokenId;
use ingle::formats::vocabulary::{Encode, Vocabulary};
use serde_json::json;

/// A text as the tokens of a model; a file that holds a vocabulary only will do
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file, or the name of a model
    model: String,
    /// The text; when absent, standard input, byte for byte (a line end at its end counts)
    text: Option<String>,
    /// Add no beginning or end token
    #[arg(long)]
    no_special: bool,
    /// Read the text of a control token, as <|im_end|>, as that token
    #[arg(long)]
    parse_special: bool,
    /// Print {"ids": [...]}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let files = model_file::open(&args.model)?;
    let vocabulary =
        Vocabulary::from_metadata(files.metadata()).with_context(|| args.model.clone())?;
    let text = match &args.text {
        Some(text) => text.clone(),
        None => stdin::text()?,
    };
    let options = Encode {
        add_special: !args.no_special,
        parse_special: args.parse_special,
    };
    let ids = vocabulary.encode(&text, options);
    if args.json {
        let ids: Vec<u32> = ids.iter().map(|id| id.0).collect();
        out::json(&json!({ "ids": ids }))
    } else {
        out::answer(&table(&vocabulary, &ids))
    }
}

fn table(vocabulary: &Vocabulary, ids: &[TokenId]) -> String {
    let rows: Vec<Vec<String>> = ids
        .iter()
        .map(|&id| {
            let mut piece = Vec::new();
            vocabulary.piece(id, true, &mut piece);
            vec![
                id.to_string(),
                format!("{:?}", String::from_utf8_lossy(&piece)),
            ]
        })
        .collect();
    out::table(&rows)
}

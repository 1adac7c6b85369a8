//! `ingle embed`: texts as vectors, how alike they are, and how well documents answer a query.

use crate::load::{LoadArgs, Loaded, load};
use crate::{Usage, out, stdin};
use anyhow::Context;
use ingle::engine::{EmbedRequest, Pooling, RequestId};
use ingle::{Event, FinishReason};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// Columns of the table of similarities that a terminal shows without breaking its lines.
const WIDEST_TABLE: usize = 12;

/// Texts as vectors, and how alike they are; with --rerank, how well they answer a query
///
/// One text gives its vector, several give a table of cosine similarities (1 is the same
/// direction). --json gives the vectors, of length 1.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A .gguf file, a folder of safetensors, or the name of a model
    model: String,
    /// The texts; when absent, the lines of standard input
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Score the texts by how well they answer this query, best first: by the model's own score
    /// where it is a reranker, else by cosine similarity
    #[arg(long, value_name = "QUERY")]
    rerank: Option<String>,
    /// How the rows of a text become one vector [default: as the model says]
    #[arg(long, value_name = "HOW")]
    pooling: Option<Pool>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Pool {
    /// The mean of all rows
    Mean,
    /// The first row
    Cls,
    /// The last row
    Last,
    /// None: scores only
    Rank,
}

impl From<Pool> for Pooling {
    fn from(pool: Pool) -> Self {
        match pool {
            Pool::Mean => Self::Mean,
            Pool::Cls => Self::First,
            Pool::Last => Self::Last,
            Pool::Rank => Self::Rank,
        }
    }
}

/// What came of one text.
struct Numbers {
    values: Vec<f32>,
    tokens: u32,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let texts = texts(args)?;
    let load_args = args
        .load
        .clone()
        .or_pooling(args.pooling.map(Pooling::from));
    let mut loaded = load(Some(&args.model), &load_args)?;
    match &args.rerank {
        Some(query) => rerank(args, &mut loaded, query, &texts),
        None => embed(args, &mut loaded, &texts),
    }
}

/// The arguments, or the lines of standard input that are not empty.
fn texts(args: &Args) -> anyhow::Result<Vec<String>> {
    if !args.texts.is_empty() {
        return Ok(args.texts.clone());
    }
    let piped = stdin::text()?;
    let lines = piped.lines().filter(|line| !line.trim().is_empty());
    let texts: Vec<String> = lines.map(str::to_owned).collect();
    match texts.is_empty() {
        true => Err(Usage("there is no text; give one, or lines on standard input".into()).into()),
        false => Ok(texts),
    }
}

fn embed(args: &Args, loaded: &mut Loaded, texts: &[String]) -> anyhow::Result<()> {
    let found = vectors(loaded, texts.iter().map(String::as_str))?;
    if args.json {
        let item = |(index, n): (usize, &Numbers)| {
            let values: Vec<f64> = n.values.iter().copied().map(wide).collect();
            json!({ "index": index, "tokens": n.tokens, "embedding": values })
        };
        let data: Vec<_> = found.iter().enumerate().map(item).collect();
        return out::json(&json!({ "model": loaded.name, "data": data }));
    }
    if let [only] = &found[..] {
        let numbers: Vec<String> = only.values.iter().map(f32::to_string).collect();
        return out::answer(&numbers.join(" "));
    }
    out::answer(&similarities(texts, &found))
}

fn rerank(args: &Args, loaded: &mut Loaded, query: &str, texts: &[String]) -> anyhow::Result<()> {
    let scores: Vec<(f32, u32)> = if loaded.model.plan().scores() {
        let engine = loaded.model.engine();
        let request = |text: &String| engine.score_request(query, text);
        let requests: Vec<EmbedRequest> = texts.iter().map(request).collect::<Result<_, _>>()?;
        let found = compute(loaded, requests)?;
        found
            .iter()
            .map(|n| (n.values.first().copied().unwrap_or(0.0), n.tokens))
            .collect()
    } else {
        out::note("this model is no reranker: these are cosine similarities of embeddings");
        let found = vectors(loaded, texts.iter().map(String::as_str).chain([query]))?;
        let (query, texts) = found.split_last().context("the query has no vector")?;
        texts
            .iter()
            .map(|n| (dot(&n.values, &query.values), n.tokens))
            .collect()
    };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].0.total_cmp(&scores[a].0).then(a.cmp(&b)));
    if args.json {
        let item = |&i: &usize| json!({ "index": i, "score": wide(scores[i].0), "tokens": scores[i].1, "text": texts[i] });
        let results: Vec<_> = order.iter().map(item).collect();
        return out::json(&json!({ "model": loaded.name, "query": query, "results": results }));
    }
    let row = |&i: &usize| vec![format!("{:.4}", scores[i].0), short(&texts[i], 100)];
    let rows: Vec<Vec<String>> = order.iter().map(row).collect();
    out::answer(&out::table(&rows))
}

/// The normalised vector of every text.
fn vectors<'a>(
    loaded: &mut Loaded,
    texts: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Vec<Numbers>> {
    let engine = loaded.model.engine();
    let requests = texts.map(|text| engine.embed_request(text)).collect();
    compute(loaded, requests)
}

/// The numbers of every request, in order; a few requests wait while others are computed.
fn compute(loaded: &mut Loaded, requests: Vec<EmbedRequest>) -> anyhow::Result<Vec<Numbers>> {
    let engine = loaded.model.engine();
    let most = engine.plan().options.max_waiting as usize;
    let count = requests.len();
    let mut ids: HashMap<RequestId, usize> = HashMap::new();
    let mut found: Vec<Option<Numbers>> = (0..count).map(|_| None).collect();
    let mut requests = requests.into_iter().enumerate().peekable();
    while requests.peek().is_some() || !engine.is_idle() {
        while ids.len() < most
            && let Some((index, request)) = requests.next()
        {
            let id = engine
                .submit_embed(request, Duration::ZERO)
                .with_context(|| format!("text {} of {count}", index + 1))?;
            ids.insert(id, index);
        }
        for event in engine.step(Duration::ZERO) {
            match event {
                Event::Embedded { request, values } => {
                    if let Some(&index) = ids.get(&request) {
                        found[index] = Some(Numbers { values, tokens: 0 });
                    }
                }
                Event::Finished {
                    request,
                    reason,
                    usage,
                    ..
                } => match ids.remove(&request).and_then(|i| found[i].as_mut()) {
                    Some(numbers) if reason == FinishReason::Embedded => {
                        numbers.tokens = usage.prompt_tokens;
                    }
                    _ => match reason {
                        FinishReason::Unreadable(why) | FinishReason::Failed(why) => {
                            anyhow::bail!("{why}")
                        }
                        other => anyhow::bail!("a text ended early: {other:?}"),
                    },
                },
                Event::Token { .. } => {}
            }
        }
    }
    found
        .into_iter()
        .collect::<Option<_>>()
        .context("a text gave no numbers")
}

/// The number that prints as shortly in f64 as `x` does in f32.
fn wide(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

/// The sum of products: the cosine of two vectors of length 1.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum::<f64>() as f32
}

/// A table of all pairs, or a list of them where that would be too wide.
fn similarities(texts: &[String], found: &[Numbers]) -> String {
    let cosine = |i: usize, j: usize| format!("{:.4}", dot(&found[i].values, &found[j].values));
    let all = 0..found.len();
    if found.len() > WIDEST_TABLE {
        let pairs = all
            .clone()
            .flat_map(|i| (i + 1..found.len()).map(move |j| (i, j)));
        let row = |(i, j)| vec![format!("{}", i + 1), format!("{}", j + 1), cosine(i, j)];
        return out::table(&pairs.map(row).collect::<Vec<_>>());
    }
    let mut rows = Vec::new();
    for i in all.clone() {
        let mut row = vec![format!("{}", i + 1)];
        row.extend(all.clone().map(|j| cosine(i, j)));
        row.push(short(&texts[i], 60));
        rows.push(row);
    }
    out::table(&rows)
}

/// The beginning of a text, on one line.
fn short(text: &str, most: usize) -> String {
    let line = out::plain(text);
    if line.chars().count() <= most {
        return line;
    }
    let begin: String = line.chars().take(most - 1).collect();
    format!("{begin}…")
}

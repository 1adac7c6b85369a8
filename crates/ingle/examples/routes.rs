//! Which experts a model chooses: one line a pass, for `policies` of the crate `ingle-tensor`.
//!
//! `cargo run --release --example routes -- MODEL.gguf ROWS PASSES TOKENS > trace.txt`: TOKENS is `greedy` or
//! `sampled` (the model's own, at temperature 1; ROWS is 1 then), `spread` (tokens that mean nothing, spread over
//! the vocabulary) or the path of a text, of which each pass takes ROWS tokens.
//!
//! The first line says how many layers with experts there are, experts of a layer, and experts a row. Each other
//! one holds a pass: the rows, then for each layer the experts that any of them used.

use ingle::formats::vocabulary::{Encode, Vocabulary};
use ingle::tensor::cpu::Cpu;
use ingle::tensor::importance::Recorder;
use ingle::tensor::kernel::Isa;
use ingle::tensor::ops::{Batch, Item, Ops, PAGE_LEN, PageId, Row};
use ingle::tensor::team::Team;
use ingle::{KvType, ModelFiles, TokenId};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Where the tokens come from.
enum Tokens {
    Greedy,
    Sampled,
    Given(Vec<TokenId>),
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows, passes, tokens] = &args[..] else {
        return Err("give MODEL.gguf ROWS PASSES TOKENS".into());
    };
    let (rows, passes): (usize, usize) = (rows.parse()?, passes.parse()?);
    let files = ModelFiles::open(model)?;
    let n_vocab = Vocabulary::from_metadata(files.metadata())?.len();
    let tokens = match tokens.as_str() {
        "greedy" => Tokens::Greedy,
        "sampled" => Tokens::Sampled,
        "spread" => Tokens::Given(spread(rows * passes, n_vocab)),
        path => Tokens::Given(text(&files, path, rows * passes)?),
    };
    if rows != 1 && !matches!(tokens, Tokens::Given(_)) {
        return Err("a model writes one token a pass: give ROWS as 1".into());
    }
    let recorder = Recorder::new();
    let threads = std::thread::available_parallelism()?.get();
    let cpu = Cpu::new(Isa::best(), Arc::new(Team::new(threads))).ok_or("no kernels")?;
    run(
        &files,
        cpu.recording(recorder.clone()),
        &recorder,
        [rows, passes],
        &tokens,
    )
}

fn run(
    files: &ModelFiles,
    mut ops: Cpu,
    recorder: &Recorder,
    [rows, passes]: [usize; 2],
    tokens: &Tokens,
) -> Outcome<()> {
    let context = u32::try_from(rows * passes)?;
    let mut network =
        ingle::networks::load(files.metadata(), files, &ops, rows, context, &mut |_| {})?;
    let n_pages = (rows * passes).div_ceil(PAGE_LEN);
    let mut memory = ops.memory(&network.layers(), KvType::F16, n_pages);
    let pages: Vec<PageId> = (0..n_pages).map(|i| PageId(i as u32)).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut before, mut logits, mut last) = (BTreeMap::new(), Vec::new(), TokenId(1));
    for pass in 0..passes {
        let batch: Vec<Row> = (pass * rows..(pass + 1) * rows)
            .map(|i| Row {
                item: Item::Token(match tokens {
                    Tokens::Given(given) => given[i % given.len().max(1)],
                    _ => last,
                }),
                position: i as u32,
                sequence: 0,
            })
            .collect();
        let batch = Batch {
            rows: &batch,
            sequences: &[&pages],
            outputs: &[rows as u32 - 1],
            hidden: false,
        };
        network.forward(&mut ops, &mut memory, &batch, &mut logits)?;
        last = choose(&logits, matches!(tokens, Tokens::Sampled), pass as u64);
        let now = counts(recorder);
        if pass == 0 {
            let experts = now.values().next().map_or(0, Vec::len);
            let used = now.values().flatten().sum::<u64>() as usize;
            writeln!(out, "{} {experts} {}", now.len(), used / rows / now.len())?;
        }
        write!(out, "{rows}")?;
        for (layer, counts) in &now {
            write!(out, " {}", used(before.get(layer), counts))?;
        }
        writeln!(out)?;
        before = now;
    }
    Ok(out.flush()?)
}

/// Rows that each expert of each layer has computed so far.
fn counts(recorder: &Recorder) -> BTreeMap<u32, Vec<u64>> {
    let collected = recorder.collected();
    let of = |name: &str| {
        let layer = name.strip_prefix("blk.")?;
        let layer = layer.strip_suffix(".ffn_down_exps.weight")?;
        layer.parse::<u32>().ok()
    };
    let layers = collected.iter().filter_map(|(name, sums)| {
        let layer = of(name)?;
        Some((layer, sums.counts().to_vec()))
    });
    layers.collect()
}

/// The experts whose counts have grown, between commas.
fn used(before: Option<&Vec<u64>>, now: &[u64]) -> String {
    let before = |i: usize| before.map_or(0, |counts| counts[i]);
    let grown = now.iter().enumerate().filter(|(i, n)| **n > before(*i));
    let names: Vec<String> = grown.map(|(i, _)| i.to_string()).collect();
    names.join(",")
}

/// Tokens as `ingle bench` takes them.
fn spread(n: usize, n_vocab: usize) -> Vec<TokenId> {
    (0..n)
        .map(|i| TokenId((i * 7919 % n_vocab) as u32))
        .collect()
}

fn text(files: &ModelFiles, path: &str, n: usize) -> Outcome<Vec<TokenId>> {
    let vocabulary = Vocabulary::from_metadata(files.metadata())?;
    let options = Encode {
        add_special: false,
        parse_special: false,
    };
    let mut tokens = vocabulary.encode(&std::fs::read_to_string(path)?, options);
    tokens.truncate(n);
    match tokens.len() < n {
        true => Err(format!("the text has {} tokens, and {n} are wanted", tokens.len()).into()),
        false => Ok(tokens),
    }
}

/// The likeliest token, or one drawn at temperature 1 (the Gumbel way, with noise of a counter).
fn choose(logits: &[f32], draw: bool, pass: u64) -> TokenId {
    let noisy = |(i, logit): (usize, &f32)| {
        let mut bits = (pass << 32 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = ((bits >> 40) as f32 + 0.5) / (1 << 24) as f32;
        let noise = if draw { -(-uniform.ln()).ln() } else { 0.0 };
        (i, logit + noise)
    };
    let best = logits.iter().enumerate().map(noisy);
    let best = best.max_by(|(_, a), (_, b)| a.total_cmp(b));
    TokenId(best.map_or(0, |(i, _)| i as u32))
}

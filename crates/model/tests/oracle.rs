//! Every network against Hugging Face transformers, on the tiny models of `goldens/make.py`:
//! logits of every position, over a prompt longer than one batch, cut at awkward places.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_model::{ARCHITECTURES, Network, load};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PAGE_LEN, PageId, Row};
use ingle_tensor::reference::Reference;
use ingle_tensor::team::Team;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of the largest batch: every prompt takes at least two.
const MAX_ROWS: usize = 100;

/// Logits deviate by 1.3 to 2.1, and both sides add F32 in different orders: 2.4e-5 was seen.
const TOLERANCE: f32 = 1e-4;

/// The same with keys and values rounded to F16, as a cache keeps them: 1.7e-2 was seen.
const TOLERANCE_F16: f32 = 3e-2;

/// Lengths of batches, repeated: one by one, around the length of a page, odd ones.
const CUTS: &[&[usize]] = &[
    &[MAX_ROWS],
    &[1],
    &[PAGE_LEN - 1, 1, 2],
    &[PAGE_LEN + 1],
    &[1, PAGE_LEN, 31],
    &[3, 17, 8, 16, 7, 1],
];

struct Golden {
    name: String,
    arch: String,
    vocab: usize,
    /// Positions to load the network for.
    context: u32,
    tokens: Vec<TokenId>,
    /// What transformers says next, choosing the likeliest.
    greedy: Vec<TokenId>,
    /// `[tokens, vocab]`
    logits: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn goldens() -> Vec<Golden> {
    let text = std::fs::read_to_string(folder().join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let golden = |case: &Value| {
        let string = |key: &str| case[key].as_str().unwrap().to_owned();
        let tokens = |key: &str| -> Vec<TokenId> {
            let ids = case[key].as_array().unwrap().iter();
            ids.map(|id| TokenId(id.as_u64().unwrap() as u32)).collect()
        };
        let name = string("name");
        let bytes = std::fs::read(folder().join(format!("{name}.logits"))).unwrap();
        let (numbers, rest) = bytes.as_chunks::<4>();
        let golden = Golden {
            arch: string("arch"),
            vocab: case["vocab"].as_u64().unwrap() as usize,
            context: case["context"].as_u64().unwrap() as u32,
            tokens: tokens("tokens"),
            greedy: tokens("greedy"),
            logits: numbers.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            name,
        };
        assert!(rest.is_empty() && golden.tokens.len() > MAX_ROWS);
        assert_eq!(golden.logits.len(), golden.tokens.len() * golden.vocab);
        golden
    };
    cases.iter().map(golden).collect()
}

/// A network and the memory of one sequence.
struct Loaded<O: Ops> {
    ops: O,
    network: Box<dyn Network<O>>,
    memory: O::Memory,
    pages: Vec<PageId>,
}

impl<O: Ops + 'static> Loaded<O> {
    fn new(golden: &Golden, ops: O, kv: KvType) -> Self {
        let path = folder().join(format!("{}.gguf", golden.name));
        let (metadata, source) = support::open(&path).unwrap();
        let network = load(
            &metadata,
            &source,
            &ops,
            MAX_ROWS,
            golden.context,
            &mut |_| {},
        )
        .unwrap();
        let len = golden.tokens.len() + golden.greedy.len();
        let n_pages = len.div_ceil(PAGE_LEN);
        Self {
            memory: ops.memory(&network.layers(), kv, n_pages),
            ops,
            network,
            pages: (0..n_pages as u32).rev().map(PageId).collect(),
        }
    }

    /// Logits of all `tokens`, the first of which is at position `start`.
    fn forward(&mut self, tokens: &[TokenId], start: usize) -> Vec<f32> {
        let row = |(i, &token)| Row {
            item: Item::Token(token),
            position: (start + i) as u32,
            sequence: 0,
        };
        let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
        let outputs: Vec<u32> = (0..rows.len() as u32).collect();
        let batch = Batch {
            rows: &rows,
            sequences: &[&self.pages],
            outputs: &outputs,
            hidden: false,
        };
        let mut logits = Vec::new();
        self.network
            .forward(&mut self.ops, &mut self.memory, &batch, &mut logits)
            .unwrap();
        logits
    }

    /// Logits of every position of `tokens`, in batches of the lengths of `cut`, repeated.
    fn all_logits(&mut self, tokens: &[TokenId], cut: &[usize]) -> Vec<f32> {
        let (mut logits, mut start) = (Vec::new(), 0);
        for len in cut.iter().cycle() {
            let end = (start + len).min(tokens.len());
            logits.extend(self.forward(&tokens[start..end], start));
            start = end;
            if start == tokens.len() {
                break;
            }
        }
        logits
    }
}

fn assert_near(what: &str, golden: &Golden, logits: &[f32], tolerance: f32) {
    assert_eq!(logits.len(), golden.logits.len(), "{what}");
    for (i, (&found, &expected)) in logits.iter().zip(&golden.logits).enumerate() {
        let (position, token) = (i / golden.vocab, i % golden.vocab);
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: {found} at position {position}, token {token}, where transformers gives {expected}"
        );
    }
}

fn check<O: Ops + 'static>(on: &str, kv: KvType, tolerance: f32, ops: impl Fn() -> O) {
    for golden in goldens() {
        let mut model = Loaded::new(&golden, ops(), kv);
        for cut in CUTS {
            let logits = model.all_logits(&golden.tokens, cut);
            let what = format!("{} on {on}, {kv:?}, batches of {cut:?}", golden.name);
            assert_near(&what, &golden, &logits, tolerance);
        }
    }
}

fn leaves() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

fn cpu(isa: Isa) -> Cpu {
    Cpu::new(isa, Arc::new(Team::new(2))).unwrap()
}

#[test]
fn every_architecture_has_a_golden() {
    let goldens = goldens();
    let has = |arch: &&&str| goldens.iter().any(|golden| golden.arch == **arch);
    let without: Vec<_> = ARCHITECTURES.iter().filter(|arch| !has(arch)).collect();
    // Files of Mistral models say `llama`; the name `mistral` is read the same way. Encoders have
    // goldens of their own, which the engine's tests read.
    let encoders = std::fs::read_to_string(folder().join("encoders.json")).unwrap();
    let others = without
        .iter()
        .filter(|arch| !encoders.contains(&format!("\"arch\": \"{arch}\"")));
    assert_eq!(others.collect::<Vec<_>>(), [&&"mistral"]);
}

#[test]
fn plain_operations_give_the_logits_of_transformers() {
    check("the reference", KvType::F32, TOLERANCE, || Reference);
}

#[test]
fn every_leaf_gives_the_logits_of_transformers() {
    for isa in leaves() {
        check(isa.name(), KvType::F32, TOLERANCE, || cpu(isa));
    }
}

#[test]
fn a_cache_of_f16_stays_near_the_logits_of_transformers() {
    let isa = leaves().last().unwrap(); // they all have the same bits
    check(isa.name(), KvType::F16, TOLERANCE_F16, || cpu(isa));
}

#[test]
fn the_likeliest_tokens_are_those_of_transformers() {
    for golden in goldens() {
        let mut model = Loaded::new(&golden, cpu(Isa::Scalar), KvType::F32);
        let logits = model.all_logits(&golden.tokens, &[MAX_ROWS]);
        let mut last = logits[logits.len() - golden.vocab..].to_vec();
        let mut said = Vec::new();
        for i in 0..golden.greedy.len() {
            let best = last.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            said.push(TokenId(best.unwrap().0 as u32));
            last = model.forward(&said[i..], golden.tokens.len() + i);
        }
        assert_eq!(said, golden.greedy, "{}", golden.name);
    }
}

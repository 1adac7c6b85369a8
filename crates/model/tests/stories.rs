//! A real trained model: stories260K, whose greedy text and perplexity are known.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Decode, Encode, Vocabulary};
use ingle_model::{Network, load};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PageId, Row};
use ingle_tensor::team::Team;
use std::sync::Arc;

struct Loaded {
    ops: Cpu,
    network: Box<dyn Network<Cpu>>,
    memory: <Cpu as Ops>::Memory,
    vocabulary: Vocabulary,
    pages: Vec<PageId>,
}

fn stories(isa: Isa) -> Option<Loaded> {
    let path = support::shared().join("data/models/stories260K/stories260K.gguf");
    let Some((metadata, source)) = support::open(&path) else {
        println!("skipped: stories260K.gguf is not in the folder of shared data");
        return None;
    };
    let ops = Cpu::new(isa, Arc::new(Team::new(1))).unwrap();
    let network = load(&metadata, &source, &ops, 512, 512, &mut |_| {}).unwrap();
    Some(Loaded {
        memory: ops.memory(&network.layers(), KvType::F32, 8),
        ops,
        network,
        vocabulary: Vocabulary::from_metadata(&metadata).unwrap(),
        pages: (0..8).map(PageId).collect(),
    })
}

impl Loaded {
    /// Logits of `tokens`, the first of which is at `start`: of all, or of the last.
    fn forward(&mut self, tokens: &[u32], start: usize, all: bool) -> Vec<f32> {
        let row = |(i, &token): (usize, &u32)| Row {
            item: Item::Token(TokenId(token)),
            position: (start + i) as u32,
            sequence: 0,
        };
        let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
        let first = if all { 0 } else { rows.len() as u32 - 1 };
        let outputs: Vec<u32> = (first..rows.len() as u32).collect();
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
}

fn largest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0 as u32
}

#[test]
fn greedy_text_is_the_golden_one() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let Some(mut m) = stories(isa) else { return };
        let mut tokens = vec![1_u32];
        while tokens.len() <= 200 {
            let at = tokens.len() - 1;
            let logits = m.forward(&tokens[at..], at, false);
            tokens.push(largest(&logits));
        }
        let tokens: Vec<TokenId> = tokens.into_iter().map(TokenId).collect();
        let decode = Decode {
            start_of_text: true,
            ..Decode::default()
        };
        let text = m.vocabulary.decode(&tokens, decode);
        let golden = support::shared().join("data/models/stories260K/GOLDEN.md");
        let golden = std::fs::read_to_string(golden).unwrap();
        let start = golden.find("\nOnce upon a time,").unwrap() + 1;
        let end = golden.find("\n\nOver the first").unwrap();
        assert_eq!(text, golden[start..end], "{isa}");
    }
}

/// Minus log-probabilities of the tokens behind the first, summed.
fn nats(m: &mut Loaded, tokens: &[u32]) -> f64 {
    let logits = m.forward(tokens, 0, true);
    let rows = logits.chunks(m.vocabulary.len());
    let surprise = |(row, &next): (&[f32], &u32)| {
        let max = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
        let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
        max + sum.ln() - f64::from(row[next as usize])
    };
    rows.zip(&tokens[1..]).map(surprise).sum()
}

#[test]
fn perplexity_is_the_golden_one() {
    let Some(mut m) = stories(Isa::best()) else {
        return;
    };
    let path = support::shared().join("data/corpora/tinystories_1000.json");
    let Ok(json) = std::fs::read_to_string(path) else {
        println!("skipped: tinystories_1000.json is not in the folder of shared data");
        return;
    };
    let texts: Vec<String> = serde_json::from_str(&json).unwrap();
    let (mut sum, mut n) = (0.0, 0);
    for text in &texts[..20] {
        let encode = Encode {
            add_special: true,
            parse_special: false,
        };
        let mut tokens = m.vocabulary.encode(text.trim(), encode);
        tokens.truncate(512);
        let tokens: Vec<u32> = tokens.into_iter().map(|t| t.0).collect();
        sum += nats(&mut m, &tokens);
        n += tokens.len() - 1;
    }
    assert_eq!(n, 6560);
    let mean = sum / f64::from(n as u32);
    assert!((mean - 1.3344).abs() < 1e-4, "{mean} nats a token");
}

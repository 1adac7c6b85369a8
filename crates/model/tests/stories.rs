//! A real trained model: stories260K, whose greedy text and perplexity are known.

mod support;

use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
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
    metadata: Metadata,
    pages: Vec<PageId>,
}

fn stories(isa: Isa) -> Option<Loaded> {
    let path = support::shared().join("data/models/stories260K/stories260K.gguf");
    let Some((metadata, source)) = support::open(&path) else {
        println!("skipped: stories260K.gguf is not in the folder of shared data");
        return None;
    };
    let ops = Cpu::new(isa, Arc::new(Team::new(1))).unwrap();
    let network = load(&metadata, &source, &ops, 512, &mut |_| {}).unwrap();
    Some(Loaded {
        memory: ops.memory(&network.layers(), KvType::F32, 8),
        ops,
        network,
        metadata,
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
        };
        let mut logits = Vec::new();
        self.network
            .forward(&mut self.ops, &mut self.memory, &batch, &mut logits);
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
        let pieces = m.metadata.require_strings("tokenizer.ggml.tokens").unwrap();
        let piece = |&t: &u32| pieces.get(t as usize).unwrap().to_owned();
        let text: String = tokens[1..].iter().map(piece).collect();
        let text = text.replace('\u{2581}', " ").replace("<0x0A>", "\n");
        let golden = support::shared().join("data/models/stories260K/GOLDEN.md");
        let golden = std::fs::read_to_string(golden).unwrap();
        let start = golden.find("\nOnce upon a time,").unwrap() + 1;
        let end = golden.find("\n\nOver the first").unwrap();
        assert_eq!(text.trim(), golden[start..end].trim(), "{isa}");
    }
}

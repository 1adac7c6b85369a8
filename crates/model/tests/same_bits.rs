//! A row computed alone, in chunks of any size, or beside other sequences has the same bits.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_model::{ARCHITECTURES, Network, load};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PAGE_LEN, PageId, Row};
use ingle_tensor::reference::Reference;
use ingle_tensor::team::Team;
use std::sync::Arc;
use support::{Model, N_VOCAB, Rng};

const MAX_ROWS: usize = 512;

/// A network with memory for `n_pages` pages.
struct Loaded<O: Ops> {
    ops: O,
    network: Box<dyn Network<O>>,
    memory: O::Memory,
}

fn loaded<O: Ops + 'static>(model: &Model, ops: O, kv: KvType, n_pages: usize) -> Loaded<O> {
    let (metadata, source) = model.build();
    let network = load(&metadata, &source, &ops, MAX_ROWS, 512, &mut |_| {}).unwrap();
    let memory = ops.memory(&network.layers(), kv, n_pages);
    Loaded {
        ops,
        network,
        memory,
    }
}

fn tokens(seed: u64, n: usize) -> Vec<TokenId> {
    let mut rng = Rng(seed * 2 + 1);
    (0..n)
        .map(|_| TokenId(rng.next_u32() % N_VOCAB as u32))
        .collect()
}

fn pages(n: usize, first: u32) -> Vec<PageId> {
    // Backwards, so that pages do not lie in the order of positions.
    let n = n.div_ceil(PAGE_LEN) as u32;
    (0..n).rev().map(|i| PageId(first + i)).collect()
}

/// The bits of the logits of every position, computed in chunks of these lengths, repeated.
fn alone<O: Ops>(m: &mut Loaded<O>, tokens: &[TokenId], chunks: &[usize]) -> Vec<u32> {
    let pages = pages(tokens.len(), 0);
    let (mut all, mut logits, mut start) = (Vec::new(), Vec::new(), 0);
    for &chunk in chunks.iter().cycle() {
        let end = (start + chunk).min(tokens.len());
        let row = |i: usize| Row {
            item: Item::Token(tokens[i]),
            position: i as u32,
            sequence: 0,
        };
        let rows: Vec<Row> = (start..end).map(row).collect();
        let outputs: Vec<u32> = (0..rows.len() as u32).collect();
        let batch = Batch {
            rows: &rows,
            sequences: &[&pages],
            outputs: &outputs,
            hidden: false,
        };
        m.network
            .forward(&mut m.ops, &mut m.memory, &batch, &mut logits)
            .unwrap();
        all.extend(logits.iter().map(|x| x.to_bits()));
        start = end;
        if start == tokens.len() {
            return all;
        }
    }
    unreachable!("the chunks are repeated")
}

/// The bits of the last position's logits of each sequence, all computed together, some rows of
/// each at a time.
fn together<O: Ops>(m: &mut Loaded<O>, sequences: &[Vec<TokenId>]) -> Vec<Vec<u32>> {
    let mut first = 0;
    let mut tables = Vec::new();
    for sequence in sequences {
        let table = pages(sequence.len(), first);
        first += table.len() as u32;
        tables.push(table);
    }
    let tables: Vec<&[PageId]> = tables.iter().map(Vec::as_slice).collect();
    let mut computed = vec![0; sequences.len()];
    let mut answers = vec![Vec::new(); sequences.len()];
    while computed.iter().zip(sequences).any(|(&c, s)| c < s.len()) {
        let (mut rows, mut outputs, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (i, sequence) in sequences.iter().enumerate() {
            let n = (1 + (i * 5 + computed[i]) % 13).min(sequence.len() - computed[i]);
            let some = sequence.iter().enumerate().skip(computed[i]).take(n);
            for (position, &token) in some {
                rows.push(Row {
                    item: Item::Token(token),
                    position: position as u32,
                    sequence: i as u32,
                });
            }
            computed[i] += n;
            if n > 0 && computed[i] == sequence.len() {
                outputs.push(rows.len() as u32 - 1);
                ended.push(i);
            }
        }
        let batch = Batch {
            rows: &rows,
            sequences: &tables,
            outputs: &outputs,
            hidden: false,
        };
        let mut logits = Vec::new();
        m.network
            .forward(&mut m.ops, &mut m.memory, &batch, &mut logits)
            .unwrap();
        for (i, logits) in ended.into_iter().zip(logits.chunks(N_VOCAB as usize)) {
            answers[i] = logits.iter().map(|x| x.to_bits()).collect();
        }
    }
    answers
}

/// Checks every batching of one model; answers the logits of all positions of a text.
fn check<O: Ops + 'static>(arch: &str, kv: KvType, ops: O, chunkings: &[&[usize]]) -> Vec<u32> {
    let mut model = match arch {
        "mixtral" => Model::mixtral(true),
        _ => Model::random(arch),
    };
    let arch = if arch == "mixtral" { "llama" } else { arch };
    model.set(&format!("{arch}.attention.sliding_window"), 70_u32);
    model.set(
        &format!("{arch}.attention.sliding_window_pattern"),
        vec![true, false, true],
    );
    let mut m = loaded(&model, ops, kv, 96);
    let text = tokens(1, 150);
    let whole = alone(&mut m, &text, &[512]);
    for chunks in chunkings {
        let part = alone(&mut m, &text, chunks);
        assert!(part == whole, "{arch} {kv:?}: chunks of {chunks:?} differ");
    }
    let lengths = (0..32).map(|i| 1 + i * 29 % 150);
    let mut others: Vec<_> = lengths.map(|n| tokens(n as u64 + 7, n)).collect();
    others[13] = text;
    let n = N_VOCAB as usize;
    assert!(
        together(&mut m, &others)[13] == whole[149 * n..],
        "{arch} {kv:?}: 31 other sequences make a difference"
    );
    whole
}

#[test]
fn any_batch_and_any_threads_give_the_same_bits() {
    let cpu = |isa, threads| Cpu::new(isa, Arc::new(Team::new(threads))).unwrap();
    let all: &[&[usize]] = &[&[1], &[7], &[64], &[63, 1, 65], &[1, 140, 2]];
    // Encoders read a text in one batch: nothing to cut.
    let decoders = ARCHITECTURES.iter().filter(|a| !a.ends_with("bert"));
    for arch in decoders.chain(&["mixtral"]) {
        // Leaves and how keys are stored are no business of the network's: all of them for a few,
        // which use every operation, are enough.
        let all_ways = ["llama", "qwen3moe", "gemma2"].contains(arch);
        for kv in [KvType::F16, KvType::F32]
            .into_iter()
            .take(1 + usize::from(all_ways))
        {
            let expected = all_ways.then(|| check(arch, kv, Reference, &all[1..3]));
            let available = Isa::ALL.into_iter().filter(|isa| isa.is_available());
            for isa in available.filter(|&isa| all_ways || isa == Isa::best()) {
                let one = check(arch, kv, cpu(isa, 1), all);
                for (&a, &b) in one.iter().zip(expected.iter().flatten()) {
                    let (a, b) = (f32::from_bits(a), f32::from_bits(b));
                    assert!(
                        (a - b).abs() < 2e-3,
                        "{arch} {kv:?} {isa}: {a} where the reference gives {b}"
                    );
                }
                // Every operation is in these two; more threads than cores are slow to test.
                if kv == KvType::F16 && ["qwen2", "qwen3moe", "gemma2"].contains(arch) {
                    for threads in [2, 3] {
                        let more = check(arch, kv, cpu(isa, threads), &[&[63, 1, 65]]);
                        assert!(more == one, "{arch} {isa}: {threads} threads differ");
                    }
                }
            }
        }
    }
}

//! Attention: the plain one within a tolerance, and the same bits on every leaf, with any number of
//! threads, however a sequence is cut, and beside any neighbours.
#![allow(clippy::unwrap_used, reason = "tests")]

use ingle_formats::TensorType;
use ingle_formats::TokenId;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{
    Attention, Batch, Item, KvType, Linear, Ops, PAGE_LEN, PageId, PagedLayer, Row,
};
use ingle_tensor::reference::Reference;
use ingle_tensor::team::Team;
use ingle_tensor::{MemorySource, WeightSource};
use std::sync::Arc;

/// Items of the table from which queries, keys and values are taken.
const ITEMS: usize = 61;

#[derive(Clone, Copy, Debug)]
struct Case {
    head_dim: usize,
    n_kv: usize,
    group: usize,
    window: Option<u32>,
    soft_cap: Option<f32>,
    causal: bool,
    kv: KvType,
}

const PLAIN: Case = Case {
    head_dim: 64,
    n_kv: 2,
    group: 2,
    window: None,
    soft_cap: None,
    causal: true,
    kv: KvType::F16,
};

/// Numbers of very different sizes, as keys have them: some elements of each head are large.
fn source(case: &Case) -> MemorySource {
    let mut state = 11u64;
    let mut number = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f32 / (1u64 << 30) as f32 - 1.0
    };
    let mut table = |name: &str, heads: usize| {
        let width = heads * case.head_dim;
        let mut bytes = Vec::new();
        for i in 0..ITEMS * width {
            let large = if i % case.head_dim % 17 == 3 {
                4.0
            } else {
                1.0
            };
            bytes.extend((number() * large).to_le_bytes());
        }
        let shape = vec![width as u64, ITEMS as u64];
        (name.to_owned(), shape, TensorType::F32, bytes)
    };
    let heads = case.n_kv * case.group;
    let tables = [
        table("q", heads),
        table("k", case.n_kv),
        table("v", case.n_kv),
    ];
    MemorySource::from_parts(tables).unwrap()
}

/// A step: for each of some sequences, the rows from a position up to another.
type Step<'a> = &'a [(usize, std::ops::Range<usize>)];

/// Runs steps; the outputs of each sequence, row by row.
fn run<O: Ops>(ops: &mut O, case: &Case, sequences: usize, steps: &[Step<'_>]) -> Vec<Vec<f32>> {
    let source = source(case);
    let source: &dyn WeightSource = &source;
    let (q_width, kv_width) = (
        case.n_kv * case.group * case.head_dim,
        case.n_kv * case.head_dim,
    );
    let load = |ops: &O, name, width| Linear::<O> {
        weight: ops.load_matrix(source, name, ITEMS, width).unwrap(),
        bias: None,
    };
    let (q_table, k_table, v_table) = (
        load(ops, "q", q_width),
        load(ops, "k", kv_width),
        load(ops, "v", kv_width),
    );
    let rows_of = |step: &Step<'_>| step.iter().map(|(_, r)| r.len()).sum::<usize>();
    let most = steps.iter().map(rows_of).max().unwrap();
    let longest = steps
        .iter()
        .flat_map(|s| s.iter())
        .map(|(_, r)| r.end)
        .max()
        .unwrap();
    let n_pages = longest.div_ceil(PAGE_LEN);
    let layer = PagedLayer {
        n_kv_heads: case.n_kv,
        head_dim: case.head_dim,
    };
    let mut memory = ops.memory(&[layer], case.kv, n_pages * sequences);
    // Pages in no order.
    let page =
        |s: usize, i: usize| PageId(((i * sequences + s) * 7 % (n_pages * sequences)) as u32);
    let coprime = !(n_pages * sequences).is_multiple_of(7);
    let page = |s, i| {
        if coprime {
            page(s, i)
        } else {
            PageId((i * sequences + s) as u32)
        }
    };
    let tables: Vec<Vec<PageId>> = (0..sequences)
        .map(|s| (0..n_pages).map(|i| page(s, i)).collect())
        .collect();
    let (mut q, mut k, mut v, mut out) = (
        ops.buf(most, q_width),
        ops.buf(most, kv_width),
        ops.buf(most, kv_width),
        ops.buf(most, q_width),
    );
    let spec = Attention {
        n_heads: case.n_kv * case.group,
        n_kv_heads: case.n_kv,
        head_dim: case.head_dim,
        scale: 1.0 / (case.head_dim as f32).sqrt(),
        soft_cap: case.soft_cap,
        window: case.window,
        causal: case.causal,
    };
    let mut outs = vec![Vec::new(); sequences];
    for step in steps {
        let mut rows = Vec::new();
        for (sequence, positions) in step.iter() {
            for position in positions.clone() {
                let item = Item::Token(TokenId(
                    ((position * 7 + position / 5 + sequence * 3) % ITEMS) as u32,
                ));
                rows.push(Row {
                    item,
                    position: position as u32,
                    sequence: *sequence as u32,
                });
            }
        }
        let tables: Vec<&[PageId]> = tables.iter().map(|t| &t[..]).collect();
        let batch = Batch {
            rows: &rows,
            sequences: &tables,
            outputs: &[],
            hidden: true,
        };
        ops.embed(&q_table.weight, &batch, &mut q).unwrap();
        ops.embed(&k_table.weight, &batch, &mut k).unwrap();
        ops.embed(&v_table.weight, &batch, &mut v).unwrap();
        ops.attention(&spec, 0, &mut memory, &q, &k, &v, &batch, &mut out);
        let mut numbers = Vec::new();
        ops.read(&out, 0..rows.len(), &mut numbers);
        for (row, numbers) in rows.iter().zip(numbers.chunks_exact(q_width)) {
            outs[row.sequence as usize].extend_from_slice(numbers);
        }
    }
    outs
}

fn cpu(isa: Isa, threads: usize) -> Option<Cpu> {
    let cpu = Cpu::new(isa, Arc::new(Team::new(threads)));
    if cpu.is_none() {
        println!("skipped: this machine has no {isa}");
    }
    cpu
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// The whole of a sequence at once, on one thread.
fn whole(isa: Isa, case: &Case, len: usize) -> Vec<f32> {
    run(&mut cpu(isa, 1).unwrap(), case, 1, &[&[(0, 0..len)]]).remove(0)
}

/// The largest difference to the plain operations allowed, of values of size 1 to 4.
fn tolerance(kv: KvType) -> f32 {
    match kv {
        KvType::F32 | KvType::F16 => 2e-5,
        // The reference does not round the query to 8 bits.
        KvType::Q8_0 | KvType::Q4_0 => 0.08,
    }
}

fn check_near(case: &Case, len: usize) {
    let expected = run(&mut Reference, case, 1, &[&[(0, 0..len)]]).remove(0);
    let found = whole(Isa::best(), case, len);
    let worst = expected
        .iter()
        .zip(&found)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst <= tolerance(case.kv), "{case:?}, {len}: {worst}");
}

fn check_leaves(case: &Case, len: usize) {
    let expected = bits(&whole(Isa::Scalar, case, len));
    for isa in Isa::ALL {
        for threads in [1, 3] {
            let Some(mut cpu) = cpu(isa, threads) else {
                continue;
            };
            let found = run(&mut cpu, case, 1, &[&[(0, 0..len)]]).remove(0);
            assert!(
                bits(&found) == expected,
                "{case:?}: {len} on {isa}, {threads} threads"
            );
        }
    }
}

#[test]
fn heads_of_every_size_and_group() {
    for (i, head_dim) in [64, 80, 96, 128, 192, 256, 512, 20, 8]
        .into_iter()
        .enumerate()
    {
        for kv in KvType::ALL {
            if !kv.holds(head_dim) {
                continue;
            }
            let case = Case {
                head_dim,
                kv,
                group: 1 + i % 8,
                ..PLAIN
            };
            check_near(&case, 70);
            check_leaves(&case, 70);
        }
    }
    for group in 1..=8 {
        for kv in KvType::ALL {
            let case = Case {
                group,
                kv,
                head_dim: 32,
                n_kv: 1,
                ..PLAIN
            };
            check_near(&case, 65);
            check_leaves(&case, 65);
        }
    }
}

#[test]
fn windows_caps_and_encoders() {
    for kv in KvType::ALL {
        for window in [None, Some(1), Some(63), Some(64), Some(65), Some(129)] {
            for soft_cap in [None, Some(1.5)] {
                for causal in [true, false] {
                    let case = Case {
                        head_dim: 32,
                        window,
                        soft_cap,
                        causal,
                        kv,
                        ..PLAIN
                    };
                    check_near(&case, 140);
                    check_leaves(&case, 140);
                }
            }
        }
    }
}

#[test]
fn lengths_around_the_ends_of_pages_and_chunks() {
    for kv in [KvType::F16, KvType::Q8_0] {
        for len in [1, 2, 63, 64, 65, 127, 128, 129, 511, 512, 513] {
            let case = Case {
                head_dim: 32,
                n_kv: 1,
                kv,
                ..PLAIN
            };
            check_near(&case, len);
        }
        let case = Case {
            head_dim: 32,
            n_kv: 1,
            kv,
            window: Some(600),
            ..PLAIN
        };
        check_near(&case, 1200);
        check_leaves(&case, 530);
    }
}

/// Steps of so many rows.
fn cut(len: usize, rows: usize) -> Vec<Vec<(usize, std::ops::Range<usize>)>> {
    let steps = (0..len).step_by(rows);
    steps
        .map(|start| vec![(0, start..(start + rows).min(len))])
        .collect()
}

fn steps(steps: &[Vec<(usize, std::ops::Range<usize>)>]) -> Vec<Step<'_>> {
    steps.iter().map(|s| &s[..]).collect()
}

#[test]
fn bits_do_not_depend_on_threads_or_cutting() {
    let isa = Isa::best();
    for kv in KvType::ALL {
        for (n_kv, group, window, len) in [
            (1, 4, None, 1100),
            (3, 2, None, 1040),
            (2, 1, Some(200), 1090),
            (8, 2, None, 600),
        ] {
            let case = Case {
                head_dim: 32,
                n_kv,
                group,
                window,
                kv,
                ..PLAIN
            };
            let expected = bits(&whole(isa, &case, len));
            for (threads, rows) in [
                (2, len),
                (5, len),
                (1, 333),
                (3, 64),
                (2, 7),
                (3, 1),
                (5, 17),
            ] {
                let Some(mut cpu) = cpu(isa, threads) else {
                    continue;
                };
                let found = run(&mut cpu, &case, 1, &steps(&cut(len, rows))).remove(0);
                assert!(
                    bits(&found) == expected,
                    "{case:?}: {threads} threads, {rows} rows"
                );
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_neighbours() {
    let isa = Isa::best();
    for kv in KvType::ALL {
        let case = Case {
            head_dim: 64,
            n_kv: 2,
            group: 3,
            kv,
            ..PLAIN
        };
        // Sequences of different lengths, at first together, then one row of each.
        let lengths = [700, 30, 513, 1, 64, 130, 600];
        let prompt: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(s, n)| (s, 0..*n))
            .collect();
        let next: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(s, n)| (s, *n..*n + 1))
            .collect();
        for threads in [1, 2, 3, 5] {
            let Some(mut together) = cpu(isa, threads) else {
                continue;
            };
            let found = run(&mut together, &case, lengths.len(), &[&prompt, &next]);
            for (s, len) in lengths.iter().enumerate() {
                // The items of a sequence depend on its number: the others have no rows here.
                let alone = [&[(s, 0..len + 1)][..]];
                let expected = run(&mut cpu(isa, 1).unwrap(), &case, lengths.len(), &alone);
                assert!(
                    bits(&found[s]) == bits(&expected[s]),
                    "{kv}: sequence {s}, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn pages_outside_the_window_need_not_be_there() {
    let case = Case {
        window: Some(100),
        ..PLAIN
    };
    let mut cpu = cpu(Isa::best(), 2).unwrap();
    let layer = PagedLayer {
        n_kv_heads: case.n_kv,
        head_dim: case.head_dim,
    };
    let mut memory = cpu.memory(&[layer], case.kv, 3);
    let gone = PageId(u32::MAX);
    let (width, kv_width) = (4 * 64, 2 * 64);
    let (q, k, v) = (
        cpu.buf(1, width),
        cpu.buf(1, kv_width),
        cpu.buf(1, kv_width),
    );
    let mut out = cpu.buf(1, width);
    let (mut q, mut k, mut v) = (q, k, v);
    let source = source(&case);
    let table = |name, width| cpu.load_matrix(&source, name, ITEMS, width).unwrap();
    let tables = [
        table("q", width),
        table("k", kv_width),
        table("v", kv_width),
    ];
    let mut table = vec![gone; 40];
    table[17..20].copy_from_slice(&[PageId(2), PageId(0), PageId(1)]);
    let spec = Attention {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        scale: 0.125,
        soft_cap: None,
        window: case.window,
        causal: true,
    };
    // Rows from the beginning of page 17 on: later ones see nothing before it.
    for position in 17 * PAGE_LEN..20 * PAGE_LEN {
        let rows = [Row {
            item: Item::Token(TokenId((position % ITEMS) as u32)),
            position: position as u32,
            sequence: 0,
        }];
        if position >= 18 * PAGE_LEN + 99 {
            table[17] = gone;
        }
        let batch = Batch {
            rows: &rows,
            sequences: &[&table],
            outputs: &[],
            hidden: true,
        };
        for (table, to) in tables.iter().zip([&mut q, &mut k, &mut v]) {
            cpu.embed(table, &batch, to).unwrap();
        }
        if position < 17 * PAGE_LEN + 100 {
            // It would see pages that are gone: only store its keys and values.
            let narrow = Attention {
                window: Some(1),
                ..spec
            };
            cpu.attention(&narrow, 0, &mut memory, &q, &k, &v, &batch, &mut out);
            continue;
        }
        cpu.attention(&spec, 0, &mut memory, &q, &k, &v, &batch, &mut out);
        let mut numbers = Vec::new();
        cpu.read(&out, 0..1, &mut numbers);
        assert!(
            numbers.iter().all(|x| x.is_finite() && x.abs() <= 4.0),
            "{position}"
        );
    }
}

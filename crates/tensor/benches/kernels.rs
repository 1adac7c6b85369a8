//! Each kernel by itself, on one thread, by the fastest leaf: `cargo bench -p ingle-tensor`.
//!
//! GB/s of weights with one column from memory, operations a second with 64 columns from the first cache (two an
//! element, "elem/s"), bytes a second of what works on rows, and what the machine can do at most beside them.
#![allow(missing_docs, reason = "the macros of criterion make functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark")]
#![allow(
    unsafe_code,
    reason = "kernels are called as the CPU implementation calls them"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingle_formats::{TensorType, TokenId};
use ingle_tensor::bandwidth::ReadProbe;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::matmul::{Column, PANEL};
use ingle_tensor::kernel::quantise::SUMS_256;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::ops::{Attention, Batch, Item, KvType, Ops, PAGE_LEN, PageId, PagedLayer, Row};
use ingle_tensor::pack::Layout;
use ingle_tensor::peak::{PeakProbe, Products};
use ingle_tensor::team::Team;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Elements of a row.
const K: usize = 4096;
/// Bytes of weights: larger than the caches.
const WEIGHTS: usize = 192 << 20;
const COLUMNS: usize = 64;

fn leaf() -> &'static Leaf {
    Leaf::new(Isa::best()).unwrap()
}

/// What the machine does at most.
fn limits(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    let team = Team::new(1);
    let reads = ReadProbe::new(Isa::best(), WEIGHTS).unwrap();
    group.throughput(Throughput::Bytes(reads.bytes() as u64));
    group.bench_function("read", |b| b.iter(|| reads.run(&team)));
    let peak = PeakProbe::new(Isa::best()).unwrap();
    for (name, products) in [("int8", Products::Int8), ("f32", Products::F32)] {
        group.throughput(Throughput::Elements(peak.run(&team, products, 16)));
        group.bench_function(name, |b| b.iter(|| peak.run(&team, products, 16)));
    }
}

/// Matrices, by storage type.
fn products(c: &mut Criterion) {
    let weights = vec![17u8; WEIGHTS];
    let (values, scales) = (vec![1u8; K * 4], vec![1.0f32; K / 32]);
    let sums = vec![1i16; K / 256 * SUMS_256 + K / 32];
    let mut out = vec![[0.0f32; PANEL]; COLUMNS];
    let columns: Vec<Column> = (out.iter_mut())
        .map(|out| Column {
            values: values.as_ptr(),
            scales: scales.as_ptr(),
            sums: sums.as_ptr(),
            out: out.as_mut_ptr(),
        })
        .collect();
    for ty in TensorType::ALL.iter().copied() {
        let Some(kernel) = leaf().matmul(ty) else {
            continue;
        };
        let size = Layout::new(ty).panel_bytes(K);
        let panels = WEIGHTS / size;
        let mut group = c.benchmark_group(ty.name());
        group.throughput(Throughput::Bytes(size as u64));
        let mut panel = 0;
        group.bench_function("1 column, memory", |b| {
            b.iter(|| {
                panel = (panel + 1) % panels;
                // SAFETY: the weights hold so many panels; columns have K values.
                unsafe { kernel(weights.as_ptr().add(panel * size), K, &columns[..1], 0) }
            });
        });
        group.throughput(Throughput::Elements((2 * K * PANEL * COLUMNS) as u64));
        group.bench_function("64 columns, cache", |b| {
            // SAFETY: as above.
            b.iter(|| unsafe { kernel(weights.as_ptr(), K, &columns, 0) });
        });
    }
}

/// What works on rows of activations.
fn rows(c: &mut Criterion) {
    let x: Vec<f32> = (0..K).map(|i| (i as f32 * 0.37).sin()).collect();
    let (ones, mut y, mut gate) = (vec![1.0; K], x.clone(), x.clone());
    let (mut q, mut scales) = (vec![0i8; K], vec![0.0; K / 32]);
    let mut sums = vec![0i16; K / 256 * SUMS_256 + K / 32];
    let leaf = leaf();
    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Bytes((4 * K) as u64));
    // SAFETY of all below: this machine has the leaf's instruction set, and lengths are those of one row.
    macro_rules! bench {
        ($name:literal, $call:expr) => {
            group.bench_function($name, |b| {
                b.iter(|| {
                    // SAFETY: above.
                    unsafe { $call };
                });
            });
        };
    }
    bench!(
        "quantise_32",
        (leaf.quantise_32)(black_box(&x), &mut q, &mut scales, &mut sums)
    );
    bench!(
        "quantise_256",
        (leaf.quantise_256)(black_box(&x), &mut q, &mut scales, &mut sums)
    );
    bench!(
        "rms_norm",
        (leaf.rms_norm)(black_box(&x), &ones, 1e-5, &mut y)
    );
    bench!("add", (leaf.add)(black_box(&mut y), &x));
    bench!("silu_mul", {
        gate.copy_from_slice(&x);
        (leaf.silu_mul)(black_box(&mut gate), &x)
    });
    bench!("gelu_tanh_mul", {
        gate.copy_from_slice(&x);
        (leaf.gelu_tanh_mul)(black_box(&mut gate), &x)
    });
    bench!(
        "rope_halves",
        (leaf.rope_halves)(black_box(&mut y), &ones[..K / 2], &x[..K / 2])
    );
}

/// Attention of 16 heads of 128 on 8 key heads: bytes of the cache that one row reads, and operations of many rows.
fn attention(c: &mut Criterion) {
    const DEPTH: usize = 4096;
    let (n_heads, n_kv_heads, head_dim) = (16, 8, 128);
    let layer = PagedLayer {
        n_kv_heads,
        head_dim,
    };
    let pages: Vec<PageId> = (0..DEPTH.div_ceil(PAGE_LEN) as u32).map(PageId).collect();
    let spec = Attention {
        n_heads,
        n_kv_heads,
        head_dim,
        scale: 0.1,
        soft_cap: None,
        window: None,
        causal: true,
    };
    for kv in KvType::ALL {
        let mut group = c.benchmark_group(format!("attention {}", kv.name()));
        for n in [1, 64] {
            let mut ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
            let mut memory = ops.memory(&[layer], kv, pages.len());
            let rows: Vec<Row> = (DEPTH - n..DEPTH)
                .map(|position| Row {
                    item: Item::Token(TokenId(0)),
                    position: position as u32,
                    sequence: 0,
                })
                .collect();
            let batch = Batch {
                rows: &rows,
                sequences: &[&pages],
                outputs: &[],
                hidden: true,
            };
            let (q, k, v) = (
                ops.buf(n, n_heads * head_dim),
                ops.buf(n, n_kv_heads * head_dim),
                ops.buf(n, n_kv_heads * head_dim),
            );
            let mut out = ops.buf(n, n_heads * head_dim);
            group.throughput(match n {
                1 => Throughput::Bytes((DEPTH * layer.row_bytes(kv)) as u64),
                _ => Throughput::Elements((4 * n * DEPTH * n_heads * head_dim) as u64),
            });
            group.bench_function(format!("{n} rows at depth {DEPTH}"), |b| {
                b.iter(|| ops.attention(&spec, 0, &mut memory, &q, &k, &v, &batch, &mut out));
            });
        }
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300))
        .without_plots()
}

criterion_group! { name = benches; config = quick(); targets = limits, rows, attention, products }
criterion_main!(benches);

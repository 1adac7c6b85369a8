//! The operations on the CPU against the plain ones, and against themselves: the same bits on every
//! leaf, with any number of threads, and however a sequence is cut into batches.
#![allow(clippy::unwrap_used, reason = "tests")]

use ingle_formats::gguf::TensorInfo;
use ingle_formats::{TensorType, TokenId};
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::choice::Choice;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::ops::{
    Activation, Attention, Batch, ExpertStack, ExpertTensors, Item, KvType, Linear, Ops, PAGE_LEN,
    PageId, PagedLayer, Rope, RopePairs, Routing, Row,
};
use ingle_tensor::reference::Reference;
use ingle_tensor::team::Team;
use ingle_tensor::{MemorySource, WeightSource, quant};
use std::sync::Arc;

const WIDTH: usize = 96;
const VOCAB: usize = 37;
const FFN: usize = 64;
const N_EXPERTS: usize = 5;

fn number(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    (*state >> 33) as f32 / (1u64 << 30) as f32 - 1.0
}

/// The weights of a small network that uses every operation once.
fn weights(ty: TensorType, head_dim: usize, n_heads: usize, n_kv: usize) -> MemorySource {
    let mut parts = Vec::new();
    let mut state = 7;
    let mut tensor = |name: &str, shape: &[usize], ty: TensorType| {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| number(&mut state) * 0.3).collect();
        let mut bytes = vec![0; ty.byte_len(n as u64).unwrap() as usize];
        quant::encode(ty, &values, &mut bytes).unwrap();
        let shape = shape.iter().map(|n| *n as u64).collect();
        let (offset, byte_len) = (0, bytes.len() as u64);
        parts.push((
            TensorInfo {
                name: name.into(),
                shape,
                ty,
                offset,
                byte_len,
            },
            bytes,
        ));
    };
    tensor("embed", &[WIDTH, VOCAB], ty);
    tensor("norm", &[WIDTH], TensorType::F32);
    tensor("head_norm", &[head_dim], TensorType::F32);
    tensor("q", &[WIDTH, n_heads * head_dim], ty);
    tensor("k", &[WIDTH, n_kv * head_dim], ty);
    tensor("v", &[WIDTH, n_kv * head_dim], ty);
    tensor("v_bias", &[n_kv * head_dim], TensorType::F32);
    tensor("o", &[n_heads * head_dim, WIDTH], TensorType::F16);
    tensor("up_and_gate", &[WIDTH, WIDTH + FFN + WIDTH], ty);
    tensor("router", &[WIDTH, N_EXPERTS], TensorType::F32);
    tensor("gate", &[WIDTH, FFN, N_EXPERTS], ty);
    tensor("up", &[WIDTH, FFN, N_EXPERTS], ty);
    tensor("down", &[FFN, WIDTH, N_EXPERTS], ty);
    MemorySource::from_parts(
        parts
            .into_iter()
            .map(|(info, bytes)| (info.name, info.shape, info.ty, bytes)),
    )
    .unwrap()
}

struct Case {
    ty: TensorType,
    head_dim: usize,
    n_heads: usize,
    n_kv: usize,
    pairs: RopePairs,
    window: Option<u32>,
    soft_cap: Option<f32>,
    causal: bool,
    activation: Activation,
    kv: KvType,
}

impl Case {
    /// Rows of a sequence in a batch: all of them where rows see those after them.
    fn chunk(&self) -> usize {
        if self.causal { 64 } else { 150 }
    }
}

const CASES: [Case; 6] = [
    Case {
        ty: TensorType::F32,
        head_dim: 8,
        n_heads: 6,
        n_kv: 3,
        pairs: RopePairs::Interleaved,
        window: None,
        soft_cap: None,
        causal: true,
        activation: Activation::Silu,
        kv: KvType::F32,
    },
    Case {
        ty: TensorType::Q8_0,
        head_dim: 32,
        n_heads: 4,
        n_kv: 4,
        pairs: RopePairs::Halves,
        window: None,
        soft_cap: Some(0.7),
        causal: true,
        activation: Activation::GeluTanh,
        kv: KvType::F16,
    },
    Case {
        ty: TensorType::Q4_0,
        head_dim: 24,
        n_heads: 4,
        n_kv: 1,
        pairs: RopePairs::Halves,
        window: Some(19),
        soft_cap: None,
        causal: true,
        activation: Activation::GeluTanh,
        kv: KvType::F16,
    },
    Case {
        ty: TensorType::Bf16,
        head_dim: 16,
        n_heads: 5,
        n_kv: 1,
        pairs: RopePairs::Interleaved,
        window: Some(70),
        soft_cap: Some(1.3),
        causal: true,
        activation: Activation::Silu,
        kv: KvType::F32,
    },
    Case {
        ty: TensorType::F32,
        head_dim: 16,
        n_heads: 5,
        n_kv: 1,
        pairs: RopePairs::Interleaved,
        window: Some(70),
        soft_cap: None,
        causal: false,
        activation: Activation::Silu,
        kv: KvType::F32,
    },
    Case {
        ty: TensorType::F32,
        head_dim: 16,
        n_heads: 5,
        n_kv: 1,
        pairs: RopePairs::Interleaved,
        window: None,
        soft_cap: None,
        causal: false,
        activation: Activation::Silu,
        kv: KvType::F32,
    },
];

/// Logits of every position of two sequences, computed in batches of `chunk` rows of each.
fn run<O: Ops>(ops: &mut O, case: &Case, lengths: [usize; 2], chunk: usize) -> Vec<Vec<f32>> {
    let source = weights(case.ty, case.head_dim, case.n_heads, case.n_kv);
    let source: &dyn WeightSource = &source;
    let (q_width, kv_width) = (case.n_heads * case.head_dim, case.n_kv * case.head_dim);
    let load = |ops: &O, name: &str, rows, columns| Linear::<O> {
        weight: ops.load_matrix(source, name, rows, columns).unwrap(),
        bias: None,
    };
    let embed = load(ops, "embed", VOCAB, WIDTH);
    let (wq, wk) = (
        load(ops, "q", q_width, WIDTH),
        load(ops, "k", kv_width, WIDTH),
    );
    let mut wv = load(ops, "v", kv_width, WIDTH);
    wv.bias = Some(ops.load_vector(source, "v_bias", kv_width).unwrap());
    let wo = load(ops, "o", WIDTH, q_width);
    let norm = ops.load_vector(source, "norm", WIDTH).unwrap();
    let head_norm = ops.load_vector(source, "head_norm", case.head_dim).unwrap();
    let router = ops.load_matrix(source, "router", N_EXPERTS, WIDTH).unwrap();
    let parts = [WIDTH, FFN, WIDTH];
    let [up, _, gate] = ops
        .load_parts(source, "up_and_gate", &parts, WIDTH)
        .unwrap()
        .try_into()
        .ok()
        .map(|parts: [O::Matrix; 3]| parts.map(|weight| Linear::<O> { weight, bias: None }))
        .unwrap();
    let tensors = ExpertTensors {
        n_experts: N_EXPERTS,
        ffn: FFN,
        width: WIDTH,
        gate: ExpertStack::One("gate".into()),
        up: ExpertStack::One("up".into()),
        down: ExpertStack::One("down".into()),
    };
    let experts = ops.load_experts(source, &tensors).unwrap();
    let layer = PagedLayer {
        n_kv_heads: case.n_kv,
        head_dim: case.head_dim,
    };
    let mut memory = ops.memory(&[layer], case.kv, 8);
    let mut pages: [Vec<PageId>; 2] = [
        vec![PageId(6), PageId(1), PageId(3)],
        vec![PageId(0), PageId(7), PageId(2)],
    ];
    let rows_max = 2 * chunk;
    let buf = |ops: &O, width| ops.buf(rows_max, width);
    let (mut x, mut h) = (buf(ops, WIDTH), buf(ops, WIDTH));
    let (mut q, mut k, mut v) = (buf(ops, q_width), buf(ops, kv_width), buf(ops, kv_width));
    let mut a = buf(ops, q_width);
    let (mut g, mut u) = (buf(ops, WIDTH), buf(ops, WIDTH));
    let frequencies = (0..case.head_dim / 2)
        .map(|i| 10f32.powf(-(i as f32) / 3.0))
        .collect();
    let rope = Rope {
        pairs: case.pairs,
        frequencies,
        magnitude: 1.1,
    };
    let spec = Attention {
        n_heads: case.n_heads,
        n_kv_heads: case.n_kv,
        head_dim: case.head_dim,
        scale: 1.0 / (case.head_dim as f32).sqrt(),
        soft_cap: case.soft_cap,
        window: case.window,
        causal: case.causal,
    };
    let mut out: [Vec<f32>; 2] = Default::default();
    for start in (0..lengths[0].max(lengths[1])).step_by(chunk) {
        // The first page of the first sequence moves to and fro.
        let (from, to) = (pages[0][0], PageId(10 - pages[0][0].0));
        ops.copy_page(&mut memory, from, to);
        pages[0][0] = to;
        let mut rows = Vec::new();
        for (sequence, length) in lengths.iter().enumerate() {
            for position in start..(start + chunk).min(*length) {
                let item = Item::Token(TokenId(((position * 7 + sequence * 3) % VOCAB) as u32));
                rows.push(Row {
                    item,
                    position: position as u32,
                    sequence: sequence as u32,
                });
            }
        }
        let outputs: Vec<u32> = (0..rows.len() as u32).collect();
        let positions: Vec<u32> = rows.iter().map(|r| r.position % VOCAB as u32).collect();
        let tables = [&pages[0][..], &pages[1][..]];
        let batch = Batch {
            rows: &rows,
            sequences: &tables,
            outputs: &outputs,
            hidden: false,
        };
        ops.embed(&embed.weight, &batch, &mut x).unwrap();
        ops.scale(&mut x, 1.7);
        ops.rms_norm(&x, &norm, 1e-5, &mut h);
        ops.linear(&h, &mut [(&wq, &mut q), (&wk, &mut k), (&wv, &mut v)])
            .unwrap();
        ops.rms_norm_heads(&mut q, &head_norm, 1e-5, case.head_dim);
        ops.rope(&mut q, &rope, case.head_dim, &batch);
        ops.rope(&mut k, &rope, case.head_dim, &batch);
        ops.attention(&spec, 0, &mut memory, &q, &k, &v, &batch, &mut a);
        ops.linear(&a, &mut [(&wo, &mut h)]).unwrap();
        ops.add(&mut x, &h);
        ops.rms_norm(&x, &norm, 1e-5, &mut h);
        let routing = Routing {
            top_k: 2,
            renormalise: true,
        };
        ops.experts(&routing, &router, &experts, &h, &mut x)
            .unwrap();
        ops.linear(&x, &mut [(&gate, &mut g), (&up, &mut u)])
            .unwrap();
        ops.gate(case.activation, &mut g, &u);
        ops.add(&mut x, &g);
        if !case.causal {
            ops.rows(&embed.weight, &positions, &mut h).unwrap();
            ops.add(&mut x, &h);
            ops.layer_norm(&mut x, &norm, &norm, 1e-5);
            ops.gelu(&mut x);
            ops.select(&x, &outputs, &mut h);
            ops.tanh(&mut h);
            ops.add(&mut x, &h);
        }
        let mut logits = Vec::new();
        ops.logits(&embed, case.soft_cap, &x, &batch, &mut logits)
            .unwrap();
        for (row, logits) in rows.iter().zip(logits.chunks_exact(VOCAB)) {
            out[row.sequence as usize].extend_from_slice(logits);
        }
    }
    out.into()
}

fn cpu(isa: Isa, threads: usize) -> Option<Cpu> {
    Cpu::new(isa, Arc::new(Team::new(threads)))
}

#[test]
fn the_cpu_is_near_the_plain_operations() {
    for case in &CASES {
        let expected = run(&mut Reference, case, [150, 33], case.chunk());
        let found = run(
            &mut cpu(Isa::best(), 2).unwrap(),
            case,
            [150, 33],
            case.chunk(),
        );
        // Quantised activations are rounded to one part in 254; the reference does not round them.
        let allowed = if matches!(case.ty, TensorType::F32 | TensorType::Bf16) {
            2e-4
        } else {
            0.12
        };
        for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
            assert!(
                (expected - found).abs() <= allowed * (1.0 + expected.abs()),
                "{}: {found} for {expected}",
                case.ty
            );
        }
    }
}

#[test]
fn bits_do_not_depend_on_leaf_threads_or_cutting() {
    const { assert!(150 > 2 * PAGE_LEN) };
    for case in &CASES {
        let bits = |x: Vec<Vec<f32>>| x.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let expected = bits(run(
            &mut cpu(Isa::Scalar, 1).unwrap(),
            case,
            [150, 33],
            case.chunk(),
        ));
        for isa in Isa::ALL {
            let Some(_) = cpu(isa, 1) else {
                println!("skipped: this machine has no {isa}");
                continue;
            };
            for (threads, chunk) in [(1, 150), (2, 1), (3, 7), (2, 64), (5, 100)] {
                let chunk = if case.causal { chunk } else { case.chunk() };
                let found = bits(run(&mut cpu(isa, threads).unwrap(), case, [150, 33], chunk));
                assert!(
                    found == expected,
                    "{} {isa}: {threads} threads, {chunk} rows at a time",
                    case.ty
                );
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_choice_of_kernels() {
    for ty in TensorType::ALL.iter().copied() {
        if Leaf::new(Isa::Scalar).unwrap().many(ty).is_none() {
            continue;
        }
        // More rows than a block of columns; a width that is no multiple of 256 where that is allowed.
        let (rows, columns, n) = (50, if ty.block_len() == 32 { 2336 } else { 2560 }, 140);
        let mut state = 3;
        let values: Vec<f32> = (0..rows * columns).map(|_| number(&mut state)).collect();
        let mut bytes = vec![0; ty.byte_len((rows * columns) as u64).unwrap() as usize];
        quant::encode(ty, &values, &mut bytes).unwrap();
        let info =
            |name: &str, shape: &[usize], ty: TensorType, offset: u64, byte_len: u64| TensorInfo {
                name: name.into(),
                shape: shape.iter().map(|n| *n as u64).collect(),
                ty,
                offset,
                byte_len,
            };
        let weight = info("w", &[columns, rows], ty, 0, bytes.len() as u64);
        let x = info(
            "x",
            &[columns, n],
            TensorType::F32,
            bytes.len() as u64,
            4 * (columns * n) as u64,
        );
        let floats = (0..columns * n).flat_map(|_| number(&mut state).to_le_bytes());
        bytes.extend(floats.collect::<Vec<u8>>());
        let source = MemorySource::new(vec![weight, x], bytes).unwrap();
        let product = |isa: Isa, threads: usize, from: usize| {
            let leaf = Leaf::new(isa)?;
            let mut cpu = cpu(isa, threads)?.choosing(Choice::from_columns(leaf, from));
            let weight = cpu.load_matrix(&source, "w", rows, columns).unwrap();
            let x = cpu.load_matrix(&source, "x", n, columns).unwrap();
            let (mut input, mut output) = (cpu.buf(n, columns), cpu.buf(n, rows));
            cpu.rows(&x, &(0..n as u32).collect::<Vec<_>>(), &mut input)
                .unwrap();
            cpu.linear(&input, &mut [(&Linear { weight, bias: None }, &mut output)])
                .unwrap();
            let mut out = Vec::new();
            cpu.read(&output, 0..n, &mut out);
            Some(out.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let best = Isa::best();
        let expected = product(best, 1, usize::MAX).unwrap();
        for isa in Isa::ALL.into_iter().filter(|isa| *isa != Isa::Scalar) {
            for from in [1, usize::MAX] {
                let Some(found) = product(isa, 2, from) else {
                    continue;
                };
                assert!(found == expected, "{ty} {isa} from {from}");
            }
        }
    }
}

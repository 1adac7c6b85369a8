//! The same input gives the same tokens: by every instruction set, number of threads, batch, chunk of a prompt, cached
//! prefix and guess, for every way to store keys and values.
//!
//! Answers are compared with those that the scalar kernels give on one thread to each request alone. Log-probabilities
//! are compared bit by bit: each depends on every logit of its position.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::Sampling;
use ingle_engine::{
    Budget, Done, Engine, Event, Guesser, LoadOptions, Outcome, PageKey, PageStore, Plan, Request,
    RequestId,
};
use ingle_formats::gguf::{Metadata, TensorInfo};
use ingle_formats::{TensorType as T, TokenId};
use ingle_tensor::cpu::{Cpu, OnDisk, Streaming};
use ingle_tensor::fetch::Threads;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::KvType;
use ingle_tensor::quant::Encoder;
use ingle_tensor::team::Team;
use ingle_tensor::{MemorySource, WeightSource};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Model, N_VOCAB, Rng};

type Weights = (Metadata, MemorySource);

/// Every block type that can be written and has been given arithmetic of its own, and those decoded to f32.
const TYPES: [T; 16] = [
    T::Q4K,
    T::Q6K,
    T::Q8_0,
    T::Q4_0,
    T::Q5K,
    T::Q5_0,
    T::Iq4Nl,
    T::Q4_1,
    T::Q3K,
    T::Mxfp4,
    T::Q2K,
    T::Q5_1,
    T::Iq4Xs,
    T::F16,
    T::Bf16,
    T::F32,
];

/// The model that is built into the program.
fn built_in() -> Weights {
    let path = "../../models/ingle-mini/ingle-mini.gguf";
    support::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A mixture of experts with a matrix of every block type, and sizes that are no multiple of 16: 300 tokens,
/// 5 experts.
fn moe_tiny() -> Weights {
    let mut model = Model::random("qwen3moe").with_vocabulary();
    for (key, value) in [
        ("block_count", 2_u32),
        ("embedding_length", 256),
        ("feed_forward_length", 256),
        ("attention.key_length", 64),
        ("attention.value_length", 64),
        ("rope.dimension_count", 64),
        ("expert_count", 5),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", 256),
    ] {
        model.set(&format!("qwen3moe.{key}"), value);
    }
    let mut shapes = vec![
        ("token_embd".to_owned(), vec![256, N_VOCAB]),
        ("output".to_owned(), vec![256, N_VOCAB]),
        ("output_norm".to_owned(), vec![256]),
    ];
    for layer in 0..2 {
        let own: [(&str, &[u64]); 12] = [
            ("attn_norm", &[256]),
            ("attn_q_norm", &[64]),
            ("attn_k_norm", &[64]),
            ("attn_q", &[256, 256]),
            ("attn_k", &[256, 128]),
            ("attn_v", &[256, 128]),
            ("attn_output", &[256, 256]),
            ("ffn_norm", &[256]),
            ("ffn_gate_inp", &[256, 5]),
            ("ffn_gate_exps", &[256, 256, 5]),
            ("ffn_up_exps", &[256, 256, 5]),
            ("ffn_down_exps", &[256, 256, 5]),
        ];
        shapes.extend(own.map(|(name, shape)| (format!("blk.{layer}.{name}"), shape.to_vec())));
    }
    let metadata = Metadata::from_pairs(model.pairs).unwrap();
    let (mut rng, mut types) = (Rng(0x5eed), TYPES.into_iter().cycle());
    let (mut infos, mut bytes) = (Vec::new(), Vec::new());
    let encoder = Encoder::new(Isa::best()).unwrap();
    for (name, shape) in shapes {
        let n: u64 = shape.iter().product();
        let (norm, router) = (shape.len() == 1, name.ends_with("gate_inp"));
        let number = |_| if norm { 1.0 } else { 0.0 } + 0.12 * rng.next();
        let values: Vec<f32> = (0..n).map(number).collect();
        let ty = if norm || router {
            T::F32
        } else {
            types.next().unwrap()
        };
        let mut blocks = vec![0; ty.byte_len(n).unwrap() as usize];
        encoder.encode(ty, &values, None, &mut blocks).unwrap();
        infos.push(TensorInfo {
            name: format!("{name}.weight"),
            shape,
            ty,
            offset: bytes.len() as u64,
            byte_len: blocks.len() as u64,
        });
        bytes.extend(blocks);
    }
    (metadata, MemorySource::new(infos, bytes).unwrap())
}

/// One of the ways to compute the same.
#[derive(Clone, Copy, Debug)]
struct Way {
    isa: Isa,
    threads: usize,
    kv: KvType,
    /// Rows of a step at most.
    rows: u32,
    sequences: u32,
    guesses: u32,
    /// Which weights are read while they are used, and bytes of them that are kept.
    on_disk: Option<(OnDisk, u64)>,
}

/// The plainest way: what the others are compared with.
const PLAIN: Way = Way {
    isa: Isa::Scalar,
    threads: 1,
    kv: KvType::F16,
    rows: 64,
    sequences: 1,
    guesses: 0,
    on_disk: None,
};

/// Guesses that a text goes on as it did after the same token before.
struct Repeats;

impl Guesser for Repeats {
    fn guess(&mut self, _: RequestId, known: &[TokenId], max: usize, guesses: &mut Vec<TokenId>) {
        let Some((last, before)) = known.split_last() else {
            return;
        };
        if let Some(at) = before.iter().rposition(|token| token == last) {
            guesses.extend(known[at + 1..].iter().take(max));
        }
    }

    fn judged(&mut self, _: RequestId, guessed: usize, right: usize) {
        assert!(right <= guessed);
    }

    fn over(&mut self, _: RequestId) {}
}

fn load(weights: &Weights, way: Way) -> Engine<Cpu> {
    load_with(weights, way, LoadOptions::default())
}

fn load_with((metadata, source): &Weights, way: Way, more: LoadOptions) -> Engine<Cpu> {
    let options = LoadOptions {
        context: Some(192),
        kv: way.kv,
        max_batch_rows: way.rows,
        max_sequences: way.sequences,
        max_guesses: way.guesses,
        ..more
    };
    let mut ops = Cpu::new(way.isa, Arc::new(Team::new(way.threads))).unwrap();
    if let Some((on_disk, cache_bytes)) = way.on_disk {
        let source: Arc<dyn WeightSource> = Arc::new(source.clone());
        let start = Instant::now();
        ops = ops.streaming(Streaming {
            fetcher: Arc::new(Threads::over(&source, 2).unwrap()),
            on_disk,
            cache_bytes,
            clock: Arc::new(move || start.elapsed()),
        });
    }
    let budget = Budget::new(1 << 30);
    let plan = Plan::new(metadata, source, &ops, &options, budget.free()).unwrap();
    let mut engine = Engine::load(metadata, source, ops, plan, &budget, &mut |_, _| {}).unwrap();
    if way.guesses > 0 {
        engine.set_guesser(Some(Box::new(Repeats)));
    }
    engine
}

/// Prompts of 1 to 100 tokens, two of them with the same beginning of more than a page; greedy and sampled.
fn requests() -> Vec<Request> {
    let prompt = |salt: u32, n: u32| {
        let token = |i: u32| TokenId(3 + (i * (7 + salt) + salt) % 250);
        (0..n).map(token).collect()
    };
    let mut prompts: Vec<Vec<TokenId>> = vec![prompt(1, 1), prompt(2, 33), prompt(3, 100)];
    prompts.push([&prompts[2][..90], &prompts[1][..7]].concat());
    let make = |(i, prompt): (usize, Vec<TokenId>)| Request {
        max_tokens: Some(12),
        ignore_end: true,
        sampling: Sampling {
            temperature: [0.0, 1.2][i % 2],
            seed: i as u64,
            logprobs: Some(0),
            ..Sampling::default()
        },
        ..Request::new(prompt)
    };
    prompts.into_iter().enumerate().map(make).collect()
}

/// Tokens of each request, each with the bits of its log-probability; all are handed in at once.
fn answers(engine: &mut Engine<Cpu>) -> Vec<Vec<(TokenId, u32)>> {
    answers_to(engine, requests())
}

fn answers_to(engine: &mut Engine<Cpu>, requests: Vec<Request>) -> Vec<Vec<(TokenId, u32)>> {
    let mut answers: BTreeMap<RequestId, Vec<(TokenId, u32)>> = BTreeMap::new();
    for request in requests {
        let id = engine.submit(request, Duration::ZERO).unwrap();
        answers.insert(id, Vec::new());
    }
    while !engine.is_idle() {
        for event in engine.step(Duration::ZERO) {
            let id = event.request();
            if let Event::Token { token, logprob, .. } = event {
                let bits = logprob.unwrap().to_bits();
                answers.get_mut(&id).unwrap().push((token, bits));
            }
        }
        engine.check().unwrap();
    }
    answers.into_values().collect()
}

/// A disk that is memory.
#[derive(Clone, Default)]
struct Disk {
    pages: Arc<Mutex<HashMap<PageKey, Vec<u8>>>>,
    done: Arc<Mutex<VecDeque<Done>>>,
}

impl PageStore for Disk {
    fn contains(&self, page: &PageKey) -> bool {
        self.pages.lock().unwrap().contains_key(page)
    }

    fn read(&mut self, page: PageKey, mut buffer: Vec<u8>) {
        buffer.copy_from_slice(&self.pages.lock().unwrap()[&page]);
        let what = Outcome::Read;
        let done = Done { page, buffer, what };
        self.done.lock().unwrap().push_back(done);
    }

    fn write(&mut self, page: PageKey, buffer: Vec<u8>) {
        self.pages.lock().unwrap().insert(page, buffer.clone());
        let what = Outcome::Written;
        let done = Done { page, buffer, what };
        self.done.lock().unwrap().push_back(done);
    }

    fn done(&mut self, _: Duration) -> Option<Done> {
        self.done.lock().unwrap().pop_front()
    }

    fn rate(&self) -> Option<f64> {
        None
    }
}

/// Prefixes that come back from disk, 32 requests at once, and too little memory for all of them.
fn company_and_disk(weights: &Weights) {
    let many: Vec<Request> = (0..32_u32)
        .map(|i| {
            let request = requests().remove(i as usize % 4);
            let mut prompt = request.prompt.clone();
            if i >= 16 {
                prompt.extend((0..i).map(|t| TokenId(3 + (t * i) % 250)));
            }
            Request {
                prompt,
                user: u64::from(i % 5),
                store: true,
                ..request
            }
        })
        .collect();
    for kv in KvType::ALL {
        let plain = Way {
            kv,
            isa: Isa::best(),
            ..PLAIN
        };
        let mut alone = load(weights, plain);
        let one = |r: &Request| answers_to(&mut alone, vec![r.clone()]).remove(0);
        let expected: Vec<_> = many.iter().map(one).collect();
        let disk = Disk::default();
        for (contexts, preempted) in [(None, false), (Some(3), true), (None, false)] {
            let way = Way {
                sequences: 32,
                rows: 100,
                threads: 2,
                ..plain
            };
            let more = LoadOptions {
                contexts,
                page_buffers: 2,
                ..LoadOptions::default()
            };
            let mut engine = load_with(weights, way, more);
            assert!(engine.set_page_store(Box::new(disk.clone())));
            let known = !disk.pages.lock().unwrap().is_empty();
            let rows = engine.rows();
            assert_eq!(answers_to(&mut engine, many.clone()), expected, "{way:?}");
            let rows = engine.rows() - rows;
            assert_eq!(engine.preemptions() > 0, preempted);
            engine.settle_store();
            // The second engine, and the third, read what the first has written.
            if !preempted && known {
                let all: usize = many.iter().map(|r| r.prompt.len() + 11).sum();
                assert!((rows as usize) < all / 2, "{rows} of {all}");
            }
        }
        assert!(disk.pages.lock().unwrap().len() >= 4);
    }
}

#[test]
fn the_built_in_model_in_company_and_with_prefixes_from_disk() {
    company_and_disk(&built_in());
}

#[test]
fn every_block_type_in_company_and_with_prefixes_from_disk() {
    company_and_disk(&moe_tiny());
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// Every instruction set and number of threads, with every way to store keys and values.
fn leaves_and_threads(weights: &Weights) {
    for kv in KvType::ALL {
        let plain = Way { kv, ..PLAIN };
        let expected = answers(&mut load(weights, plain));
        assert!(expected.iter().all(|answer| answer.len() == 12));
        for isa in available() {
            // More threads than cores are slow, and differ from two in nothing.
            for threads in [1, 2] {
                let way = Way {
                    isa,
                    threads,
                    sequences: 4,
                    ..plain
                };
                assert_eq!(answers(&mut load(weights, way)), expected, "{way:?}");
            }
        }
    }
}

/// Chunks of prompts, sequences together, guesses, and prefixes that are known already.
fn batches_prefixes_and_guesses(weights: &Weights) {
    let expected = answers(&mut load(weights, PLAIN));
    let best = Way {
        isa: Isa::best(),
        threads: 3,
        ..PLAIN
    };
    for (rows, sequences, guesses) in [(1, 1, 0), (7, 3, 0), (512, 4, 0), (9, 2, 5), (64, 4, 8)] {
        let way = Way {
            rows,
            sequences,
            guesses,
            ..best
        };
        let mut engine = load(weights, way);
        assert_eq!(answers(&mut engine), expected, "{way:?}");
        // Again: now the prompts are known.
        assert_eq!(answers(&mut engine), expected, "{way:?}, cached");
    }
}

/// Experts, or all matrices, that are read while they are used, with caches of any size; one request after
/// the other, and eight together.
fn weights_on_disk(weights: &Weights) {
    let mut eight = requests();
    eight.extend(requests().into_iter().map(|request| Request {
        prompt: request.prompt.into_iter().rev().collect(),
        ..request
    }));
    let expected = answers_to(&mut load(weights, PLAIN), eight.clone());
    let all: u64 = weights.1.tensors().iter().map(|t| t.byte_len).sum();
    for on_disk in [OnDisk::Experts, OnDisk::All] {
        for cache_bytes in [0, all / 10, all / 2, 10 * all] {
            for sequences in [1, 8] {
                let way = Way {
                    isa: Isa::best(),
                    threads: 2,
                    sequences,
                    on_disk: Some((on_disk, cache_bytes)),
                    ..PLAIN
                };
                let mut engine = load(weights, way);
                assert_eq!(answers_to(&mut engine, eight.clone()), expected, "{way:?}");
                let streamed = engine.ops().streamed().unwrap();
                if on_disk == OnDisk::All {
                    assert!(
                        streamed.needed > 0 && streamed.fetched.bytes > 0,
                        "{streamed:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_built_in_model_with_weights_on_disk() {
    weights_on_disk(&built_in());
}

#[test]
fn every_block_type_with_weights_on_disk() {
    weights_on_disk(&moe_tiny());
}

#[test]
fn the_built_in_model_by_every_leaf_and_number_of_threads() {
    leaves_and_threads(&built_in());
}

#[test]
fn every_block_type_by_every_leaf_and_number_of_threads() {
    leaves_and_threads(&moe_tiny());
}

#[test]
fn the_built_in_model_in_any_batch_with_any_prefix_and_any_guess() {
    batches_prefixes_and_guesses(&built_in());
}

#[test]
fn every_block_type_in_any_batch_with_any_prefix_and_any_guess() {
    batches_prefixes_and_guesses(&moe_tiny());
}

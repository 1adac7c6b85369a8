//! Experts that are read while they are used give the same bits as experts in memory, whatever the cache
//! holds, however reads come, and whatever failed before.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_formats::gguf::TensorInfo;
use ingle_model::{Network, load};
use ingle_tensor::cpu::{Cpu, OnDisk, Streaming};
use ingle_tensor::fetch::Threads;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PAGE_LEN, PageId, Row};
use ingle_tensor::team::Team;
use ingle_tensor::{MemorySource, SourceError, WeightSource};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Model, N_VOCAB, Rng};

const MAX_ROWS: usize = 64;

/// A disk of a certain temper.
struct Disk {
    weights: MemorySource,
    temper: Temper,
    chance: Mutex<Rng>,
    /// Reads from now on fail, or not.
    broken: AtomicBool,
    failures: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Temper {
    /// All reads come at once.
    Even,
    /// Each read takes another time.
    Uneven,
    /// Some reads fail.
    Faulty,
}

impl WeightSource for Disk {
    fn tensors(&self) -> &[TensorInfo] {
        self.weights.tensors()
    }
    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.weights.tensor(name)
    }
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let chance = self.chance.lock().unwrap().next_u32();
        if self.temper == Temper::Uneven {
            std::thread::sleep(Duration::from_micros(u64::from(chance % 8) * 40));
        }
        // A batch reads a row of the embedding for each token, and is tried until all of its reads go well.
        let one_in = if name.contains("embd") { 200 } else { 31 };
        let fails = self.temper == Temper::Faulty && chance.is_multiple_of(one_in);
        if fails || self.broken.load(Ordering::Relaxed) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            into.fill(0xEE); // what a failed read leaves is not to be used
            return Err(SourceError::Read {
                name: name.into(),
                file: "model.gguf".into(),
                offset,
                error: std::io::Error::other("the disk is tired"),
            });
        }
        self.weights.read(name, offset, into)
    }
}

struct Loaded {
    ops: Cpu,
    network: Box<dyn Network<Cpu>>,
    memory: <Cpu as Ops>::Memory,
    pages: Vec<PageId>,
}

fn cpu(threads: usize) -> Cpu {
    Cpu::new(Isa::best(), Arc::new(Team::new(threads))).unwrap()
}

fn loaded(model: &Model, ops: Cpu) -> Loaded {
    let (metadata, source) = model.build();
    let network = load(&metadata, &source, &ops, MAX_ROWS, 512, &mut |_| {}).unwrap();
    let memory = ops.memory(&network.layers(), KvType::F16, 4);
    Loaded {
        ops,
        network,
        memory,
        pages: (0..4).map(PageId).collect(),
    }
}

/// The same, with experts on a disk, and room for so many bytes of them.
fn streamed(model: &Model, disk: &Arc<Disk>, cache_bytes: u64, threads: usize) -> Loaded {
    streaming(model, disk, OnDisk::Experts, cache_bytes, threads)
}

fn streaming(
    model: &Model,
    disk: &Arc<Disk>,
    on_disk: OnDisk,
    cache_bytes: u64,
    threads: usize,
) -> Loaded {
    let source: Arc<dyn WeightSource> = Arc::<Disk>::clone(disk);
    let start = Instant::now();
    let streaming = Streaming {
        fetcher: Arc::new(Threads::over(&source, threads).unwrap()),
        on_disk,
        cache_bytes,
        clock: Arc::new(move || start.elapsed()),
    };
    loaded(model, cpu(2).streaming(streaming))
}

fn disk(model: &Model, temper: Temper) -> Arc<Disk> {
    Arc::new(Disk {
        weights: model.build().1,
        temper,
        chance: Mutex::new(Rng(77)),
        broken: AtomicBool::new(false),
        failures: AtomicU32::new(0),
    })
}

impl Loaded {
    fn forward(&mut self, tokens: &[TokenId], start: usize) -> Result<Vec<u32>, SourceError> {
        let row = |(i, &token): (usize, &TokenId)| Row {
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
        let (ops, memory) = (&mut self.ops, &mut self.memory);
        self.network.forward(ops, memory, &batch, &mut logits)?;
        Ok(logits.iter().map(|x| x.to_bits()).collect())
    }

    /// All positions of a text in batches of these sizes, each tried until its reads go well; and how
    /// many failed.
    fn text(&mut self, tokens: &[TokenId], batches: &[usize]) -> (Vec<u32>, usize) {
        let (mut all, mut start, mut failed) = (Vec::new(), 0, 0);
        for n in batches.iter().cycle() {
            let end = (start + n).min(tokens.len());
            loop {
                match self.forward(&tokens[start..end], start) {
                    Ok(logits) => break all.extend(logits),
                    Err(error) => {
                        failed += 1;
                        assert!(failed < 10_000, "{error}");
                        let text = error.to_string();
                        assert!(text.contains("model.gguf"), "{text}");
                    }
                }
            }
            start = end;
            if start == tokens.len() {
                return (all, failed);
            }
        }
        unreachable!("the sizes are repeated")
    }
}

fn tokens() -> Vec<TokenId> {
    let mut rng = Rng(5);
    (0..3 * PAGE_LEN)
        .map(|_| TokenId(rng.next_u32() % N_VOCAB as u32))
        .collect()
}

fn models() -> [Model; 3] {
    [
        Model::random("qwen3moe"),
        Model::mixtral(false),
        Model::mixtral(true),
    ]
}

/// Bytes of an expert of these models, packed, about.
const EXPERT: u64 = 3 * 4 * 32 * 48;

#[test]
fn the_same_bits_under_every_cache_and_disk() {
    for model in models() {
        let whole = loaded(&model, cpu(2)).text(&tokens(), &[64, 1, 1, 7]).0;
        for temper in [Temper::Even, Temper::Uneven, Temper::Faulty] {
            for experts in [0, 1, 2, 5, 8, 1000] {
                for threads in [1, 3] {
                    let disk = disk(&model, temper);
                    let mut m = streamed(&model, &disk, experts * EXPERT, threads);
                    let case = format!("{temper:?}, {experts} experts, {threads} threads");
                    let (bits, failed) = m.text(&tokens(), &[64, 1, 1, 7]);
                    assert!(bits == whole, "{case}");
                    assert!(failed == 0 || temper == Temper::Faulty, "{case}");
                    let stats = m.ops.streamed().unwrap();
                    assert!([15, 18].contains(&stats.units));
                    assert!(stats.slots >= 1 && stats.slots <= stats.units.min(2 * experts + 1));
                    assert!(stats.hits + stats.right <= stats.needed, "{stats:?}");
                    if experts == 1000 && temper == Temper::Even {
                        // Each is read once and stays.
                        assert!(stats.needed - stats.hits <= stats.units, "{stats:?}");
                    }
                    let reads = disk.failures.load(Ordering::Relaxed);
                    assert_eq!(reads > 0, temper == Temper::Faulty, "{case}");
                }
            }
        }
    }
}

#[test]
fn the_same_bits_with_all_matrices_on_disk() {
    let causal = [
        "llama", "qwen2", "qwen3", "qwen3moe", "phi3", "granite", "gemma", "gemma2", "gemma3",
    ];
    let models = causal
        .map(Model::random)
        .into_iter()
        .chain([Model::mixtral(true)]);
    for model in models {
        let whole = loaded(&model, cpu(2)).text(&tokens(), &[64, 1, 1, 7]).0;
        for (temper, cache_bytes, threads) in [
            (Temper::Even, 0, 1),
            (Temper::Uneven, 60_000, 3),
            (Temper::Faulty, 100_000, 2),
            (Temper::Even, 1 << 30, 2),
        ] {
            let disk = disk(&model, temper);
            let mut m = streaming(&model, &disk, OnDisk::All, cache_bytes, threads);
            let (bits, failed) = m.text(&tokens(), &[64, 1, 1, 7]);
            assert!(bits == whole, "{:?}, {temper:?}", model.pairs.first());
            assert!(failed == 0 || temper == Temper::Faulty);
            let stats = m.ops.streamed().unwrap();
            assert!(stats.needed > 0 && stats.slots <= stats.units, "{stats:?}");
        }
    }
}

#[test]
fn a_disk_that_breaks_is_an_error_and_one_that_is_mended_is_none() {
    let model = Model::random("qwen3moe");
    let tokens = tokens();
    let whole = loaded(&model, cpu(1)).text(&tokens, &[16]).0;
    let disk = disk(&model, Temper::Even);
    let mut m = streamed(&model, &disk, 4 * EXPERT, 2);
    let first = m.text(&tokens[..32], &[16]).0;
    disk.broken.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let error = m.forward(&tokens[32..48], 32).unwrap_err();
        assert!(matches!(error, SourceError::Read { .. }), "{error}");
    }
    disk.broken.store(false, Ordering::Relaxed);
    let mut rest = Vec::new();
    for start in (32..tokens.len()).step_by(16) {
        rest.extend(m.forward(&tokens[start..start + 16], start).unwrap());
    }
    assert!([first, rest].concat() == whole);
}

#[test]
fn experts_that_are_there_are_not_read_again() {
    let model = Model::random("qwen3moe");
    let disk = disk(&model, Temper::Even);
    let mut m = streamed(&model, &disk, 1000 * EXPERT, 2);
    m.text(&tokens(), &[64]);
    let before = m.ops.streamed().unwrap();
    m.text(&tokens(), &[64, 1]);
    let after = m.ops.streamed().unwrap();
    assert_eq!(after.needed - before.needed, after.hits - before.hits);
}

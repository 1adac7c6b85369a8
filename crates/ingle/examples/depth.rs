//! Speed at a depth, without computing what comes before it.
//!
//! `cargo run --release --example depth -- model.gguf [KV] [THREADS] [DEPTH ...]`, KV being f16, f32,
//! q8_0 or q4_0. The first page is computed and copied to all others: what a page holds does not
//! matter for speed, that it is there does. Prints tokens a second for a prompt of 512 and for
//! single tokens, and for each of them the GB/s of weights and cached positions that it reads and
//! the share of the time that attention takes.

use ingle::tensor::cpu::Cpu;
use ingle::tensor::kernel::Isa;
use ingle::tensor::ops::{Batch, Item, Ops, PAGE_LEN, PageId, Row};
use ingle::tensor::team::Team;
use ingle::{KvType, ModelFiles, TokenId};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROMPT: usize = 512;
const TOKENS: usize = 16;
const ROUNDS: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// When the last operation was done, and how long attention took.
type Clock = Arc<Mutex<(Instant, Duration)>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = args.first().ok_or("give a .gguf file")?;
    let kv = args.get(1).map_or("f16", String::as_str);
    let kv = KvType::ALL.into_iter().find(|k| k.name() == kv);
    let threads = args.get(2).map_or(Ok(2), |n| n.parse())?;
    let depths: Vec<usize> = match args.get(3..) {
        Some(depths) if !depths.is_empty() => depths
            .iter()
            .map(|d| d.parse())
            .collect::<std::result::Result<_, _>>()?,
        _ => vec![0, 4096, 16_384],
    };
    let mut bare = Bare::load(path, kv.ok_or("no such type of cache")?, threads, &depths)?;
    for depth in depths {
        bare.run(0, PROMPT.min(PAGE_LEN)); // the first page
        bare.fill();
        for rows in [PROMPT, 1] {
            bare.measure(depth, rows);
        }
    }
    Ok(())
}

/// A network without an engine.
struct Bare {
    ops: Cpu,
    network: Box<dyn ingle::networks::Network<Cpu>>,
    memory: <Cpu as Ops>::Memory,
    pages: Vec<PageId>,
    clock: Clock,
    /// Bytes of weights, and of a cached position.
    bytes: (u64, u64),
}

impl Bare {
    fn load(path: &str, kv: KvType, threads: usize, depths: &[usize]) -> Result<Self> {
        let files = ModelFiles::open(path)?;
        let clock: Clock = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
        let observed = Arc::clone(&clock);
        let ops = Cpu::new(Isa::best(), Arc::new(Team::new(threads)))
            .ok_or("no kernels")?
            .observed(move |name| {
                if let Ok(mut clock) = observed.lock() {
                    let now = Instant::now();
                    if name == "attention" {
                        let took = now - clock.0;
                        clock.1 += took;
                    }
                    clock.0 = now;
                }
            });
        let needs = ingle::networks::inspect(files.metadata(), &files, &ops, PROMPT)?;
        let longest = depths.iter().max().copied().unwrap_or(0) + PROMPT;
        let network = ingle::networks::load(
            files.metadata(),
            &files,
            &ops,
            PROMPT,
            longest as u32,
            &mut |_| {},
        )?;
        let n_pages = longest.div_ceil(PAGE_LEN);
        Ok(Self {
            memory: ops.memory(&network.layers(), kv, n_pages),
            pages: (0..n_pages as u32).map(PageId).collect(),
            bytes: (needs.weight_bytes, needs.position_bytes(kv)),
            ops,
            network,
            clock,
        })
    }

    fn fill(&mut self) {
        for page in &self.pages[1..] {
            self.ops.copy_page(&mut self.memory, PageId(0), *page);
        }
    }

    /// One batch of so many rows from a position on.
    fn run(&mut self, position: usize, rows: usize) {
        let row = |i: usize| Row {
            item: Item::Token(TokenId(1 + i as u32 * 7 % 1000)),
            position: (position + i) as u32,
            sequence: 0,
        };
        let rows: Vec<Row> = (0..rows).map(row).collect();
        let batch = Batch {
            rows: &rows,
            sequences: &[&self.pages],
            outputs: &[rows.len() as u32 - 1],
            hidden: false,
        };
        // Weights in memory are always there.
        let _ = self
            .network
            .forward(&mut self.ops, &mut self.memory, &batch, &mut Vec::new());
    }

    fn measure(&mut self, depth: usize, rows: usize) {
        let (mut best, mut attention) = (Duration::MAX, Duration::ZERO);
        let times = if rows == 1 { ROUNDS * TOKENS } else { ROUNDS };
        for i in 0..times {
            if let Ok(mut clock) = self.clock.lock() {
                clock.1 = Duration::ZERO;
            }
            let start = Instant::now();
            self.run(depth + i % TOKENS * usize::from(rows == 1), rows);
            let time = start.elapsed();
            if time < best {
                best = time;
                attention = self.clock.lock().map_or(Duration::ZERO, |clock| clock.1);
            }
        }
        let seconds = best.as_secs_f64();
        println!(
            "depth {depth:6}, {rows:3} rows: {:7.1} tokens/s, {:5.1} GB/s, attention {:.0}%",
            rows as f64 / seconds,
            (self.bytes.0 as f64 + self.bytes.1 as f64 * depth as f64) / seconds / 1e9,
            100.0 * attention.as_secs_f64() / seconds,
        );
    }
}

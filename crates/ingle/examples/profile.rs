//! Where the time of a forward pass goes, by operation.
//!
//! `cargo run --release --example profile -- model.gguf [ROWS [DEPTH [OUTPUTS]]]`: batches of one
//! sequence of ROWS rows (1, as in generation, unless given) at DEPTH, of which the last OUTPUTS (1) are
//! multiplied with the output matrix. A pass calls its operations in the same order every time, so the
//! fastest of each call counts: other work on the machine only adds.

use ingle::formats::gguf::Metadata;
use ingle::tensor::cpu::Cpu;
use ingle::tensor::kernel::Isa;
use ingle::tensor::ops::{Batch, Item, Ops, PAGE_LEN, PageId, Row};
use ingle::tensor::team::Team;
use ingle::{KvType, ModelFiles, TokenId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long is measured, and how many passes at least.
const LONG: Duration = Duration::from_secs(4);
const PASSES: usize = 3;

/// The calls of one pass after the other.
#[derive(Default)]
struct Calls {
    /// Name and fastest time of each call of a pass.
    fastest: Vec<(&'static str, Duration)>,
    next: usize,
    last: Option<Instant>,
}

impl Calls {
    fn done(&mut self, name: &'static str) {
        let now = Instant::now();
        let took = self.last.map_or(Duration::MAX, |last| now - last);
        match self.fastest.get_mut(self.next) {
            Some(call) => call.1 = call.1.min(took),
            None => self.fastest.push((name, took)),
        }
        self.next += 1;
        self.last = Some(Instant::now());
    }

    fn begin(&mut self) {
        self.next = 0;
        self.last = Some(Instant::now());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give a .gguf file")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |n| n.parse());
    let (rows, depth, outputs) = (number(1)?, number(0)?, number(1)?);
    let threads = std::thread::available_parallelism()?.get();

    let calls = Arc::new(Mutex::new(Calls::default()));
    let lock = || calls.lock().unwrap_or_else(PoisonError::into_inner);
    let observed = Arc::clone(&calls);
    let cpu = Cpu::new(Isa::best(), Arc::new(Team::new(threads))).ok_or("no kernels")?;
    let mut ops = cpu.observed(move |name| {
        observed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .done(name);
    });
    let files = ModelFiles::open(path)?;
    let metadata: &Metadata = files.metadata();
    let started = Instant::now();
    let context = u32::try_from(depth + rows)?;
    let mut network = ingle::networks::load(metadata, &files, &ops, rows, context, &mut |_| {})?;
    println!("loaded in {:.2} s", started.elapsed().as_secs_f64());
    let n_pages = (depth + rows).div_ceil(PAGE_LEN);
    let mut memory = ops.memory(&network.layers(), KvType::F16, n_pages);
    let pages: Vec<PageId> = (0..n_pages).map(|i| PageId(i as u32)).collect();
    let n_vocab = network.shape().n_vocab;
    let batch: Vec<Row> = (0..rows)
        .map(|i| Row {
            item: Item::Token(TokenId((i * 7919 % n_vocab) as u32)),
            position: (depth + i) as u32,
            sequence: 0,
        })
        .collect();
    let outputs: Vec<u32> = (rows.saturating_sub(outputs)..rows)
        .map(|i| i as u32)
        .collect();
    let batch = Batch {
        rows: &batch,
        sequences: &[&pages],
        outputs: &outputs,
        hidden: false,
    };
    let (mut logits, mut fastest) = (Vec::new(), Duration::MAX);
    let (start, mut passes) = (Instant::now(), 0);
    while passes < PASSES || start.elapsed() < LONG {
        lock().begin();
        let begin = Instant::now();
        network.forward(&mut ops, &mut memory, &batch, &mut logits)?;
        fastest = fastest.min(begin.elapsed());
        passes += 1;
    }
    print(&lock().fastest, fastest, passes);
    Ok(())
}

fn print(calls: &[(&'static str, Duration)], fastest: Duration, passes: usize) {
    let mut sums: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for (name, took) in calls {
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + 1, sum.1 + *took);
    }
    let total: Duration = calls.iter().map(|call| call.1).sum();
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (_, took))| std::cmp::Reverse(*took));
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "{passes} passes, the fastest {:.0} us; the fastest of each call together {:.0} us",
        us(fastest),
        us(total)
    );
    for (name, (n, took)) in sums {
        let share = 100.0 * took.as_secs_f64() / total.as_secs_f64();
        println!("{name:>16} {share:5.1}% {:10.1} us in {n} calls", us(took));
    }
}

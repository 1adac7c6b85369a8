//! What a call costs beyond the forward passes: the same tokens by the engine and by the bare network.
//!
//! `cargo run --release --example overhead -- model.gguf`. Both run greedily on one thread; the difference
//! is scheduling, sampling, detokenizing, stop texts and events. Then the sampler by itself, over as many
//! logits as a large vocabulary has.

use ingle::engine::sampler::Sampler;
use ingle::formats::gguf::Metadata;
use ingle::tensor::cpu::Cpu;
use ingle::tensor::kernel::Isa;
use ingle::tensor::ops::{Batch, Item, Ops, PageId, Row};
use ingle::tensor::team::Team;
use ingle::{KvType, Model, ModelFiles, Options, Request, Sampling, TokenId};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOKENS: u32 = 100;
const ROUNDS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give a .gguf file")?;
    let mut options = Options {
        threads: 1,
        ..Options::default()
    };
    options.load.context = Some(TOKENS + 1);
    let mut model = Model::open(&path, &options)?;
    let mut bare = Bare::load(&path)?;
    let (mut engine_times, mut bare_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let request = Request {
            max_tokens: Some(TOKENS),
            sampling: Sampling::greedy(),
            ignore_end: true,
            ..Request::new(vec![TokenId(1)])
        };
        let tokens = model.generate(request)?.count();
        engine_times.push(start.elapsed());
        let start = Instant::now();
        bare.run();
        bare_times.push(start.elapsed());
        assert_eq!(tokens, TOKENS as usize + 1); // and the end
    }
    let (engine, bare) = (per_token(engine_times), per_token(bare_times));
    println!(
        "engine {engine:.2} us a token, forward passes {bare:.2}, difference {:.2}",
        engine - bare
    );
    sampler()
}

/// Microseconds to choose one token, for some ways to choose.
fn sampler() -> Result<(), Box<dyn std::error::Error>> {
    const N_VOCAB: usize = 151_936;
    let logits: Vec<f32> = (0..N_VOCAB)
        .map(|i| ((i * 7919) % 10_007) as f32 / 1000.0)
        .collect();
    let hot = Sampling::default();
    let chat = Sampling {
        temperature: 0.7,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.05,
        ..hot.clone()
    };
    let logprobs = Sampling {
        logprobs: Some(5),
        ..chat.clone()
    };
    let ways = [
        ("greedy", Sampling::greedy()),
        ("the defaults of `ingle run`", chat),
        ("those and log-probabilities", logprobs),
        (
            "top-p alone",
            Sampling {
                top_p: 0.95,
                ..hot.clone()
            },
        ),
        ("the whole distribution", hot),
    ];
    for (name, sampling) in ways {
        let mut sampler = Sampler::new(&sampling, N_VOCAB)?;
        let mut fastest = Duration::MAX;
        for position in 0..50 {
            let mut scratch = logits.clone();
            let start = Instant::now();
            sampler.choose(&mut scratch, position)?;
            fastest = fastest.min(start.elapsed());
        }
        println!(
            "{:>8.1} us to choose one of {N_VOCAB}: {name}",
            fastest.as_secs_f64() * 1e6
        );
    }
    Ok(())
}

/// The fastest round, in microseconds a token: other work on the machine only adds.
fn per_token(times: Vec<Duration>) -> f64 {
    let fastest = times.into_iter().min().unwrap_or_default();
    fastest.as_secs_f64() * 1e6 / f64::from(TOKENS)
}

/// A network without an engine.
struct Bare {
    ops: Cpu,
    network: Box<dyn ingle::networks::Network<Cpu>>,
    memory: <Cpu as Ops>::Memory,
    pages: Vec<PageId>,
}

impl Bare {
    fn load(path: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let files = ModelFiles::open(path)?;
        let metadata: &Metadata = files.metadata();
        let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).ok_or("no kernels")?;
        let network = ingle::networks::load(metadata, &files, &ops, 512, 512, &mut |_| {})?;
        let memory = ops.memory(&network.layers(), KvType::F16, 2);
        Ok(Self {
            ops,
            network,
            memory,
            pages: vec![PageId(0), PageId(1)],
        })
    }

    /// One forward pass a token, each on the most probable token of the last.
    fn run(&mut self) {
        let (mut token, mut logits) = (1, Vec::new());
        for position in 0..TOKENS {
            let row = Row {
                item: Item::Token(TokenId(token)),
                position,
                sequence: 0,
            };
            let batch = Batch {
                rows: &[row],
                sequences: &[&self.pages],
                outputs: &[0],
                hidden: false,
            };
            // Weights in memory are always there.
            let _ = self
                .network
                .forward(&mut self.ops, &mut self.memory, &batch, &mut logits);
            let best =
                (0..).zip(&logits).fold(
                    (0, f32::MIN),
                    |best, (i, &l)| if l > best.1 { (i, l) } else { best },
                );
            token = best.0;
        }
    }
}

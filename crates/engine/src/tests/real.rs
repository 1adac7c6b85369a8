//! Real networks whose passes are cut anywhere, and whose weights cannot be read now and then: the
//! same tokens and the same bits as of an engine that does one thing after the other.

#[path = "../../../model/tests/support/mod.rs"]
mod support;

use crate::engine::Parts;
use crate::sampler::Sampling;
use crate::{Budget, Engine, Event, FinishReason, LoadOptions, Plan, Request, RequestId};
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use ingle_model::{Head, Network, Part, Shape};
use ingle_tensor::SourceError;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Ops, PagedLayer, Workload};
use ingle_tensor::team::Team;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Model, N_VOCAB, Rng};

/// What happens to a network.
struct Weather {
    rng: Rng,
    /// A part in so many fails half-way; 0: none.
    one_in: u32,
    failed: u32,
    now: Duration,
}

/// A network that takes its time, and cannot always read its weights.
struct Troubled {
    inner: Box<dyn Network<Cpu>>,
    weather: Arc<Mutex<Weather>>,
}

impl Network<Cpu> for Troubled {
    fn shape(&self) -> Shape {
        self.inner.shape()
    }
    fn layers(&self) -> Vec<PagedLayer> {
        self.inner.layers()
    }
    fn workload(&self, max_rows: usize) -> Workload {
        self.inner.workload(max_rows)
    }
    fn hidden(&self) -> &<Cpu as Ops>::Buf {
        self.inner.hidden()
    }
    fn head(&self) -> Head {
        self.inner.head()
    }

    fn forward_part(
        &mut self,
        ops: &mut Cpu,
        memory: &mut <Cpu as Ops>::Memory,
        batch: &Batch<'_>,
        part: &Part<'_>,
        logits: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let mut weather = self.weather.lock().unwrap();
        let took = 1 + u64::from(weather.rng.next_u32() % 1000);
        weather.now += Duration::from_millis(took);
        if weather.one_in == 0 || !weather.rng.next_u32().is_multiple_of(weather.one_in) {
            return self.inner.forward_part(ops, memory, batch, part, logits);
        }
        weather.failed += 1;
        let half = Part {
            layers: part.layers.start..part.layers.start.midpoint(part.layers.end),
            ..part.clone()
        };
        self.inner.forward_part(ops, memory, batch, &half, logits)?;
        logits.clear();
        Err(SourceError::Missing {
            name: "half".into(),
        })
    }
}

const CONTEXT: u32 = 320;

fn engine(model: &Model, options: LoadOptions, weather: &Arc<Mutex<Weather>>) -> Engine<Cpu> {
    let (metadata, source) = model.build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let options = LoadOptions {
        context: options.context.or(Some(CONTEXT)),
        ..options
    };
    let budget = Budget::new(1 << 30);
    let mut plan = Plan::new(&metadata, &source, &ops, &options, budget.free()).unwrap();
    plan.options.max_stall = options.max_stall; // as if weights were read while they are used
    let network = Troubled {
        inner: ingle_model::load(
            &metadata,
            &source,
            &ops,
            plan.rows(),
            plan.context,
            &mut |_| {},
        )
        .unwrap(),
        weather: Arc::clone(weather),
    };
    Engine::assemble(Parts {
        cache: ops.memory(&network.layers(), plan.options.kv, plan.n_pages as usize),
        ops,
        network: Box::new(network),
        vocabulary: Arc::new(Vocabulary::from_metadata(&metadata).unwrap()),
        rerank: None,
        lease: budget.take(plan.total()).unwrap(),
        plan,
    })
}

fn weather(seed: u64, one_in: u32) -> Arc<Mutex<Weather>> {
    Arc::new(Mutex::new(Weather {
        rng: Rng(seed * 2 + 1),
        one_in,
        failed: 0,
        now: Duration::ZERO,
    }))
}

fn requests() -> Vec<Request> {
    let mut rng = Rng(77);
    let mut text = |n: usize| -> Vec<TokenId> {
        let token = |_| TokenId(rng.next_u32() % N_VOCAB as u32);
        (0..n).map(token).collect()
    };
    let beginning = text(100);
    let lengths = [3, 40, 250, 1, 130, 200, 64, 180];
    let request = |(i, n): (usize, usize)| {
        let mut prompt = text(n);
        if i % 3 == 1 {
            prompt.splice(..0, beginning.iter().copied());
        }
        Request {
            max_tokens: Some(6 + i as u32 * 5 % 23),
            sampling: Sampling {
                temperature: [0.0, 0.8][i % 2],
                seed: i as u64,
                logprobs: Some(1),
                ..Sampling::default()
            },
            ignore_end: true,
            ..Request::new(prompt)
        }
    };
    lengths.into_iter().enumerate().map(request).collect()
}

type Said = Vec<(TokenId, u32)>;

/// What each request says, and how it ends. They come one after the other while others are computed.
fn run(
    engine: &mut Engine<Cpu>,
    weather: &Arc<Mutex<Weather>>,
    requests: &[Request],
) -> Vec<(Said, FinishReason)> {
    let mut said: BTreeMap<RequestId, Said> = BTreeMap::new();
    let (mut ends, mut ids) = (BTreeMap::new(), Vec::new());
    let now = || weather.lock().unwrap().now;
    while ids.len() < requests.len() || !engine.is_idle() {
        let next = engine.is_idle() || engine.parts() >= 2 * ids.len() as u64;
        if ids.len() < requests.len() && next {
            let request = requests[ids.len()].clone();
            ids.push(engine.submit(request, now()).unwrap());
        }
        for event in engine.step(now()) {
            match event {
                Event::Token {
                    request,
                    token,
                    logprob,
                    ..
                } => {
                    let bits = logprob.unwrap().to_bits();
                    said.entry(request).or_default().push((token, bits));
                }
                Event::Finished {
                    request, reason, ..
                } => assert!(ends.insert(request, reason).is_none()),
                Event::Embedded { .. } => unreachable!("nobody asked for numbers"),
            }
        }
        engine.check().unwrap();
    }
    let all = ids.iter().map(|id| {
        let said = said.remove(id).unwrap_or_default();
        (said, ends.remove(id).unwrap())
    });
    all.collect()
}

fn cut(max_stall: Option<u64>) -> LoadOptions {
    LoadOptions {
        max_sequences: 5,
        max_stall: max_stall.map(Duration::from_millis),
        max_guesses: 8,
        contexts: Some(3),
        ..LoadOptions::default()
    }
}

#[test]
fn cut_passes_and_failed_batches_change_no_bit() {
    let mut windows = Model::random("gemma2");
    windows.set("gemma2.attention.sliding_window", 70_u32);
    let random = ["llama", "qwen3", "qwen3moe"].map(Model::random);
    let models = random.into_iter().chain([Model::mixtral(false), windows]);
    for (i, model) in models.enumerate() {
        let model = model.with_vocabulary();
        let requests = requests();
        let fair = weather(1, 0);
        let mut alone = engine(&model, cut(None), &fair);
        let one = |r: &Request| run(&mut alone, &fair, std::slice::from_ref(r)).remove(0);
        let expected: Vec<_> = requests.iter().map(one).collect();
        for (seed, one_in, stall) in [
            (2, 0, Some(0)),
            (3, 0, Some(900)),
            (4, 20, None),
            (5, 20, Some(700)),
        ] {
            let weather = weather(seed, one_in);
            let mut engine = engine(&model, cut(stall), &weather);
            let answers = run(&mut engine, &weather, &requests);
            assert!(stall.is_none() || engine.parts() > engine.steps());
            assert_eq!(weather.lock().unwrap().failed > 0, one_in > 0);
            let mut whole = 0;
            for ((said, end), (expected, _)) in answers.iter().zip(&expected) {
                let ended = matches!(end, FinishReason::Unreadable(why) if why.contains("half"));
                assert!(if ended { one_in > 0 } else { said == expected });
                assert!(expected.starts_with(said), "model {i}, seed {seed}");
                whole += usize::from(!ended);
            }
            assert!(whole > requests.len() / 2, "{whole} answers are whole");
        }
    }
}

#[test]
fn prompts_of_thousands_of_tokens_share_one_pass() {
    let model = Model::random("qwen3moe").with_vocabulary();
    let mut rng = Rng(5);
    let mut request = |n: usize| {
        let token = |_| TokenId(rng.next_u32() % N_VOCAB as u32);
        let sampling = Sampling {
            logprobs: Some(1),
            ..Sampling::greedy()
        };
        Request {
            max_tokens: Some(3),
            sampling,
            ignore_end: true,
            ..Request::new((0..n).map(token).collect())
        }
    };
    let requests = [request(2100), request(700)];
    let with_rows = |rows: u32| {
        let fair = weather(1, 0);
        let options = LoadOptions {
            context: Some(2200),
            max_batch_rows: rows,
            max_guesses: 0,
            ..cut(Some(2000))
        };
        let mut engine = engine(&model, options, &fair);
        for request in &requests {
            engine.submit(request.clone(), Duration::ZERO).unwrap();
        }
        let mut said: BTreeMap<RequestId, Said> = BTreeMap::new();
        let mut batches = Vec::new();
        while !engine.is_idle() {
            for event in engine.step(Duration::ZERO) {
                if let Event::Token {
                    request,
                    token,
                    logprob,
                    ..
                } = event
                {
                    batches.push(engine.steps());
                    let bits = logprob.unwrap().to_bits();
                    said.entry(request).or_default().push((token, bits));
                }
            }
        }
        (said, batches)
    };
    let (few, many) = (with_rows(256), with_rows(8192));
    assert!(few.0 == many.0, "tokens differ");
    assert_eq!((few.1[0], &many.1[..2]), (9, &[1, 1][..]));
}

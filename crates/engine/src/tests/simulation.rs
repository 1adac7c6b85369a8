//! Random requests, cancelled, paused, thrown out, cut back and guessed at, on a network without
//! arithmetic: every token is compared with an oracle's, and `check` holds after every step.
//!
//! A failure names the seed of its episode: `episode(seed)` repeats it.

use super::fake::{FakeNetwork, FakeOps, Faults, N_VOCAB, hash, hidden, logits};
use super::fake_store::{FakeStore, Kept};
use crate::engine::{Engine, Parts};
use crate::memory::pages_for;
use crate::sampler::{Sampler, Sampling};
use crate::{
    Budget, EmbedRequest, Event, FinishReason, Guesser, LoadOptions, Plan, Pooling, Request,
    RequestId, Want,
};
use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value};
use ingle_formats::vocabulary::Vocabulary;
use ingle_model::{Head, Needs, Network};
use ingle_tensor::ops::Ops;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Actions of one engine, before it is left to finish what it has.
const EPISODE: u64 = 2_000;

/// A small generator: xorshift64*.
#[derive(Clone)]
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let x = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        x as usize % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What happened, so that a simulation in which nothing happens is found.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    actions: u64,
    batches: u64,
    requests: u64,
    cancelled: u64,
    tokens: u64,
    cached: u64,
    preempted: u64,
    right_guesses: u64,
    wrong_guesses: u64,
    failed_batches: u64,
    unreadable: u64,
    parts: u64,
    beside: u64,
    /// Tokens of prompts that came back from disk.
    from_disk: u64,
}

/// What a request must get.
#[derive(Clone)]
struct Expected {
    prompt: Vec<TokenId>,
    /// The answer, and then the last event.
    tokens: Vec<TokenId>,
    values: Vec<f32>,
    got: usize,
}

/// The answers of all requests that are there, and the guesser's memory of them.
#[derive(Default)]
struct Answers {
    texts: HashMap<RequestId, Vec<TokenId>>,
    right: u64,
    wrong: u64,
}

/// Guesses by the oracle, and lies.
struct Liar {
    rng: Rng,
    answers: Arc<Mutex<Answers>>,
}

impl Guesser for Liar {
    fn guess(&mut self, id: RequestId, known: &[TokenId], max: usize, out: &mut Vec<TokenId>) {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let text = &answers.texts[&id];
        assert_eq!(known, &text[..known.len()]);
        // More than there is to come, too.
        for i in known.len()..known.len() + self.rng.below(max + 1) {
            let truth = text.get(i).map_or(0, |token| token.0);
            let lie = u32::from(self.rng.chance(20));
            out.push(TokenId((truth + lie) % N_VOCAB as u32));
        }
    }

    fn judged(&mut self, id: RequestId, guessed: usize, right: usize) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(answers.texts.contains_key(&id) && right <= guessed);
        answers.right += right as u64;
        answers.wrong += (guessed - right) as u64;
    }

    fn over(&mut self, id: RequestId) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(answers.texts.remove(&id).is_some());
    }
}

pub fn engine(
    options: LoadOptions,
    context: u32,
    n_pages: u32,
    faults: &Arc<Mutex<Faults>>,
) -> Engine<FakeOps> {
    let tokens: Vec<String> = (0..N_VOCAB).map(|i| format!("w{i}")).collect();
    let pairs: [(String, Value); 4] = [
        ("tokenizer.ggml.model".to_owned(), "llama".into()),
        (
            "tokenizer.ggml.scores".to_owned(),
            vec![0_f32; N_VOCAB].into(),
        ),
        (
            "tokenizer.ggml.token_type".to_owned(),
            vec![1_i32; N_VOCAB].into(),
        ),
        ("tokenizer.ggml.tokens".to_owned(), tokens.into()),
    ];
    let metadata = Metadata::from_pairs(pairs.to_vec()).unwrap();
    let mut network = FakeNetwork::default();
    network.faults = Arc::clone(faults);
    let needs = Needs {
        mixtures: Vec::new(),
        vector_bytes: 0,
        table_bytes: 0,
        architecture: "fake".into(),
        shape: network.shape(),
        layers: network.layers(),
        native_len: context,
        weight_bytes: 0,
        file_bytes: 0,
        buffer_bytes: 0,
        head: Head::Vocabulary,
        causal: true,
        pooling: None,
        warnings: Vec::new(),
    };
    let plan = Plan {
        streamed: None,
        n_pages,
        options,
        context,
        needs,
        sequence_bytes: 0,
        buffer_bytes: 0,
        vocabulary_bytes: 0,
        pooling: Pooling::Mean,
        free: 0,
        warnings: Vec::new(),
    };
    Engine::assemble(Parts {
        cache: FakeOps.memory(&network.layers(), plan.options.kv, plan.n_pages as usize),
        ops: FakeOps,
        network: Box::new(network),
        vocabulary: Arc::new(Vocabulary::from_metadata(&metadata).unwrap()),
        rerank: None,
        plan,
        lease: Budget::new(0).take(0).unwrap(),
    })
}

/// One engine and what its requests must get.
struct World {
    rng: Rng,
    engine: Engine<FakeOps>,
    expected: BTreeMap<RequestId, Expected>,
    paused: Vec<RequestId>,
    /// Texts that new requests continue.
    texts: Vec<Vec<TokenId>>,
    answers: Arc<Mutex<Answers>>,
    faults: Arc<Mutex<Faults>>,
    /// What is on disk.
    kept: Arc<Mutex<Kept>>,
    /// Whether there are faults in this episode.
    faulty: bool,
    tally: Tally,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            rng.below(2);
        }
        let context = 70 + rng.below(400) as u32;
        let options = LoadOptions {
            context: Some(context),
            max_sequences: 1 + rng.below(7) as u32,
            max_batch_rows: 7 + rng.below(150) as u32,
            max_waiting: 1 + rng.below(12) as u32,
            max_guesses: rng.below(20) as u32,
            max_stall: [None, None, Some(0), Some(50), Some(300)][rng.below(5)]
                .map(Duration::from_millis),
            max_step: [None, Some(0), Some(100), Some(400)][rng.below(4)]
                .map(Duration::from_millis),
            page_buffers: rng.below(5) as u32,
            ..LoadOptions::default()
        };
        let pages = pages_for(u64::from(context)) as u32 + rng.below(18) as u32;
        let faults = Arc::default();
        let mut world = Self {
            engine: engine(options, context, pages, &faults),
            faulty: rng.chance(50),
            faults,
            kept: Arc::new(Mutex::new(Kept::new(rng.0))),
            rng,
            expected: BTreeMap::new(),
            paused: Vec::new(),
            texts: vec![Vec::new()],
            answers: Arc::new(Mutex::default()),
            tally: Tally::default(),
        };
        world.furnish();
        world
    }

    /// The engine gets its guesser and its store.
    fn furnish(&mut self) {
        self.engine.set_guesser(Some(Box::new(Liar {
            rng: self.rng.clone(),
            answers: Arc::clone(&self.answers),
        })));
        let store = FakeStore::of(&self.kept);
        let used = self.engine.set_page_store(Box::new(store));
        assert_eq!(used, self.engine.plan().options.page_buffers > 0);
    }

    /// Another engine with the same disk: the process was ended and has begun again.
    fn restart(&mut self) {
        self.account();
        let plan = self.engine.plan().clone();
        self.faults = Arc::default();
        self.engine = engine(plan.options, plan.context, plan.n_pages, &self.faults);
        self.furnish();
    }

    /// What the engine has done is counted.
    fn account(&mut self) {
        let faults = self.faults.lock().unwrap();
        self.tally.batches += self.engine.steps();
        self.tally.preempted += self.engine.preemptions();
        self.tally.parts += self.engine.parts();
        self.tally.failed_batches += faults.failed;
        self.tally.beside += faults.beside;
    }

    /// The beginning of an earlier text, and some tokens more.
    fn prompt(&mut self) -> Vec<TokenId> {
        let i = self.rng.below(self.texts.len());
        let mut prompt = self.texts[i].clone();
        if self.rng.chance(70) {
            prompt.truncate(self.rng.below(prompt.len() + 1));
        }
        let most = if self.rng.chance(30) { 200 } else { 20 };
        let more = self.rng.below(most);
        prompt.extend((0..=more).map(|_| TokenId(self.rng.below(N_VOCAB) as u32)));
        prompt.truncate(self.engine.context() as usize - 1);
        prompt
    }

    fn submit(&mut self) {
        let now = self.now();
        let prompt = self.prompt();
        if self.rng.chance(8) {
            let values = vec![mean(&prompt)];
            let request = EmbedRequest {
                tokens: prompt.clone(),
                second: None,
                want: Want::Embedding { normalise: false },
            };
            let user = self.rng.below(3) as u64;
            if let Ok(id) = self.engine.submit_embed_as(user, request, now) {
                self.expect(id, prompt, Vec::new(), values);
            }
            return;
        }
        let room = self.engine.context() as usize - prompt.len();
        let most = 1 + self.rng.below(120);
        let n = room.min(most);
        let sampling = match self.rng.chance(50) {
            true => Sampling::greedy(),
            false => Sampling {
                seed: self.rng.below(9) as u64,
                repetition_penalty: 1.0 + self.rng.below(2) as f32,
                ..Sampling::default()
            },
        };
        let tokens = oracle(&prompt, n, &sampling);
        let request = Request {
            max_tokens: (n < room || self.rng.chance(50)).then_some(n as u32),
            sampling,
            fresh: self.rng.chance(10),
            ignore_end: true,
            namespace: self.rng.below(2) as u64,
            user: self.rng.below(3) as u64,
            store: self.rng.chance(60),
            ..Request::new(prompt.clone())
        };
        if let Ok(id) = self.engine.submit(request, now) {
            self.expect(id, prompt, tokens, Vec::new());
        }
    }

    fn expect(
        &mut self,
        id: RequestId,
        prompt: Vec<TokenId>,
        tokens: Vec<TokenId>,
        values: Vec<f32>,
    ) {
        self.tally.requests += 1;
        let text: Vec<TokenId> = prompt.iter().chain(&tokens).copied().collect();
        let mut answers = self.answers.lock().unwrap();
        answers.texts.insert(id, text.clone());
        drop(answers);
        match self.texts.len() {
            0..12 => self.texts.push(text),
            n => self.texts[self.rng.below(n)] = text,
        }
        self.texts[0].clear();
        let expected = Expected {
            prompt,
            tokens,
            values,
            got: 0,
        };
        self.expected.insert(id, expected);
    }

    fn read(&mut self, event: Event) {
        let id = event.request();
        let expected = self.expected.get_mut(&id).expect("an event after the last");
        match event {
            Event::Token { token, .. } => {
                assert_eq!(token, expected.tokens[expected.got], "request {id:?}");
                expected.got += 1;
                self.tally.tokens += 1;
            }
            Event::Embedded { values, .. } => assert_eq!(values, expected.values),
            Event::Finished { reason, usage, .. } => {
                let all = expected.got == expected.tokens.len();
                match reason {
                    FinishReason::Length => assert!(all && expected.values.is_empty()),
                    FinishReason::Embedded => assert!(!expected.values.is_empty()),
                    FinishReason::Cancelled => self.tally.cancelled += 1,
                    FinishReason::Unreadable(why) => {
                        // It was by itself, and guessed nothing.
                        let (sequences, outputs) = self.faults.lock().unwrap().latest;
                        assert!(self.faulty && sequences == 1 && outputs <= 1);
                        assert!(why.contains("unreadable"));
                        self.tally.unreadable += 1;
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(usage.prompt_tokens as usize, expected.prompt.len());
                assert_eq!(usage.generated_tokens as usize, expected.got);
                assert!(usage.cached_tokens < usage.prompt_tokens);
                assert!(usage.disk_tokens <= usage.cached_tokens);
                self.tally.cached += u64::from(usage.cached_tokens);
                self.tally.from_disk += u64::from(usage.disk_tokens);
                self.expected.remove(&id);
                self.paused.retain(|other| *other != id);
            }
        }
    }

    fn now(&self) -> Duration {
        self.faults.lock().unwrap().took
    }

    fn any(&mut self) -> Option<RequestId> {
        let ids: Vec<RequestId> = self.expected.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.rng.below(ids.len())])
    }

    fn step(&mut self) {
        let (parts, stalled) = (self.engine.parts(), self.engine.is_stalled());
        let (idle, now) = (self.engine.is_idle(), self.now());
        let events = self.engine.step(now);
        let worked = self.engine.parts() > parts || !events.is_empty();
        if self.engine.warm.is_none() {
            assert_eq!(worked, !idle && !stalled, "a step without progress");
        }
        events.into_iter().for_each(|event| self.read(event));
    }

    /// Weights cannot be read, or can be read again.
    fn break_something(&mut self) {
        let mut faults = self.faults.lock().unwrap();
        faults.one_in = [0, 0, 0, 30, 5][self.rng.below(5)];
        faults.tokens.clear();
        if self.rng.chance(20) {
            let token = TokenId(self.rng.below(N_VOCAB) as u32);
            faults.tokens.push(token);
        }
    }

    fn act(&mut self) {
        let now = self.now();
        match self.rng.below(100) {
            0..12 => self.submit(),
            12..15 => {
                if let Some(id) = self.any() {
                    // Some are cancelled twice, before the step that says so.
                    self.engine.cancel(id, now);
                }
            }
            15..19 => {
                if let Some(id) = self.any() {
                    self.engine.pause(id, true);
                    self.paused.push(id);
                }
            }
            19..24 => {
                if let Some(id) = self.paused.pop() {
                    self.engine.pause(id, false);
                }
            }
            24..26 => self.engine.preempt_any(self.rng.below(8)),
            26..29 => self
                .engine
                .rewind_any(self.rng.below(8), self.rng.below(200)),
            29..31 => self.engine.evict_some(self.rng.below(5)),
            31..33 if self.faulty => self.break_something(),
            _ => self.step(),
        }
        self.engine.check().unwrap();
        self.tally.actions += 1;
    }
}

/// What happens to sequences from outside.
impl Engine<FakeOps> {
    fn preempt_any(&mut self, i: usize) {
        if i < self.running.len() {
            self.preempt(i);
        }
    }

    fn rewind_any(&mut self, i: usize, positions: usize) {
        // The sums of an embedding cannot be cut back.
        if let Some(sequence) = self.running.get_mut(i)
            && sequence.keeps().is_some()
        {
            sequence.rewind(positions, &mut self.memory);
        }
    }

    fn evict_some(&mut self, n: usize) {
        for _ in 0..n {
            self.memory.evict();
        }
    }
}

/// The answer to a prompt.
pub fn oracle(prompt: &[TokenId], n: usize, sampling: &Sampling) -> Vec<TokenId> {
    let mut sampler = Sampler::new(sampling, N_VOCAB).unwrap();
    prompt.iter().for_each(|&token| sampler.accept(token));
    let mut seen = prompt.iter().copied().fold(0, hash);
    let mut next = |position| {
        let mut logits: Vec<f32> = logits(seen).collect();
        let token = sampler.choose(&mut logits, position as u32).unwrap().token;
        sampler.accept(token);
        seen = hash(seen, token);
        token
    };
    (0..n).map(|i| next(prompt.len() + i)).collect()
}

fn mean(tokens: &[TokenId]) -> f32 {
    let rows = tokens.iter().zip(0..).map(|(&token, i)| hidden(token, i));
    let sum: f64 = rows.map(f64::from).sum();
    (sum / tokens.len() as f64) as f32
}

/// One engine from its first request to its last.
fn episode(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for life in 0..2 {
        if life > 0 {
            world.restart();
        }
        for _ in 0..EPISODE / 2 {
            world.act();
        }
        for id in std::mem::take(&mut world.paused) {
            world.engine.pause(id, false);
        }
        for _ in 0..20_000 {
            if world.engine.is_idle() {
                break;
            }
            world.step();
            world.engine.check().unwrap();
        }
        assert!(world.engine.is_idle() && world.expected.is_empty());
        world.engine.settle_store();
    }
    world.account();
    let answers = world.answers.lock().unwrap();
    assert!(
        answers.texts.is_empty(),
        "a guesser was not told of the end"
    );
    Tally {
        right_guesses: answers.right,
        wrong_guesses: answers.wrong,
        ..world.tally
    }
}

fn simulate(first_seed: u64, actions: u64) -> Tally {
    let mut all = Tally::default();
    for seed in first_seed..first_seed + actions.div_ceil(EPISODE) {
        let one = std::panic::catch_unwind(|| episode(seed));
        let one = one.unwrap_or_else(|_| panic!("the episode with seed {seed} failed"));
        all.actions += one.actions;
        all.batches += one.batches;
        all.requests += one.requests;
        all.cancelled += one.cancelled;
        all.tokens += one.tokens;
        all.cached += one.cached;
        all.preempted += one.preempted;
        all.right_guesses += one.right_guesses;
        all.wrong_guesses += one.wrong_guesses;
        all.failed_batches += one.failed_batches;
        all.unreadable += one.unreadable;
        all.parts += one.parts;
        all.beside += one.beside;
        all.from_disk += one.from_disk;
    }
    assert!(all.requests * 40 > all.actions, "{all:?}");
    assert!(
        all.cancelled > 0 && all.cached > 0 && all.preempted > 0,
        "{all:?}"
    );
    assert!(all.right_guesses > 0 && all.wrong_guesses > 0, "{all:?}");
    assert!(all.from_disk > 0 && all.cached > all.from_disk, "{all:?}");
    assert!(all.parts > all.batches && all.beside > 0, "{all:?}");
    assert!(
        all.unreadable > 0 && all.failed_batches > all.unreadable,
        "{all:?}"
    );
    all
}

#[test]
fn a_million_random_actions() {
    println!("{:#?}", simulate(1, 1_000_000));
}

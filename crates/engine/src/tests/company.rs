//! Users beside one another, answers to one prompt, and texts that come back from disk.

use super::fake::{FakeOps, Faults, N_VOCAB};
use super::fake_store::{FakeStore, Kept};
use super::simulation::{engine, oracle};
use crate::sampler::Sampling;
use crate::{Engine, Event, LoadOptions, Request, RequestId, Usage};
use ingle_formats::TokenId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct World {
    engine: Engine<FakeOps>,
    faults: Arc<Mutex<Faults>>,
    tokens: BTreeMap<RequestId, Vec<TokenId>>,
    usage: BTreeMap<RequestId, Usage>,
}

fn options(max_sequences: u32) -> LoadOptions {
    LoadOptions {
        max_sequences,
        max_batch_rows: 128,
        max_guesses: 0,
        max_stall: None,
        max_step: None,
        max_waiting: 1000,
        page_buffers: 3,
        ..LoadOptions::default()
    }
}

impl World {
    fn new(options: LoadOptions, pages: u32) -> Self {
        let faults = Arc::default();
        Self {
            engine: engine(options, 4096, pages, &faults),
            faults,
            tokens: BTreeMap::new(),
            usage: BTreeMap::new(),
        }
    }

    fn submit(&mut self, user: u64, prompt: &[TokenId], n: u32, seed: u64) -> RequestId {
        let request = Request {
            max_tokens: Some(n),
            sampling: sampling(seed),
            ignore_end: true,
            user,
            store: true,
            ..Request::new(prompt.to_vec())
        };
        let now = self.now();
        self.engine.submit(request, now).unwrap()
    }

    fn now(&self) -> Duration {
        self.faults.lock().unwrap().took
    }

    fn step(&mut self) {
        let now = self.now();
        for event in self.engine.step(now) {
            match event {
                Event::Token { request, token, .. } => {
                    self.tokens.entry(request).or_default().push(token);
                }
                Event::Finished { request, usage, .. } => {
                    assert!(self.usage.insert(request, usage).is_none());
                }
                Event::Embedded { .. } => unreachable!("nobody asked for numbers"),
            }
        }
        self.engine.check().unwrap();
    }

    fn finish(&mut self) {
        while !self.engine.is_idle() {
            self.step();
        }
    }

    /// Steps until a request has its first token.
    fn steps_to_first(&mut self, id: RequestId) -> u64 {
        let before = self.engine.steps();
        while !self.tokens.contains_key(&id) {
            self.step();
        }
        self.engine.steps() - before
    }
}

fn sampling(seed: u64) -> Sampling {
    Sampling {
        seed,
        ..Sampling::default()
    }
}

fn prompt(seed: u32, n: u32) -> Vec<TokenId> {
    let mix = |i: u32| (i + 99_991 * seed).wrapping_mul(2_654_435_761);
    let token = |i: u32| (mix(i) >> 9 ^ mix(i) >> 20) % N_VOCAB as u32;
    (0..n).map(token).map(TokenId).collect()
}

#[test]
fn a_user_with_a_hundred_requests_does_not_keep_another_waiting() {
    let mut world = World::new(options(4), 400);
    let many: Vec<_> = (0..100)
        .map(|i| world.submit(1, &prompt(i, 300), 100, 0))
        .collect();
    (0..30).for_each(|_| world.step());
    let one = world.submit(2, &prompt(777, 100), 5, 0);
    // All places are the other's: one of them is given up at once, and these rows come first.
    assert!(world.steps_to_first(one) <= 2);
    // The second of his requests has a place too, and the third waits for one of his own.
    let own: Vec<_> = (0..3)
        .map(|i| world.submit(2, &prompt(800 + i, 100), 40, 0))
        .collect();
    assert!(world.steps_to_first(own[0]) <= 4);
    world.finish();
    for (i, id) in many.iter().enumerate() {
        let prompt = prompt(i as u32, 300);
        assert_eq!(world.tokens[id], oracle(&prompt, 100, &sampling(0)));
    }
    assert_eq!(
        world.tokens[&own[2]],
        oracle(&prompt(802, 100), 40, &sampling(0))
    );
    assert!(world.engine.preemptions() > 0);
}

#[test]
fn users_get_as_many_rows_whatever_the_size_of_their_prompts() {
    let mut world = World::new(options(6), 400);
    let lengths = [1500, 200, 700];
    for i in 0..60 {
        for (user, len) in (0..).zip(lengths) {
            world.submit(user, &prompt(1000 * user as u32 + i, len), 1, 0);
        }
    }
    let mut least = 0;
    while least < 10_000 {
        world.step();
        let served = [0, 1, 2].map(|user| world.engine.shares.served(user));
        least = *served.iter().min().unwrap();
        // A batch goes to one, or to two where he needs no more.
        assert!(
            served.iter().max().unwrap() - least <= 2 * 128,
            "{served:?}"
        );
    }
    world.finish();
    assert_eq!(world.usage.len(), 180);
}

#[test]
fn several_answers_to_one_prompt_compute_it_once() {
    for len in [2, 5, 40, 64, 65, 200, 1000] {
        let mut world = World::new(options(8), 400);
        let text = prompt(9, len);
        let n = 4;
        let ids: Vec<_> = (0..n).map(|seed| world.submit(0, &text, 3, seed)).collect();
        world.finish();
        for (seed, id) in (0..).zip(&ids) {
            assert_eq!(world.tokens[id], oracle(&text, 3, &sampling(seed)));
        }
        // The prompt, its last token for each of the others, and the tokens of the answers.
        assert_eq!(world.engine.rows(), u64::from(len) + n - 1 + 2 * n, "{len}");
    }
}

#[test]
fn a_beginning_that_comes_with_many_at_once_is_computed_once() {
    let mut world = World::new(options(8), 400);
    let system = prompt(1, 2000);
    let texts: Vec<Vec<TokenId>> = (0..8)
        .map(|i| [&system[..], &[TokenId(i), TokenId(3)], &prompt(50 + i, 30)].concat())
        .collect();
    let ids: Vec<_> = (0..)
        .zip(&texts)
        .map(|(i, t)| world.submit(i, t, 3, 0))
        .collect();
    world.finish();
    for (id, text) in ids.iter().zip(&texts) {
        assert_eq!(world.tokens[id], oracle(text, 3, &sampling(0)));
    }
    // What is their own: 32 tokens of the prompt and two of the answer each.
    assert_eq!(world.engine.rows(), 2000 + 8 * 34);
    // Another tenant begins from nothing.
    let before = world.engine.rows();
    let stranger = Request {
        namespace: 1,
        max_tokens: Some(1),
        ignore_end: true,
        ..Request::new(texts[0].clone())
    };
    world.engine.submit(stranger, Duration::ZERO).unwrap();
    world.finish();
    assert_eq!(world.engine.rows() - before, 2032);
}

#[test]
fn the_second_turn_of_a_conversation_costs_its_new_tokens() {
    let mut world = World::new(options(4), 400);
    let first = prompt(3, 3500);
    let one = world.submit(0, &first, 100, 7);
    world.finish();
    let told = [&first[..], &world.tokens[&one], &prompt(4, 50)].concat();
    let before = world.engine.rows();
    let two = world.submit(0, &told, 2, 7);
    world.finish();
    assert_eq!(world.tokens[&two], oracle(&told, 2, &sampling(7)));
    // The last token of the answer was never computed, and each new one but the last is.
    assert_eq!(world.engine.rows() - before, 50 + 1 + 1);
    assert_eq!(world.usage[&two].cached_tokens, 3599);
}

/// What a prompt costs where it was computed by another engine.
fn after_restart(kept: &Arc<Mutex<Kept>>, text: &[TokenId], seed: u64) -> (u64, Usage) {
    let mut world = World::new(options(2), 100);
    assert!(world.engine.set_page_store(Box::new(FakeStore::of(kept))));
    let id = world.submit(0, text, 30, seed);
    world.finish();
    assert_eq!(world.tokens[&id], oracle(text, 30, &sampling(seed)));
    world.engine.settle_store();
    (world.engine.rows(), world.usage[&id])
}

#[test]
fn a_text_comes_back_from_disk() {
    let kept = Arc::new(Mutex::new(Kept::faithful()));
    let text = prompt(5, 1000);
    let (rows, usage) = after_restart(&kept, &text, 1);
    assert_eq!((rows, usage.cached_tokens), (1029, 0));
    assert_eq!(kept.lock().unwrap().writes, 16);
    // 15 whole pages of the prompt; the answer is another one.
    let (rows, usage) = after_restart(&kept, &text, 2);
    assert_eq!((usage.cached_tokens, usage.disk_tokens), (960, 960));
    assert_eq!(rows, 1029 - 960);
    // Where computing is faster nothing is read, and nothing more is kept.
    let writes = kept.lock().unwrap().writes;
    kept.lock().unwrap().rate = Some(1.0);
    let mut world = World::new(options(2), 100);
    world.engine.set_page_store(Box::new(FakeStore::of(&kept)));
    world.submit(0, &prompt(6, 500), 1, 0);
    world.finish();
    let id = world.submit(0, &text, 1, 2);
    world.finish();
    world.engine.settle_store();
    assert_eq!(world.usage[&id].disk_tokens, 0);
    assert_eq!(kept.lock().unwrap().writes, writes);
}

#[test]
fn what_may_not_be_kept_is_not_and_what_nobody_may_see_is_not_read() {
    let kept = Arc::new(Mutex::new(Kept::faithful()));
    let text = prompt(5, 500);
    let ask = |namespace: u64, store: bool| {
        let mut world = World::new(options(2), 100);
        world.engine.set_page_store(Box::new(FakeStore::of(&kept)));
        let request = Request {
            namespace,
            store,
            max_tokens: Some(2),
            ignore_end: true,
            ..Request::new(text.clone())
        };
        let id = world.engine.submit(request, Duration::ZERO).unwrap();
        world.finish();
        world.engine.settle_store();
        (world.usage[&id].disk_tokens, kept.lock().unwrap().writes)
    };
    assert_eq!(ask(1, false), (0, 0));
    assert_eq!(ask(1, true), (0, 7));
    assert_eq!(ask(1, false), (448, 7));
    assert_eq!(ask(2, false), (0, 7));
}

//! Long prompts that are computed in parts, so that nobody waits.

use super::fake::{FakeOps, Faults, N_VOCAB};
use super::simulation::{engine, oracle};
use crate::sampler::Sampling;
use crate::{Engine, Event, FinishReason, LoadOptions, Request, RequestId};
use ingle_formats::TokenId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const STALL: Duration = Duration::from_secs(3);

/// An engine, and what came when. A layer of `n` rows takes 10 + n milliseconds.
struct World {
    engine: Engine<FakeOps>,
    faults: Arc<Mutex<Faults>>,
    tokens: BTreeMap<RequestId, Vec<(Duration, TokenId)>>,
    ends: BTreeMap<RequestId, FinishReason>,
}

impl World {
    fn new(max_stall: Option<Duration>) -> Self {
        Self::bounded(max_stall, None)
    }

    fn bounded(max_stall: Option<Duration>, max_step: Option<Duration>) -> Self {
        let options = LoadOptions {
            max_sequences: 6,
            max_batch_rows: 8192,
            max_guesses: 0,
            max_stall,
            max_step,
            ..LoadOptions::default()
        };
        let faults = Arc::default();
        Self {
            engine: engine(options, 4096, 400, &faults),
            faults,
            tokens: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    fn now(&self) -> Duration {
        self.faults.lock().unwrap().took
    }

    fn submit(&mut self, prompt: &[TokenId], n: u32) -> RequestId {
        let request = Request {
            max_tokens: Some(n),
            sampling: Sampling::greedy(),
            ignore_end: true,
            ..Request::new(prompt.to_vec())
        };
        let now = self.now();
        self.engine.submit(request, now).unwrap()
    }

    fn step(&mut self) {
        let events = self.engine.step(self.now());
        let now = self.now();
        for event in events {
            match event {
                Event::Token { request, token, .. } => {
                    self.tokens.entry(request).or_default().push((now, token));
                }
                Event::Finished {
                    request, reason, ..
                } => assert!(self.ends.insert(request, reason).is_none()),
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

    fn said(&self, id: RequestId) -> Vec<TokenId> {
        let all = self.tokens.get(&id).into_iter().flatten();
        all.map(|(_, token)| *token).collect()
    }

    /// The longest time between two tokens.
    fn longest_wait(&self, id: RequestId) -> Duration {
        let all = &self.tokens[&id];
        let waits = all.windows(2).map(|two| two[1].0 - two[0].0);
        waits.max().unwrap()
    }
}

fn prompt(seed: u32, n: u32) -> Vec<TokenId> {
    let token = |i: u32| (i.wrapping_mul(2_654_435_761) >> 7 ^ seed) % N_VOCAB as u32;
    (0..n).map(token).map(TokenId).collect()
}

fn answer(prompt: &[TokenId], n: usize) -> Vec<TokenId> {
    oracle(prompt, n, &Sampling::greedy())
}

#[test]
fn nobody_waits_longer_than_the_stall_for_a_long_prompt() {
    let (short, long) = ([prompt(1, 20), prompt(2, 90)], prompt(3, 2100));
    for (stall, waits) in [(Some(STALL), STALL), (None, Duration::from_secs(8))] {
        let mut world = World::new(stall);
        let readers = short.each_ref().map(|prompt| world.submit(prompt, 120));
        (0..20).for_each(|_| world.step());
        let late = world.submit(&long, 10);
        (0..2).for_each(|_| world.step());
        // It comes while the long one is in its first layers, and is short.
        let third = world.submit(&prompt(4, 3), 5);
        world.finish();
        for (id, prompt) in readers.iter().zip(&short) {
            assert_eq!(world.said(*id), answer(prompt, 120));
            let longest = world.longest_wait(*id);
            assert_eq!(longest <= STALL, stall.is_some(), "{longest:?}");
            assert!(longest <= waits + Duration::from_secs(1), "{longest:?}");
        }
        assert_eq!(world.said(late), answer(&long, 10));
        assert_eq!(world.said(third), answer(&prompt(4, 3), 5));
        let first = |id: RequestId| world.tokens[&id][0].0;
        assert_eq!(first(third) < first(late), stall.is_some());
    }
}

#[test]
fn steps_are_bounded_where_passes_are_not_cut() {
    let step = Duration::from_millis(100);
    let mut world = World::bounded(None, Some(step));
    let readers = [prompt(1, 20), prompt(2, 90)];
    let ids = readers.each_ref().map(|prompt| world.submit(prompt, 150));
    (0..20).for_each(|_| world.step());
    let long = [prompt(3, 2100), prompt(4, 700)];
    let late = long.each_ref().map(|prompt| world.submit(prompt, 3));
    world.finish();
    for (id, prompt) in ids.iter().zip(&readers) {
        assert_eq!(world.said(*id), answer(prompt, 150));
        // A batch of two takes 48 ms by itself.
        let longest = world.longest_wait(*id);
        assert!(longest <= Duration::from_millis(48 + 120), "{longest:?}");
    }
    for (id, prompt) in late.iter().zip(&long) {
        assert_eq!(world.said(*id), answer(prompt, 3));
    }
    // Alone, a prompt is computed in larger steps.
    let steps = world.engine.steps();
    let alone = world.submit(&prompt(5, 2000), 1);
    world.finish();
    assert_eq!(world.said(alone), answer(&prompt(5, 2000), 1));
    assert!(
        world.engine.steps() - steps < 30,
        "{}",
        world.engine.steps() - steps
    );
}

#[test]
fn a_pass_that_is_short_enough_is_not_cut_and_takes_everybody_along() {
    let mut world = World::new(Some(STALL));
    let reader = world.submit(&prompt(1, 20), 60);
    (0..10).for_each(|_| world.step());
    let steps = world.engine.steps();
    let other = world.submit(&prompt(2, 300), 1);
    while !world.ends.contains_key(&other) {
        world.step();
    }
    assert_eq!(world.engine.steps(), steps + 1, "both are in one batch");
    world.finish();
    assert_eq!(world.faults.lock().unwrap().beside, 0);
    assert_eq!(world.said(reader), answer(&prompt(1, 20), 60));
}

#[test]
fn long_prompts_share_a_pass() {
    let mut world = World::new(Some(STALL));
    let prompts = [prompt(1, 2100), prompt(2, 2000), prompt(3, 3000)];
    let ids = prompts.each_ref().map(|prompt| world.submit(prompt, 2));
    while world.tokens.len() < 3 {
        world.step();
    }
    assert_eq!(world.engine.steps(), 1);
    world.finish();
    for (id, prompt) in ids.into_iter().zip(&prompts) {
        assert_eq!(world.said(id), answer(prompt, 2));
    }
}

#[test]
fn who_is_cancelled_leaves_a_pass_at_once() {
    let mut world = World::new(Some(STALL));
    let reader = world.submit(&prompt(1, 20), 60);
    (0..10).for_each(|_| world.step());
    let prompts = [prompt(2, 1500), prompt(3, 1500)];
    let ids = prompts.each_ref().map(|prompt| world.submit(prompt, 3));
    (0..2).for_each(|_| world.step());
    assert!(world.engine.parts() > world.engine.steps() - 1 && world.tokens.len() == 1);
    let now = world.now();
    assert!(world.engine.cancel(ids[0], now) && !world.engine.cancel(ids[0], now));
    world.engine.check().unwrap();
    world.step();
    assert_eq!(world.ends[&ids[0]], FinishReason::Cancelled);
    assert!(world.tokens.len() == 1, "the other is still on its way");
    world.finish();
    assert_eq!(world.said(reader), answer(&prompt(1, 20), 60));
    assert_eq!(world.said(ids[1]), answer(&prompts[1], 3));

    // The last one takes the pass with it.
    let only = world.submit(&prompt(5, 2500), 1);
    world.step();
    let now = world.now();
    assert!(!world.engine.is_idle() && world.engine.cancel(only, now));
    world.step();
    assert_eq!(world.ends[&only], FinishReason::Cancelled);
    assert!(world.engine.is_idle());
    world.engine.check().unwrap();
}

#[test]
fn what_cannot_be_read_ends_alone_and_in_the_middle_of_a_pass() {
    let mut world = World::new(Some(STALL));
    let bad = TokenId(15);
    let good = |seed, n| -> Vec<TokenId> {
        let tokens = prompt(seed, n).into_iter();
        tokens.map(|t| TokenId(t.0 % 15)).collect()
    };
    let mut long = good(3, 2000);
    long[77] = bad;
    let ids = [good(1, 20), good(2, 1800), long].map(|prompt| world.submit(&prompt, 1));
    world.faults.lock().unwrap().tokens.push(bad);
    world.finish();
    assert!(matches!(&world.ends[&ids[2]], FinishReason::Unreadable(why) if !why.is_empty()));
    for (id, n) in ids[..2].iter().zip([20, 1800]) {
        let prompt = good(if n == 20 { 1 } else { 2 }, n);
        assert_eq!(world.ends[id], FinishReason::Length);
        assert_eq!(world.said(*id), answer(&prompt, 1));
    }
    // Weights that can be read again are used again.
    world.faults.lock().unwrap().tokens.clear();
    let mut long = good(3, 2000);
    long[77] = bad;
    let again = world.submit(&long, 4);
    world.finish();
    assert_eq!(world.said(again), answer(&long, 4));
}

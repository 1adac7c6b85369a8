//! The engine on its own thread: every request ends exactly once, and nobody is waited for for ever.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../model/tests/support/mod.rs"]
mod support;

use ingle_engine::sampler::Sampling;
use ingle_engine::{
    Answer, Budget, Engine, EngineHandle, Event, FinishReason, LoadOptions, Patience, Plan,
    Refusal, Request, Turns,
};
use ingle_formats::TokenId;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::team::Team;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;
use support::Model;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// An engine with two places, and the clock that it reads (milliseconds).
fn start(context: u32, max_waiting: u32) -> (EngineHandle, Arc<AtomicU64>) {
    let (metadata, source) = Model::random("qwen3moe").with_vocabulary().build();
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(1))).unwrap();
    let budget = Budget::new(1 << 30);
    let options = LoadOptions {
        context: Some(context),
        max_sequences: 2,
        max_waiting,
        ..LoadOptions::default()
    };
    let plan = Plan::new(&metadata, &source, &ops, &options, budget.free()).unwrap();
    let engine = Engine::load(&metadata, &source, ops, plan, &budget, &mut |_, _| {}).unwrap();
    let clock = Arc::new(AtomicU64::new(0));
    let hand = Arc::clone(&clock);
    let now = move || Duration::from_millis(hand.load(Ordering::Relaxed));
    let patience = Patience(Duration::from_secs(30));
    (
        EngineHandle::start(engine, Turns::default(), patience, now).unwrap(),
        clock,
    )
}

fn request(text: &str, max_tokens: Option<u32>) -> Request {
    let bytes = text.bytes().map(|byte| TokenId(u32::from(byte) + 3));
    Request {
        max_tokens,
        sampling: Sampling {
            seed: 7,
            ..Sampling::default()
        },
        ignore_end: true,
        ..Request::new(std::iter::once(TokenId(1)).chain(bytes).collect())
    }
}

/// All tokens, and how it ended.
async fn read(mut answer: Answer) -> Result<(Vec<TokenId>, FinishReason), Refusal> {
    answer.taken().await?;
    let mut tokens = Vec::new();
    while let Some(event) = answer.next().await {
        if let Event::Token { token, .. } = &event {
            tokens.push(*token);
        }
        if let Event::Finished { reason, .. } = event {
            assert_eq!(answer.next().await, None, "an event after the last");
            return Ok((tokens, reason));
        }
    }
    unreachable!("no last event")
}

/// Waits until it holds. A fault is a test that hangs and is ended from outside.
fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::yield_now();
    }
}

#[test]
fn an_answer_is_the_same_alone_and_beside_others() {
    let (engine, _) = start(256, 16);
    let alone = block_on(read(engine.submit(request("once", Some(40))).unwrap())).unwrap();
    assert_eq!((alone.0.len(), &alone.1), (40, &FinishReason::Length));
    let others: Vec<Answer> = ["a", "bc", "def", "once", "x"]
        .iter()
        .map(|text| engine.submit(request(text, Some(30))).unwrap())
        .collect();
    let again = engine.submit(request("once", Some(40))).unwrap();
    assert_eq!(block_on(read(again)).unwrap(), alone);
    for other in others {
        assert_eq!(block_on(read(other)).unwrap().1, FinishReason::Length);
    }
    let stats = engine.stats();
    assert_eq!((stats.completed, stats.live, stats.running), (7, 0, 0));
}

#[test]
fn what_is_too_much_is_refused_at_once_and_what_is_wrong_by_name() {
    let (engine, _) = start(256, 3);
    let mut taken: Vec<Answer> = (0..3)
        .map(|_| engine.submit(request("a", None)).unwrap())
        .collect();
    assert!(matches!(
        engine.submit(request("a", None)),
        Err(Refusal::Busy { .. })
    ));
    taken.clear();
    until(|| engine.stats().live == 0);
    let mut wrong = engine.submit(request("a", Some(0))).unwrap();
    assert_eq!(block_on(wrong.taken()), Err(Refusal::NothingToDo));
    assert_eq!(block_on(wrong.next()), None);
    let stats = engine.stats();
    assert_eq!((stats.refused, stats.live), (2, 0));
}

#[test]
fn a_dropped_reader_frees_its_place_within_one_step() {
    // So long that nothing ends by itself.
    let (engine, _) = start(8192, 16);
    let mut answers: Vec<Answer> = (0..2)
        .map(|_| engine.submit(request("a", None)).unwrap())
        .collect();
    for answer in &mut answers {
        block_on(async {
            answer.taken().await.unwrap();
            answer.next().await.unwrap();
        });
    }
    assert_eq!(engine.stats().running, 2);
    answers.pop();
    let before = engine.stats().steps;
    until(|| engine.stats().running == 1);
    // One that was under way, and this thread may be late to look.
    let mut third = engine.submit(request("b", Some(3))).unwrap();
    block_on(third.taken()).unwrap();
    assert_eq!(engine.stats().running, 1, "the place was not free at once");
    drop(answers);
    assert_eq!(block_on(read(third)).unwrap().1, FinishReason::Length);
    until(|| engine.stats().live == 0);
    let idle = engine.stats();
    assert!(idle.steps > before);
    assert_eq!((idle.running, idle.cancelled, idle.completed), (0, 2, 1));
    assert_eq!(engine.stats().steps, idle.steps, "it works for nobody");
}

#[test]
fn a_reader_that_does_not_read_is_paused_then_cancelled() {
    let (engine, clock) = start(4096, 16);
    let mut slow = engine.submit(request("slow", None)).unwrap();
    block_on(slow.taken()).unwrap();
    // With 256 unread events it gets no more rows, so the engine comes to rest.
    until(|| {
        let steps = engine.stats().steps;
        std::thread::sleep(Duration::from_millis(30));
        steps >= 256 && engine.stats().steps == steps
    });
    assert_eq!((engine.stats().steps, engine.stats().running), (256, 1));
    // Others are not held up, and it goes on when it reads again.
    let quick = engine.submit(request("quick", Some(20))).unwrap();
    assert_eq!(block_on(read(quick)).unwrap().0.len(), 20);
    for _ in 0..300 {
        assert!(matches!(block_on(slow.next()), Some(Event::Token { .. })));
    }
    until(|| engine.stats().steps >= 128 + 256 + 20);
    clock.store(40_000, Ordering::Relaxed);
    until(|| {
        clock.fetch_add(10_000, Ordering::Relaxed);
        engine.stats().live == 0
    });
    let (tokens, reason) = block_on(read(slow)).unwrap();
    assert!(tokens.len() <= 256, "{}", tokens.len());
    assert_eq!(reason, FinishReason::Cancelled);
}

#[test]
fn draining_finishes_what_is_there_and_stopping_cancels_it() {
    let (engine, _) = start(4096, 16);
    let answer = engine.submit(request("a", Some(50))).unwrap();
    engine.drain();
    assert!(matches!(
        engine.submit(request("b", None)),
        Err(Refusal::Stopped)
    ));
    assert_eq!(block_on(read(answer)).unwrap().0.len(), 50);
    engine.join();

    let (engine, _) = start(4096, 16);
    let answers: Vec<Answer> = (0..5)
        .map(|_| engine.submit(request("a", None)).unwrap())
        .collect();
    engine.stop();
    engine.join();
    for answer in answers {
        let end = block_on(read(answer));
        assert!(matches!(
            end,
            Ok((_, FinishReason::Cancelled)) | Err(Refusal::Stopped)
        ));
    }
    assert_eq!(engine.stats().live, 0);
}

#[test]
fn more_than_it_can_hold_ends_in_one_of_three_ways() {
    let (engine, _) = start(512, 8);
    let readers: Vec<_> = (0..160)
        .map(|i| {
            let engine = engine.clone();
            std::thread::spawn(move || match engine.submit(request("load", Some(20))) {
                Err(Refusal::Busy { .. }) => (0, 0, 1),
                Err(other) => panic!("{other}"),
                Ok(answer) if i % 5 == 0 => {
                    drop(answer);
                    (0, 1, 0)
                }
                Ok(answer) => {
                    assert_eq!(block_on(read(answer)).unwrap().0.len(), 20);
                    (1, 0, 0)
                }
            })
        })
        .collect();
    let ends = readers.into_iter().map(|r| r.join().unwrap());
    let (completed, given_up, refused) =
        ends.fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
    assert_eq!(completed + given_up + refused, 160);
    until(|| engine.stats().live == 0);
    let stats = engine.stats();
    assert_eq!(
        (stats.refused, stats.taken),
        (refused, completed + given_up)
    );
    // What was given up late may have been complete.
    assert_eq!(stats.completed + stats.cancelled, completed + given_up);
    assert!(stats.completed >= completed);
}

//! Threads that read from any source: what arrives is what the source reads, in order, and every fault ends in an
//! answer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where it fails"
)]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ingle_formats::TensorType;
use ingle_formats::gguf::TensorInfo;
use ingle_tensor::fetch::{Fetcher, Sink, TensorRange, Threads, Urgency};
use ingle_tensor::{MemorySource, SourceError, WeightSource};
use proptest::prelude::*;

/// What a sink heard: the ticket, and the bytes of each range or why not.
type Heard = (u64, Result<Vec<Vec<u8>>, String>);

/// Long enough for a busy machine; a test that is right never waits for it.
const LONG: Duration = Duration::from_secs(60);

/// Tells a channel.
struct Tell(Mutex<Sender<Heard>>);

impl Sink for Tell {
    fn arrived(&self, ticket: u64, outcome: Result<&[&[u8]], SourceError>) {
        let heard = outcome.map(|ranges| ranges.iter().map(|range| range.to_vec()).collect());
        let heard = heard.map_err(|error| error.to_string());
        let _ = self.0.lock().unwrap().send((ticket, heard));
    }
}

fn sink() -> (Arc<dyn Sink>, Receiver<Heard>) {
    let (sender, receiver) = channel();
    (Arc::new(Tell(Mutex::new(sender))), receiver)
}

/// Two tensors of 4,000 and 68 bytes.
fn memory() -> MemorySource {
    let many: Vec<u8> = (0..4000_u32).map(|i| (i * i % 251) as u8).collect();
    let parts = [
        ("a", vec![1000], TensorType::F32, many),
        ("b", vec![32, 2], TensorType::Q8_0, (100..168).collect()),
    ];
    MemorySource::from_parts(parts).unwrap()
}

fn range(name: &str, offset: u64, len: usize) -> TensorRange {
    TensorRange {
        name: name.into(),
        offset,
        len,
    }
}

/// A source with faults: a gate before every read, reads that fail or panic.
struct Faulty {
    inner: MemorySource,
    /// Reads that may still begin.
    gate: Mutex<usize>,
    opened: Condvar,
    /// Reads that have begun.
    begun: AtomicUsize,
}

impl Faulty {
    fn new(gate: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: memory(),
            gate: Mutex::new(gate),
            opened: Condvar::new(),
            begun: AtomicUsize::new(0),
        })
    }

    fn open(&self, reads: usize) {
        *self.gate.lock().unwrap() += reads;
        self.opened.notify_all();
    }
}

impl WeightSource for Faulty {
    fn tensors(&self) -> &[TensorInfo] {
        self.inner.tensors()
    }

    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.inner.tensor(name)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.begun.fetch_add(1, SeqCst);
        let mut gate = self.gate.lock().unwrap();
        while *gate == 0 {
            gate = self.opened.wait(gate).unwrap();
        }
        *gate -= 1;
        drop(gate);
        assert!(offset != 13, "a source that panics");
        if offset == 7 {
            return Err(SourceError::Read {
                name: name.to_owned(),
                file: "m.gguf".to_owned(),
                offset,
                error: std::io::Error::other("input/output error"),
            });
        }
        self.inner.read(name, offset, into)
    }
}

fn one_thread(source: &Arc<Faulty>) -> Threads {
    let source: Arc<dyn WeightSource> = Arc::<Faulty>::clone(source);
    Threads::over(&source, 1).unwrap()
}

/// Waits until the first read has begun, so that what follows waits behind it.
fn wait_for_first(source: &Faulty) {
    while source.begun.load(SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

proptest! {
    #[test]
    fn what_arrives_is_what_the_source_reads(
        units in prop::collection::vec(prop::collection::vec((0..4000_u64, 0..4000_usize), 1..4), 1..40),
        threads in 1..4_usize,
    ) {
        let source: Arc<dyn WeightSource> = Arc::new(memory());
        let fetcher = Threads::over(&source, threads).unwrap();
        let (sink, heard) = sink();
        let units: Vec<Vec<TensorRange>> = units
            .into_iter()
            .map(|unit| unit.into_iter().map(|(at, len)| range("a", at, len.min(4000 - at as usize))).collect())
            .collect();
        for (ticket, unit) in units.iter().enumerate() {
            let urgency = if ticket % 3 == 0 { Urgency::Awaited } else { Urgency::Likely };
            fetcher.fetch(ticket as u64, unit, urgency, &sink);
        }
        let mut seen = vec![false; units.len()];
        for _ in &units {
            let (ticket, outcome) = heard.recv_timeout(LONG).unwrap();
            prop_assert!(!std::mem::replace(&mut seen[ticket as usize], true));
            let expected: Vec<Vec<u8>> = units[ticket as usize].iter().map(|range| {
                let mut into = vec![0; range.len];
                source.read(&range.name, range.offset, &mut into).unwrap();
                into
            }).collect();
            prop_assert_eq!(outcome.unwrap(), expected);
        }
        let bytes: usize = units.iter().flatten().map(|range| range.len).sum();
        let fetched = fetcher.fetched();
        prop_assert_eq!((fetched.requests, fetched.bytes), (units.len() as u64, bytes as u64));
    }
}

#[test]
fn awaited_before_likely_and_first_come_first_served() {
    let source = Faulty::new(0);
    let fetcher = one_thread(&source);
    let (sink, heard) = sink();
    let ask = |ticket, urgency| fetcher.fetch(ticket, &[range("a", 0, 4)], urgency, &sink);
    ask(0, Urgency::Likely);
    wait_for_first(&source);
    for ticket in 1..=4 {
        ask(ticket, Urgency::Likely);
    }
    ask(5, Urgency::Awaited);
    ask(6, Urgency::Awaited);
    fetcher.hasten(3);
    // Begun, and unknown: nothing happens.
    fetcher.hasten(0);
    fetcher.hasten(99);
    assert!(fetcher.withdraw(2));
    assert!(!fetcher.withdraw(2) && !fetcher.withdraw(0) && !fetcher.withdraw(99));
    source.open(100);
    let order: Vec<u64> = (0..6)
        .map(|_| heard.recv_timeout(LONG).unwrap().0)
        .collect();
    assert_eq!(order, [0, 5, 6, 3, 1, 4]);
    drop((fetcher, sink));
    assert!(heard.recv_timeout(LONG).is_err(), "nobody speaks any more");
}

#[test]
fn every_fault_is_an_answer_and_the_next_request_goes_well() {
    let source = Faulty::new(usize::MAX);
    let fetcher = one_thread(&source);
    let (sink, heard) = sink();
    let answer = |ranges: &[TensorRange]| {
        fetcher.fetch(1, ranges, Urgency::Awaited, &sink);
        heard.recv_timeout(LONG).unwrap().1
    };
    let good = [range("b", 60, 2)];
    for (ranges, message) in [
        (vec![range("a", 7, 4)], "m.gguf at byte 7"),
        (
            vec![range("b", 0, 4), range("a", 13, 4)],
            "could not be read",
        ),
        (vec![range("c", 0, 4)], "there is no tensor `c`"),
        (vec![range("b", 60, 9)], "do not lie in tensor `b`"),
        (vec![range("b", 0, usize::MAX)], "do not lie in tensor `b`"),
        (vec![range("b", u64::MAX, 2)], "do not lie in tensor `b`"),
    ] {
        let error = answer(&ranges).unwrap_err();
        assert!(error.contains(message), "{error}");
        assert_eq!(answer(&good), Ok(vec![vec![160, 161]]));
    }
    assert_eq!(answer(&[]), Ok(vec![]));
    assert_eq!(answer(&[range("b", 68, 0)]), Ok(vec![vec![]]));
}

/// Panics at every call, and says so.
struct Panics(Mutex<Sender<u64>>);

impl Sink for Panics {
    fn arrived(&self, ticket: u64, _: Result<&[&[u8]], SourceError>) {
        self.0.lock().unwrap().send(ticket).unwrap();
        panic!("a sink that panics");
    }
}

#[test]
fn a_sink_that_panics_hurts_nobody_else() {
    let source = Faulty::new(usize::MAX);
    let fetcher = one_thread(&source);
    let (sender, panicked) = channel();
    let bad: Arc<dyn Sink> = Arc::new(Panics(Mutex::new(sender)));
    let (good, heard) = sink();
    fetcher.fetch(1, &[range("a", 0, 4)], Urgency::Awaited, &bad);
    fetcher.fetch(2, &[range("a", 0, 4)], Urgency::Awaited, &good);
    assert_eq!(panicked.recv_timeout(LONG), Ok(1));
    assert_eq!(heard.recv_timeout(LONG).unwrap().0, 2);
}

#[test]
fn dropping_ends_the_threads_and_frees_the_sinks_that_hear_nothing() {
    let source = Faulty::new(0);
    let fetcher = one_thread(&source);
    let (sink, heard) = sink();
    for ticket in 0..100 {
        fetcher.fetch(ticket, &[range("a", 0, 4)], Urgency::Likely, &sink);
    }
    drop(sink);
    wait_for_first(&source);
    // The one read that was begun ends after a while; no other is begun.
    let dropping = std::thread::spawn(move || drop(fetcher));
    std::thread::sleep(Duration::from_millis(20));
    source.open(1);
    dropping.join().unwrap();
    let rest: Vec<Heard> = heard.iter().collect();
    assert_eq!((rest.len(), source.begun.load(SeqCst)), (1, 1));
}

/// Holds its fetcher, and lets go of it when it hears something.
struct Owner(Mutex<Option<Arc<dyn Fetcher>>>, Mutex<Sender<()>>);

impl Sink for Owner {
    fn arrived(&self, _: u64, _: Result<&[&[u8]], SourceError>) {
        drop(self.0.lock().unwrap().take());
        self.1.lock().unwrap().send(()).unwrap();
    }
}

#[test]
fn a_sink_may_drop_its_fetcher_and_may_ask_for_more() {
    let source = Faulty::new(usize::MAX);
    let fetcher: Arc<dyn Fetcher> = Arc::new(one_thread(&source));
    let (sender, done) = channel();
    let owner = Arc::new(Owner(Mutex::new(None), Mutex::new(sender)));
    let sink: Arc<dyn Sink> = Arc::<Owner>::clone(&owner);
    let mut own = owner.0.lock().unwrap();
    fetcher.fetch(1, &[range("a", 0, 4)], Urgency::Awaited, &sink);
    *own = Some(fetcher);
    drop(own);
    done.recv_timeout(LONG).unwrap();

    struct Again(Mutex<Sender<u64>>, Mutex<Option<Arc<dyn Fetcher>>>);
    impl Sink for Again {
        fn arrived(&self, ticket: u64, _: Result<&[&[u8]], SourceError>) {
            self.0.lock().unwrap().send(ticket).unwrap();
            let next: Arc<dyn Sink> = Arc::new(Tell(Mutex::new(channel().0)));
            if let Some(fetcher) = &*self.1.lock().unwrap() {
                fetcher.fetch(ticket + 1, &[range("a", 0, 4)], Urgency::Likely, &next);
                fetcher.hasten(ticket + 1);
                fetcher.withdraw(ticket + 1);
            }
        }
    }
    let fetcher: Arc<dyn Fetcher> = Arc::new(one_thread(&source));
    let (sender, asked) = channel();
    let again: Arc<dyn Sink> = Arc::new(Again(
        Mutex::new(sender),
        Mutex::new(Some(Arc::clone(&fetcher))),
    ));
    fetcher.fetch(1, &[range("a", 0, 4)], Urgency::Awaited, &again);
    assert_eq!(asked.recv_timeout(LONG), Ok(1));
}

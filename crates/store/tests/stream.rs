//! Reads that come later: every way of reading brings the bytes that `WeightSource::read` does, in the promised order,
//! and every fault of a file ends in an answer.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::collections::VecDeque;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ingle_formats::TensorType;
use ingle_formats::gguf::Writer;
use ingle_store::{CachePolicy, Io, ModelFiles, OpenOptions, ReadSetup, StoreError, Way};
use ingle_tensor::fetch::{Fetcher, Sink, TensorRange, Urgency};
use ingle_tensor::{SourceError, WeightSource};
use proptest::prelude::*;

/// Long enough for a busy machine; a test that is right never waits for it.
const LONG: Duration = Duration::from_secs(60);
/// Bytes of the tensors of the test's model: large, tiny, and of no round length, the last up to the file's end.
const LENGTHS: [usize; 4] = [700_004, 4, 8192, 41_236];

type Heard = (u64, Result<Vec<Vec<u8>>, SourceError>);

/// Tells a channel; the test's gates hold back those that ask it to.
struct Tell {
    to: Mutex<Sender<Heard>>,
    /// Tickets that have to wait.
    held: Mutex<Vec<u64>>,
    freed: Condvar,
}

impl Tell {
    fn new(held: &[u64]) -> (Arc<Self>, Receiver<Heard>) {
        let (sender, receiver) = channel();
        let tell = Self {
            to: Mutex::new(sender),
            held: Mutex::new(held.to_vec()),
            freed: Condvar::new(),
        };
        (Arc::new(tell), receiver)
    }

    fn free(&self, still: &[u64]) {
        *self.held.lock().unwrap() = still.to_vec();
        self.freed.notify_all();
    }
}

impl Sink for Tell {
    fn arrived(&self, ticket: u64, outcome: Result<&[&[u8]], SourceError>) {
        let heard = outcome.map(|ranges| ranges.iter().map(|range| range.to_vec()).collect());
        let held = self.held.lock().unwrap();
        drop(self.freed.wait_while(held, |held| held.contains(&ticket)));
        let _ = self.to.lock().unwrap().send((ticket, heard));
    }
}

fn sink() -> (Arc<dyn Sink>, Receiver<Heard>) {
    let (tell, receiver) = Tell::new(&[]);
    (tell, receiver)
}

fn write_model(path: &Path, seed: u32) {
    let mut writer = Writer::new().pair("general.architecture", "llama");
    let mut data = Vec::new();
    for (index, len) in LENGTHS.into_iter().enumerate() {
        writer = writer.tensor(index.to_string(), &[len as u64 / 4], TensorType::F32);
        let byte = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8;
        data.push((0..len as u32).map(byte).collect::<Vec<u8>>());
    }
    std::fs::write(path, writer.file(data).unwrap()).unwrap();
}

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        write_model(&path, 1);
        Self {
            path,
            _folder: folder,
        }
    }

    fn open(&self, io: Io) -> Arc<ModelFiles> {
        let cache = CachePolicy::Release;
        Arc::new(ModelFiles::open_with(&self.path, OpenOptions { io, cache }).unwrap())
    }

    /// Every way of reading that this machine has.
    fn ways(&self, setup: &ReadSetup) -> Vec<(Way, Arc<dyn Fetcher>)> {
        let mut ways: Vec<(Way, Arc<dyn Fetcher>)> = Vec::new();
        for io in [Io::Native, Io::Positioned, Io::Portable] {
            for direct in [true, false] {
                let setup = ReadSetup { direct, ..*setup };
                let (way, fetcher) = self.open(io).fetcher_and_way(&setup, 900_000).unwrap();
                let new = ways.iter().all(|(other, _)| *other != way);
                new.then(|| ways.push((way, fetcher)));
            }
        }
        for missing in [
            Way::IoUring { direct: true },
            Way::IoUring { direct: false },
            Way::Positioned { direct: true },
        ] {
            if ways.iter().all(|(way, _)| *way != missing) {
                println!("skipped: {missing} (refused here)");
            }
        }
        ways
    }
}

fn range(name: &str, offset: u64, len: usize) -> TensorRange {
    TensorRange {
        name: name.into(),
        offset,
        len,
    }
}

/// Some range of some tensor; often one of its ends.
fn any_range() -> impl Strategy<Value = TensorRange> {
    let ends = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0];
    (0..LENGTHS.len(), ends.clone(), ends).prop_map(|(index, a, b)| {
        let len = LENGTHS[index];
        let at = |part: f64| (part * len as f64) as usize;
        let (from, to) = (at(a).min(at(b)), at(a).max(at(b)));
        range(&index.to_string(), from as u64, to - from)
    })
}

fn read(source: &dyn WeightSource, ranges: &[TensorRange]) -> Vec<Vec<u8>> {
    let read = |range: &TensorRange| {
        let mut into = vec![0; range.len];
        source.read(&range.name, range.offset, &mut into).unwrap();
        into
    };
    ranges.iter().map(read).collect()
}

fn setup(depth: u32, read_size: u32) -> ReadSetup {
    ReadSetup {
        depth,
        read_size,
        ..ReadSetup::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_way_brings_what_the_source_reads(
        units in prop::collection::vec(prop::collection::vec(any_range(), 1..4), 1..30),
        depth in 1..20_u32,
        read_size in prop_oneof![Just(4096_u32), Just(128 << 10), 1..3_000_000_u32],
    ) {
        let fixture = Fixture::new();
        let source = fixture.open(Io::Positioned);
        for (way, fetcher) in fixture.ways(&setup(depth, read_size)) {
            let (sink, heard) = sink();
            for (ticket, unit) in units.iter().enumerate() {
                let urgency = if ticket % 3 == 0 { Urgency::Awaited } else { Urgency::Likely };
                fetcher.fetch(ticket as u64, unit, urgency, &sink);
                fetcher.hasten(ticket as u64 / 2);
            }
            let mut seen = vec![false; units.len()];
            for _ in &units {
                let (ticket, outcome) = heard.recv_timeout(LONG).unwrap();
                let ticket = ticket as usize;
                prop_assert!(!std::mem::replace(&mut seen[ticket], true));
                prop_assert!(outcome.unwrap() == read(&*source, &units[ticket]), "{way}");
            }
            let wanted: usize = units.iter().flatten().map(|range| range.len).sum();
            let fetched = fetcher.fetched();
            prop_assert_eq!(fetched.requests, units.len() as u64);
            prop_assert!(fetched.bytes >= wanted as u64);
        }
    }
}

/// Two threads deliver, one of them is held for the whole test: the other delivers in the order of the reads.
#[test]
fn the_ring_begins_awaited_before_likely_and_first_come_first_served() {
    let fixture = Fixture::new();
    let setup = setup(1, 128 << 10);
    let (way, fetcher) = fixture
        .open(Io::Native)
        .fetcher_and_way(&setup, 4096)
        .unwrap();
    if !matches!(way, Way::IoUring { .. }) {
        println!("skipped: io_uring is refused here");
        return;
    }
    let (tell, heard) = Tell::new(&[0, 1, 2, 3]);
    let sink: Arc<dyn Sink> = Arc::<Tell>::clone(&tell);
    let ask = |ticket, urgency| fetcher.fetch(ticket, &[range("2", 0, 100)], urgency, &sink);
    // Four requests fill all buffers; then nothing is begun any more.
    for ticket in 0..4 {
        ask(ticket, Urgency::Awaited);
    }
    while fetcher.fetched().requests < 4 {
        std::thread::sleep(Duration::from_millis(1));
    }
    for ticket in 10..14 {
        ask(ticket, Urgency::Likely);
    }
    ask(20, Urgency::Awaited);
    ask(21, Urgency::Awaited);
    fetcher.hasten(12);
    assert!(fetcher.withdraw(11));
    assert!(!fetcher.withdraw(11) && !fetcher.withdraw(0) && !fetcher.withdraw(99));
    tell.free(&[0]);
    let next = || heard.recv_timeout(LONG).unwrap().0;
    let first: Vec<u64> = (0..3).map(|_| next()).collect();
    assert!(first.iter().all(|ticket| (1..4).contains(ticket)));
    let order: Vec<u64> = (0..5).map(|_| next()).collect();
    assert_eq!(order, [20, 21, 12, 10, 13]);
    tell.free(&[]);
    assert_eq!(next(), 0);
}

/// Several threads ask, take back and hasten at the same time, with pauses in which everything falls asleep.
#[test]
fn every_request_ends_once_whoever_asks() {
    const EACH: u64 = 300;
    let fixture = Fixture::new();
    let source = fixture.open(Io::Positioned);
    for (way, fetcher) in fixture.ways(&setup(3, 8192)) {
        let (sink, heard) = sink();
        let ask = |thread: u64| {
            let mut withdrawn = Vec::new();
            for i in 0..EACH {
                let ticket = thread * EACH + i;
                let unit = [range("0", ticket * 97, 20_000), range("2", i, 5)];
                let likely = i % 3 == 0;
                let urgency = if likely {
                    Urgency::Likely
                } else {
                    Urgency::Awaited
                };
                fetcher.fetch(ticket, &unit, urgency, &sink);
                match i % 7 {
                    0 => fetcher.hasten(ticket),
                    1 if fetcher.withdraw(ticket - 1) => withdrawn.push(ticket - 1),
                    2 => std::thread::sleep(Duration::from_micros(i % 5 * 100)),
                    _ => {}
                }
            }
            withdrawn
        };
        let mut ended = vec![false; 3 * EACH as usize];
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|thread| scope.spawn(move || ask(thread)))
                .collect();
            for thread in threads {
                for ticket in thread.join().unwrap() {
                    assert!(!std::mem::replace(&mut ended[ticket as usize], true));
                }
            }
        });
        while ended.contains(&false) {
            let (ticket, outcome) = heard.recv_timeout(LONG).unwrap();
            assert!(
                !std::mem::replace(&mut ended[ticket as usize], true),
                "{way}"
            );
            let unit = [
                range("0", ticket * 97, 20_000),
                range("2", ticket % EACH, 5),
            ];
            assert!(outcome.unwrap() == read(&*source, &unit), "{way}");
        }
        drop(fetcher);
        assert!(heard.try_recv().is_err(), "{way}");
    }
}

#[test]
fn what_cannot_be_read_is_answered_and_the_rest_is_read() {
    let fixture = Fixture::new();
    let source = fixture.open(Io::Positioned);
    let good = [range("0", 5, 300_000), range("3", 1, 41_235)];
    for (way, fetcher) in fixture.ways(&setup(4, 64 << 10)) {
        let (sink, heard) = sink();
        let answer = |ranges: &[TensorRange]| {
            fetcher.fetch(7, ranges, Urgency::Likely, &sink);
            heard.recv_timeout(LONG).unwrap().1
        };
        for bad in [
            range("9", 0, 1),
            range("3", 41_236, 1),
            range("0", u64::MAX, 2),
            range("0", 0, usize::MAX),
        ] {
            let error = answer(&[good[0].clone(), bad]).unwrap_err();
            let known = matches!(
                error,
                SourceError::Missing { .. } | SourceError::Range { .. }
            );
            assert!(known, "{way}: {error}");
            assert!(answer(&good).unwrap() == read(&*source, &good), "{way}");
        }
        assert_eq!(answer(&[]).unwrap(), Vec::<Vec<u8>>::new());
        // Larger than was said.
        let all: Vec<TensorRange> = (0..4)
            .map(|i| range(&i.to_string(), 0, LENGTHS[i]))
            .cycle()
            .take(24)
            .collect();
        assert!(answer(&all).unwrap() == read(&*source, &all), "{way}");
    }
}

#[test]
fn a_file_that_is_cut_short_or_written_to_is_named_with_the_place() {
    for cut in [true, false] {
        let fixture = Fixture::new();
        for (way, fetcher) in fixture.ways(&setup(4, 64 << 10)) {
            write_model(&fixture.path, 1);
            // Opened anew: the file is another since it was written.
            drop(fetcher);
            let files = fixture.open(match way {
                Way::IoUring { .. } => Io::Native,
                Way::Positioned { .. } => Io::Positioned,
                _ => Io::Portable,
            });
            let direct = matches!(
                way,
                Way::IoUring { direct: true } | Way::Positioned { direct: true }
            );
            let setup = ReadSetup {
                direct,
                ..setup(4, 64 << 10)
            };
            let fetcher = files.fetcher(&setup, 900_000).unwrap();
            let mut file = std::fs::File::options()
                .write(true)
                .open(&fixture.path)
                .unwrap();
            if cut {
                file.set_len(500_000).unwrap();
            } else {
                // Later than the stamp of the file, however coarse its clock is.
                std::thread::sleep(Duration::from_millis(20));
                file.seek(SeekFrom::Start(600_000)).unwrap();
                file.write_all(b"something else").unwrap();
            }
            let (sink, heard) = sink();
            for ticket in 0..10 {
                let unit = [range("0", 0, 700_000), range("1", 0, 4)];
                fetcher.fetch(ticket, &unit, Urgency::Awaited, &sink);
            }
            for _ in 0..10 {
                let error = heard.recv_timeout(LONG).unwrap().1.unwrap_err();
                let SourceError::Changed {
                    file, then, now, ..
                } = &error
                else {
                    panic!("{way}: {error}");
                };
                assert!(file.ends_with("m.gguf") && (*now == 500_000) == cut && now <= then);
                assert!(error.to_string().contains("when byte "), "{error}");
            }
        }
    }
}

#[test]
fn a_file_that_is_replaced_is_read_as_it_was_and_not_opened_anew() {
    let fixture = Fixture::new();
    let other = fixture.path.with_extension("new");
    let source = fixture.open(Io::Positioned);
    let unit = [range("0", 3, 600_000)];
    let before = read(&*source, &unit);
    let ways = fixture.ways(&setup(4, 64 << 10));
    let files = fixture.open(Io::Native);
    std::thread::sleep(Duration::from_millis(20));
    write_model(&other, 2);
    std::fs::rename(&other, &fixture.path).unwrap();
    for (way, fetcher) in ways {
        let (sink, heard) = sink();
        fetcher.fetch(1, &unit, Urgency::Awaited, &sink);
        assert!(
            heard.recv_timeout(LONG).unwrap().1.unwrap() == before,
            "{way}"
        );
    }
    let late = files.fetcher(&ReadSetup::default(), 900_000);
    let refused = matches!(late, Err(StoreError::Replaced { .. }));
    assert!(refused || !cfg!(target_os = "linux"));
}

#[test]
fn dropping_in_the_middle_ends_soon_and_frees_every_sink() {
    let fixture = Fixture::new();
    for (way, fetcher) in fixture.ways(&setup(8, 64 << 10)) {
        let (sink, heard) = sink();
        for ticket in 0..500 {
            fetcher.fetch(ticket, &[range("0", 0, 700_000)], Urgency::Likely, &sink);
        }
        let first = heard.recv_timeout(LONG).unwrap();
        assert!(first.1.is_ok(), "{way}");
        let weak = Arc::downgrade(&sink);
        drop((fetcher, sink));
        assert!(weak.upgrade().is_none(), "{way}");
        let rest = heard.iter().count();
        assert!(rest < 499, "{way}: {rest}");
    }
}

/// Drops its fetcher when it is called, and panics.
struct Wild(Mutex<VecDeque<Arc<dyn Fetcher>>>, Mutex<Sender<()>>);

impl Sink for Wild {
    fn arrived(&self, _: u64, _: Result<&[&[u8]], SourceError>) {
        drop(self.0.lock().unwrap().pop_front());
        self.1.lock().unwrap().send(()).unwrap();
        panic!("a sink that panics");
    }
}

#[test]
fn a_sink_that_panics_or_drops_its_fetcher_hangs_nobody() {
    let fixture = Fixture::new();
    for (way, fetcher) in fixture.ways(&setup(2, 64 << 10)) {
        let (sender, called) = channel();
        let wild = Arc::new(Wild(Mutex::default(), Mutex::new(sender)));
        let bad: Arc<dyn Sink> = Arc::<Wild>::clone(&wild);
        let (good, heard) = sink();
        for ticket in 0..20 {
            let sink = if ticket % 2 == 0 { &bad } else { &good };
            fetcher.fetch(ticket, &[range("2", 0, 100)], Urgency::Awaited, sink);
        }
        for _ in 0..10 {
            called.recv_timeout(LONG).unwrap();
            assert!(heard.recv_timeout(LONG).unwrap().1.is_ok(), "{way}");
        }
        let mut last = wild.0.lock().unwrap();
        fetcher.fetch(99, &[range("2", 0, 100)], Urgency::Awaited, &bad);
        last.push_back(fetcher);
        drop(last);
        called.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn what_lies_in_no_file_as_it_is_is_read_too() {
    let mut data = Vec::new();
    let parts = LENGTHS.map(|len| vec![len as u8; len]);
    let mut writer = Writer::new().pair("general.architecture", "llama");
    for (index, part) in parts.iter().enumerate() {
        writer = writer.tensor(index.to_string(), &[part.len() as u64 / 4], TensorType::F32);
        data.push(part.clone());
    }
    let files = ModelFiles::from_bytes("built-in", writer.file(data).unwrap()).unwrap();
    let (way, fetcher) = Arc::new(files)
        .fetcher_and_way(&ReadSetup::default(), 900_000)
        .unwrap();
    assert_eq!(way, Way::Source);
    let (sink, heard) = sink();
    fetcher.fetch(1, &[range("3", 7, 41_000)], Urgency::Awaited, &sink);
    let bytes = heard.recv_timeout(LONG).unwrap().1.unwrap();
    assert_eq!(bytes, [vec![LENGTHS[3] as u8; 41_000]]);
}

/// Whether the page of a file at an offset lies in the page cache. If not, it does afterwards.
#[cfg(target_os = "linux")]
fn cached(file: &std::fs::File, offset: u64) -> Option<bool> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut byte = [0];
    let into = &mut [std::io::IoSliceMut::new(&mut byte)];
    match preadv2(file, into, offset, ReadWriteFlags::NOWAIT) {
        Ok(_) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}

/// Another number for each way of reading.
#[cfg(target_os = "linux")]
fn way_number(way: Way) -> u64 {
    match way {
        Way::IoUring { direct } => u64::from(direct),
        Way::Positioned { direct } => 2 + u64::from(direct),
        Way::Source => 4,
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_stays_in_the_page_cache() {
    use rustix::fs::{Advice, fadvise};
    let fixture = Fixture::new();
    let file = std::fs::File::open(&fixture.path).unwrap();
    file.sync_all().unwrap();
    // So that looking at a page brings only that one.
    fadvise(&file, 0, None, Advice::Random).unwrap();
    // Where nobody has looked before: those pages may still be on their way.
    let any = |way| {
        let somewhere = [100_000, 300_000, 500_000].map(|at| at + 8192 * way_number(way));
        somewhere.map(|at| cached(&file, at)).contains(&Some(true))
    };
    for (way, fetcher) in fixture.ways(&setup(4, 64 << 10)) {
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        if cached(&file, 600_000 + 4096 * way_number(way)) != Some(false) {
            println!("skipped: this file system does not say what it caches, or does not let go");
            return;
        }
        if way == Way::Source {
            continue;
        }
        let (sink, heard) = sink();
        for ticket in 0..4 {
            let unit = [range("0", ticket * 100_000, 400_000)];
            fetcher.fetch(ticket, &unit, Urgency::Awaited, &sink);
        }
        for _ in 0..4 {
            heard.recv_timeout(LONG).unwrap().1.unwrap();
        }
        // What was delivered is given back behind that.
        drop(fetcher);
        assert!(!any(way), "{way}");
    }
}

#[test]
fn a_measurement_finds_something_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let writer = Writer::new()
        .pair("general.architecture", "llama")
        .tensor("a", &[20 << 20], TensorType::F32)
        .tensor("b", &[5 << 20], TensorType::F32);
    std::fs::write(&path, writer.header().unwrap()).unwrap();
    // Nothing but a hole behind the header: it takes no disk.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() + (100 << 20))
        .unwrap();
    for io in [Io::Native, Io::Positioned, Io::Portable] {
        let cache = CachePolicy::Keep;
        let files = Arc::new(ModelFiles::open_with(&path, OpenOptions { io, cache }).unwrap());
        // A clock that ticks when it is looked at: about eight trials.
        let ticks = std::cell::Cell::new(0_u32);
        let clock = || {
            ticks.set(ticks.get() + 1);
            Duration::from_millis(40) * ticks.get()
        };
        let measured = ingle_store::measure(&files, &clock).unwrap().unwrap();
        let found = measured.setup;
        assert!((1..=32).contains(&found.depth), "{found:?}");
        assert!(found.bytes_per_second > 1_000_000, "{found:?}");
        assert!(found.read_size >= 128 << 10 && found.read_size <= 2 << 20);
        let fetcher = files.fetcher(&found, 1 << 20).unwrap();
        let (sink, heard) = sink();
        fetcher.fetch(1, &[range("b", 1, 1000)], Urgency::Awaited, &sink);
        let bytes = heard.recv_timeout(LONG).unwrap().1.unwrap();
        assert_eq!(bytes, [vec![0; 1000]]);
    }
    let fixture = Fixture::new();
    let small = ingle_store::measure(&fixture.open(Io::Native), &|| Duration::ZERO);
    assert_eq!(small.unwrap(), None);
}

#[test]
fn the_buffers_are_bounded_whatever_the_setup_says() {
    for depth in [0, 1, 8, 32, u32::MAX] {
        for read_size in [0, 4096, 512 << 10, u32::MAX] {
            for largest in [0, 1000, 2_700_000, 6 << 20] {
                let setup = setup(depth, read_size);
                let bytes = setup.buffer_bytes(largest);
                let in_flight = u64::from(depth.clamp(1, 256))
                    * u64::from(read_size.clamp(4096, 16 << 20)).min(largest.max(1));
                assert!(bytes >= 3 * largest, "{setup:?}");
                assert!(
                    bytes <= in_flight + 5 * largest + 261 * (64 << 10),
                    "{setup:?}"
                );
            }
        }
    }
    assert!(ReadSetup::default().buffer_bytes(2_700_000) < 15 << 20);
    let within = |bytes| {
        let setup = setup(32, 512 << 10).within(bytes);
        (setup.depth, setup.read_size, setup.in_flight_bytes())
    };
    assert_eq!(within(u64::MAX), (32, 512 << 10, 16 << 20));
    assert_eq!(within(3 << 20), (6, 512 << 10, 3 << 20));
    assert_eq!(within(100_000), (1, 100_000, 98_304));
    assert_eq!(within(0), (1, 4096, 4096));
    assert_eq!(setup(8, 512 << 10).buffer_bytes(u64::MAX), u64::MAX);
}

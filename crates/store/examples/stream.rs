//! How fast a model's weights can be streamed from its disk, in every way of reading: requests as large as an expert, in
//! an order all over the file, each looked at once by the thread that delivers it.
//!
//! ```text
//! cargo run --release -p ingle-store --example stream -- MODEL.gguf [BYTES OF A REQUEST] [SECONDS OF A LINE]
//! ```
//!
//! Each line is read with nothing of it in the page cache; on a machine that does nothing else, its first line is what
//! the disk gives. `CPU` is processor time of this program in that time: user and system.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "an example ends where it fails"
)]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ingle_store::{CachePolicy, Io, ModelFiles, OpenOptions, ReadSetup, measure};
use ingle_tensor::fetch::{Fetcher, Sink, TensorRange, Urgency};
use ingle_tensor::{SourceError, WeightSource};

/// Requests that are asked for ahead.
const AHEAD: u64 = 24;

/// Looks at every byte, as packing does, and asks for more.
struct Look {
    sum: AtomicU64,
    done: Mutex<Sender<usize>>,
}

impl Sink for Look {
    fn arrived(&self, _: u64, outcome: Result<&[&[u8]], SourceError>) {
        let ranges = outcome.unwrap();
        let words = ranges.iter().flat_map(|range| range.as_chunks::<8>().0);
        let sum = words.fold(0_u64, |sum, word| {
            sum.wrapping_add(u64::from_le_bytes(*word))
        });
        self.sum.fetch_add(black_box(sum), Relaxed);
        let bytes = ranges.iter().map(|range| range.len()).sum();
        self.done.lock().unwrap().send(bytes).unwrap();
    }
}

/// Ranges of `len` bytes, three to a request, over the whole model and each only once.
fn requests(files: &ModelFiles, len: usize) -> Vec<Vec<TensorRange>> {
    let mut ranges = Vec::new();
    for tensor in files.tensors() {
        let name: Arc<str> = tensor.name.as_str().into();
        for part in 0..tensor.byte_len / len as u64 {
            let (name, offset) = (Arc::clone(&name), part * len as u64);
            ranges.push(TensorRange { name, offset, len });
        }
    }
    // A shuffle by a counter that is hashed.
    let hash = |i: usize| {
        (i as u64 + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
    };
    for i in (1..ranges.len()).rev() {
        let other = hash(i) % (i as u64 + 1);
        ranges.swap(i, other as usize);
    }
    ranges.chunks_exact(3).map(<[_]>::to_vec).collect()
}

/// Processor time of this process so far, in seconds (proc_pid_stat(5); a hundred ticks a second).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<f64> = behind_name
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    (fields[11] + fields[12]) / 100.0
}

/// Reads for a while; bytes in a second, and processor seconds in one.
fn run(fetcher: &dyn Fetcher, requests: &mut Requests, time: Duration) -> (f64, f64) {
    let (sender, done) = channel();
    let look = Arc::new(Look {
        sum: AtomicU64::new(0),
        done: Mutex::new(sender),
    });
    let sink: Arc<dyn Sink> = look;
    let (begun, before) = (Instant::now(), cpu());
    let (mut ticket, mut waiting, mut bytes) = (0, 0, 0);
    while begun.elapsed() < time || waiting > 0 {
        while waiting < AHEAD && begun.elapsed() < time {
            fetcher.fetch(ticket, requests.next(), Urgency::Awaited, &sink);
            (ticket, waiting) = (ticket + 1, waiting + 1);
        }
        bytes += done.recv().unwrap();
        waiting -= 1;
    }
    let took = begun.elapsed().as_secs_f64();
    (bytes as f64 / took, (cpu() - before) / took)
}

/// Requests that nobody has made yet, as long as there are some.
struct Requests(Vec<Vec<TensorRange>>, usize);

impl Requests {
    fn next(&mut self) -> &[TensorRange] {
        self.1 += 1;
        &self.0[self.1 % self.0.len()]
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| {
        eprintln!("give a large .gguf file");
        std::process::exit(2)
    });
    let bytes: usize = arguments.next().map_or(2_700_000, |n| n.parse().unwrap());
    let seconds: f64 = arguments.next().map_or(3.0, |n| n.parse().unwrap());
    let open = |io| {
        let cache = CachePolicy::Release;
        Arc::new(ModelFiles::open_with(&path, OpenOptions { io, cache }).unwrap())
    };
    let files = open(Io::Native);
    let begun = Instant::now();
    let measured = measure(&files, &|| begun.elapsed()).unwrap();
    println!("measured in {:?}: {measured:?}", begun.elapsed());
    let setup = measured.map_or_else(ReadSetup::default, |measured| measured.setup);
    let mut requests = Requests(requests(&files, bytes / 3), 0);
    let all = requests.0.len() * bytes;
    println!("requests of {bytes} bytes, {} MB in all\n", all / 1_000_000);
    println!("{:>8} {:>6}  how", "MB/s", "CPU");
    let mut line = |io, setup: ReadSetup| {
        let (way, fetcher) = open(io).fetcher_and_way(&setup, bytes as u64).unwrap();
        let (speed, cpu) = run(&*fetcher, &mut requests, Duration::from_secs_f64(seconds));
        println!(
            "{:>8.0} {cpu:>6.2}  {way}, {} reads of {} KiB, buffers of {} MB",
            speed / 1e6,
            setup.depth,
            setup.read_size >> 10,
            setup.buffer_bytes(bytes as u64) / 1_000_000,
        );
    };
    line(Io::Native, setup);
    for (depth, read_size) in [(1, 512), (2, 512), (4, 512), (8, 512), (16, 512), (32, 512)]
        .into_iter()
        .chain([(8, 128), (8, 256), (4, 1024), (2, 2048)])
    {
        let read_size = read_size << 10;
        line(
            Io::Native,
            ReadSetup {
                depth,
                read_size,
                ..setup
            },
        );
    }
    line(
        Io::Native,
        ReadSetup {
            direct: false,
            ..setup
        },
    );
    line(
        Io::Positioned,
        ReadSetup {
            direct: true,
            ..setup
        },
    );
    line(
        Io::Positioned,
        ReadSetup {
            direct: false,
            ..setup
        },
    );
    line(Io::Portable, setup);
}

//! What a fork and join of the thread team costs: `cargo run --release -p ingle-tensor --example team`.
//!
//! For some numbers of threads: the fastest and the middle of many empty jobs in a row, and of jobs
//! after a pause in which members have gone to sleep.

use ingle_tensor::team::Team;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;
const JOBS: u32 = 200;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("threads    fastest     middle    after a pause");
    for threads in [2, cores, 2 * cores, 8 * cores] {
        let team = Team::new(threads);
        let job = |_: usize, range: std::ops::Range<usize>| {
            black_box(range);
        };
        let time = |jobs: u32| {
            let start = Instant::now();
            for _ in 0..jobs {
                team.share(2 * threads, 1, &job);
            }
            start.elapsed() / jobs
        };
        let middle = |mut times: Vec<Duration>| {
            times.sort_unstable();
            (times[0], times[times.len() / 2])
        };
        let (fastest, busy) = middle((0..ROUNDS).map(|_| time(JOBS)).collect());
        let rested = (0..20).map(|_| {
            std::thread::sleep(Duration::from_millis(3));
            time(1)
        });
        let (_, rested) = middle(rested.collect());
        println!("{threads:7} {fastest:>10.1?} {busy:>10.1?} {rested:>16.1?}");
    }
}

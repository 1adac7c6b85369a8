//! How fast this machine reads memory: the limit that generation runs against.

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Streams that one thread reads side by side: more misses in flight than one stream makes.
const STREAMS: usize = 4;
/// Words of a stream read before the next stream's turn: one page.
const STRIDE: usize = 512;

/// Bytes a second read from memory by `threads` threads together: the best of `rounds` passes over
/// `bytes` bytes, which must be much more than the caches hold.
///
/// Every byte is read and summed, as a matrix product reads weights. The buffer is this function's
/// own and is given back before it returns.
pub fn read_bandwidth(threads: usize, bytes: usize, rounds: usize) -> f64 {
    let threads = threads.max(1);
    let words = (bytes / 8 / threads)
        .max(STREAMS * STRIDE)
        .next_multiple_of(STREAMS * STRIDE);
    let barrier = Barrier::new(threads);
    let mut best = Duration::MAX;
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| passes(words, rounds, &barrier)))
            .collect();
        best = passes(words, rounds, &barrier);
        // A reader that died would have left the barrier: there is nothing to join but threads that
        // ended.
        for other in others {
            let _ = other.join();
        }
    });
    (words * 8 * threads) as f64 / best.as_secs_f64().max(1e-9)
}

/// One thread's part: the shortest time in which all threads passed over their parts.
fn passes(words: usize, rounds: usize, barrier: &Barrier) -> Duration {
    // Written, not only asked for: untouched pages are all the same page of zeros.
    let buffer: Vec<u64> = (0..words as u64).collect();
    let mut best = Duration::MAX;
    for _ in 0..rounds.max(1) {
        barrier.wait();
        let start = Instant::now();
        std::hint::black_box(sum(std::hint::black_box(&buffer)));
        barrier.wait();
        best = best.min(start.elapsed());
    }
    best
}

/// The wrapping sum of all words, [`STREAMS`] places at a time.
fn sum(buffer: &[u64]) -> u64 {
    let quarter = buffer.len() / STREAMS;
    let mut sums = [0_u64; STREAMS];
    let streams: [&[u64]; STREAMS] =
        std::array::from_fn(|i| &buffer[i * quarter..(i + 1) * quarter]);
    for start in (0..quarter).step_by(STRIDE) {
        for (sum, stream) in sums.iter_mut().zip(streams) {
            let page = &stream[start..start + STRIDE];
            *sum = page.iter().fold(*sum, |sum, word| sum.wrapping_add(*word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        let words = STREAMS * STRIDE * 3;
        let buffer: Vec<u64> = (0..words as u64).collect();
        assert_eq!(sum(&buffer), (words * (words - 1) / 2) as u64);
    }

    #[test]
    fn any_number_of_threads_measures_something() {
        for threads in [0, 1, 3] {
            let speed = read_bandwidth(threads, 1 << 20, 2);
            assert!(speed.is_finite() && speed > 1e6, "{speed}");
        }
    }
}

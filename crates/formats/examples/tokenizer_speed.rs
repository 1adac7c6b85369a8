//! How long a vocabulary takes to read, and how fast it tokenizes.
//!
//! ```text
//! cargo run --release -p ingle-formats --example tokenizer_speed MODEL.gguf TEXTFILE
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "an example that cannot go on panics, and prints approximate speeds"
)]

use std::time::{Duration, Instant};

use ingle_formats::gguf::Header;
use ingle_formats::vocabulary::{Encode, Vocabulary};

const REPEATS: usize = 7;

/// The fastest of some runs, and what the last gave.
fn fastest<T>(mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut best = Duration::MAX;
    let mut last = None;
    for _ in 0..REPEATS {
        let start = Instant::now();
        last = Some(run());
        best = best.min(start.elapsed());
    }
    (best, last.unwrap())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(text)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tokenizer_speed MODEL.gguf TEXTFILE");
        std::process::exit(2);
    };
    let bytes = std::fs::read(model).unwrap();
    let text = std::fs::read_to_string(text).unwrap();
    let read = || Header::read(&mut bytes.as_slice(), bytes.len() as u64).unwrap();
    let (header_time, header) = fastest(read);
    let (vocabulary_time, vocabulary) =
        fastest(|| Vocabulary::from_metadata(&header.metadata).unwrap());
    let (encode_time, tokens) = fastest(|| vocabulary.encode(&text, Encode::default()));
    println!("header      {:8.1} ms", header_time.as_secs_f64() * 1e3);
    println!("vocabulary  {:8.1} ms", vocabulary_time.as_secs_f64() * 1e3);
    let rate = text.len() as f64 / encode_time.as_secs_f64() / 1e6;
    println!("encode      {rate:8.1} MB/s, {} tokens", tokens.len());
}

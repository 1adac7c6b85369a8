//! Speed of encoding on one thread: `cargo run --release -p ingle-tensor --example encode`.
//!
//! For each storage type and leaf: millions of weights a second, without an importance matrix and with one.

use ingle_formats::TensorType;
use ingle_tensor::kernel::Isa;
use ingle_tensor::quant::{Encoder, can_encode};
use std::time::Instant;

const WEIGHTS: usize = 1 << 18;

fn main() {
    // About a normal distribution.
    let mut state = 1_u32;
    let mut bits = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65536.0 - 0.5
    };
    let values: Vec<f32> = (0..WEIGHTS).map(|_| bits() + bits() + bits()).collect();
    let importance: Vec<f32> = (0..WEIGHTS).map(|_| bits().abs() + 0.1).collect();
    println!("{:8} {:8} {:>9} {:>9}", "type", "leaf", "plain", "weighted");
    for &ty in TensorType::ALL.iter().filter(|&&ty| can_encode(ty)) {
        let mut out = vec![0; ty.byte_len(WEIGHTS as u64).unwrap_or(0) as usize];
        for isa in Isa::ALL {
            let Some(encoder) = Encoder::new(isa) else {
                continue;
            };
            let mut speed = |importance: Option<&[f32]>| {
                let mut best = f64::INFINITY;
                for _ in 0..3 {
                    let start = Instant::now();
                    let _ = encoder.encode(ty, &values, importance, &mut out);
                    best = best.min(start.elapsed().as_secs_f64());
                }
                WEIGHTS as f64 / best / 1e6
            };
            let (plain, weighted) = (speed(None), speed(Some(&importance)));
            println!(
                "{:8} {:8} {plain:9.1} {weighted:9.1}",
                ty.name(),
                isa.name()
            );
        }
    }
}

//! Speed of whole matrix products: `cargo run --release -p ingle-tensor --example products -- [ISA] [threads=N] [unpack=COLUMNS]`.
//!
//! For each storage type, shape and number of rows of activations, with one and with two threads:
//! GB/s of weights and billions of operations a second, quantising the activations included. The
//! matrices of a line are together larger than the caches, as the layers of a model are.

use ingle_formats::TensorType;
use ingle_formats::gguf::TensorInfo;
use ingle_tensor::MemorySource;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::choice::Choice;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::ops::{Linear, Ops};
use ingle_tensor::team::Team;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of weights in a line.
const BYTES: usize = 96 << 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let isa = args.iter().find_map(|a| Isa::from_name(a));
    let isa = isa.unwrap_or(Isa::best());
    let Some(leaf) = Leaf::new(isa) else {
        return println!("this machine has no {isa}");
    };
    let start = Instant::now();
    let choice = Choice::measure(leaf, &|| start.elapsed());
    println!("measured for {:?}: {choice:?}", start.elapsed());
    let number = |key: &str| args.iter().find_map(|a| a.strip_prefix(key)?.parse().ok());
    let choice = number("unpack=").map_or(choice, |n| Choice::from_columns(leaf, n));
    let types = [
        TensorType::Q4K,
        TensorType::Q5K,
        TensorType::Q6K,
        TensorType::Q8_0,
        TensorType::Q4_0,
    ];
    for threads in number("threads=").map_or(1..=2, |n| n..=n) {
        let cpu = || Some(Cpu::new(isa, Arc::new(Team::new(threads)))?.choosing(choice.clone()));
        for ty in types {
            for (rows, columns) in [(3072, 1024), (4096, 4096), (4096, 14336)] {
                line(cpu(), threads, ty, rows, columns);
            }
        }
    }
}

fn line(cpu: Option<Cpu>, threads: usize, ty: TensorType, rows: usize, columns: usize) {
    let Some(mut cpu) = cpu else {
        return;
    };
    let isa = cpu.isa();
    let byte_len = ty.byte_len((rows * columns) as u64).unwrap_or(0);
    let info = TensorInfo {
        name: "w".into(),
        shape: vec![columns as u64, rows as u64],
        ty,
        offset: 0,
        byte_len,
    };
    let Ok(source) = MemorySource::new(vec![info], vec![17; byte_len as usize]) else {
        return;
    };
    let layers: Vec<Linear<Cpu>> = (0..BYTES.div_ceil(byte_len as usize))
        .filter_map(|_| cpu.load_matrix(&source, "w", rows, columns).ok())
        .map(|weight| Linear { weight, bias: None })
        .collect();
    print!("{isa} {threads} {:5} {rows:5}x{columns:<5}", ty.name());
    for n in [1, 2, 4, 8, 16, 64, 512] {
        let (mut x, mut out) = (cpu.buf(n, columns), cpu.buf(n, rows));
        cpu.scale(&mut x, 1.0);
        let indices = vec![0; n];
        let _ = cpu.rows(&layers[0].weight, &indices, &mut x);
        let layers = &layers[..if n > 16 {
            2.min(layers.len())
        } else {
            layers.len()
        }];
        let mut best = f64::INFINITY;
        for _ in 0..if n > 16 { 2 } else { 3 } {
            let start = Instant::now();
            for layer in layers {
                // Weights in memory are always there.
                let _ = cpu.linear(&x, &mut [(layer, &mut out)]);
            }
            best = best.min(start.elapsed().as_secs_f64() / layers.len() as f64);
        }
        if n <= 16 {
            print!(" {n}:{:5.1}GB/s", byte_len as f64 / best / 1e9);
        }
        if n >= 8 {
            print!(" {n}:{:5.0}GOPS", 2e-9 * (rows * columns * n) as f64 / best);
        }
    }
    println!();
}

//! Speed of the matrix kernels on one thread: `cargo run --release -p ingle-tensor --example kernels`.
//!
//! For each leaf and storage type: GB/s of weights with one column, from memory (a matrix larger
//! than the caches) and from the caches (one panel), and billions of operations a second with 64
//! columns.
#![allow(
    unsafe_code,
    reason = "kernels are called as the CPU implementation calls them"
)]

use ingle_formats::TensorType;
use ingle_tensor::kernel::matmul::{Column, PANEL};
use ingle_tensor::kernel::quantise::SUMS_256;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::pack::Layout;
use std::time::Instant;

const K: usize = 2048;
/// Bytes of weights: larger than any cache.
const BYTES: usize = 256 << 20;

fn main() {
    println!(
        "{:8} {:6} {:>11} {:>11} {:>11}",
        "leaf", "type", "1 col GB/s", "cached GB/s", "64 col GOPS"
    );
    let weights = huge(BYTES);
    for isa in Isa::ALL {
        let Some(leaf) = Leaf::new(isa) else { continue };
        for ty in TensorType::ALL.iter().copied() {
            let Some(kernel) = leaf.matmul(ty) else {
                continue;
            };
            let size = Layout::new(ty).panel_bytes(K);
            let panels = if isa == Isa::Scalar { 16 } else { BYTES / size };

            let values = vec![1u8; K * 4];
            let (scales, sums) = (
                vec![1.0f32; K / 32],
                vec![1i16; K / 256 * SUMS_256 + K / 32],
            );
            let mut out = vec![[0.0f32; PANEL]; 64];
            let columns: Vec<Column> = (out.iter_mut())
                .map(|out| Column {
                    values: values.as_ptr(),
                    scales: scales.as_ptr(),
                    sums: sums.as_ptr(),
                    out: out.as_mut_ptr(),
                })
                .collect();
            let time = |columns: &[Column], panels: usize, stride: usize, times: usize| {
                let mut best = f64::INFINITY;
                for _ in 0..3 {
                    let start = Instant::now();
                    for i in 0..panels * times {
                        // SAFETY: the weights hold that many panels; columns have K values.
                        unsafe { kernel(weights.add(i % panels * stride), K, columns, 0) }
                    }
                    best = best.min(start.elapsed().as_secs_f64() / (panels * times) as f64);
                }
                best
            };
            let one = time(&columns[..1], panels, size, 1);
            let many = time(&columns, 1, 0, if isa == Isa::Scalar { 4 } else { 500 });
            let cached = time(
                &columns[..1],
                1,
                0,
                if isa == Isa::Scalar { 4 } else { 4000 },
            );
            let ops = (2 * K * PANEL) as f64 / 1e9;
            println!(
                "{:8} {:6} {:11.1} {:11.1} {:11.1}",
                isa.name(),
                ty.name(),
                size as f64 / one / 1e9,
                size as f64 / cached / 1e9,
                ops * 64.0 / many
            );
        }
    }
}

/// Bytes of 17 in huge pages, as weights are held; never given back.
fn huge(len: usize) -> *const u8 {
    const HUGE_PAGE: usize = 2 << 20;
    let memory = Vec::leak(vec![0u8; len + HUGE_PAGE]);
    let start = memory.as_ptr().align_offset(HUGE_PAGE);
    let memory = &mut memory[start..start + len];
    // SAFETY: advice on memory that we own.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::madvise(memory.as_mut_ptr().cast(), len, libc::MADV_HUGEPAGE);
    }
    memory.fill(17);
    memory.as_ptr()
}

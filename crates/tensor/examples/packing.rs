//! How fast weights are packed: `cargo run --release -p ingle-tensor --example packing`.
//! For each storage type, bytes of the file in a second on one thread, for an expert's matrix of 768 x 2048: from and
//! to the caches, and from and to memory.

use ingle_formats::TensorType;
use ingle_tensor::pack::Layout;
use std::time::{Duration, Instant};

const ROWS: usize = 768;
const COLUMNS: usize = 2048;
/// Matrices, so that the caches do not hold them.
const MANY: usize = 96;
/// Rows of a panel.
const PANEL: usize = 16;

fn main() {
    for ty in TensorType::ALL {
        let layout = Layout::new(*ty);
        let row_bytes = layout.row_bytes(COLUMNS);
        let matrix: Vec<u8> = (0..ROWS * row_bytes).map(|i| (i * 31) as u8).collect();
        let rows = matrix.repeat(MANY);
        let panel_bytes = layout.panel_bytes(COLUMNS);
        let mut packed = vec![1; MANY * ROWS / PANEL * panel_bytes];
        // The median, because other work may go on.
        let mut rate = |matrices: usize, times: usize| {
            let mut took: Vec<Duration> = Vec::new();
            for i in 0..matrices * times {
                let at = i % matrices;
                let rows = &rows[at * matrix.len()..][..matrix.len()];
                let packed = &mut packed[at * ROWS / PANEL * panel_bytes..];
                let start = Instant::now();
                let panels = rows.chunks(PANEL * row_bytes);
                for (rows, panel) in panels.zip(packed.chunks_mut(panel_bytes)) {
                    layout.pack(rows, COLUMNS, panel);
                }
                took.push(start.elapsed());
            }
            took.sort_unstable();
            matrix.len() as f64 / took[took.len() / 2].as_secs_f64() / 1e9
        };
        let (caches, memory) = (rate(1, 50), rate(MANY, 3));
        println!("{:8} {caches:6.2} GB/s {memory:6.2} GB/s", ty.name());
    }
}

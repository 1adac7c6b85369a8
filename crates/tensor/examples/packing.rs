//! How fast weights are packed: `cargo run --release -p ingle-tensor --example packing`.
//! For each storage type, bytes of the file in a second on one thread, for an expert's matrix of 768 x 2048.

use ingle_formats::TensorType;
use ingle_tensor::pack::Layout;
use std::time::{Duration, Instant};

const ROWS: usize = 768;
const COLUMNS: usize = 2048;
/// Rows of a panel.
const PANEL: usize = 16;

fn main() {
    for ty in TensorType::ALL {
        let layout = Layout::new(*ty);
        let row_bytes = layout.row_bytes(COLUMNS);
        let rows: Vec<u8> = (0..ROWS * row_bytes).map(|i| (i * 31) as u8).collect();
        let panel_bytes = layout.panel_bytes(COLUMNS);
        let mut packed = vec![0; ROWS / PANEL * panel_bytes];
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            let panels = rows.chunks(PANEL * row_bytes);
            for (rows, panel) in panels.zip(packed.chunks_mut(panel_bytes)) {
                layout.pack(rows, COLUMNS, panel);
            }
            best = best.min(start.elapsed());
        }
        let rate = rows.len() as f64 / best.as_secs_f64() / 1e9;
        println!("{:8} {rate:6.2} GB/s", ty.name());
    }
}

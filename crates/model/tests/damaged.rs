//! Files with a few bytes changed: refused with an error, or run; never a panic, whatever they claim.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ingle_formats::TokenId;
use ingle_formats::gguf::Header;
use ingle_model::{inspect, load};
use ingle_tensor::MemorySource;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{Batch, Item, KvType, Ops, PageId, Row};
use ingle_tensor::team::Team;
use std::path::Path;
use std::sync::Arc;
use support::Rng;

/// Bytes of memory that a small damaged file may ask for before the test calls it too much.
const MOST_BYTES: u64 = 1 << 30;

/// Loads what the bytes say and runs two rows; `false` where they are refused.
fn run(ops: &mut Cpu, bytes: Vec<u8>) -> bool {
    let len = bytes.len() as u64;
    let Ok(header) = Header::read(&mut bytes.as_slice(), len) else {
        return false;
    };
    let Ok(source) = MemorySource::new(header.tensors, bytes) else {
        return false;
    };
    let Ok(needs) = inspect(&header.metadata, &source, ops, 2) else {
        return false;
    };
    // Weights come from the file, so they cannot be larger than it; buffers follow the weights.
    assert!(needs.weight_bytes <= 8 * len, "{needs:?}");
    assert!(needs.buffer_bytes < MOST_BYTES, "{needs:?}");
    assert!(needs.position_bytes(KvType::F32) < MOST_BYTES, "{needs:?}");
    let Ok(mut network) = load(&header.metadata, &source, ops, 2, 512, &mut |_| {}) else {
        return false;
    };
    let n_vocab = network.shape().n_vocab as u32;
    let mut memory = ops.memory(&network.layers(), KvType::F32, 1);
    let row = |position| Row {
        item: Item::Token(TokenId(position % n_vocab)),
        position,
        sequence: 0,
    };
    let batch = Batch {
        rows: &[row(0), row(1)],
        sequences: &[&[PageId(0)]],
        outputs: &[1],
        hidden: false,
    };
    let mut logits = Vec::new();
    network
        .forward(ops, &mut memory, &batch, &mut logits)
        .unwrap();
    assert_eq!(logits.len(), n_vocab as usize);
    true
}

#[test]
fn changed_bytes_never_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let isa = Isa::ALL.into_iter().rfind(|isa| isa.is_available());
    let mut ops = Cpu::new(isa.unwrap(), Arc::new(Team::new(1))).unwrap();
    let (mut run_anyway, mut refused) = (0, 0);
    for (seed, name) in [
        "llama-tied-llama3",
        "llama-yarn",
        "qwen2-tied",
        "qwen3moe",
        "gemma2",
        "phi3-long",
    ]
    .iter()
    .enumerate()
    {
        let bytes = std::fs::read(folder.join(format!("{name}.gguf"))).unwrap();
        let header = Header::read(&mut bytes.as_slice(), bytes.len() as u64).unwrap();
        let first = header.data_start as usize;
        let mut rng = Rng(seed as u64 * 77 + 1);
        for _ in 0..300 {
            let mut bytes = bytes.clone();
            for _ in 0..1 + rng.next_u32() % 3 {
                let at = rng.next_u32() as usize % first;
                bytes[at] = match rng.next_u32() % 4 {
                    0 => 0,
                    1 => 255,
                    2 => bytes[at] ^ (1 << (rng.next_u32() % 8)),
                    _ => rng.next_u32() as u8,
                };
            }
            match run(&mut ops, bytes) {
                true => run_anyway += 1,
                false => refused += 1,
            }
        }
    }
    assert!(
        run_anyway > 100 && refused > 100,
        "{run_anyway} run, {refused} refused"
    );
}

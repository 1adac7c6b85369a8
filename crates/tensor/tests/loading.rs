//! Loading takes the memory of the packed weights and little more. Alone in its file: the peak that
//! the system reports is that of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use ingle_formats::TensorType;
use ingle_formats::gguf::TensorInfo;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::Isa;
use ingle_tensor::ops::{ExpertStack, ExpertTensors, Ops};
use ingle_tensor::source::checked_start;
use ingle_tensor::team::Team;
use ingle_tensor::{SourceError, WeightSource};
use std::sync::Arc;

const COLUMNS: usize = 2048;
const EXPERTS: usize = 16;

/// Weights that are made when they are read.
struct Made(Vec<TensorInfo>);

impl WeightSource for Made {
    fn tensors(&self) -> &[TensorInfo] {
        &self.0
    }
    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.0.iter().find(|tensor| tensor.name == name)
    }
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        checked_start(self.tensor(name).unwrap(), offset, into.len())?;
        into.fill(1);
        Ok(())
    }
}

/// `VmHWM` and `VmRSS`, bytes.
fn memory() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["VmHWM:", "VmRSS:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.unwrap().trim().strip_suffix("kB").unwrap();
        kib.trim().parse::<u64>().unwrap() * 1024
    })
}

#[test]
fn the_peak_of_loading_is_the_packed_weights_and_five_percent() {
    // Large and small matrices of several types, whole and as a stack of experts.
    let shapes: [(TensorType, &[usize]); 5] = [
        (TensorType::Q4K, &[20_000]),
        (TensorType::Q6K, &[30_011]),
        (TensorType::Q8_0, &[16_000]),
        (TensorType::F16, &[500]),
        (TensorType::Q4K, &[COLUMNS, EXPERTS]),
    ];
    let tensors = shapes.iter().enumerate().map(|(i, (ty, rows))| {
        let mut shape = vec![COLUMNS as u64];
        shape.extend(rows.iter().map(|&n| n as u64));
        TensorInfo {
            name: i.to_string(),
            ty: *ty,
            byte_len: ty.byte_len(shape.iter().product()).unwrap(),
            shape,
            offset: 0,
        }
    });
    let source = Made(tensors.collect());
    let ops = Cpu::new(Isa::best(), Arc::new(Team::new(2))).unwrap();
    let packed = |ty, rows: usize| ops.matrix_bytes(ty, rows, COLUMNS);

    let before = memory()[1];
    let (mut matrices, mut experts, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (i, (ty, rows)) in shapes.iter().enumerate() {
        let name = i.to_string();
        bytes += packed(*ty, rows[0]) * rows.get(1).map_or(1, |&n| n as u64);
        matrices.extend(match rows {
            [rows] => vec![ops.load_matrix(&source, &name, *rows, COLUMNS).unwrap()],
            _ => {
                let stack = || ExpertStack::One(name.clone());
                let tensors = ExpertTensors {
                    n_experts: EXPERTS,
                    ffn: rows[0],
                    width: COLUMNS,
                    gate: stack(),
                    up: stack(),
                    down: stack(),
                };
                bytes += 2 * packed(*ty, rows[0]) * EXPERTS as u64;
                experts.push(ops.load_experts(&source, &tensors).unwrap());
                Vec::new()
            }
        });
    }
    let peak = memory()[0] - before;
    assert!(bytes > 100 << 20, "{bytes} bytes are too few to tell");
    assert!(peak >= bytes, "{peak} of {bytes} bytes: not all was packed");
    // Two threads' buffers, and huge pages that are not full.
    let allowed = bytes + bytes / 20 + (8 << 20);
    assert!(
        peak <= allowed,
        "{peak} bytes at the peak for {bytes} of weights"
    );
    assert_eq!((matrices.len(), experts.len()), (4, 1));
}

//! Encoding: equal to gguf-py where it can encode, and close to the values everywhere.

use ingle_formats::TensorType;
use ingle_tensor::quant::{self, QuantError};
use std::path::{Path, PathBuf};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// The types that gguf-py can make and whose bits are therefore fixed.
const FIXED: &[TensorType] = &[
    TensorType::F16,
    TensorType::Bf16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Tq1_0,
    TensorType::Tq2_0,
    TensorType::Mxfp4,
];

fn encoded(ty: TensorType, values: &[f32]) -> Vec<u8> {
    let size = ty.byte_len(values.len() as u64).unwrap_or(0);
    let mut out = vec![0; size as usize];
    assert_eq!(quant::encode(ty, values, &mut out), Ok(()));
    out
}

/// Numbers of about a normal distribution, as `bells` in `goldens/make.py`.
fn bells(n: usize) -> Vec<f32> {
    let number = |i: usize| {
        let mut x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        let sum: u64 = (0..4).map(|part| x >> (16 * part) & 0xffff).sum();
        (sum as f32 - 131070.0) * 2.0_f32.powi((i / 256 % 16) as i32 - 24)
    };
    (0..n).map(number).collect()
}

#[test]
fn edge_cases_equal_gguf_py() {
    let folder = goldens().join("encoded");
    let values = std::fs::read(folder.join("values.bin")).unwrap();
    let values = values.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
    let values: Vec<f32> = values.collect();
    for &ty in FIXED {
        let expected = std::fs::read(folder.join(format!("{}.bin", ty.name()))).unwrap();
        let got = encoded(ty, &values);
        let size = ty.block_bytes() as usize;
        assert_eq!(got.len(), expected.len(), "{ty}");
        for (i, (got, expected)) in got.chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(got, expected, "{ty} block {i}");
        }
    }
}

#[test]
fn many_blocks_equal_gguf_py() {
    let digests = std::fs::read_to_string(goldens().join("encoded.txt")).unwrap();
    let mut seen = 0;
    for line in digests.lines() {
        let [name, count, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a line of encoded.txt is not NAME COUNT DIGEST: {line}");
        };
        let ty = TensorType::from_name(name).unwrap();
        let digest = encoded(ty, &bells(count.parse().unwrap()))
            .into_iter()
            .zip((1_u64..).step_by(2))
            .fold(0_u64, |sum, (byte, odd)| {
                sum.wrapping_add(u64::from(byte).wrapping_mul(odd))
            });
        assert_eq!(format!("{digest:016x}"), expected, "{ty}");
        seen += 1;
    }
    assert_eq!(seen, FIXED.len());
}

#[test]
fn what_a_block_cannot_hold_is_refused() {
    let ty = TensorType::Q4_0;
    let mut out = [9; 18];
    for bad in [f32::NAN, f32::INFINITY, -65600.0] {
        let mut values = [0.5; 32];
        values[3] = bad;
        let refused = quant::encode(ty, &values, &mut out);
        assert!(matches!(
            refused,
            Err(QuantError::OutOfRange { index: 3, .. })
        ));
    }
    assert_eq!(
        quant::encode(ty, &[0.0; 31], &mut out),
        Err(QuantError::WrongLength {
            ty,
            bytes: 18,
            elements: 31
        })
    );
    assert_eq!(out, [9; 18], "touched on an error");
    let ty = TensorType::Iq2Xs;
    assert_eq!(
        quant::encode(ty, &[0.0; 256], &mut [0; 74]),
        Err(QuantError::NoEncoder { ty })
    );
}

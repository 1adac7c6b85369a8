//! Decoding is equal to gguf-py bit for bit, and harmless on every byte pattern.

use ingle_formats::TensorType;
use ingle_tensor::quant::{self, QuantError};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// The bits of a number, with one pattern for every NaN.
fn bits(value: f32) -> u32 {
    if value.is_nan() {
        0x7fc0_0000
    } else {
        value.to_bits()
    }
}

fn decoded(ty: TensorType, blocks: &[u8]) -> Vec<f32> {
    let count = blocks.len() / ty.block_bytes() as usize;
    let mut out = vec![0.0; count * ty.block_len() as usize];
    assert_eq!(quant::decode(ty, blocks, &mut out), Ok(()));
    out
}

#[test]
fn blocks_equal_gguf_py() {
    for &ty in TensorType::ALL {
        let file = goldens().join("blocks").join(format!("{}.bin", ty.name()));
        let bytes = std::fs::read(file).unwrap();
        let (size, len) = (ty.block_bytes() as usize, ty.block_len() as usize);
        let count = bytes.len() / (size + 4 * len);
        let (blocks, expected) = bytes.split_at(count * size);
        let expected = expected
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b));
        let got = decoded(ty, blocks);
        assert_eq!(got.len(), expected.len(), "{ty}");
        for (i, (got, expected)) in got.into_iter().zip(expected).enumerate() {
            assert_eq!(bits(got), bits(expected), "{ty} [{i}]: {got} {expected}");
        }
    }
}

/// The bytes of the splitmix64 sequence from state 0, as `stream` in `goldens/make.py`.
fn stream(n: usize) -> Vec<u8> {
    let words = (1..=n as u64 / 8 + 1).flat_map(|i| {
        let mut x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)).to_le_bytes()
    });
    words.take(n).collect()
}

#[test]
fn many_blocks_of_any_bytes_equal_gguf_py() {
    let digests = std::fs::read_to_string(goldens().join("digests.txt")).unwrap();
    let mut seen = 0;
    for line in digests.lines() {
        let [name, count, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a line of digests.txt is not NAME COUNT DIGEST: {line}");
        };
        let ty = TensorType::from_name(name).unwrap();
        let size = count.parse::<usize>().unwrap() * ty.block_bytes() as usize;
        let digest = decoded(ty, &stream(size))
            .into_iter()
            .zip((1_u64..).step_by(2))
            .fold(0_u64, |sum, (value, odd)| {
                sum.wrapping_add(u64::from(bits(value)).wrapping_mul(odd))
            });
        assert_eq!(format!("{digest:016x}"), expected, "{ty}");
        seen += 1;
    }
    assert_eq!(seen, TensorType::ALL.len());
}

#[test]
fn partial_blocks_and_wrong_lengths_are_refused() {
    for &ty in TensorType::ALL {
        let (size, len) = (ty.block_bytes() as usize, ty.block_len() as usize);
        let mut out = vec![7.0; 2 * len];
        let partial = quant::decode(ty, &vec![0; 2 * size - 1], &mut out);
        let bytes = 2 * size - 1;
        assert_eq!(partial, Err(QuantError::PartialBlock { ty, bytes }));
        for elements in [2 * len - 1, 2 * len, 3 * len] {
            let wrong = quant::decode(ty, &vec![0; size], &mut vec![7.0; elements]);
            if elements == len {
                continue;
            }
            let bytes = size;
            assert_eq!(
                wrong,
                Err(QuantError::WrongLength {
                    ty,
                    bytes,
                    elements
                })
            );
        }
        assert!(out.iter().all(|v| *v == 7.0), "{ty}: touched on an error");
        assert_eq!(quant::decode(ty, &[], &mut []), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_or_are_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..700),
        index in 0..TensorType::ALL.len(),
    ) {
        let ty = TensorType::ALL[index];
        let count = bytes.len() / ty.block_bytes() as usize;
        let mut out = vec![0.0; count * ty.block_len() as usize];
        let whole = bytes.len() % ty.block_bytes() as usize == 0;
        prop_assert_eq!(quant::decode(ty, &bytes, &mut out).is_ok(), whole);
    }
}

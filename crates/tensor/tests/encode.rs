//! Encoding: equal to gguf-py where it can encode, and close to the values everywhere.

#![allow(clippy::unwrap_used, reason = "tests may fail")]

use ingle_formats::TensorType;
use ingle_tensor::kernel::Isa;
use ingle_tensor::quant::{self, Encoder, QuantError};
use proptest::prelude::*;
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

fn round_trip(ty: TensorType, values: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    assert_eq!(quant::decode(ty, &encoded(ty, values), &mut out), Ok(()));
    out
}

/// The root of the mean over blocks of 256 of `|decoded - x|^2 / |x|^2`.
fn relative_rms(values: &[f32], decoded: &[f32]) -> f32 {
    let blocks = values.chunks(256).zip(decoded.chunks(256));
    let share = blocks.map(|(x, y)| {
        let error: f32 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
        error / x.iter().map(|x| x * x).sum::<f32>()
    });
    (share.sum::<f32>() / (values.len() / 256) as f32).sqrt()
}

/// Codes rounded plainly with exact scales: with a minimum, spread evenly from the least to the
/// greatest value of each sub-block; without, the value of largest magnitude takes the lowest code.
fn plainly_rounded(values: &[f32], sub: usize, bits: i32, with_min: bool) -> Vec<f32> {
    let codes = 2.0_f32.powi(bits);
    let mut out = Vec::new();
    for sub in values.chunks(sub) {
        let low = sub.iter().copied().fold(f32::INFINITY, f32::min);
        let high = sub.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if with_min {
            let step = (high - low) / (codes - 1.0);
            out.extend(sub.iter().map(|x| low + step * ((x - low) / step).round()));
        } else {
            let largest = if -low > high { low } else { high };
            let step = largest / (codes / -2.0);
            let code = |x: &f32| (x / step).round().min(codes / 2.0 - 1.0);
            out.extend(sub.iter().map(|x| step * code(x)));
        }
    }
    out
}

#[test]
fn the_search_beats_plain_rounding_and_is_no_worse_than_llama_cpp() {
    let values = bells(1 << 16);
    let rows: &[(TensorType, usize, i32, bool)] = &[
        (TensorType::Q2K, 16, 2, true),
        (TensorType::Q3K, 16, 3, false),
        (TensorType::Q4K, 32, 4, true),
        (TensorType::Q5K, 32, 5, true),
        (TensorType::Q6K, 16, 6, false),
        (TensorType::Iq4Nl, 32, 4, false),
        (TensorType::Iq4Xs, 32, 4, false),
    ];
    let peers = std::fs::read_to_string(goldens().join("peer_rmse.txt")).unwrap();
    for &(ty, sub, bits, with_min) in rows {
        let error = relative_rms(&values, &round_trip(ty, &values));
        let plain = relative_rms(&values, &plainly_rounded(&values, sub, bits, with_min));
        let peer = peers
            .lines()
            .find_map(|line| line.split_once(' ').filter(|l| l.0 == ty.name()));
        let peer: f32 = peer.unwrap().1.parse().unwrap();
        println!("{ty}: {error:.5}, plain rounding {plain:.5}, llama.cpp {peer:.5}");
        assert!(
            error < plain,
            "{ty}: {error} against {plain} by plain rounding"
        );
        assert!(error <= peer, "{ty}: {error} against {peer} by llama.cpp");
    }
}

/// The types that can be made, and how far a number may come back from what it was, as a share
/// of the largest magnitude in its 256.
const BOUNDS: &[(TensorType, f32)] = &[
    (TensorType::F32, 0.0),
    (TensorType::F16, 0.0006),
    (TensorType::Bf16, 0.004),
    (TensorType::Q8_0, 0.005),
    (TensorType::Q5_0, 0.07),
    (TensorType::Q5_1, 0.04),
    (TensorType::Q4_0, 0.13),
    (TensorType::Q4_1, 0.07),
    (TensorType::Mxfp4, 0.26),
    (TensorType::Tq1_0, 0.51),
    (TensorType::Tq2_0, 0.51),
    (TensorType::Q6K, 0.06),
    (TensorType::Q5K, 0.1),
    (TensorType::Q4K, 0.2),
    (TensorType::Iq4Nl, 0.25),
    (TensorType::Iq4Xs, 0.25),
    (TensorType::Q3K, 0.45),
    (TensorType::Q2K, 0.75),
];

/// 256 values: a spread, some of them pushed up, some of them zero.
fn any_block() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        6 => -1.0_f32..1.0,
        1 => Just(0.0),
        1 => 0.9_f32..1.0,
    ];
    let values = proptest::collection::vec(value, 256);
    (values, -0.5_f32..0.5, -6..6_i32).prop_map(|(values, shift, power)| {
        let factor = 2.0_f32.powi(power);
        values.iter().map(|x| (x + shift) * factor).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_come_back_within_their_bound(values in any_block()) {
        let largest = values.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
        for &(ty, bound) in BOUNDS {
            for (x, y) in values.iter().zip(round_trip(ty, &values)) {
                prop_assert!((x - y).abs() <= bound * largest, "{}: {} became {}", ty, x, y);
            }
        }
    }

    #[test]
    fn any_finite_numbers_can_be_stored(bits in proptest::collection::vec(any::<u32>(), 256)) {
        let clamp = |bits: u32| f32::from_bits(bits).clamp(-65504.0, 65504.0);
        let values: Vec<f32> = bits.into_iter().map(clamp).map(|x| if x.is_nan() { 0.0 } else { x }).collect();
        for &(ty, _) in BOUNDS {
            let mut decoded = round_trip(ty, &values);
            prop_assert!(decoded.iter().all(|y| y.is_finite()), "{}", ty);
            // Importance of any kind, that of columns that were hardly used too.
            let importance: Vec<f32> = values.iter().map(|x| x.abs().max(1e-3)).collect();
            for importance in [importance, vec![1e-30; 256], vec![1e30; 256], vec![0.0; 256]] {
                let blocks = weighted(Isa::best(), ty, &values, Some(&importance));
                quant::decode(ty, &blocks, &mut decoded).unwrap();
                prop_assert!(decoded.iter().all(|y| y.is_finite()), "{} with importance", ty);
            }
        }
    }
}

/// The reciprocal of such a scale is infinite, and infinity times a value made a code overflow.
#[test]
fn numbers_whose_scale_has_no_reciprocal_become_zero() {
    for &(ty, _) in BOUNDS.iter().filter(|(ty, _)| ty.block_len() > 1) {
        for tiny in [f32::from_bits(1), f32::MIN_POSITIVE, 1e-37, -1e-39] {
            let mut values = [0.0; 256];
            values[3] = tiny;
            let decoded = round_trip(ty, &values);
            assert!(decoded.iter().all(|y| y.abs() <= 1e-37), "{ty} {tiny:e}");
        }
    }
}

#[test]
fn a_block_of_zeros_stays_zero() {
    for &(ty, _) in BOUNDS {
        assert!(
            round_trip(ty, &[0.0; 512]).iter().all(|y| *y == 0.0),
            "{ty}"
        );
    }
}

#[test]
fn blocks_of_every_type_that_can_be_made_are_bounded() {
    let can = |ty: &&TensorType| {
        let size = ty.byte_len(256).unwrap() as usize;
        quant::encode(**ty, &[0.0; 256], &mut vec![0; size]).is_ok()
    };
    assert_eq!(TensorType::ALL.iter().filter(can).count(), BOUNDS.len());
}

/// The types whose bits leave a choice.
const SEARCHED: &[TensorType] = &[
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q2K,
    TensorType::Q3K,
    TensorType::Q4K,
    TensorType::Q5K,
    TensorType::Q6K,
    TensorType::Iq4Nl,
    TensorType::Iq4Xs,
];

fn weighted(isa: Isa, ty: TensorType, values: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let size = ty.byte_len(values.len() as u64).unwrap();
    let mut out = vec![0; size as usize];
    let encoder = Encoder::new(isa).unwrap();
    let done = encoder.encode(ty, values, importance, &mut out);
    assert_eq!(done, Ok(()), "{ty}");
    out
}

#[test]
fn every_leaf_makes_the_same_blocks() {
    let values = bells(1 << 13);
    let importance: Vec<f32> = (0..values.len())
        .map(|i| 0.001 + (i * i % 97) as f32 / 30.0)
        .collect();
    for &(ty, _) in BOUNDS {
        let plain = encoded(ty, &values);
        let known = weighted(Isa::Scalar, ty, &values, Some(&importance));
        assert_eq!(plain != known, SEARCHED.contains(&ty), "{ty}");
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            assert!(weighted(isa, ty, &values, None) == plain, "{ty} {isa}");
            let again = weighted(isa, ty, &values, Some(&importance));
            assert!(again == known, "{ty} {isa} with importance");
        }
    }
}

/// A few columns matter much more than the rest, as in a network: the error where they are counted is
/// smaller than without knowing them.
#[test]
fn what_matters_is_kept_better_where_it_is_known() {
    let values = bells(1 << 14);
    let importance: Vec<f32> = (0..values.len())
        .map(|i| if i % 13 == 0 { 20.0 } else { 0.1 })
        .collect();
    let error = |ty, importance_given: Option<&[f32]>| {
        let mut decoded = vec![0.0; values.len()];
        let blocks = weighted(Isa::best(), ty, &values, importance_given);
        quant::decode(ty, &blocks, &mut decoded).unwrap();
        let blocks = values
            .chunks(256)
            .zip(decoded.chunks(256))
            .zip(importance.chunks(256));
        let share = blocks.map(|((x, y), w)| {
            let each = x.iter().zip(y).zip(w);
            let error: f32 = each.map(|((x, y), w)| w * (x - y) * (x - y)).sum();
            error / x.iter().zip(w).map(|(x, w)| w * x * x).sum::<f32>()
        });
        share.sum::<f32>().sqrt()
    };
    for &ty in SEARCHED {
        let (plain, known) = (error(ty, None), error(ty, Some(&importance)));
        println!("{ty}: {plain:.5} plain, {known:.5} known");
        assert!(known < plain, "{ty}: {known} known, {plain} plain");
    }
}

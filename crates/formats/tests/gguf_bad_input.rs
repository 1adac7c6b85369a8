//! Files that are wrong, one fault each: every one ends in a typed error.
//!
//! The published faults are those of other readers; what is tested is that a file of the same shape
//! is refused here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use ingle_formats::TensorType;
use ingle_formats::gguf::{GgufError, Header, Value, Writer};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(&mut { bytes }, bytes.len() as u64)
}

fn refused(bytes: &[u8]) -> GgufError {
    match read(bytes) {
        Err(error) => error,
        Ok(header) => panic!("accepted: {header:?}"),
    }
}

/// Bytes put together by hand, for what the writer does not write.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn start(n_tensors: u64, n_pairs: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(n_tensors).u64(n_pairs)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self = self.u64(text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    fn tensor(mut self, name: &str, shape: &[u64], ty: u32, offset: u64) -> Self {
        self = self.text(name).u32(shape.len() as u32);
        for &axis in shape {
            self = self.u64(axis);
        }
        self.u32(ty).u64(offset)
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

const F32: u32 = 0;

// Published faults.

/// The padded sizes of all tensors were added up without a check: two of 2^63 bytes make 0, so
/// nothing was allocated for them and both were read into it.
#[test]
fn cve_2025_53630_the_sum_of_tensor_sizes_wraps_to_nothing() {
    let bytes = Raw::start(2, 0)
        .tensor("a", &[1 << 61], F32, 0)
        .tensor("b", &[1 << 61], F32, 1 << 63)
        .zeros(64);
    let error = refused(&bytes.0);
    assert!(matches!(error, GgufError::OffsetOverflow { .. }), "{error}");
}

/// The sum of sizes was checked by then, but not the header that was added to it: a single tensor
/// of a little less than 2^64 bytes, and the overhead wraps.
#[test]
fn cve_2026_27940_the_sum_wraps_when_the_overhead_is_added() {
    let bytes = Raw::start(1, 0)
        .tensor("a", &[(1 << 62) - 8], F32, 0)
        .zeros(64);
    let error = refused(&bytes.0);
    assert!(matches!(error, GgufError::OffsetOverflow { .. }), "{error}");
}

/// The number of elements fitted, the number of bytes did not: 2^64 + 2^22 bytes looked like four
/// megabytes.
#[test]
fn cve_2026_33298_bytes_of_one_tensor_wrap_to_a_few_megabytes() {
    let bytes = Raw::start(1, 0)
        .tensor("a", &[1024, (1 << 52) + 1024], F32, 0)
        .zeros(64);
    let error = refused(&bytes.0);
    assert!(
        matches!(error, GgufError::TooManyElements { .. }),
        "{error}"
    );
}

/// The same with a type of blocks, and by the number of elements.
#[test]
fn the_product_of_dimensions_wraps() {
    for shape in [
        [1_u64 << 32, 1 << 32, 1, 1],
        [1 << 16, 1 << 16, 1 << 16, 1 << 16],
        [(1 << 62) + 256, 2, 1, 1],
        [1 << 62, 4, 1 << 1, 1],
    ] {
        for ty in [F32, TensorType::Q4K.gguf_number()] {
            let bytes = Raw::start(1, 0).tensor("a", &shape, ty, 0).zeros(64);
            let error = refused(&bytes.0);
            assert!(
                matches!(error, GgufError::TooManyElements { .. }),
                "{error}"
            );
        }
    }
}

/// Offset and size of a tensor were believed, and memory beyond the file was quantised and sent
/// away.
#[test]
fn cve_2026_7482_a_tensor_lies_beyond_the_end_of_the_file() {
    for (columns, offset) in [(1_000_000, 0), (1, 1 << 20), (1, 96), (17, 0)] {
        let bytes = Raw::start(1, 0).tensor("a", &[columns], F32, offset);
        let padding = bytes.0.len().next_multiple_of(32) - bytes.0.len();
        let error = refused(&bytes.zeros(padding + 64).0);
        assert!(matches!(error, GgufError::DataCutShort { .. }), "{error}");
    }
    for offset in [1 << 63, u64::MAX - 31] {
        let bytes = Raw::start(1, 0).tensor("a", &[64], F32, offset).zeros(64);
        let error = refused(&bytes.0);
        let outside = matches!(
            error,
            GgufError::DataCutShort { .. } | GgufError::OffsetOverflow { .. }
        );
        assert!(outside, "{error}");
    }
}

/// 49 bytes: one key whose value is an array of more elements than the file could ever hold. Readers
/// allocated first and read later, or read on behind the end.
#[test]
fn an_array_count_in_49_bytes_asks_for_memory_without_bound() {
    for element in 0..13 {
        for count in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 32, 1 << 20, 1] {
            let bytes = Raw::start(0, 1).text("k").u32(9).u32(element).u64(count);
            assert_eq!(bytes.0.len(), 49);
            let error = refused(&bytes.0);
            assert!(matches!(error, GgufError::Count { .. }), "{error}");
        }
    }
}

// Counts and lengths.

#[test]
fn counts_of_keys_and_tensors_beyond_the_file_are_refused_before_allocating() {
    for count in [1, 2, 1 << 32, 1 << 62, u64::MAX] {
        for bytes in [Raw::start(count, 0), Raw::start(0, count)] {
            let error = refused(&bytes.0);
            assert!(matches!(error, GgufError::Count { .. }), "{error}");
        }
    }
}

#[test]
fn lengths_of_strings_beyond_the_file_are_refused_before_allocating() {
    for len in [8, 1 << 16, 1 << 32, 1 << 63, u64::MAX] {
        let value = Raw::start(0, 1).text("k").u32(8).u64(len).u32(0);
        let error = refused(&value.0);
        assert!(matches!(error, GgufError::CutShort { .. }), "{error}");
        let in_array = Raw::start(0, 1).text("k").u32(9).u32(8).u64(1).u64(len);
        let error = refused(&in_array.u32(0).0);
        assert!(matches!(error, GgufError::CutShort { .. }), "{error}");
        let key = Raw::start(0, 1).u64(len).zeros(7);
        let error = refused(&key.0);
        assert!(
            matches!(
                error,
                GgufError::CutShort { .. } | GgufError::TooLong { .. }
            ),
            "{error}"
        );
    }
}

#[test]
fn arrays_in_arrays_are_read_to_a_depth_and_no_further() {
    for (depth, fits) in [(4, true), (5, false), (60, false)] {
        let mut bytes = Raw::start(0, 1).text("k").u32(9);
        for _ in 1..depth {
            bytes = bytes.u32(9).u64(1);
        }
        bytes = bytes.u32(4).u64(0);
        match read(&bytes.0) {
            Ok(_) => assert!(fits, "{depth}"),
            Err(error) => {
                assert!(matches!(error, GgufError::Depth { .. }) && !fits, "{error}");
            }
        }
    }
}

// Names.

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let pair = |raw: Raw| raw.text("a.b").u32(4).u32(1);
    let other = |raw: Raw| raw.text("a.a").u32(4).u32(1);
    let error = refused(&pair(other(pair(Raw::start(0, 3)))).0);
    assert!(matches!(error, GgufError::DuplicateKey { key } if key == "a.b"));
}

#[test]
fn a_tensor_that_is_there_twice_is_refused() {
    let bytes = Raw::start(3, 0)
        .tensor("a", &[1], F32, 0)
        .tensor("b", &[1], F32, 0)
        .tensor("a", &[1], F32, 0)
        .zeros(128);
    let error = refused(&bytes.0);
    assert!(matches!(error, GgufError::DuplicateTensor { name } if name == "a"));
}

#[test]
fn names_are_neither_empty_nor_endless_nor_other_than_utf8() {
    let error = refused(&Raw::start(0, 1).text("").u32(4).u32(1).zeros(8).0);
    assert!(matches!(error, GgufError::Empty { .. }), "{error}");
    let error = refused(&Raw::start(1, 0).tensor("", &[1], F32, 0).zeros(64).0);
    assert!(matches!(error, GgufError::Empty { .. }), "{error}");
    let long = "n".repeat(256);
    let error = refused(&Raw::start(1, 0).tensor(&long, &[1], F32, 0).zeros(64).0);
    assert!(
        matches!(error, GgufError::TooLong { len: 256, .. }),
        "{error}"
    );
    let mut bytes = Raw::start(0, 1).text("kk").u32(4).u32(1).0;
    bytes[33] = 0xff;
    let error = refused(&bytes);
    assert!(matches!(error, GgufError::Utf8 { .. }), "{error}");
}

#[test]
fn a_string_array_whose_elements_split_a_character_is_refused() {
    let mut bytes = Raw::start(0, 1).text("k").u32(9).u32(8).u64(2);
    bytes = bytes.u64(1);
    bytes.0.push(0xc3);
    bytes = bytes.u64(1);
    bytes.0.push(0xa9);
    let error = refused(&bytes.0);
    assert!(matches!(error, GgufError::Utf8 { .. }), "{error}");
}

// Tensors.

#[test]
fn dimensions_are_at_most_four_and_neither_zero_nor_negative() {
    for n_dims in [5, 9, u32::MAX] {
        let bytes = Raw::start(1, 0).text("a").u32(n_dims).zeros(200);
        let error = refused(&bytes.0);
        assert!(matches!(error, GgufError::Dimensions { .. }), "{error}");
    }
    for size in [0, -1, i64::MIN] {
        for axis in 0..3 {
            let mut shape = [32; 3];
            shape[axis] = size.cast_unsigned();
            let bytes = Raw::start(1, 0).tensor("a", &shape, F32, 0).zeros(64);
            match refused(&bytes.0) {
                GgufError::Dimension {
                    axis: a, size: s, ..
                } => assert_eq!((a, s), (axis, size)),
                error => panic!("{error}"),
            }
        }
    }
}

#[test]
fn tensor_types_that_are_unknown_or_were_removed_are_named() {
    for number in [4, 5, 31, 36, 40, 1 << 31, u32::MAX] {
        let bytes = Raw::start(1, 0).tensor("a", &[256], number, 0).zeros(64);
        match refused(&bytes.0) {
            GgufError::UnknownTensorType { number: n, .. } => assert_eq!(n, number),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn rows_are_whole_blocks_even_where_the_whole_tensor_would_be() {
    let q8_0 = TensorType::Q8_0.gguf_number();
    let bytes = Raw::start(1, 0).tensor("a", &[16, 2], q8_0, 0).zeros(128);
    let error = refused(&bytes.0);
    assert!(
        matches!(error, GgufError::PartBlock { columns: 16, .. }),
        "{error}"
    );
}

#[test]
fn offsets_are_multiples_of_the_alignment() {
    let bytes = Raw::start(1, 0).tensor("a", &[1], F32, 16).zeros(128);
    let error = refused(&bytes.0);
    assert!(
        matches!(
            error,
            GgufError::Misaligned {
                offset: 16,
                alignment: 32,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_alignment_is_a_power_of_two_of_32_bits() {
    for value in [0_u32, 3, 48, u32::MAX] {
        let bytes = Raw::start(0, 1).text("general.alignment").u32(4).u32(value);
        let error = refused(&bytes.0);
        assert!(matches!(error, GgufError::Alignment { .. }), "{error}");
    }
    let bytes = Raw::start(0, 1).text("general.alignment").u32(10).u64(32);
    let error = refused(&bytes.0);
    assert!(matches!(error, GgufError::Alignment { .. }), "{error}");
    let huge = Raw::start(1, 1)
        .text("general.alignment")
        .u32(4)
        .u32(1 << 31)
        .tensor("a", &[1], F32, 0)
        .zeros(64);
    let error = refused(&huge.0);
    assert!(matches!(error, GgufError::DataCutShort { .. }), "{error}");
}

// The file as a whole.

#[test]
fn other_files_and_versions_are_told_apart() {
    let error = refused(b"PK\x03\x04 and so on");
    assert!(matches!(error, GgufError::NotGguf { .. }), "{error}");
    for version in [0_u32, 1, 4, 300] {
        let mut bytes = Raw::start(0, 0).0;
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        let error = refused(&bytes);
        assert!(matches!(error, GgufError::Version { version: v } if v == version));
    }
    let mut bytes = Raw::start(0, 0).0;
    bytes[4..8].copy_from_slice(&3_u32.to_be_bytes());
    let error = refused(&bytes);
    assert!(
        matches!(error, GgufError::BigEndian { version: 3 }),
        "{error}"
    );
}

#[test]
fn a_reader_that_ends_before_the_promised_length_is_cut_short() {
    let bytes = small_file();
    for len in 0..bytes.len() {
        let outcome = Header::read(&mut &bytes[..len.min(100)], bytes.len() as u64);
        assert!(matches!(outcome, Err(GgufError::CutShort { .. })), "{len}");
    }
}

/// A file with every kind of value and two tensors, the last of which fills the file to its end.
fn small_file() -> Vec<u8> {
    let mut writer = Writer::new()
        .pair("u8", 1_u8)
        .pair("i16", -1_i16)
        .pair("u32", 1_u32)
        .pair("f32", 1.0_f32)
        .pair("bool", true)
        .pair("text", "grüße")
        .pair("u64", 1_u64)
        .pair("f64", 1.0_f64)
        .pair("texts", vec!["", "a", "ß"])
        .pair("numbers", vec![1_i32, -2])
        .pair("bools", vec![true, false]);
    let nested = ingle_formats::gguf::Array::Arrays(vec![]);
    writer = writer.pair("nested", Value::Array(nested));
    writer
        .tensor("a", &[32, 2], TensorType::Q8_0)
        .tensor("b", &[8], TensorType::F32)
        .file([vec![1; 68], vec![2; 32]])
        .unwrap()
}

#[test]
fn a_file_truncated_at_any_byte_is_refused() {
    let bytes = small_file();
    assert!(read(&bytes).is_ok());
    for len in 0..bytes.len() {
        let error = refused(&bytes[..len]);
        let cut_short = matches!(
            error,
            GgufError::CutShort { .. } | GgufError::DataCutShort { .. } | GgufError::Count { .. }
        );
        assert!(cut_short, "{len}: {error}");
    }
}

/// What every accepted header promises.
fn keeps_its_promises(header: &Header, file_len: u64) {
    for tensor in &header.tensors {
        assert!(tensor.offset >= header.data_start);
        assert!(tensor.offset + tensor.byte_len <= file_len);
        assert!((1..=4).contains(&tensor.shape.len()));
        let elements = tensor.shape.iter().product();
        assert_eq!(tensor.ty.byte_len(elements), Some(tensor.byte_len));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_never_panic(flips in prop::collection::vec((any::<usize>(), 0..8_u32), 1..6)) {
        let mut bytes = small_file();
        for (place, bit) in flips {
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
        }
        if let Ok(header) = read(&bytes) {
            keeps_its_promises(&header, bytes.len() as u64);
        }
    }

    #[test]
    fn any_bytes_after_a_valid_start_never_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = Raw::start(1, 2).0;
        bytes.extend(tail);
        if let Ok(header) = read(&bytes) {
            keeps_its_promises(&header, bytes.len() as u64);
        }
    }

    #[test]
    fn eight_bytes_replaced_by_an_extreme_never_panic(
        place in any::<usize>(),
        value in prop::sample::select(vec![0, 1, 1 << 31, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX]),
    ) {
        let mut bytes = small_file();
        let place = place % (bytes.len() - 8);
        bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
        if let Ok(header) = read(&bytes) {
            keeps_its_promises(&header, bytes.len() as u64);
        }
    }
}

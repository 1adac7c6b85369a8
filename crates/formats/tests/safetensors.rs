//! Safetensors headers: what is right is read, and every way to lie is refused by name.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use ingle_formats::safetensors::{Dtype, Header, MAX_HEADER, SafetensorsError, Tensor};
use proptest::prelude::*;

fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

fn read(bytes: &[u8]) -> Result<Header, SafetensorsError> {
    Header::read(&mut { bytes }, bytes.len() as u64)
}

fn refused(json: &str, data: usize) -> String {
    read(&file(json, data)).unwrap_err().to_string()
}

const TWO: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}} "#;

#[test]
fn tensors_come_in_the_order_of_their_data() {
    let header = read(&file(TWO, 16)).unwrap();
    let start = header.data_start;
    assert_eq!(start, 8 + TWO.len() as u64);
    assert_eq!(header.metadata, [("format".to_owned(), "pt".to_owned())]);
    let tensor = |name: &str, dtype, shape: &[u64], offset, byte_len| Tensor {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
        offset,
        byte_len,
    };
    assert_eq!(
        header.tensors,
        [
            tensor("a", Dtype::F32, &[], start, 4),
            tensor("b", Dtype::F16, &[2, 3], start + 4, 12)
        ]
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = file(TWO, 16);
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "cut to {len} bytes");
        // Also where the file is said to be whole and the reader ends early in the header.
        if len < 8 + TWO.len() {
            let outcome = Header::read(&mut &bytes[..len], bytes.len() as u64);
            assert!(outcome.is_err(), "ends after {len} bytes");
        }
    }
    assert!(read(&bytes).is_ok());
}

#[test]
fn a_claimed_header_is_bounded_before_anything_is_allocated() {
    for len in [MAX_HEADER + 1, u64::MAX] {
        let error = read(&len.to_le_bytes()).unwrap_err();
        assert!(matches!(error, SafetensorsError::HeaderTooLong { .. }));
    }
    let error = read(&MAX_HEADER.to_le_bytes()).unwrap_err();
    assert!(matches!(error, SafetensorsError::HeaderCutShort { .. }));
    // The file is said to be that long, and is not: only what came was kept.
    let outcome = Header::read(&mut MAX_HEADER.to_le_bytes().as_slice(), u64::MAX);
    assert!(matches!(outcome, Err(SafetensorsError::Read { .. })));
}

#[test]
fn places_fill_the_data() {
    let one = |name: &str, start: u64, end: u64| {
        let n = end - start;
        format!(r#""{name}":{{"dtype":"U8","shape":[{n}],"data_offsets":[{start},{end}]}}"#)
    };
    let two =
        |a: (u64, u64), b: (u64, u64)| format!("{{{},{}}}", one("a", a.0, a.1), one("b", b.0, b.1));
    assert!(read(&file(&two((0, 4), (4, 8)), 8)).is_ok());
    assert!(read(&file(&two((4, 8), (0, 4)), 8)).is_ok());
    assert!(refused(&two((0, 4), (3, 8)), 8).contains("an overlap"));
    assert!(refused(&two((0, 4), (0, 4)), 4).contains("an overlap"));
    assert!(refused(&two((0, 4), (5, 8)), 8).contains("a hole"));
    assert!(refused(&two((1, 4), (4, 8)), 8).contains("a hole"));
    assert!(refused(&two((0, 4), (4, 8)), 7).contains("cut short"));
    assert!(refused(&two((0, 4), (4, 8)), 9).contains("1 bytes behind"));
    assert!(refused("{}", 1).contains("1 bytes behind"));
    assert!(read(&file("{}", 0)).is_ok());
}

#[test]
fn shapes_that_lie_are_refused() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    assert!(refused(&one("F32", "[2]", "[0,4]"), 4).contains("takes 8 bytes"));
    assert!(refused(&one("F32", "[1]", "[4,0]"), 4).contains("takes 4 bytes"));
    let many = "[4294967296,4294967296,4294967296]";
    assert!(refused(&one("U8", many, "[0,0]"), 0).contains("64 bits"));
    assert!(refused(&one("F64", "[9223372036854775807]", "[0,0]"), 0).contains("64 bits"));
    assert!(refused(&one("F4", "[3]", "[0,1]"), 1).contains("whole number"));
    assert!(refused(&one("F128", "[1]", "[0,16]"), 16).contains("`F128`"));
    assert!(refused(&one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1).contains("9 dimensions"));
    // An overflow hidden behind an empty axis.
    assert!(refused(&one("U8", &many.replacen('[', "[0,", 1), "[0,1]"), 1).contains("takes 0"));
    for json in [
        one("U8", "[-1]", "[0,1]"),
        one("U8", "[1.5]", "[0,1]"),
        one("U8", "[18446744073709551616]", "[0,1]"),
        one("U8", "[1]", "[0]"),
        one("U8", "[1]", "[0,1,2]"),
        one("U8", "1", "[0,1]"),
        "[]".into(),
        "null".into(),
        "".into(),
        "{\"a\":1}".into(),
        "{} {}".into(),
        r#"{"a":{"dtype":"U8","shape":[1]}}"#.into(),
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}}"#.into(),
        r#"{"__metadata__":{"a":1}}"#.into(),
        r#"{"__metadata__":{},"__metadata__":{}}"#.into(),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{{\"a\":{}}}", "[".repeat(100_000)),
    ] {
        let found = refused(&json, 1);
        assert!(found.contains("not a JSON object"), "{json:.80}: {found}");
    }
    let twice = r#""a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    assert!(refused(&format!("{{{twice},{twice}}}"), 0).contains("there twice"));
    let mut bytes = file("{\"x\":1}", 0);
    bytes[10] = 0xff;
    assert!(matches!(read(&bytes), Err(SafetensorsError::Json { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(json in ".{0,200}", data in 0_usize..40, cut in 0_usize..300) {
        let bytes = file(&json, data);
        let _ = read(&bytes);
        let _ = read(&bytes[..cut.min(bytes.len())]);
    }

    #[test]
    fn headers_with_one_byte_changed_stay_inside_the_file(at in 8_usize..150, byte: u8) {
        let mut bytes = file(TWO, 16);
        bytes[at] = byte;
        if let Ok(header) = read(&bytes) {
            for tensor in header.tensors {
                prop_assert!(tensor.offset >= header.data_start);
                prop_assert!(tensor.offset + tensor.byte_len <= bytes.len() as u64);
            }
        }
    }
}

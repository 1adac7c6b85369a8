//! What a person reads when a GGUF file is wrong. `cargo insta review` shows what changed.

use ingle_formats::TensorType;
use ingle_formats::gguf::{GgufError, Kind, Place, ValueType};

fn header_faults() -> Vec<GgufError> {
    let value = || Place::Value("tokenizer.ggml.tokens".into());
    let limit = 65_535;
    vec![
        GgufError::NotGguf {
            found: *b"PK\x03\x04",
        },
        GgufError::Version { version: 1 },
        GgufError::BigEndian { version: 3 },
        GgufError::Read {
            place: Place::Start,
            at: 4,
            error: std::io::Error::other("input/output error"),
        },
        GgufError::CutShort {
            place: value(),
            at: 345,
            needed: 17,
            file_len: 350,
        },
        GgufError::HeaderTooLong {
            place: value(),
            at: 1 << 30,
            limit: 1 << 30,
        },
        GgufError::Count {
            place: value(),
            at: 49,
            what: "array elements",
            count: u64::MAX,
            file_len: 49,
        },
        GgufError::TooLong {
            place: Place::KeyName(3),
            at: 100,
            len: 70_000,
            limit,
        },
        GgufError::Empty {
            place: Place::TensorName(7),
            at: 400,
        },
        GgufError::Utf8 {
            place: value(),
            at: 400,
        },
        GgufError::UnknownValueType {
            place: value(),
            at: 400,
            number: 99,
        },
        GgufError::Bool {
            place: Place::Value("a\u{1b}[31m".into()),
            at: 400,
            byte: 2,
        },
        GgufError::Depth {
            place: value(),
            at: 400,
            limit: 4,
        },
        GgufError::DuplicateKey {
            key: "general.name".into(),
        },
        GgufError::Alignment { found: "48".into() },
        GgufError::Alignment {
            found: "u64".into(),
        },
    ]
}

fn tensor_faults() -> Vec<GgufError> {
    let name = || "blk.0.attn_q.weight".to_owned();
    let ty = TensorType::Q4K;
    vec![
        GgufError::DuplicateTensor { name: name() },
        GgufError::Dimensions {
            name: name(),
            at: 500,
            n_dims: 5,
        },
        GgufError::Dimension {
            name: name(),
            at: 500,
            axis: 1,
            size: -4,
        },
        GgufError::TooManyElements {
            name: name(),
            at: 500,
            shape: vec![1 << 40, 1 << 40],
        },
        GgufError::UnknownTensorType {
            name: name(),
            at: 500,
            number: 36,
        },
        GgufError::PartBlock {
            name: name(),
            at: 500,
            columns: 300,
            ty,
        },
        GgufError::Misaligned {
            name: name(),
            at: 500,
            offset: 48,
            alignment: 32,
        },
        GgufError::OffsetOverflow {
            name: name(),
            offset: u64::MAX - 31,
            byte_len: 4096,
            data_start: 1024,
        },
        GgufError::DataCutShort {
            name: name(),
            end: 4_150_000_000,
            file_len: 4_100_000_000,
            whole: 4_920_000_000,
        },
    ]
}

fn key_faults() -> Vec<GgufError> {
    let key = || "llama.block_count".to_owned();
    vec![
        GgufError::MissingKey { key: key() },
        GgufError::WrongType {
            key: key(),
            wanted: "an unsigned integer of 32 bits",
            found: Kind::One(ValueType::String),
        },
        GgufError::WrongType {
            key: key(),
            wanted: "an array of strings",
            found: Kind::ArrayOf(ValueType::I32),
        },
        GgufError::OutOfRange {
            key: key(),
            wanted: "an unsigned integer of 32 bits",
            value: -1,
        },
        GgufError::Length {
            key: key(),
            wanted: 32,
            found: 30,
        },
    ]
}

fn shown(faults: Vec<GgufError>) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn of_the_header() {
    insta::assert_snapshot!(shown(header_faults()));
}

#[test]
fn of_the_tensors() {
    insta::assert_snapshot!(shown(tensor_faults()));
}

#[test]
fn of_the_keys() {
    insta::assert_snapshot!(shown(key_faults()));
}

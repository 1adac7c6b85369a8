//! What a person reads when a model cannot be opened. `cargo insta review` shows what changed.

use std::path::PathBuf;

use ingle_formats::gguf::GgufError;
use ingle_store::StoreError;
use ingle_tensor::SourceError;

fn part(number: u32) -> PathBuf {
    format!("models/m-{number:05}-of-00012.gguf").into()
}

fn faults() -> Vec<StoreError> {
    let path = || PathBuf::from("models/m.gguf");
    vec![
        StoreError::NotFound { path: path() },
        StoreError::NotAFile {
            path: "models".into(),
        },
        StoreError::Io {
            path: path(),
            error: std::io::ErrorKind::PermissionDenied.into(),
        },
        StoreError::Replaced { path: path() },
        StoreError::Gguf {
            file: "models/m.gguf".into(),
            error: Box::new(GgufError::Version { version: 1 }),
        },
        StoreError::MissingParts {
            count: 12,
            missing: vec![part(2)],
        },
        StoreError::MissingParts {
            count: 12,
            missing: (2..=9).map(part).collect(),
        },
        StoreError::PartName {
            path: path(),
            index: 1,
            count: 12,
        },
        StoreError::PartMismatch {
            path: part(2),
            index: 3,
            count: 12,
            wanted_index: 1,
            wanted_count: 12,
        },
        StoreError::TooManyParts {
            path: part(1),
            count: 9000,
            limit: 512,
        },
        StoreError::DuplicateTensor {
            name: "output.weight".into(),
            first: part(1).display().to_string(),
            second: part(2).display().to_string(),
        },
        StoreError::TensorCount {
            path: part(1),
            count: 12,
            found: 300,
            wanted: 310,
        },
        StoreError::TooManyFiles {
            path: "/".into(),
            limit: 20_000,
        },
    ]
}

#[test]
fn of_opening() {
    let lines: Vec<String> = faults().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn of_reading() {
    let name = || "output.weight".to_owned();
    let file = || "models/m.gguf".to_owned();
    let faults = [
        SourceError::Missing { name: name() },
        SourceError::Range {
            name: name(),
            offset: 4096,
            len: 64,
            byte_len: 4100,
        },
        SourceError::Changed {
            file: file(),
            offset: 4_099_999_744,
            then: 4_920_000_000,
            now: 4_100_000_000,
        },
        SourceError::Read {
            name: name(),
            file: file(),
            offset: 1_234_567_168,
            error: std::io::Error::other("input/output error"),
        },
    ];
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

//! Files written by gguf-py hold here what gguf-py reads from them (`goldens/gguf_files.py`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::path::{Path, PathBuf};

use ingle_formats::gguf::{Array, GgufError, Header, Value, Writer};
use serde_json::{Value as Json, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/gguf")
        .join(name)
}

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(&mut { bytes }, bytes.len() as u64)
}

/// As the script describes a value: floats as the integer of their bits.
fn describe(value: &Value) -> Json {
    let plain = match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => json!(v.to_bits()),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v.to_bits()),
        Value::Array(array) => return describe_array(array),
    };
    json!({"type": value.value_type().to_string(), "value": plain})
}

fn describe_array(array: &Array) -> Json {
    let element = array.element_type().to_string();
    let values = match array {
        Array::U8(v) => json!(v),
        Array::I8(v) => json!(v),
        Array::U16(v) => json!(v),
        Array::I16(v) => json!(v),
        Array::U32(v) => json!(v),
        Array::I32(v) => json!(v),
        Array::F32(v) => v.iter().map(|v| json!(v.to_bits())).collect(),
        Array::Bool(v) => json!(v),
        Array::Strings(v) => v.iter().map(|v| json!(v)).collect(),
        Array::U64(v) => json!(v),
        Array::I64(v) => json!(v),
        Array::F64(v) => v.iter().map(|v| json!(v.to_bits())).collect(),
        Array::Arrays(_) => return json!({"type": "array", "element": element}),
    };
    json!({"type": "array", "element": element, "value": values})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_of_gguf_py_hold_what_gguf_py_says() {
    for name in ["v3", "v2", "alignment", "no-tensors"] {
        let bytes = std::fs::read(golden(&format!("{name}.gguf"))).unwrap();
        let wanted = std::fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
        let wanted: Json = serde_json::from_str(&wanted).unwrap();
        let header = read(&bytes).unwrap();
        let pairs = header.metadata.iter();
        let keys: serde_json::Map<String, Json> = pairs
            .map(|(key, value)| (key.to_owned(), describe(value)))
            .collect();
        let tensors = header.tensors.iter().map(|tensor| {
            let data = tensor.offset as usize..(tensor.offset + tensor.byte_len) as usize;
            json!({
                "name": tensor.name,
                "shape": tensor.shape,
                "type": tensor.ty.name(),
                "offset": tensor.offset,
                "bytes": hex(&bytes[data]),
            })
        });
        let found = json!({
            "version": header.version,
            "keys": keys,
            "tensors": tensors.collect::<Vec<_>>(),
        });
        // As text, so that the order of the keys counts too.
        assert_eq!(found.to_string(), wanted.to_string(), "{name}");
    }
}

#[test]
fn arrays_in_arrays_of_gguf_py_keep_their_shape() {
    let bytes = std::fs::read(golden("v3.gguf")).unwrap();
    let header = read(&bytes).unwrap();
    let found = header.metadata.get("array.of_arrays");
    let wanted = vec![Array::I32(vec![1, 2]), Array::I32(vec![3])].into();
    assert_eq!(found, Some(&wanted));
}

#[test]
fn a_big_endian_file_of_gguf_py_is_refused_as_one() {
    let bytes = std::fs::read(golden("big-endian.gguf")).unwrap();
    let outcome = read(&bytes);
    assert!(matches!(outcome, Err(GgufError::BigEndian { version: 3 })));
}

#[test]
fn writing_what_was_read_gives_the_same_bytes() {
    for name in ["v3", "v2", "alignment", "no-tensors"] {
        let bytes = std::fs::read(golden(&format!("{name}.gguf"))).unwrap();
        let header = read(&bytes).unwrap();
        let mut writer = Writer::new()
            .version(header.version)
            .metadata(&header.metadata);
        let mut data = Vec::new();
        for tensor in &header.tensors {
            writer = writer.tensor(tensor.name.as_str(), &tensor.shape, tensor.ty);
            data.push(&bytes[tensor.offset as usize..(tensor.offset + tensor.byte_len) as usize]);
        }
        assert!(writer.file(data).unwrap() == bytes, "{name}");
    }
}

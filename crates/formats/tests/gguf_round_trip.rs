//! What the writer writes, the reader reads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use ingle_formats::TensorType;
use ingle_formats::gguf::{Array, GgufError, Header, Metadata, Value, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(&mut { bytes }, bytes.len() as u64)
}

fn every_kind() -> Vec<(&'static str, Value)> {
    vec![
        ("a.u8", 200_u8.into()),
        ("a.i8", (-100_i8).into()),
        ("a.u16", 60_000_u16.into()),
        ("a.i16", (-30_000_i16).into()),
        ("a.u32", 4_000_000_000_u32.into()),
        ("a.i32", (-2_000_000_000_i32).into()),
        ("a.f32", 1.5_f32.into()),
        ("a.bool", true.into()),
        ("a.string", "grüße".into()),
        ("a.u64", u64::MAX.into()),
        ("a.i64", i64::MIN.into()),
        ("a.f64", std::f64::consts::PI.into()),
        ("b.u8", vec![1_u8, 2].into()),
        ("b.i8", vec![-1_i8, 2].into()),
        ("b.u16", vec![1_u16, 2].into()),
        ("b.i16", vec![-1_i16, 2].into()),
        ("b.u32", vec![1_u32, 2].into()),
        ("b.i32", vec![-1_i32, 2].into()),
        ("b.f32", vec![0.5_f32, -2.0].into()),
        ("b.bool", vec![true, false].into()),
        ("b.string", vec!["", "a", "ß", ""].into()),
        ("b.u64", vec![1_u64, 2].into()),
        ("b.i64", vec![-1_i64, 2].into()),
        ("b.f64", vec![0.5_f64, -2.0].into()),
        ("b.empty", Vec::<u32>::new().into()),
        (
            "b.arrays",
            vec![Array::U8(vec![1]), Array::I64(vec![2, 3])].into(),
        ),
    ]
}

#[test]
fn every_kind_of_value_in_both_versions() {
    for version in [2, 3] {
        let pairs = every_kind();
        let mut writer = Writer::new().version(version);
        for (key, value) in pairs.clone() {
            writer = writer.pair(key, value);
        }
        let bytes = writer.file([[0_u8; 0]; 0]).unwrap();
        let header = read(&bytes).unwrap();
        assert_eq!(header.version, version);
        let found: Vec<_> = header.metadata.iter().collect();
        let wanted: Vec<_> = pairs.iter().map(|(key, value)| (*key, value)).collect();
        assert_eq!(found, wanted);
        for (key, value) in &pairs {
            assert_eq!(header.metadata.get(key), Some(value));
        }
        assert_eq!(header.metadata.get("absent"), None);
    }
}

#[test]
fn tensors_lie_where_they_were_put() {
    let first: Vec<u8> = (0..68).collect();
    let bytes = Writer::new()
        .pair("general.alignment", 64_u32)
        .tensor("a", &[32, 2], TensorType::Q8_0)
        .tensor("b", &[3], TensorType::F32)
        .file([first.as_slice(), &[7; 12]])
        .unwrap();
    let header = read(&bytes).unwrap();
    let [a, b] = header.tensors.as_slice() else {
        panic!("two tensors")
    };
    assert_eq!(
        (a.name.as_str(), a.shape.as_slice(), a.ty),
        ("a", [32, 2].as_slice(), TensorType::Q8_0)
    );
    assert_eq!(header.data_start % 64, 0);
    assert_eq!((a.offset, a.byte_len), (header.data_start, 68));
    assert_eq!((b.offset, b.byte_len), (header.data_start + 128, 12));
    let place = a.offset as usize..(a.offset + a.byte_len) as usize;
    assert_eq!(&bytes[place], first.as_slice());
}

#[test]
fn getters_accept_any_width_that_fits_and_name_what_does_not() {
    let metadata = Metadata::from_pairs(every_kind()).unwrap();
    assert_eq!(metadata.u32("a.u8").unwrap(), Some(200));
    assert_eq!(metadata.u32("absent").unwrap(), None);
    assert_eq!(metadata.u32s("b.u16").unwrap(), Some(vec![1, 2]));
    assert_eq!(
        metadata.u32_per_layer("a.u8", 3).unwrap(),
        Some(vec![200; 3])
    );
    assert_eq!(
        metadata.u32_per_layer("b.u64", 2).unwrap(),
        Some(vec![1, 2])
    );
    assert_eq!(metadata.require_str("a.string").unwrap(), "grüße");
    let strings = metadata.require_strings("b.string").unwrap();
    assert_eq!(strings.iter().collect::<Vec<_>>(), ["", "a", "ß", ""]);
    assert_eq!((strings.get(2), strings.get(4)), (Some("ß"), None));
    assert!(matches!(
        metadata.u32("a.i8"),
        Err(GgufError::OutOfRange { value: -100, .. })
    ));
    assert!(matches!(
        metadata.f32("a.string"),
        Err(GgufError::WrongType { .. })
    ));
    assert!(matches!(
        metadata.u32_per_layer("b.u64", 3),
        Err(GgufError::Length { found: 2, .. })
    ));
    assert!(matches!(
        metadata.require_u32("absent"),
        Err(GgufError::MissingKey { .. })
    ));
}

fn any_array() -> impl Strategy<Value = Array> {
    let flat = prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Array::U8),
        vec(any::<i8>(), 0..9).prop_map(Array::I8),
        vec(any::<u16>(), 0..9).prop_map(Array::U16),
        vec(any::<i16>(), 0..9).prop_map(Array::I16),
        vec(any::<u32>(), 0..9).prop_map(Array::U32),
        vec(any::<i32>(), 0..9).prop_map(Array::I32),
        vec(any::<f32>(), 0..9).prop_map(Array::F32),
        vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        vec(any::<String>(), 0..9).prop_map(|v| Array::Strings(v.into_iter().collect())),
        vec(any::<u64>(), 0..9).prop_map(Array::U64),
        vec(any::<i64>(), 0..9).prop_map(Array::I64),
        vec(any::<f64>(), 0..9).prop_map(Array::F64),
    ];
    flat.prop_recursive(3, 16, 4, |inner| vec(inner, 0..4).prop_map(Array::Arrays))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        any_array().prop_map(Value::Array),
    ]
}

proptest! {
    /// Read through a reader that gives a few bytes at a time, as a slow disk or a pipe may.
    #[test]
    fn any_metadata_and_tensors_come_back(
        pairs in btree_map(".{1,20}", any_value(), 0..12),
        rows in btree_map("[a-z.]{1,60}", 1..5_u64, 0..8),
        alignment in 0..9_u32,
        step in 1..40_usize,
    ) {
        let mut writer = Writer::new().pair("general.alignment", 1_u32 << alignment);
        for (key, value) in &pairs {
            writer = writer.pair(key.as_str(), value.clone());
        }
        let mut data = Vec::new();
        for (name, &rows) in &rows {
            writer = writer.tensor(name.as_str(), &[32, rows], TensorType::Q4_0);
            data.push(vec![rows as u8; rows as usize * 18]);
        }
        let bytes = writer.file(&data).unwrap();
        let mut few = Few { bytes: &bytes, step };
        let header = Header::read(&mut few, bytes.len() as u64).unwrap();
        let found = header.metadata.iter().skip(1);
        prop_assert!(found.eq(pairs.iter().map(|(key, value)| (key.as_str(), value))));
        prop_assert_eq!(header.tensors.len(), rows.len());
        for (tensor, data) in header.tensors.iter().zip(&data) {
            let place = tensor.offset as usize..(tensor.offset + tensor.byte_len) as usize;
            prop_assert_eq!(&bytes[place], data.as_slice());
        }
    }
}

/// Gives at most `step` bytes a call.
struct Few<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl std::io::Read for Few<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(self.step);
        self.bytes.read(&mut into[..count])
    }
}

//! What the writer writes, the reader reads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use ingle_formats::TensorType;
use ingle_formats::gguf::{Array, GgufError, Header, Metadata, Value, Writer};

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

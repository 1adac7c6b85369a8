//! Blocks of any bytes decode, or are refused for their length; numbers of any bits encode, or are
//! refused for their size.
#![no_main]

use ingle_formats::TensorType;
use ingle_tensor::quant::{self, QuantError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let ty = TensorType::ALL[usize::from(choice) % TensorType::ALL.len()];
    let (size, len) = (ty.block_bytes() as usize, ty.block_len() as usize);

    let mut out = vec![0.0; bytes.len() / size * len];
    let decoded = quant::decode(ty, bytes, &mut out);
    assert_eq!(decoded.is_ok(), bytes.len() % size == 0);
    let longer = quant::decode(
        ty,
        &bytes[..bytes.len() / size * size],
        &mut vec![0.0; out.len() + 1],
    );
    assert!(matches!(longer, Err(QuantError::WrongLength { .. })));

    let values: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let values = &values[..values.len() / len * len];
    let mut blocks = vec![0; values.len() / len * size];
    match quant::encode(ty, values, &mut blocks) {
        Ok(()) if len > 1 => {
            let mut again = vec![f32::NAN; values.len()];
            assert_eq!(quant::decode(ty, &blocks, &mut again), Ok(()));
            assert!(again.iter().all(|x| x.is_finite()));
        }
        Ok(()) | Err(QuantError::NoEncoder { .. }) => {}
        Err(QuantError::OutOfRange { index, .. }) => {
            assert!(!(values[index].abs() <= 65504.0));
        }
        Err(error) => panic!("{error}"),
    }
});

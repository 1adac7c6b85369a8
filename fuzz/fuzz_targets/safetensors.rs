//! A safetensors header made of any bytes is read or refused; what is accepted fills its file.
#![no_main]

use ingle_formats::safetensors::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file_len = data.len() as u64;
    let Ok(header) = Header::read(&mut { data }, file_len) else {
        return;
    };
    let mut at = header.data_start;
    for tensor in &header.tensors {
        assert_eq!(tensor.offset, at);
        let elements: u64 = tensor.shape.iter().product();
        assert_eq!(tensor.dtype.byte_len(elements), Some(tensor.byte_len));
        at += tensor.byte_len;
    }
    assert_eq!(at, file_len);
});

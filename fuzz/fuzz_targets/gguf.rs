//! A header made of any bytes is read or refused; what is accepted keeps its promises.
#![no_main]

use ingle_formats::gguf::{Header, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file_len = data.len() as u64;
    let Ok(header) = Header::read(&mut { data }, file_len) else {
        return;
    };
    for tensor in &header.tensors {
        assert!(tensor.offset >= header.data_start);
        assert!(tensor.offset + tensor.byte_len <= file_len);
        let elements: u64 = tensor.shape.iter().product();
        assert_eq!(tensor.ty.byte_len(elements), Some(tensor.byte_len));
    }
    for (key, value) in header.metadata.iter() {
        assert!(header.metadata.get(key).is_some());
        let _ = header.metadata.u32(key);
        let _ = header.metadata.u32_per_layer(key, 3);
        let _ = header.metadata.strings(key).map(|found| {
            let strings = found.map(|strings| strings.iter().map(str::len).sum::<usize>());
            assert!(strings.unwrap_or(0) as u64 <= file_len);
        });
        let _ = value.kind().to_string();
    }
    // What was read can be written, and is the same when read again. Compared as text, because a
    // NaN is not equal to itself.
    if let Ok(bytes) = Writer::new().metadata(&header.metadata).file([[0_u8; 0]; 0]) {
        let again = Header::read(&mut bytes.as_slice(), bytes.len() as u64).map(|h| h.metadata);
        let again = again.expect("what was written is read");
        assert_eq!(format!("{again:?}"), format!("{:?}", header.metadata));
    }
});

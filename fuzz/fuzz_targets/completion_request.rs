//! Any bytes are a request of llama.cpp's, or are refused with a message.
#![no_main]

use ingle_server::{ApiError, LlamaCompletionRequest};
use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;

fn check<T: PartialEq + Debug>(body: &[u8], parse: fn(&[u8]) -> Result<T, ApiError>) {
    match parse(body) {
        // The same bytes mean the same request.
        Ok(request) => assert_eq!(parse(body), Ok(request)),
        Err(error) => {
            assert_eq!(error.status.as_u16(), 400);
            assert!(!error.message.is_empty() && error.message.len() < 4096);
        }
    }
}

fuzz_target!(|body: &[u8]| {
    check(body, LlamaCompletionRequest::parse);
    check(body, LlamaCompletionRequest::parse_infill);
});

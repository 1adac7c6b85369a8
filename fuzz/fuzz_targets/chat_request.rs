//! Any bytes are a chat request, or are refused in OpenAI's shape.
#![no_main]

use ingle_server::ChatRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match ChatRequest::parse(body) {
        // The same bytes mean the same request.
        Ok(request) => assert_eq!(ChatRequest::parse(body), Ok(request)),
        Err(error) => {
            assert_eq!(error.status.as_u16(), 400);
            assert!(!error.message.is_empty() && error.message.len() < 4096);
        }
    }
});

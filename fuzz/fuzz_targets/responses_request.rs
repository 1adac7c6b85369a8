//! Any bytes are a request for a response, or are refused with a message.
#![no_main]

use ingle_server::ResponsesRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match ResponsesRequest::parse(body) {
        // The same bytes mean the same request.
        Ok(request) => assert_eq!(ResponsesRequest::parse(body), Ok(request)),
        Err(error) => {
            assert_eq!(error.status.as_u16(), 400);
            assert!(!error.message.is_empty() && error.message.len() < 4096);
        }
    }
});

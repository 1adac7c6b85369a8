//! Any bytes are an answer of a provider, or are refused; wherever they are cut, they mean the same. Calls begin
//! before their arguments, nothing follows the end but what it took, and figures that cannot be are not believed.
#![no_main]

use ingle_gateway::chat::Piece;
use ingle_gateway::provider::{Charged, Dialect, Most, recorded};
use libfuzzer_sys::fuzz_target;

const MOST: Most = Most {
    context: 1000,
    answer: 100,
};

/// What was said, text by text.
fn said(pieces: &[Piece]) -> Vec<String> {
    let mut said: Vec<(u8, String)> = Vec::new();
    for piece in pieces {
        let (kind, text) = match piece {
            Piece::Reasoning(text) => (0, text.clone()),
            Piece::Text(text) => (1, text.clone()),
            Piece::CallArguments { text, .. } => (2, text.clone()),
            other => (3, format!("{other:?}")),
        };
        match said.last_mut() {
            Some((last, before)) if *last == kind && kind < 3 => before.push_str(&text),
            _ => said.push((kind, text)),
        }
    }
    said.into_iter().map(|(_, text)| text).collect()
}

fn check(pieces: &[Piece]) {
    let (mut calls, mut ended) = (0, false);
    for piece in pieces {
        match piece {
            Piece::CallBegin { index, .. } => {
                assert_eq!(*index, calls);
                calls += 1;
            }
            Piece::CallArguments { index, .. } => assert_eq!(index + 1, calls),
            Piece::Usage(usage) => {
                assert!(ended && usage.output <= 100 && usage.input <= 1000);
                assert!(usage.cached <= usage.input && usage.reasoning <= usage.output);
                continue;
            }
            _ => {}
        }
        assert!(!ended, "something follows the end");
        ended = matches!(piece, Piece::Finish(_));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((how, body)) = data.split_first() else {
        return;
    };
    let dialect = if how & 1 == 0 { Dialect::OpenAi } else { Dialect::Anthropic };
    let streamed = how & 2 == 0;
    let (pieces, end) = recorded(dialect, streamed, MOST, [body]);
    check(&pieces);
    let ended = pieces.iter().any(|piece| matches!(piece, Piece::Finish(_)));
    assert_eq!(end.is_ok(), ended);
    assert_ne!(end.as_ref().ok(), Some(&Charged::No));
    let step = 1 + usize::from(how >> 2);
    let (again, other) = recorded(dialect, streamed, MOST, body.chunks(step));
    assert_eq!(said(&pieces), said(&again));
    assert_eq!(format!("{end:?}"), format!("{other:?}"));
});

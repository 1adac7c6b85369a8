//! Log-probabilities of tokens, in the two shapes that OpenAI has for them.

use crate::body::with;
use crate::talk::TokenLogprob;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

/// OpenAI's number for what has no probability at all: JSON has no infinity.
const NEVER: f32 = -9999.0;

/// As chat completions have it, with the bytes of each token.
pub fn chat(token: &TokenLogprob, vocabulary: &Vocabulary) -> Value {
    let object = one(vocabulary, token.token, token.logprob);
    let top = token.top.iter();
    let top = top.map(|&(token, logprob)| one(vocabulary, token, logprob));
    with(object, "top_logprobs", top.collect::<Vec<Value>>())
}

fn one(vocabulary: &Vocabulary, token: TokenId, logprob: f32) -> Value {
    let bytes = piece(vocabulary, token);
    json!({
        "token": String::from_utf8_lossy(&bytes), "logprob": number(logprob), "bytes": bytes,
    })
}

/// As text completions have it; `offset` is the length of the text before, in characters.
pub fn legacy(vocabulary: &Vocabulary, tokens: &[TokenLogprob], mut offset: usize) -> Value {
    let text = |token| String::from_utf8_lossy(&piece(vocabulary, token)).into_owned();
    let (mut texts, mut logprobs, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
    for token in tokens {
        let shown = text(token.token);
        offsets.push(offset);
        offset += shown.chars().count();
        texts.push(shown);
        logprobs.push(number(token.logprob));
        let mut top: Map<String, Value> = Map::new();
        for &(token, logprob) in &token.top {
            // Two tokens may show the same: the more probable one comes first.
            top.entry(text(token)).or_insert_with(|| number(logprob));
        }
        tops.push(Value::Object(top));
    }
    json!({ "tokens": texts, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets })
}

fn piece(vocabulary: &Vocabulary, token: TokenId) -> Vec<u8> {
    let mut bytes = Vec::new();
    vocabulary.piece(token, true, &mut bytes);
    bytes
}

fn number(logprob: f32) -> Value {
    f64::from(if logprob.is_finite() { logprob } else { NEVER }).into()
}

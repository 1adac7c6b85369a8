//! Small trained vocabularies, against the libraries that trained them (`make_vocabularies.py`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on panics"
)]

use ingle_formats::gguf::{Metadata, Value};
use ingle_formats::vocabulary::{Decode, Encode, Vocabulary};
use serde_json::Value as Json;

/// A number, with the type that files have under this key.
fn numbers(key: &str, list: &[Json]) -> Value {
    let whole = |n: &Json| n.as_i64().unwrap();
    match key {
        "tokenizer.ggml.scores" => {
            let scores: Vec<f32> = list
                .iter()
                .map(|n| n.to_string().parse().unwrap())
                .collect();
            scores.into()
        }
        "tokenizer.ggml.precompiled_charsmap" => {
            let bytes: Vec<u8> = list
                .iter()
                .map(|n| u8::try_from(whole(n)).unwrap())
                .collect();
            bytes.into()
        }
        _ => {
            let types: Vec<i32> = list
                .iter()
                .map(|n| i32::try_from(whole(n)).unwrap())
                .collect();
            types.into()
        }
    }
}

fn value(key: &str, json: &Json) -> Value {
    match json {
        Json::Bool(flag) => (*flag).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => u32::try_from(number.as_u64().unwrap()).unwrap().into(),
        Json::Array(list) if list.iter().all(Json::is_string) => {
            let texts: Vec<&str> = list.iter().map(|text| text.as_str().unwrap()).collect();
            texts.into()
        }
        Json::Array(list) => numbers(key, list),
        _ => panic!("{key}: {json}"),
    }
}

/// Checks every case; answers the vocabulary.
fn check(golden: &str) -> Vocabulary {
    let json: Json = serde_json::from_str(golden).unwrap();
    let pairs = json["metadata"].as_object().unwrap().iter();
    let metadata =
        Metadata::from_pairs(pairs.map(|(key, json)| (key.as_str(), value(key, json)))).unwrap();
    let vocabulary = Vocabulary::from_metadata(&metadata).unwrap();
    assert_eq!(vocabulary.warnings(), []);
    let cases = json["cases"].as_array().unwrap();
    assert!(cases.len() > 60);
    for case in cases {
        let text = case[0].as_str().unwrap();
        let expected: Vec<u64> = case[1]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap())
            .collect();
        let found = vocabulary.encode(text, Encode::default());
        let found: Vec<u64> = found.iter().map(|id| u64::from(id.0)).collect();
        assert_eq!(found, expected, "{text:?}");
    }
    vocabulary
}

/// Every text comes back as it was.
fn check_round_trip(golden: &str, vocabulary: &Vocabulary) {
    let json: Json = serde_json::from_str(golden).unwrap();
    let options = Decode {
        start_of_text: true,
        ..Decode::default()
    };
    for case in json["cases"].as_array().unwrap() {
        let text = case[0].as_str().unwrap();
        let tokens = vocabulary.encode(text, Encode::default());
        assert_eq!(vocabulary.decode(&tokens, options), text);
    }
}

/// A test a golden; those that keep every character also check the way back.
macro_rules! goldens {
    ($($test:ident: $file:literal $(, $round_trip:ident)?;)*) => {$(
        #[test]
        fn $test() {
            let golden = include_str!(concat!("goldens/vocabulary/", $file, ".json"));
            let _vocabulary = check(golden);
            $($round_trip(golden, &_vocabulary);)?
        }
    )*};
}

goldens! {
    bpe_with_whole_pieces: "bpe-llama-bpe", check_round_trip;
    bpe_with_words_cut_by_case: "bpe-gpt-4o", check_round_trip;
    bpe_over_characters: "gemma-bpe", check_round_trip;
    sentence_piece: "sentence-piece", check_round_trip;
    sentence_piece_across_words: "sentence-piece-no-prefix", check_round_trip;
    unigram_with_a_character_map: "unigram";
    word_piece: "word-piece";
}

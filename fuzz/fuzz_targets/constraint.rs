//! Any JSON is a schema that is kept to, or is refused; any text a grammar or none. Nothing panics, and
//! what is taken can be followed.
#![no_main]

use std::sync::{Arc, LazyLock};

use ingle_engine::constrain::{Constrainer, Constraint};
use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value};
use ingle_formats::vocabulary::Vocabulary;
use libfuzzer_sys::fuzz_target;

/// Of a vocabulary of bytes.
static CONSTRAINER: LazyLock<Constrainer> = LazyLock::new(|| {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let mut kinds = vec![2_i32, 3, 3];
    kinds.extend([6; 256]);
    let pairs = [
        ("tokenizer.ggml.model", Value::from("llama")),
        ("tokenizer.ggml.tokens", Value::from(texts)),
        ("tokenizer.ggml.token_type", Value::from(kinds)),
    ];
    let metadata = Metadata::from_pairs(pairs).unwrap();
    Constrainer::new(Arc::new(Vocabulary::from_metadata(&metadata).unwrap())).unwrap()
});

fuzz_target!(|text: &str| {
    let constraint = match (serde_json::from_str(text), text.split_at_checked(1)) {
        (Ok(schema), _) => Constraint::JsonSchema(schema),
        (Err(_), Some(("r", regex))) => Constraint::Regex(regex.into()),
        (Err(_), Some(("l", lark))) => Constraint::Lark(lark.into()),
        (Err(_), Some(("g", gbnf))) => Constraint::Gbnf(gbnf.into()),
        (Err(_), _) => Constraint::Choice(text.lines().map(str::to_owned).collect()),
    };
    if let Ok(grammar) = CONSTRAINER.compile(&constraint) {
        let tokens: Vec<TokenId> = text.bytes().map(|b| TokenId(3 + u32::from(b))).collect();
        let _ = grammar.accepts(&tokens);
    }
});

//! A tokenizer.json made of any bytes becomes a vocabulary that reads texts, or is refused; so does a
//! config.json.
#![no_main]

use ingle_formats::huggingface::{Part, Texts, convert};
use ingle_formats::safetensors::{Dtype, Tensor};
use ingle_formats::vocabulary::{Encode, Vocabulary};
use libfuzzer_sys::fuzz_target;

const CONFIG: &[u8] = br#"{"architectures":["LlamaForCausalLM"],"hidden_size":8,"num_hidden_layers":1,
"num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":64,"tie_word_embeddings":true}"#;
const TOKENIZER: &[u8] = br#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}"#;
const ROWS: u64 = 300;

fuzz_target!(|data: &[u8]| {
    // The first byte says which file the rest is.
    let Some((&which, text)) = data.split_first() else {
        return;
    };
    let is_config = which % 2 == 1;
    let texts = Texts {
        config: if is_config { text } else { CONFIG }.to_vec(),
        tokenizer: (which % 4 < 2).then(|| if is_config { TOKENIZER } else { text }.to_vec()),
        sentencepiece: Some(text.to_vec()),
        ..Texts::default()
    };
    let tensor = |name: &str, shape: &[u64]| Tensor {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        offset: 0,
        byte_len: shape.iter().product::<u64>() * 4,
    };
    let tensors = [
        tensor("model.embed_tokens.weight", &[ROWS, 8]),
        tensor("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
        tensor("model.layers.0.mlp.experts.gate_up_proj", &[2, 8, 8]),
    ];
    let Ok(converted) = convert("fuzz", &texts, &tensors[..if is_config { 3 } else { 2 }]) else {
        return;
    };
    for recipe in &converted.tensors {
        let mut bytes = 0;
        for part in &recipe.parts {
            bytes += match part {
                Part::Made(made) => made.len() as u64,
                Part::Stored { tensor, first, elements, .. } => {
                    assert!((first + elements) * 4 <= tensors[*tensor].byte_len);
                    elements * 4
                }
            };
        }
        assert_eq!(bytes, recipe.info.byte_len, "{}", recipe.info.name);
    }
    let Ok(vocabulary) = Vocabulary::from_metadata(&converted.metadata) else {
        return;
    };
    assert_eq!(vocabulary.len() as u64, ROWS);
    let options = Encode { add_special: true, parse_special: true };
    for token in vocabulary.encode("Hello  w\u{f6}rld 123\n", options) {
        assert!(u64::from(token.0) < ROWS);
    }
});

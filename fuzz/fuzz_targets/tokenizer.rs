//! Any text becomes tokens and comes back; any metadata make a vocabulary or are refused.
//!
//! Input that begins with `GGUF` is a file. Otherwise the first byte chooses a vocabulary and the
//! rest is text.
#![no_main]

use std::sync::LazyLock;

use ingle_formats::TokenId;
use ingle_formats::gguf::{Header, Metadata, Value};
use ingle_formats::vocabulary::{Decode, Encode, StreamDecoder, Vocabulary};
use libfuzzer_sys::fuzz_target;

/// One name for each way of cutting text.
const PRE_TOKENIZERS: &[&str] = &[
    "default",
    "gpt-2",
    "llama-bpe",
    "jais-2",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "spark2_5",
    "youtu",
    "falcon",
    "starcoder",
    "qwen2",
    "qwen35",
    "bloom",
    "viking",
    "tekken",
    "chameleon",
    "gpt-4o",
    "tiny_aya",
    "kimi-k2",
    "superbpe",
    "bailingmoe",
    "seed-coder",
    "ufakzeka",
    "afmoe",
    "laguna",
    "exaone-moe",
    "minicpm5",
    "glm4",
];

fn read(pairs: Vec<(&str, Value)>) -> Vocabulary {
    let vocabulary = Metadata::from_pairs(pairs).map(|m| Vocabulary::from_metadata(&m));
    match vocabulary {
        Ok(Ok(vocabulary)) => vocabulary,
        other => unreachable!("these metadata are sound: {other:?}"),
    }
}

/// Byte-level BPE with all bytes and a few merges.
fn bpe(pre: &str) -> Vocabulary {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shifted = (0..256)
        .filter(|byte| !printable(byte))
        .zip(256..)
        .map(|(_, code)| code);
    let alphabet = (0..256)
        .filter(printable)
        .chain(shifted)
        .filter_map(char::from_u32);
    let mut tokens: Vec<String> = alphabet.map(String::from).collect();
    let merges = [
        "a a",
        "Ġ Ġ",
        "ĠĠ ĠĠ",
        "t h",
        "th e",
        "Ġ the",
        "1 2",
        "12 3",
        "Ċ Ċ",
        "' s",
        "Ã ī",
    ];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    read(vec![
        ("tokenizer.ggml.model", "gpt2".into()),
        ("tokenizer.ggml.pre", pre.into()),
        (
            "tokenizer.ggml.tokens",
            tokens.iter().map(String::as_str).collect::<Vec<_>>().into(),
        ),
        ("tokenizer.ggml.merges", merges.to_vec().into()),
        ("tokenizer.ggml.bos_token_id", 0_u32.into()),
    ])
}

/// The other kinds, over one list of tokens.
fn pieces(model: &str) -> Vocabulary {
    let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let mut tokens = vec!["<unk>", "<s>", "</s>"];
    tokens.extend(bytes.iter().map(String::as_str));
    tokens.extend([
        "▁", "a", "b", "ab", "▁a", "aa", "aaaa", "▁▁", "é", "中", "\n", "<u>", ".", "▁.",
    ]);
    let mut kinds = vec![2, 3, 3];
    kinds.resize(259, 6);
    kinds.resize(tokens.len(), 1);
    kinds[270] = 4;
    let scores: Vec<i32> = (0..tokens.len() as i32).map(|id| -id).collect();
    read(vec![
        ("tokenizer.ggml.model", model.into()),
        ("tokenizer.ggml.tokens", tokens.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.scores", scores.into()),
        (
            "tokenizer.ggml.merges",
            vec!["a a", "aa aa", "▁ a", "a b"].into(),
        ),
        ("tokenizer.ggml.bos_token_id", 1_u32.into()),
        ("tokenizer.ggml.eos_token_id", 2_u32.into()),
        ("tokenizer.ggml.unknown_token_id", 0_u32.into()),
        ("tokenizer.ggml.seperator_token_id", 2_u32.into()),
        ("tokenizer.ggml.remove_extra_whitespaces", true.into()),
    ])
}

/// Vocabularies, and whether each keeps every character.
static VOCABULARIES: LazyLock<Vec<(Vocabulary, bool)>> = LazyLock::new(|| {
    let bpe = PRE_TOKENIZERS.iter().map(|pre| (bpe(pre), true));
    let others = [
        ("llama", true),
        ("gemma4", true),
        ("bert", false),
        ("t5", false),
    ];
    bpe.chain(others.map(|(model, keeps)| (pieces(model), keeps)))
        .collect()
});

/// What holds for every vocabulary and text.
fn check(vocabulary: &Vocabulary, text: &str) -> Vec<TokenId> {
    let options = Encode {
        add_special: true,
        parse_special: true,
    };
    for tokens in [
        vocabulary.encode(text, options),
        vocabulary.encode(text, Encode::default()),
    ] {
        let mut decoder = StreamDecoder::new(Decode::default());
        let mut streamed = String::new();
        for &token in &tokens {
            assert!(vocabulary.token_text(token).is_some());
            decoder.push(vocabulary, token, &mut streamed);
        }
        decoder.finish(&mut streamed);
        assert_eq!(streamed, vocabulary.decode(&tokens, Decode::default()));
    }
    vocabulary.encode(text, Encode::default())
}

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"GGUF") {
        let Ok(header) = Header::read(&mut { data }, data.len() as u64) else {
            return;
        };
        let Ok(vocabulary) = Vocabulary::from_metadata(&header.metadata) else {
            return;
        };
        check(&vocabulary, &String::from_utf8_lossy(data));
        return;
    }
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let (vocabulary, keeps) = &VOCABULARIES[usize::from(choice) % VOCABULARIES.len()];
    // `▁` is how some vocabularies write a space, so it comes back as one.
    let text = String::from_utf8_lossy(text).replace('▁', "");
    let tokens = check(vocabulary, &text);
    if *keeps {
        let start = Decode {
            start_of_text: true,
            ..Decode::default()
        };
        assert_eq!(vocabulary.decode(&tokens, start), text);
    }
});

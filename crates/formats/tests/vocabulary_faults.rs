//! Damaged and hostile vocabularies end in a typed error, and no text takes long.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value};
use ingle_formats::vocabulary::{
    Decode, Encode, StreamDecoder, TokenKind, Vocabulary, VocabularyError, Warning,
};
use proptest::prelude::*;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

type Pairs = Vec<(&'static str, Value)>;

/// Replaces or adds pairs.
fn with(mut pairs: Pairs, more: Pairs) -> Pairs {
    for (key, value) in more {
        pairs.retain(|(old, _)| *old != key);
        pairs.push((key, value));
    }
    pairs
}

fn read(pairs: Pairs) -> Result<Vocabulary, VocabularyError> {
    Vocabulary::from_metadata(&Metadata::from_pairs(pairs).unwrap())
}

/// Byte-level BPE: the 256 bytes, a few merges, two control tokens.
fn bpe() -> Pairs {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shifted = (0..256)
        .filter(|byte| !printable(byte))
        .zip(256..)
        .map(|(_, code)| code);
    let alphabet: Vec<u32> = (0..256).filter(printable).chain(shifted).collect();
    let mut tokens: Vec<String> = alphabet
        .iter()
        .map(|&code| char::from_u32(code).unwrap().to_string())
        .collect();
    let merges = ["a a", "aa aa", "Ġ Ġ", "ĠĠ ĠĠ", "h e", "l l", "he ll", "Ċ Ċ"];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let mut kinds = vec![NORMAL; tokens.len() - 2];
    kinds.extend([CONTROL, NORMAL]); // the second is known to be a control token by its text
    let texts: Vec<&str> = tokens.iter().map(String::as_str).collect();
    vec![
        ("tokenizer.ggml.model", "gpt2".into()),
        ("tokenizer.ggml.pre", "qwen2".into()),
        ("tokenizer.ggml.tokens", texts.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.merges", merges.to_vec().into()),
        ("tokenizer.ggml.eos_token_id", 265_u32.into()),
    ]
}

/// SentencePiece's BPE: unknown, beginning, end, the bytes, some pieces.
fn sentence_piece() -> Pairs {
    let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let pieces = ["▁", "a", "aa", "aaaa", "▁▁", "▁▁▁▁", "b", "▁a", "ab", "中"];
    let mut texts = vec!["<unk>", "<s>", "</s>"];
    texts.extend(bytes.iter().map(String::as_str));
    texts.extend(pieces);
    let mut kinds = vec![UNKNOWN, CONTROL, CONTROL];
    kinds.extend([BYTE; 256]);
    kinds.extend(pieces.map(|_| NORMAL));
    let scores: Vec<f32> = (0..texts.len())
        .map(|id| -(u16::try_from(id).unwrap() as f32))
        .collect();
    vec![
        ("tokenizer.ggml.model", "llama".into()),
        ("tokenizer.ggml.tokens", texts.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.scores", scores.into()),
    ]
}

/// Unigram and WordPiece: the same tokens do for both.
fn words(model: &str) -> Pairs {
    let texts = vec!["<pad>", "</s>", "<unk>", "▁", "a", "aa", "▁a", "b", "."];
    let kinds = vec![
        CONTROL, CONTROL, UNKNOWN, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL,
    ];
    vec![
        ("tokenizer.ggml.model", model.into()),
        ("tokenizer.ggml.tokens", texts.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        (
            "tokenizer.ggml.scores",
            (0_i32..9).map(|id| -id).collect::<Vec<_>>().into(),
        ),
        ("tokenizer.ggml.bos_token_id", 1_u32.into()),
        ("tokenizer.ggml.seperator_token_id", 1_u32.into()),
        ("tokenizer.ggml.unknown_token_id", 2_u32.into()),
    ]
}

fn every_kind() -> [Pairs; 4] {
    [bpe(), sentence_piece(), words("t5"), words("bert")]
}

fn ids(tokens: &[TokenId]) -> Vec<u32> {
    tokens.iter().map(|id| id.0).collect()
}

const ALL: Encode = Encode {
    add_special: true,
    parse_special: true,
};

#[test]
fn messages_say_what_to_do() {
    let tokens = |texts: Vec<&str>| ("tokenizer.ggml.tokens", Value::from(texts));
    let faults = [
        vec![],
        vec![("tokenizer.ggml.model", "rwkv".into())],
        vec![("tokenizer.ggml.model", "no_vocab".into())],
        vec![("tokenizer.ggml.model", 7_u32.into())],
        with(bpe(), vec![tokens(vec![])]),
        with(bpe(), vec![tokens(vec!["a", "b", "a"])]),
        with(
            bpe(),
            vec![("tokenizer.ggml.token_type", vec![1_i32].into())],
        ),
        with(
            bpe(),
            vec![("tokenizer.ggml.merges", vec!["a b", "ab"].into())],
        ),
        with(bpe(), vec![("tokenizer.ggml.eos_token_id", 266_u32.into())]),
        with(
            bpe(),
            vec![("tokenizer.ggml.bos_token_id", (-2_i32).into())],
        ),
        with(
            bpe(),
            vec![("tokenizer.ggml.bos_token_id", u64::MAX.into())],
        ),
        with(
            words("t5"),
            vec![
                ("tokenizer.ggml.add_bos_token", true.into()),
                ("tokenizer.ggml.bos_token_id", u32::MAX.into()),
            ],
        ),
        with(
            sentence_piece(),
            vec![("tokenizer.ggml.scores", vec![0_f32; 3].into())],
        ),
        with(
            sentence_piece(),
            vec![("tokenizer.ggml.scores", vec![f32::NAN; 400].into())],
        ),
        with(
            words("t5"),
            vec![(
                "tokenizer.ggml.precompiled_charsmap",
                vec![255_u8; 9].into(),
            )],
        ),
        with(
            words("t5"),
            vec![("tokenizer.ggml.precompiled_charsmap", vec![1.5_f32].into())],
        ),
    ];
    let messages: Vec<String> = faults
        .into_iter()
        .map(|pairs| read(pairs).unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn warnings_say_what_to_do() {
    let without_pre: Pairs = bpe()
        .into_iter()
        .filter(|(key, _)| !key.ends_with(".pre"))
        .collect();
    let odd = [
        without_pre,
        with(bpe(), vec![("tokenizer.ggml.pre", "newest-thing".into())]),
        with(
            bpe(),
            vec![("tokenizer.ggml.merges", vec!["q q", "qq qq"].into())],
        ),
        with(
            bpe(),
            vec![
                ("tokenizer.ggml.tokens", vec!["a", "b"].into()),
                ("tokenizer.ggml.merges", Vec::<&str>::new().into()),
                ("tokenizer.ggml.eos_token_id", 1_u32.into()),
            ],
        ),
    ];
    let warnings: Vec<String> = odd
        .into_iter()
        .flat_map(|pairs| read(pairs).unwrap().warnings().to_vec())
        .map(|warning| warning.to_string())
        .collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

/// GHSA-7rxv-5jhh-j6xx: a token's length was cast to a signed 32-bit integer, so a long token
/// passed the check before it was copied.
#[test]
fn ghsa_7rxv_5jhh_j6xx_hostile_token_length() {
    let long = "x".repeat(1 << 20);
    for pairs in every_kind() {
        let pairs = with(
            pairs,
            vec![("tokenizer.ggml.tokens", vec!["a", &long].into())],
        );
        let error = read(pairs).unwrap_err();
        assert!(matches!(
            error,
            VocabularyError::TokenTooLong {
                id: 1,
                len: 1_048_576,
                ..
            }
        ));
    }
}

#[test]
fn merges_that_name_no_token_are_spelt_in_bytes() {
    let merges = vec!["q q", "qq qq"];
    let vocabulary = read(with(bpe(), vec![("tokenizer.ggml.merges", merges.into())])).unwrap();
    let tokens = vocabulary.encode("qqqqq", Encode::default());
    assert_eq!(
        vocabulary.warnings(),
        [Warning::MergesWithoutToken { count: 2 }]
    );
    assert_eq!(tokens.len(), 5);
    assert_eq!(vocabulary.decode(&tokens, Decode::default()), "qqqqq");
}

#[test]
fn tokens_out_of_range_are_nothing() {
    for pairs in every_kind() {
        let vocabulary = read(pairs).unwrap();
        let outside = [u32::MAX, u32::try_from(vocabulary.len()).unwrap()].map(TokenId);
        assert_eq!(vocabulary.decode(&outside, Decode::default()), "");
        for token in outside {
            assert_eq!(vocabulary.token_text(token), None);
            assert_eq!(vocabulary.kind(token), None);
            assert!(!vocabulary.is_end_of_generation(token));
        }
    }
}

#[test]
fn control_tokens_in_a_users_text_stay_text() {
    let vocabulary = read(bpe()).unwrap();
    let end = vocabulary.token_id("<|im_end|>").unwrap();
    assert_eq!(vocabulary.kind(end), Some(TokenKind::Control));
    assert_eq!(vocabulary.roles().eot, Some(end));
    assert!(vocabulary.is_end_of_generation(end));
    let plain = vocabulary.encode("hell<|im_end|>", Encode::default());
    assert!(!plain.contains(&end));
    let parsed = vocabulary.encode("hell<|im_end|>", ALL);
    assert_eq!(ids(&parsed), [262, end.0]);
    assert_eq!(vocabulary.decode(&parsed, Decode::default()), "hell");
    let shown = Decode {
        special: true,
        ..Decode::default()
    };
    assert_eq!(vocabulary.decode(&parsed, shown), "hell<|im_end|>");
}

#[test]
fn sentence_piece_puts_a_space_before_the_first_word_and_takes_it_away() {
    let vocabulary = read(sentence_piece()).unwrap();
    let tokens = vocabulary.encode("a", ALL);
    assert_eq!(ids(&tokens), [1, 266]);
    let start = Decode {
        start_of_text: true,
        ..Decode::default()
    };
    assert_eq!(vocabulary.decode(&tokens, start), "a");
    assert_eq!(vocabulary.decode(&tokens, Decode::default()), " a");
}

/// A character that comes in four tokens is handed out with the last; one that never ends, or
/// bytes that can be none, become U+FFFD.
#[test]
fn a_stream_never_hands_out_half_a_character() {
    let vocabulary = read(sentence_piece()).unwrap();
    let byte = |byte: u8| vocabulary.token_id(&format!("<0x{byte:02X}>")).unwrap();
    let mut decoder = StreamDecoder::new(Decode::default());
    let mut shown = Vec::new();
    for bytes in ["🦙".as_bytes(), b"\xe4\xb8", b"a", b"\xff", b"\xf0\x9f"] {
        for &b in bytes {
            let mut text = String::new();
            decoder.push(&vocabulary, byte(b), &mut text);
            shown.push(text);
        }
    }
    let mut text = String::new();
    decoder.finish(&mut text);
    shown.push(text);
    assert_eq!(
        shown,
        [
            "",
            "",
            "",
            "🦙",
            "",
            "",
            "\u{fffd}a",
            "\u{fffd}",
            "",
            "",
            "\u{fffd}"
        ]
    );
}

#[test]
fn user_defined_tokens_are_found_before_anything_else() {
    let texts = vec!["<pad>", "</s>", "<unk>", "▁", "a", "<b>", "▁a", "b", "."];
    let kinds = vec![
        CONTROL,
        CONTROL,
        UNKNOWN,
        NORMAL,
        NORMAL,
        USER_DEFINED,
        NORMAL,
        NORMAL,
        NORMAL,
    ];
    let pairs = with(
        words("t5"),
        vec![
            ("tokenizer.ggml.tokens", texts.into()),
            ("tokenizer.ggml.token_type", kinds.into()),
        ],
    );
    let vocabulary = read(pairs).unwrap();
    assert_eq!(
        ids(&vocabulary.encode("a<b>a", Encode::default())),
        [4, 5, 4]
    );
}

/// A quarter of a megabyte of one letter, of spaces, of a character without a token: were any of
/// these quadratic, the test would take hours.
#[test]
fn long_runs_do_not_take_quadratic_time() {
    const LEN: usize = 1 << 18;
    for pairs in every_kind() {
        let vocabulary = read(pairs).unwrap();
        for part in [
            "a",
            " ",
            "\n",
            "'",
            "中",
            "🦙",
            "a ",
            "\u{301}",
            "1",
            "<|im_end|>",
        ] {
            let text = part.repeat(LEN / part.len());
            let tokens = vocabulary.encode(&text, ALL);
            assert!(tokens.len() <= LEN + 2, "{part:?}");
        }
    }
}

proptest! {
    /// Any text comes back whole from the kinds that keep every character, whole or streamed.
    #[test]
    fn text_comes_back(text in r"[\PC\s<|>_a-h]{0,80}") {
        let start = Decode { start_of_text: true, ..Decode::default() };
        for pairs in [bpe(), sentence_piece()] {
            let vocabulary = read(pairs).unwrap();
            // `▁` is how SentencePiece writes a space, so it comes back as one.
            let text = text.replace('▁', "");
            let tokens = vocabulary.encode(&text, Encode::default());
            prop_assert_eq!(vocabulary.decode(&tokens, start), text);
        }
    }

    /// Any list of tokens becomes text, the same in one go and streamed.
    #[test]
    fn any_tokens_become_text(list in prop::collection::vec(0_u32..300, 0..40)) {
        for pairs in every_kind() {
            let vocabulary = read(pairs).unwrap();
            let tokens: Vec<TokenId> = list.iter().copied().map(TokenId).collect();
            let mut bytes = Vec::new();
            tokens.iter().for_each(|&token| vocabulary.piece(token, false, &mut bytes));
            prop_assert_eq!(
                vocabulary.decode(&tokens, Decode::default()),
                String::from_utf8_lossy(&bytes)
            );
        }
    }

    /// Whatever stands in the metadata, reading ends, and so does encoding.
    #[test]
    fn hostile_metadata_end_in_an_error_or_a_vocabulary(
        model in prop::sample::select(vec!["gpt2", "llama", "bert", "t5", "gemma4"]),
        texts in prop::collection::vec("[ab▁Ġ<>0x]{0,6}", 0..20),
        kinds in prop::collection::vec(-1_i32..9, 0..25),
        scores in prop::collection::vec(any::<f32>(), 0..25),
        merges in prop::collection::vec("[ab▁Ġ]{0,2} [ab▁Ġ ]{0,3}", 0..10),
        charsmap in prop::collection::vec(any::<u8>(), 0..64),
        special in prop::collection::vec(-2_i64..25, 6),
        flags in any::<[bool; 4]>(),
        text in r"[\PC\sab▁<>0x]{0,40}",
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        let pairs: Pairs = vec![
            ("tokenizer.ggml.model", model.into()),
            ("tokenizer.ggml.tokens", texts.into()),
            ("tokenizer.ggml.token_type", kinds.into()),
            ("tokenizer.ggml.scores", scores.into()),
            ("tokenizer.ggml.merges", merges.into()),
            ("tokenizer.ggml.precompiled_charsmap", charsmap.into()),
            ("tokenizer.ggml.bos_token_id", special[0].into()),
            ("tokenizer.ggml.eos_token_id", special[1].into()),
            ("tokenizer.ggml.unknown_token_id", special[2].into()),
            ("tokenizer.ggml.seperator_token_id", special[3].into()),
            ("tokenizer.ggml.eot_token_id", special[4].into()),
            ("tokenizer.ggml.fim_pad_token_id", special[5].into()),
            ("tokenizer.ggml.add_bos_token", flags[0].into()),
            ("tokenizer.ggml.add_eos_token", flags[1].into()),
            ("tokenizer.ggml.add_space_prefix", flags[2].into()),
            ("tokenizer.ggml.remove_extra_whitespaces", flags[3].into()),
        ];
        if let Ok(vocabulary) = read(pairs) {
            let tokens = vocabulary.encode(&text, ALL);
            prop_assert!(tokens.iter().all(|token| vocabulary.token_text(*token).is_some()));
            vocabulary.decode(&tokens, Decode::default());
        }
    }
}

use super::*;

/// Made by `make_splits.py`, in the same folder.
const GOLDEN: &str = include_str!("../../../tests/goldens/vocabulary/splits.txt");

/// Every family, by one of its names.
const NAMES: &[&str] = &[
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
    "gemma4",
    "minicpm5",
];

fn stages(name: &str) -> Stages {
    let (pre_tokenizer, warning) = PreTokenizer::by_name(Some(name)).unwrap();
    assert_eq!(warning, None, "{name}");
    pre_tokenizer.stages
}

fn pieces<'a>(stages: &Stages, text: &'a str) -> Vec<&'a str> {
    let mut rest = text;
    let cut = |len| {
        let (piece, after) = rest.split_at(len);
        rest = after;
        piece
    };
    let pieces: Vec<&str> = stages.split(text).into_iter().map(cut).collect();
    assert_eq!(pieces.concat(), text);
    pieces
}

#[test]
fn pieces_are_those_of_the_models_own_tokenizers() {
    let mut lines = GOLDEN.lines().peekable();
    let mut texts = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.starts_with("= ")) {
        texts.push(serde_json::from_str::<String>(line).unwrap());
    }
    let mut checked = 0;
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("= ").unwrap();
        let stages = stages(name);
        for text in &texts {
            let expected: Vec<usize> = lines
                .next()
                .unwrap()
                .split(' ')
                .map(|len| len.parse().unwrap())
                .collect();
            let found = stages.split(text);
            assert_eq!(
                found,
                expected,
                "{name}: {text:?} is cut as {:?}",
                pieces(&stages, text)
            );
            checked += 1;
        }
    }
    assert!(checked > 1400, "{checked} cases");
}

#[test]
fn numbers_are_grouped_from_the_right() {
    assert_eq!(
        pieces(&stages("superbpe"), "a1234567 123 12"),
        ["a", "1", "234", "567", " ", "123", " ", "12"]
    );
    assert_eq!(
        pieces(&stages("afmoe"), "pi 31415"),
        ["pi", " ", "31", "415"]
    );
}

#[test]
fn unknown_and_absent_names_warn() {
    let (_, warning) = PreTokenizer::by_name(Some("newest-thing")).unwrap();
    assert_eq!(
        warning,
        Some(Warning::UnknownPreTokenizer {
            name: "newest-thing".to_owned()
        })
    );
    let (_, warning) = PreTokenizer::by_name(None).unwrap();
    assert_eq!(warning, Some(Warning::NoPreTokenizer));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn pieces_of_any_text_are_the_text(text in r"[\PC\s]{0,60}") {
        for name in NAMES {
            pieces(&stages(name), &text);
        }
    }
}

//! The published test vectors: every text must become exactly the ids beside it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::{Path, PathBuf};

use ingle_formats::gguf::Header;
use ingle_formats::vocabulary::{Decode, Encode, Vocabulary};

/// `../shared/data` beside the repository, or under `INGLE_SHARED`.
fn shared() -> PathBuf {
    match std::env::var_os("INGLE_SHARED") {
        Some(place) => PathBuf::from(place).join("data"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    }
}

fn read(path: &Path) -> Vocabulary {
    let bytes = fs::read(path).unwrap();
    let len = u64::try_from(bytes.len()).unwrap();
    let header = Header::read(&mut bytes.as_slice(), len).unwrap();
    Vocabulary::from_metadata(&header.metadata).unwrap()
}

fn check(path: &Path) {
    let vocabulary = read(path);
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        fs::read_to_string(PathBuf::from(name)).unwrap()
    };
    let (texts, ids) = (beside(".inp"), beside(".out"));
    let mut checked = 0;
    for (text, line) in texts.split("\n__ggml_vocab_test__\n").zip(ids.lines()) {
        let found = vocabulary.encode(text, Encode::default());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(found, expected, "{}: {text:?}", path.display());
        checked += 1;
    }
    assert!(checked > 40, "{}: {checked} texts", path.display());
    assert_eq!(vocabulary.warnings(), [], "{}", path.display());
}

#[test]
fn published_vectors_match() {
    let folder = shared().join("tokenizers");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!(
            "skipped: published_vectors_match, for {} is absent",
            folder.display()
        );
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "gguf"));
    assert!(paths.len() >= 7, "{paths:?}");
    paths.iter().for_each(|path| check(path));
}

#[test]
fn stories260k_tokenizes_as_its_golden_says() {
    let path = shared().join("models/stories260K/stories260K.gguf");
    if !path.exists() {
        println!(
            "skipped: stories260k_tokenizes_as_its_golden_says, for {} is absent",
            path.display()
        );
        return;
    }
    let vocabulary = read(&path);
    let options = Encode {
        add_special: true,
        parse_special: false,
    };
    let ids: Vec<u32> = vocabulary
        .encode("Once upon a time", options)
        .iter()
        .map(|id| id.0)
        .collect();
    assert_eq!(ids, [1, 403, 407, 261, 378]);
}

/// What llama.cpp makes of nasty texts, with and without control tokens, and of their tokens again
/// (`make_llama_cpp.mjs`).
#[test]
fn llama_cpp_agrees_on_nasty_texts() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("goldens/vocabulary/llama_cpp.json")).unwrap();
    let texts = golden["texts"].as_array().unwrap();
    for (name, rows) in golden.as_object().unwrap() {
        let path = shared().join("tokenizers").join(name);
        if name == "texts" {
            continue;
        }
        if !path.exists() {
            println!("skipped: {name}, for {} is absent", path.display());
            continue;
        }
        let vocabulary = read(&path);
        for (text, row) in texts.iter().zip(rows.as_array().unwrap()) {
            let text = text.as_str().unwrap();
            let joined = |parse_special| {
                let options = Encode {
                    add_special: false,
                    parse_special,
                };
                let ids = vocabulary.encode(text, options);
                let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
                (ids, words.join(" "))
            };
            let (ids, plain) = joined(false);
            assert_eq!(plain, row[0], "{name}: {text:?}");
            assert_eq!(
                joined(true).1,
                row[1].as_str().unwrap_or(&plain),
                "{name}: {text:?}"
            );
            let options = Decode {
                special: false,
                start_of_text: true,
                clean_up: true,
            };
            assert_eq!(vocabulary.decode(&ids, options), row[2], "{name}: {text:?}");
        }
    }
}

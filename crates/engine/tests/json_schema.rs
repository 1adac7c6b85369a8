//! Schemas as constraints, held to the JSON Schema Test Suite: what is taken is kept to.
#![allow(clippy::unwrap_used, reason = "a test")]

use ingle_engine::constrain::{Constrainer, Constraint, ConstraintError, Grammar};
use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value as Meta};
use ingle_formats::vocabulary::Vocabulary;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A vocabulary of single bytes and an end.
fn bytes() -> Arc<Vocabulary> {
    let mut texts = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let mut kinds = vec![2_i32, 3, 3];
    kinds.extend([6; 256]);
    let pairs = [
        ("tokenizer.ggml.model", Meta::from("llama")),
        ("tokenizer.ggml.tokens", Meta::from(texts)),
        ("tokenizer.ggml.token_type", Meta::from(kinds)),
        ("tokenizer.ggml.add_space_prefix", Meta::from(false)),
    ];
    let metadata = Metadata::from_pairs(pairs).unwrap();
    Arc::new(Vocabulary::from_metadata(&metadata).unwrap())
}

struct Judge {
    constrainer: Constrainer,
}

impl Judge {
    fn new() -> Self {
        let constrainer = Constrainer::new(bytes()).unwrap();
        Self { constrainer }
    }

    fn compile(&self, schema: &Value) -> Result<Grammar, ConstraintError> {
        self.constrainer
            .compile(&Constraint::JsonSchema(schema.clone()))
    }

    fn accepts(&self, grammar: &Grammar, text: &str) -> bool {
        let tokens: Vec<TokenId> = text.bytes().map(|b| TokenId(3 + u32::from(b))).collect();
        grammar.accepts(&tokens)
    }

    fn accepts_any(&self, grammar: &Grammar, value: &Value) -> bool {
        forms(value).iter().any(|text| self.accepts(grammar, text))
    }
}

/// The texts of a value: with and without spaces, its keys in any order.
fn forms(value: &Value) -> Vec<String> {
    let mut all = vec![value.to_string(), format!("{value:#}")];
    if let Value::Object(map) = value
        && map.len() <= 4
    {
        let keys: Vec<&String> = map.keys().collect();
        let mut orders = vec![Vec::new()];
        for _ in 0..keys.len() {
            let longer = orders.iter().flat_map(|order: &Vec<&String>| {
                let rest = keys.iter().filter(|k| !order.contains(*k));
                rest.map(|k| [order.clone(), vec![*k]].concat())
                    .collect::<Vec<_>>()
            });
            orders = longer.collect();
        }
        let written = |order: &Vec<&String>| {
            let pairs = order.iter().map(|k| ((*k).clone(), map[*k].clone()));
            Value::Object(pairs.collect()).to_string()
        };
        all.extend(orders.iter().map(written));
    }
    all
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    supported: usize,
    refused: usize,
    /// Invalid, and accepted.
    wrong: Vec<String>,
    /// Valid, and accepted in none of its forms.
    narrow: Vec<String>,
    why: BTreeMap<String, usize>,
}

fn suite() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("INGLE_SHARED").map_or(beside, PathBuf::from);
    let suite = shared.join("data/evals/json-schema-tests");
    suite.is_dir().then_some(suite)
}

fn run(judge: &Judge, folder: &str, dialect: Option<&str>) -> Option<Count> {
    let folder = suite()?.join(folder);
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == "json") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    let mut count = Count::default();
    for file in files {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        let groups: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for group in groups.as_array().unwrap() {
            let mut schema = group["schema"].clone();
            if let (Value::Object(map), Some(dialect)) = (&mut schema, dialect) {
                map.entry("$schema").or_insert(dialect.into());
            }
            let grammar = match judge.compile(&schema) {
                Ok(grammar) => grammar,
                Err(error) => {
                    count.refused += 1;
                    let place = match &error {
                        ConstraintError::Schema { path, why } => {
                            let keyword = path.rsplit('/').next().unwrap_or_default();
                            format!("{keyword}: {}", why.chars().take(60).collect::<String>())
                        }
                        other => other.to_string(),
                    };
                    *count.why.entry(place).or_default() += 1;
                    continue;
                }
            };
            count.supported += 1;
            for test in group["tests"].as_array().unwrap() {
                let valid = test["valid"].as_bool().unwrap();
                let accepted = judge.accepts_any(&grammar, &test["data"]);
                let told = || {
                    format!(
                        "{name}: {} / {}: {} for {}",
                        group["description"], test["description"], test["data"], schema
                    )
                };
                match (valid, accepted) {
                    (false, true) => count.wrong.push(told()),
                    (true, false) => count.narrow.push(told()),
                    _ => {}
                }
            }
        }
    }
    Some(count)
}

#[test]
fn the_test_suite() {
    const DRAFTS: [(&str, Option<&str>, usize); 5] = [
        ("draft2020-12", None, 346),
        (
            "draft2019-09",
            Some("https://json-schema.org/draft/2019-09/schema"),
            0,
        ),
        (
            "draft7",
            Some("http://json-schema.org/draft-07/schema#"),
            269,
        ),
        (
            "draft6",
            Some("http://json-schema.org/draft-06/schema#"),
            228,
        ),
        (
            "draft4",
            Some("http://json-schema.org/draft-04/schema#"),
            167,
        ),
    ];
    let judge = Judge::new();
    for (folder, dialect, least) in DRAFTS {
        let Some(count) = run(&judge, folder, dialect) else {
            println!("skipped: the JSON Schema Test Suite is not there");
            return;
        };
        println!(
            "{folder}: {} supported, {} refused, {} wrong, {} instances in no form",
            count.supported,
            count.refused,
            count.wrong.len(),
            count.narrow.len()
        );
        for (why, n) in &count.why {
            println!("  {n} {why}");
        }
        for told in &count.narrow {
            println!("  narrow {told}");
        }
        assert!(count.wrong.is_empty(), "{:#?}", count.wrong);
        assert!(
            count.supported >= least,
            "{folder}: {} supported",
            count.supported
        );
    }
}

#[test]
fn white_space_is_bounded() {
    let judge = Judge::new();
    let grammar = judge.compile(&json!({ "type": "object" })).unwrap();
    assert!(judge.accepts(&grammar, "{ }"));
    assert!(!judge.accepts(&grammar, &format!("{{{}}}", " ".repeat(50))));
    assert!(!judge.accepts(&grammar, "[]"));
}

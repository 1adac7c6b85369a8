use super::*;
use ingle_formats::TokenId;
use ingle_formats::gguf::{Metadata, Value as Meta};
use serde_json::json;
use std::time::{Duration, Instant};

fn constrainer() -> Constrainer {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
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
    Constrainer::new(Arc::new(Vocabulary::from_metadata(&metadata).unwrap())).unwrap()
}

fn accepts(grammar: &Grammar, text: &str) -> bool {
    let tokens: Vec<TokenId> = text.bytes().map(|b| TokenId(3 + u32::from(b))).collect();
    grammar.accepts(&tokens)
}

#[test]
fn what_cannot_be_kept_to_is_refused_with_its_path() {
    let constrainer = constrainer();
    let schemas = [
        json!({ "properties": { "a": { "type": "array", "uniqueItems": true } } }),
        json!({ "contains": { "pattern": "x" }, "maxContains": 1 }),
        json!({ "uniqueItems": true, "items": { "enum": [1, 2] } }),
        json!({ "properties": { "a/b": { "pattern": "(?=x)y" } } }),
        json!({ "anyOf": [{ "type": "string" }, { "format": "made-up" }] }),
        json!({ "$ref": "https://example.com/schema" }),
        json!({ "$ref": "#/$defs/none" }),
        json!({ "$defs": { "x": { "$dynamicRef": "#x" } }, "items": { "$ref": "#/$defs/x" } }),
        json!({ "$schema": "http://json-schema.org/draft-03/schema#" }),
        json!({ "enum": [] }),
        json!({ "const": 12_345_678_901_234_567_890_u64 }),
        json!({ "type": "text" }),
        json!({ "minProperties": 2 }),
        json!({ "not": { "items": { "type": "string" } } }),
        json!({ "oneOf": [{ "type": "object" }, { "items": { "type": "string" } }] }),
        json!({ "multipleOf": 0 }),
        json!({ "required": "a" }),
        json!({ "type": "integer", "minimum": 3, "maximum": 1 }),
        json!(["a"]),
    ];
    let messages: Vec<String> = schemas
        .iter()
        .map(|schema| {
            let made = constrainer.compile(&Constraint::JsonSchema(schema.clone()));
            format!("{schema}\n    {}", made.unwrap_err())
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn grammars_that_cannot_be_read() {
    let constrainer = constrainer();
    let constraints = [
        Constraint::Regex("a(".into()),
        Constraint::Regex("a(?=b)".into()),
        Constraint::Choice(Vec::new()),
        Constraint::Choice(vec!["a".into(), String::new()]),
        Constraint::Lark("start: nothing".into()),
        Constraint::Lark("start: %json { \"uniqueItems\": true }".into()),
        Constraint::Gbnf("top ::= \"a\"".into()),
        Constraint::Gbnf("root ::= [".into()),
        Constraint::Gbnf("root = \"a\"".into()),
        Constraint::Regex("a".repeat(MAX_CONSTRAINT_BYTES + 1)),
    ];
    let messages = constraints
        .iter()
        .map(|c| constrainer.compile(c).unwrap_err().to_string());
    insta::assert_snapshot!(messages.collect::<Vec<_>>().join("\n"));
}

/// As libraries write tagged unions: by reference, and the tag has a default.
#[test]
fn tagged_unions_are_kept_apart() {
    let kind = |name: &str| json!({ "type": "object", "properties": { "kind": { "const": name, "default": name, "type": "string" }, "sizes": { "type": "array", "items": { "type": "integer", "format": "int32" } } }, "required": ["sizes"] });
    let schema = json!({
        "oneOf": [{ "$ref": "#/$defs/Cat" }, { "$ref": "#/$defs/Dog" }],
        "discriminator": { "propertyName": "kind", "mapping": {} },
        "$defs": { "Cat": kind("cat"), "Dog": kind("dog") },
    });
    let grammar = constrainer()
        .compile(&Constraint::JsonSchema(schema))
        .unwrap();
    assert!(accepts(&grammar, "{\"kind\": \"dog\", \"sizes\": [1, -2]}"));
    assert!(
        !accepts(&grammar, "{\"sizes\": [1]}"),
        "both would be valid"
    );
    assert!(!accepts(&grammar, "{\"kind\": \"fox\", \"sizes\": [1]}"));
    assert!(!accepts(
        &grammar,
        "{\"kind\": \"cat\", \"sizes\": [3000000000]}"
    ));
}

/// Grammars that would grow without end where they were not bounded.
#[test]
fn hostile_constraints_end_soon() {
    let constrainer = constrainer();
    let mut deep = json!({ "type": "string" });
    for _ in 0..100 {
        deep = json!({ "type": "array", "items": deep });
    }
    let wide: Vec<_> = (0..2000)
        .map(|i| json!({ "pattern": format!("a{{{i}}}b|.*x.{{{}}}", i % 90) }))
        .collect();
    let constraints = [
        Constraint::Regex("((a{0,500}){0,500}){0,500}b".into()),
        Constraint::Regex("(.*a){20}.{30}b".into()),
        Constraint::JsonSchema(deep),
        Constraint::JsonSchema(json!({ "allOf": wide })),
        Constraint::JsonSchema(json!({ "$ref": "#" })),
        Constraint::JsonSchema(json!({ "allOf": [{ "$ref": "#" }], "type": "object" })),
        Constraint::JsonSchema(json!({ "pattern": "(x+x+)+y", "minLength": 90000 })),
        Constraint::JsonSchema(
            json!({ "minItems": 100_000, "items": { "type": "string", "maxLength": 99_999 } }),
        ),
        Constraint::Lark("start: a\na: a a | \"x\" | ".into()),
        Constraint::Gbnf(format!(
            "root ::= {}\"a\"{}",
            "(".repeat(200),
            ")".repeat(200)
        )),
    ];
    for constraint in constraints {
        let began = Instant::now();
        let made = constrainer.compile(&constraint);
        if let Ok(grammar) = made {
            accepts(&grammar, &"xxxx".repeat(64));
        }
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(20),
            "{took:?} for {constraint:?}"
        );
    }
}

#[test]
fn expressions_mean_what_they_mean_in_ecmascript() {
    let constrainer = constrainer();
    let cases = [
        (r"^\d+$", "\"12\"", true),
        (r"^\d+$", "\"１\"", false),
        ("b.d", "\"abcde\"", true),
        ("^a.c$", "\"a\\nc\"", false),
        (r"^\s\S$", "\"\u{a0}x\"", true),
        (r"^\S$", "\"\u{feff}\"", false),
        (r"^[\w.-]+$", "\"a.b-c\"", true),
        (r"^\u00e9\x41$", "\"éA\"", true),
        (r"^\ud83d\ude00$", "\"😀\"", true),
        (r"^[^/]+/[^\\]$", "\"a/b\"", true),
        (r"^(?<year>[0-9]{4})$", "\"2026\"", true),
        (r"^(?:a|b){2,3}$", "\"abab\"", false),
        ("^a$|^b", "\"a\"", true),
        ("^a$|^b", "\"bc\"", true),
        ("^a$|^b", "\"ab\"", false),
        (r"^\p{Lu}\P{L}$", "\"É1\"", true),
        ("x|y$", "\"axb\"", true),
        ("x|y$", "\"yb\"", false),
        ("^\"$", "\"\\\"\"", true),
    ];
    for (pattern, text, want) in cases {
        let schema = json!({ "type": "string", "pattern": pattern });
        let grammar = constrainer
            .compile(&Constraint::JsonSchema(schema))
            .unwrap();
        assert_eq!(accepts(&grammar, text), want, "{pattern} {text}");
    }
}

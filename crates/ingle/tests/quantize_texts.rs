//! `ingle quantize` with texts: importance matrices, and what is reported of the new file.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{repository, run, shared};

const STORIES: &str = "models/stories260K/stories260K.gguf";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two texts of one kind: the first to measure the importance on, the second held out.
fn texts(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let all = std::fs::read_to_string(shared("corpora/tinystories_1000.json")?).unwrap();
    let all: Vec<String> = serde_json::from_str(&all).unwrap();
    let (seen, held_out) = (folder.join("seen.txt"), folder.join("held-out.txt"));
    std::fs::write(&seen, all[..300].join("\n\n")).unwrap();
    std::fs::write(&held_out, all[600..700].join("\n\n")).unwrap();
    Some((seen, held_out))
}

fn report(args: &[&str]) -> Value {
    let done = run(&[args, &["--json", "--tokens", "8192"]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

fn number(report: &Value, name: &str) -> f64 {
    report["evaluation"][name].as_f64().unwrap()
}

#[test]
fn knowing_what_matters_brings_the_new_model_nearer_to_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let Some((seen, held_out)) = texts(folder.path()) else {
        return;
    };
    let Some(stories) = shared(STORIES) else {
        return;
    };
    let wide = folder.path().join("wide.gguf");
    let mini = repository("models/ingle-mini/ingle-mini.gguf");
    assert_eq!(run(&["quantize", &mini, text(&wide), "f32"]).code, 0);
    let cases: [(&Path, &str); 6] = [
        (&stories, "q4_0"),
        (&stories, "q4_1"),
        (&stories, "q4_k_s"),
        (&stories, "iq4_nl"),
        (&stories, "q2_k"),
        (&wide, "q4_1"),
    ];
    for (model, ty) in cases {
        let (plain, known) = (
            folder.path().join("plain.gguf"),
            folder.path().join("known.gguf"),
        );
        let of = |out: &Path, more: &[&str]| {
            let args = [
                "quantize",
                text(model),
                text(out),
                ty,
                "--force",
                "--eval-text",
                text(&held_out),
            ];
            report(&[&args, more].concat())
        };
        let (plain, known) = (
            of(&plain, &[]),
            of(&known, &["--imatrix-text", text(&seen)]),
        );
        let (a, b) = (number(&plain, "mean_kl"), number(&known, "mean_kl"));
        println!(
            "{} {ty}: mean KL {a:.6} plain, {b:.6} with importance",
            model.display()
        );
        assert!(
            b < a,
            "{} {ty}: {a} plain, {b} with importance",
            model.display()
        );
        assert_eq!(plain["weighted"], Value::Null);
        assert!(known["weighted"].as_u64().unwrap() > 10, "{known}");
    }
}

#[test]
fn nothing_is_lost_where_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (Some((_, held_out)), Some(model)) = (texts(folder.path()), shared(STORIES)) else {
        return;
    };
    let out = folder.path().join("a.gguf");
    let report = report(&[
        "quantize",
        text(&model),
        text(&out),
        "f32",
        "--eval-text",
        text(&held_out),
    ]);
    assert_eq!(number(&report, "mean_kl"), 0.0);
    assert_eq!(number(&report, "max_kl"), 0.0);
    assert_eq!(number(&report, "same_top"), 1.0);
    assert_eq!(
        number(&report, "perplexity_before"),
        number(&report, "perplexity_after")
    );
    let (n, perplexity) = (
        number(&report, "predictions"),
        number(&report, "perplexity_before"),
    );
    assert!(n > 3000.0, "{n}");
    // A model of stories on stories it has not seen, by tokens of about two characters.
    assert!((2.0..6.0).contains(&perplexity), "{perplexity}");
}

#[test]
fn an_importance_matrix_is_kept_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (Some((seen, _)), Some(model)) = (texts(folder.path()), shared(STORIES)) else {
        return;
    };
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second, matrix) = (at("first.gguf"), at("second.gguf"), at("matrix.gguf"));
    let args = [
        "quantize",
        text(&model),
        &first,
        "q4_0",
        "--imatrix-text",
        text(&seen),
        "--save-imatrix",
        &matrix,
    ];
    let made = report(&args);
    // The last quarter of the text was held out.
    assert!(number(&made, "predictions") > 1000.0);
    let shown = run(&["show", &matrix, "--json"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["metadata"]["general.type"], "imatrix");
    assert_eq!(shown["metadata"]["imatrix.chunk_size"], 128);
    report(&[
        "quantize",
        text(&model),
        &second,
        "q4_0",
        "--imatrix",
        &matrix,
    ]);
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap());
    // Of another model.
    let mini = repository("models/ingle-mini/ingle-mini.gguf");
    let done = run(&[
        "quantize",
        &mini,
        &at("c.gguf"),
        "q4_0",
        "--imatrix",
        &matrix,
        "--allow-requantize",
    ]);
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("make one from this model"),
        "{}",
        done.err
    );
    // Not an importance matrix.
    let done = run(&["quantize", &mini, &at("c.gguf"), "f32", "--imatrix", &mini]);
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("holds no importance matrix"),
        "{}",
        done.err
    );
    assert!(!Path::new(&at("c.gguf")).exists());
}

#[test]
fn texts_that_say_nothing_and_models_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mini = repository("models/ingle-mini/ingle-mini.gguf");
    let (out, short, long) = (at("a.gguf"), at("short.txt"), at("long.txt"));
    std::fs::write(&short, "Hello").unwrap();
    std::fs::write(
        &long,
        "Once upon a time there was a fire in the hearth. ".repeat(40),
    )
    .unwrap();
    for (more, reason) in [
        (vec!["--eval-text", &short], "says nothing"),
        (vec!["--imatrix-text", &short], "says nothing"),
        (vec!["--eval-text", "/no/such.txt"], "could not be read"),
        (
            vec!["--eval-text", &long, "--memory", "20MiB"],
            "does not fit",
        ),
        (vec!["--eval-text", &long, "--memory", "40MiB"], "fit"),
    ] {
        let done = run(&[&["quantize", &mini, &out, "f32"], &more[..]].concat());
        assert_eq!(done.code, 1, "{more:?} {}", done.out);
        assert!(done.err.contains(reason), "{more:?}: {}", done.err);
        assert!(!Path::new(&out).exists());
    }
    let both = [
        "quantize",
        &mini,
        &out,
        "f32",
        "--imatrix",
        "a",
        "--imatrix-text",
        "b",
    ];
    assert_eq!(run(&both).code, 2);
}

//! `ingle run`: the golden text, answers, refusals.

#![allow(clippy::unwrap_used, reason = "tests may fail")]

mod support;

use serde_json::Value;
use std::process::Stdio;
use support::{Done, ingle, repository, run, run_with, shared};

fn stories() -> Option<String> {
    Some(
        shared("models/stories260K/stories260K.gguf")?
            .to_str()
            .unwrap()
            .to_owned(),
    )
}

fn json(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

/// Lines of notes that are the same on every machine.
fn steady(notes: &str) -> String {
    let varies = |line: &&str| {
        !line.starts_with("free ") && !line.starts_with('[') && !line.contains(".gguf")
    };
    notes.lines().filter(varies).collect::<Vec<_>>().join("\n")
}

#[test]
fn greedy_text_is_the_golden_one() {
    let Some(model) = stories() else { return };
    let golden = shared("models/stories260K/GOLDEN.md").unwrap();
    let golden = std::fs::read_to_string(golden).unwrap();
    let start = golden.find("\nOnce upon a time,").unwrap() + 1;
    let end = golden.find("\n\nOver the first").unwrap();
    let flags = [
        "--raw", "--temp", "0", "-n", "200", "--ctx", "512", "--isa", "scalar",
    ];
    for flags in [&flags[..7], &flags] {
        let done = run(&[&["run", &model, ""], flags].concat());
        assert_eq!(done.out.trim_end(), golden[start..end].trim_end());
        assert_eq!(done.code, 0);
        insta::assert_snapshot!("notes_of_a_long_context", steady(&done.err));
    }
}

#[test]
fn the_built_in_model_answers() {
    let done = run(&[
        "run",
        "Tell me a story about a fox",
        "-n",
        "12",
        "--seed",
        "1",
    ]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.split_whitespace().count() > 3, "{}", done.out);
    assert!(
        done.err.contains("built in") && done.err.contains("ingle pull"),
        "{}",
        done.err
    );
}

#[test]
fn a_seed_repeats_an_answer_whatever_the_threads() {
    let answer = |seed: &str, threads: &str| {
        let args = [
            "run",
            "A bird",
            "-n",
            "20",
            "--temp",
            "1.2",
            "--seed",
            seed,
            "--threads",
            threads,
        ];
        run(&args).out
    };
    assert_eq!(answer("3", "1"), answer("3", "2"));
    assert_ne!(answer("3", "1"), answer("4", "1"));
}

#[test]
fn json_has_the_answer_and_how_it_came() {
    let args = [
        "run",
        "A bird",
        "-n",
        "5",
        "--seed",
        "2",
        "--json",
        "--logprobs",
        "2",
        "--top-k",
        "7",
    ];
    let value = json(&run(&args));
    let text = value["text"].as_str().unwrap();
    assert_eq!(value["finish_reason"], "length");
    assert_eq!(value["usage"]["generated_tokens"], 5);
    assert_eq!(value["parameters"]["seed"], 2);
    assert_eq!(value["parameters"]["top_k"], 7);
    assert!(value["timings"]["generate_tps"].as_f64().unwrap() > 0.0);
    let tokens = value["logprobs"].as_array().unwrap();
    let joined: String = tokens.iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert_eq!(joined.trim_start(), text.trim_start());
    for token in tokens {
        let top = token["top"].as_array().unwrap();
        let logprob = |t: &Value| t["logprob"].as_f64().unwrap();
        assert_eq!(top.len(), 2);
        assert!(logprob(&top[0]) >= logprob(&top[1]) && logprob(&top[0]) >= logprob(token));
    }
}

#[test]
fn a_pipe_is_the_prompt() {
    let Some(model) = stories() else { return };
    let flags = ["--raw", "--temp", "0", "-n", "8", "--json"];
    let piped = run_with(
        &[&["run", &model][..], &flags].concat(),
        b"Once upon a time",
    );
    let typed = run(&[&["run", &model, "Once upon a time"][..], &flags].concat());
    assert_eq!(json(&piped)["text"], json(&typed)["text"]);
    assert_eq!(json(&piped)["usage"]["prompt_tokens"], 5);
}

#[test]
fn nothing_to_answer_is_refused() {
    let done = run(&["run"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert!(done.err.contains("there is no PROMPT"), "{}", done.err);
}

#[test]
fn a_stop_text_ends_the_answer_and_is_not_part_of_it() {
    let Some(model) = stories() else { return };
    let done = run(&[
        "run", &model, "", "--raw", "--temp", "0", "--stop", ". She", "--json",
    ]);
    let value = json(&done);
    assert_eq!(
        value["text"],
        "Once upon a time, there was a little girl named Lily"
    );
    assert_eq!(
        (&value["finish_reason"], &value["finish_detail"]),
        (&"stop".into(), &". She".into())
    );
}

#[test]
fn a_full_context_is_said() {
    let Some(model) = stories() else { return };
    let done = run(&["run", &model, "", "--raw", "--temp", "0"]);
    assert_eq!(done.code, 0);
    assert!(
        done.err
            .contains("the context of 128 tokens is full; --ctx N"),
        "{}",
        done.err
    );
    let value = json(&run(&["run", &model, "", "--raw", "--temp", "0", "--json"]));
    assert_eq!(value["usage"]["total_tokens"], 128);
}

#[test]
fn refusals_say_what_to_do() {
    let Some(model) = stories() else { return };
    let cases: [(&str, i32, &[&str]); 7] = [
        (
            "too_many_tokens",
            1,
            &[&model, "Hello", "--raw", "-n", "500"],
        ),
        (
            "prompt_too_long",
            1,
            &[&model, &"word ".repeat(300), "--raw"],
        ),
        (
            "memory_too_small",
            1,
            &[&model, "Hello", "--memory", "1MiB"],
        ),
        (
            "context_too_large",
            1,
            &[&model, "Hello", "--memory", "4MiB", "--ctx", "100000"],
        ),
        (
            "sampling_out_of_range",
            2,
            &[&model, "Hello", "--top-p", "1.5"],
        ),
        ("not_a_model", 2, &["Tell", "me"]),
        (
            "bias_outside",
            1,
            &[&model, "Hello", "--logit-bias", "512=1"],
        ),
    ];
    for (name, code, args) in cases {
        let done = run(&[&["run"], args].concat());
        assert_eq!(
            (done.code, done.out.as_str()),
            (code, ""),
            "{name}: {}",
            done.err
        );
        let error = done
            .err
            .lines()
            .find(|line| line.starts_with("error:"))
            .unwrap();
        // What is free differs from machine to machine.
        insta::assert_snapshot!(name, error);
    }
}

#[test]
fn a_model_without_a_template_runs_raw() {
    let Some(model) = stories() else { return };
    let done = run(&["run", &model, "Once", "-n", "3", "--system", "Be brief"]);
    assert_eq!(done.code, 0);
    insta::assert_snapshot!(steady(&done.err));
}

#[test]
fn a_reader_that_goes_ends_the_answer() {
    let mut child = ingle()
        .args(["run", "Tell me a story", "--ctx", "512"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let whole = std::fs::read(repository("models/ingle-mini/ingle-mini.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let done = run(&["run", path.to_str().unwrap(), "Hello"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(
        done.err.contains("cut.gguf") && done.err.contains("get the file again"),
        "{}",
        done.err
    );
}

#[test]
fn bench_prints_every_figure() {
    let args = "bench --prompt 16 --generate 4 --depth 0,96 --sequences 3 --repeat 1";
    let args: Vec<&str> = args.split(' ').collect();
    let value = json(&run(&[&args[..], &["--json"]].concat()));
    for figure in [
        "prompt_tps",
        "generate_tps",
        "weight_bytes_per_token",
        "read_gbps",
        "read_share",
        "int8_tops",
        "f32_tflops",
        "load_seconds",
    ] {
        assert!(value[figure].as_f64().unwrap() > 0.0, "{figure}");
    }
    let runs = value["runs"].as_array().unwrap();
    let shapes = runs.iter().map(|run| {
        assert!(run["tps"].as_f64().unwrap() > 0.0 && run["share"].as_f64().unwrap() > 0.0);
        let number = |key: &str| run[key].as_u64().unwrap();
        (
            run["kind"].as_str().unwrap(),
            number("depth"),
            number("sequences"),
        )
    });
    let expected = [
        ("prompt", 0, 1),
        ("generation", 0, 1),
        ("prompt", 96, 1),
        ("generation", 96, 1),
        ("generation", 0, 3),
    ];
    assert_eq!(shapes.collect::<Vec<_>>(), expected);
    let text = run(&args).out;
    for line in ["This machine", "prompt 16 at depth 96", "3 sequences"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_chat_becomes_its_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let template = write(
        "t.jinja",
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{{ mood }}{% if add_generation_prompt %}>{% endif %}",
    );
    let chat = write(
        "c.json",
        r#"{"messages": [{"role": "user", "content": "Hi"}], "mood": "good", "bos_token": "^"}"#,
    );
    let args = ["template", "--template", &template, "--messages", &chat];
    assert_eq!(run(&args).out, "^[user] Hi\ngood>");
    assert_eq!(
        json(&run(&[&args[..], &["--json"]].concat()))["prompt"],
        "^[user] Hi\ngood>"
    );
    let model = repository("models/ingle-mini/ingle-mini.gguf");
    let list = write("l.json", r#"[{"role": "user", "content": "Hi"}]"#);
    let done = run(&["template", &model, "--messages", &list]);
    assert!(done.out.contains("Hi") && done.code == 0, "{done:?}");
    assert_eq!(run(&["template", "--messages", &list]).code, 2);
}

//! `ingle quantize`: every type, and what goes wrong.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{ingle, repository, run, shared};

const STORIES: &str = "models/stories260K/stories260K.gguf";

const TYPES: &[&str] = &[
    "f32",
    "f16",
    "bf16",
    "q8_0",
    "q6_k",
    "q5_k_m",
    "q5_k_s",
    "q5_1",
    "q5_0",
    "q4_k_m",
    "q4_k_s",
    "q4_1",
    "q4_0",
    "iq4_nl",
    "iq4_xs",
    "mxfp4_moe",
    "q3_k_l",
    "q3_k_m",
    "q3_k_s",
    "q2_k",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mini() -> String {
    repository("models/ingle-mini/ingle-mini.gguf")
}

fn show(path: &str) -> Value {
    let done = run(&["show", path, "--json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// `ingle-mini` in F32, which can be quantised again without a word.
fn wide(folder: &Path) -> PathBuf {
    let path = folder.join("wide.gguf");
    let done = run(&["quantize", &mini(), text(&path), "f32"]);
    assert_eq!(done.code, 0, "{}", done.err);
    path
}

/// Metadata without the two keys that say how weights are stored.
fn kept(shown: &Value) -> Value {
    let mut metadata = shown["metadata"].clone();
    let pairs = metadata.as_object_mut().unwrap();
    pairs.remove("general.file_type");
    pairs.remove("general.quantization_version");
    metadata
}

#[test]
fn every_type_of_a_real_model_runs() {
    let Some(model) = shared(STORIES) else { return };
    let folder = tempfile::tempdir().unwrap();
    let before = show(text(&model));
    let mut last = u64::MAX;
    for ty in TYPES {
        let out = folder.path().join(format!("{ty}.gguf"));
        let done = run(&["quantize", text(&model), text(&out), ty, "--json"]);
        assert_eq!(done.code, 0, "{ty}: {}", done.err);
        let report: Value = serde_json::from_str(&done.out).unwrap();
        let bytes = std::fs::metadata(&out).unwrap().len();
        assert_eq!(report["bytes_after"], bytes, "{ty}");
        let after = show(text(&out));
        assert_eq!(kept(&after), kept(&before), "{ty}");
        assert_eq!(after["metadata"]["general.quantization_version"], 2);
        let args = [
            "run",
            text(&out),
            "Once upon a time",
            "--raw",
            "--temp",
            "0",
            "-n",
            "12",
        ];
        let answer = run(&args);
        assert_eq!(answer.code, 0, "{ty}: {}", answer.err);
        assert!(answer.out.contains("there was"), "{ty}: {}", answer.out);
        if matches!(*ty, "f32" | "f16" | "q8_0" | "q5_0" | "q4_0") {
            assert!(bytes < last, "{ty}");
            last = bytes;
        }
    }
    assert_eq!(names(folder.path()).len(), TYPES.len());
}

#[test]
fn a_mixture_of_experts_in_every_type_keeps_its_routers() {
    let folder = tempfile::tempdir().unwrap();
    let mixture = repository("crates/model/tests/goldens/qwen3moe.gguf");
    for (ty, experts) in [
        ("q8_0", "Q8_0"),
        ("q4_0", "Q4_0"),
        ("mxfp4_moe", "MXFP4"),
        ("q5_1", "Q5_1"),
    ] {
        let out = folder.path().join(format!("{ty}.gguf"));
        let done = run(&["quantize", &mixture, text(&out), ty]);
        assert_eq!(done.code, 0, "{ty}: {}", done.err);
        let done = run(&["show", text(&out), "--tensors", "--json"]);
        let shown: Value = serde_json::from_str(&done.out).unwrap();
        let mut routers = 0;
        for tensor in shown["tensors"].as_array().unwrap() {
            let name = tensor["name"].as_str().unwrap();
            if name.contains("_norm.") || name.contains("ffn_gate_inp") {
                assert_eq!(tensor["type"], "F32", "{ty} {name}");
                routers += i32::from(name.contains("ffn_gate_inp"));
            } else if name.contains("ffn_up_exps") {
                assert_eq!(tensor["type"], experts, "{ty} {name}");
            }
        }
        assert_eq!(routers, 3, "one a layer");
        let answer = run(&["run", text(&out), "Hello", "-n", "4"]);
        assert_eq!(answer.code, 0, "{ty}: {}", answer.err);
    }
}

#[test]
fn the_same_bytes_come_of_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let wide = wide(folder.path());
    let made = |threads: &str, isa: &str| {
        let out = folder.path().join(format!("{threads}-{isa}.gguf"));
        let mut command = ingle();
        command.args(["quantize", text(&wide), text(&out), "q4_k_m"]);
        command.args(["--threads", threads, "--isa", isa]);
        assert!(command.output().unwrap().status.success());
        std::fs::read(out).unwrap()
    };
    let made_alone = made("1", "scalar");
    assert!(made_alone == made("3", "scalar"));
    for isa in ["avx2", "avx512"] {
        let runs = ingle::tensor::kernel::Isa::from_name(isa).is_some_and(|isa| isa.is_available());
        if runs {
            assert!(made_alone == made("2", isa), "{isa}");
        }
    }
}

#[test]
fn what_was_quantised_is_not_quantised_again_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.gguf");
    let done = run(&["quantize", &mini(), text(&out), "q3_k_m"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("--allow-requantize"), "{}", done.err);
    assert_eq!(names(folder.path()), [""; 0]);
    let done = run(&[
        "quantize",
        &mini(),
        text(&out),
        "q3_k_m",
        "--allow-requantize",
    ]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(names(folder.path()), ["a.gguf"]);
}

#[test]
fn places_where_nothing_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let same = at("same.gguf");
    std::fs::copy(mini(), &same).unwrap();
    std::fs::create_dir(at("inner")).unwrap();
    std::fs::write(at("mine.gguf"), "mine").unwrap();
    let before = names(folder.path());
    for (out, reason) in [
        (at("no/a.gguf"), "there is no folder"),
        (at("inner"), "is a folder"),
        (at("mine.gguf"), "--force"),
        (same.clone(), "would be lost"),
        (at("inner/../same.gguf"), "would be lost"),
    ] {
        let mut args = vec!["quantize", &same, &out, "f32"];
        let done = run(&args);
        assert_eq!(done.code, 1, "{out}");
        assert!(done.err.contains(reason), "{out}: {}", done.err);
        assert_eq!(done.out, "");
        if reason == "would be lost" {
            args.push("--force");
            assert!(run(&args).err.contains(reason), "{out} with --force");
        }
        assert_eq!(names(folder.path()), before, "{out}");
    }
    assert_eq!(std::fs::read(at("mine.gguf")).unwrap(), b"mine");
    assert_eq!(
        std::fs::read(&same).unwrap(),
        std::fs::read(mini()).unwrap()
    );
    let done = run(&["quantize", &same, &at("mine.gguf"), "f32", "--force"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_type_that_is_not_there_is_answered_with_those_that_are() {
    let done = run(&["quantize", "a.gguf", "b.gguf", "q9_z"]);
    assert_eq!(done.code, 2);
    for ty in TYPES {
        assert!(done.err.contains(ty), "{ty}: {}", done.err);
    }
}

#[test]
fn a_model_cut_short_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (cut, out) = (
        folder.path().join("cut.gguf"),
        folder.path().join("out.gguf"),
    );
    let whole = std::fs::read(mini()).unwrap();
    std::fs::write(&cut, &whole[..whole.len() - 1000]).unwrap();
    let done = run(&["quantize", text(&cut), text(&out), "f32"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("cut short"), "{}", done.err);
    assert_eq!(names(folder.path()), ["cut.gguf"]);
}

/// A limit on the size of files ends the program as a kill would.
#[cfg(target_os = "linux")]
#[test]
fn a_program_that_is_ended_leaves_nothing_under_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let line = format!(
        "ulimit -f 2048; exec {} quantize {} {} f32",
        env!("CARGO_BIN_EXE_ingle"),
        mini(),
        text(&out)
    );
    let done = std::process::Command::new("sh")
        .args(["-c", &line])
        .output();
    assert!(!done.unwrap().status.success());
    assert!(!out.exists());
}
